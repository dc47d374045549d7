"""What can be audited, as one thing: bars in, dated numbers out.

Every subject turns bars into an `Output`: numbers with the moment each was decided, and the stamp up to which it may
use data (`known`): its own for features and forecasts, the end of its outcome for labels, the end of the training part
for rows inside it. Everything else in this package only compares outputs.
"""

import copy
import inspect
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ...bars import Bars
from ...errors import InputError
from ...features import FeatureSet, Target, forward_log_return, technical
from ...features.windows import Windows, broken_cells
from ...forecast import Forecast
from ..splits import NEVER, WalkForward

if TYPE_CHECKING:
    import pandas as pd

TRAIN_SHARE = 0.7
MOST_FRAMES = 3  # symbols a function of one frame is tried on
GIVEN = ("auto", "frame", "panel", "long", "bars")
OUTPUTS = ("values", "forecast", "returns")


@dataclass(frozen=True, eq=False)
class Output:
    """Numbers and what they may know.

    Parameters
    ----------
    time : int64 array (n_rows,)
        When each row is decided, UTC nanoseconds, increasing.
    values : float array (n_rows, n_columns)
        NaN where there is nothing.
    known : int64 array (n_rows, n_columns)
        Stamp up to which a number may use data.
    columns : tuple of (symbol or None, name)
        What stands in a column.
    labels : tuple of int
        Columns that are outcomes: they look ahead on purpose.
    """

    time: np.ndarray
    values: np.ndarray
    known: np.ndarray
    columns: tuple[tuple[str | None, str], ...]
    labels: tuple[int, ...] = ()


class Subject(Protocol):
    """Something to audit: `run` turns bars into an `Output`, and may raise whatever the audited code raises.

    `exact` says that every bit must agree, whatever is done to the rows; `rounds` that results of as many rows may
    differ by rounding, as products of matrices do. Those with `ways` bear only these other futures.
    """

    name: str
    exact: bool
    rounds: bool
    output: str
    target: Target | None

    def run(self, bars: Bars) -> Output:
        """Return what it says on these bars."""
        ...

    def boundaries(self, bars: Bars) -> list[int]:
        """Return rows at which a test part begins."""
        ...


@dataclass
class Usage:
    """How a thing is used: all that `audit` was told besides the thing and the bars."""

    features: Any = None
    target: Target | None = None
    cv: Any = None
    lookback: int | None = None
    given: str = "auto"
    output: str = "values"
    labels: Mapping[str, int] = field(default_factory=dict)
    train: Any = None
    how: Mapping[str, Any] = field(default_factory=dict)


def split_row(bars: Bars, train: Any) -> int:
    """Return the first row after the training part: a share, a number of rows, or the date of its last row."""
    if train is None:
        row = int(TRAIN_SHARE * len(bars))
    elif isinstance(train, float) and 0 < train < 1:
        row = int(train * len(bars))
    elif isinstance(train, int | np.integer) and not isinstance(train, bool) and 0 < train < len(bars):
        row = int(train)
    elif isinstance(train, str | np.datetime64) or hasattr(train, "isoformat"):
        row = len(bars.until(train))
    else:
        raise InputError(
            f"train must be a share between 0 and 1, a number of rows below {len(bars)}, or the last date of the "
            f"training part, was {train!r}."
        )
    if not 0 < row < len(bars):
        raise InputError(
            f"train={train!r} leaves {row} rows to train and {len(bars) - row} to test; both must be at least 1."
        )
    return row


def _own(bars: Bars, n_columns: int) -> np.ndarray:
    return np.repeat(np.asarray(bars.time, np.int64)[:, None], n_columns, axis=1)


# --------------------------------------------------------------------------------------------------- longshort's own


