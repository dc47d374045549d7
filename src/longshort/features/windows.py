"""Windows over features, and their scaling: one builder for training and for serving.

A window is `lookback` consecutive rows of one symbol, and **its last row is the decision row**: the row whose outcome
is the target in training, and the newest row when serving. Windows are indices into the feature array, never copies,
so memory grows with the series and not with lookback x series::

    features (n_bars, n_symbols, n_features), C order
    window of (row, column) = features[row - lookback + 1 : row + 1, column]
                            = n_features numbers every `time_stride` elements from `start`

A window is valid when every number in it is finite and no bar in it is missing or halted. The nightly close and splits
break nothing. Scalers learn from the rows the training windows cover, and from nothing else.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError, DataWarning, InputError, PriceError, UnknownName, did_you_mean

if TYPE_CHECKING:
    from ..bars import Bars

SCALERS = ("standard", "minmax", "robust")


@dataclass(frozen=True, eq=False)
class Windows:
    """Index-based windows over a feature array.

    Parameters
    ----------
    features : float64 array (n_bars, n_symbols, n_features)
        Shared, never copied.
    lookback : int
        Rows in a window.
    rows, columns : int32 array (n_windows,)
        Decision row and symbol of each window, ordered by row, then symbol.

    Examples
    --------
    >>> import numpy as np
    >>> w = Windows.over(np.arange(12.0).reshape(6, 2, 1), lookback=3)
    >>> w.rows.tolist(), w.columns.tolist()
    ([2, 2, 3, 3, 4, 4, 5, 5], [0, 1, 0, 1, 0, 1, 0, 1])
    >>> w[1].ravel(), w.starts[1]
    (array([1., 3., 5.]), np.int64(1))
    """

    features: np.ndarray
    lookback: int
    rows: np.ndarray
    columns: np.ndarray

    @classmethod
    def over(cls, features: np.ndarray, lookback: int, broken: np.ndarray | None = None, start: int = 0) -> "Windows":
        """Find every valid window.

        Parameters
        ----------
        features : float64 array (n_bars, n_symbols, n_features)
            C order.
        lookback : int
            Rows in a window, at least 1.
        broken : bool array (n_bars, n_symbols), optional
            Cells no window may contain, whatever their features say: missing and halted bars.
        start : int, default=0
            First decision row. Rows before it may be in a window but decide nothing.
        """
        check_lookback(lookback)
        if features.ndim != 3 or not features.flags.c_contiguous or features.dtype != np.float64:
            raise InputError(
                "features must be a C-ordered float64 array (n_bars, n_symbols, n_features), "
                f"was {features.dtype} with shape {features.shape}."
            )
        n_bars, n_symbols, n_features = features.shape
        valid = np.ones((n_bars, n_symbols), dtype=bool) if broken is None else ~broken
        for k in range(n_features):
            valid &= np.isfinite(features[:, :, k])
        full = _run_of(valid, lookback)
        full[:start] = False
        rows, columns = (index.astype(np.int32) for index in np.nonzero(full))
        return cls(features, lookback, rows, columns)

    @property
    def time_stride(self) -> int:
        """Elements between two consecutive rows of one symbol."""
        return self.features.shape[1] * self.features.shape[2]

    @property
    def starts(self) -> np.ndarray:
        """Element offset of each window's first number in the flat feature array, int64 (n_windows,)."""
        starts = self.rows.astype(np.int64)
        starts -= self.lookback - 1
        starts *= self.features.shape[1]
        starts += self.columns
        starts *= self.features.shape[2]
        return starts

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> np.ndarray:
        """Return window `i` as a (lookback, n_features) view."""
        row, column = int(self.rows[i]), int(self.columns[i])
        return self.features[row - self.lookback + 1 : row + 1, column]

    def take(self, which: np.ndarray) -> "Windows":
        """Return the windows selected by a mask or by indices."""
        return Windows(self.features, self.lookback, self.rows[which], self.columns[which])

    def cells(self) -> np.ndarray:
        """Return which (row, column) cells the windows cover, bool (n_bars, n_symbols)."""
        n_bars, n_symbols, _ = self.features.shape
        edges = np.zeros((n_bars + 1, n_symbols), dtype=np.int32)
        np.add.at(edges, (self.rows - (self.lookback - 1), self.columns), 1)
        np.add.at(edges, (self.rows + 1, self.columns), -1)
        return np.cumsum(edges, axis=0, out=edges)[:-1] > 0


