"""What a model predicts: the only code in the package that looks ahead.

A `Target` says what happens after each bar, when that becomes known, and what one would say without any model::

    row t:   features(t) | target(t) = something about bars t+1 ... t+horizon | known at the stamp of bar t+horizon

Prices are forward-adjusted, so splits and dividends do not show in returns. Rows without an outcome are NaN.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..bars import Bars, require_bars
from ..errors import ArtifactError, InputError, NotEnoughData, UnknownName, did_you_mean
from ..forecast import TARGET_KINDS, TargetInfo
from .operators import whole

ENTRIES = ("close", "next_open")
ESTIMATORS = ("close", "parkinson", "garman_klass")
UNKNOWN = np.iinfo(np.int64).max
WIDTHS = ("move", "barrier")  # kinds measured against the recent deviation
DEVIATION_BARS = 20  # log returns in that deviation


@dataclass(frozen=True)
class Target:
    """Something about the next bars, and when it is known.

    Parameters
    ----------
    kind : {"close", "return", "log_return", "direction", "volatility", "move", "barrier"}
        See `forward_close`, `forward_return`, `forward_log_return`, `forward_direction`, `forward_volatility`,
        `forward_move`, `forward_barrier`.
    horizon : int, default=1
        Bars ahead. Also the number of rows purged between training and test.
    entry : {"close", "next_open"}, default="close"
        Price a return starts from.
    estimator : {"close", "parkinson", "garman_klass"}, default="close"
        How the volatility of a bar is measured.
    up, down : float, optional
        Of moves and barriers: how far the price must go, in deviations of a log return over the horizon. Of directions:
        the smallest rise and fall that count, as returns.

    Examples
    --------
    >>> from longshort import features as f
    >>> target = f.forward_log_return(5)
    >>> print(target.info)
    log return over the next 5 bars
    >>> f.Target.from_dict(target.to_dict()) == target
    True
    """

    kind: str
    horizon: int = 1
    entry: str = "close"
    estimator: str = "close"
    up: float | None = None
    down: float | None = None

    def __post_init__(self):
        for name, known in (("kind", TARGET_KINDS), ("entry", ENTRIES), ("estimator", ESTIMATORS)):
            value = getattr(self, name)
            if value not in known:
                raise UnknownName(f"A target's {name} was {value!r}. {did_you_mean(str(value), known)}")
        object.__setattr__(self, "horizon", whole(self.horizon, "A target's horizon", 1))
        if self.entry != "close" and self.kind in ("close", "volatility"):
            raise InputError(f"A {self.kind} has no entry price, so entry must be 'close', was {self.entry!r}.")
        if self.estimator != "close" and self.kind != "volatility":
            raise InputError(f"Only volatility has an estimator; for a {self.kind} it was {self.estimator!r}.")
        for name in ("up", "down"):
            value = getattr(self, name)
            if self.kind == "direction" and value is None:
                continue
            if self.kind not in (*WIDTHS, "direction"):
                if value is not None:
                    raise InputError(
                        f"Only moves, barriers and directions have {name}; for a {self.kind} it was {value!r}."
                    )
            elif isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 < value < np.inf:
                raise InputError(f"A {self.kind}'s {name} must be a finite number above 0, was {value!r}.")
            else:
                object.__setattr__(self, name, float(value))

    @property
    def info(self) -> TargetInfo:
        """What a number in a forecast of this target means."""
        return TargetInfo(self.kind, self.horizon, self.entry)

    @property
    def warmup(self) -> int:
        """Bars before the first decision whose outcome can be measured."""
        return DEVIATION_BARS if self.kind in WIDTHS else 0

    # -------------------------------------------------------------------------------------------------- the outcome
    def compute(self, bars: "Bars") -> np.ndarray:
        """Return the outcomes, float64 (n_bars, n_symbols); NaN in the last `horizon` rows and where bars are missing.

        Raises
        ------
        NotEnoughData
            No row has an outcome: the horizon reaches past the data.
        """
        require_bars(bars, "A target's compute")
        n_bars, h = len(bars.time), self.horizon
        if h >= n_bars:
            raise NotEnoughData(
                f"A horizon of {h} bars needs at least {h + 1} bars, but bars has {n_bars}. "
                "Load a longer span or shorten the horizon."
            )
        out = np.full((n_bars, len(bars.symbols)), np.nan)
        with np.errstate(all="ignore"):
            known = self._ended(bars)[h:]
        out[:-h] = np.where(np.isfinite(known), known, np.nan)
        return out

    def _ended(self, bars: "Bars") -> np.ndarray:
        """Return, at each bar, the outcome of the decision made `horizon` bars before it: known at that bar."""
        if self.kind == "volatility":
            return np.sqrt(_trailing_mean(_variance(bars, self.estimator), self.horizon))
        close = bars.adjusted("close")
        if self.kind == "close":
            return np.array(close)
        start = _shift(close, self.horizon)
        if self.entry == "next_open":  # the bar of the decision must exist, even if its close is not the entry
            start = np.where(np.isfinite(start), _shift(bars.adjusted("open"), self.horizon - 1), np.nan)
        ratio = close / start
        if self.kind == "log_return":
            return np.log(np.where(ratio > 0, ratio, np.nan))
        if self.kind == "return":
            return ratio - 1.0
        if self.kind in WIDTHS:
            return self._touched(close)
        rose = ratio > 1 if self.up is None else ratio - 1.0 >= self.up
        fell = ratio < 1 if self.down is None else ratio - 1.0 <= -self.down
        return np.where(rose, 1.0, np.where(fell, 0.0, np.nan))

    def _touched(self, close: np.ndarray) -> np.ndarray:
        """Return, at each bar, 1, -1 or 0 for the decision `horizon` bars before: which level was passed (first)."""
        h, up, down = self.horizon, float(self.up or 0.0), float(self.down or 0.0)
        width = _shift(_deviation(close), h) * np.sqrt(h)
        out = np.where(width > 0, 0.0, np.nan)  # of a price that stood still, no move can be told small or large
        for ahead in range(1, h + 1) if self.kind == "barrier" else (h,):
            moved = np.log(_shift(close, h - ahead) / _shift(close, h))
            out = np.where(np.isfinite(moved), out, np.nan)
            out = np.where((out == 0) & (moved >= up * width), 1.0, out)
            out = np.where((out == 0) & (moved <= -down * width), -1.0, out)
        return out

    def label_end(self, bars: "Bars") -> np.ndarray:
        """Return the stamp at which each row's outcome is known, int64 (n_bars,); the largest int64 where never."""
        require_bars(bars, "A target's label_end")
        time = np.asarray(bars.time, dtype=np.int64)
        out = np.full(len(time), UNKNOWN)
        out[: max(len(time) - self.horizon, 0)] = time[self.horizon :]
        return out

    # ---------------------------------------------------------------------------------------- what needs no model
    def naive(self, bars: "Bars") -> dict[str, np.ndarray]:
        """Return the forecasts that use no information, made at each bar from that bar and earlier ones.

        Returns
        -------
        dict of str to float64 array (n_bars, n_symbols)
            Close: ``persistence`` (the last close). Returns: ``zero`` and ``mean`` (of all outcomes known by then).
            Volatility: ``last_realised`` (the same measure over the last `horizon` bars) and ``mean``. Direction:
            ``majority`` (of all outcomes known by then; up when they are even). Moves and barriers: as returns. NaN
            until there is something to go by.
        """
        require_bars(bars, "A target's naive")
        with np.errstate(all="ignore"):
            ended = self._ended(bars) if self.horizon < len(bars.time) else np.full(bars.shape, np.nan)
        ended = np.where(np.isfinite(ended), ended, np.nan)
        if self.kind == "close":
            return {"persistence": np.array(bars.adjusted("close"))}
        if self.kind == "volatility":
            with np.errstate(all="ignore"):
                last = np.sqrt(_trailing_mean(_variance(bars, self.estimator), self.horizon))
            return {"last_realised": np.where(np.isfinite(last), last, np.nan), "mean": _expanding_mean(ended)}
        if self.kind == "direction":
            share = _expanding_mean(ended)
            return {"majority": np.where(np.isnan(share), np.nan, (share >= 0.5).astype(np.float64))}
        return {"zero": np.zeros_like(ended), "mean": _expanding_mean(ended)}

    # ------------------------------------------------------------------------------------------------------- saving
    def to_dict(self) -> dict[str, Any]:
        """Return the arguments as a JSON-able mapping."""
        widths = {name: value for name in ("up", "down") if (value := getattr(self, name)) is not None}
        return {"kind": self.kind, "horizon": self.horizon, "entry": self.entry, "estimator": self.estimator, **widths}

    @classmethod
    def from_dict(cls, description: Mapping[str, Any]) -> "Target":
        """Return the target that `to_dict` described."""
        try:
            return cls(**description)
        except TypeError as error:
            raise ArtifactError(f"A target's description is damaged: {error}. Save the model again.") from error

    def with_horizon(self, horizon: int) -> "Target":
        """Return the same target over another horizon."""
        return replace(self, horizon=horizon)


