"""Holdings whose symbol has come to an end: noticed by sessions without a bar, closed below the last price.

Bars do not say what the holders of a delisted share were paid. A backtest that keeps it at its last price for ever
leaves out the loss that most delistings bring, which is survivorship bias through the back door: Shumway (1997) found
a mean return of -30 % after the last trade of stocks delisted for performance, Shumway and Warther (1999) -55 % on
Nasdaq.
"""

from math import inf

import numpy as np

from ..bars import State
from ..orders import MICRO, Account, Fill, MarketEvent

REASON = "delisted"
_OK, _CLOSED = int(State.OK), int(State.CLOSED)


class Delistings:
    """Counts for every symbol the sessions without a bar, in which its market was open.

    Parameters
    ----------
    n_symbols : int
        Columns.
    after : int
        Sessions after which a symbol counts as delisted.
    loss : float
        Part of the last price that a long position loses then; a short one is covered at the last price.
    """

    def __init__(self, n_symbols: int, after: int, loss: float):
        self.after, self.loss = after, loss
        self.absent = np.zeros(n_symbols, dtype=np.int64)
        self._traded, self._open = np.zeros((2, n_symbols), dtype=bool)

    def fills(self, event: MarketEvent, account: Account, mark: np.ndarray) -> list[Fill]:
        """Take a closed bar; return what closes the holdings that count as delisted with it."""
        self._traded = self._traded | (event.state == _OK)
        self._open = self._open | (event.state != _CLOSED)
        if not event.last:
            return []
        self.absent = np.where(self._traded, 0, self.absent + self._open)
        self._traded, self._open = np.zeros((2, len(self.absent)), dtype=bool)
        gone = (self.absent >= self.after) & (account.lots != 0) & (mark > 0) & (mark < inf)
        return [self._fill(j, event.time, account, float(mark[j])) for j in np.flatnonzero(gone).tolist()]

    def _fill(self, j: int, time: int, account: Account, price: float) -> Fill:
        held = account.lots_held[j]
        paid = max(round(price * (1.0 - self.loss if held > 0 else 1.0) * MICRO), 1)
        name = f"{time}.{REASON}.{j}"
        return Fill(name, account.symbols[j], time, -held, paid, 0, reason=REASON, currency=account.currency)
