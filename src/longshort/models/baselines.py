"""What an LSTM has to beat: simple forecasters, refitted at every fold on the same rows.

=====================  =================================================================  =============================
forecaster             forecast                                                           learns
=====================  =================================================================  =============================
`Persistence`          nothing changes: last close, no return, last known volatility      nothing
`Drift`                the last close, moved by the mean change                           one mean per symbol
`HistoricalMean`       the mean outcome                                                   one mean per symbol
`AutoRegression`       linear in means over the last 1, 5 and 22 known outcomes           4 numbers
`HAR`                  volatility, linear in its means over the last 1, 5 and 22 bars     4 numbers
`Ridge`                linear in the LSTM's own features over the last bars               one number per feature and bar
=====================  =================================================================  =============================

Prices are predicted through the change they imply, since a level has no stable mean. Predictions multiply and add in a
fixed order, without BLAS, so row t has the same bits however many rows are asked for.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import InputError, NotEnoughData, NotFitted
from ..forecast import Forecast
from .fits import remember_fit
from .linear import Moments, change, level, paired, side_by_side
from .network import row_of

if TYPE_CHECKING:
    from ..bars import Bars

PENALTIES = tuple(10.0**e for e in range(-2, 7))


class _Kept:
    """What is learned (`LEARNS`) can be saved and loaded."""

    LEARNS: ClassVar[str] = ""

    def save(self, directory: Any) -> None:
        """Write everything `load` needs into one directory, atomically; no pickle."""
        from .nesting import save_baseline

        if self.LEARNS and not hasattr(self, self.LEARNS):
            raise NotFitted(f"This {type(self).__name__} has not learned anything yet. Call fit(bars) first.")
        save_baseline(self, directory)

    @classmethod
    def load(cls, directory: Any) -> Any:
        """Read what `save` wrote; damaged, foreign or newer directories raise `ArtifactError`."""
        from .nesting import load_baseline

        return load_baseline(cls, directory)


class _Streams:
    """Whoever looks at a fixed number of the last bars answers row by row, too."""

    target: Any

    @property
    def memory(self) -> int:
        """Bars that a forecast depends on: those of the outcomes known by then."""
        return int(getattr(self, "warmup", 0)) + int(self.target.warmup) + 2 * self.target.info.horizon + 2

    def stream(self, bars: "Bars") -> Any:
        """Return a stream that answers row by row what `predict` would, bit for bit; `bars` are its history."""
        from .recent import RecentBars

        return RecentBars(self, bars)


class Persistence(_Streams, _Kept):
    """Nothing changes: the last close, a return of zero, the last known volatility or direction.

    Parameters
    ----------
    target : Target
        What to forecast.

    Examples
    --------
    >>> from longshort import features as f
    >>> from longshort.data import synthetic
    >>> bars = synthetic.random_walk(100, seed=1)
    >>> bool(Persistence(f.forward_close()).predict(bars).mean[-1, 0] == bars["close"][-1, 0])
    True
    """

    name = "persistence"

    def __init__(self, target: Any):
        self.target = target

    def fit(self, bars: "Bars", start: Any = None) -> "Persistence":
        """Learn nothing."""
        return self

    def predict(self, bars: "Bars", start: Any = None) -> Forecast:
        """Forecast at every bar from `start` on."""
        kind = self.target.info.kind
        if kind == "close":
            values = np.asarray(bars.adjusted("close"))
        elif kind in ("return", "log_return"):
            values = np.where(np.isfinite(np.asarray(bars.adjusted("close"))), 0.0, np.nan)
        else:
            values = known_outcomes(self.target, bars, 1)[..., 0]
        return as_forecast(self.target, bars, values, start)

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as a JSON-able mapping."""
        return {"kind": "Persistence", "target": self.target.to_dict()}


