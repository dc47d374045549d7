"""Any compiled Keras 3 model as a forecaster: features, windows, scaling and validation are ours, the network Keras's.

The model given is a pattern and is never trained. Every fit builds it afresh, with weights and dropout from the seed;
trains it epoch by epoch in the order of batches the native engine uses; and stops it on a purged part of the latest
rows. So nothing the network sees was known later than its decision, which the usual Keras script cannot say.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ...bars import Bars, require_bars
from ...errors import InputError, NotFitted, UnknownName
from ...features import FeatureSet, Target, forward_log_return, technical
from ...features.windows import Windows, broken_cells, check_lookback, check_scaler
from ...forecast import Forecast
from ...models.fits import remember_fit
from ...models.fitting import LSTMFitting
from ...models.losses import MSE
from ...models.network import Net, mean_of_seeds, row_of, upcoming
from ...models.parameters import Parameters
from ...models.training import History
from .backend import KERAS, fresh_copy, keras_module, seeded
from .keeping import described, load_forecaster, save_forecaster

ROWS_AT_ONCE = 32  # a forecast's bits may depend on the size of its batch and its place in it: both are fixed
UNKNOWN_TIME = np.iinfo(np.int64).max


class KerasForecaster(Parameters):
    """A compiled Keras 3 model as a forecaster.

    Parameters
    ----------
    model : keras.Model or callable
        A compiled model that maps (batch, lookback, n_features) to (batch, 1), or (batch, n_targets); or a function
        ``(lookback, n_features)`` that returns one. Its optimizer and loss are used, in units of the scaled target.
    features : Feature or (nested) sequence of Features, optional
        Inputs; `features.technical()` by default.
    target : Target or sequence of Targets, optional
        What to predict; the next bar's log return by default. Several: one kind over increasing horizons.
    lookback : int, default=60
        Bars in a window. The last one is the decision row.
    epochs, batch_size, validation, patience, seeds, seed, scaler, refit
        As for `LSTM`.

    Attributes
    ----------
    models_ : list of keras.Model
        The trained networks, one per seed.
    history_ : History
        Losses of the first seed, as in `LSTM`; `histories_` has all of them.
    symbols_, dropped_, trained_
        As for `LSTM`.

    Notes
    -----
    Keras is asked by one thread at a time. Python's, NumPy's and PyTorch's random states are left as they were;
    TensorFlow cannot tell its own, so there its global seed stays the last one used. Callbacks are not used: they see a
    training as one call, here each epoch is one.

    Examples
    --------
    >>> import keras  # doctest: +SKIP
    >>> net = keras.Sequential([keras.Input((20, 1)), keras.layers.GRU(16), keras.layers.Dense(1)])  # doctest: +SKIP
    >>> net.compile("adam", "mse")  # doctest: +SKIP
    >>> forecaster = KerasForecaster(net, ls.features.log_return(), lookback=20)  # doctest: +SKIP
    >>> study = ls.walk_forward(forecaster, bars, ls.WalkForward("3Y", "1Y"))  # doctest: +SKIP
    """

    context = "window"
    per_symbol = False
    symbol_embedding = 0
    schedule = None
    threads = 1
    symbols_: tuple[str, ...]
    dropped_: dict[str, int]
    trained_: dict[str, Any]
    nets_: list[list[Net]]
    models_: list[Any]
    histories_: list[History]
    history_: History

    def __init__(
        self,
        model: Any,
        features: Any = None,
        target: Any = None,
        lookback: int = 60,
        epochs: int = 50,
        batch_size: int = 32,
        validation: float = 0.2,
        patience: int | None = 10,
        seeds: int = 1,
        seed: int = 0,
        scaler: str = "standard",
        *,
        refit: bool = True,
    ):
        self.model, self.features, self.target, self.lookback = model, features, target, lookback
        self.epochs, self.batch_size, self.validation, self.patience = epochs, batch_size, validation, patience
        self.seeds, self.seed, self.scaler, self.refit = seeds, seed, scaler, refit
        self.check()

    # -- configuration -------------------------------------------------------------------------------------------

    def with_seeds(self, seeds: int) -> "KerasForecaster":
        """Return an unfitted copy that trains `seeds` networks and forecasts their mean."""
        return self.with_params(seeds=seeds)

    def check(self) -> None:
        """Raise `InputError` for arguments no fit could use."""
        check_lookback(self.lookback)
        check_scaler(self.scaler)
        if not all(isinstance(target, Target) for target in self.targets_) or not self.targets_:
            raise InputError(f"target must be a Target such as forward_log_return(1), or several, was {self.target!r}.")
        for name, low in (("epochs", 1), ("batch_size", 1), ("seeds", 1), ("seed", 0)):
            _require_whole(name, getattr(self, name), low)
        if self.patience is not None:
            _require_whole("patience", self.patience, 1)
        if not 0 <= self.validation < 1:
            raise InputError(f"validation must be a share in [0, 1), was {self.validation!r}.")
        if not callable(self.model):
            raise InputError(
                "model must be a compiled Keras model, or a function (lookback, n_features) that returns one, was "
                f"{type(self.model).__name__}."
            )

    @property
    def targets_(self) -> tuple[Target, ...]:
        """The targets, shortest horizon first, with the default filled in."""
        if self.target is None:
            return (forward_log_return(1),)
        return tuple(self.target) if isinstance(self.target, list | tuple) else (self.target,)

    @property
    def target_(self) -> Target:
        """The target of the point forecast: the first."""
        return self.targets_[0]

    @property
    def rows_before(self) -> int:
        """Rows of a window before its decision row."""
        return int(self.lookback) - 1

    @property
    def program_(self) -> FeatureSet:
        """The features as one compiled program, with the default filled in."""
        return FeatureSet(technical() if self.features is None else self.features)

    @property
    def loss_(self) -> MSE:
        """How outputs read as a forecast: one number a target. What is minimised is the compiled model's affair."""
        return MSE()

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as a JSON-able mapping, the network as Keras describes it."""
        params = self.get_params() | {
            "model": described(self.pattern()),
            "features": self.program_.to_dict(),
            "target": [target.to_dict() for target in self.targets_],
        }
        return {"kind": "KerasForecaster", **params}

    def __repr__(self) -> str:
        name = getattr(self.model, "__name__", getattr(self.model, "name", "model"))
        return f"KerasForecaster({name}, {self.target_.info}, lookback={self.lookback})"

    @property
    def described(self) -> str:
        """What tables and sentences call it."""
        return "Keras model"

    # -- the network ---------------------------------------------------------------------------------------------

    def pattern(self) -> Any:
        """Return the compiled model given, or one that the function given builds."""
        keras, n_features = keras_module(), len(self.program_.names)
        with KERAS:
            given = self.model
            model = given if isinstance(given, keras.Model) else given(int(self.lookback), n_features)
        if not isinstance(model, keras.Model) or not model.built:
            raise InputError(
                f"model must give a built keras.Model, gave {type(model).__name__}. Begin it with "
                f"keras.Input(({self.lookback}, {n_features}))."
            )
        if not model.compiled or model.optimizer is None:
            raise InputError("The Keras model must be compiled. Call model.compile(optimizer, loss) first.")
        if any(getattr(layer, "stateful", False) and hasattr(layer, "units") for layer in model.layers):
            raise InputError("The Keras model carries state from batch to batch. Build its layers with stateful=False.")
        shape = model.input_shape, model.output_shape
        rows = shape[0][1] if isinstance(shape[0], tuple) and len(shape[0]) == 3 else -1
        wanted = (None, self.lookback if rows is not None else None, n_features), (None, len(self.targets_))
        if shape != wanted:
            raise InputError(f"The Keras model must map {wanted[0]} to {wanted[1]}, maps {shape[0]} to {shape[1]}.")
        return model

    def fresh(self, seed: int) -> Any:
        """Return a compiled model with new weights, drawn from `seed`."""
        keras = keras_module()
        with seeded(seed):
            if not isinstance(self.model, keras.Model):
                return self.pattern()
            return fresh_copy(self.pattern())

    # -- learning ------------------------------------------------------------------------------------------------

    def fit(self, bars: Bars, start: Any = None, progress: Callable[[float], None] | None = None) -> "KerasForecaster":
        """Learn from `bars` and nothing else; see `LSTM.fit`."""
        fitting = KerasFitting(self, bars, start)
        while not fitting.step():
            if progress:
                progress(fitting.fraction)
        self.__dict__.update(fitting.result.__dict__)
        remember_fit(self, bars)
        return self

    def fitting(self, bars: Bars, start: Any = None) -> "KerasFitting":
        """Prepare a fit that advances by epochs, for a fleet; self is left untouched."""
        return KerasFitting(self, bars, start)

    # -- forecasting ---------------------------------------------------------------------------------------------

    def predict(self, bars: Bars, start: Any = None) -> Forecast:
        """Forecast at every bar from `start` on; row t equals the last row of ``predict(bars.until(t))``."""
        require_bars(bars, "predict")
        first = row_of(bars, start)
        values = mean_of_seeds(self._read(bars, first))
        target = self.target_
        for_time = np.array(target.label_end(bars)[first:])
        unknown = np.flatnonzero(for_time == UNKNOWN_TIME)
        if len(unknown):
            for_time[unknown] = upcoming(bars, target.horizon)[-len(unknown) :]
        horizons = {t.horizon: values[:, :, k] for k, t in enumerate(self.targets_)} if len(self.targets_) > 1 else None
        return Forecast(
            bars.time[first:], bars.symbols, values[:, :, 0], target=target.info, for_time=for_time, horizons=horizons
        )

    def predict_seeds(self, bars: Bars, start: Any = None) -> np.ndarray:
        """Return every seed's forecasts, float64 (n_seeds, n_rows, n_symbols); their mean is what `predict` says."""
        require_bars(bars, "predict")
        return self._read(bars, row_of(bars, start))[:, :, :, 0]

    def _read(self, bars: Bars, first: int) -> np.ndarray:
        """Return what every network says from bar `first` on, (n_seeds, n_rows, n_symbols, n_targets)."""
        if not hasattr(self, "models_"):
            raise NotFitted("This KerasForecaster has not learned anything yet. Call fit(bars) first.")
        unseen = [s for s in bars.symbols if s not in self.symbols_]
        if unseen:
            raise UnknownName(
                f"This model was trained on {', '.join(self.symbols_[:5])} and has never seen {', '.join(unseen[:5])}. "
                "Fit it on bars that contain it, or drop it with bars.select(...)."
            )
        windows = Windows.over(self.program_.compute(bars), self.lookback, broken_cells(bars), first)
        n_bars, n_symbols, _ = windows.features.shape
        out = np.full((self.seeds, n_bars, n_symbols, len(self.targets_)), np.nan)
        for s, (model, net) in enumerate(zip(self.models_, self.nets_[0], strict=True)):
            said = net.said(self, predict_in_place(model, windows, net.inputs))
            values = said.get("horizons", said["mean"][:, None])
            out[s, windows.rows, windows.columns] = values
        return out[:, first:]

    # -- keeping -------------------------------------------------------------------------------------------------

    def save(self, directory: Any) -> None:
        """Write everything `load` needs into one directory, atomically; no pickle and no code."""
        if not hasattr(self, "models_"):
            raise NotFitted("This KerasForecaster has not learned anything yet. Call fit(bars) first.")
        save_forecaster(self, directory)

    @classmethod
    def load(cls, directory: Any, model: Any = None) -> "KerasForecaster":
        """Read what `save` wrote.

        Parameters
        ----------
        directory : path-like
            Damaged, foreign or newer directories raise `ArtifactError`.
        model : keras.Model or callable, optional
            The network's pattern, as given to the constructor. Needed where it holds layers or losses of your own:
            code is never loaded from a directory.
        """
        return load_forecaster(cls, directory, model)