class FeatureSubject:
    """Features: the value of a row may use the rows up to it."""

    exact, rounds, output, target = True, False, "values", None

    def __init__(self, features: Any):
        self.features = FeatureSet(features)
        self.name = self.features.names[0] if len(self.features) == 1 else f"{len(self.features)} features"

    def run(self, bars: Bars) -> Output:
        """Return one column a symbol and feature."""
        values = np.asarray(self.features.compute(bars)).reshape(len(bars), -1)
        columns = tuple((symbol, name) for symbol in bars.symbols for name in self.features.names)
        return Output(np.asarray(bars.time), values, _own(bars, len(columns)), columns)

    def boundaries(self, bars: Bars) -> list[int]:
        """There is no test part; the end of the warm-up is as good."""
        return [self.features.warmup]


class TargetSubject:
    """A target: an outcome may use the rows up to its end, and what needs no model those up to the decision."""

    exact, rounds, output = True, False, "values"

    def __init__(self, target: Target):
        self.target, self.name = target, str(target.info)

    def run(self, bars: Bars) -> Output:
        """Return outcomes, then the naive forecasts."""
        parts = {"outcome": self.target.compute(bars), **self.target.naive(bars)}
        ends = np.asarray(self.target.label_end(bars), np.int64)
        n = len(bars.symbols)
        known = np.hstack([np.repeat(ends[:, None], n, axis=1), _own(bars, n * (len(parts) - 1))])
        columns = tuple((symbol, name) for name in parts for symbol in bars.symbols)
        return Output(np.asarray(bars.time), np.hstack(list(parts.values())), known, columns, tuple(range(n)))

    def boundaries(self, bars: Bars) -> list[int]:
        """Return the last row with an outcome."""
        return [len(bars) - self.target.horizon]


def forecaster_subjects(model: Any, bars: Bars, usage: Usage) -> list[Any]:
    """Return a forecaster's features, its target, itself fitted once, and itself refitted at every run."""
    parts: list[Any] = []
    if (program := getattr(model, "program_", None)) is not None:
        parts.append(FeatureSubject(program))
    target = model.target[0] if isinstance(model.target, list | tuple) else model.target
    target = target if target is not None or parts == [] else forward_log_return(1)
    if isinstance(target, Target):
        parts.append(TargetSubject(target))
    whole = ForecasterSubject(model, bars, usage, target if isinstance(target, Target) else None)
    return [*parts, FittedSubject(whole, bars), whole]


class ForecasterSubject:
    """A forecaster, fitted on the training part of whatever bars it is run on, forecasting all of them."""

    exact, rounds, output = True, False, "forecast"

    def __init__(self, model: Any, bars: Bars, usage: Usage, target: Target | None):
        self.model, self.target = model, target
        self.name = str(getattr(model, "name", "") or type(model).__name__)
        train_end, test_start = _first_fold(bars, usage, target)
        self.train_end, self.test_start = int(bars.time[train_end]), int(bars.time[test_start])

    def fitted(self, bars: Bars) -> Any:
        """Return a copy that has learned from the training part."""
        return _quick(self.model).fit(bars.until(self.train_end))

    def run(self, bars: Bars) -> Output:
        """Fit, then forecast."""
        return self.said(self.fitted(bars), bars)

    def said(self, model: Any, bars: Bars) -> Output:
        """Return forecasts, quantiles and deviations of a fitted model."""
        forecast = model.predict(bars)
        return _of_forecast(forecast, self.train_end)

    def boundaries(self, bars: Bars) -> list[int]:
        """Return the first row of the test part."""
        return [int(np.searchsorted(bars.time, self.test_start))]


class FittedSubject:
    """A forecaster that has learned already: only its forecasts are asked for again."""

    exact, rounds, output = True, False, "values"

    def __init__(self, whole: ForecasterSubject, bars: Bars):
        self.whole, self.target = whole, whole.target
        self.name = f"{whole.name}, fitted"
        self.model = whole.fitted(bars)

    def run(self, bars: Bars) -> Output:
        """Forecast with the model as it is."""
        return _of_forecast(self.model.predict(bars), None)

    def boundaries(self, bars: Bars) -> list[int]:
        """Return the first row of the test part."""
        return self.whole.boundaries(bars)