class HistoricalMean(_Streams, _Kept):
    """The mean outcome of the training rows, per symbol; for prices see `Drift`.

    Parameters
    ----------
    target : Target
        A return, volatility or direction.

    Attributes
    ----------
    mean_ : dict of str to float
        Per symbol.

    Examples
    --------
    >>> from longshort import features as f
    >>> from longshort.data import synthetic
    >>> bars = synthetic.random_walk(500, seed=1)
    >>> model = HistoricalMean(f.forward_volatility()).fit(bars)
    >>> round(model.predict(bars).mean[-1, 0], 4)   # a normal return of 1 % has a mean absolute value of 0.8 %
    np.float64(0.0077)
    """

    name = "mean"
    LEARNS = "mean_"

    def __init__(self, target: Any):
        if target.info.kind == "close":
            raise InputError("The mean of a price's past is no forecast. Use Drift(target), or a return as the target.")
        self.target = target

    def fit(self, bars: "Bars", start: Any = None) -> "HistoricalMean":
        """Learn one mean per symbol."""
        self.mean_ = _means(np.asarray(self.target.compute(bars))[row_of(bars, start) :], bars.symbols)
        return self

    def predict(self, bars: "Bars", start: Any = None) -> Forecast:
        """Forecast at every bar from `start` on."""
        means = _per_symbol(self, bars)
        alive = np.isfinite(np.asarray(bars.adjusted("close")))
        return as_forecast(self.target, bars, np.where(alive, means, np.nan), start)

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as a JSON-able mapping."""
        return {"kind": "HistoricalMean", "target": self.target.to_dict()}


class Drift(_Streams, _Kept):
    """The last close moved by the mean change of the training rows, per symbol; for returns that mean itself.

    Parameters
    ----------
    target : Target
        A price or a return.

    Attributes
    ----------
    mean_ : dict of str to float
        Mean change over the target's horizon, per symbol.

    Examples
    --------
    >>> from longshort import features as f
    >>> from longshort.data import synthetic
    >>> bars = synthetic.random_walk(2000, seed=1, drift=0.001)
    >>> model = Drift(f.forward_close()).fit(bars)
    >>> bool(model.predict(bars).mean[-1, 0] > bars["close"][-1, 0])
    True
    """

    name = "drift"
    LEARNS = "mean_"

    def __init__(self, target: Any):
        if target.info.kind not in ("close", "return", "log_return"):
            raise InputError(f"Drift forecasts prices and returns, not {target.info}. Use HistoricalMean(target).")
        self.target = target

    def fit(self, bars: "Bars", start: Any = None) -> "Drift":
        """Learn one mean change per symbol."""
        self.mean_ = _means(change(self.target, bars)[row_of(bars, start) :], bars.symbols)
        return self

    def predict(self, bars: "Bars", start: Any = None) -> Forecast:
        """Forecast at every bar from `start` on."""
        means = _per_symbol(self, bars)
        alive = np.isfinite(np.asarray(bars.adjusted("close")))
        return as_forecast(self.target, bars, level(self.target, bars, np.where(alive, means, np.nan)), start)

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as a JSON-able mapping."""
        return {"kind": "Drift", "target": self.target.to_dict()}