class KerasFitting(LSTMFitting):
    """A fit of a `KerasForecaster`, taken apart into epochs: the same as an `LSTM`'s, with another engine."""

    def engine(self, n_inputs: int, seed: int, threads: int, options: dict[str, Any]) -> "KerasEngine":
        return KerasEngine(self.model.fresh(seed), self.model.batch_size, self.model.lookback, seed)

    @property
    def result(self) -> Any:
        """The fitted forecaster."""
        fitted = super().result
        fitted.models_ = []
        for member in (self.final or [[]])[0]:
            engine: Any = member.training.engine
            fitted.models_.append(engine.model)
        return fitted


class KerasEngine:
    """A Keras model behind the protocol of training engines."""

    def __init__(self, model: Any, batch_size: int, lookback: int, seed: int):
        self.model, self.batch_size, self.lookback, self.seed = model, batch_size, lookback, seed
        self._epoch = 0
        self._gathered: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def bind(self, features: np.ndarray, time_stride: int, center: np.ndarray, scale: np.ndarray) -> None:
        """Point the engine at the features."""
        self.flat, self.time_stride, self.center, self.scale = features.reshape(-1), time_stride, center, scale
        self._gathered = {}

    def epoch(self, starts: np.ndarray, targets: np.ndarray) -> float:
        """Take one pass of optimiser steps, in the native engine's order; return the mean loss as seen."""
        from ...native import core

        order = core.shuffled(len(starts), self.seed, self._epoch)
        x, y = self._windows(starts)[order], np.asarray(targets, np.float32)[order]
        with seeded(self.seed, self._epoch):
            done = self.model.fit(x, y, batch_size=self.batch_size, epochs=1, shuffle=False, verbose=0)
        self._epoch += 1
        return float(done.history["loss"][-1])

    def loss(self, starts: np.ndarray, targets: np.ndarray) -> float:
        """Return the mean loss without dropout and without learning."""
        with KERAS:
            found = self.model.evaluate(
                self._windows(starts),
                np.asarray(targets, np.float32),
                batch_size=self.batch_size,
                verbose=0,
                return_dict=True,
            )
        return float(found["loss"])

    def weights(self) -> dict[str, np.ndarray]:
        """Return copies of all weights, by their place in ``model.weights``."""
        with KERAS:
            return {str(i): np.array(array) for i, array in enumerate(self.model.get_weights())}

    def set_weights(self, weights: Any) -> None:
        """Replace all weights."""
        with KERAS:
            self.model.set_weights([weights[str(i)] for i in range(len(weights))])

    def _windows(self, starts: np.ndarray) -> np.ndarray:
        """Return the scaled windows (n, lookback, n_features) as float32; kept, as every epoch asks for them."""
        kept = self._gathered.get(id(starts))
        if kept is None or kept[0] is not starts:
            offsets = np.arange(self.lookback) * self.time_stride
            cells = starts[:, None, None] + offsets[:, None] + np.arange(len(self.center))
            scaled = ((self.flat[cells] - self.center) / self.scale).astype(np.float32)
            kept = self._gathered[id(starts)] = (starts, scaled)
        return kept[1]


def predict_in_place(model: Any, windows: Windows, inputs: Any) -> np.ndarray:
    """Return the raw outputs (n_windows, n_outputs), each computed at the place its row and symbol have among all.

    A window is always the same row of a batch of `ROWS_AT_ONCE`, whatever else is asked for, so its bits do not depend
    on how many rows come after it or on where the question starts.
    """
    n_symbols = windows.features.shape[1]
    place = windows.rows.astype(np.int64) * n_symbols + windows.columns
    batches = np.unique(place // ROWS_AT_ONCE)
    at = np.searchsorted(batches, place // ROWS_AT_ONCE) * ROWS_AT_ONCE + place % ROWS_AT_ONCE
    x = np.zeros((len(batches) * ROWS_AT_ONCE, windows.lookback, windows.features.shape[2]), np.float32)
    for i, slot in enumerate(at):
        x[slot] = inputs.transform(windows[i])
    if not len(x):
        return np.zeros((0, model.output_shape[-1]))
    with KERAS:
        return np.asarray(model.predict(x, batch_size=ROWS_AT_ONCE, verbose=0), np.float64)[at]


def _require_whole(name: str, value: Any, low: int) -> None:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < low:
        raise InputError(f"{name} must be a whole number of at least {low}, was {value!r}.")