def _first_fold(bars: Bars, usage: Usage, target: Target | None) -> tuple[int, int]:
    """Return the last training row and the first test row."""
    if isinstance(usage.cv, WalkForward):
        ends = None if target is None else np.asarray(target.label_end(bars))
        fold = usage.cv.split(bars, decisions=None if ends is None else ends != NEVER, label_end=ends)[0]
        return int(np.searchsorted(bars.time, fold.train_end)), int(np.searchsorted(bars.time, fold.test_start))
    row = split_row(bars, usage.train)
    return row - 1, row


def _quick(model: Any) -> Any:
    """Return an unfitted copy; of a network one that trains two epochs: where it reads does not depend on how long."""
    if hasattr(model, "with_params"):
        told = model.get_params(deep=False) if hasattr(model, "get_params") else {}
        most = {"epochs": 2, "seeds": 1}
        fewer: dict[str, Any] = {name: n for name, n in most.items() if (told.get(name) or 0) > n}
        if "patience" in told and "epochs" in fewer:
            fewer["patience"] = None
        return model.with_params(**fewer)
    return copy.deepcopy(model)


def _of_forecast(forecast: Forecast, train_end: int | None) -> Output:
    parts: dict[str, np.ndarray] = {"mean": forecast.mean}
    for name in ("std", "position"):
        if (values := getattr(forecast, name)) is not None:
            parts[name] = values
    for name in ("quantiles", "probabilities", "horizons"):
        parts |= {f"{name}[{key}]": values for key, values in (getattr(forecast, name) or {}).items()}
    time = np.asarray(forecast.time, np.int64)
    known = time if train_end is None else np.maximum(time, train_end)
    columns = tuple((symbol, name) for name in parts for symbol in forecast.symbols)
    return Output(time, np.hstack(list(parts.values())), np.repeat(known[:, None], len(columns), axis=1), columns)


# ----------------------------------------------------------------------------------------------------------- functions


class CallableSubject:
    """A function of one symbol's DataFrame, of a wide or long table of all symbols, or of Bars.

    It may return a Series, a DataFrame, an array with one row a bar, a Forecast, or a pair (inputs, labels).
    """

    exact, target = False, None

    def __init__(self, function: Callable[..., Any], bars: Bars, usage: Usage):
        self.function, self.usage, self.output = function, usage, usage.output
        self.rounds = usage.output != "values"
        self.name = str(getattr(function, "__name__", type(function).__name__))
        self.given = _given(function, usage.given)
        self.names: Callable[[str], str] = str
        self.actions = {"split": bool((bars.split != 1).any()), "dividend": bool((bars.dividend != 0).any())}
        self.train_end = None if usage.train is None else int(bars.time[split_row(bars, usage.train) - 1])
        if self.given != "bars":
            self._find_case(bars)

    def run(self, bars: Bars) -> Output:
        """Call the function and date what it returns."""
        if self.given == "bars":
            return _dated([(None, self.function(bars))], bars, self.usage.labels, self.train_end)
        said = [(symbol, self.function(frame)) for symbol, frame in self._frames(bars)]
        return _dated(said, bars, self.usage.labels, self.train_end)

    def boundaries(self, bars: Bars) -> list[int]:
        """Return the first row after a declared training part."""
        return [] if self.train_end is None else [int(np.searchsorted(bars.time, self.train_end)) + 1]

    def _frames(self, bars: Bars) -> "Iterable[tuple[str | None, pd.DataFrame]]":
        if self.given == "frame":
            for symbol in bars.symbols[:MOST_FRAMES]:
                yield symbol, self._frame(bars, symbol).rename(columns=self.names)
        elif self.given == "panel":
            yield None, self._wide(bars)
        else:
            yield None, self._long(bars).rename(columns=self.names)

    def _frame(self, bars: Bars, symbol: str) -> "pd.DataFrame":
        """Return one symbol, with the same columns whether or not its actions are still to come."""
        frame = bars.to_pandas(symbol)
        for name, neutral in (("split", 1.0), ("dividend", 0.0)):
            if self.actions[name] and name not in frame.columns:
                frame.insert(len(frame.columns), name, neutral)
        return frame

    def _wide(self, bars: Bars) -> "pd.DataFrame":
        import pandas as pd

        parts = {symbol: self._frame(bars, symbol) for symbol in bars.symbols}
        return pd.concat(parts, axis=1, names=["symbol", "field"]).swaplevel(axis=1)

    def _long(self, bars: Bars) -> "pd.DataFrame":
        """Return all symbols below each other, sorted by symbol, then time."""
        import pandas as pd

        frames = [self._frame(bars, symbol) for symbol in bars.symbols]
        return pd.concat([frame.assign(symbol=name) for name, frame in zip(bars.symbols, frames, strict=True)])

    def _find_case(self, bars: Bars) -> None:
        """Hand out 'Close' instead of 'close' to a function that asks for it."""
        try:
            for _, frame in self._frames(bars):
                self.function(frame)
        except (Exception, SystemExit) as error:  # the first run says what it raised
            missing = str(error.args[0]) if error.args and isinstance(error, KeyError | AttributeError) else ""
            if any(name.title() in missing for name in bars.fields):
                self.names = str.title


