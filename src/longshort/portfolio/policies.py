"""Policies: from forecasts to target weights.

==================  ===========================================================  ============================
policy              position                                                     needs a forecast of
==================  ===========================================================  ============================
`LongShort`         by sign and strength                                         returns or scores
`Sign`              by sign, all of one size                                     returns or scores
`TopK`              the k best long, as many of the worst short as asked         returns or scores
`Quantiles`         the top fraction long, the bottom fraction short             returns or scores
`Kelly`             expected return over variance                                returns, or directions
`RiskPerTrade`      what loses the same at its stop                              returns or scores
`Positions`         what a network trained on positions says                     positions
`EqualWeight`       1 / n                                                        nothing
`VolatilityTarget`  another policy's, scaled to a volatility                     what the other needs
`IntervalAware`     another policy's, where the forecast is clear of the costs   intervals or deviations
==================  ===========================================================  ============================

What all of them promise: weights are finite or NaN, in [-1, 1], and add up to at most `gross` in absolute value. NaN
leaves a position as it is; it is the answer wherever the forecast is not finite or the symbol cannot be traded now, so
nothing is ever opened on a forecast that is not there. Symbols are ranked by forecast and then by name, so their order
in the data decides nothing. Forecasts over h bars run h overlapping books, one of which is renewed per bar (Jegadeesh
and Titman, 1993): each holds its positions as long as its forecast looks ahead, and a bar trades 1/h of the whole.
"""

from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError
from ..forecast import View
from .memory import Remembers
from .rules import SizedStep, Sizing, Step, signals, total_of, usable, within


@dataclass(frozen=True)
class LongShort(Sizing):
    """Long what should rise, short what should fall, more of it the stronger the forecast.

    A weight is the forecast over the sum of all absolute forecasts. Days on which the forecasts are weaker than they
    used to be get proportionally less: one symbol is fully invested when its forecast is as strong as usual or
    stronger, and half when it is half as strong.

    Parameters
    ----------
    target_vol : float, optional
        Annual volatility to scale to, as `VolatilityTarget` does, for example 0.10.
    memory : int, default=60
        Bars over which the usual strength is averaged; 1 leaves strength out of the sum and compares symbols only.
    long, short : bool, default=True
        Sides that may be taken; what would stand on the other is zero.
    gross, band, overlap
        See `Sizing`.

    Examples
    --------
    >>> import numpy as np
    >>> from longshort.forecast import Forecast, TargetInfo
    >>> from longshort.portfolio import view_of
    >>> f = Forecast(np.arange(1), ("AAPL", "MSFT"), [[0.03, -0.01]], target=TargetInfo("return"))
    >>> LongShort().stepper(f.symbols)(view_of(f.symbols, f.row(0)))
    array([ 0.75, -0.25])
    """

    target_vol: float | None = None
    memory: int = 60
    long: bool = True
    short: bool = True

    def check(self) -> None:
        """Raise `InputError` where the arguments make no sense."""
        within(self, "target_vol", 0.0, 10.0, above=True)
        within(self, "memory", 1, 100_000)
        if not (self.long or self.short):
            raise InputError("LongShort with neither long nor short positions takes none.")

    def sizer(self, symbols: tuple[str, ...]) -> Step:
        """Return the rule itself."""
        return _Strength(self)

    def stepper(self, symbols: tuple[str, ...]) -> SizedStep:
        """Return a fresh step from `View` to target weights."""
        if self.target_vol is None:
            return super().stepper(symbols)
        from .wrappers import VolatilityTarget

        plain = replace(self, target_vol=None, band=0.0)
        return VolatilityTarget(plain, self.target_vol, gross=self.gross, band=self.band).stepper(symbols)


class _Strength(Remembers):
    """The weights of `LongShort`, and how strong forecasts usually are."""

    MEMORY = ("usual", "seen")

    def __init__(self, policy: LongShort):
        self.policy, self.usual, self.seen = policy, 0.0, 0

    def __call__(self, view: View) -> np.ndarray:
        signal = signals(view)
        size = np.abs(signal)
        total, count = total_of(size), len(size)
        if total != total:  # some are not there
            count = count - int(np.count_nonzero(size != size))
            total = total_of(size[size == size])
        if not 0.0 < total < np.inf:
            return signal
        self.seen += 1
        self.usual += (total / count - self.usual) / min(self.seen, self.policy.memory)
        weights = signal * (self.policy.gross / max(total, self.usual * count))
        if not self.policy.long:
            weights = np.minimum(weights, 0.0)
        return weights if self.policy.short else np.maximum(weights, 0.0)