def forward_close(horizon: int = 1) -> Target:
    """Close `horizon` bars ahead, in forward-adjusted price units.

    Notes
    -----
    Look-ahead: the last `horizon` rows are NaN; the value is known `horizon` bars late.

    Examples
    --------
    >>> from longshort import features as f
    >>> print(f.forward_close(5).info)
    close 5 bars ahead
    """
    return Target("close", horizon)


def forward_return(horizon: int = 1, entry: str = "close") -> Target:
    """Return from this bar's close (or the next bar's open) to the close `horizon` bars later.

    Parameters
    ----------
    horizon : int, default=1
        Bars ahead. Also the number of rows purged between training and test.
    entry : {"close", "next_open"}, default="close"
        ``"next_open"`` is what an order sent after the close can have.

    Notes
    -----
    Look-ahead: the last `horizon` rows are NaN; the value is known `horizon` bars late.

    Examples
    --------
    >>> from longshort import features as f
    >>> print(f.forward_return(1, entry="next_open").info)
    return over the next bar, entered at the next open
    """
    return Target("return", horizon, entry)


def forward_log_return(horizon: int = 1, entry: str = "close") -> Target:
    """Log return from this bar's close (or the next bar's open) to the close `horizon` bars later.

    Notes
    -----
    Look-ahead: the last `horizon` rows are NaN; the value is known `horizon` bars late.

    Examples
    --------
    >>> from longshort import features as f
    >>> print(f.forward_log_return(1).info)
    log return over the next bar
    """
    return Target("log_return", horizon, entry)


