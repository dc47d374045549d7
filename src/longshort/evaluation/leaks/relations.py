"""Metamorphic relations: what must not change when the future does, and the proof when it has.

Each relation runs a subject on bars whose difference is known, and compares only numbers that may not know of it. A
run that raises says nothing and is counted as such. Runs are limited by number and by seconds, the telling ones first.
"""

import time
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...bars import Bars
from ...errors import InputError
from ..splits import NEVER
from . import markets
from .findings import BLOCKED, LEAK, Check, Finding, Question
from .markets import Cut
from .subjects import Output, Subject

FEWEST_FINITE = 100  # rows a statistical relation needs
NO_CHANCE = 7.0  # t of a mean or correlation that luck does not give
NEXT_BAR = ("close", "return", "log_return", "direction")  # kinds of target that the next return is evidence for
WORSE = 0.2  # share by which an error is above that of no forecast, and below it one row away
ENOUGH = 3  # findings of one relation, then the next
FUTURE = "future perturbation"
PREFIX = "prefix truncation"
EXTENSION = "extension invariance"
DETERMINISM = "determinism"
SEAL = "fold seal"
MOVING_START = "its first number moves with the number of rows (a training part that is a share of them), so cutting \
rows off is no test of it"


@dataclass
class Session:
    """One subject under audit: its bars, what it says on them, and what may still be spent."""

    subject: Subject
    bars: Bars
    base: Output
    deadline: float
    seed: int = 0
    tolerance: float = 0.0
    findings: list[Finding] = field(default_factory=list)
    questions: dict[str, Question] = field(default_factory=dict)
    checks: dict[str, list[int]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    raised: str = ""

    def attempt(self, relation: str, bars: Bars | None) -> Output | None:
        """Run the subject, None where it raises or time is up; others' code may raise anything."""
        if bars is None or time.monotonic() > self.deadline:
            return None
        counts = self.checks.setdefault(relation, [0, 0])
        counts[0] += 1
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about bars that we made up
                return self.subject.run(bars)
        except (Exception, SystemExit) as error:
            counts[1] += 1
            self.raised = f"{type(error).__name__}: {error}".partition("\n")[0][:200]
            return None

    def found(self, relation: str) -> int:
        """How often a relation was broken so far."""
        return sum(finding.relation == relation for finding in self.findings)

    def done(self) -> list[Check]:
        """Return what was tried."""
        return [Check(relation, runs, failed) for relation, (runs, failed) in self.checks.items()]


@dataclass(frozen=True, eq=False)
class Difference:
    """Numbers that should be equal and are not."""

    base: Output
    after: np.ndarray
    where: np.ndarray

    @property
    def columns(self) -> np.ndarray:
        """Columns with a difference."""
        return np.flatnonzero(self.where.any(axis=0))

    def proof(self, column: int, bars: Bars) -> dict[str, Any]:
        """Return row, date, symbol, column and the two numbers of the last one that differs: nearest to the cut."""
        rows = np.flatnonzero(self.where[:, column])
        row = int(rows[-1])
        symbol, name = self.base.columns[column]
        return {
            "row": int(np.searchsorted(bars.time, self.base.time[row])),
            "date": _day(self.base.time[row], bars),
            "symbol": symbol,
            "column": name,
            "before": float(self.base.values[row, column]),
            "after": float(self.after[row, column]),
            "n_changed": len(rows),
            "first": _day(self.base.time[rows[0]], bars),
        }


def _day(stamp: Any, bars: Bars) -> str:
    row = int(np.searchsorted(bars.time, stamp))
    if row < len(bars) and bars.time[row] == stamp:
        return str(bars.dates[row])
    return str(np.datetime64(int(stamp), "ns").astype("datetime64[D]"))


def compare(
    base: Output, other: Output, until: int, tolerance: float = 0.0, presence: str = "both"
) -> Difference | None:
    """Return where numbers that may know nothing after `until` differ, None where nowhere.

    Parameters
    ----------
    base, other : Output
        Two runs; rows are matched by their moment, columns by name.
    until : int
        Last stamp up to which the bars of both runs agree.
    tolerance : float, default=0.0
        Largest difference that counts as none, relative to the column's own size.
    presence : {"both", "appeared", "neither"}, default="both"
        Which numbers count that only one run has: all, those `base` lacks, or none.
    """
    after = np.full(base.values.shape, np.nan)
    mine = np.flatnonzero(base.time <= until)
    places = np.searchsorted(other.time, base.time[mine])
    there = np.zeros(len(mine), bool)
    inside = places < len(other.time)
    there[inside] = other.time[places[inside]] == base.time[mine[inside]]
    names = {name: k for k, name in enumerate(other.columns)}
    for k, name in enumerate(base.columns):
        if name in names:
            after[mine[there], k] = other.values[places[there], names[name]]
    judged = base.known <= until
    with np.errstate(all="ignore"):
        size = _size(base.values)
        differ = np.abs(after - base.values) > tolerance * size
        differ |= np.isfinite(after) != np.isfinite(base.values)
        same = (after == base.values) | (np.isnan(after) & np.isnan(base.values))
    differ &= ~same & judged
    if presence != "both":
        differ &= np.isfinite(after)
    if presence == "neither":
        differ &= np.isfinite(base.values)
    return Difference(base, after, differ) if differ.any() else None


def _size(values: np.ndarray) -> np.ndarray:
    """Return the typical size of each column's numbers."""
    out = np.ones(values.shape[1])
    for k in range(values.shape[1]):
        known = np.abs(values[np.isfinite(values[:, k]), k])
        if len(known) and known.max() > 0:
            out[k] = float(np.mean(known)) or float(known.max())
    return out


# ----------------------------------------------------------------------------------------------------------- relations


def determinism(session: Session) -> bool:
    """Run twice on the same bars; False (and a finding) where the two differ by more than rounding."""
    again = session.attempt(DETERMINISM, session.bars)
    if again is None:
        return True
    end = NEVER
    if compare(session.base, again, end) is None:
        return True
    tiny = 1e-7 if not session.subject.exact else 0.0
    difference = compare(session.base, again, end, tiny)
    if difference is None:
        session.tolerance = max(session.tolerance, tiny)
        session.notes.append("two runs on the same bars differ by rounding; smaller differences than 1e-7 are ignored")
        return True
    proof = difference.proof(int(difference.columns[0]), session.bars)
    session.findings.append(
        Finding(
            DETERMINISM,
            "Two runs on the same bars differ, so a changed number proves nothing. Fix its seeds (numpy, random, "
            "torch), switch networks to eval(), and audit again.",
            BLOCKED,
            changed="a second run on the same bars",
            **proof,
        )
    )
    return False


def other_futures(session: Session, cuts: Iterable[Cut], most: int, holes: Bars | None = None) -> None:
    """Change everything from a cut on, in several ways; no number decided before may change.

    With `holes`, bars of which some cells were emptied, these are what is changed.
    """
    bars, base, where = session.bars, session.base, ""
    if holes is not None:
        punctured = session.attempt(FUTURE, holes)
        if punctured is None:
            return
        bars, base, where = holes, punctured, " (on bars with a few holes)"
    allowed = getattr(session.subject, "ways", tuple(markets.WAYS))
    for cut, way in _plan(list(cuts), allowed, most):
        relation = PREFIX if way == "truncate" else FUTURE
        if session.found(relation) >= min(ENOUGH, len(base.columns)):
            continue
        other = session.attempt(relation, markets.altered(bars, cut.row, way, session.seed))
        if other is None:
            continue
        until = int(bars.time[cut.row - 1])
        if way == "truncate" and _first_time(other) < _first_time(base):
            if MOVING_START not in session.notes:
                session.notes.append(MOVING_START)
            continue
        fewer = way in ("truncate", "empty") and not session.subject.exact
        rounded = fewer or session.subject.rounds
        tolerance = max(session.tolerance, _rounding(base)) if rounded else session.tolerance
        difference = compare(base, other, until, tolerance, "appeared" if fewer else "both")
        _record(session, relation, difference, bars, cut, markets.WAYS[way] + where)


def every_row(session: Session, most: int) -> None:
    """Redraw the future after every test row: a purge that is forgotten at each refit shows at a few rows only."""
    if session.findings or not len(session.base.time):
        return
    rows = np.searchsorted(session.bars.time, session.base.time[np.isfinite(session.base.values).any(axis=1)]) + 1
    rows = rows[rows < len(session.bars)]
    chosen = rows[np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int))] if len(rows) else rows
    for row in chosen:
        if session.findings or time.monotonic() > session.deadline:
            return
        other = session.attempt(FUTURE, markets.altered(session.bars, int(row), "redraw", session.seed + 2))
        if other is not None:
            tolerance = max(session.tolerance, _rounding(session.base))
            difference = compare(session.base, other, int(session.bars.time[row - 1]), tolerance)
            _record(session, FUTURE, difference, session.bars, Cut(int(row), "every row"), markets.WAYS["redraw"])


