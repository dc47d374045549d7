"""What is wrong with market data: `check` looks at bars, tables and files and lists it, changing nothing.

============================  ==========================================================================================
fault                         what was seen
============================  ==========================================================================================
unreadable, columns, stamp    no table of bars; a stamp that is none or lies in the future
unsorted, duplicate           rows out of order; a stamp twice ("same values" or "other values")
not_a_number, infinite, nan   cells without a usable number
not_positive                  prices of zero or less, volumes below zero
ohlc                          high or low not around open and close
weekend, holiday              bars when the exchange is closed
gap                           sessions without a bar between a symbol's first and last
unadjusted_split              an overnight jump to 1/2, 1/3, ... or twice, three times, ... the price without a split
split_applied_twice           a split is listed, but the price does not show it
unadjusted_action             any other overnight jump beyond 35 % on ordinary volume, like a spin-off
spike                         one close, high or low far out, back the next day
repeated_bar                  open, high and low of another bar nearby: one of the two is a copy
stale                         five or more rows that repeat all prices although there is volume
absurd_volume                 volume a hundred times the usual
dividend                      a dividend of more than half the price
============================  ==========================================================================================

Notes are not faults: starts_late, ends_early (against the other symbols), jump (a large move on heavy volume), halt
(rows that repeat the last price without volume), zero_volume.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..bars import Bars
from ..errors import InputError
from . import faults
from .faults import Context, Finding, Series

if TYPE_CHECKING:
    import pandas as pd

NOTES = ("starts_late", "ends_early", "jump", "halt", "zero_volume")
_SHOWN = 40


@dataclass(frozen=True)
class Issue:
    """One kind of issue of one symbol.

    Parameters
    ----------
    kind : str
        As in the table of this module.
    symbol : str
        Whose; empty when it concerns the whole table.
    text : str
        What was seen first, in words and numbers.
    dates : tuple of str
        Where: session dates, or the stamp as found.
    rows : tuple of int
        Row numbers in what was checked; for a gap the row after it.
    values : tuple of float
        What was found there.

    Examples
    --------
    >>> issue = Issue("gap", "QQQ", "2 sessions without a bar", ("2004-12-01", "2004-12-02"), (1740,), (2.0,))
    >>> issue.fault, issue.count
    (True, 2)
    """

    kind: str
    symbol: str
    text: str
    dates: tuple[str, ...] = ()
    rows: tuple[int, ...] = ()
    values: tuple[float, ...] = ()

    @property
    def fault(self) -> bool:
        """False for mere notes."""
        return self.kind not in NOTES

    @property
    def count(self) -> int:
        """How many bars (or missing sessions)."""
        return max(len(self.dates), 1)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; NaN becomes None."""
        values = [None if value != value else value for value in self.values]
        return {
            "kind": self.kind, "fault": self.fault, "symbol": self.symbol, "text": self.text, "count": self.count,
            "dates": list(self.dates), "rows": list(self.rows), "values": values,
        }  # fmt: skip


@dataclass(frozen=True)
class Report:
    """What `check` found; print it.

    Parameters
    ----------
    issues : tuple of Issue
        Faults first, then notes.
    about : str
        What was checked.

    Examples
    --------
    >>> report = Report((Issue("zero_volume", "UA", "2016-04-07: no volume", ("2016-04-07",), (11,)),), "ua.csv")
    >>> report
    ua.csv: 0 faults, 1 note
    zero_volume         UA                1 x  2016-04-07: no volume
    >>> report.ok  # notes are not faults
    True
    """

    issues: tuple[Issue, ...]
    about: str = ""
    symbols: tuple[str, ...] = field(default=(), repr=False)

    @property
    def ok(self) -> bool:
        """True when there is no fault."""
        return not any(issue.fault for issue in self.issues)

    def of(self, kind: str, symbol: str | None = None) -> tuple[Issue, ...]:
        """Return the issues of one kind, of one symbol if given."""
        return tuple(i for i in self.issues if i.kind == kind and symbol in (None, i.symbol))

    def __len__(self) -> int:
        return len(self.issues)

    def __iter__(self) -> Iterator[Issue]:
        return iter(self.issues)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"ok": self.ok, "about": self.about, "issues": [issue.to_dict() for issue in self.issues]}

    def __repr__(self) -> str:
        lines = [f"{kind:19} {who:12} {count:>6,} x  {text}" for kind, who, count, text in self._lines()]
        return "\n".join([self._head(), *lines])

    def _head(self) -> str:
        faults, notes = sum(issue.fault for issue in self.issues), sum(not issue.fault for issue in self.issues)
        return f"{self.about}: {_number(faults, 'fault')}, {_number(notes, 'note')}"

    def _lines(self) -> Iterator[tuple[str, str, int, str]]:
        """Yield a line per issue, or per kind where a kind concerns many symbols of a long list."""
        groups: dict[str, list[Issue]] = {}
        for issue in self.issues:
            groups.setdefault(issue.kind, []).append(issue)
        for kind, group in groups.items():
            if len(self.issues) <= _SHOWN or len(group) <= 3:
                yield from ((kind, i.symbol, i.count, i.text) for i in group)
            else:
                total = sum(issue.count for issue in group)
                yield kind, f"{len(group):,} symbols", total, f"first {group[0].symbol} {group[0].text}"

    def _repr_html_(self) -> str:
        from html import escape

        rows = "".join(
            f"<tr><td>{escape(kind)}</td><td>{escape(who)}</td><td>{count:,}</td><td>{escape(text)}</td></tr>"
            for kind, who, count, text in self._lines()
        )
        head = "".join(f"<th>{name}</th>" for name in ("kind", "symbol", "count", "first seen"))
        return f"<p>{escape(self._head())}</p><table><tr>{head}</tr>{rows}</table>"


