"""An LSTM that predicts the returns of several symbols together: their means and their covariance.

One sample is one row: the features of all symbols over the last bars, and the state of their covariances. The network
does not draw a covariance from nothing, which two thousand rows could never teach it for 100 symbols. It says, bar by
bar, how far to trust estimates of different memory, and what they miss::

    covariance = D ( exp(2 v) * sum_j w_j E_j  +  B B' ) D

    E_j      exponential means of products of known outcomes, one a memory, each with `OWN` of its diagonal alone;
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
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from .. import artifact
from ..bars import Bars, require_bars
from ..errors import ArtifactError, InputError, NotEnoughData, NotFitted
from ..features import FeatureSet, Target, forward_log_return, log_return
from ..features.windows import Scaling, Windows, broken_cells, check_lookback, refuse_unexplained_nan
from ..forecast import Forecast
from . import fleet
from .covariances import (
    Outcomes,
    check_returns,
    columns_by_name,
    constant_correlation,
    correlation_of,
    exponential_means,
    in_the_order_of,
    joint_forecast,
)
from .fits import remember_fit
from .network import mean_of_seeds, row_of
from .parameters import Parameters
from .training import History, Samples, Training

OWN = 0.05  # share of its diagonal in every exponential mean: fewer outcomes than symbols would make it singular
FLOOR = 1e-4  # of a variance, in units of the training rows': a symbol that stands still has one
FEWEST = 60  # outcomes known before a state of the covariances is believed
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
    base_: "Base"
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
            for failure in fleet.run(stage, self.threads if len(stage) > 1 else 1, progress):
                if failure is not None:
                    raise failure
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


@dataclass(frozen=True, eq=False)
class Base:
    """What of a covariance is fixed, and how raw outputs of a network are read beside it.

    Parameters
    ----------
    mean, scale : float64 array (n_symbols,)
        Of the outcomes on the training rows.
    logits : float64 array (n_memories + 2,)
        Of the fixed shares.
    level : float
        Logarithm of the fixed deviation, beside `scale`.
    inputs : Scaling
        Of the network's inputs.
    """

    mean: np.ndarray
    scale: np.ndarray
    logits: np.ndarray
    level: float
    inputs: Scaling

    @property
    def shares(self) -> np.ndarray:
        """Fixed shares of the exponential means, one correlation for all, and the diagonal."""
        return _softmax(self.logits)

    def said(self, raw: np.ndarray, means: np.ndarray, factors: int) -> tuple[np.ndarray, np.ndarray]:
        """Return means (n, n_symbols) and covariances in units of the target.

        Parameters
        ----------
        raw : float64 array (n, n_outputs)
            What the network put out: means, shares, level, loadings.
        means : float64 array (n, n_memories, n_symbols, n_symbols)
            Exponential means at the same rows.
        factors : int
            Loadings of a symbol.
        """
        n, last = len(self.mean), len(self.mean) + len(self.logits)
        shares = _softmax(self.logits + raw[:, n:last])
        covariance = np.einsum("te,teij->tij", shares, experts_of(means))
        covariance *= np.exp(2.0 * (self.level + raw[:, last]))[:, None, None]
        if factors:
            loadings = raw[:, last + 1 :].reshape(-1, n, factors)
            covariance += np.einsum("tik,tjk->tij", loadings, loadings)
        return self.mean + raw[:, :n] * self.scale, covariance * (self.scale[:, None] * self.scale)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return everything as arrays by name."""
        own = {"mean": self.mean, "scale": self.scale, "logits": self.logits, "level": np.array([self.level])}
        return own | {"inputs.center": self.inputs.center, "inputs.scale": self.inputs.scale}

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray], n_symbols: int, n_memories: int) -> "Base":
        """Return what `arrays` described; `ValueError` where it fits no model of this size."""
        found = cls(
            arrays["mean"],
            arrays["scale"],
            arrays["logits"],
            float(arrays["level"][0]),
            Scaling("standard", arrays["inputs.center"], arrays["inputs.scale"]),
        )
        fits = found.mean.shape == found.scale.shape == (n_symbols,) and found.logits.shape == (n_memories + 2,)
        if not fits or not (found.scale > 0).all() or not (found.inputs.scale > 0).all():
            raise ValueError(f"the fixed part must fit {n_symbols} symbols and {n_memories} memories")
        return found


def _softmax(logits: np.ndarray) -> np.ndarray:
    odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return odds / odds.sum(axis=-1, keepdims=True)