def _plan(cuts: list[Cut], allowed: tuple[str, ...], most: int) -> Iterator[tuple[Cut, str]]:
    """Yield (cut, way): every cut in one way, then every cut in the next, ways taking turns."""
    n = len(allowed)
    plan = ((cut, allowed[(i + turn) % n]) for turn in range(n) for i, cut in enumerate(cuts))
    for _, pair in zip(range(most), plan, strict=False):
        yield pair


def _rounding(output: Output) -> float:
    single = np.float32(output.values).astype(np.float64)
    return 1e-5 if np.array_equal(single, output.values, equal_nan=True) else 1e-9


def _record(session: Session, relation: str, difference: Difference | None, bars: Bars, cut: Cut, changed: str) -> None:
    if difference is None:
        return
    known = {(f.relation, f.column) for f in session.findings}
    for column in difference.columns:
        name = difference.base.columns[column][1]
        if (relation, name) in known:
            continue
        known.add((relation, name))
        text = _meaning(session, column in difference.base.labels)
        session.findings.append(
            Finding(
                relation,
                text,
                LEAK,
                changed=changed,
                since=str(bars.dates[cut.row]),
                cut=cut.reason,
                **difference.proof(int(column), bars),
            )
        )


def _meaning(session: Session, label: bool) -> str:
    if label:
        return "This outcome depends on rows after its own end, so purging to that end is not enough."
    if session.subject.output == "forecast":
        return "The forecast knew what came later: through its training part, its scaling, or its choices."
    if getattr(session.subject, "train_end", None) is None and session.subject.output == "values":
        return (
            "It uses rows after its own. (Outcomes are declared with labels=, rows that only train with train=.)"
            if not session.subject.exact
            else "It uses rows after its own."
        )
    return "It uses rows after its own."


