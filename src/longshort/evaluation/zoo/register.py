"""What an entry of the zoo is, and the markets entries are shown on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from ...bars import Bars
from ...data import load_bars
from ...data.synthetic import random_walk
from ...errors import UnknownName, did_you_mean
from ..leaks import Audit, audit

Frame = Any  # a DataFrame (or a Series): entries are what people write, and nobody annotates that


@dataclass(frozen=True)
class Entry:
    """One seeded leak, or one clean twin.

    Parameters
    ----------
    name : str
        What it is called.
    about : str
        What it does, in a sentence.
    make : callable
        Returns the thing to audit.
    expected : {"leak", "clean", "not observable", "not judged"}
        What a good audit answers.
    options : mapping
        How the thing is used: arguments of `audit`.
    market : str
        Bars it runs on, see `bars`.
    observable : bool
        Whether the leak is in what runs. Otherwise it happened before, and only `facts` can tell.
    twin_of : str, optional
        Of a clean entry: the leak it is the honest version of.
    needs : str, optional
        A package it needs.

    Examples
    --------
    >>> def tomorrow(frame):
    ...     return frame["close"].shift(-1)
    >>> entry = Entry("tomorrow", "The next close.", lambda: tomorrow, "leak")
    >>> entry.audit().findings[0].is_leak
    True
    """

    name: str
    about: str
    make: Callable[[], Any]
    expected: str
    options: Mapping[str, Any] = field(default_factory=dict)
    market: str = "daily"
    observable: bool = True
    twin_of: str | None = None
    needs: str | None = None

    @property
    def bars(self) -> Bars:
        """The market it is shown on."""
        return market(self.market)

    def audit(self, **options: Any) -> Audit:
        """Audit it the way it is used; `options` are added to its own."""
        return audit(self.make(), self.bars, **{**self.options, **options})


REGISTER: dict[str, Entry] = {}


def leak(**facts: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Put a function into the zoo as a leak; keywords are fields of `Entry`, others go to `audit`."""
    return _keeper({"expected": "leak", **facts})


def twin(of: str, **facts: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Put a function into the zoo as the clean twin of a leak."""
    return _keeper({"expected": "clean", "twin_of": of, **facts})


def _keeper(facts: dict[str, Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def keep(function: Callable[..., Any]) -> Callable[..., Any]:
        own = {name: facts[name] for name in facts if name in Entry.__dataclass_fields__}
        options = {name: facts[name] for name in facts if name not in Entry.__dataclass_fields__ and name != "makes"}
        make = function if facts.get("makes") else lambda: function
        about = " ".join((function.__doc__ or "").split("\n\n")[0].split())
        REGISTER[function.__name__] = Entry(function.__name__, about, make, options=options, **own)
        return function

    return keep


# -------------------------------------------------------------------------------------------------------------- markets


def market(name: str) -> Bars:
    """Return the bars of a market.

    "daily": four years of AAPL with a split and dividends. "panel": six walks, of which one ends early and one begins
    late. "hourly": seven bars a day. "reports": a walk with figures that are published 30 rows after their quarter.
    """
    if name not in _MARKETS:
        raise UnknownName(f"market was {name!r}. {did_you_mean(name, _MARKETS)}")
    return _MARKETS[name]()


@cache
def _daily() -> Bars:
    return load_bars("AAPL", start="2012-01-01", end="2015-12-31", source="sample")


@cache
def _panel() -> Bars:
    bars = random_walk(700, 6, seed=3, start="2012-01-02")
    fields = {name: np.array(bars[name]) for name in bars.fields}
    for values in fields.values():
        values[450:, 4] = np.nan
        values[:200, 5] = np.nan
    return Bars.from_arrays(bars.time, bars.symbols, fields, calendar=bars.calendar)


@cache
def _hourly() -> Bars:
    days = random_walk(7 * 110, "HOUR", seed=4)
    sessions = np.arange("2014-01-06", "2015-01-06", dtype="datetime64[D]")
    sessions = sessions[np.is_busday(sessions)][:110]
    stamps = np.repeat(sessions.astype("datetime64[ns]").astype(np.int64), 7) + np.tile(
        np.arange(15, 22) * 3600 * 10**9, len(sessions)
    )
    return Bars.from_arrays(stamps, days.symbols, {name: days[name] for name in days.fields}, bar_size="1h")


@cache
def _reports() -> Bars:
    bars = random_walk(800, "FIRM", seed=5, start="2012-01-02")
    figures = np.random.default_rng(5).normal(2.0, 0.3, 14)
    row = np.arange(len(bars))
    published = (row - 30) // 60  # the figure of quarter k is out 30 rows after its end
    values = np.where(published >= 0, figures[np.maximum(published, 0)], np.nan)
    fields = {name: bars[name] for name in bars.fields}
    return Bars.from_arrays(bars.time, bars.symbols, fields | {"earnings": values}, calendar=bars.calendar)


_MARKETS: dict[str, Callable[[], Bars]] = {"daily": _daily, "panel": _panel, "hourly": _hourly, "reports": _reports}