def forward_direction(
    horizon: int = 1, entry: str = "close", up: float | None = None, down: float | None = None
) -> Target:
    """Direction of the return over the next `horizon` bars: 1 up, 0 down, NaN for exactly unchanged.

    Parameters
    ----------
    horizon : int, default=1
        Bars ahead.
    entry : {"close", "next_open"}, default="close"
        Price the return starts from.
    up, down : float, optional
        Smallest rise and fall that count, as returns: 0.0055 and 0.005 are those of Xu and Cohen (2018). What lies
        between is NaN. By default any change counts.

    Notes
    -----
    An unchanged price is neither: no bet on it is won or lost, so such rows are left out of training and judgement.
    With a dead band the outcome decides which rows are judged, so hit rates hold for days that move, which nobody knows
    beforehand.
    Look-ahead: the last `horizon` rows are NaN; the value is known `horizon` bars late.

    Examples
    --------
    >>> from longshort import features as f
    >>> print(f.forward_direction().info)
    direction over the next bar
    >>> f.forward_direction(up=0.0055, down=0.005).to_dict()["down"]
    0.005
    """
    return Target("direction", horizon, entry, up=up, down=down)


def forward_volatility(horizon: int = 1, estimator: str = "close") -> Target:
    """Volatility of the next `horizon` bars, per bar: the root of the mean variance of those bars.

    Parameters
    ----------
    horizon : int, default=1
        Bars ahead.
    estimator : {"close", "parkinson", "garman_klass"}, default="close"
        Variance of one bar: the squared log return of the close; or from its range, far less noisy but blind to what
        happens between bars: Parkinson's ln(H/L)^2 / (4 ln 2), or Garman and Klass'
        ln(H/L)^2 / 2 - (2 ln 2 - 1) ln(C/O)^2.

    Notes
    -----
    Look-ahead: the last `horizon` rows are NaN; the value is known `horizon` bars late.

    Examples
    --------
    >>> from longshort import features as f
    >>> f.forward_volatility(5, estimator="garman_klass").to_dict()
    {'kind': 'volatility', 'horizon': 5, 'entry': 'close', 'estimator': 'garman_klass'}
    """
    return Target("volatility", horizon, estimator=estimator)


