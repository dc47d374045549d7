"""Indicators, each a formula over the feature language.

Recursive ones are seeded as TA-Lib seeds them and agree with it to 1e-10; they stay silent (NaN) until the seed is
forgotten, which TA-Lib does not, so they start later. Where a formula is 0/0 on a market that stands still, the
indicator says what neither bull nor bear would: RSI and stochastic 50, %b 0.5, volume ratio 1, correlation 0.
"""

from typing import NamedTuple

from ..errors import InputError, UnknownName, did_you_mean
from .expressions import Feature, field
from .operators import whole


def simple_return(n: int = 1) -> Feature:
    """Return of the close over `n` bars: close / close n bars ago - 1.

    Examples
    --------
    >>> from longshort import features as f
    >>> f.simple_return(5)
    Feature('return_5', warmup=5)
    """
    whole(n, "simple_return", 1)
    close = field("close")
    return (close / close.lag(n) - 1).rename(f"return_{n}")


def log_return(n: int = 1) -> Feature:
    """Log return of the close over `n` bars.

    Examples
    --------
    >>> from longshort import features as f
    >>> f.log_return().rolling_std(20)
    Feature('log_return_1.rolling_std(20)', warmup=20)
    """
    whole(n, "log_return", 1)
    close = field("close")
    return (close / close.lag(n)).log().rename(f"log_return_{n}")


def momentum(n: int = 10) -> Feature:
    """Change of the close over `n` bars, in price units.

    What is learned from it at one level of prices says little at another: for a model use `roc` or `log_return`, which
    have none.

    Examples
    --------
    >>> from longshort import features as f
    >>> f.momentum(10).name
    'momentum_10'
    """
    return field("close").diff(n).rename(f"momentum_{n}")


def roc(n: int = 10) -> Feature:
    """Rate of change: the simple return over `n` bars in percent.

    Examples
    --------
    >>> from longshort import features as f
    >>> f.roc(10).warmup
    10
    """
    return (simple_return(n) * 100).rename(f"roc_{n}")


def sma(n: int = 20) -> Feature:
    """Mean of the last `n` closes.

    Examples
    --------
    >>> from longshort import features as f
    >>> f.sma(50)
    Feature('sma_50', warmup=49)
    """
    return field("close").rolling_mean(n).rename(f"sma_{n}")


def sma_ratio(n: int = 20) -> Feature:
    """Close over the mean of the last `n` closes.

    Examples
    --------
    >>> from longshort import features as f
    >>> (f.sma_ratio(10) / f.sma_ratio(50)).name
    'sma_10_ratio / sma_50_ratio'
    """
    return (field("close") / sma(n)).rename(f"sma_{n}_ratio")


def ema(n: int = 20) -> Feature:
    """Exponential mean of the close with weight 2 / (n + 1), seeded by the mean of the first `n`.

    Examples
    --------
    >>> from longshort import features as f
    >>> f.ema(20)
    Feature('ema_20', warmup=319)
    """
    return field("close").ema(n).rename(f"ema_{n}")


def ema_ratio(n: int = 20) -> Feature:
    """Close over its exponential mean.

    Examples
    --------
    >>> from longshort import features as f
    >>> f.ema_ratio(12).name
    'ema_12_ratio'
    """
    return (field("close") / ema(n)).rename(f"ema_{n}_ratio")


def volatility(n: int = 20) -> Feature:
    """Sample standard deviation of the last `n` log returns, per bar (multiply by the root of 252 for a year of days).

    Examples
    --------
    >>> from longshort import features as f
    >>> f.volatility(20).warmup
    20
    """
    return log_return().rolling_std(n).rename(f"volatility_{n}")


