"""Stops and targets that rest beside positions."""

from ..orders import Money

Levels = tuple[Money | None, Money | None]
"""A stop and a target, None for none."""


class Protection:
    """A stop and a target beside a position."""

    __slots__ = ("ids", "lots", "prices")

    def __init__(self, prices: Levels, lots: int):
        self.prices, self.lots = prices, lots
        self.ids: list[str] = []

    def stands(self, wanted: "Protection", left: dict[str, int]) -> bool:
        """Whether what rests is what is wanted: the same prices for the same position, all of it still open."""
        return (
            self.prices == wanted.prices
            and self.lots == wanted.lots
            and all(left.get(id) == -self.lots for id in self.ids)
        )
