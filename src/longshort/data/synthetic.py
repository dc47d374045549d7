"""Made-up markets whose truth is known: noise in which nothing can be found, and signals that must be found.

All of them return daily `Bars` with open, high, low, close and volume, prices that could be real, stamped at the closes
of the calendar "24/5" (Monday to Friday, until UTC midnight) from 2000-01-03 on; more than 20,000 bars are minutes of
"24/7". The same seed gives the same bits.
"""

from collections.abc import Sequence

import numpy as np

from .. import clock
from ..bars import Bars
from ..errors import InputError

_MOST_DAYS = 20_000  # about 77 years

__all__ = ["correlation_switch", "from_log_returns", "garch", "planted_signal", "random_walk", "student_t"]


def random_walk(
    n: int,
    symbols: str | Sequence[str] | int = "WALK",
    seed: int = 0,
    *,
    volatility: float = 0.01,
    drift: float = 0.0,
    start: str = "2000-01-03",
) -> Bars:
    """Return bars whose log closes are a random walk: tomorrow's return cannot be predicted from anything.

    Parameters
    ----------
    n : int
        Number of bars.
    symbols : str, sequence of str, or int, default="WALK"
        Names of independent walks; a number makes that many.
    seed : int, default=0
        Another seed, another market.
    volatility : float, default=0.01
        Standard deviation of the daily log return.
    drift : float, default=0
        Mean of the daily log return.
    start : str, default="2000-01-03"
        First session.

    Examples
    --------
    >>> bars = random_walk(2500, seed=1)
    >>> float(np.diff(np.log(bars["close"][:, 0])).std().round(3))
    0.01
    """
    names, rng = _names(symbols), _rng(seed, 1)
    returns = drift + volatility * rng.standard_normal((_length(n), len(names)))
    return from_log_returns(returns, names, seed=seed, start=start)


def student_t(
    n: int,
    symbols: str | Sequence[str] | int = "TAILS",
    seed: int = 0,
    *,
    degrees: float = 3.0,
    volatility: float = 0.01,
    start: str = "2000-01-03",
) -> Bars:
    """Return a random walk with heavy tails: log returns from Student's t, scaled to `volatility`.

    Examples
    --------
    >>> moves = np.diff(np.log(student_t(2500, seed=1)["close"][:, 0]))
    >>> bool(np.abs(moves).max() > 6 * moves.std())  # a normal walk reaches about 3.5 standard deviations
    True
    """
    if not degrees > 2:
        raise InputError(f"Student's t needs more than 2 degrees of freedom to have a variance; degrees was {degrees}.")
    names, rng = _names(symbols), _rng(seed, 2)
    returns = rng.standard_t(degrees, (_length(n), len(names))) * (volatility / np.sqrt(degrees / (degrees - 2)))
    return from_log_returns(returns, names, seed=seed, start=start)


def garch(
    n: int,
    symbols: str | Sequence[str] | int = "GARCH",
    seed: int = 0,
    *,
    volatility: float = 0.01,
    alpha: float = 0.08,
    beta: float = 0.90,
    start: str = "2000-01-03",
) -> Bars:
    """Return bars whose volatility can be predicted and whose returns cannot: GARCH(1, 1).

    The variance of day t is h[t] = w + alpha r[t-1]^2 + beta h[t-1] with w such that its mean is `volatility`^2.

    Examples
    --------
    >>> moves = np.diff(np.log(garch(5000, seed=2)["close"][:, 0]))
    >>> size = np.abs(moves)
    >>> bool(abs(np.corrcoef(moves[1:], moves[:-1])[0, 1]) < 0.05), bool(np.corrcoef(size[1:], size[:-1])[0, 1] > 0.1)
    (True, True)
    """
    if not (alpha >= 0 and beta >= 0 and alpha + beta < 1):
        raise InputError(f"GARCH needs alpha, beta >= 0 with a sum below 1; they were {alpha} and {beta}.")
    names, rng = _names(symbols), _rng(seed, 3)
    shocks = rng.standard_normal((_length(n), len(names)))
    returns = np.zeros_like(shocks)
    variance = np.full(len(names), volatility**2)
    for t in range(n):
        returns[t] = np.sqrt(variance) * shocks[t]
        variance = (1 - alpha - beta) * volatility**2 + alpha * returns[t] ** 2 + beta * variance
    return from_log_returns(returns, names, seed=seed, start=start)


