"""What a trader asks of a broker, whoever it is: take orders, tell what became of them."""

from typing import Protocol, runtime_checkable

from ..forecast import Refusal
from ..orders import Account, Cancel, Ended, Fill, Order, Position, Posting

News = Fill | Posting | Ended | Refusal


@runtime_checkable
class Broker(Protocol):
    """Whoever carries orders out. `events` gives what happened since it was last asked, in order."""

    def submit(self, order: Order) -> None:
        """Take an order; one whose id is known already changes nothing."""
        ...

    def cancel(self, cancel: Cancel) -> None:
        """Take back what is left of an order; nothing happens when nothing is."""
        ...

    def orders(self) -> list[Order]:
        """Return the open orders."""
        ...

    def positions(self) -> dict[str, Position]:
        """Return what is held, by symbol."""
        ...

    @property
    def account(self) -> Account:
        """Cash and positions."""
        ...

    def events(self) -> list[News]:
        """Return fills, postings, ends of orders and refusals since the last call."""
        ...