class AutoRegression(_Streams, _Kept):
    """A regression of the outcome on means over its last known values, pooled over symbols.

    An outcome over several bars is known only when it has ended, so the means reach further back than the spans; for
    volatility see `HAR`.

    Parameters
    ----------
    target : Target
        What to forecast; prices are regressed through their changes.
    spans : sequence of int, default=(1, 5, 22)
        Lengths of the means.

    Examples
    --------
    >>> from longshort import features as f
    >>> from longshort.data import synthetic
    >>> bars = synthetic.garch(2500, seed=1)
    >>> target = f.forward_volatility(5)
    >>> model = AutoRegression(target).fit(bars.until(bars.time[1999]))
    >>> told, came = model.predict(bars).mean[2000:-5, 0], target.compute(bars)[2000:-5, 0]
    >>> bool(np.corrcoef(told, came)[0, 1] > 0.3)
    True
    """

    name = "ar"
    LEARNS = "linear_"

    def __init__(self, target: Any, spans: Sequence[int] = (1, 5, 22)):
        if not len(spans) or any(isinstance(s, bool) or int(s) != s or s < 1 for s in spans):
            raise InputError(f"spans are whole numbers of bars of at least 1, were {spans!r}.")
        self.target, self.spans = target, tuple(int(s) for s in spans)

    @property
    def warmup(self) -> int:
        """Bars before the first forecast."""
        return max(self.spans) + self.target.info.horizon - 1

    def fit(self, bars: "Bars", start: Any = None) -> "AutoRegression":
        """Learn by least squares on all rows with an outcome."""
        first = row_of(bars, start)
        rows = paired(self._inputs(bars, first), change(self.target, bars), first)
        if len(rows.outcome) <= len(self.spans) + 1:
            raise NotEnoughData(
                f"AutoRegression has {len(self.spans) + 1} numbers to learn, but bars holds {len(rows.outcome)} rows "
                f"with {max(self.spans)} known outcomes before them. Load more bars, or shorten spans."
            )
        self.linear_ = Moments.of(rows.inputs, rows.outcome).solve(0.0)
        remember_fit(self, bars)
        return self

    def predict(self, bars: "Bars", start: Any = None) -> Forecast:
        """Forecast at every bar from `start` on."""
        return _predict_linear(self, bars, start)

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as a JSON-able mapping."""
        return {"kind": "AutoRegression", "target": self.target.to_dict(), "spans": list(self.spans)}

    def _inputs(self, bars: "Bars", first: int) -> np.ndarray:
        """Return (n_bars - first, n_symbols, n_spans)."""
        return _means_over(known_outcomes(self.target, bars, max(self.spans))[first:], self.spans)


class HAR(AutoRegression):
    """Volatility regressed on its daily, weekly and monthly averages (Corsi, 2009): the model to beat.

    The volatility of every single bar, measured as the target measures it, is averaged over the last 1, 5 and 22 bars.
    Pooled over symbols; of hourly bars, take the spans of a session, a week and a month, such as ``(7, 35, 154)``.

    Parameters
    ----------
    target : Target
        A volatility, over any horizon.
    spans : sequence of int, default=(1, 5, 22)
        Bars averaged over.

    Examples
    --------
    >>> from longshort import features as f
    >>> from longshort.data import synthetic
    >>> bars = synthetic.garch(2500, seed=1)
    >>> target = f.forward_volatility(5)
    >>> model = HAR(target).fit(bars.until(bars.time[1999]))
    >>> told, came = model.predict(bars).mean[2000:-5, 0], target.compute(bars)[2000:-5, 0]
    >>> bool(np.corrcoef(told, came)[0, 1] > 0.4)
    True
    """

    name = "har"

    def __init__(self, target: Any, spans: Sequence[int] = (1, 5, 22)):
        if target.info.kind != "volatility":
            raise InputError(f"HAR forecasts volatility, not {target.info}. Use AutoRegression(target).")
        super().__init__(target, spans)

    @property
    def warmup(self) -> int:
        """Bars before the first forecast."""
        return max(self.spans)

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as a JSON-able mapping."""
        return super().to_dict() | {"kind": "HAR"}

    def _inputs(self, bars: "Bars", first: int) -> np.ndarray:
        """Return (n_bars - first, n_symbols, n_spans)."""
        return _means_over(known_outcomes(self.target.with_horizon(1), bars, max(self.spans))[first:], self.spans)


class ReadsFeatures:
    """What forecasters share that see features over the last bars side by side: `features` over `lookback`."""

    features: Any
    lookback: int

    @property
    def program_(self) -> Any:
        """The features as one compiled program."""
        from ..features import FeatureSet

        return self.features if isinstance(self.features, FeatureSet) else FeatureSet(self.features)

    @property
    def warmup(self) -> int:
        """Bars before the first forecast."""
        return int(self.program_.warmup) + self.lookback - 1

    def _inputs(self, bars: "Bars", first: int) -> np.ndarray:
        return side_by_side(np.asarray(self.program_.compute(bars)), self.lookback, first)

    def said(self, inputs: np.ndarray) -> np.ndarray:
        """Return what inputs (..., n_inputs) say, prices as the changes they imply; NaN where one is missing."""
        raise NotImplementedError

    def stream(self, bars: "Bars") -> Any:
        """Return a stream that answers row by row what `predict` would, bit for bit; `bars` are its history."""
        from .recent import RecentFeatures

        return RecentFeatures(self, bars)


