"""Limits: what target weights and positions may be, whatever a policy asks for.

Every decision goes through the same list, in this order, and each entry may only bring weights nearer to zero:

====  ===================  =====================================================================================
   1  inputs               equity, positions, prices and targets are finite; symbols can be traded
   2  breakers             drawdown since the highest equity, loss of the session
   3  exits                stop-loss, take-profit, trailing, ATR and time stops, and the wait after them
   4  silence              bars for which a position is left alone without a forecast
   5  restricted           symbols that may not be held long, short or at all
   6  position             absolute weight of a symbol
   7  sector               absolute weights of a sector
   8  gross, leverage      absolute weights of all
   9  effective bets       sum of squared weights
  10  turnover             what is opened or added at one decision
  11  net                  sum of weights
  12  independent bets     uncorrelated sources of risk
====  ===================  =====================================================================================

All of them together hold afterwards, and asking twice changes nothing. Checks allow only what is between its bounds, so
a NaN is never inside: where a number is missing or infinite nothing is opened and nothing added (`inputs`), but
everything may be reduced. What was not allowed is a `Refusal` with the number that broke.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..errors import InputError
from .limiting import LimitsAtWork
from .rules import within

EXITS = ("stop_loss", "take_profit", "trailing_stop", "atr_stop", "time_stop")
SIDES = ("long", "short", "both")
CLOSES = (
    *EXITS,
    "max_drawdown",
    "max_daily_loss",
    "max_silence",
)  # limits that close what is held, whatever the policy asks for


@dataclass(frozen=True)
class Limits:
    """Bounds on positions, and rules that close them.

    Bounds are always on. Exits are off until asked for, since they are part of a strategy rather than of its safety.

    Parameters
    ----------
    stop_loss : float, optional
        Close a position that lost this fraction of its entry price, for example 0.05.
    take_profit : float, optional
        Close a position that gained this fraction.
    trailing_stop : float, optional
        Close a position that fell back by this fraction from its best price since entry.
    atr_stop : float, optional
        Close a position that moved so many average true ranges, as known at entry, against its entry price. Nothing is
        opened before the range is known.
    time_stop : int, optional
        Close a position after so many bars.
    max_position : float, default=1.0
        Largest absolute weight of a symbol. Weights are fractions of equity.
    max_gross : float, default=1.0
        Largest sum of absolute weights.
    max_net : float, default=1.0
        Largest absolute sum of weights.
    max_leverage : float, default=1.0
        Largest sum of absolute weights the account allows: the same measure as `max_gross`, and the lower one counts.
    max_turnover : float, default=1.0
        Largest sum of what is opened or added at one decision, one way. Reducing never waits.
    max_drawdown : float, default=0.25
        Largest fall of equity from its highest value at a decision, open positions included. Beyond it the breaker
        opens and stays open until `reset`.
    max_daily_loss : float, default=0.10
        Largest fall of equity within a session, from its value at the last decision of the session before. The breaker
        closes again with the next session.
    max_silence : int, default=25
        Bars for which a position may be left as it is while nothing is forecast for its symbol; then it is closed. A
        forecast over h bars speaks for h of them. The default lets forecasts come once a month of daily bars.
    sectors : mapping of str to str, optional
        Sector of every symbol; it may know more symbols than there are.
    max_sector : float, default=1.0
        Largest sum of absolute weights within a sector.
    min_effective_bets : float, default=1.0
        Smallest number of equal positions that would be as concentrated: ``max_gross**2 / sum of squared weights``.
        Cash counts, so a small portfolio of few positions is allowed.
    min_independent_bets : float, default=1.0
        Smallest number of uncorrelated sources of risk (`effective_bets` with the forecast's covariance). A portfolio
        of fewer may only be reduced, and so may one without a covariance. Stocks held long share a market: few reach 2.
    restricted : sequence of str or mapping of str to {"long", "short", "both"}, default=()
        Symbols in which nothing may be opened or added, on that side. What is held may be kept. A name that is no
        symbol of the strategy raises `UnknownName` when it starts to work, because it would restrict nothing.
    restricted_elsewhere : bool, default=False
        Accept such names, as lists for a whole firm have them. Refused is then only another way to write a symbol that
        is not on the list, such as BRK.B for BRK-B.
    on_breach : {"flat", "reduce"}, default="flat"
        What an open breaker does: close everything, or allow only reductions.
    band : float, default=0.05
        A position left alone by the policy may drift over a cap by this fraction of it before it is cut back.
    cooldown : int, default=1
        Decisions for which a symbol is not entered again on the same side after an exit.
    atr_window : int, default=14
        Bars of the average true range.
    atr_trailing : bool, default=False
        Measure `atr_stop` from the best price since entry with today's range; the level never moves back.

    Notes
    -----
    An exit goes on until its position is gone: what thin volume left of it is closed at the next decisions, wherever
    the price goes meanwhile.

    On daily bars a session is one decision: a loss beyond `max_daily_loss` closes positions at the next open, and the
    decision after that may open them again.

    Silence is what neither a target nor a forecast breaks: NaN is also how a policy says that a position is right as it
    is. A forecast counts where all of it is a number. Strategies without a forecaster go by prices alone and are never
    silent; one has a forecaster from its first forecast on, and in a `Trader` that was given a source of them. What
    cannot be traded is closed when it can be. Bars in which the symbol's market was closed do not count, missing and
    halted ones do. The policy may open the position again.

    Examples
    --------
    >>> import numpy as np
    >>> from longshort.portfolio import view_of
    >>> step = Limits(max_position=0.3, max_net=0.5).stepper(("AAPL", "MSFT", "XOM"))
    >>> allowed, refused = step.weights(view_of(("AAPL", "MSFT", "XOM")), np.array([0.6, 0.3, np.nan]))
    >>> allowed
    array([0.25, 0.25,  nan])
    >>> [(r.limit, r.symbol, r.value, r.bound) for r in refused]
    [('max_position', 'AAPL', 0.6, 0.3), ('max_net', None, 0.6, 0.5)]
    >>> print(Limits(stop_loss=0.05))
    stop-loss at 0.05; position <= 1, gross <= 1, net <= 1, leverage <= 1, turnover <= 1 a decision, silence <= 25 bars;
    drawdown <= 0.25, daily loss <= 0.1, else flat
    """

    stop_loss: float | None = None
    take_profit: float | None = None
    trailing_stop: float | None = None
    atr_stop: float | None = None
    time_stop: int | None = None
    max_position: float = 1.0
    max_gross: float = 1.0
    max_net: float = 1.0
    max_leverage: float = 1.0
    max_turnover: float = 1.0
    max_drawdown: float = 0.25
    max_daily_loss: float = 0.10
    max_silence: int = 25
    sectors: Mapping[str, str] | None = None
    max_sector: float = 1.0
    min_effective_bets: float = 1.0
    min_independent_bets: float = 1.0
    restricted: Any = ()
    restricted_elsewhere: bool = False
    on_breach: str = "flat"
    band: float = 0.05
    cooldown: int = 1
    atr_window: int = 14
    atr_trailing: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.default is not None and getattr(self, field.name) is None:
                raise InputError(
                    f"Limits.{field.name} is always on and needs a value; the default is {field.default!r}."
                )
        for name in ("stop_loss", "trailing_stop", "max_drawdown", "max_daily_loss"):
            within(self, name, 0.0, 1.0, above=True)
        for name in ("take_profit", "atr_stop", "max_turnover"):
            within(self, name, 0.0, 1000.0, above=True)
        for name in ("max_position", "max_gross", "max_net", "max_leverage", "max_sector"):
            within(self, name, 0.0, 100.0)
        within(self, "time_stop", 1, 10**9)
        within(self, "max_silence", 0, 10**9)
        within(self, "atr_window", 1, 10**6)
        within(self, "cooldown", 0, 10**9)
        within(self, "band", 0.0, 1.0)
        within(self, "min_effective_bets", 1.0, 1e6)
        within(self, "min_independent_bets", 1.0, 1e6)
        if not isinstance(self.atr_trailing, bool):
            raise InputError(f"Limits.atr_trailing must be True or False, was {self.atr_trailing!r}.")
        if self.sectors is not None and not isinstance(self.sectors, Mapping):
            raise InputError(f"Limits.sectors must map symbols to sectors, was {self.sectors!r}.")
        if self.on_breach not in ("flat", "reduce"):
            raise InputError(f"Limits.on_breach must be 'flat' or 'reduce', was {self.on_breach!r}.")
        if not isinstance(self.restricted_elsewhere, bool):
            raise InputError(f"Limits.restricted_elsewhere must be True or False, was {self.restricted_elsewhere!r}.")
        if isinstance(self.restricted, str):
            raise InputError(f"Limits.restricted lists symbols, was one string; write ({self.restricted!r},).")
        for symbol, side in self.restricted_sides().items():
            if side not in SIDES:
                raise InputError(f"Limits.restricted[{symbol!r}] must be 'long', 'short' or 'both', was {side!r}.")

    def restricted_sides(self) -> dict[str, str]:
        """Return the side on which each restricted symbol is: "long", "short" or "both"."""
        return dict(self.restricted) if isinstance(self.restricted, Mapping) else dict.fromkeys(self.restricted, "both")

    def has_exits(self) -> bool:
        """Whether any rule closes positions by price or time."""
        return any(getattr(self, name) is not None for name in EXITS)

    def stepper(self, symbols: tuple[str, ...]) -> LimitsAtWork:
        """Return fresh limits at work; see `LimitStep`."""
        return LimitsAtWork(self, tuple(symbols))

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as a JSON-able mapping."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        plain["sectors"] = None if self.sectors is None else dict(self.sectors)
        return {"kind": "Limits", **plain, "restricted": self.restricted_sides()}

    def __str__(self) -> str:
        exits = [
            f"{name.replace('_', '-')} {_value(name, getattr(self, name))}" for name in EXITS if getattr(self, name)
        ]
        bounds = [
            f"position <= {self.max_position:.4g}",
            f"gross <= {self.max_gross:.4g}",
            f"net <= {self.max_net:.4g}",
            f"leverage <= {self.max_leverage:.4g}",
            f"turnover <= {self.max_turnover:.4g} a decision",
            f"silence <= {self.max_silence} bars",
        ]
        bounds += [f"sector <= {self.max_sector:.4g}"] if self.sectors is not None else []
        bounds += [f"effective bets >= {self.min_effective_bets:.4g}"] if self.min_effective_bets > 1 else []
        bounds += [f"independent bets >= {self.min_independent_bets:.4g}"] if self.min_independent_bets > 1 else []
        bounds += [f"{len(self.restricted_sides())} restricted"] if self.restricted else []
        falls = f"drawdown <= {self.max_drawdown:.4g}, daily loss <= {self.max_daily_loss:.4g}"
        does = "else flat" if self.on_breach == "flat" else "else only reductions"
        return f"{', '.join(exits) or 'no exits'}; {', '.join(bounds)}; {falls}, {does}"


def _value(name: str, value: float) -> str:
    if name == "time_stop":
        return f"after {value} bars"
    return f"{value:g} ATR" if name == "atr_stop" else f"at {value:.4g}"
