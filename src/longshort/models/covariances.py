"""Covariances of the next outcomes from those known: what a network that predicts them has to beat.

========================  ====================================================================  ======================
forecaster                covariance                                                            source
========================  ====================================================================  ======================
`SampleCovariance`        of the last `window` outcomes
`ConstantCorrelation`     their deviations, and one correlation for all pairs                   Elton and Gruber (1973)
`LedoitWolf`              the sample's, shrunk towards equal variances without correlation      Ledoit and Wolf (2004)
`EWMA`                    of all outcomes, the weight falling by `decay` a bar                  RiskMetrics (1996)
`DCC`                     GARCH(1, 1) variances, correlations that move like a GARCH            Engle (2002)
========================  ====================================================================  ======================

All are forecasters. Their mean is the mean outcome of the training rows. A row of `predict` has learned from outcomes
whose labels had ended by then, of bars at which every symbol had one; symbols are aligned by name, so the order of the
columns changes nothing. Outcomes of a longer horizon overlap and are used as they are.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .. import artifact
from ..errors import ArtifactError, DataError, InputError, NotEnoughData, NotFitted, UnknownName
from ..forecast import Forecast
from .network import row_of
from .parameters import Parameters

if TYPE_CHECKING:
    from ..bars import Bars

KIND, VERSION = "covariance", 1
RETURNS = ("return", "log_return")
_DIAGONAL = 1e-6  # of the variances, alone in every estimate: without it, fewer outcomes than symbols are singular


class Outcomes:
    """The outcomes of all symbols side by side, and how many of them are known at each bar.

    Parameters
    ----------
    target : Target
        A return.
    bars : Bars
        Where from.
    symbols : sequence of str
        Columns wanted, by name.

    Attributes
    ----------
    values : float64 array (n_outcomes, n_symbols)
        Of the bars at which every symbol has one, in order.
    rows : int array (n_outcomes,)
        Bar of each.
    known : int array (n_bars,)
        How many of `values` are known at each bar: the first so many.

    Examples
    --------
    >>> from longshort import features as f
    >>> from longshort.data import synthetic
    >>> outcomes = Outcomes(f.forward_log_return(2), synthetic.random_walk(6, ["A", "B"], seed=1), ["B", "A"])
    >>> outcomes.values.shape, outcomes.known.tolist()
    ((4, 2), [0, 0, 1, 2, 3, 4])
    """

    def __init__(self, target: Any, bars: "Bars", symbols: Any):
        columns = [bars.symbols.index(s) for s in symbols]
        values = np.asarray(target.compute(bars))[:, columns]
        complete = np.isfinite(values).all(axis=1)
        self.values, self.rows = np.ascontiguousarray(values[complete]), np.flatnonzero(complete)
        newest = np.searchsorted(np.asarray(target.label_end(bars)), bars.time, side="right") - 1
        counted = np.concatenate([[0], np.cumsum(complete)])
        self.known = counted[newest + 1]


def check_returns(target: Any, who: str) -> None:
    """Raise `InputError` unless the target is one whose covariances mean something to a portfolio."""
    if target.info.kind not in RETURNS:
        raise InputError(
            f"{who} predicts covariances of returns, and the target is a {target.info.kind}. "
            "Use target=forward_log_return(1) or forward_return(1)."
        )


def columns_by_name(model: Any, bars: "Bars") -> np.ndarray:
    """Return where the symbols of a fitted model stand among the columns of bars; they must be the same set."""
    absent, unseen = [
        [s for s in a if s not in b] for a, b in ((model.symbols_, bars.symbols), (bars.symbols, model.symbols_))
    ]
    if absent or unseen:
        what = f"lacks {', '.join(absent[:5])}" if absent else f"has {', '.join(unseen[:5])}, never seen"
        raise UnknownName(
            f"This {type(model).__name__} predicts {len(model.symbols_)} symbols together, but bars {what}. "
            "Pass bars of exactly the symbols it was fitted on, in any order."
        )
    return np.array([bars.symbols.index(s) for s in model.symbols_])


def in_the_order_of(columns: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean (n_rows, n_symbols) and covariance with each symbol at the column of the bars it came from."""
    back = np.argsort(columns)
    return mean[:, back], covariance[:, back[:, None], back]


