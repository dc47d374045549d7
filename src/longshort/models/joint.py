"""An LSTM that predicts the returns of several symbols together: their means and their covariance.

One sample is one row: the features of all symbols over the last bars, and the state of their covariances. The network
does not draw a covariance from nothing, which two thousand rows could never teach it for 100 symbols. It says, bar by
bar, how far to trust estimates of different memory, and what they miss::

    covariance = D ( exp(2 v) * sum_j w_j E_j  +  B B' ) D

    E_j      exponential means of products of known outcomes, one a memory, each with 5 % of its diagonal alone;
             the slowest with one correlation for all pairs; its diagonal
    w        shares of them: softmax(fixed + said by the network)
    v        level: fixed + said by the network
    B        loadings of each symbol on a few factors, said by the network
    D        deviations of the outcomes on the training rows

Every E_j is positive definite and so is their mixture, whatever the network says; B B' only adds. The fixed parts are
the likeliest on the training rows and learned first, as in Engle's (2002) two steps; the network starts by saying
nothing and learns what the normal likelihood of the outcomes gains from it. Among its inputs is how well each E_j has
told the latest outcomes, so that it can change memory when correlations do (Bates and Granger, 1969, over time).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .. import artifact
from ..bars import Bars, require_bars
from ..errors import ArtifactError, InputError, NotFitted
from ..features import FeatureSet, Target, forward_log_return, log_return
from ..features.windows import Scaling, Windows, check_lookback
from ..forecast import Forecast
from . import fleet
from .covariances import check_returns, columns_by_name, in_the_order_of, joint_forecast
from .fits import remember_fit
from .joint_fitting import JointFitting
from .joint_state import FEWEST, Base, Panel, n_outputs_of
from .network import mean_of_seeds, row_of
from .parameters import Parameters
from .training import History

KIND, VERSION = "joint_lstm", 1
_AT_ONCE = 128  # covariances worked on together


class JointLSTM(Parameters):
    """An LSTM that predicts means and covariance of several symbols' returns together.

    Parameters
    ----------
    features : Feature or (nested) sequence of Features, optional
        Of every symbol, all of them inputs of every sample; the last log return by default. An empty sequence leaves
        the state of the covariances alone as input, which is a good choice where means cannot be predicted.
    target : Target, optional
        A return or log return; the next bar's log return by default.
    lookback : int, default=20
        Bars in a window.
    hidden : sequence of int, default=(8,)
        Units of each LSTM layer.
    factors : int, default=1
        Predicted loadings of every symbol: B above; 0 for none.
    memories : sequence of float, default=(10, 40, 160)
        Half-lives in bars of the exponential means, rising.
    dropout : float, default=0.0
        Share of each LSTM layer's outputs dropped while training.
    epochs, batch_size, lr, validation, patience, seeds, seed, threads, refit, clip, weight_decay
        As of `LSTM`.

    Attributes
    ----------
    base_ : Base
        What is fixed: means, deviations, shares and level; `shares` by memory are in ``base_.shares``.
    nets_ : list of dict
        Weights of the network of each seed, with the names of `torch.nn.LSTM`.
    histories_ : list of History
        Losses of each seed: minus the log density per symbol, without its constant.

    Notes
    -----
    Training needs the extra ``torch``; forecasts do not. Symbols are aligned by name: the order of the columns changes
    no bit, in training and after. A row has a forecast when every symbol has a full window; several seeds are a
    mixture, with the covariance of one. Training keeps ``8 * len(memories) * n_rows * n_symbols ** 2`` bytes.

    Examples
    --------
    >>> from longshort.data import synthetic
    >>> bars = synthetic.correlation_switch(700, ["A", "B", "C"], seed=1)
    >>> forecast = JointLSTM([], hidden=(4,), epochs=2).fit(bars).predict(bars)
    >>> forecast.covariance.shape, bool(np.linalg.eigvalsh(forecast.covariance[-1]).min() > 0)
    ((700, 3, 3), True)
    """

    name = "joint_lstm"
    symbols_: tuple[str, ...]
    base_: Base
    nets_: list[dict[str, np.ndarray]]
    histories_: list[History]

    def __init__(
        self,
        features: Any = None,
        target: Any = None,
        lookback: int = 20,
        hidden: Sequence[int] = (8,),
        factors: int = 1,
        memories: Sequence[float] = (10, 40, 160),
        dropout: float = 0.0,
        epochs: int = 30,
        batch_size: int = 64,
        lr: float = 3e-3,
        validation: float = 0.2,
        patience: int | None = 5,
        seeds: int = 1,
        seed: int = 0,
        threads: int = 1,
        *,
        refit: bool = True,
        clip: float = 1.0,
        weight_decay: float = 1e-3,
    ):
        self.features, self.target, self.lookback, self.hidden = features, target, lookback, hidden
        self.factors, self.memories, self.dropout = factors, memories, dropout
        self.epochs, self.batch_size, self.lr = epochs, batch_size, lr
        self.validation, self.patience, self.seeds, self.seed = validation, patience, seeds, seed
        self.threads, self.refit, self.clip, self.weight_decay = threads, refit, clip, weight_decay
        self.check()

    # -- configuration -------------------------------------------------------------------------------------------

    def check(self) -> None:
        check_lookback(self.lookback)
        check_returns(self.target_, "JointLSTM")
        for name, low in (("epochs", 1), ("batch_size", 1), ("seeds", 1), ("threads", 1), ("factors", 0), ("seed", 0)):
            _check_whole(name, getattr(self, name), low)
        if self.patience is not None:
            _check_whole("patience", self.patience, 1)
        if isinstance(self.hidden, int | str) or not len(self.hidden):
            raise InputError(f"hidden must be a sequence of whole numbers such as (8,), was {self.hidden!r}.")
        for units in self.hidden:
            _check_whole("hidden", units, 1)
        memories = list(self.memories) if not isinstance(self.memories, int | float | str) else []
        if not memories or any(not 1 <= h < np.inf for h in memories) or sorted(set(memories)) != memories:
            raise InputError(f"memories must be half-lives of at least 1 bar, rising, were {self.memories!r}.")
        for name, low, high in (
            ("lr", 0.0, np.inf), ("clip", 0.0, np.inf), ("weight_decay", 0.0, np.inf), ("dropout", 0.0, 1.0),
            ("validation", 0.0, 1.0),
        ):  # fmt: skip
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not low <= value < high:
                raise InputError(f"{name} must be at least {low:g} and below {high:g}, was {value!r}.")

    @property
    def target_(self) -> Target:
        """The target with its default filled in."""
        return forward_log_return(1) if self.target is None else self.target

    @property
    def program_(self) -> FeatureSet | None:
        """The features of every symbol as one compiled program; None where there are none."""
        if self.features is None:
            return FeatureSet([log_return()])
        if isinstance(self.features, list | tuple) and not self.features:
            return None
        return self.features if isinstance(self.features, FeatureSet) else FeatureSet(self.features)

    @property
    def warmup(self) -> int:
        """Bars before the first forecast."""
        inputs = 0 if self.program_ is None else int(self.program_.warmup)
        return max(inputs, FEWEST + self.target_.horizon) + self.lookback - 1

    @property
    def decays(self) -> list[float]:
        """Weight of an outcome relative to the next, one a memory."""
        return [0.5 ** (1.0 / h) for h in self.memories]

    def with_seeds(self, seeds: int) -> "JointLSTM":
        """Return an unfitted copy that trains `seeds` networks and forecasts their mixture."""
        return self.with_params(seeds=seeds)

    def with_seed(self, seed: int) -> "JointLSTM":
        """Return an unfitted copy that draws its random numbers from `seed`, `seed + 1`, ..."""
        return self.with_params(seed=seed)

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as a JSON-able mapping; features and target as data, no code."""
        program = self.program_
        return {
            "kind": "JointLSTM",
            **self.get_params(),
            "features": [] if program is None else program.to_dict(),
            "target": self.target_.to_dict(),
            "hidden": [int(units) for units in self.hidden],
            "memories": [float(h) for h in self.memories],
        }

    @classmethod
    def from_dict(cls, configuration: Mapping[str, Any]) -> "JointLSTM":
        """Return the unfitted model that `to_dict` described."""
        params = {name: value for name, value in configuration.items() if name != "kind"}
        params["features"] = FeatureSet.from_dict(params["features"]) if params["features"] else []
        return cls(**params | {"target": Target.from_dict(params["target"])})

    def __repr__(self) -> str:
        n = 0 if self.program_ is None else len(self.program_.names)
        return f"JointLSTM({n} feature{'s' * (n != 1)} a symbol, hidden={tuple(self.hidden)}, factors={self.factors})"

    # -- learning ------------------------------------------------------------------------------------------------

    def fit(self, bars: "Bars", start: Any = None, progress: Callable[[float], None] | None = None) -> "JointLSTM":
        """Learn from `bars` and nothing else; rows before `start` only warm up.

        Raises
        ------
        NotEnoughData
            Fewer than two symbols, or too few rows at which all symbols have a window and an outcome.
        SetupError
            The extra ``torch`` is not installed.
        """
        fitting = JointFitting(self, bars, start)
        while stage := fitting.parts():
            fleet.finish(stage, self.threads if len(stage) > 1 else 1, progress)
        self.__dict__.update(fitting.result.__dict__)
        remember_fit(self, bars)
        return self

    def fitting(self, bars: "Bars", start: Any = None) -> "JointFitting":
        """Prepare a fit that advances by epochs, for a fleet; self is left untouched."""
        return JointFitting(self.with_params(threads=1), bars, start)

    # -- forecasting ---------------------------------------------------------------------------------------------

    def predict(self, bars: "Bars", start: Any = None) -> Forecast:
        """Forecast mean and covariance at every bar from `start` on; NaN where a symbol has no full window."""
        columns, first, means, covariances = self._read(bars, start)
        mean, covariance = mean_of_seeds(means), mean_of_seeds(covariances)
        if len(means) > 1:
            apart = means - mean
            covariance = covariance + mean_of_seeds(apart[..., :, None] * apart[..., None, :])
        return joint_forecast(self.target_, bars, first, *in_the_order_of(columns, mean, covariance))

    def predict_seeds(self, bars: "Bars", start: Any = None) -> np.ndarray:
        """Return every seed's means, (n_seeds, n_rows, n_symbols); their mean is what `predict` says."""
        columns, _, means, _ = self._read(bars, start)
        return means[:, :, np.argsort(columns)]

    def _read(self, bars: "Bars", start: Any) -> tuple[np.ndarray, int, np.ndarray, np.ndarray]:
        """Return columns, first row, means and covariances of each seed, (n_seeds, n_rows, ...), by `symbols_`."""
        if not hasattr(self, "nets_"):
            raise NotFitted("This JointLSTM has not learned anything yet. Call fit(bars) first.")
        require_bars(bars, "predict")
        columns, first, n = columns_by_name(self, bars), row_of(bars, start), len(self.symbols_)
        panel = Panel(self, bars, self.symbols_, self.base_, max(0, first - self.lookback + 1))
        windows = panel.windows(first)
        means = np.full((len(self.nets_), len(bars) - first, n), np.nan)
        covariances = np.full((*means.shape, n), np.nan)
        for s, weights in enumerate(self.nets_):
            raw = _outputs(self, weights, windows, self.base_.inputs)
            for at in range(0, len(raw), _AT_ONCE):
                part = slice(at, at + _AT_ONCE)
                rows = windows.rows[part]
                said = self.base_.said(raw[part], panel.means_at(rows), self.factors)
                means[s, rows - first], covariances[s, rows - first] = said
        return columns, first, means, covariances

    # -- keeping -------------------------------------------------------------------------------------------------

    def save(self, directory: Any) -> None:
        """Write everything `load` needs into one directory, atomically; no pickle."""
        if not hasattr(self, "nets_"):
            raise NotFitted("This JointLSTM has not learned anything yet. Call fit(bars) first.")
        if self.program_ is not None:
            self.program_.require_saveable()
        weights = {f"{s}.{name}": array for s, net in enumerate(self.nets_) for name, array in net.items()}
        document = {
            "model": self.to_dict(),
            "symbols": list(self.symbols_),
            "histories": [h.to_dict() for h in self.histories_],
            "trained": self.trained_,
        }
        tensors = {"weights": weights, "base": self.base_.arrays()}
        artifact.save(directory, KIND, documents={"model": document}, tensors=tensors, version=VERSION)

    @classmethod
    def load(cls, directory: Any) -> "JointLSTM":
        """Read what `save` wrote; damaged, foreign or newer directories raise `ArtifactError`."""
        found = artifact.load(directory, KIND, version=VERSION)
        try:
            document = found.documents["model"]
            model = cls.from_dict(document["model"])
            model.symbols_, model.trained_ = tuple(document["symbols"]), document["trained"]
            model.histories_ = [History(**h) for h in document["histories"]]
            model.history_ = model.histories_[0]
            model.base_ = Base.of(found.tensors["base"], len(model.symbols_), len(model.memories))
            model.nets_ = []
            for s in range(model.seeds):
                own = {k.removeprefix(f"{s}."): a for k, a in found.tensors["weights"].items() if k.startswith(f"{s}.")}
                _native(model, len(model.base_.inputs.center)).set_weights(own)
                model.nets_.append(own)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ArtifactError(
                f"{directory} does not fit its own description, or describes a JointLSTM this version cannot build: "
                f"{type(error).__name__}: {error}. Save the model again."
            ) from error
        return model

    trained_: dict[str, Any]
    history_: History


def _check_whole(name: str, value: Any, low: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < low:
        raise InputError(f"{name} must be a whole number of at least {low}, was {value!r}.")


def _native(model: JointLSTM, n_inputs: int) -> Any:
    """Return the native engine for the shape of the model: forecasts need no torch."""
    from ..native import core

    return core.LSTMTrainer64(
        n_inputs=n_inputs,
        hidden=[int(units) for units in model.hidden],
        head=[],
        n_outputs=n_outputs_of(model, len(model.symbols_)),
        lookback=int(model.lookback),
        loss="mse",
    )


def _outputs(model: JointLSTM, weights: Mapping[str, np.ndarray], windows: Windows, inputs: Scaling) -> np.ndarray:
    engine = _native(model, len(inputs.center))
    engine.set_weights(dict(weights))
    engine.bind(windows.features, windows.time_stride, inputs.center, inputs.scale)
    return np.asarray(engine.predict(windows.starts), np.float64)