def _run_of(valid: np.ndarray, length: int) -> np.ndarray:
    """Return where the last `length` rows of a boolean (n_bars, n_symbols) array are all true."""
    out = np.zeros_like(valid)
    if len(valid) >= length:
        bad = np.cumsum(~valid, axis=0, dtype=np.int32)
        out[length - 1 :] = bad[length - 1 :] == np.concatenate([np.zeros_like(bad[:1]), bad[: len(bad) - length]])
    return out


def check_lookback(lookback: Any) -> None:
    """Raise `InputError` unless `lookback` is a whole number of at least 1."""
    if isinstance(lookback, bool) or not isinstance(lookback, int | np.integer) or lookback < 1:
        raise InputError(f"lookback must be a whole number of bars, at least 1, was {lookback!r}.")


def broken_cells(bars: "Bars") -> np.ndarray:
    """Return the cells that break a window: missing and halted bars, bool (n_bars, n_symbols)."""
    from ..bars import State

    return (bars.state == State.MISSING) | (bars.state == State.HALTED)


def refuse_unexplained_nan(features: np.ndarray, names: Sequence[str], bars: "Bars", warmup: int, start: int) -> None:
    """Raise `PriceError` for a NaN that neither warm-up nor a bar that is not OK explains, or for any infinity.

    Parameters
    ----------
    features : float64 array (n_bars, n_symbols, n_features)
        As computed from `bars`.
    names : sequence of str
        Feature names, for the message.
    bars : Bars
        Where the features come from.
    warmup : int
        Good bars a feature needs before it speaks.
    start : int
        First decision row; rows before it are not judged.
    """
    fault = _unexplained_nan(features, names, bars, warmup, start)
    if fault:
        raise PriceError(fault)


def warn_of_unexplained_nan(features: np.ndarray, names: Sequence[str], bars: "Bars", warmup: int, start: int) -> None:
    """Warn (`DataWarning`) where `refuse_unexplained_nan` would refuse: such rows have no forecast."""
    fault = _unexplained_nan(features, names, bars, warmup, start)
    if fault:
        warnings.warn(f"Some bars have no forecast. {fault}", DataWarning, stacklevel=4)


def _unexplained_nan(features: np.ndarray, names: Sequence[str], bars: "Bars", warmup: int, start: int) -> str | None:
    from ..bars import State

    settled = _run_of(bars.state == State.OK, min(warmup, len(bars)) + 1) if warmup < len(bars) else None
    for k, name in enumerate(names):
        column = features[:, :, k]
        bad = np.isinf(column)
        if settled is not None:
            bad |= np.isnan(column) & settled
        bad[:start] = False
        if bad.any():
            rows, columns = np.nonzero(bad)
            dates = ", ".join(str(d) for d in np.unique(bars.dates[rows])[:3])
            return (
                f"Feature {name!r} must be a finite number wherever its bars are, but {len(rows)} values are not, "
                f"for {bars.symbols[columns[0]]} on {dates}{', ...' if len(rows) > 3 else ''}. "
                "Clean these bars, or carry the last value over with .ffill(limit)."
            )
    return None