def _given(function: Callable[..., Any], given: str) -> str:
    if given != "auto":
        return given
    try:
        first = next(iter(inspect.signature(function).parameters.values()), None)
    except (TypeError, ValueError):
        return "frame"
    if first is not None and (first.name == "bars" or "Bars" in str(first.annotation)):
        return "bars"
    return "frame"


def _dated(
    said: Sequence[tuple[str | None, Any]], bars: Bars, labels: Mapping[str, int], train_end: int | None
) -> Output:
    """Put everything that was returned on one list of moments."""
    found: dict[tuple[str | None, str], tuple[np.ndarray, np.ndarray]] = {}
    late: dict[tuple[str | None, str], int] = {}
    for symbol, value in said:
        for part, horizon in _parts(value, labels):
            for key, stamps, numbers, name in _columns(part, bars, symbol):
                found[key] = stamps, numbers
                if (ahead := labels.get(name, horizon)) > 0:
                    late[key] = ahead
    if not found:
        raise InputError("The function returned no column of numbers. Return a Series, a DataFrame or an array.")
    time = np.unique(np.concatenate([stamps for stamps, _ in found.values()]))
    values = np.full((len(time), len(found)), np.nan)
    known = np.repeat(time[:, None], len(found), axis=1)
    for k, (key, (stamps, numbers)) in enumerate(found.items()):
        values[np.searchsorted(time, stamps), k] = numbers
        if key in late:
            ends = np.searchsorted(bars.time, time, side="right") - 1 + late[key]
            known[:, k] = np.where(ends < len(bars), bars.time[np.minimum(ends, len(bars) - 1)], NEVER)
    if train_end is not None:
        known = np.maximum(known, train_end)
    return Output(time, values, known, tuple(found), tuple(k for k, key in enumerate(found) if key in late))


def _parts(value: Any, labels: Mapping[str, int]) -> list[tuple[Any, int]]:
    """Take (inputs, labels) apart; the second number is how far a part may look ahead."""
    if isinstance(value, tuple) and len(value) == 2:
        return [(value[0], 0), (value[1], max(labels.values(), default=1))]
    return [(value, 0)]


def _columns(value: Any, bars: Bars, symbol: str | None):
    """Yield (key, stamps, numbers, name) of every column of a returned value."""
    if isinstance(value, Forecast):
        for j, who in enumerate(value.symbols):
            yield (who, "mean"), np.asarray(value.time), value.mean[:, j], "mean"
        return
    if isinstance(value, Mapping):
        for name, part in value.items():
            for _, stamps, numbers, _ in _columns(part, bars, symbol):
                yield (symbol, str(name)), stamps, numbers, str(name)
        return
    if not hasattr(value, "index") or not hasattr(value, "iloc"):
        array = np.asarray(value)
        if array.ndim == 0 or len(array) != len(bars):
            raise InputError(
                f"The function returned {'one value' if array.ndim == 0 else f'{len(array)} rows'} for {len(bars)} "
                "bars, without saying which row belongs to which bar. Return a Series or DataFrame with the index of "
                "its rows, or one row a bar (NaN where there is nothing)."
            )
        array = array.reshape(len(bars), -1)
        for k in range(array.shape[1]):
            name = "value" if array.shape[1] == 1 else f"column {k}"
            yield (symbol, name), np.asarray(bars.time), _numbers(array[:, k]), name
        return
    yield from _pandas_columns(value, bars, symbol)