@dataclass(frozen=True)
class Sign(Sizing):
    """Long what should rise and short what should fall, all positions of one size.

    Parameters
    ----------
    threshold : float, default=0.0
        Expected return per bar (score for directions) beyond which a position is worth taking.
    gross, band, overlap
        See `Sizing`.

    Examples
    --------
    >>> import numpy as np
    >>> from longshort.forecast import Forecast, TargetInfo
    >>> from longshort.portfolio import view_of
    >>> f = Forecast(np.arange(1), ("A", "B", "C"), [[0.03, -0.01, 0.0001]], target=TargetInfo("return"))
    >>> Sign(threshold=0.001).stepper(f.symbols)(view_of(f.symbols, f.row(0)))
    array([ 0.5, -0.5,  0. ])
    """

    threshold: float = 0.0

    def check(self) -> None:
        """Raise `InputError` where the arguments make no sense."""
        within(self, "threshold", 0.0, 1.0)

    def sizer(self, symbols: tuple[str, ...]) -> Step:
        """Return the rule itself."""

        def weights(view: View) -> np.ndarray:
            signal = signals(view)
            sides = np.where(np.abs(signal) <= self.threshold, 0.0, np.sign(signal))
            return sides * (self.gross / max(np.count_nonzero(np.abs(sides) == 1.0), 1))

        return weights


@dataclass(frozen=True)
class TopK(Sizing):
    """Long the k symbols with the best forecasts, and short some of the worst.

    Every position has the weight ``gross / (k + short)``. Where fewer symbols have a forecast, both sides shrink in
    proportion and the rest stays in cash. Whether the best forecast is a good one is not asked.

    Parameters
    ----------
    k : int
        Symbols to hold long, from the top; 0 for a portfolio of shorts.
    short : int, default=0
        Symbols to hold short, from the bottom.
    gross, band, overlap
        See `Sizing`.

    Examples
    --------
    >>> import numpy as np
    >>> from longshort.forecast import Forecast, TargetInfo
    >>> from longshort.portfolio import view_of
    >>> f = Forecast(np.arange(1), ("A", "B", "C", "D"), [[0.03, -0.01, 0.02, np.nan]], target=TargetInfo("return"))
    >>> TopK(1, short=1).stepper(f.symbols)(view_of(f.symbols, f.row(0)))
    array([ 0.5, -0.5,  0. ,  nan])
    """

    k: int
    short: int = 0

    def check(self) -> None:
        """Raise `InputError` where the arguments make no sense."""
        within(self, "k", 0, 1_000_000)
        within(self, "short", 0, 1_000_000)
        if self.k + self.short == 0:
            raise InputError("TopK needs k or short to be at least 1; both were 0.")

    def sizer(self, symbols: tuple[str, ...]) -> Step:
        """Return the rule itself."""
        names, size = order_of(symbols), self.gross / (self.k + self.short)

        def weights(view: View) -> np.ndarray:
            signal = signals(view)
            known = len(signal) - int(np.count_nonzero(signal != signal))
            share = min(1.0, known / (self.k + self.short))
            return sides_of(signal, names, int(self.k * share), int(self.short * share), size, size)

        return weights