@dataclass(frozen=True, eq=False)
class Scaling:
    """An affine scaling per column: ``scaled = (value - center) / scale``, inverted exactly as its definition says.

    Parameters
    ----------
    kind : {"standard", "minmax", "robust"}
        Mean and standard deviation; minimum and range; median and interquartile range.
    center, scale : float64 array (n_columns,)
        What was learned.

    Examples
    --------
    >>> import numpy as np
    >>> s = Scaling.fit("minmax", [np.array([10.0, 20.0, 15.0])], ["close"])
    >>> s.transform(np.array([[12.5]])), s.inverse(np.array([[0.25]]))
    (array([[0.25]]), array([[12.5]]))
    """

    kind: str
    center: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, kind: str, columns: Sequence[np.ndarray], names: Sequence[str]) -> "Scaling":
        """Learn center and scale from the training values of each column.

        Parameters
        ----------
        kind : {"standard", "minmax", "robust"}
            What to learn.
        columns : sequence of float64 arrays
            Training values of each column, finite.
        names : sequence of str
            Column names, for messages.

        Raises
        ------
        DataError
            A column is constant: it can teach nothing, and its scale would be zero.
        """
        check_scaler(kind)
        with np.errstate(all="ignore"):  # what is not finite is refused below, by name
            pairs = [_center_and_scale(kind, np.asarray(values, dtype=np.float64)) for values in columns]
        for name, values, (center, scale) in zip(names, columns, pairs, strict=True):
            if not np.isfinite(center + scale):
                raise PriceError(f"{name!r} must be finite on the training rows, but its {kind} scaling is not.")
            if scale <= 1e-13 * abs(center) or scale == 0:
                spread = float(np.ptp(values))
                constant = spread <= 1e-13 * abs(center)
                what = f"is constant at {center:g}" if constant else f"has an interquartile range of zero at {center:g}"
                raise DataError(
                    f"{name!r} {what} over the {len(values)} training rows, so it can teach nothing. "
                    f"{'Leave it out, or train on rows where it moves.' if constant else 'Use scaler=standard.'}"
                )
        center, scale = np.array(pairs, dtype=np.float64).reshape(-1, 2).T.copy()
        return cls(kind, center, scale)

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Scale values whose last axis is the columns."""
        return (values - self.center) / self.scale

    def inverse(self, scaled: np.ndarray) -> np.ndarray:
        """Undo `transform`."""
        return scaled * self.scale + self.center


def check_scaler(kind: str) -> None:
    """Raise `UnknownName` unless `kind` is a scaler we know."""
    if kind not in SCALERS:
        raise UnknownName(f"scaler was {kind!r}. {did_you_mean(str(kind), SCALERS)}")


def _center_and_scale(kind: str, values: np.ndarray) -> tuple[float, float]:
    if kind == "standard":
        return float(values.mean()), float(values.std())
    if kind == "minmax":
        low, high = float(values.min()), float(values.max())
        return low, high - low
    q1, median, q3 = np.quantile(values, [0.25, 0.5, 0.75])
    return float(median), float(q3 - q1)


def fit_scaling(kind: str, windows: Windows, names: Sequence[str], flags: Sequence[bool] = ()) -> Scaling:
    """Learn a scaling from exactly the cells the (training) windows cover, one column a feature.

    Columns marked in `flags` are 0 or 1 already and stay as they are: a flag nobody raised in training is no mistake.
    """
    columns = _Columns(windows.features, windows.cells())
    flags = list(flags) or [False] * len(columns)
    learned = [k for k, flag in enumerate(flags) if not flag]
    part = Scaling.fit(kind, columns.only(learned), [names[k] for k in learned])
    center, scale = np.zeros(len(columns)), np.ones(len(columns))
    center[learned], scale[learned] = part.center, part.scale
    return Scaling(kind, center, scale)


class _Columns(Sequence):
    """The covered values of each feature, taken out one at a time so that memory stays small."""

    def __init__(self, features: np.ndarray, cells: np.ndarray, which: Sequence[int] | None = None):
        self.features, self.covered = features, cells
        self.which = range(features.shape[2]) if which is None else which

    def only(self, which: Sequence[int]) -> "_Columns":
        return _Columns(self.features, self.covered, which)

    def __len__(self) -> int:
        return len(self.which)

    def __getitem__(self, k):
        if k >= len(self):
            raise IndexError(k)
        return self.features[:, :, self.which[k]][self.covered]