def _pandas_columns(value: Any, bars: Bars, symbol: str | None):
    import pandas as pd

    frame = value.to_frame("value" if value.name is None else str(value.name)) if value.ndim == 1 else value
    groups: list[tuple[Any, Any]] = [(symbol, frame)]
    if symbol is None and "symbol" in frame.columns:
        groups = [(who, part.drop(columns="symbol")) for who, part in frame.groupby("symbol", sort=False)]
    for who, part in groups:
        if isinstance(part.index, pd.DatetimeIndex):
            index = part.index.tz_localize("UTC") if part.index.tz is None else part.index
            stamps = np.asarray(index.as_unit("ns").asi8, np.int64)
        elif len(part) == len(bars):
            stamps = np.asarray(bars.time)
        else:
            raise InputError(
                f"The function returned {len(part)} rows with an index of {part.index.dtype} for {len(bars)} bars. "
                "Keep the index of the frame it was given."
            )
        last = ~pd.Index(stamps).duplicated(keep="last")
        for k, label in enumerate(part.columns):
            owner, name = _split_label(label, bars)
            yield (
                (who if owner is None else owner, name),
                stamps[last],
                _numbers(part.iloc[:, k].to_numpy())[last],
                name,
            )


def _split_label(label: Any, bars: Bars) -> tuple[str | None, str]:
    """Tell the symbol from the name in a column label of a wide table."""
    parts = [str(p) for p in label] if isinstance(label, tuple) else [str(label)]
    owner = next((p for p in parts if p in bars.symbols), None)
    rest = [p for p in parts if p != owner]
    return owner, " ".join(rest) or "value"


def _numbers(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values)
    if values.dtype.kind in "biuf":
        return values.astype(np.float64)
    if values.dtype.kind in "mM":
        return np.where(np.isnat(values), np.nan, values.astype(np.int64).astype(np.float64))
    return np.array([_number(value) for value in values])