def rsi(n: int = 14, smoothing: str = "wilder") -> Feature:
    """Relative strength index, 0 to 100: the mean of gains over that of all moves; 50 when nothing moved.

    Parameters
    ----------
    n : int, default=14
        Bars in the mean.
    smoothing : {"wilder", "simple"}, default="wilder"
        Wilder's exponential mean (1978), as charts show it, which remembers hundreds of bars; or the plain mean of the
        last `n` moves (Cutler's variant), which forgets after `n`.

    Examples
    --------
    >>> from longshort import features as f
    >>> f.rsi(14), f.rsi(14, smoothing="simple")
    (Feature('rsi_14', warmup=418), Feature('rsi_14_simple', warmup=14))
    """
    whole(n, "rsi", 1)
    if smoothing not in ("wilder", "simple"):
        advice = did_you_mean(str(smoothing), ("wilder", "simple"))
        raise UnknownName(f"rsi's smoothing was {smoothing!r}. {advice}")
    change = field("close").diff()
    gain = change.maximum(0)
    loss = gain - change
    if smoothing == "simple":
        gain, loss = gain.rolling_mean(n), loss.rolling_mean(n)
        return (gain.divided_by(gain + loss, otherwise=0.5) * 100).rename(f"rsi_{n}_simple")
    gain, loss = gain.wilder(n), loss.wilder(n)
    return (gain.divided_by(gain + loss, otherwise=0.5) * 100).rename(f"rsi_{n}")


class Macd(NamedTuple):
    """The three series of `macd`.

    Examples
    --------
    >>> from longshort import features as f
    >>> f.macd().histogram.name
    'macd_12_26_9_histogram'
    """

    line: Feature
    signal: Feature
    histogram: Feature


def macd(fast: int = 12, slow: int = 26, signal: int = 9) -> Macd:
    """Moving average convergence/divergence of the close: line, signal and histogram, in price units.

    Examples
    --------
    >>> from longshort import features as f
    >>> line, signal, histogram = f.macd(12, 26, 9)
    >>> (line / f.field("close")).name
    'macd_12_26_9 / close'
    """
    for value, what in ((fast, "macd's fast"), (slow, "macd's slow"), (signal, "macd's signal")):
        whole(value, what, 1)
    if not fast < slow:
        raise InputError(f"macd needs fast < slow, was {fast} and {slow}. The usual pair is 12 and 26.")
    close = field("close")
    quick = close.exponential_mean(2.0 / (fast + 1), seed=fast, skip=slow - fast)  # both start with the same bar
    line, name = quick - close.ema(slow), f"macd_{fast}_{slow}_{signal}"
    smooth = line.ema(signal)
    return Macd(line.rename(name), smooth.rename(f"{name}_signal"), (line - smooth).rename(f"{name}_histogram"))


class Bollinger(NamedTuple):
    """The five series of `bollinger`.

    Examples
    --------
    >>> from longshort import features as f
    >>> f.bollinger(20).width.name
    'bollinger_20_width'
    """

    upper: Feature
    middle: Feature
    lower: Feature
    percent_b: Feature
    width: Feature


def bollinger(n: int = 20, deviations: float = 2.0) -> Bollinger:
    """Bollinger bands of the close: upper, middle, lower, %b (0 at the lower band, 1 at the upper) and width / middle.

    Examples
    --------
    >>> from longshort import features as f
    >>> f.bollinger(20).percent_b
    Feature('bollinger_20_percent_b', warmup=19)
    >>> len(f.FeatureSet([f.log_return(), f.bollinger(20)]))
    6
    """
    if not isinstance(deviations, int | float) or not 0 < deviations < 1e6:
        raise InputError(f"bollinger's deviations must be a positive number, was {deviations!r}.")
    close, name = field("close"), f"bollinger_{n}" if deviations == 2 else f"bollinger_{n}_{deviations:g}"
    middle, reach = sma(whole(n, "bollinger", 2)), close.rolling_std(n, ddof=0) * deviations
    upper, lower = middle + reach, middle - reach
    return Bollinger(
        upper.rename(f"{name}_upper"),
        middle.rename(f"{name}_middle"),
        lower.rename(f"{name}_lower"),
        (close - lower).divided_by(upper - lower, otherwise=0.5).rename(f"{name}_percent_b"),
        ((upper - lower) / middle).rename(f"{name}_width"),
    )


