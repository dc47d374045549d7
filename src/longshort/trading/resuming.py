"""A trader taken up again after an interruption: what it must keep, as one JSON-able mapping.

Take a snapshot between two messages and store it before the orders of the next one are sent. After a crash a fresh
trader of the same strategy, restored and given every message since, sends the same orders with the same ids, so a
broker that has seen one of them does nothing twice. What the trader has sent and refused before is history and is not
kept; a streaming forecaster keeps its own state (`stream.snapshot()`).
"""

from collections.abc import Mapping
from dataclasses import fields
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..orders import Instrument, Money
from ..portfolio.memory import keep, packed, require_keys, resume, unpacked
from .protection import Protection

if TYPE_CHECKING:
    from .trader import Trader

_OWN = ("_mark", "_unseen", "_left", "_waiting", "_begun", "_closed", "_fresh", "equity_micro")
_KEYS = (*_OWN, "version", "instruments", "account", "resting", "policy", "limits")
VERSION = 1


def snapshot_of(trader: "Trader") -> dict[str, Any]:
    """Return all that a trader's later orders depend on.

    Examples
    --------
    >>> import json
    >>> import longshort as ls
    >>> from longshort.trading import History, Trader
    >>> bars = ls.load_bars("AAPL", start="2014-06-02", end="2014-06-09", source="sample")
    >>> first, *later = History(bars)
    >>> strategy = ls.Strategy(policy=ls.portfolio.EqualWeight(), limits=ls.Limits(stop_loss=0.05))
    >>> before, after = Trader(strategy, bars.symbols), Trader(strategy, bars.symbols)
    >>> sent = before.on(first)
    >>> after.restore(json.loads(json.dumps(before.snapshot())))
    >>> [before.on(event) for event in later] == [after.on(event) for event in later]
    True
    """
    for name, part in (("policy", trader._policy), ("limits", trader._limits)):
        if part is not None and keep(part) is None:
            raise InputError(
                f"The {name} cannot be kept: {type(part).__name__} has no snapshot() and restore(), which what goes on "
                "after an interruption needs (see longshort.forecast.Resumable)."
            )
    resting = [
        [column, rests.lots, [None if price is None else price.micro for price in rests.prices], list(rests.ids)]
        for column, rests in trader._resting.items()
    ]
    return {
        "version": VERSION,
        "instruments": [_told(instrument) for instrument in trader.account.instruments],
        "account": trader.account.to_dict(),
        "resting": resting,
        "policy": keep(trader._policy),
        "limits": keep(trader._limits),
        **{name: packed(getattr(trader, name)) for name in _OWN},
    }


def restore_into(trader: "Trader", kept: Mapping[str, Any]) -> None:
    """Give a fresh trader what `snapshot_of` another one of the same strategy and symbols kept.

    Raises
    ------
    InputError
        The snapshot is of other symbols, of another strategy or version, or damaged; the trader must not be used then.
    LedgerError
        The account in it does not add up.
    """
    require_keys("a trader", kept, _KEYS)
    if kept["version"] != VERSION:
        raise InputError(f"The snapshot has version {kept['version']!r}; this version of longshort reads {VERSION}.")
    mine = [_told(instrument) for instrument in trader.account.instruments]
    if kept["instruments"] != mine:
        apart = next((one for one in zip_longest(kept["instruments"], mine) if one[0] != one[1]), None)
        raise InputError(f"The snapshot is of other instruments: the first that differs was and is {apart}.")
    if trader._closed != -(2**63) or trader.orders:
        raise InputError("A snapshot is restored into a fresh trader; this one has begun to trade.")
    found = {name: unpacked(kept[name]) for name in _OWN}
    for name, value in found.items():
        own = getattr(trader, name)
        if type(value) is not type(own) or (name == "_mark" and value.shape != own.shape):
            raise InputError(f"The snapshot is damaged: {name!r} should be like {own!r}, was {value!r}.")
    resting = _resting(kept["resting"], trader.account.currency)
    resume(trader._policy, kept["policy"])
    resume(trader._limits, kept["limits"])
    trader.account.restore(kept["account"])
    for name, value in found.items():
        setattr(trader, name, value)
    trader._resting = resting


def _told(instrument: Instrument) -> dict[str, Any]:
    """What a position in lots means."""
    return {field.name: getattr(instrument, field.name) for field in fields(instrument) if field.init}


def _resting(kept: Any, currency: str) -> dict[int, Protection]:
    """Return the stops and targets beside positions."""
    found: dict[int, Protection] = {}
    try:
        for column, lots, prices, ids in kept:
            stop, target = (None if micro is None else Money(micro, currency) for micro in prices)
            found[column] = Protection((stop, target), lots)
            found[column].ids = list(ids)
    except (TypeError, ValueError) as error:
        raise InputError(f"The snapshot is damaged at {str(kept)[:80]!r} ({error}). Take it again.") from error
    return found