class Ridge(ReadsFeatures, _Kept):
    """A linear regression with a penalty on the same features as the LSTM, pooled over symbols.

    Features and outcome are standardised on the training rows. The penalty is chosen on the last part of them, by date
    and with overlapping outcomes purged; then all training rows are used.

    Parameters
    ----------
    features : sequence of Feature or FeatureSet
        What it reads.
    target : Target
        What to forecast; prices through the change they imply.
    lookback : int, default=5
        Bars of features it sees; the last is the decision row.
    penalties : sequence of float
        Candidates, in units of one training row.
    validation : float, default=0.2
        Share of the dates, the latest, that choose the penalty.

    Attributes
    ----------
    penalty_ : float
        The penalty chosen.

    Examples
    --------
    >>> from longshort import features as f
    >>> from longshort.data import synthetic
    >>> bars = synthetic.planted_signal(1500, seed=1)   # tomorrow's return is written into today's volume
    >>> target = f.forward_log_return()
    >>> model = Ridge([f.field("volume").log(), f.log_return()], target).fit(bars.until(bars.time[999]))
    >>> told, came = model.predict(bars).mean[1000:-1, 0], target.compute(bars)[1000:-1, 0]
    >>> bool(np.corrcoef(told, came)[0, 1] > 0.65)   # 0.70 is the best possible
    True
    """

    name = "ridge"
    LEARNS = "linear_"

    def __init__(
        self,
        features: Any,
        target: Any,
        lookback: int = 5,
        penalties: Sequence[float] = PENALTIES,
        validation: float = 0.2,
    ):
        if isinstance(lookback, bool) or not isinstance(lookback, int | np.integer) or lookback < 1:
            raise InputError(f"lookback must be a whole number of at least 1, was {lookback!r}.")
        if not len(penalties) or any(not 0 <= p < np.inf for p in penalties):
            raise InputError(f"penalties must be finite numbers of at least 0, were {penalties!r}.")
        if not 0 < validation < 1:
            raise InputError(f"validation must be a share between 0 and 1, was {validation!r}.")
        self.features, self.target, self.lookback = features, target, int(lookback)
        self.penalties, self.validation = tuple(float(p) for p in penalties), float(validation)

    def fit(self, bars: "Bars", start: Any = None) -> "Ridge":
        """Choose the penalty, then learn from all rows with an outcome."""
        first = row_of(bars, start)
        rows = paired(self._inputs(bars, first), change(self.target, bars), first)
        dates = np.unique(rows.row)
        n_validation = max(1, round(self.validation * len(dates)))
        if len(dates) < 10:
            raise NotEnoughData(
                f"Ridge needs at least 10 decision rows to learn from, but bars holds {len(dates)} with {self.warmup} "
                "bars before them and an outcome after. Load more bars."
            )
        first = dates[len(dates) - n_validation]
        ends = np.asarray(self.target.label_end(bars))
        early, late = ends[rows.row] < bars.time[first], rows.row >= first
        self.penalty_ = self.penalties[0]
        if early.sum() > 2 and len(self.penalties) > 1:
            moments = Moments.of(rows.inputs[early], rows.outcome[early])
            inputs, outcome = rows.inputs[late], rows.outcome[late]
            errors = [float(np.mean((moments.solve(p)(inputs) - outcome) ** 2)) for p in self.penalties]
            self.penalty_ = self.penalties[int(np.argmin(errors))]
        self.linear_ = Moments.of(rows.inputs, rows.outcome).solve(self.penalty_)
        remember_fit(self, bars)
        return self

    def predict(self, bars: "Bars", start: Any = None) -> Forecast:
        """Forecast at every bar from `start` on."""
        return _predict_linear(self, bars, start)

    def said(self, inputs: np.ndarray) -> np.ndarray:
        """Return what inputs (..., n_inputs) say, prices as the changes they imply; NaN where one is missing."""
        return _said(self, inputs)

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as a JSON-able mapping."""
        return {
            "kind": "Ridge",
            "features": self.program_.to_dict(),
            "target": self.target.to_dict(),
            "lookback": self.lookback,
            "penalties": list(self.penalties),
            "validation": self.validation,
        }


# ------------------------------------------------------------------------------------------------------ shared by them


def known_outcomes(target: Any, bars: "Bars", n: int) -> np.ndarray:
    """Return the `n` latest outcomes known at each bar, newest first, (n_bars, n_symbols, n); of prices, the changes.

    A direction that was neither, because the price hardly moved, is 0.5 here: there is no such label, but it is known.

    Look-ahead: an outcome counts only from the bar at which its label has ended.
    """
    if len(bars) <= target.info.horizon:
        return np.full((len(bars), len(bars.symbols), n), np.nan)
    values, ends = change(target, bars), np.asarray(target.label_end(bars))
    if target.info.kind == "direction":
        moved = np.asarray(replace(target, kind="return", up=None, down=None).compute(bars))
        values = np.where(np.isnan(values) & np.isfinite(moved), 0.5, values)
    rows = np.arange(len(bars))
    newest = np.searchsorted(ends, bars.time, side="right") - 1  # ends never decrease; unknown ones stand at the end
    out = np.full((*values.shape, n), np.nan)
    for k in range(n):
        at = newest - k
        ok = at >= 0
        out[rows[ok], :, k] = values[at[ok]]
    return out


def _means_over(known: np.ndarray, spans: Sequence[int]) -> np.ndarray:
    """Return means over the newest of the known values (n_rows, n_symbols, n), one a span."""
    total, means = np.zeros(known.shape[:2]), {}
    for k in range(max(spans)):
        total = total + known[..., k]
        means[k + 1] = total / (k + 1)
    return np.stack([means[s] for s in spans], axis=-1)


def _predict_linear(model: Any, bars: "Bars", start: Any) -> Forecast:
    if not hasattr(model, "linear_"):
        raise NotFitted(f"This {type(model).__name__} has not learned anything yet. Call fit(bars) first.")
    first = row_of(bars, start)
    values = np.full((len(bars), len(bars.symbols)), np.nan)
    values[first:] = _said(model, model._inputs(bars, first))
    return as_forecast(model.target, bars, level(model.target, bars, values), start)


def _said(model: Any, inputs: np.ndarray) -> np.ndarray:
    values = model.linear_(inputs)
    return np.maximum(values, 0.0) if model.target.info.kind == "volatility" else values


def _means(values: np.ndarray, symbols: Sequence[str]) -> dict[str, float]:
    known = np.isfinite(values)
    return {
        s: float(values[known[:, j], j].mean()) if known[:, j].any() else float("nan") for j, s in enumerate(symbols)
    }


def _per_symbol(model: Any, bars: "Bars") -> np.ndarray:
    if not hasattr(model, "mean_"):
        raise NotFitted(f"This {type(model).__name__} has not learned anything yet. Call fit(bars) first.")
    unseen = [s for s in bars.symbols if s not in model.mean_]
    if unseen:
        raise InputError(
            f"This {type(model).__name__} was fitted on {', '.join(model.mean_)} and has never seen "
            f"{', '.join(unseen)}. Fit it on bars with these symbols."
        )
    return np.array([model.mean_[s] for s in bars.symbols])


def as_forecast(target: Any, bars: "Bars", values: np.ndarray, start: Any) -> Forecast:
    """Return values (n_bars, n_symbols) as the forecast from `start` on."""
    first = row_of(bars, start)
    ends = np.asarray(target.label_end(bars))[first:]
    return Forecast(bars.time[first:], bars.symbols, values[first:], target=target.info, for_time=ends)