def true_range() -> Feature:
    """High to low of the bar, with the close before it counted in.

    Examples
    --------
    >>> from longshort import features as f
    >>> f.true_range().warmup
    1
    """
    high, low, before = field("high"), field("low"), field("close").lag()
    return (high - low).maximum((high - before).abs()).maximum((low - before).abs()).rename("true_range")


def atr(n: int = 14) -> Feature:
    """Average true range: Wilder's mean of the true range, in price units.

    Examples
    --------
    >>> from longshort import features as f
    >>> (f.atr(14) / f.field("close")).name
    'atr_14 / close'
    """
    return true_range().wilder(n).rename(f"atr_{n}")


class Stochastic(NamedTuple):
    """The two series of `stochastic`.

    Examples
    --------
    >>> from longshort import features as f
    >>> f.stochastic(14).d.name
    'stochastic_14_d'
    """

    k: Feature
    d: Feature


def stochastic(n: int = 14, smooth: int = 3, signal: int = 3) -> Stochastic:
    """Stochastic oscillator, 0 to 100: where the close lies in the range of `n` bars, smoothed, and its mean.

    Examples
    --------
    >>> from longshort import features as f
    >>> f.stochastic(14, smooth=3, signal=3).k.warmup
    15
    """
    low, high = field("low").rolling_min(n), field("high").rolling_max(n)
    k = ((field("close") - low).divided_by(high - low, otherwise=0.5) * 100).rolling_mean(smooth)
    return Stochastic(k.rename(f"stochastic_{n}_k"), k.rolling_mean(signal).rename(f"stochastic_{n}_d"))


def obv(n: int = 20) -> Feature:
    """On-balance volume of the last `n` bars: volume counted up on rising closes and down on falling ones.

    Notes
    -----
    The classic sum since the beginning depends on where the data began; this is its change over `n` bars.

    Examples
    --------
    >>> from longshort import features as f
    >>> f.obv(20).warmup
    20
    """
    signed = field("close").diff().sign() * field("volume")
    return signed.rolling_sum(n).rename(f"obv_{n}")


def volume_ratio(n: int = 20) -> Feature:
    """Volume over the mean of the last `n` volumes; 1 when nothing was traded in all of them.

    Examples
    --------
    >>> from longshort import features as f
    >>> f.volume_ratio(20).name
    'volume_ratio_20'
    """
    volume = field("volume")
    return volume.divided_by(volume.rolling_mean(n), otherwise=1.0).rename(f"volume_ratio_{n}")


# ------------------------------------------------------------------------------------------------------ other series
def covariance(other: "str | Feature", n: int = 20) -> Feature:
    """Covariance of the log returns with those of another symbol or series over `n` bars.

    Parameters
    ----------
    other : str or Feature
        A symbol in the bars, or a feature of positive levels such as ``field("vix")``.
    n : int, default=20
        Bars in the window.

    Examples
    --------
    >>> from longshort import features as f
    >>> f.covariance("SPY", 60)
    Feature('covariance_SPY_60', warmup=60)
    """
    name, level = _other(other)
    return log_return().rolling_cov(_log_change(level), n).rename(f"covariance_{name}_{n}")


def correlation(other: "str | Feature", n: int = 20) -> Feature:
    """Correlation of the log returns with those of another symbol or series over `n` bars.

    Examples
    --------
    >>> from longshort import features as f
    >>> f.correlation(f.field("vix"), 20).name
    'correlation_vix_20'
    """
    name, level = _other(other)
    return log_return().rolling_corr(_log_change(level), n).rename(f"correlation_{name}_{n}")


def beta(other: "str | Feature", n: int = 60) -> Feature:
    """Slope of the log returns on those of another symbol or series over `n` bars.

    Examples
    --------
    >>> from longshort import features as f
    >>> f.beta("SPY").name
    'beta_SPY_60'
    """
    name, level = _other(other)
    return log_return().rolling_beta(_log_change(level), n).rename(f"beta_{name}_{n}")