def planted_signal(
    n: int,
    symbols: str | Sequence[str] | int = "SIGNAL",
    seed: int = 0,
    *,
    ceiling_correlation: float = 0.70,
    carrier: str = "volume",
    volatility: float = 0.01,
    start: str = "2000-01-03",
) -> Bars:
    """Return bars whose next log return is partly written into the present row.

    With z and e independent standard normal numbers, the log return from row t to row t + 1 is ::

        r[t+1] = volatility x ( c z[t] + sqrt(1 - c^2) e[t+1] )

    where c is `ceiling_correlation`: nothing that only knows the past can correlate with r[t+1] better than c. z[t]
    stands in row t alone, so whoever leaves the decision row out of the window finds nothing.

    Parameters
    ----------
    n, symbols, seed, volatility, start
        As in `random_walk`.
    ceiling_correlation : float, default=0.70
        Correlation of the best possible forecast with the next log return; 0 plants nothing.
    carrier : {"volume", "return"}, default="volume"
        Where row t shows z[t]. "volume": log(volume / 1e6), the prices look like a random walk. "return": the row's own
        standardised log return, so that returns follow an autoregression of order 1 with coefficient c.

    Examples
    --------
    >>> bars = planted_signal(4000, seed=1)
    >>> shown = np.log(bars["volume"][:, 0] / 1e6)
    >>> moves = np.diff(np.log(bars["close"][:, 0]))
    >>> float(np.corrcoef(shown[:-1], moves)[0, 1].round(1)), float(np.corrcoef(shown[:-2], moves[1:])[0, 1].round(1))
    (0.7, -0.0)
    """
    c = ceiling_correlation
    if not -1 <= c <= 1:
        raise InputError(f"ceiling_correlation should lie in -1 .. 1; it was {c}.")
    if carrier not in ("volume", "return"):
        raise InputError(f"carrier should be 'volume' or 'return'; it was {carrier!r}.")
    names, rng = _names(symbols), _rng(seed, 4)
    shape = (_length(n), len(names))
    signal, noise = rng.standard_normal(shape), rng.standard_normal(shape)
    returns = np.empty(shape)
    returns[0] = noise[0]
    if carrier == "volume":
        returns[1:] = c * signal[:-1] + np.sqrt(1 - c * c) * noise[1:]
        return from_log_returns(volatility * returns, names, seed=seed, start=start, volume=1e6 * np.exp(signal))
    for t in range(1, n):
        returns[t] = c * returns[t - 1] + np.sqrt(1 - c * c) * noise[t]
    return from_log_returns(volatility * returns, names, seed=seed, start=start)


