"""Walk-forward splits: train on the past, forget the last outcomes, test on what came next, move on.

::

    decision rows   |------------------------------------------------------------------>  time
    fold 0          [        train         ]x[ test ]
    fold 1                   [        train         ]x[ test ]
    fold 2                            [        train         ]x[ te            (incomplete: as far as bars go)

``x`` is the purge and embargo. A model of a fold gets nothing but ``bars.until(train_end)``, where `train_end` is the
last bar before the first test decision, minus the embargo. An outcome that becomes known later is not in those bars, so
it cannot be learned: the purge is a consequence, not a setting.

Spans count decision rows, those with a label. Folds are anchored at the first of them, and a fold is tested as far as
bars go. So more bars add rows to the last fold, then new folds, and never touch a forecast already made.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import ArrayLike

from ..clock import Span, shifted
from ..errors import InputError, NotEnoughData

if TYPE_CHECKING:
    from ..bars import Bars

NEVER = np.iinfo(np.int64).max  # the label end of a row whose outcome is not known yet


@dataclass(frozen=True)
class Fold:
    """One round: train, then test. Stamps are UTC nanoseconds.

    Parameters
    ----------
    number : int
        From 0.
    train_start : int
        First decision the model may learn from; earlier bars only warm it up.
    train_end : int
        The last bar the model has seen. Labels that end later are unknown to it.
    test_start, test_end : int
        First and last decision judged.
    n_train, n_test : int
        Decision rows.
    complete : bool
        Whether more bars cannot add rows to the test part any more.
    failure : str or None
        Why there are no forecasts, when the fit failed.

    Examples
    --------
    >>> days = np.arange("2020-01-01", "2020-03-01", dtype="datetime64[D]").astype("datetime64[ns]").astype(np.int64)
    >>> fold = WalkForward(train="20D", test="10D", embargo=2).split(days)[0]
    >>> print(fold)
    fold 0: train 2020-01-01 .. 2020-01-18 (18 rows), test 2020-01-21 .. 2020-01-30 (10 rows)
    """

    number: int
    train_start: int
    train_end: int
    test_start: int
    test_end: int
    n_train: int
    n_test: int
    complete: bool = True
    failure: str | None = None

    def failed(self, reason: str) -> "Fold":
        """Return the fold with a reason why it has no forecasts."""
        return replace(self, failure=reason)

    def __str__(self) -> str:
        days = [_day(t) for t in (self.train_start, self.train_end, self.test_start, self.test_end)]
        note = f"  FAILED: {self.failure}" if self.failure else "" if self.complete else "  (so far)"
        return (
            f"fold {self.number}: train {days[0]} .. {days[1]} ({self.n_train:,} rows), "
            f"test {days[2]} .. {days[3]} ({self.n_test:,} rows){note}"
        )


class Folds(Sequence[Fold]):
    """Folds in order; prints one line each."""

    def __init__(self, folds: Sequence[Fold], rows: Sequence[np.ndarray]):
        self._folds, self.rows = tuple(folds), tuple(rows)

    @overload
    def __getitem__(self, i: int) -> Fold: ...
    @overload
    def __getitem__(self, i: slice) -> tuple[Fold, ...]: ...
    def __getitem__(self, i):
        return self._folds[i]

    def __len__(self) -> int:
        return len(self._folds)

    def __iter__(self) -> Iterator[Fold]:
        return iter(self._folds)

    def __repr__(self) -> str:
        return "\n".join(str(f) for f in self._folds)


@dataclass(frozen=True)
class WalkForward:
    """Refit again and again on what was known, and judge the time in between.

    Parameters
    ----------
    train : str or int
        Decision rows to learn from: "5Y", "18M", "52W", "500D" (sessions) or 500 (rows).
    test : str or int
        Decision rows a model is used for before the next one is trained.
    embargo : str or int, optional
        Sessions ("5D") or bars (5) left out between the last bar a model sees and its first decision. Purging needs no
        setting: see the module's docstring.
    expanding : bool, default=False
        Learn from everything since the first row instead of the last `train`.

    Examples
    --------
    >>> days = np.arange("2015-01-01", "2019-07-01", dtype="datetime64[D]")
    >>> days = days[np.is_busday(days)].astype("datetime64[ns]").astype(np.int64)
    >>> WalkForward(train="2Y", test="1Y").split(days)
    fold 0: train 2015-01-01 .. 2016-12-30 (522 rows), test 2017-01-02 .. 2017-12-29 (260 rows)
    fold 1: train 2016-01-01 .. 2017-12-29 (521 rows), test 2018-01-01 .. 2018-12-31 (261 rows)
    fold 2: train 2017-01-02 .. 2018-12-31 (521 rows), test 2019-01-01 .. 2019-06-28 (129 rows)  (so far)
    """

    train: str | int
    test: str | int
    embargo: str | int | None = None
    expanding: bool = False

    def __post_init__(self):
        for span in (self.train, self.test):
            Span.parse(span)
        if self.embargo is not None and Span.parse(self.embargo, least=0).by_calendar:
            raise InputError(f"An embargo counts sessions ('5D') or bars (5), was {self.embargo!r}.")

    def split(
        self,
        time: "ArrayLike | Bars",
        dates: ArrayLike | None = None,
        decisions: ArrayLike | None = None,
        label_end: ArrayLike | None = None,
    ) -> Folds:
        """Return the folds of a series.

        Parameters
        ----------
        time : int64 array (n_bars,) or Bars
            UTC nanoseconds, increasing.
        dates : datetime64[D] array (n_bars,), optional
            Session of each bar; the UTC day by default (for Bars: their sessions).
        decisions : bool array (n_bars,), optional
            The rows at which decisions are made and will have an outcome; all by default.
        label_end : int64 array (n_bars,), optional
            When each outcome is known. Rows whose outcome ends after the cut are not counted as training rows.

        Returns
        -------
        Folds
            A sequence of `Fold`; ``.rows[k]`` are the bar indices of the test decisions of fold k.

        Raises
        ------
        NotEnoughData
            There is no row to test on.
        """
        if hasattr(time, "dates") and dates is None:
            dates = time.dates  # type: ignore[union-attr]
        stamps = np.asarray(getattr(time, "time", time), dtype=np.int64)
        days = stamps.astype("datetime64[ns]").astype("datetime64[D]") if dates is None else np.asarray(dates)
        chosen = np.ones(len(stamps), bool) if decisions is None else np.asarray(decisions, bool)
        ends = stamps if label_end is None else np.asarray(label_end, np.int64)
        if not len(stamps) == len(days) == len(chosen) == len(ends):
            raise InputError(
                f"time, dates, decisions and label_end describe the same bars, but have "
                f"{len(stamps)}, {len(days)}, {len(chosen)} and {len(ends)} rows."
            )
        rows = np.flatnonzero(chosen)
        starts = self._test_starts(rows, days)
        if not starts:
            self._refuse(rows, days, stamps)
        return self._build(rows, starts, days, stamps, ends)

    def to_dict(self) -> dict[str, Any]:
        """Return the arguments as a JSON-able mapping."""
        return {"train": self.train, "test": self.test, "embargo": self.embargo, "expanding": self.expanding}

    # ------------------------------------------------------------------------------------------------------ details

    def _test_starts(self, rows: np.ndarray, days: np.ndarray) -> list[tuple[int, int, int]]:
        """Return (first test, first after the test, first train) as positions in `rows`, one triple per fold."""
        if not len(rows):
            return []
        train, test = Span.parse(self.train), Span.parse(self.test)
        grid = _Grid(days[rows])
        found, k = [], 0
        while True:
            begin = grid.after(train, test, k)
            if begin >= len(rows):
                return found
            end = grid.after(train, test, k + 1)
            start = 0 if self.expanding else grid.before(train, test, k, begin)
            if end > begin:  # a span of the calendar may hold no row at all
                found.append((begin, end, start))
            k += 1

    def _build(self, rows, starts, days, stamps, ends) -> Folds:
        folds, test_rows = [], []
        for begin, end, start in starts:
            tested = rows[begin : min(end, len(rows))]
            cut = self._cut(int(tested[0]), days)
            first = rows[start]
            learned = rows[start:begin]
            n_train = int(np.sum((learned <= cut) & (ends[learned] <= stamps[max(cut, 0)]))) if cut >= 0 else 0
            if n_train == 0:
                if folds:
                    continue  # a gap swallowed this fold's training rows
                raise NotEnoughData(
                    f"{self} leaves no training row before {days[tested[0]]}: the outcomes of all {begin - start} rows "
                    "end later, or the embargo covers them. Use a longer train or a shorter embargo or horizon."
                )
            folds.append(
                Fold(
                    number=len(folds),
                    train_start=int(stamps[first]),
                    train_end=int(stamps[cut]),
                    test_start=int(stamps[tested[0]]),
                    test_end=int(stamps[tested[-1]]),
                    n_train=n_train,
                    n_test=len(tested),
                    complete=end < len(rows),
                )
            )
            test_rows.append(tested)
        return Folds(folds, test_rows)

    def _cut(self, first_test: int, days: np.ndarray) -> int:
        """Return the last bar the model may see."""
        embargo = Span.parse(self.embargo or 0, least=0)
        if embargo.unit == "D" and embargo.count:
            sessions = np.unique(days[:first_test][days[:first_test] < days[first_test]])
            if len(sessions) <= embargo.count:
                return -1
            return int(np.searchsorted(days, sessions[-embargo.count], side="left")) - 1
        return first_test - 1 - embargo.count

    def _refuse(self, rows: np.ndarray, days: np.ndarray, stamps: np.ndarray) -> None:
        if not len(rows):
            raise NotEnoughData(
                f"{self} found no decision row in {len(stamps):,} bars: no row has both a full window and a label. "
                "Load more bars, or shorten lookback, warm-up or horizon."
            )
        first, last = days[rows[0]], days[rows[-1]]
        years = (last - first).astype(int) / 365.25
        raise NotEnoughData(
            f"{self} needs {Span.parse(self.train)} of decision rows before the first test row, but there are "
            f"{len(rows):,} rows from {first} to {last} ({years:.1f} years). "
            "Load an earlier start, or use a shorter train."
        )

    def __str__(self) -> str:
        more = "".join([f", embargo={self.embargo!r}" if self.embargo else "", ", expanding" if self.expanding else ""])
        return f"WalkForward(train={self.train!r}, test={self.test!r}{more})"


class _Grid:
    """Positions of decision rows by calendar, session or count, all measured from the first row."""

    def __init__(self, days: np.ndarray):
        self.days = days.astype("datetime64[D]")
        self.first_of_session = np.flatnonzero(np.r_[True, self.days[1:] != self.days[:-1]])

    def after(self, train: Span, test: Span, k: int) -> int:
        """Return the first row after train + k tests."""
        if train.by_calendar and test.by_calendar:
            return self._at_date(shifted(self.days[0], (train, 1), (test, k)))
        begin = self._step(0, train, 1)
        return self._step(begin, test, k)

    def before(self, train: Span, test: Span, k: int, begin: int) -> int:
        """Return the first row of the training part that ends where test k begins."""
        if train.by_calendar and test.by_calendar:
            return min(self._at_date(shifted(self.days[0], (test, k))), begin)
        return self._step(begin, train, -1)

    def _at_date(self, day: np.datetime64) -> int:
        return int(np.searchsorted(self.days, day, side="left"))

    def _step(self, position: int, span: Span, times: int) -> int:
        if position >= len(self.days):
            return position
        if span.by_calendar:
            return self._at_date(shifted(self.days[position], (span, times)))
        if span.unit == "":
            return max(0, position + times * span.count)
        session = int(np.searchsorted(self.first_of_session, position, side="right")) - 1 + times * span.count
        if session >= len(self.first_of_session):
            return len(self.days)
        return int(self.first_of_session[max(0, session)])


def _day(stamp: int) -> str:
    return str(np.datetime64(int(stamp), "ns").astype("datetime64[D]"))