@dataclass(frozen=True)
class Quantiles(Sizing):
    """Long the top fraction of the cross-section and short the bottom one, half of `gross` on each side.

    Parameters
    ----------
    fraction : float, default=0.2
        Part of the symbols with a forecast on each side, in (0, 0.5]; at least one symbol.
    long, short : bool, default=True
        Sides that are held. One alone takes all of `gross`.
    gross, band, overlap
        See `Sizing`.

    Examples
    --------
    >>> import numpy as np
    >>> from longshort.forecast import Forecast, TargetInfo
    >>> from longshort.portfolio import view_of
    >>> f = Forecast(np.arange(1), tuple("ABCDE"), [[0.03, -0.01, 0.02, 0.0, -0.02]], target=TargetInfo("return"))
    >>> Quantiles(0.4).stepper(f.symbols)(view_of(f.symbols, f.row(0)))
    array([ 0.25, -0.25,  0.25,  0.  , -0.25])
    """

    fraction: float = 0.2
    long: bool = True
    short: bool = True

    def check(self) -> None:
        """Raise `InputError` where the arguments make no sense."""
        within(self, "fraction", 0.0, 0.5, above=True)
        if not (self.long or self.short):
            raise InputError("Quantiles with neither long nor short positions takes none.")

    def sizer(self, symbols: tuple[str, ...]) -> Step:
        """Return the rule itself."""
        names, sides = order_of(symbols), self.long + self.short

        def weights(view: View) -> np.ndarray:
            signal = signals(view)
            known = len(signal) - int(np.count_nonzero(signal != signal))
            if known < 2:  # one symbol is neither the top nor the bottom of anything
                return np.where(np.isnan(signal), np.nan, 0.0)
            count = max(int(self.fraction * known + 1e-9), 1)
            size = self.gross / (sides * count)
            return sides_of(signal, names, count * self.long, count * self.short, size, size)

        return weights


@dataclass(frozen=True)
class EqualWeight(Sizing):
    """The same weight in every symbol that can be traded, whatever the forecasts: the portfolio to beat.

    Examples
    --------
    >>> from longshort.portfolio import view_of
    >>> EqualWeight().stepper(("A", "B"))(view_of(("A", "B")))
    array([0.5, 0.5])
    """

    def sizer(self, symbols: tuple[str, ...]) -> Step:
        """Return the rule itself."""

        def weights(view: View) -> np.ndarray:
            open_ = (view.state == 0) & (view.price > 0) & (view.price < np.inf)
            return np.where(open_, self.gross / max(np.count_nonzero(open_), 1), np.nan)

        return weights


@dataclass(frozen=True)
class Positions(Sizing):
    """Do what a network trained on positions says (`LSTM(loss="sharpe")`).

    Each symbol has an equal part of `gross`, and takes as much of it as its position in [-1, 1] says.

    Examples
    --------
    >>> import numpy as np
    >>> from longshort.forecast import Forecast, TargetInfo
    >>> from longshort.portfolio import view_of
    >>> f = Forecast(np.arange(1), ("A", "B"), [[0.0, 0.0]], position=[[1.0, -0.5]], target=TargetInfo("return"))
    >>> Positions().stepper(f.symbols)(view_of(f.symbols, f.row(0)))
    array([ 0.5 , -0.25])
    """

    def sizer(self, symbols: tuple[str, ...]) -> Step:
        """Return the rule itself."""

        def weights(view: View) -> np.ndarray:
            if view.forecast is None:
                return np.full(len(symbols), np.nan)
            if view.forecast.position is None:
                raise InputError(
                    "Positions follows a network trained on positions, and this forecast has none. Train with "
                    "loss='sharpe', or use LongShort."
                )
            said = usable(view, view.forecast.position)
            known = max(len(said) - int(np.count_nonzero(said != said)), 1)
            return np.maximum(np.minimum(said, 1.0), -1.0) * (self.gross / known)

        return weights


def order_of(symbols: tuple[str, ...]) -> np.ndarray:
    """Return each symbol's place in the alphabet, (n_symbols,)."""
    places = np.empty(len(symbols), dtype=np.int64)
    places[np.argsort(np.array(symbols, dtype=object), kind="stable")] = np.arange(len(symbols))
    return places


def sides_of(
    signal: np.ndarray, names: np.ndarray, n_long: int, n_short: int, long_size: float, short_size: float
) -> np.ndarray:
    """Return weights of the best and the worst, ties in the order of names; NaN where there is no signal."""
    best = np.lexsort((names, -signal))  # NaN last
    known = len(signal) - int(np.count_nonzero(signal != signal))
    weights = np.where(signal == signal, 0.0, np.nan)
    weights[best[:n_long]] = long_size
    weights[best[known - n_short : known]] = -short_size
    return weights
