"""Orders, fills, accounts and costs: the words that traders and brokers share.

::

    Trader  -- Order, Cancel -->                      Broker
            <-- Fill, Posting, Ended, Refusal --
    market  -- MarketEvent (open, close), BookEvent --> both

Money is counted in millionths of a currency and quantities in lots, both whole numbers; `Money` and `Shares` are types
of their own that do not add up, and no order takes a float. Rounding to lots and ticks is one function, `steps_of`.
"""

from ._orders.accounts import FRACTION, Account, Margin, Position, replayed
from ._orders.costs import BasisPoints, Commission, Costs, PerShare, Tiered, Twice
from ._orders.messages import (
    CLOSE,
    KINDS,
    OPEN,
    POSTINGS,
    VALIDITIES,
    BookEvent,
    Cancel,
    Ended,
    Fill,
    MarketEvent,
    Order,
    Posting,
)
from ._orders.units import MICRO, MOST_LOTS, MOST_MICRO, Instrument, Money, Shares, micro_of, steps_of

__all__ = [
    "CLOSE",
    "FRACTION",
    "KINDS",
    "MICRO",
    "MOST_LOTS",
    "MOST_MICRO",
    "OPEN",
    "POSTINGS",
    "VALIDITIES",
    "Account",
    "BasisPoints",
    "BookEvent",
    "Cancel",
    "Commission",
    "Costs",
    "Ended",
    "Fill",
    "Instrument",
    "Margin",
    "MarketEvent",
    "Money",
    "Order",
    "PerShare",
    "Position",
    "Posting",
    "Shares",
    "Tiered",
    "Twice",
    "micro_of",
    "replayed",
    "steps_of",
]