def experts_of(means: np.ndarray) -> np.ndarray:
    """Return the estimates that are mixed, (n, n_memories + 2, n_symbols, n_symbols), all positive definite.

    Examples
    --------
    >>> experts_of(np.array([[[[1.0, 1.0], [1.0, 1.0]]]]))[0, :, 0, 1]   # of a singular mean
    array([0.95, 1.  , 0.  ])
    """
    identity, slow = np.eye(means.shape[-1]), means[:, -1]
    own = (1 - OWN) * means + OWN * np.einsum("tmii->tmi", means)[..., None] * identity
    diagonal = np.einsum("tii->ti", slow)[..., None] * identity
    return np.concatenate([own, constant_correlation(slow)[:, None], diagonal[:, None]], axis=1)


class Panel:
    """What the network reads at every bar: features of all symbols side by side, and the state of the covariances.

    Parameters
    ----------
    model : JointLSTM
        Says which.
    bars : Bars
        Where from.
    symbols : tuple of str
        In the order they are read.
    base : object with mean and scale
        By which outcomes are scaled.
    first : int
        First bar that is read; all earlier outcomes are remembered.
    """

    def __init__(self, model: JointLSTM, bars: "Bars", symbols: Sequence[str], base: Any, first: int):
        self.bars, self.model, self.columns = bars, model, [bars.symbols.index(s) for s in symbols]
        self.outcomes = Outcomes(model.target_, bars, symbols)
        self.z = (self.outcomes.values - base.mean) / base.scale
        known = self.outcomes.known
        self.low = max(FEWEST, int(known[first]) - 1) if len(known) > first else FEWEST
        high = max(int(known[-1]), self.low)
        counts = np.arange(self.low, high + 1) if known[-1] >= self.low else np.zeros(0, int)
        self.means = np.stack([exponential_means(self.z, counts, d) for d in model.decays], axis=1)
        self.means += FLOOR * np.eye(len(symbols))
        state = self._state()
        at = known - self.low
        found = np.full((len(bars), state.shape[1]), np.nan)
        ready = (at >= 1) & (np.arange(len(bars)) >= first)
        found[ready] = state[at[ready] - 1]
        self.inputs = np.concatenate([*self._features(), found], axis=1)[:, None]

    @property
    def names(self) -> list[str]:
        """What the inputs are called."""
        program = self.model.program_
        own = [] if program is None else [f"{name} of {s}" for s in self.columns for name in program.names]
        return own + [f"state {i} of the covariances" for i in range(self.inputs.shape[2] - len(own))]

    def _features(self) -> list[np.ndarray]:
        program = self.model.program_
        if program is None:
            return []
        return [np.asarray(program.compute(self.bars))[:, self.columns].reshape(len(self.bars), -1)]

    def _state(self) -> np.ndarray:
        """Return the state after each outcome from `low` on: how well it was told, levels and correlations."""
        n, width = len(self.means) - 1, self.z.shape[1]
        parts = [np.zeros((0, 3 * self.means.shape[1] + 3))]
        for at in range(0, n, _AT_ONCE):
            end = min(n, at + _AT_ONCE)
            before, after = self.means[at:end], self.means[at + 1 : end + 1]
            scores = negative_log_density(experts_of(before), self.z[self.low + at : self.low + end, None]) / width
            mean = scores.mean(axis=1, keepdims=True)
            variance = np.einsum("tmii->tmi", after)
            level = np.log(variance).mean(axis=2)
            level[:, :-1] -= level[:, 1:]
            together = (correlation_of(after).sum(axis=(2, 3)) - width) / (width * (width - 1))
            parts.append(np.concatenate([np.arcsinh(scores - mean), np.arcsinh(mean), level, together], axis=1))
        return np.concatenate(parts)

    def windows(self, first: int) -> Windows:
        """Return the windows that end at a bar from `first` on; every symbol must be there."""
        broken = np.asarray(broken_cells(self.bars).any(axis=1))[:, None]
        return Windows.over(np.ascontiguousarray(self.inputs), self.model.lookback, broken, first)

    def means_at(self, rows: np.ndarray) -> np.ndarray:
        """Return the exponential means at these bars, (n, n_memories, n_symbols, n_symbols)."""
        return self.means[self.outcomes.known[rows] - self.low]

    def targets(self, rows: np.ndarray) -> np.ndarray:
        """Return the scaled outcomes of these bars and where their exponential means stand, (n, n_symbols + 1)."""
        place = np.searchsorted(self.outcomes.rows, rows)
        return np.column_stack([self.z[place], self.outcomes.known[rows] - self.low])