def longer_history(session: Session) -> None:
    """Append rows after the last; nothing may change."""
    if "truncate" not in getattr(session.subject, "ways", markets.WAYS):
        return
    other = session.attempt(EXTENSION, markets.extended(session.bars))
    if other is None:
        return
    until = int(session.bars.time[-1])
    if _first_time(other) != _first_time(session.base):
        return  # a training part that is a share of all rows
    tolerance = session.tolerance if session.subject.exact else max(session.tolerance, _rounding(session.base))
    cut = Cut(len(session.bars) - 1, "last row")
    difference = compare(session.base, other, until, tolerance, "both" if session.subject.exact else "neither")
    _record(session, EXTENSION, difference, session.bars, cut, "30 rows were appended after the last one, counted")


def enough_ran(session: Session) -> None:
    """Find that nothing is known where most other futures made it raise: a leak would not have shown."""
    runs, failed = (sum(session.checks.get(name, [0, 0])[k] for name in (FUTURE, PREFIX)) for k in (0, 1))
    if session.findings or 2 * failed <= runs:
        return
    text = (
        f"It raised on {failed} of {runs} other futures, at last {session.raised}, so a leak could not have shown. Let "
        "it run on other prices, on fewer rows and on missing ones, and audit again."
    )
    session.findings.append(Finding(FUTURE, text, BLOCKED))


def _first_time(output: Output) -> int:
    rows = np.flatnonzero(np.isfinite(output.values).any(axis=1))
    return int(output.time[rows[0]]) if len(rows) else NEVER


