"""`TradingLSTM`, `TradingGRU` and `MultivariateLSTM`: puffin's forecasters, with the published signatures.

What is kept: arguments, shapes, history keys and attributes; all epochs run and the last weights stay. What is put
right: the scaling is learned on training rows only, a window's last row is the row its target belongs to, training
outcomes are known before validation begins, losses are weighted by samples, and the same seed gives the same bytes.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import artifact
from ...errors import ArtifactError, InputError, NotEnoughData, NotFitted, UnknownName, did_you_mean
from ...features.windows import check_lookback
from ...models.lstm import LSTM
from .frames import frame_values, require_frame, series_values, target_values
from .learning import History, Learned, Split, learn
from .seeding import chosen_seed

if TYPE_CHECKING:
    import pandas as pd

KIND, VERSION = "puffin", 1


class NotTrained(NotFitted, ValueError):
    """A forecaster was asked before `fit`; also the built-in error code written for puffin catches."""


class _Forecaster:
    """What the three have in common: learning, answering, saving."""

    _network, _stacked = "lstm", False
    _parameters: tuple[str, ...] = ()
    _learned: Learned | None
    lookback: int | None

    def __init__(self, dropout: float, seed: int | None) -> None:
        self.dropout = dropout
        self.seed = chosen_seed() if seed is None else seed
        self.lookback, self._learned = None, None

    def _settings(self, hidden: Sequence[int], lookback: int, epochs: int, lr: float, batch_size: int, share: float):
        """Return the checked arguments of the `LSTM` whose engine trains: dropout between layers, last weights kept."""
        layers = int(np.size(hidden))
        model = LSTM(
            lookback=lookback,
            hidden=hidden,
            dropout=[self.dropout] * (layers - 1) + [0.0] * (layers > 0),
            epochs=epochs,
            batch_size=batch_size,
            lr=lr,
            validation=share,
            patience=None,
            seed=self.seed,
            network=self._network,
        )
        plain = {"lookback": int, "epochs": int, "batch_size": int, "lr": float, "validation": float, "seed": int}
        settings = {name: kind(getattr(model, name)) for name, kind in plain.items()}
        settings |= {"hidden": [int(units) for units in hidden], "dropout": model.dropouts()}
        return settings | {"patience": None, "network": self._network}

    def _require_trained(self) -> Learned:
        if self._learned is None:
            raise NotTrained(f"Model must be trained before it can predict: call {type(self).__name__}.fit first.")
        return self._learned

    @property
    def history_(self) -> History:
        """The losses of the last fit, as `fit` returned them."""
        return self._require_trained().history

    def _columns(self) -> dict[str, Any]:
        return {}

    def save(self, directory: Any) -> None:
        """Write everything `load` needs into one directory, atomically; no pickle.

        Raises
        ------
        NotTrained
            Before `fit`.
        """
        learned = self._require_trained()
        document = {
            "class": type(self).__name__,
            "settings": learned.settings,
            "params": {name: value for name, value in vars(self).items() if name in self._parameters},
            "columns": self._columns(),
            "history": learned.history,
        }
        artifact.save(directory, KIND, tensors=learned.tensors(), documents={"model": document}, version=VERSION)

    @classmethod
    def load(cls, directory: Any) -> Any:
        """Read what `save` wrote; forecasts have the bits they had before.

        Raises
        ------
        ArtifactError
            Damaged, foreign or newer directories, or a forecaster of another class.
        """
        found = artifact.load(directory, KIND, version=VERSION)
        try:
            document = found.documents["model"]
            if document["class"] != cls.__name__:
                raise ArtifactError(f"{directory} holds a {document['class']}. Open it with {document['class']}.load.")
            model = cls(**document["params"])
            columns, settings = document["columns"], document["settings"]
            n_features = len(columns["feature_cols"]) if columns else 1
            model._learned = Learned.from_tensors(settings, found.tensors, n_features, document["history"])
            model.lookback = settings["lookback"]
            for name in model._columns():
                setattr(model, name, columns[name])
        except (KeyError, TypeError, InputError) as error:
            raise ArtifactError(f"{directory} does not describe a {cls.__name__}: {error}. Save it again.") from error
        return model

    @property
    def model(self) -> Any:
        """The trained network as a torch module in evaluation mode (extra `torch`), None before `fit`."""
        if self._learned is None:
            return None
        from .networks import module_of

        inputs = len(self._learned.net.inputs.center)
        return module_of(self._learned.settings, self._learned.net.weights, inputs, self._stacked)

    @property
    def device(self) -> Any:
        """The torch device it computes on (extra `torch`): the processor, for a GRU a GPU where there is one."""
        from .networks import device_of

        return device_of(self._network)


class TradingLSTM(_Forecaster):
    """The next values of one series, from its own last values.

    Parameters
    ----------
    hidden_dim : int, default=64
        Units of each layer.
    num_layers : int, default=2
        Stacked LSTM layers.
    dropout : float, default=0.2
        Share of a layer's outputs dropped on the way to the next layer, while training.
    seed : int, optional
        Origin of initial weights, shuffling and dropout; the one given to `set_seed` by default. The same seed gives
        the same bytes.

    Attributes
    ----------
    lookback : int or None
        Of the last fit.
    mean, std : float or None
        The scaling, learned on the training windows' rows alone.

    Notes
    -----
    An LSTM on price levels cannot say prices beyond those it has learned from. `longshort.models.presets.returns` does
    not have that limit.

    Examples
    --------
    >>> import longshort as ls
    >>> prices = ls.load_bars("AAPL", start="2019-01-01", end="2019-12-31", source="sample")["close"][:, 0]
    >>> lstm = TradingLSTM(hidden_dim=16, seed=0)
    >>> history = lstm.fit(prices, lookback=20, epochs=3)
    >>> list(history), len(history["val_loss"]), lstm.predict(prices, steps=5).shape
    (['train_loss', 'val_loss'], 3, (5,))
    """

    _parameters = ("hidden_dim", "num_layers", "dropout", "seed")

    def __init__(
        self, *, hidden_dim: int = 64, num_layers: int = 2, dropout: float = 0.2, seed: int | None = None
    ) -> None:
        super().__init__(dropout, seed)
        self.hidden_dim, self.num_layers = hidden_dim, num_layers

    def prepare_sequences(self, series: np.ndarray, lookback: int) -> tuple[np.ndarray, np.ndarray]:
        """Return windows (n - lookback, lookback, 1) and the value after each, (n - lookback,).

        Raises
        ------
        NotEnoughData
            `series` has no value after its first window.
        """
        check_lookback(lookback)
        series = np.asarray(series)
        if series.ndim != 1 or len(series) <= lookback:
            raise NotEnoughData(
                f"A window of {lookback} and the value after it need a one-dimensional series of {lookback + 1} "
                f"values, but series has shape {series.shape}."
            )
        windows = np.lib.stride_tricks.sliding_window_view(series[:-1], lookback)
        return windows[:, :, None].copy(), series[lookback:].copy()

    def fit(
        self,
        series: np.ndarray,
        lookback: int = 20,
        epochs: int = 50,
        lr: float = 0.001,
        batch_size: int = 32,
        validation_split: float = 0.2,
    ) -> History:
        """Learn the next value from the `lookback` values before it.

        Parameters
        ----------
        series : array-like (n,)
            Finite, oldest first.
        lookback : int, default=20
            Values in a window.
        epochs : int, default=50
            Passes over the training windows; all are run and the last weights stay.
        lr : float, default=0.001
            Adam's step size.
        batch_size : int, default=32
            Windows per step.
        validation_split : float, default=0.2
            Share of the windows, the latest ones, the validation loss is taken over. They never touch the weights or
            the scaling.

        Returns
        -------
        dict of str to list of float
            `train_loss` and `val_loss`, one mean squared error an epoch, in scaled units. `val_loss` is empty with
            ``validation_split=0``.

        Raises
        ------
        PriceError
            A value is not finite.
        NotEnoughData
            Too few values for one training and one validation window.
        DataError
            The series is constant.
        TrainingError
            The loss left the finite numbers.
        """
        _require_whole("num_layers", self.num_layers, 1)
        hidden = [self.hidden_dim] * self.num_layers
        settings = self._settings(hidden, lookback, epochs, lr, batch_size, validation_split)
        values = series_values(series, lookback + 2, f"Learning with lookback={lookback}")
        outcome = np.append(values[1:], np.nan)
        split = Split.of(values[:, None], outcome, lookback, validation_split, known_after=1)
        self._learned, self.lookback = learn(settings, split, ["series"], target=None), lookback
        return self._learned.history

    def predict(self, series: np.ndarray, steps: int = 1) -> np.ndarray:
        """Return the next `steps` values after the last one, each fed with the ones before, float64 (steps,).

        Raises
        ------
        NotTrained
            Before `fit`.
        PriceError, NotEnoughData
            The last `lookback` values are not finite, or there are fewer.
        """
        learned = self._require_trained()
        lookback = learned.settings["lookback"]
        _require_whole("steps", steps, 1)
        path = series_values(np.atleast_1d(series)[-lookback:], lookback, f"Predicting with lookback={lookback}")
        for _ in range(steps):
            path = np.append(path, learned.forecast(path[-lookback:, None]))
        return path[lookback:]

    @property
    def mean(self) -> float | None:
        """The mean of the training rows."""
        return None if self._learned is None else float(self._learned.net.inputs.center[0])

    @property
    def std(self) -> float | None:
        """The standard deviation of the training rows."""
        return None if self._learned is None else float(self._learned.net.inputs.scale[0])


class TradingGRU(TradingLSTM):
    """`TradingLSTM` with gated recurrent units (Cho et al., 2014), trained by the torch engine (extra `torch`).

    Parameters
    ----------
    hidden_dim, num_layers, dropout, seed
        As in `TradingLSTM`.

    Examples
    --------
    >>> TradingGRU(seed=0).lookback is None
    True
    """

    _network = "gru"


class MultivariateLSTM(_Forecaster):
    """A target column of a frame, from the last rows of all other columns.

    Parameters
    ----------
    dropout : float, default=0.2
        Share of a layer's outputs dropped on the way to the next layer, while training.
    seed : int, optional
        As in `TradingLSTM`.

    Attributes
    ----------
    lookback, feature_cols, target_col
        Of the last fit.
    means, stds : float64 array (n_features,) or None
        The features' scaling, learned on the training windows' rows alone.
    target_mean, target_std : float or None
        The target's, learned on the training outcomes alone.

    Examples
    --------
    >>> import longshort as ls
    >>> from longshort.interop.puffin import create_trading_features
    >>> bars = ls.load_bars("AAPL", start="2018-01-01", end="2019-12-31", source="sample").to_pandas(adjust="total")
    >>> features = create_trading_features(bars.rename(columns=str.capitalize))
    >>> features["target"] = features["returns"].shift(-1)
    >>> lstm = MultivariateLSTM(seed=0)
    >>> history = lstm.fit(features.dropna(), target_col="target", epochs=2, hidden_dims=[16, 8])
    >>> lstm.predict(features.iloc[-20:]).shape
    (1,)
    """

    _stacked = True
    _parameters = ("dropout", "seed")

    def __init__(self, *, dropout: float = 0.2, seed: int | None = None) -> None:
        super().__init__(dropout, seed)
        self.feature_cols: list[str] | None = None
        self.target_col: str | None = None

    def prepare_sequences(
        self, features: np.ndarray, target: np.ndarray, lookback: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return windows (n - lookback, lookback, n_features) and the target of the row after each, (n - lookback,).

        This is the published pairing. `fit` pairs a window with the target of its own last row, as `predict` does.

        Raises
        ------
        NotEnoughData
            There is no row after the first window.
        InputError
            `features` and `target` do not go together.
        """
        check_lookback(lookback)
        features, target = np.asarray(features), np.asarray(target)
        if features.ndim != 2 or target.shape != features.shape[:1]:
            raise InputError(
                f"features must be (n_rows, n_features) and target (n_rows,), were {features.shape} and {target.shape}."
            )
        if len(features) <= lookback:
            raise NotEnoughData(
                f"A window of {lookback} and the row after it need {lookback + 1} rows, "
                f"but features has {len(features)}."
            )
        windows = np.lib.stride_tricks.sliding_window_view(features[:-1], lookback, axis=0)
        return windows.transpose(0, 2, 1).copy(), target[lookback:].copy()

    def fit(
        self,
        features_df: "pd.DataFrame",
        target_col: str,
        lookback: int = 20,
        epochs: int = 50,
        lr: float = 0.001,
        batch_size: int = 32,
        validation_split: float = 0.2,
        hidden_dims: Sequence[int] | None = None,
        *,
        horizon: int = 1,
        shift: int = 0,
    ) -> History:
        """Learn row t's target from rows t - lookback + 1 to t of all other columns.

        Parameters
        ----------
        features_df : DataFrame
            One row a bar, oldest first, all columns numbers. The target may be NaN at the end, where it is not known.
        target_col : str
            The outcome after each row, such as ``returns.shift(-1)``.
        lookback, epochs, lr, batch_size, validation_split
            As in `TradingLSTM.fit`.
        hidden_dims : sequence of int, default=(64, 32)
            Units of each layer.
        horizon : int, default=1
            Rows after which row t's target is known. Rows whose target is not known before validation begins do not
            teach.
        shift : int, default=0
            Rows the target still has to be moved ahead: 1 for a column measured on its own row, such as ``close``,
            whose next value is wanted.

        Returns
        -------
        dict of str to list of float
            As in `TradingLSTM.fit`.

        Raises
        ------
        UnknownName
            No such column.
        PriceError, TimeError, NotEnoughData, DataError, TrainingError
            Values that are not finite; rows out of order; too few rows; a constant column; a loss that is not finite.
        """
        hidden = (64, 32) if hidden_dims is None else hidden_dims
        settings = self._settings(hidden, lookback, epochs, lr, batch_size, validation_split)
        require_frame(features_df, "features_df")
        if target_col not in features_df.columns:
            known = [str(name) for name in features_df.columns]
            raise UnknownName(f"target_col was {target_col!r}. {did_you_mean(str(target_col), known)}")
        names = [name for name in features_df.columns if name != target_col]
        if not names:
            raise InputError("features_df must have at least one column beside the target. Add one to learn from.")
        _require_whole("horizon", horizon, 1)
        _require_whole("shift", shift, 0)
        features, target = frame_values(features_df, names), target_values(features_df, target_col)
        outcome = np.concatenate([target[shift:], np.full(shift, np.nan)])[: len(target)]
        split = Split.of(features, outcome, lookback, validation_split, known_after=max(horizon, shift))
        learned = learn(settings, split, [str(name) for name in names], target=str(target_col))
        self._learned, self.lookback, self.feature_cols, self.target_col = learned, lookback, names, target_col
        return learned.history

    def predict(self, features_df: "pd.DataFrame", *, every_row: bool = False) -> np.ndarray:
        """Return the forecast at the last row, float64 (1,).

        Parameters
        ----------
        features_df : DataFrame
            At least `lookback` rows of the columns seen in `fit`; others are ignored.
        every_row : bool, default=False
            Return the forecast of every row with a full window instead, (n_rows - lookback + 1,).

        Raises
        ------
        NotTrained
            Before `fit`.
        UnknownName, PriceError, NotEnoughData
            A column is missing, a value in use is not finite, or there are too few rows.
        """
        learned = self._require_trained()
        require_frame(features_df, "features_df")
        lookback = learned.settings["lookback"]
        if len(features_df) < lookback:
            raise NotEnoughData(
                f"Predicting with lookback={lookback} needs {lookback} rows, but features_df has {len(features_df)}."
            )
        used = features_df if every_row else features_df.iloc[-lookback:]
        return learned.forecast(frame_values(used, self.feature_cols or []))

    def _columns(self) -> dict[str, Any]:
        return {"feature_cols": self.feature_cols, "target_col": self.target_col}

    @property
    def means(self) -> np.ndarray | None:
        """The features' means over the training rows."""
        return None if self._learned is None else self._learned.net.inputs.center.copy()

    @property
    def stds(self) -> np.ndarray | None:
        """The features' standard deviations over the training rows."""
        return None if self._learned is None else self._learned.net.inputs.scale.copy()

    @property
    def target_mean(self) -> float | None:
        """The mean of the training outcomes."""
        return None if self._learned is None else float(self._learned.net.output.center[0])

    @property
    def target_std(self) -> float | None:
        """The standard deviation of the training outcomes."""
        return None if self._learned is None else float(self._learned.net.output.scale[0])


def _require_whole(name: str, value: Any, low: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < low:
        raise InputError(f"{name} must be a whole number of at least {low}, was {value!r}.")