def negative_log_density(covariance: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Return minus the log density of errors (..., n) under normals of covariance (..., n, n), without its constant.

    Examples
    --------
    >>> negative_log_density(np.diag([1.0, 4.0]), np.array([1.0, 2.0]))    # log 2 + (1 + 1) / 2
    np.float64(1.693...)
    """
    factor = np.linalg.cholesky(covariance)
    errors = np.broadcast_to(errors, covariance.shape[:-1])
    z = np.linalg.solve(factor, errors[..., None])[..., 0]
    return np.log(np.diagonal(factor, axis1=-2, axis2=-1)).sum(axis=-1) + 0.5 * (z**2).sum(axis=-1)


def _n_outputs(model: JointLSTM, n_symbols: int) -> int:
    return n_symbols + len(model.memories) + 3 + n_symbols * model.factors


def _native(model: JointLSTM, n_inputs: int) -> Any:
    """Return the native engine for the shape of the model: forecasts need no torch."""
    from ..native import core

    return core.LSTMTrainer64(
        n_inputs=n_inputs,
        hidden=[int(units) for units in model.hidden],
        head=[],
        n_outputs=_n_outputs(model, len(model.symbols_)),
        lookback=int(model.lookback),
        loss="mse",
    )


def _outputs(model: JointLSTM, weights: Mapping[str, np.ndarray], windows: Windows, inputs: Scaling) -> np.ndarray:
    engine = _native(model, len(inputs.center))
    engine.set_weights(dict(weights))
    engine.bind(windows.features, windows.time_stride, inputs.center, inputs.scale)
    return np.asarray(engine.predict(windows.starts), np.float64)


# ------------------------------------------------------------------------------------------------------------- fitting


@dataclass(frozen=True, eq=False)
class _Stage:
    """Networks that learn from the same rows: one training a seed, and what is fixed for all of them."""

    trainings: list[Training]
    base: Base


@dataclass(frozen=True, eq=False)
class _Scale:
    mean: np.ndarray
    scale: np.ndarray


class JointFitting:
    """A fit of a `JointLSTM` in two stages, as `LSTMFitting`: the search for the number of epochs, then the refit."""

    def __init__(self, model: JointLSTM, bars: "Bars", start: Any = None):
        model.check()
        require_bars(bars, "fit")
        self.model, self.bars, self.first = model.with_params(), bars, row_of(bars, start)
        self.model.symbols_ = tuple(sorted(bars.symbols))
        if len(bars.symbols) < 2:
            raise NotEnoughData(f"JointLSTM needs at least 2 symbols, but bars has {len(bars.symbols)}. Use LSTM.")
        self._refuse_nan()
        n = len(bars.symbols)
        panel = Panel(self.model, bars, self.model.symbols_, _Scale(np.zeros(n), np.ones(n)), self._reads)
        rows = panel.windows(self.first).rows
        self.rows = rows[np.isin(rows, panel.outcomes.rows)]
        self.train, self.held_out = self._split()
        self.refits = model.refit and model.validation > 0 and model.patience is not None
        self.search = self._stage(self.train, self.held_out, model.epochs)
        self.final = None if self.refits else self.search

    @property
    def _reads(self) -> int:
        return max(0, self.first - self.model.lookback + 1)

    def _refuse_nan(self) -> None:
        program = self.model.program_
        if program is not None:
            values = np.asarray(program.compute(self.bars))
            refuse_unexplained_nan(values, program.names, self.bars, program.warmup, self.first)

    def _split(self) -> tuple[np.ndarray, np.ndarray]:
        """Return training and validation rows; training labels end before the first validation decision."""
        rows, share = self.rows, self.model.validation
        n_validation = round(share * len(rows))
        n_needed = 2 * len(self.model.symbols_)
        train = rows[: len(rows) - n_validation]
        if n_validation:
            ends = np.asarray(self.model.target_.label_end(self.bars))
            train = train[ends[train] < self.bars.time[rows[len(rows) - n_validation]]]
        if len(train) < n_needed or (share > 0 and not n_validation):
            raise NotEnoughData(
                f"JointLSTM of {len(self.model.symbols_)} symbols needs at least {n_needed} training rows at which all "
                f"of them have a window and an outcome, but found {len(train)} and {n_validation} for validation. A "
                f"row needs {self.model.warmup} bars before it. Load more bars, or drop symbols with gaps."
            )
        return train, rows[len(rows) - n_validation :]

    def _stage(self, train: np.ndarray, held_out: np.ndarray, epochs: int) -> _Stage:
        from .joint_likelihood import JointLikelihood

        model = self.model
        panel = Panel(model, self.bars, model.symbols_, self._scale_of(train), self._reads)
        windows = panel.windows(self.first)
        learn, check = (windows.take(np.isin(windows.rows, part)) for part in (train, held_out))
        cells = windows.take(np.isin(windows.rows, train)).cells()
        inputs = Scaling.fit("standard", list(panel.inputs[cells].T), panel.names)
        likelihood = JointLikelihood(panel.means, model.factors)
        targets = panel.targets(learn.rows)
        logits, level = likelihood.fit_shares(targets)
        hold_out = Samples(check.starts, panel.targets(check.rows)) if len(held_out) else None
        patience = model.patience if len(held_out) else None
        trainings = [
            Training(
                self._engine(s, windows, inputs, likelihood), Samples(learn.starts, targets), hold_out, epochs, patience
            )
            for s in range(model.seeds)
        ]
        scale = self._scale_of(train)
        return _Stage(trainings, Base(scale.mean, scale.scale, logits, level, inputs))

    def _scale_of(self, train: np.ndarray) -> _Scale:
        """Return mean and deviation of the outcomes of the training rows."""
        outcomes = Outcomes(self.model.target_, self.bars, self.model.symbols_)
        values = outcomes.values[np.isin(outcomes.rows, train)]
        fitted = Scaling.fit("standard", list(values.T), [f"the return of {s}" for s in self.model.symbols_])
        return _Scale(fitted.center, fitted.scale)

    def _engine(self, number: int, windows: Windows, inputs: Scaling, likelihood: Any) -> Any:
        from .joint_likelihood import quiet_head
        from .nets import make_network
        from .torch_engine import TorchEngine

        model, n = self.model, len(self.model.symbols_)
        net = make_network(
            "lstm",
            len(inputs.center),
            n_outputs=_n_outputs(model, n),
            hidden=[int(units) for units in model.hidden],
            dropout=float(model.dropout),
            lookback=model.lookback,
            seed=model.seed + number,
        ).double()
        net.initialise(model.seed + number)
        quiet_head(net, n + len(model.memories) + 3)
        engine = TorchEngine(
            net,
            lookback=model.lookback,
            loss=likelihood,
            lr=model.lr,
            weight_decay=model.weight_decay,
            clip=model.clip,
            batch_size=model.batch_size,
            seed=model.seed + number,
            device="cpu",
            precision="fp64",
        )
        engine.bind(windows.features, windows.time_stride, inputs.center, inputs.scale)
        return engine

    def parts(self) -> list[Training]:
        """Return trainings that are independent and not done; none when the fit is done."""
        open_ = [t for t in self.search.trainings if not t.done]
        if open_ or self.final is self.search:
            return open_
        if self.final is None:
            self.final = self._refit()
        return [t for t in self.final.trainings if not t.done]

    def _refit(self) -> _Stage:
        """Train on all rows for as many optimiser steps as the median seed took to its best epoch."""
        size = self.model.batch_size
        best = median(t.history.best_epoch for t in self.search.trainings)
        steps = best * self.search.trainings[0].batches(size)
        for training in self.search.trainings:
            training.forget_samples()
        return self._stage(self.rows, self.rows[:0], max(1, round(steps / -(-len(self.rows) // size))))

    @property
    def fraction(self) -> float:
        """How far along, from 0 to 1; the refit counts for half."""
        share = float(np.mean([t.fraction for t in self.search.trainings]))
        if not self.refits:
            return share
        return 0.5 * share + (
            0.0 if self.final is None else 0.5 * float(np.mean([t.fraction for t in self.final.trainings]))
        )

    def step(self) -> bool:
        """Run one epoch of one network; return True when the fit is done."""
        stage = self.parts()
        if stage:
            stage[0].step()
        return not self.parts()

    @property
    def result(self) -> JointLSTM:
        """The fitted model."""
        if self.final is None or self.parts():
            raise NotFitted("This fit is not done: call step() until it returns True.")
        model = self.model
        model.base_ = self.final.base
        model.nets_ = [t.engine.weights() for t in self.final.trainings]
        model.histories_ = [t.history for t in self.search.trainings]
        for history, training in zip(model.histories_, self.final.trainings, strict=True):
            if self.refits:
                history.refit_loss = list(training.history.train_loss)
        model.history_ = model.histories_[0]
        first, last = int(self.bars.time[self.rows[0]]), int(self.bars.time[self.rows[-1]])
        model.trained_ = {"bars": self.bars.digest, "first": first, "last": last, "rows": len(self.rows)}
        return model