def forward_move(horizon: int = 1, width: float = 0.5) -> Target:
    """Up, down or neither: 1, -1 or 0 as the log return over `horizon` bars passes `width` deviations.

    Parameters
    ----------
    horizon : int, default=1
        Bars ahead.
    width : float, default=0.5
        In deviations of a log return over the horizon: the deviation of the last 20 bars times the root of the horizon.

    Notes
    -----
    Look-ahead: the last `horizon` rows are NaN; the value is known `horizon` bars late.

    Examples
    --------
    >>> from longshort import features as f
    >>> print(f.forward_move(5, width=1.0).info)
    move over the next 5 bars
    """
    return Target("move", horizon, up=width, down=width)


def forward_barrier(horizon: int = 10, up: float = 1.0, down: float = 1.0) -> Target:
    """Which of three barriers comes first (Lopez de Prado, 2018, section 3.4): 1 upper, -1 lower, 0 the end.

    Parameters
    ----------
    horizon : int, default=10
        Bars until the vertical barrier.
    up, down : float, default=1.0
        Distance of the horizontal ones, in deviations of a log return over the horizon: the deviation of the last 20
        bars times the root of the horizon. Closes touch them.

    Notes
    -----
    Look-ahead: the last `horizon` rows are NaN; the value counts as known `horizon` bars late, however early a barrier
    was touched.

    Examples
    --------
    >>> from longshort import features as f
    >>> print(f.forward_barrier(10, up=2.0, down=1.0).info)
    first barrier touched within the next 10 bars
    """
    return Target("barrier", horizon, up=up, down=down)


def _deviation(close: np.ndarray) -> np.ndarray:
    """Return the deviation of the last log returns, one row each: a function of those rows only."""
    change = np.log(close / _shift(close, 1))
    mean = _trailing_mean(change, DEVIATION_BARS)
    return np.sqrt(np.maximum(_trailing_mean(change**2, DEVIATION_BARS) - mean**2, 0.0))


def _shift(values: np.ndarray, n: int) -> np.ndarray:
    """Return the values n rows earlier, NaN at the top."""
    out = np.full(values.shape, np.nan)
    out[n:] = values[: len(values) - n]
    return out


def _variance(bars: "Bars", estimator: str) -> np.ndarray:
    if estimator == "close":
        close = bars.adjusted("close")
        return np.log(close / _shift(close, 1)) ** 2
    high_low = np.log(bars["high"] / bars["low"]) ** 2
    if estimator == "parkinson":
        return high_low / (4 * np.log(2))
    return np.maximum(high_low / 2 - (2 * np.log(2) - 1) * np.log(bars["close"] / bars["open"]) ** 2, 0.0)


def _trailing_mean(values: np.ndarray, n: int) -> np.ndarray:
    """Return the mean of the last n rows, added oldest first: a function of those rows only."""
    out = _shift(values, n - 1)
    for lag in reversed(range(n - 1)):
        out = out + _shift(values, lag)
    return out / n


def _expanding_mean(values: np.ndarray) -> np.ndarray:
    """Return the mean of all numbers so far in each column, NaN before the first."""
    known = np.isfinite(values)
    count = np.cumsum(known, axis=0)
    total = np.cumsum(np.where(known, values, 0.0), axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
