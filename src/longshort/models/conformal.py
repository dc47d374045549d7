"""Intervals around any forecaster's forecasts, from the errors it made on rows it did not learn from.

Split conformal prediction (Vovk et al., 2005; Lei et al., 2018) takes the n calibration errors |y - f| / s and adds the
ceil((n + 1) c)-th smallest, times s, on either side of a forecast: a share c of the outcomes lies inside as long as
errors stay exchangeable. When markets turn wild they do not. Adaptive conformal inference (Gibbs and Candes, 2021)
keeps the promise by learning from every outcome once it is known: after a miss the next interval is wider, after a hit
a little narrower::

    a[t+1] = a[t] + gamma (1 - c - missed[t])       interval at the quantile 1 - a[t] of the latest errors
"""

import bisect
import copy
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .._panel.tails import Tail
from ..bars import Bars, require_bars
from ..errors import InputError, NotEnoughData, NotFitted, UnknownName, did_you_mean
from ..features import FeatureSet, volatility
from ..forecast import FitsInSteps, Forecast, Forecaster, ForecastRow, Seeded, target_of
from . import fleet
from .combining import origin_of
from .fits import remember_fit
from .members import MemberFit
from .network import row_of
from .parameters import Parameters
from .readiness import ready_cells
from .recent import stream_of

METHODS = ("split", "adaptive")
RECENT = FeatureSet([volatility(20)])
NUMBERS = ("close", "return", "log_return", "volatility")  # targets that have intervals


