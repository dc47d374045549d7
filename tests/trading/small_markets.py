"""Small markets made by hand."""

from typing import Any

import numpy as np

from longshort.bars import Bars
from longshort.orders import Costs, MarketEvent, Order, Shares
from longshort.trading import Execution, SimulatedBroker

FREE = Costs.none()
DAY = 86_400 * 10**9


def bars_of(rows: Any, symbols: Any = "X", **more: Any) -> Bars:
    """Daily bars without a calendar from rows of (open, high, low, close) or (open, high, low, close, volume)."""
    table = np.asarray(rows, np.float64)
    if table.ndim == 2:
        table = table[:, None, :]
    names = ("open", "high", "low", "close", "volume")[: table.shape[2]]
    fields = {name: table[:, :, k] for k, name in enumerate(names)}
    time = (np.arange(len(table)) + 18_000) * DAY
    return Bars.from_arrays(time, symbols, fields, bar_size="1D", **more)


def flat(prices: Any, symbols: Any = "X", **more: Any) -> Bars:
    """Bars that open where the last closed and stay there: open = high = low = close."""
    close = np.asarray(prices, np.float64)
    close = close[:, None] if close.ndim == 1 else close
    return bars_of(np.repeat(close[:, :, None], 4, axis=2), symbols, **more)


def broker_at(price: float, cash: float = 100_000.0, costs: Costs = FREE, **more: Any) -> SimulatedBroker:
    """A broker that has seen one close, at time 0."""
    execution = Execution(**more)
    broker = SimulatedBroker(cash, ["X"], costs, execution)
    broker.on(close(0, price))
    return broker


def opening(time: int, price: float, volume: float | None = None, session: int | None = None, **more: Any):
    """The opening of a bar of one symbol."""
    volumes = None if volume is None else np.array([volume])
    day = time if session is None else session
    more.setdefault("state", np.zeros(1, np.uint8))
    return MarketEvent("open", time, day, open=np.array([price]), volume=volumes, last=False, **more)


def close(
    time: int,
    price: float,
    high: float | None = None,
    low: float | None = None,
    volume: float | None = None,
    opened: float | None = None,
    session: int | None = None,
    **more: Any,
):
    """A closed bar of one symbol."""
    more.setdefault("state", np.zeros(1, np.uint8))
    return MarketEvent(
        "close",
        time,
        time if session is None else session,
        open=np.array([price if opened is None else opened]),
        high=np.array([price if high is None else high]),
        low=np.array([price if low is None else low]),
        close=np.array([price]),
        volume=None if volume is None else np.array([volume]),
        **more,
    )


def order(id: str, lots: int, kind: str = "market", time: int = 0, **more: Any) -> Order:
    """An order of X."""
    return Order(id, "X", Shares(lots), time, kind, **more)