def fold_seal(session: Session) -> None:
    """Change the test rows of a pipeline that fits: what it learned, and so its first test forecast, must stay."""
    for row in session.subject.boundaries(session.bars)[:2]:
        for way in ("redraw", "empty"):
            if 0 < row < len(session.bars):
                other = session.attempt(SEAL, markets.altered(session.bars, row, way, session.seed + 1))
                if other is not None:
                    until = int(session.bars.time[row - 1])
                    difference = compare(session.base, other, until, session.tolerance)
                    _record(session, SEAL, difference, session.bars, Cut(row, "fold boundary"), markets.WAYS[way])


def undisturbed_by_forecasting(session: Session) -> None:
    """Forecast other bars in between: a fitted model must not learn from what it forecasts."""
    session.attempt(SEAL, markets.altered(session.bars, max(1, len(session.bars) // 2), "scale"))
    again = session.attempt(SEAL, session.bars)
    difference = None if again is None else compare(session.base, again, NEVER, session.tolerance)
    changed = "it had forecast other bars in between, changed"
    _record(session, SEAL, difference, session.bars, Cut(max(1, len(session.bars) // 2), "state"), changed)


def labels_are_unknown(session: Session) -> None:
    """Outcomes that never change with the rows after their decision are known already: they stand in the inputs."""
    for column in session.base.labels:
        rows = np.flatnonzero(np.isfinite(session.base.values[:, column]))
        rows = rows[(rows > 0) & (rows < len(session.base.time) - 2)]
        tried = changed = 0
        for row in rows[np.linspace(0, len(rows) - 1, min(8, len(rows))).astype(int)] if len(rows) else []:
            stamp = int(session.base.time[row])
            first = int(np.searchsorted(session.bars.time, stamp, side="right"))
            if not 0 < first < len(session.bars):
                continue
            other = session.attempt("label", markets.altered(session.bars, first, "redraw", session.seed))
            place = -1 if other is None else int(np.searchsorted(other.time, stamp))
            if other is None or place >= len(other.time) or session.base.columns[column] not in other.columns:
                continue
            tried += 1
            k = other.columns.index(session.base.columns[column])
            changed += other.values[place, k] != session.base.values[row, column]
        if tried >= 4 and not changed:
            session.findings.append(
                Finding(
                    "label",
                    f"{_who(session.base, column)} is called an outcome, but no row after the decision "
                    f"changes it ({tried} decisions tried): it is known already, and the inputs may contain it. Shift "
                    "it back by the horizon.",
                )
            )


# ------------------------------------------------------------------------------------------------ whole other markets


def skill_without_memory(session: Session) -> None:
    """On a market whose rows were put in an order drawn by lot nothing can be forecast, and nothing earned."""
    relation = "label shuffle"
    bars = markets.memoryless(session.bars, session.seed)
    said = session.attempt(relation, bars)
    if said is None or bars is None:
        return
    if session.subject.output == "returns":
        _earnings(session, relation, said)
        return
    profile = _profile(said, bars, session.subject, (0, 1, 2))
    for column, skills in profile.items():
        if abs(skills[0].t) > NO_CHANCE and abs(skills[0].ic) > abs(skills[1].ic) + 0.05:
            symbol, name = said.columns[column]
            session.findings.append(
                Finding(
                    relation,
                    f"{_who(said, column)} correlates by {skills[0].ic:+.3f} (t = {skills[0].t:.0f}, "
                    f"{skills[0].n:,} rows) with the return of the next bar, by {skills[1].ic:+.3f} when it is delayed"
                    " by one bar. On rows in an order drawn by lot nothing can: it knows the next bar.",
                    changed="the order and signs of all returns were drawn by lot",
                    symbol=symbol,
                    column=name,
                )
            )
            return


def _who(output: Output, column: int) -> str:
    symbol, name = output.columns[column]
    return f"{name} of {symbol}" if symbol else name


def _earnings(session: Session, relation: str, said: Output) -> None:
    for column in range(said.values.shape[1]):
        earned = said.values[:, column]
        earned = earned[np.isfinite(earned)]
        if len(earned) < FEWEST_FINITE or earned.std() == 0:
            continue
        t = float(earned.mean() / earned.std() * np.sqrt(len(earned)))
        if t > NO_CHANCE:
            symbol, name = said.columns[column]
            session.findings.append(
                Finding(
                    relation,
                    f"It earns {1e4 * earned.mean():.1f} bp a bar (t = {t:.0f}, {len(earned):,} bars) where nobody can "
                    "earn anything: it is paid for the bar it decides on, or at prices of that bar nobody could have "
                    "had. Decide at the close, fill at the next open.",
                    changed="the order and signs of all returns were drawn by lot",
                    symbol=symbol,
                    column=name,
                )
            )


@dataclass(frozen=True)
class _Skill:
    """Correlation of forecast and outcome, its t, rows, and by how much the squared error is below no forecast's."""

    ic: float
    t: float
    n: int
    gain: float = 0.0


def _profile(said: Output, bars: Bars, subject: Any, delays: Iterable[int]) -> dict[int, list[_Skill]]:
    """Return the skill of every column as a forecast of the next return, delayed by so many rows."""
    close = bars.adjusted("close")
    rows = np.searchsorted(bars.time, said.time)
    fits = (rows < len(bars)) & (bars.time[np.minimum(rows, len(bars) - 1)] == said.time)
    fits &= said.time > (getattr(subject, "train_end", None) or 0)
    found = {}
    for k, (symbol, _) in enumerate(said.columns):
        if k in said.labels:
            continue
        j = bars.symbols.index(symbol) if symbol in bars.symbols else 0
        told = np.full(len(bars), np.nan)
        told[rows[fits]] = said.values[fits, k]
        if subject.output == "forecast" and _is_level(told, close[:, j]):
            told = told / close[:, j] - 1.0
        came = np.full(len(bars), np.nan)
        came[:-1] = close[1:, j] / close[:-1, j] - 1.0
        found[k] = [_skill(_delayed(told, delay), came) for delay in delays]
    return found


def _is_level(told: np.ndarray, close: np.ndarray) -> bool:
    both = np.isfinite(told) & np.isfinite(close) & (told > 0)
    return 2 * both.sum() > np.isfinite(told).sum() and bool(np.median(np.abs(np.log(told[both] / close[both]))) < 0.5)


def _delayed(values: np.ndarray, by: int) -> np.ndarray:
    out = np.full(len(values), np.nan)
    if by > 0:
        out[by:] = values[:-by]
    elif by < 0:
        out[:by] = values[-by:]
    else:
        out[:] = values
    return out


def _skill(told: np.ndarray, came: np.ndarray) -> _Skill:
    both = np.isfinite(told) & np.isfinite(came)
    n = int(both.sum())
    if n < FEWEST_FINITE or np.ptp(told[both]) == 0 or np.ptp(came[both]) == 0:
        return _Skill(0.0, 0.0, n)
    ic = float(np.corrcoef(told[both], came[both])[0, 1])
    if not np.isfinite(ic):
        return _Skill(0.0, 0.0, n)
    gain = 1.0 - float(np.mean((told[both] - came[both]) ** 2) / np.mean(came[both] ** 2))
    return _Skill(ic, ic * np.sqrt((n - 2) / max(1 - ic * ic, 1e-12)), n, gain)


def forecast_in_its_place(session: Session) -> None:
    """On a market that announces the return after next, a forecast must fit its own row better than a neighbour's.

    Judged by the squared error, so that a model that has learned nothing, and says next to nothing, is no offender.
    """
    relation = "time shift"
    target = session.subject.target
    if target is not None and (target.horizon != 1 or target.kind not in NEXT_BAR):
        return
    bars = markets.announced(session.bars, session.seed)
    said = session.attempt(relation, bars)
    if said is None or bars is None:
        return
    for column, skills in _profile(said, bars, session.subject, (0, 1, -1)).items():
        here, late, early = skills
        best, which = max((late, "delayed by one bar"), (early, "moved one bar ahead"), key=lambda pair: pair[0].gain)
        if here.gain < -WORSE and best.gain > WORSE:
            symbol, name = said.columns[column]
            session.findings.append(
                Finding(
                    relation,
                    f"{_who(said, column)} correlates by {here.ic:+.3f} with the return it is for "
                    f"(its error is {-100 * here.gain:.0f} % above that of no forecast), but by {best.ic:+.3f} when "
                    f"{which}: windows in training and in use are one row apart.",
                    changed="returns were made to follow the return two bars before",
                    symbol=symbol,
                    column=name,
                )
            )
            return


# ------------------------------------------------------------------------------------------- signs of things elsewhere


def numbers_from_elsewhere(session: Session) -> None:
    """Move all stamps by 28 years, all prices to another currency: what changes was written down with hindsight."""
    base, bars = session.base, session.bars
    declared = getattr(session.subject, "train_end", None) is not None  # a date may stand in the code for that
    moved = None if declared else markets.moved_in_time(bars)
    other = session.attempt("calendar shift", moved)
    if other is not None and moved is not None:
        back = Output(other.time + markets.CALENDAR_CYCLE, other.values, other.known, other.columns)
        if compare(base, back, NEVER - 1, max(session.tolerance, 1e-7), "neither") is not None:
            session.questions["dates"] = Question(
                "dates",
                "It says other things 28 years earlier, on the same weekdays and days of the year: dates are written "
                "into it.",
                "the date these were written down",
            )
    elsewhere = session.attempt("other prices", markets.memoryless(bars, session.seed))
    blind = elsewhere is not None and compare(base, elsewhere, NEVER - 1) is None
    if blind and moved is not None and not _lives_on(other, moved):
        session.questions["source"] = Question(
            "source",
            "It says the same whatever the prices are, and nothing 28 years earlier: it reads its numbers elsewhere.",
            "the last date of the data it reads, or have it read what it is given",
        )
    other = session.attempt("price scale", markets.repriced(bars))
    if other is not None and not _proportional(base, other):
        session.questions["levels"] = Question(
            "levels",
            "In another currency it says something that is neither the same nor in proportion: price levels are "
            "written into it.",
            "the date these were written down",
        )


def _lives_on(output: Output | None, bars: Bars) -> bool:
    """Whether it says anything about these bars; what was kept from other ones is about their rows."""
    if output is None:
        return False
    return bool(np.isfinite(output.values[np.isin(output.time, bars.time)]).any())


def _proportional(base: Output, other: Output) -> bool:
    """Whether every column is the same or one constant times the same, as ratios, prices, variances and ranks are."""
    if base.columns != other.columns or not np.array_equal(base.time, other.time):
        return True  # nothing to compare
    for k in range(base.values.shape[1]):
        a, b = base.values[:, k], other.values[:, k]
        both = np.isfinite(a) & np.isfinite(b)
        if both.sum() < 2:
            continue
        a, b = a[both], b[both]
        size = np.abs(a).max() or 1.0
        factors = (1.0, 4.0, 0.25, 16.0, 1 / 16, 2.0, 0.5)
        scaled = any(np.abs(b - c * a).max() <= 1e-6 * max(c, 1.0) * size for c in factors)
        shifted = np.ptp(b - a) <= 1e-6 * size + 1e-9  # logarithms of prices
        if not (scaled or shifted):
            return False
    return True


def symbol_order(session: Session) -> None:
    """Name the symbols in another order; each must get its own numbers."""
    bars = session.bars
    if len(bars.symbols) < 2:
        return
    turned = bars.select(tuple(reversed(bars.symbols)))
    other = session.attempt("symbol permutation", turned)
    if other is None or {c[0] for c in other.columns} == {None}:
        return
    difference = compare(session.base, other, NEVER - 1, max(session.tolerance, 1e-9))
    if difference is not None:
        proof = difference.proof(int(difference.columns[0]), bars)
        session.notes.append(
            f"{proof['column']} of {proof['symbol']} on {proof['date']} was {proof['before']:.6g}, and "
            f"{proof['after']:.6g} with the symbols in the opposite order"
        )


def refuse_nothing(base: Output, name: str) -> None:
    """Raise where there is no number to judge."""
    if not np.isfinite(base.values).any():
        raise InputError(
            f"{name} says nothing but NaN on these bars, so there is nothing to audit. Pass more bars (its warm-up, "
            "window or training part may be longer than they are)."
        )