class Conformal(Parameters):
    """A forecaster with intervals that hold what they promise.

    Parameters
    ----------
    forecaster : Forecaster
        What makes the point forecasts, of a close, a return or a volatility.
    coverage : float, default=0.9
        Share of the outcomes to lie inside.
    method : {"split", "adaptive"}, default="split"
        Fixed intervals, or ones that follow the outcomes.
    calibration : float, default=0.2
        Share of the decision rows, the latest, that the forecaster does not learn from.
    normalise : {None, "std", "volatility"}
        What an error is measured in: nothing (prices: the last close); the forecaster's own `std`; the deviation of the
        last 20 log returns. Intervals grow and shrink with it.
    gamma : float, default=0.02
        Step of the adaptive level. Larger follows faster and wavers more.
    window : int, default=250
        Latest errors the adaptive quantile is taken from.

    Attributes
    ----------
    forecaster_ : Forecaster
        Fitted on the rows before the calibration rows.
    scores_ : dict of str to array
        Calibration errors of each symbol in the chosen unit, oldest first.

    Notes
    -----
    Each symbol has its own errors. Look-ahead: calibration rows come after everything the forecaster learned from, and
    an adaptive interval uses the outcomes known at its row (`Target.label_end`) and no others. At rows of the bars that
    `fit` was given, and with "split" at all rows, widths are those the fit ended with. Adaptive intervals after them
    learn from the outcomes in the bars given to `predict`, so give it everything since the fit.

    An adaptive interval is never wider than the largest of the latest errors.

    Examples
    --------
    >>> from longshort import features as f, models as m
    >>> from longshort.data import synthetic
    >>> bars = synthetic.random_walk(3000, seed=1)
    >>> model = Conformal(m.HistoricalMean(f.forward_log_return()), coverage=0.9).fit(bars.until(bars.time[1999]))
    >>> sorted(model.predict(bars).quantiles)
    [0.05, 0.95]
    >>> round(model.coverage_on(bars, start=int(bars.time[2000]))["WALK"], 2)
    0.89
    """

    forecaster_: Any
    scores_: dict[str, np.ndarray]
    until_: int  # the last bar given to fit

    def __init__(
        self,
        forecaster: Forecaster,
        coverage: float = 0.9,
        method: str = "split",
        calibration: float = 0.2,
        *,
        normalise: str | None = None,
        gamma: float = 0.02,
        window: int = 250,
    ):
        self.forecaster, self.coverage, self.method, self.calibration = forecaster, coverage, method, calibration
        self.normalise, self.gamma, self.window = normalise, gamma, window
        self.check()

    # -- configuration -------------------------------------------------------------------------------------------

    def inside(self) -> dict[str, Any]:
        """Return the forecaster."""
        return {"forecaster": self.forecaster}

    def with_seeds(self, seeds: int) -> "Conformal":
        """Return an unfitted copy whose forecaster trains `seeds` networks, where it has any."""
        inner = self.forecaster
        return self.with_params(forecaster=inner.with_seeds(seeds) if isinstance(inner, FitsInSteps) else inner)

    @property
    def seed(self) -> int:
        """Where the forecaster's random numbers begin; 0 where it draws none."""
        return self.forecaster.seed if isinstance(self.forecaster, Seeded) else 0

    def with_seed(self, seed: int) -> "Conformal":
        """Return an unfitted copy whose forecaster draws its random numbers from `seed`."""
        inner = self.forecaster
        return self.with_params(forecaster=inner.with_seed(seed) if isinstance(inner, Seeded) else inner)

    def check(self) -> None:
        """Raise `InputError` where an argument is wrong."""
        inner = self.forecaster
        if isinstance(inner, type) or not isinstance(inner, Forecaster):
            found = f"the class {inner.__name__}" if isinstance(inner, type) else repr(inner)
            raise InputError(f"forecaster must be a forecaster such as LSTM(...), was {found}.")
        if self.target.kind not in NUMBERS:
            raise InputError(
                f"Intervals are for closes, returns and volatilities; a {self.target.kind} has classes. Use the "
                "probabilities of LSTM(loss='cross_entropy') instead."
            )
        for name, choices in (("method", METHODS), ("normalise", (None, "std", "volatility"))):
            value = getattr(self, name)
            if value not in choices:
                raise UnknownName(f"{name} was {value!r}. {did_you_mean(str(value), [str(c) for c in choices])}")
        for name in ("coverage", "calibration"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 < value < 1:
                raise InputError(f"{name} must be a share between 0 and 1, was {value!r}.")
        if not isinstance(self.gamma, int | float | np.number) or not 0 < self.gamma < 1:
            raise InputError(f"gamma must lie between 0 and 1, was {self.gamma!r}.")
        if isinstance(self.window, bool) or not isinstance(self.window, int) or self.window < self.fewest:
            raise InputError(
                f"window must be a whole number of at least {self.fewest} errors for a coverage of {self.coverage}, "
                f"was {self.window!r}."
            )

    @property
    def fewest(self) -> int:
        """Errors without which no finite interval has the coverage."""
        return math.ceil(round(self.coverage / (1.0 - self.coverage), 9))

    @property
    def levels(self) -> tuple[float, float]:
        """The quantiles at both ends of an interval."""
        return round((1.0 - self.coverage) / 2, 12), round((1.0 + self.coverage) / 2, 12)

    @property
    def target(self) -> Any:
        """What the forecaster predicts."""
        return target_of(self.forecaster)

    @property
    def program_(self) -> Any:
        """The forecaster's features; None where it reads none."""
        return getattr(self.forecaster, "program_", None)

    @property
    def lookback(self) -> int:
        """Bars in the forecaster's window."""
        return int(getattr(self.forecaster, "lookback", 1))

    def ready(self, bars: Bars) -> np.ndarray:
        """Return where the forecaster has a full window, bool (n_bars, n_symbols)."""
        return ready_cells(self.forecaster, bars)

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as a JSON-able mapping."""
        return {"kind": "Conformal", **self.get_params(deep=False), "forecaster": self.forecaster.to_dict()}

    @classmethod
    def from_dict(cls, configuration: Mapping[str, Any]) -> "Conformal":
        """Return the unfitted model that `to_dict` described."""
        from .nesting import forecaster_of

        params = {name: value for name, value in configuration.items() if name != "kind"}
        return cls(**params | {"forecaster": forecaster_of(params["forecaster"])})

    def __repr__(self) -> str:
        return f"Conformal({self.forecaster!r}, coverage={self.coverage}, method={self.method!r})"

    # -- learning ------------------------------------------------------------------------------------------------

    def fit(self, bars: Bars, start: Any = None, progress: Callable[[float], None] | None = None) -> "Conformal":
        """Fit the forecaster on the early rows and measure its errors on the calibration rows.

        Raises
        ------
        NotEnoughData
            A symbol has too few calibration rows for the coverage: 9 for 0.9, 99 for 0.99.
        """
        fitting = self.fitting(bars, start)
        fleet.finish([fitting], None, progress)
        self.__dict__.update(fitting.result.__dict__)
        remember_fit(self, bars)
        return self

    def fitting(self, bars: Bars, start: Any = None) -> "ConformalFitting":
        """Prepare a fit that advances by steps, for a fleet; self is left untouched."""
        return ConformalFitting(self.with_params(), bars, start)

    # -- forecasting ---------------------------------------------------------------------------------------------

    def predict(self, bars: Bars, start: Any = None) -> Forecast:
        """Forecast at every bar from `start` on, with quantiles at both ends of the intervals."""
        self._check_fitted(bars)
        said = self.forecaster_.predict(bars, start)
        scale = self.scale_of(bars, said, row_of(bars, start))
        ends = self.ends(said.mean, self._reach(bars, row_of(bars, start)) * scale)
        told = {f"quantiles/{level}": values for level, values in zip(self.levels, ends, strict=True)}
        return said.with_extras(said.extras() | told)

    def predict_seeds(self, bars: Bars, start: Any = None) -> np.ndarray:
        """Return every seed's point forecasts, (n_seeds, n_rows, n_symbols)."""
        self._check_fitted(bars)
        inner = self.forecaster_
        if isinstance(inner, FitsInSteps):
            return inner.predict_seeds(bars, start)
        return np.asarray(inner.predict(bars, start).mean)[None]

    def coverage_on(self, bars: Bars, start: Any = None) -> dict[str, float]:
        """Return the share of outcomes inside their intervals by symbol, at the rows from `start` on; NaN for none."""
        said = self.predict(bars, start)
        came = self.target.compute(bars)[row_of(bars, start) :]
        assert said.quantiles is not None
        low, high = (said.quantiles[level] for level in self.levels)
        known = np.isfinite(came) & np.isfinite(low)
        inside = (low <= came) & (came <= high) & known
        n = known.sum(axis=0)
        share = np.divide(inside.sum(axis=0), n, out=np.full(len(n), np.nan), where=n > 0)
        return dict(zip(bars.symbols, share.tolist(), strict=True))

    def stream(self, bars: Bars | None = None) -> "ConformalStream":
        """Return a stream that answers row by row what `predict` would; `bars`, its history, are needed."""
        require_bars(bars, "Conformal.stream")
        assert bars is not None
        self._check_fitted(bars)
        return ConformalStream(self, bars)

    def _reach(self, bars: Bars, first: int) -> np.ndarray:
        """Return the half widths in units of the scale at the rows from `first` on, (n_rows, n_symbols)."""
        walk = Walk(self, bars)
        if self.method == "split" or walk.fresh >= len(bars):
            return np.tile(walk.reach(), (len(bars) - first, 1))
        said = walk.over(bars, self.scores_at(bars, walk.oldest))
        before = np.tile(said[0], (walk.oldest, 1))
        return np.concatenate([before, said])[first:]

    def scores_at(self, bars: Bars, first: int) -> np.ndarray:
        """Return errors in units of the scale at the rows from `first` on, NaN where there is none."""
        start = int(bars.time[first])
        said = self.forecaster_.predict(bars, start)
        came = self.target.compute(bars)[first:]
        return np.abs(came - said.mean) / self.scale_of(bars, said, first)

    def scale_of(self, bars: Bars, said: Forecast, first: int) -> np.ndarray:
        """Return what errors are measured in at the rows from `first` on, NaN where that is not positive."""
        if self.normalise == "std" and said.std is None:
            raise InputError(
                f"normalise='std' needs a forecaster that says its deviation, but {type(self.forecaster).__name__} "
                "says none. Use LSTM(loss='gaussian') or normalise='volatility'."
            )
        close = np.asarray(origin_of(self.target, bars, first)) if self.target.kind == "close" else None
        recent = None
        if self.normalise == "volatility":
            recent = np.asarray(RECENT.compute(bars))[first:, :, 0]
        return self.unit(said.mean.shape, close, said.std, recent)

    def unit(self, shape: Any, close: Any, std: Any, recent: Any) -> np.ndarray:
        """Return what errors are measured in: of last closes, own deviations or recent volatilities, as configured."""
        scale = np.ones(shape) if close is None else close
        if self.normalise == "std":
            scale = std
        elif self.normalise == "volatility":
            scale = scale * recent
        return np.where(scale > 0, scale, np.nan)

    def ends(self, mean: np.ndarray, reach: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the lower and the upper end; prices and volatilities do not fall below zero."""
        low = mean - reach
        return (np.maximum(low, 0.0) if self.target.kind in ("volatility", "close") else low), mean + reach

    def _check_fitted(self, bars: Any) -> None:
        if not hasattr(self, "scores_"):
            raise NotFitted("This Conformal has not learned anything yet. Call fit(bars) first.")
        require_bars(bars, "predict")
        unseen = [symbol for symbol in bars.symbols if symbol not in self.scores_]
        if unseen:
            raise UnknownName(f"Errors of {unseen[0]} were never measured. Fit on bars that contain it.")

    # -- keeping -------------------------------------------------------------------------------------------------

    def save(self, directory: Any) -> None:
        """Write everything `load` needs into one directory, the forecaster in a folder of its own; no pickle."""
        from .nesting import save_conformal

        if not hasattr(self, "scores_"):
            raise NotFitted("This Conformal has not learned anything yet. Call fit(bars) first.")
        save_conformal(self, directory)

    @classmethod
    def load(cls, directory: Any) -> "Conformal":
        """Read what `save` wrote; damaged, foreign or newer directories raise `ArtifactError`."""
        from .nesting import load_conformal

        return load_conformal(cls, directory)


class ConformalFitting:
    """The forecaster's fit on the early rows, and then the calibration."""

    def __init__(self, model: Conformal, bars: Bars, start: Any = None):
        require_bars(bars, "fit")
        self.model, self.bars = model, bars
        cells = model.ready(bars) & np.isfinite(model.target.compute(bars))
        cells[: row_of(bars, start)] = False
        rows = np.flatnonzero(cells.any(axis=1))
        n_held = round(model.calibration * len(rows))
        if n_held < model.fewest or n_held >= len(rows):
            raise NotEnoughData(
                f"calibration={model.calibration} of {len(rows)} decision rows leaves {n_held} to measure errors on, "
                f"but a coverage of {model.coverage} needs at least {model.fewest}, and rows to learn from before "
                "them. Load more bars, or lower coverage."
            )
        self.first_held = int(rows[len(rows) - n_held])
        early = bars.until(int(bars.time[self.first_held - 1]))
        self.inner = MemberFit("", copy.deepcopy(model.forecaster), early, start)

    def parts(self) -> Sequence[Any]:
        """Return the forecaster's fit while it is not done."""
        return [] if self.inner.done else [self.inner]

    def step(self) -> bool:
        """Do one unit of work; return True when done."""
        return self.inner.done or self.inner.step()

    @property
    def fraction(self) -> float:
        """How far along, from 0 to 1."""
        return self.inner.fraction

    @property
    def result(self) -> Conformal:
        """The fitted model."""
        if not self.inner.done:
            raise NotFitted("This fit is not done: call step() until it returns True.")
        model, bars = self.model, self.bars
        model.forecaster_, model.until_ = self.inner.result, int(bars.time[-1])
        scores = model.scores_at(bars, self.first_held)
        model.scores_ = {}
        for j, symbol in enumerate(bars.symbols):
            found = scores[np.isfinite(scores[:, j]), j]
            if len(found) < model.fewest:
                raise NotEnoughData(
                    f"A coverage of {model.coverage} needs at least {model.fewest} calibration errors, but {symbol} "
                    f"has {len(found)} in {len(scores)} rows. Drop it, load more bars, or lower coverage."
                )
            model.scores_[symbol] = found
        for name in ("histories_", "history_"):
            if hasattr(model.forecaster_, name):
                setattr(model, name, getattr(model.forecaster_, name))
        return model


class Walk:
    """The intervals' widths through time: one quantile of errors a symbol, following the outcomes.

    Parameters
    ----------
    model : Conformal
        Fitted.
    bars : Bars
        Where to begin: at the first row whose outcome was not known when the fit ended.
    """

    def __init__(self, model: Conformal, bars: Bars):
        self.model = model
        n = None if model.method == "split" else model.window
        self._recent = [deque(model.scores_[symbol].tolist(), maxlen=n) for symbol in bars.symbols]
        self._ordered = [sorted(scores) for scores in self._recent]
        self._level = [1.0 - model.coverage] * len(bars.symbols)  # a[t]
        self._said: deque[np.ndarray] = deque()  # half widths of the rows whose outcomes are not known
        self.fresh = int(np.searchsorted(bars.time, model.until_, side="right"))
        self.oldest = int(np.searchsorted(model.target.label_end(bars), model.until_, side="right"))

    def over(self, bars: Bars, scores: np.ndarray) -> np.ndarray:
        """Return the half widths at the rows of `bars` from `oldest` on; `scores` are those of the same rows."""
        ends = np.asarray(self.model.target.label_end(bars))[self.oldest :]
        known, out = 0, []
        for t in range(self.oldest, len(bars)):
            upto = known
            while t >= self.fresh and upto < t - self.oldest and ends[upto] <= bars.time[t]:
                upto += 1
            out.append(self.row(scores[known:upto]))
            known = upto
        return np.array(out)

    def row(self, scores: Any = ()) -> np.ndarray:
        """Return the half widths at the next row, having learned from the `scores` known since the last, in order."""
        for score in scores:
            self._learn(score, self._said.popleft())
        if self.model.method == "split":
            return self.reach()
        self._said.append(self.reach())
        return self._said[-1]

    def skip(self) -> None:
        """Leave the oldest row without learning from its outcome: the fit knew it already."""
        self._said.popleft()

    def reach(self) -> np.ndarray:
        """Return the half widths in units of the scale, (n_symbols,)."""
        return np.array([_quantile(s, 1.0 - a) for s, a in zip(self._ordered, self._level, strict=True)])

    def _learn(self, scores: np.ndarray, said: np.ndarray) -> None:
        model = self.model
        for j, score in enumerate(scores.tolist()):
            if not math.isfinite(score):
                continue
            level = self._level[j] + model.gamma * (1.0 - model.coverage - float(score > said[j]))
            self._level[j] = min(max(level, 0.0), 1.0)
            recent, ordered = self._recent[j], self._ordered[j]
            if len(recent) == recent.maxlen:
                del ordered[bisect.bisect_left(ordered, recent[0])]
            recent.append(score)
            bisect.insort(ordered, score)


class ConformalStream:
    """A fitted `Conformal`, fed row by row; `interval` holds both ends for the latest row.

    Parameters
    ----------
    model : Conformal
        Fitted. Where its forecaster has no stream, a step costs a pass over all bars so far.
    bars : Bars
        History up to the row before the first `step`.
    """

    def __init__(self, model: Conformal, bars: Bars):
        self.model, self.symbols = model, tuple(bars.symbols)
        self.interval: dict[float, np.ndarray] = {}
        self._walk = Walk(model, bars)
        self._inner = stream_of(model.forecaster_, bars)
        self._recent = RECENT.stepper(self.symbols).feed(bars)
        self._horizon, first = model.target.horizon, self._walk.oldest
        self._tail = Tail(bars, 2 * self._horizon + model.target.warmup + 2)
        self._open: deque[tuple[np.ndarray, np.ndarray]] = deque()  # forecasts without an outcome, and their units
        if model.method == "adaptive" and first < len(bars):
            said = model.forecaster_.predict(bars, start=int(bars.time[first]))
            self._walk.over(bars, model.scores_at(bars, first))
            rows = zip(said.mean, model.scale_of(bars, said, first), strict=True)
            self._open.extend(list(rows)[-self._horizon :])

    def step(self, row: Mapping[str, Any]) -> np.ndarray:
        """Take one closed row (as `Bars.row` gives it) and return the point forecasts, (n_symbols,)."""
        return self.forecast(row).mean

    def forecast(self, row: Mapping[str, Any]) -> ForecastRow:
        """Take one closed row and return everything that `predict` says of it: the ends of the intervals, too."""
        bars, said = self._tail.append(row), self._inner.forecast(row)
        mean = said.mean
        close = bars.adjusted("close")[-1] if self.model.target.kind == "close" else None
        unit = self.model.unit(mean.shape, close, said.std, self._recent.step(row)[:, 0])
        reach = self._walk.row(self._scores(bars))
        if self.model.method == "adaptive":
            self._open.append((mean, unit))
        low, high = self.model.ends(mean, reach * unit)
        self.interval = dict(zip(self.model.levels, (low, high), strict=True))
        return replace(said, quantiles={**(said.quantiles or {}), **self.interval})

    def _scores(self, bars: Bars) -> list[np.ndarray]:
        """Return the error of the forecast whose outcome the latest of `bars` tells, if it is one to learn from."""
        if len(self._open) < self._horizon or not self._open:
            return []
        told, unit = self._open.popleft()
        if bars.time[-1] <= self.model.until_:
            self._walk.skip()
            return []
        return [np.abs(self.model.target.compute(bars)[-1 - self._horizon] - told) / unit]

    def settle(self) -> None:
        """There is nothing to do between two rows."""


def _quantile(ordered: Sequence[float], level: float) -> float:
    """Return the ceil((n + 1) level)-th smallest, the largest where there are not so many.

    >>> _quantile([1.0, 2.0, 3.0, 4.0], 0.5), _quantile([1.0, 2.0], 0.99)
    (3.0, 2.0)
    """
    k = math.ceil(round((len(ordered) + 1) * level, 9))
    return ordered[min(max(k, 1), len(ordered)) - 1]