def correlation_switch(
    n: int,
    symbols: str | Sequence[str] | int = 10,
    seed: int = 0,
    *,
    correlations: tuple[float, float] = (0.1, 0.8),
    length: float = 80.0,
    volatility: tuple[float, float] = (0.007, 0.02),
    start: str = "2000-01-03",
) -> Bars:
    """Return bars whose correlations switch between two levels while nothing else changes.

    All pairs have the correlation of the regime in force. A regime ends on any bar with probability 1 / `length`.

    Parameters
    ----------
    n : int
        Number of bars.
    symbols : str, sequence of str, or int, default=10
        Names; a number makes that many.
    seed : int, default=0
        Another seed, another market.
    correlations : (float, float), default=(0.1, 0.8)
        Of every pair, by regime, each in [0, 1); the first bar is in the first.
    length : float, default=80
        Mean length of a regime in bars.
    volatility : (float, float), default=(0.007, 0.02)
        Daily deviation of the first symbol and of the last, those between in equal ratios: with equal ones, no
        correlation would matter to a portfolio.

    Examples
    --------
    >>> moves = np.diff(np.log(correlation_switch(3000, ["A", "B"], seed=1)["close"]), axis=0)
    >>> float(np.corrcoef(moves.T)[0, 1].round(1))      # between the two
    0.4
    """
    if not all(0 <= c < 1 for c in correlations):
        raise InputError(f"correlations must lie in [0, 1), were {correlations!r}.")
    if not length >= 1:
        raise InputError(f"length must be at least 1 bar, was {length!r}.")
    names, rng = _names(symbols), _rng(seed, 5)
    regime = np.cumsum(rng.random(_length(n)) < 1 / length) % 2
    common = np.asarray(correlations)[regime][:, None]
    shocks = np.sqrt(common) * rng.standard_normal((n, 1)) + np.sqrt(1 - common) * rng.standard_normal((n, len(names)))
    return from_log_returns(np.geomspace(*volatility, len(names)) * shocks, names, seed=seed, start=start)


def from_log_returns(
    returns: np.ndarray,
    symbols: str | Sequence[str] | int = "MADE",
    *,
    seed: int = 0,
    price: float = 100.0,
    volume: np.ndarray | None = None,
    start: str = "2000-01-03",
) -> Bars:
    """Return bars with given log returns of the close; open, high, low and volume are made up around it.

    Parameters
    ----------
    returns : float array (n_bars, n_symbols) or (n_bars,)
        Row t is log(close[t] / close[t - 1]), with `price` before the first row.
    symbols, seed, start
        As in `random_walk`.
    price : float, default=100
        Price before the first bar.
    volume : array, optional
        Shares traded; log-normal around a million when left out.

    Notes
    -----
    Look-ahead: open lies between the previous close and the close, high and low around both; all of a row depends on
    the row's own and earlier returns only.

    Examples
    --------
    >>> from_log_returns(np.log([1.01, 1.02]))["close"].ravel().round(3).tolist()
    [101.0, 103.02]
    """
    returns = np.asarray(returns, np.float64)
    returns = returns[:, None] if returns.ndim == 1 else returns
    names, rng = _names(symbols), _rng(seed, 0)
    if returns.shape != (_length(len(returns)), len(names)):
        raise InputError(f"returns should have one column per symbol ({len(names)}); the shape was {returns.shape}.")
    n = len(returns)
    close = price * np.exp(np.cumsum(returns, axis=0))
    before = np.vstack([np.full((1, len(names)), price), close[:-1]])
    opened = before * np.exp(returns * rng.uniform(0.0, 0.5, returns.shape))
    wick = np.exp(0.01 * rng.exponential(0.4, (2, *returns.shape)))
    high, low = np.maximum(opened, close) * wick[0], np.minimum(opened, close) / wick[1]
    if volume is None:
        volume = 1e6 * np.exp(0.3 * rng.standard_normal(returns.shape))
    fields = {"open": opened, "high": high, "low": low, "close": close, "volume": volume}
    if n > _MOST_DAYS:
        first = np.datetime64(start, "ns").astype(np.int64)
        time = first + clock.MINUTE * np.arange(1, n + 1)
        return Bars(time, names, fields, calendar="24/7", bar_size="1m", source="synthetic")
    time = clock.session_closes("24/5", clock.next_sessions("24/5", np.datetime64(start, "D") - 1, n))
    return Bars(time, names, fields, calendar="24/5", bar_size="1D", source="synthetic")


def _names(symbols: str | Sequence[str] | int) -> tuple[str, ...]:
    if isinstance(symbols, int):
        return tuple(f"S{i:03d}" for i in range(symbols))
    return (symbols,) if isinstance(symbols, str) else tuple(symbols)


def _length(n: int) -> int:
    if isinstance(n, bool) or n < 1:
        raise InputError(f"A market needs at least one bar; n was {n!r}.")
    return int(n)


def _rng(seed: int, stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64([stream, seed]))