def _number(value: Any) -> float:
    """A float; other things, such as names of regimes, as a number that is the same for the same thing."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return np.nan if value is None else float(zlib.crc32(str(value).encode()))


# ---------------------------------------------------------------------------------------------------------- estimators


class EstimatorSubject:
    """A scikit-learn estimator or Pipeline with its features, target and splitter: fitted and asked fold by fold.

    The splitter is asked once, on the bars as they are; its folds are then the same (row, symbol) cells on any bars.
    """

    exact, rounds, output = False, True, "forecast"

    def __init__(self, estimator: Any, bars: Bars, usage: Usage):
        self.estimator, self.usage = estimator, usage
        self.target = usage.target or forward_log_return(1)
        self.name = type(estimator).__name__
        self.folds = list(self._folds(bars))
        if not self.folds:
            raise InputError(f"cv={usage.cv!r} makes no fold on these {len(bars)} bars. Load more bars.")

    def run(self, bars: Bars) -> Output:
        """Return the out-of-fold forecasts."""
        inputs, outcome = self._inputs(bars), np.asarray(self.target.compute(bars))
        ready = np.isfinite(inputs).all(axis=2)
        values = np.full(bars.shape, np.nan)
        for train, test in self.folds:
            learn, ask = train[: len(bars)] & ready & np.isfinite(outcome), test[: len(bars)] & ready
            if ask.any():
                model = _clone(self.estimator).fit(inputs[learn], outcome[learn])
                values[ask] = np.asarray(model.predict(inputs[ask]), np.float64).reshape(-1)
        names = tuple((symbol, "forecast") for symbol in bars.symbols)
        return Output(np.asarray(bars.time), values, _own(bars, len(names)), names)

    def boundaries(self, bars: Bars) -> list[int]:
        """Return the first test row of each fold, as far as there are few."""
        return sorted({int(np.flatnonzero(test.any(axis=1))[0]) for _, test in self.folds})[:8]

    def _inputs(self, bars: Bars) -> np.ndarray:
        return feature_array(self.usage.features, bars, self.usage)

    def _folds(self, bars: Bars) -> Iterable[tuple[np.ndarray, np.ndarray]]:
        """Yield the cells of each training and test part, bool (n_bars + spare, n_symbols)."""
        inputs, outcome = self._inputs(bars), np.asarray(self.target.compute(bars))
        ready, ends = np.isfinite(inputs).all(axis=2), np.asarray(self.target.label_end(bars))
        cv = self.usage.cv
        if cv is None or isinstance(cv, WalkForward):
            for start, end, first, last in _spans(cv, bars, ready & np.isfinite(outcome), ends, self.usage.train):
                learned = (bars.time >= start) & (ends <= end)
                judged = (bars.time >= first) & (bars.time <= last)
                yield _spare(ready & learned[:, None]), _spare(ready & judged[:, None])
        elif hasattr(cv, "split"):
            rows, columns = np.nonzero(ready & np.isfinite(outcome))
            for parts in cv.split(inputs[rows, columns], outcome[rows, columns]):
                cells = [np.zeros(bars.shape, bool), np.zeros(bars.shape, bool)]
                for cell, part in zip(cells, parts, strict=True):
                    cell[rows[part], columns[part]] = True
                yield _spare(cells[0]), _spare(cells[1])
        else:
            raise InputError(
                "cv must be a WalkForward or have split(X, y), as the splitters of scikit-learn; it was "
                f"{type(cv).__name__}."
            )


def _spans(cv: WalkForward | None, bars: Bars, decisions: np.ndarray, ends: np.ndarray, train: Any):
    """Yield first and last stamp of training, first and last of test."""
    if cv is None:
        row = split_row(bars, train)
        yield int(bars.time[0]), int(bars.time[row - 1]), int(bars.time[row]), int(bars.time[-1])
        return
    for fold in cv.split(bars, decisions=decisions.any(axis=1), label_end=ends):
        yield fold.train_start, fold.train_end, fold.test_start, fold.test_end


def _spare(cells: np.ndarray, n: int = 64) -> np.ndarray:
    """Return the cells with empty rows below, for bars that are longer."""
    return np.vstack([cells, np.zeros((n, cells.shape[1]), bool)])


def _clone(estimator: Any) -> Any:
    from sklearn.base import clone

    return clone(estimator)


def feature_array(features: Any, bars: Bars, usage: Usage) -> np.ndarray:
    """Return inputs (n_bars, n_symbols, n_features) from features, or from a function of one symbol's frame."""
    if features is None:
        return np.asarray(FeatureSet(technical()).compute(bars))
    if not callable(features):
        return np.asarray(FeatureSet(features).compute(bars))
    subject = CallableSubject(features, bars, Usage(given=usage.given))
    said = subject.run(bars)
    if said.columns and said.columns[0][0] is None:
        raise InputError("features= as a function must return columns of one symbol's frame. Use given='frame'.")
    names = list(dict.fromkeys(name for _, name in said.columns))
    out = np.full((len(bars), len(bars.symbols), len(names)), np.nan)
    rows = np.searchsorted(bars.time, said.time)
    for k, (symbol, name) in enumerate(said.columns):
        out[rows, bars.symbols.index(str(symbol)), names.index(name)] = said.values[:, k]
    return out


def input_subjects(features: Any, bars: Bars, usage: Usage) -> list[Any]:
    """Return the inputs as a subject of their own: a regression hides a leak of their mean, for it does not care."""
    if callable(features):
        return [CallableSubject(features, bars, Usage(given=usage.given))]
    return [FeatureSubject(technical() if features is None else features)]


def windows_of(features: np.ndarray, bars: Bars, lookback: int) -> Windows:
    """Return the full windows over inputs (n_bars, n_symbols, n_features), the last row being the decision row."""
    return Windows.over(np.ascontiguousarray(features), lookback, broken_cells(bars))
