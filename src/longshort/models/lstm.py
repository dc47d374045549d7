"""The LSTM estimator: features in, a forecast per bar and symbol out.

Everything the network may know is fixed here: which features over which window, which rows it learns from, how they are
scaled. `fit` sees only the bars it is given; the scaling comes from the training rows alone; the window's last row is
the decision row, in training and ever after.

The network is Hochreiter and Schmidhuber (1997) with forget gates (Gers et al., 2000), as `torch.nn.LSTM` computes it::

    i, f, o = sigmoid(W x + U h + b)      g = tanh(W x + U h + b)
    c' = f * c + i * g                    h' = o * tanh(c')
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ..bars import Bars, require_bars
from ..errors import InputError, NotFitted, UnknownName, did_you_mean
from ..features import FeatureSet, Target, forward_log_return, technical
from ..features.windows import Windows, broken_cells, check_lookback, check_scaler, warn_of_unexplained_nan
from ..forecast import Forecast
from . import fleet
from .fits import remember_fit
from .fitting import LSTMFitting
from .losses import CLASSES, Loss, loss_of
from .network import PRECISIONS, Net, engine_of, mean_of_seeds, network_layers, row_of, upcoming
from .parameters import Parameters
from .paths import predict_path
from .schedules import schedule_of
from .sequences import without
from .storage import load_lstm, save_lstm
from .streaming import Stream
from .training import History

UNKNOWN_TIME = np.iinfo(np.int64).max
_LATER = (
    "network",
    "network_options",
    "device",
    "schedule",
    "symbol_embedding",
    "chunk",
    "burn_in",
)  # described only where they are set


class LSTM(Parameters):
    """A stacked LSTM with a dense head, as a forecaster.

    Parameters
    ----------
    features : Feature or (nested) sequence of Features, optional
        Inputs; `features.technical()` by default.
    target : Target or sequence of Targets, optional
        What to predict; the next bar's log return by default. Several horizons of one kind, in increasing order, are
        forecast at once (`Forecast.horizons`).
    lookback : int, default=60
        Bars in a window. The last one is the decision row.
    hidden : sequence of int, default=(50, 50)
        Units of each LSTM layer.
    head : sequence of int, default=()
        Units of dense layers between the LSTM and the output.
    dropout : float or sequence of float, default=0.0
        Share of each LSTM layer's outputs dropped while training, after every layer, the last one included.
    loss : str or losses.Loss, default="mse"
        What is minimised, in units of the scaled target: "mse", "mae", "huber"; "quantile", "gaussian" and "student_t"
        forecast distributions; "cross_entropy" probabilities of classes; "sharpe" positions; "rank" cross-sections.
        Objects of `models.losses` take arguments: ``Quantile((0.1, 0.5, 0.9))``.
    epochs : int, default=50
        Passes over the training rows, at most.
    batch_size : int, default=32
        Windows per optimiser step (Adam).
    lr : float, default=1e-3
        Step size.
    validation : float, default=0.2
        Share of the decision rows, the latest ones, held back to choose the number of epochs; 0 for none.
    patience : int or None, default=10
        Epochs without a better validation loss before stopping; None runs all epochs.
    seeds : int, default=1
        Networks trained from seeds `seed`, `seed + 1`, ...; the forecast is their mean.
    seed : int, default=0
        Origin of initial weights, shuffling and dropout. The same seed gives the same bytes.
    threads : int, default=1
        Threads for one fit: over seeds when there are several, over the halves of a batch otherwise.
    precision : {"fp32", "fp64", "mixed"}, default="fp32"
        Arithmetic inside the network; "mixed" is for GPUs.
    context : {"window", "carry"}, default="window"
        "window": every forecast reads its own `lookback` bars from a zero state. "carry": the state is carried from bar
        to bar, starts anew after a gap, and speaks after `lookback` bars; the network learns from chunks of rows, with
        far less work, and a batch is `batch_size` chunks (8 are a good start).
    scaler : {"standard", "minmax", "robust"}, default="standard"
        How features and target are scaled, learned on training rows only.
    engine : {"auto", "native", "torch"}, default="auto"
        Who trains: our own kernel wherever it can, PyTorch (the extra ``torch``) for every other network and device.
    refit : bool, default=True
        Use validation only to choose the number of steps (the median over seeds), then train afresh on all rows for
        that many. False keeps the weights of the best validation epoch. With ``patience=None`` nothing is chosen, so
        there is no refit and the validation rows are never learned from.
    per_symbol : bool, default=False
        One network (and scaling) per symbol instead of one pooled network.
    clip : float, default=0.0
        Largest global norm of a gradient; 0 for no limit.
    weight_decay : float, default=0.0
        Decoupled weight decay (AdamW).
    huber_delta : float, default=1.0
        Where the Huber loss turns linear.
    head_activation : {"relu", "tanh", "linear"}, default="relu"
        After each dense layer of `head`; never after the output.
    init : {"torch", "keras"}, default="torch"
        Initial weights as these libraries draw them.
    eps : float, default=1e-8
        Adam's epsilon; Keras uses 1e-7.
    network : str or callable, default="lstm"
        Kind of network, see `models.nets`; or a function ``(n_inputs, n_outputs, lookback) -> torch.nn.Module`` mapping
        (batch, lookback, n_inputs) to (batch, n_outputs).
    network_options : mapping, optional
        Further arguments of the network.
    device : str, default="auto"
        Where the torch engine computes: "auto" is a GPU where there is one.
    chunk : int, optional
        With context="carry": most forecasts learned from one chunk; half of `lookback` by default.
    burn_in : int, optional
        With context="carry": bars that only warm the state up before the first of them; `lookback` - 1 by default, so
        that each has seen at least `lookback` bars.
    schedule : str, mapping or schedules.Schedule, optional
        How the step size changes over the epochs: "step", "cosine", "warmup_cosine", "plateau"; constant by default.
    symbol_embedding : int, default=0
        Width of a vector learned for each symbol, which joins the inputs of every bar: one network for many symbols
        that still tells them apart. 0 for none.

    Attributes
    ----------
    history_ : History
        Losses of the first seed; `histories_` has all of them.
    symbols_ : tuple of str
        Symbols seen in training. Others are refused by `predict`.
    dropped_ : dict of str to int
        Decision rows not used in training, by reason.

    Examples
    --------
    >>> import longshort as ls
    >>> bars = ls.load_bars("AAPL", start="2016-01-01", end="2019-12-31", source="sample")
    >>> model = ls.LSTM([ls.features.log_return(), ls.features.rsi(14)], lookback=20, hidden=(16,), epochs=3)
    >>> print(model.summary())
    LSTM: log return over the next bar, from 2 features over 20 bars
      lstm.0  LSTM     20 x 2 -> 16      1,216
      head.0  Dense        16 -> 1          17
      total                              1,233  (torch counts 1,297: two biases a gate)
    >>> forecast = model.fit(bars).predict(bars)
    >>> forecast.mean.shape == (len(bars), 1)
    True
    """

    symbols_: tuple[str, ...]
    dropped_: dict[str, int]
    trained_: dict[str, Any]
    nets_: list[list[Net]]  # one list per group of symbols (one group when pooled), one net per seed
    histories_: list[History]
    history_: History
    validation_: dict[str, Any] | None

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name in LSTM.__annotations__:
                raise NotFitted(f"This LSTM has no {name} yet: it comes from learning. Call fit(bars) first.")
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __init__(
        self,
        features: Any = None,
        target: Any = None,
        lookback: int = 60,
        hidden: Sequence[int] = (50, 50),
        head: Sequence[int] = (),
        dropout: float | Sequence[float] = 0.0,
        loss: Any = "mse",
        epochs: int = 50,
        batch_size: int = 32,
        lr: float = 1e-3,
        validation: float = 0.2,
        patience: int | None = 10,
        seeds: int = 1,
        seed: int = 0,
        threads: int = 1,
        precision: str = "fp32",
        context: str = "window",
        scaler: str = "standard",
        engine: str = "auto",
        *,
        refit: bool = True,
        per_symbol: bool = False,
        clip: float = 0.0,
        weight_decay: float = 0.0,
        huber_delta: float = 1.0,
        head_activation: str = "relu",
        init: str = "torch",
        eps: float = 1e-8,
        network: Any = "lstm",
        network_options: Mapping[str, Any] | None = None,
        device: str = "auto",
        schedule: Any = None,
        symbol_embedding: int = 0,
        chunk: int | None = None,
        burn_in: int | None = None,
    ):
        self.features, self.target, self.lookback = features, target, lookback
        self.hidden, self.head, self.dropout = hidden, head, dropout
        self.loss, self.epochs, self.batch_size = loss, epochs, batch_size
        self.lr, self.validation, self.patience = lr, validation, patience
        self.seeds, self.seed, self.threads = seeds, seed, threads
        self.precision, self.context, self.scaler = precision, context, scaler
        self.engine, self.refit, self.per_symbol = engine, refit, per_symbol
        self.clip, self.weight_decay, self.huber_delta = clip, weight_decay, huber_delta
        self.head_activation, self.init, self.eps = head_activation, init, eps
        self.network, self.network_options, self.device = network, network_options, device
        self.schedule, self.symbol_embedding = schedule, symbol_embedding
        self.chunk, self.burn_in = chunk, burn_in
        self.check()

    # -- configuration -------------------------------------------------------------------------------------------

    def with_seeds(self, seeds: int) -> "LSTM":
        """Return an unfitted copy that trains `seeds` networks and forecasts their mean."""
        return self.with_params(seeds=seeds)

    def with_seed(self, seed: int) -> "LSTM":
        """Return an unfitted copy that draws its random numbers from `seed`, `seed + 1`, ..."""
        return self.with_params(seed=seed)

    def check(self) -> None:
        self._check_target()
        check_lookback(self.lookback)
        check_scaler(self.scaler)
        _check_choice("precision", self.precision, PRECISIONS)
        self._check_context()
        _check_choice("engine", self.engine, ("auto", "native", "torch"))
        _check_choice("head_activation", self.head_activation, ("relu", "tanh", "linear"))
        _check_choice("init", self.init, ("torch", "keras"))
        for name in ("hidden", "head"):
            widths = getattr(self, name)
            if isinstance(widths, int | str) or not all(_is_whole(w, 1) for w in widths):
                raise InputError(f"{name} must be a sequence of whole numbers of at least 1, was {widths!r}.")
        if not len(self.hidden):
            raise InputError("hidden must name at least one LSTM layer, was empty. Write hidden=(50,).")
        if any(not 0 <= p < 1 for p in self.dropouts()):
            raise InputError(f"dropout must lie in [0, 1), was {self.dropout!r}.")
        for name in ("epochs", "batch_size", "seeds", "threads"):
            if not _is_whole(getattr(self, name), 1):
                raise InputError(f"{name} must be a whole number of at least 1, was {getattr(self, name)!r}.")
        if not _is_whole(self.seed, 0) or self.seed >= 2**63:
            raise InputError(f"seed must be a whole number of at least 0 and below 2**63, was {self.seed!r}.")
        if self.patience is not None and not _is_whole(self.patience, 1):
            raise InputError(f"patience must be None or a whole number of at least 1, was {self.patience!r}.")
        if not isinstance(self.validation, int | float | np.number) or not 0 <= self.validation < 1:
            raise InputError(f"validation must be a share in [0, 1), was {self.validation!r}.")
        for name, low in (("lr", 0.0), ("clip", 0.0), ("weight_decay", 0.0), ("huber_delta", 1e-12), ("eps", 1e-300)):
            value = getattr(self, name)
            if not isinstance(value, int | float | np.number) or not low <= value < np.inf:
                raise InputError(f"{name} must be a finite number of at least {low:g}, was {value!r}.")
        self.loss_.check(self.target_)
        self.loss_.outputs(self.target_, len(self.targets_))
        if self.loss_.grouped and self.validation == 0:
            raise InputError(
                f"The {self.loss_.name} loss learns on validation rows what its scores are worth, so validation must "
                "be above 0. Write validation=0.2."
            )
        if self.schedule is not None:
            schedule_of(self.schedule, self.epochs)
        if not _is_whole(self.symbol_embedding, 0):
            raise InputError(f"symbol_embedding must be a whole number of at least 0, was {self.symbol_embedding!r}.")
        if self.loss_.grouped == "date" and self.per_symbol:
            raise InputError(
                f"The {self.loss_.name} loss compares symbols of one date, and per_symbol=True has a network for each. "
                "Use per_symbol=False."
            )
        if self.network_options and self.network == "lstm" and engine_of(self) == "native":
            raise InputError(
                f"network_options were {dict(self.network_options)!r}, but the native LSTM has none. Leave them out, "
                "or name another network."
            )
        if self.symbol_embedding and self.per_symbol:
            raise InputError("symbol_embedding tells symbols apart in one network; per_symbol=True has one for each.")
        if engine_of(self) == "torch":
            from .torch_engine import require_network

            require_network(self.network)

    def _check_context(self) -> None:
        _check_choice("context", self.context, ("window", "carry"))
        if self.context == "carry" and self.loss_.grouped:
            raise InputError(
                f"context='carry' learns row by row, and the {self.loss_.name} loss does not. Use 'window'."
            )
        for name, low in (("chunk", 1), ("burn_in", 0)):
            value = getattr(self, name)
            if value is not None and self.context == "window":
                raise InputError(f"{name}={value!r} belongs to context='carry'; windows have neither. Leave it out.")
            if value is not None and not _is_whole(value, low):
                raise InputError(f"{name} must be None or a whole number of at least {low}, was {value!r}.")

    def _check_target(self) -> None:
        given = self.targets_
        if not given or not all(isinstance(target, Target) for target in given):
            raise InputError(
                f"target must be one of features.forward_close, forward_return, forward_log_return, forward_direction "
                f"and forward_volatility, called with a horizon, was {self.target!r}. Write target=forward_return(5)."
            )
        horizons = [target.horizon for target in given]
        if any(a >= b for a, b in pairwise(horizons)) or len({target.with_horizon(1) for target in given}) > 1:
            found = ", ".join(str(target.info) for target in given)
            raise InputError(f"Several targets must be one kind over increasing horizons, were {found}.")

    def dropouts(self) -> list[float]:
        if isinstance(self.dropout, int | float | np.number):
            return [float(self.dropout)] * len(self.hidden)
        if len(self.dropout) != len(self.hidden):
            raise InputError(
                f"dropout must be one number or one per LSTM layer ({len(self.hidden)}), was {self.dropout!r}."
            )
        return [float(p) for p in self.dropout]

    @property
    def chunk_(self) -> int:
        """Most forecasts learned from one chunk, with the default filled in."""
        return max(1, self.lookback // 2) if self.chunk is None else int(self.chunk)

    @property
    def rows_before(self) -> int:
        """Rows read before the first decision row of a training sample."""
        return self.lookback - 1 if self.burn_in is None else int(self.burn_in)

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
    def loss_(self) -> Loss:
        """The loss as an object."""
        return loss_of(self.loss, float(self.huber_delta))

    @property
    def n_outputs(self) -> int:
        """Numbers the network puts out."""
        return self.loss_.outputs(self.target_, len(self.targets_))

    @property
    def program_(self):
        """The features as one compiled program, with the default filled in."""
        return FeatureSet(technical() if self.features is None else self.features)

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as a JSON-able mapping; features and target as data, no code."""
        params = self.get_params() | {
            "features": self.program_.to_dict(),
            "target": self.target_.to_dict() if len(self.targets_) == 1 else [t.to_dict() for t in self.targets_],
            "loss": self.loss if isinstance(self.loss, str) else self.loss_.to_dict(),
            "hidden": [int(w) for w in self.hidden],
            "head": [int(w) for w in self.head],
            "dropout": self.dropouts() if isinstance(self.dropout, Sequence) else float(self.dropout),
        }
        for name in _LATER:
            if params[name] == inspect.signature(LSTM.__init__).parameters[name].default:
                del params[name]
        if callable(self.network):
            params |= {"network": f"{self.network.__module__}.{self.network.__qualname__}", "network_is_code": True}
        if self.schedule is not None:
            params["schedule"] = schedule_of(self.schedule, self.epochs).to_dict()
        return {"kind": "LSTM", **params}

    @classmethod
    def from_dict(cls, configuration: Mapping[str, Any]) -> "LSTM":
        """Return the unfitted model that `to_dict` described."""
        params = {name: value for name, value in configuration.items() if name != "kind"}
        params["features"] = FeatureSet.from_dict(params["features"])
        given = params["target"]
        params["target"] = [Target.from_dict(t) for t in given] if isinstance(given, list) else Target.from_dict(given)
        return cls(**params)

    def __repr__(self) -> str:
        defaults = {n: p.default for n, p in inspect.signature(type(self).__init__).parameters.items()}
        changed = [
            f"{name}={value!r}"
            for name, value in self.get_params().items()
            if name != "features" and value is not defaults[name] and value != defaults[name]
        ]
        n = len(self.program_.names)
        return f"LSTM({', '.join(['1 feature' if n == 1 else f'{n} features', *changed])})"

    def layers(self) -> list[dict[str, Any]]:
        """Return one mapping a layer: name, kind, inputs, units (or None), parameters (one bias a gate), rows."""
        if self.network != "lstm":
            return network_layers(self, len(self.program_.names))
        rows, width, out = self.lookback, len(self.program_.names), []
        for i, units in enumerate(self.hidden):
            size = 4 * units * (width + units + 1)
            out.append({"name": f"lstm.{i}", "kind": "LSTM", "inputs": width, "units": units, "parameters": size})
            out[-1] |= {"rows": rows, "dropout": self.dropouts()[i]}
            width = units
        for j, units in enumerate([*self.head, self.n_outputs]):
            out.append({"name": f"head.{j}", "kind": "Dense", "inputs": width, "units": units})
            out[-1] |= {"parameters": units * (width + 1), "rows": None, "dropout": 0.0}
            width = units
        return out

    def summary(self) -> str:
        """Return the layers and their parameter counts as a table."""
        layers, n = self.layers(), len(self.program_.names)
        called = "LSTM" if self.network == "lstm" else getattr(self.network, "__name__", self.network)
        lines = [f"{called}: {self.target_.info}, from {n} feature{'s' * (n != 1)} over {self.lookback} bars"]
        name, kind = (max(len(layer[key]) for layer in layers) for key in ("name", "kind"))
        name, kind = max(name, 7), max(kind, 5)
        for layer in layers:
            shape = "" if layer["units"] is None else f"{layer['inputs']} -> {layer['units']}"
            if layer["rows"]:
                shape = f"{layer['rows']} x {shape}"
            lines.append(f"  {layer['name']:{name}} {layer['kind']:{kind}} {shape:>16} {layer['parameters']:>10,}")
        total = sum(layer["parameters"] for layer in layers)
        note = f"  (torch counts {total + 4 * sum(self.hidden):,}: two biases a gate)" if self.network == "lstm" else ""
        lines.append(f"  {'total':{name + kind + 18}} {total:>10,}{note}")
        return "\n".join(lines)

    # -- learning ------------------------------------------------------------------------------------------------

    def fit(
        self,
        bars: "Bars",
        start: Any = None,
        progress: Callable[[float], None] | None = None,
        checkpoint: Any = None,
    ) -> "LSTM":
        """Learn from `bars` and nothing else. Inside a `project` the fit is recorded.

        Parameters
        ----------
        bars : Bars
            All that may be known.
        start : date-like or int, optional
            First decision row; earlier bars only warm features and windows up.
        progress : callable, optional
            Called with the fraction done.
        checkpoint : path-like, optional
            Directory to keep the training in after every epoch. A fit that was killed goes on from there when it is
            called again with the same arguments, and ends with the bytes it would have had.

        Returns
        -------
        LSTM
            self, fitted.

        Raises
        ------
        NotEnoughData
            Too few bars for one window and its outcome, or for a validation part.
        DataError
            A feature or the target is constant on the training rows, or not finite where bars are.
        TrainingError
            The loss left the finite numbers.
        """
        fitting = LSTMFitting(self, bars, start, checkpoint)
        while stage := fitting.stage():
            fleet.finish(stage, self.threads if len(stage) > 1 else 1, progress)
        self.__dict__.update(fitting.result.__dict__)
        remember_fit(self, bars)
        return self

    def fitting(self, bars: "Bars", start: Any = None) -> "LSTMFitting":
        """Prepare a fit that advances by epochs, for a fleet; self is left untouched."""
        return LSTMFitting(self.with_params(threads=1), bars, start)

    # -- forecasting ---------------------------------------------------------------------------------------------

    def predict(
        self, bars: "Bars", start: Any = None, steps: int | None = None, context: str | None = None
    ) -> Forecast:
        """Forecast at every bar from `start` on, or the next `steps` sessions after the last bar.

        Parameters
        ----------
        bars : Bars
            Known history. Row t of the result equals the last row of ``predict(bars.until(t))``, bit for bit.
        start : date-like or int, optional
            First row wanted; earlier bars only warm up.
        steps : int, optional
            Instead of one forecast per bar: the path of the next `steps` sessions, with dates, in price units, each
            step fed with the one before. Needs features that read only closes. The 5 % and 95 % quantiles come from
            the errors the same path made on the validation rows, and reach at least to the forecast.
        context : {"window", "carry"}, optional
            "window" asks a network that learned to carry its state about single windows instead, to compare the two.

        Returns
        -------
        Forecast
            NaN where there is no full window; a `DataWarning` names the dates when a feature is missing though its
            bars are there. Price forecasts are in forward-adjusted units; with `steps`, in the raw
            price units of the last bar.
        """
        self._check_fitted()
        require_bars(bars, "predict")
        if steps is not None:
            return predict_path(self, bars, steps)
        first = row_of(bars, start)
        said = self._read(bars, first, context, warns=True)
        parts = {name: values[:, first:] for name, values in said.items()}
        target = self.target_
        for_time = np.array(target.label_end(bars)[first:])
        unknown = np.flatnonzero(for_time == UNKNOWN_TIME)
        if len(unknown):
            for_time[unknown] = upcoming(bars, target.info.horizon)[-len(unknown) :]
        return Forecast(bars.time[first:], bars.symbols, target=target.info, for_time=for_time, **self.joined(parts))

    def joined(self, parts: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Join the seeds' forecasts: means of points, quantiles and probabilities; the variance of the mixture."""
        joined: dict[str, Any] = {name: mean_of_seeds(values) for name, values in parts.items()}
        if "std" in parts:
            apart = mean_of_seeds((parts["mean"] - joined["mean"]) ** 2)
            joined["std"] = np.sqrt(mean_of_seeds(parts["std"] ** 2) + apart)
        loss, kind = self.loss_, self.target_.kind
        keys = {
            "quantiles": getattr(loss, "levels", ()),
            "probabilities": CLASSES.get(kind, ()),
            "horizons": [target.horizon for target in self.targets_],
        }
        for name in keys.keys() & joined.keys():
            joined[name] = {key: joined[name][:, :, k] for k, key in enumerate(keys[name])}
        return joined

    def predict_seeds(self, bars: "Bars", start: Any = None) -> np.ndarray:
        """Return every seed's forecasts, float64 (n_seeds, n_rows, n_symbols); their mean is what `predict` says."""
        self._check_fitted()
        first = row_of(bars, start)
        return self._read(bars, first)["mean"][:, first:]

    def _read(self, bars: "Bars", first: int, context: str | None = None, warns: bool = False) -> dict[str, np.ndarray]:
        """Return all that every seed's network says at the bars from `first` on, NaN where there is no full window.

        Each part has the shape (n_seeds, n_bars, n_symbols), quantiles, probabilities and horizons one axis more.
        """
        self.check_symbols(bars)
        context = self._context(context)
        program, broken = self.program_, broken_cells(bars)
        features = program.compute(bars)
        if warns:
            reached = max(0, first - self.lookback + 1)
            warn_of_unexplained_nan(features, program.names, bars, program.warmup, reached)
        if context == "carry":
            features = without(features, broken)
        windows = Windows.over(features, self.lookback, broken, first)
        n_bars, n_symbols, _ = windows.features.shape
        shape = (self.seeds, n_bars, n_symbols)
        out = {"mean": np.full(shape, np.nan)}
        for columns, nets in self.nets_for(bars.symbols):
            part = windows.take(np.isin(windows.columns, columns)) if self.per_symbol else windows
            for s, net in enumerate(nets):
                for name, values in net.read(self, part, bars.symbols, context).items():
                    if name not in out:
                        out[name] = np.full((*shape, *values.shape[1:]), np.nan)
                    out[name][s, part.rows, part.columns] = values
        return out

    def _context(self, asked: str | None) -> str:
        if asked is None:
            return self.context
        _check_choice("context", asked, ("window", "carry"))
        if asked == "carry" and self.context == "window":
            raise InputError(
                "This LSTM learned from windows, and a carried state is not what it learned. Fit LSTM(context='carry')."
            )
        return asked

    def nets_for(self, symbols: Sequence[str]):
        if not self.per_symbol:
            return [(np.arange(len(symbols)), self.nets_[0])]
        return [(np.array([j]), self.nets_[self.symbols_.index(s)]) for j, s in enumerate(symbols)]

    def _check_fitted(self) -> None:
        if not hasattr(self, "nets_"):
            raise NotFitted("This LSTM has not learned anything yet. Call fit(bars) first, or LSTM.load(directory).")

    def check_symbols(self, bars: "Bars") -> None:
        unseen = [s for s in bars.symbols if s not in self.symbols_]
        if unseen:
            raise UnknownName(
                f"This LSTM was trained on {', '.join(self.symbols_[:5])}{', ...' if len(self.symbols_) > 5 else ''} "
                f"and has never seen {', '.join(unseen[:5])}. Fit it on bars that contain {unseen[0]}, "
                f"or drop it with bars.select(...)."
            )

    def stream(self, bars: "Bars | None" = None):
        """Return a stream that answers row by row what `predict` would, bit for bit.

        Parameters
        ----------
        bars : Bars, optional
            History to warm up with; its symbols are the columns of every row from then on.

        Returns
        -------
        Stream
            With ``step(row)``, ``settle()``, ``snapshot()`` and ``restore()``.
        """
        self._check_fitted()
        if bars is not None:
            require_bars(bars, "stream")
        return Stream(self, bars)

    # -- keeping -------------------------------------------------------------------------------------------------

    def save(self, directory: Any) -> None:
        """Write everything `load` needs into one directory, atomically; no pickle."""
        self._check_fitted()
        save_lstm(self, directory)

    @classmethod
    def load(cls, directory: Any, network: Callable[[int, int, int], Any] | None = None) -> "LSTM":
        """Read what `save` wrote; damaged, foreign or newer directories raise `ArtifactError`.

        Parameters
        ----------
        directory : path-like
            Where it was saved.
        network : callable, optional
            The function that makes the module, for a model that was given one: code is never saved.
        """
        return load_lstm(cls, directory, network)


def _is_whole(value: Any, low: int) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= low)


def _check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UnknownName(f"{name} was {value!r}. {did_you_mean(str(value), choices)}")