def spread(other: "str | Feature", n: int = 20) -> Feature:
    """Log price ratio to another symbol or series, in standard deviations from its mean over `n` bars.

    Examples
    --------
    >>> from longshort import features as f
    >>> f.spread("IBM", 60).warmup
    59
    """
    name, level = _other(other)
    ratio = (field("close") / level).log()
    stretch = (ratio - ratio.rolling_mean(n)).divided_by(ratio.rolling_std(n), otherwise=0.0)
    return stretch.rename(f"spread_{name}_{n}")


def _other(other: "str | Feature") -> tuple[str, Feature]:
    if isinstance(other, str):
        return other, field("close", symbol=other)
    if isinstance(other, Feature):
        return other.name, other
    raise InputError(f"The other series must be a symbol or a feature such as field('vix'), was {other!r}.")


def _log_change(level: Feature) -> Feature:
    return (level / level.lag()).log()


# -------------------------------------------------------------------------------------------------------------- sets
def calendar() -> tuple[Feature, ...]:
    """Return what the date alone tells: weekday and month on a circle, days since the last bar, turn of the month.

    Notes
    -----
    All of it is known when the bar is. The date is that of the moment in UTC; midnight belongs to the day it ends.

    Examples
    --------
    >>> from longshort import features as f
    >>> [feature.name for feature in f.calendar()][:3]
    ['weekday_sin', 'weekday_cos', 'month_sin']
    """

    def time(what: str) -> Feature:
        return Feature("time", (), (("what", what),))

    def circle(turns: Feature, name: str) -> list[Feature]:
        parts = ((turns, "sin"), (turns + 0.25, "cos"))
        return [Feature("sine", (x,)).rename(f"{name}_{part}") for x, part in parts]

    since = (time("seconds").diff() / 86_400).rename("days_since_last_bar")
    turn = (time("days_to_month_end") <= 1).maximum(time("day") <= 3).rename("turn_of_month")
    return (*circle(time("weekday") / 7, "weekday"), *circle((time("month") - 1) / 12, "month"), since, turn)


def technical() -> tuple[Feature, ...]:
    """Return the default inputs: twelve stationary views of open, high, low, close and volume.

    All of them look back over a fixed number of bars, 49 at most: exponential means, which remember hundreds, would
    cost a short history its first year and a half.

    Examples
    --------
    >>> from longshort import features as f
    >>> inputs = f.FeatureSet(f.technical())
    >>> print(*inputs.names[:8])
    log_return_1 log_return_5 log_return_20 sma_10_ratio sma_50_ratio rsi oscillator stochastic
    >>> inputs.warmup
    49
    """
    close = field("close")
    return (
        log_return(1),
        log_return(5),
        log_return(20),
        sma_ratio(10),
        sma_ratio(50),
        (rsi(14, smoothing="simple") / 100).rename("rsi"),
        ((sma(12) - sma(26)) / close).rename("oscillator"),
        (stochastic(14).k / 100).rename("stochastic"),
        bollinger(20).percent_b.rename("percent_b"),
        (true_range().rolling_mean(14) / close).rename("range"),
        volatility(20),
        volume_ratio(20),
    )


def tutorial() -> tuple[Feature, ...]:
    """Return the columns of the widely copied tutorial recipe for LSTM inputs, in its order and under its names.

    Examples
    --------
    >>> from longshort import features as f
    >>> print(*f.FeatureSet(f.tutorial()).names)
    close high low volume returns log_returns volatility sma_5 sma_5_ratio sma_10 sma_10_ratio sma_20 sma_20_ratio \
sma_50 sma_50_ratio volume_sma volume_ratio
    """
    returns = simple_return().rename("returns")
    prices = [field(name) for name in ("close", "high", "low", "volume")]
    means = [part for n in (5, 10, 20, 50) for part in (sma(n), sma_ratio(n))]
    volume = field("volume").rolling_mean(20).rename("volume_sma")
    return (
        *prices,
        returns,
        log_return().rename("log_returns"),
        returns.rolling_std(20).rename("volatility"),
        *means,
        volume,
        volume_ratio(20).rename("volume_ratio"),
    )
