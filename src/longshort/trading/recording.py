"""Recording: every message a trader took in as one line of text, from which it can be played again.

A trader is a fold over its messages, so a recorded session replayed through a fresh trader gives the same orders.
"""

import json
from collections.abc import Iterable
from dataclasses import MISSING, fields
from math import isfinite
from typing import Any

import numpy as np

from ..errors import InputError
from ..forecast import Refusal
from ..ledger import canonical
from ..orders import BookEvent, Ended, Fill, MarketEvent, Posting
from .trader import Event, Trader

_TYPES: dict[str, Any] = {
    "market": MarketEvent,
    "book": BookEvent,
    "fill": Fill,
    "posting": Posting,
    "ended": Ended,
    "refusal": Refusal,
}
_NAMES = {cls: name for name, cls in _TYPES.items()}
_FIELDS = {cls: tuple(f.name for f in fields(cls)) for cls in _TYPES.values()}
_ALWAYS = {cls: {f.name for f in fields(cls) if f.default is MISSING} for cls in _TYPES.values()}  # even None


class Tape:
    """Lines of a session, in memory or, beside that, in an open text file.

    Examples
    --------
    >>> import longshort as ls
    >>> from longshort.orders import Costs
    >>> from longshort.trading import History, SimulatedBroker, Trader, play
    >>> bars = ls.load_bars("AAPL", start="2014-06-02", end="2014-06-09", source="sample")
    >>> def trader():
    ...     return Trader(lambda view: np.sign(view.returns), ["AAPL"])
    >>> first, tape = trader(), Tape()
    >>> play(first, SimulatedBroker(100_000, ["AAPL"]), History(bars), tape)
    >>> second = replay(trader(), tape.lines)
    >>> second.orders == first.orders, len(first.orders), second.account.cash == first.account.cash
    (True, 3, True)
    """

    def __init__(self, file: Any = None):
        self.lines: list[str] = []
        self._file = file

    def __call__(self, message: Event) -> None:
        """Write one message down."""
        line = to_line(message)
        self.lines.append(line)
        if self._file is not None:
            self._file.write(line + "\n")


def replay(trader: Trader, lines: Iterable[str]) -> Trader:
    """Give a fresh trader the messages of a session and return it, with the orders it would have sent."""
    for line in lines:
        trader.on(from_line(line))
    return trader


def to_line(message: Event) -> str:
    """Return a message as canonical JSON text, exact to the bit.

    Examples
    --------
    >>> to_line(Ended("1", 5, "expired", 40))
    '{"left":40,"order":"1","time":5,"type":"ended","why":"expired"}'
    """
    name = _NAMES.get(type(message))
    if name is None:
        raise InputError(f"A tape takes market events and what brokers report, was {message!r}.")
    values, always = {f: _plain(getattr(message, f)) for f in _FIELDS[type(message)]}, _ALWAYS[type(message)]
    return canonical({f: value for f, value in values.items() if value is not None or f in always} | {"type": name})


def from_line(line: str) -> Event:
    """Return the message of a line.

    Examples
    --------
    >>> from_line('{"left":40,"order":"1","time":5,"type":"ended","why":"expired"}')
    Ended(order='1', time=5, why='expired', left=40)
    """
    try:
        found = json.loads(line)
        cls = _TYPES[found.pop("type")]
        return cls(**{field: _read(cls, field, value) for field, value in found.items()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"A line of a tape is not one: {str(line)[:80]!r} ({error}).") from error


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_plain(one) for one in value.tolist()]
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not isfinite(value):
        return str(value)  # JSON has no such numbers
    return value


def _read(cls: Any, field: str, value: Any) -> Any:
    if cls is BookEvent and isinstance(value, list):
        return tuple((int(price), int(lots)) for price, lots in value)
    if isinstance(value, list):
        return np.array([float(one) for one in value], np.uint8 if field == "state" else np.float64)
    if isinstance(value, str) and value in ("nan", "inf", "-inf"):
        return float(value)
    return value