def correlation_of(covariance: np.ndarray) -> np.ndarray:
    """Return the correlations (..., n, n) of covariances (..., n, n).

    Examples
    --------
    >>> correlation_of(np.array([[4.0, 1.0], [1.0, 1.0]]))[0, 1]
    np.float64(0.5)
    """
    deviation = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
    return covariance / (deviation[..., :, None] * deviation[..., None, :])


def ledoit_wolf(outcomes: np.ndarray) -> np.ndarray:
    """Return the covariance shrunk towards the mean variance times the identity (Ledoit and Wolf, 2004).

    Parameters
    ----------
    outcomes : float64 array (n_outcomes, n_symbols)
        The sample.

    Notes
    -----
    With S the sample covariance, m the mean of its diagonal and d^2 the mean square of S - m I over a row, the share of
    the target is b^2 / d^2, where b^2 is the error of S: the mean squared distance of single products from S, over n.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> ledoit_wolf(rng.standard_normal((20, 30))).diagonal().round(1).min() > 0.5
    np.True_
    """
    x = outcomes - outcomes.mean(axis=0)
    n, width = x.shape
    sample = x.T @ x / n
    level = np.trace(sample) / width
    distance = sample - level * np.eye(width)
    apart = float((distance**2).sum())
    squares = x**2
    error = float((squares.T @ squares).sum() / n - (sample**2).sum()) / n
    share = min(error, apart) / apart if apart > 0 else 1.0
    return share * level * np.eye(width) + (1 - share) * sample