def check(data: "Bars | pd.DataFrame | str | Path", *, calendar: str | None = None) -> Report:
    """List what is wrong with market data, with rows, dates and values.

    Parameters
    ----------
    data : Bars, DataFrame, or path of a csv or parquet file
        Tables as `Bars.from_pandas` takes them, but nothing is refused: what would be is listed.
    calendar : str, optional
        Exchange whose sessions there should be; of tables it is guessed (XNYS when the dates agree with it).

    Returns
    -------
    Report
        Printable; `.ok`, `.issues`, `.of(kind)`, `.to_dict()`.

    Notes
    -----
    Look-ahead: judging a bar, `check` looks at the bars after it (a spike is known by its return). That is for people;
    what `clean` repairs by rule, it repairs from the past alone.

    Examples
    --------
    >>> from longshort import load_bars
    >>> check(load_bars(["AAPL", "QQQ"], start="2004-06-01", end="2012-01-03", source="sample"))
    1,913 x 1D bars of 2 symbols, 2004-06-01 .. 2012-01-03, XNYS: 3 faults, 0 notes
    gap                 QQQ           1,588 x  1,588 sessions without a bar, 2004-12-01 .. 2011-03-22
    spike               AAPL              3 x  2009-09-21: low 10.59 beside a close of 184.02
    spike               QQQ               1 x  2004-11-01: low 27.05 beside a close of 37.02
    """
    if isinstance(data, str | Path):
        return _check_file(Path(data), calendar)
    if isinstance(data, Bars):
        series, context, found = faults.series_of_bars(data, calendar)
    elif hasattr(data, "columns") and hasattr(data, "index"):
        series, context, found = faults.series_of_frame(data, calendar)
    else:
        raise InputError(f"check needs Bars, a DataFrame or a path; it was {type(data).__name__}.")
    for one in series:
        found.extend(faults.findings_of(one, context))
    return Report(tuple(_sorted(_grouped(found))), _about(series, context), tuple(s.symbol for s in series))


def _check_file(path: Path, calendar: str | None) -> Report:
    from ..errors import DataError
    from .tables import read_csv, read_parquet

    try:
        frame = read_parquet(path) if path.suffix == ".parquet" else read_csv(path, missing="keep")
    except (DataError, InputError) as error:
        return Report((Issue("unreadable", "", str(error)),), path.name)
    report = check(frame, calendar=calendar)
    return Report(report.issues, f"{path.name}, {report.about}", report.symbols)


def _grouped(found: Iterable[Finding]) -> list[Issue]:
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in found:
        groups.setdefault((finding.kind, finding.symbol), []).append(finding)
    return [_issue(*key, group) for key, group in groups.items()]


def _issue(kind: str, symbol: str, group: list[Finding]) -> Issue:
    text = group[0].text
    if kind == "gap":
        total = sum(len(finding.dates) for finding in group)
        if len(group) > 1:
            text = f"{total:,} sessions without a bar in {len(group)} gaps, first {text.split(', ', 1)[1]}"
    return Issue(
        kind,
        symbol,
        text,
        tuple(date for finding in group for date in finding.dates),
        tuple(row for finding in group for row in finding.rows),
        tuple(value for finding in group for value in finding.values),
    )


def _sorted(issues: list[Issue]) -> list[Issue]:
    order = {kind: place for place, kind in enumerate(faults.KINDS)}
    return sorted(issues, key=lambda i: (not i.fault, order.get(i.kind, 99), -i.count, i.symbol))


def _about(series: list[Series], context: Context) -> str:
    count = context.n_rows
    days = [s.days for s in series if len(s.days)]
    span = f", {min(d[0] for d in days)} .. {max(d[-1] for d in days)}" if days else ""
    name = f", {context.calendar}" if context.calendar else ""
    return f"{count:,} x {context.bar_size} bars of {_number(len(series), 'symbol')}{span}{name}"


def _number(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"