class _Covariances(Parameters):
    """What all of them share: the mean of the training rows, alignment by name, saving."""

    name: ClassVar[str] = ""
    target: Any
    symbols_: tuple[str, ...]
    learned_: dict[str, np.ndarray]

    @property
    def fewest(self) -> int:
        """Known outcomes before the first forecast."""
        raise NotImplementedError

    def _learn(self, outcomes: np.ndarray) -> dict[str, np.ndarray]:
        """Return what `_covariances` needs beside known outcomes, from those of the training rows."""
        return {}

    def _covariances(self, outcomes: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Return the covariance (n, n_symbols, n_symbols) seen from the first `counts` outcomes, which never fall."""
        raise NotImplementedError

    @property
    def warmup(self) -> int:
        """Bars before the first forecast."""
        return self.fewest - 1 + self.target.info.horizon

    def check(self) -> None:
        check_returns(self.target, type(self).__name__)

    def fit(self, bars: "Bars", start: Any = None) -> Any:
        """Learn the mean outcome of each symbol, and what else the covariance needs, from the rows from `start` on."""
        symbols = tuple(sorted(bars.symbols))
        found = Outcomes(self.target, bars, symbols)
        values = found.values[found.rows >= row_of(bars, start)]
        if len(values) < self.fewest:
            raise NotEnoughData(
                f"{type(self).__name__} needs at least {self.fewest} bars at which every symbol has an outcome, "
                f"but found {len(values)}. Load more bars, or drop the symbols with gaps."
            )
        self.symbols_ = symbols
        variance = values.var(axis=0)
        if not (variance > 0).all():
            still = [s for s, v in zip(symbols, variance, strict=True) if not v > 0]
            raise DataError(f"{', '.join(still[:5])} never moved on the {len(values)} training rows. Drop them.")
        self.learned_ = {"mean": values.mean(axis=0), "variance": variance}
        self.learned_ |= self._learn(values)
        return self

    def predict(self, bars: "Bars", start: Any = None) -> Forecast:
        """Forecast mean and covariance at every bar from `start` on; NaN where too few outcomes are known."""
        if not hasattr(self, "learned_"):
            raise NotFitted(f"This {type(self).__name__} has not learned anything yet. Call fit(bars) first.")
        columns, first = columns_by_name(self, bars), row_of(bars, start)
        found, n = Outcomes(self.target, bars, self.symbols_), len(self.symbols_)
        counts = found.known[first:]
        mean, covariance = np.full((len(counts), n), np.nan), np.full((len(counts), n, n), np.nan)
        ready = counts >= self.fewest
        mean[ready] = self.learned_["mean"]
        if ready.any():
            covariance[ready] = with_own_variance(
                self._covariances(found.values, counts[ready]), self.learned_["variance"]
            )
        blank(mean, covariance, ~np.isfinite(np.asarray(bars.adjusted("close")))[first:, columns])
        return joint_forecast(self.target, bars, first, *in_the_order_of(columns, mean, covariance))

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as a JSON-able mapping."""
        return {"kind": type(self).__name__, **self.get_params(), "target": self.target.to_dict()}

    def save(self, directory: Any) -> None:
        """Write everything `load` needs into one directory, atomically; no pickle."""
        if not hasattr(self, "learned_"):
            raise NotFitted(f"This {type(self).__name__} has not learned anything yet. Call fit(bars) first.")
        document = {"model": self.to_dict(), "symbols": list(self.symbols_)}
        artifact.save(
            directory, KIND, documents={"model": document}, tensors={"learned": self.learned_}, version=VERSION
        )

    @classmethod
    def load(cls, directory: Any) -> Any:
        """Read what `save` wrote; damaged, foreign or newer directories raise `ArtifactError`."""
        from .nesting import forecaster_of

        found = artifact.load(directory, KIND, version=VERSION)
        try:
            document = found.documents["model"]
            if document["model"]["kind"] != cls.__name__:
                raise ValueError(f"it holds a {document['model']['kind']}")
            model = forecaster_of(document["model"])
            model.symbols_, model.learned_ = tuple(document["symbols"]), dict(found.tensors["learned"])
            if model.learned_["mean"].shape != (len(model.symbols_),):
                raise ValueError("its means do not fit its symbols")
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(
                f"{directory} is no {cls.__name__} this version can read: {error}. Save it again."
            ) from error
        return model


def with_own_variance(covariance: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Return covariances (n, n_symbols, n_symbols) plus a millionth of their diagonal: positive definite.

    A symbol that stood still has next to none; it gets a millionth of the `variance` (n_symbols,) it once had.
    """
    own = np.einsum("tii->ti", covariance)
    own = np.where(own > _DIAGONAL * variance, own, variance)
    return covariance + _DIAGONAL * own[:, :, None] * np.eye(covariance.shape[-1])


def blank(mean: np.ndarray, covariance: np.ndarray, absent: np.ndarray) -> None:
    """Put NaN where a symbol is `absent` (n_rows, n_symbols): into its mean, its row and its column."""
    mean[absent] = np.nan
    covariance[absent[:, :, None] | absent[:, None, :]] = np.nan


def joint_forecast(target: Any, bars: "Bars", first: int, mean: np.ndarray, covariance: np.ndarray) -> Forecast:
    """Return the forecast with its deviations, from row `first` of the bars on."""
    return Forecast(
        bars.time[first:],
        bars.symbols,
        mean,
        std=np.sqrt(np.einsum("tii->ti", covariance)),
        covariance=covariance,
        target=target.info,
        for_time=np.asarray(target.label_end(bars))[first:],
    )


class _Windowed(_Covariances):
    """Estimates from the last `window` outcomes alone."""

    window: int

    @property
    def fewest(self) -> int:
        return self.window

    def check(self) -> None:
        super().check()
        if isinstance(self.window, bool) or not isinstance(self.window, int | np.integer) or self.window < 2:
            raise InputError(f"window must be a whole number of outcomes, at least 2, was {self.window!r}.")

    def _of(self, sample: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _covariances(self, outcomes, counts):
        return np.stack([self._of(outcomes[k - self.window : k].copy()) for k in counts])


class SampleCovariance(_Windowed):
    """The covariance of the last `window` outcomes.

    Parameters
    ----------
    target : Target
        A return.
    window : int, default=252
        Outcomes. With fewer than symbols, the estimate is as good as singular and so is what is built on it.

    Examples
    --------
    >>> from longshort import features as f
    >>> from longshort.data import synthetic
    >>> bars = synthetic.random_walk(400, ["A", "B"], seed=1)
    >>> SampleCovariance(f.forward_log_return()).fit(bars).predict(bars).covariance[-1].round(6)
    array([[8.5e-05, 2.0e-06],
           [2.0e-06, 9.5e-05]])
    """

    name = "sample"

    def __init__(self, target: Any, window: int = 252):
        self.target, self.window = target, window
        self.check()

    def _of(self, sample: np.ndarray) -> np.ndarray:
        centred = sample - sample.mean(axis=0)
        return centred.T @ centred / (len(sample) - 1)


class ConstantCorrelation(_Windowed):
    """The deviations of the last `window` outcomes, and the mean of their correlations for every pair.

    Parameters
    ----------
    target : Target
        A return.
    window : int, default=252
        Outcomes.

    Examples
    --------
    >>> from longshort import features as f
    >>> from longshort.data import synthetic
    >>> bars = synthetic.random_walk(400, ["A", "B", "C"], seed=1)
    >>> said = ConstantCorrelation(f.forward_log_return()).fit(bars).predict(bars).covariance[-1]
    >>> np.unique(correlation_of(said).round(9)).size   # ones, and one number for all pairs
    2
    """

    name = "constant_correlation"

    def __init__(self, target: Any, window: int = 252):
        self.target, self.window = target, window
        self.check()

    def _of(self, sample: np.ndarray) -> np.ndarray:
        floor = _DIAGONAL * np.diag(self.learned_["variance"])  # a symbol that stood still all the time
        return constant_correlation(np.cov(sample.T) + floor)


def constant_correlation(covariance: np.ndarray) -> np.ndarray:
    """Return the covariances (..., n, n) with every correlation replaced by their mean."""
    n = covariance.shape[-1]
    deviation = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
    total = correlation_of(covariance).sum(axis=(-2, -1))
    mean = np.maximum((total - n) / (n * (n - 1)), -1.0 / n)[..., None, None]  # below -1 / (n - 1) it is no correlation
    return deviation[..., :, None] * deviation[..., None, :] * (mean + (1 - mean) * np.eye(n))


class LedoitWolf(_Windowed):
    """The covariance of the last `window` outcomes, shrunk as far as its own error asks for.

    Parameters
    ----------
    target : Target
        A return.
    window : int, default=252
        Outcomes; may be fewer than symbols.

    Notes
    -----
    The target is the mean variance times the identity: "A well-conditioned estimator for large-dimensional covariance
    matrices", Journal of Multivariate Analysis 88 (2004). It equals `sklearn.covariance.LedoitWolf`.

    Examples
    --------
    >>> from longshort import features as f
    >>> from longshort.data import synthetic
    >>> bars = synthetic.random_walk(300, 100, seed=1)
    >>> said = LedoitWolf(f.forward_log_return(), window=60).fit(bars).predict(bars).covariance[-1]
    >>> bool(np.linalg.cond(said) < 2)   # 100 symbols, 60 outcomes, nothing in them
    True
    """

    name = "ledoit_wolf"

    def __init__(self, target: Any, window: int = 252):
        self.target, self.window = target, window
        self.check()

    def _of(self, sample: np.ndarray) -> np.ndarray:
        return ledoit_wolf(sample)


class EWMA(_Covariances):
    """The mean product of outcomes, the weight falling by `decay` with every bar: RiskMetrics.

    Parameters
    ----------
    target : Target
        A return.
    decay : float, default=0.94
        Of weights from one outcome to the one before. RiskMetrics has 0.94 for days and 0.97 for months.

    Notes
    -----
    Means are taken to be zero, as RiskMetrics does. The first forecast is made when the outcomes known carry 99 % of
    the weight: 75 of them at 0.94 (the Technical Document of 1996 says 74, rounded down).

    Examples
    --------
    >>> from longshort import features as f
    >>> from longshort.data import synthetic
    >>> bars = synthetic.garch(500, ["A", "B"], seed=1)
    >>> EWMA(f.forward_log_return()).fit(bars).predict(bars).covariance.shape
    (500, 2, 2)
    """

    name = "ewma"

    def __init__(self, target: Any, decay: float = 0.94):
        self.target, self.decay = target, decay
        self.check()

    def check(self) -> None:
        super().check()
        if isinstance(self.decay, bool) or not isinstance(self.decay, int | float) or not 0 < self.decay < 1:
            raise InputError(f"decay must lie strictly between 0 and 1, was {self.decay!r}.")

    @property
    def fewest(self) -> int:
        return int(np.ceil(np.log(0.01) / np.log(self.decay)))

    def _covariances(self, outcomes, counts):
        return exponential_means(outcomes, counts, self.decay)


def exponential_means(outcomes: np.ndarray, counts: np.ndarray, decay: float) -> np.ndarray:
    """Return the weighted mean of products of the first `counts` outcomes, (n, n_symbols, n_symbols).

    Parameters
    ----------
    outcomes : float64 array (n_outcomes, n_symbols)
        In order.
    counts : int array (n,)
        How many are seen; never falling, at least 1.
    decay : float
        Weight of the outcome before, relative to an outcome; the weights are made to add up to 1.
    """
    width = outcomes.shape[1]
    out, total, weight, seen = np.empty((len(counts), width, width)), np.zeros((width, width)), 0.0, 0
    for i, count in enumerate(counts):
        for row in outcomes[seen:count]:
            total = decay * total + row[:, None] * row
            weight = decay * weight + 1.0
        seen = count
        out[i] = total / weight
    return out


class DCC(_Covariances):
    """Dynamic conditional correlation: GARCH(1, 1) variances, and correlations that follow their own GARCH.

    Parameters
    ----------
    target : Target
        A return, best of one bar: outcomes that overlap look like persistence.

    Notes
    -----
    Estimated in two steps on the training rows (Engle, 2002), with variance and correlation targeting: per symbol the
    two numbers of a GARCH by likelihood, then the two numbers of the correlations by the composite likelihood of
    neighbouring pairs (Engle, Shephard and Sheppard, 2008), which large cross-sections need. The long-run correlation
    is Ledoit and Wolf's. Predictions filter on over all known outcomes with these numbers::

        h' = (1 - a - b) v + a e^2 + b h        z = e / sqrt(h)
        Q' = (1 - c - d) C + c z z' + d Q       covariance = sqrt(h) corr(Q) sqrt(h)'

    Examples
    --------
    >>> from longshort import features as f
    >>> from longshort.data import synthetic
    >>> bars = synthetic.garch(1500, ["A", "B"], seed=1)
    >>> model = DCC(f.forward_log_return()).fit(bars)
    >>> model.learned_["garch"].sum(axis=1).round(1)     # 0.98 was planted
    array([0.9, 1. ])
    """

    name = "dcc"

    def __init__(self, target: Any):
        self.target = target
        self.check()

    @property
    def fewest(self) -> int:
        return 100

    def _learn(self, outcomes: np.ndarray) -> dict[str, np.ndarray]:
        errors = outcomes - outcomes.mean(axis=0)
        variance = errors.var(axis=0)
        garch = np.array([_fit_garch(e, v) for e, v in zip(errors.T, variance, strict=True)])
        z = errors / np.sqrt(_garch(errors, variance, garch)[:-1])
        long_run = correlation_of(ledoit_wolf(z))
        return {"garch": garch, "long_run": long_run, "dcc": _fit_correlations(z, long_run)}

    def _covariances(self, outcomes, counts):
        known = self.learned_
        errors = outcomes[: counts[-1]] - known["mean"]
        variances = _garch(errors, known["variance"], known["garch"])
        z = errors / np.sqrt(variances[:-1])
        (c, d), long_run = known["dcc"], known["long_run"]
        q, seen, out = long_run, 0, np.empty((len(counts), *long_run.shape))
        for i, count in enumerate(counts):
            for row in z[seen:count]:
                q = (1 - c - d) * long_run + c * (row[:, None] * row) + d * q
            seen = count
            deviation = np.sqrt(variances[count])
            out[i] = deviation[:, None] * deviation * correlation_of(q)
        return out


def _recursion(inputs: np.ndarray, decay: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Return s with s[0] = first and s[t + 1] = inputs[t] + decay * s[t], (n + 1, width)."""
    out = np.empty((len(inputs) + 1, inputs.shape[1]))
    out[0] = first
    for t, row in enumerate(inputs):
        out[t + 1] = row + decay * out[t]
    return out


def _garch(errors: np.ndarray, variance: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Return the variances before each error and after the last, (n + 1, n_symbols)."""
    a, b = numbers.T
    return _recursion((1 - a - b) * variance + a * errors**2, b, variance)


def _persistence(raw: np.ndarray) -> tuple[float, float]:
    """Two numbers of any size as two that are positive with a sum below 1: the shock's share, and the rest."""
    total, share = 1.0 / (1.0 + np.exp(-np.clip(raw, -30.0, 30.0)))
    total = min(total, 1 - 1e-6)
    return total * share, total * (1 - share)


def _minimum(loss: Callable[[np.ndarray], float], start: tuple[float, float]) -> np.ndarray:
    from scipy.optimize import minimize

    options = {"maxiter": 200, "xatol": 1e-2, "fatol": 1e-7}
    found: Any = minimize(loss, start, method="Nelder-Mead", options=options)
    return np.array(_persistence(found.x))


def _filtered(inputs: np.ndarray, decay: float, first: Any) -> np.ndarray:
    """The same recursion for one decay, compiled."""
    from scipy.signal import lfilter

    found, _ = lfilter([1.0], [1.0, -decay], inputs, axis=0, zi=decay * np.asarray(first)[None])
    return found


def _fit_garch(errors: np.ndarray, variance: float) -> np.ndarray:
    def loss(raw: np.ndarray) -> float:
        a, b = _persistence(raw)
        h = np.append(variance, _filtered((1 - a - b) * variance + a * errors[:-1] ** 2, b, variance))
        return float(np.mean(np.log(h) + errors**2 / h))

    return _minimum(loss, (3.0, -2.5))


def _fit_correlations(z: np.ndarray, long_run: np.ndarray) -> np.ndarray:
    """Fit by the likelihood of each symbol with its neighbour."""
    other = np.roll(z, 1, axis=1)
    between = np.array([long_run[j, j - 1] for j in range(z.shape[1])])
    square, product = z**2, z * other

    def loss(raw: np.ndarray) -> float:
        c, d = _persistence(raw)

        def path(products: np.ndarray, middle: np.ndarray) -> np.ndarray:
            moved = _filtered((1 - c - d) * middle + c * products[:-1], d, middle)
            return np.concatenate([middle[None], moved])

        own = path(square, np.ones(z.shape[1]))
        rho = path(product, between) / np.sqrt(own * np.roll(own, 1, axis=1))
        rest = np.maximum(1 - rho**2, 1e-9)
        return float(np.mean(np.log(rest) + (square + other**2 - 2 * rho * product) / rest))

    return _minimum(loss, (4.0, -3.5))
