"""Entries that compute columns: features whose rows know later rows, and how to write them so that they do not."""

from typing import Any

import numpy as np

from .register import Frame, leak, twin

# -------------------------------------------------------------------------------- scaled with all the data


@leak()
def global_zscore(frame: Frame) -> Frame:
    """The close, standardised with mean and deviation of all rows."""
    return (frame["close"] - frame["close"].mean()) / frame["close"].std()


@twin("global_zscore")
def trailing_zscore(frame: Frame) -> Frame:
    """The close, standardised with the last 60 rows."""
    window = frame["close"].rolling(60)
    return (frame["close"] - window.mean()) / window.std()


@leak()
def global_minmax(frame: Frame) -> Frame:
    """All columns between their smallest and largest value, as MinMaxScaler().fit_transform(frame) does."""
    columns = frame[["open", "high", "low", "close", "volume"]]
    return (columns - columns.min()) / (columns.max() - columns.min())


@twin("global_minmax")
def expanding_minmax(frame: Frame) -> Frame:
    """The close between the smallest and largest value so far."""
    low, high = frame["close"].expanding().min(), frame["close"].expanding().max()
    return (frame["close"] - low) / (high - low)


@twin("global_minmax", train=600)
def scaled_on_training_rows(frame: Frame) -> Frame:
    """All columns scaled with the first 600 rows, which only train."""
    columns = frame[["open", "high", "low", "close", "volume"]]
    known = columns.iloc[:600]
    return (columns - known.mean()) / known.std()


@leak()
def rank_in_history(frame: Frame) -> Frame:
    """The percentile of the volume among all rows."""
    return frame["volume"].rank(pct=True)


@twin("rank_in_history")
def rank_so_far(frame: Frame) -> Frame:
    """The percentile of the volume among the last 250 rows."""
    return frame["volume"].rolling(250).rank(pct=True)


@leak()
def quantile_bins(frame: Frame) -> Frame:
    """Which tenth of all returns a return falls into."""
    import pandas as pd

    return pd.qcut(frame["close"].pct_change(), 10, labels=False)


@leak()
def clipped_at_quantiles(frame: Frame) -> Frame:
    """Returns clipped at the 1 % and 99 % quantiles of all returns."""
    change = frame["close"].pct_change()
    return change.clip(change.quantile(0.01), change.quantile(0.99))


@twin("clipped_at_quantiles")
def clipped_so_far(frame: Frame) -> Frame:
    """Returns clipped at the 1 % and 99 % quantiles of the returns so far."""
    change = frame["close"].pct_change()
    so_far = change.expanding(50)
    return change.clip(so_far.quantile(0.01), so_far.quantile(0.99))


@leak()
def median_fill(frame: Frame) -> Frame:
    """Missing values of a moving average replaced by its median."""
    average = frame["close"].rolling(20).mean()
    return average.fillna(average.median())


@leak()
def regime_by_median(frame: Frame) -> Frame:
    """High or low volatility, measured against the median of all rows."""
    volatility = frame["close"].pct_change().rolling(20).std()
    return (volatility > volatility.median()).astype(float)


@twin("regime_by_median")
def regime_so_far(frame: Frame) -> Frame:
    """High or low volatility, measured against the median so far."""
    volatility = frame["close"].pct_change().rolling(20).std()
    return (volatility > volatility.expanding().median()).astype(float)


@leak()
def principal_component(frame: Frame) -> np.ndarray:
    """The first principal component, its loadings computed from all rows."""
    columns = frame[["open", "high", "low", "close"]].pct_change().fillna(0.0).to_numpy()
    return columns @ np.linalg.eigh(np.cov(columns.T))[1][:, -1]


@twin("principal_component", train=500)
def principal_component_of_training(frame: Frame) -> np.ndarray:
    """The first principal component, its loadings computed from the first 500 rows, which only train."""
    columns = frame[["open", "high", "low", "close"]].pct_change().fillna(0.0).to_numpy()
    return columns @ np.linalg.eigh(np.cov(columns[:500].T))[1][:, -1]


@leak()
def detrended(frame: Frame) -> np.ndarray:
    """The log close without the straight line through all rows."""
    price, row = np.log(frame["close"].to_numpy()), np.arange(len(frame))
    return price - np.polyval(np.polyfit(row, price, 1), row)


@twin("detrended")
def detrended_so_far(frame: Frame) -> Frame:
    """The log close minus its exponential mean."""
    price = np.log(frame["close"])
    return price - price.ewm(span=60).mean()


@leak()
def hedge_residual(frame: Frame) -> Frame:
    """What the volume does not explain of the range, the slope estimated from all rows."""
    wide, traded = np.log(frame["high"] / frame["low"]), np.log(frame["volume"])
    return wide - traded * wide.cov(traded) / traded.var()


@twin("hedge_residual")
def hedge_residual_so_far(frame: Frame) -> Frame:
    """What the volume does not explain of the range, the slope estimated from the last 100 rows."""
    wide, traded = np.log(frame["high"] / frame["low"]), np.log(frame["volume"])
    return wide - traded * wide.rolling(100).cov(traded) / traded.rolling(100).var()


# -------------------------------------------------------------------------------- windows to both sides


@leak()
def centred_mean(frame: Frame) -> Frame:
    """A moving average centred on its row."""
    return frame["close"].rolling(11, center=True).mean()


@twin("centred_mean")
def trailing_mean(frame: Frame) -> Frame:
    """A moving average of the row and those before."""
    return frame["close"].rolling(11).mean()


@leak()
def smoothed_both_ways(frame: Frame) -> Frame:
    """An exponential mean run forwards, then backwards, so that it does not lag."""
    return frame["close"].ewm(span=10).mean()[::-1].ewm(span=10).mean()[::-1]


@twin("smoothed_both_ways")
def smoothed(frame: Frame) -> Frame:
    """An exponential mean, which lags."""
    return frame["close"].ewm(span=10).mean()


@leak()
def symmetric_kernel(frame: Frame) -> np.ndarray:
    """A denoising filter: convolution with mode='same'."""
    kernel = np.hanning(9)
    return np.convolve(frame["close"].to_numpy(), kernel / kernel.sum(), mode="same")


@twin("symmetric_kernel")
def one_sided_kernel(frame: Frame) -> np.ndarray:
    """The same kernel over the row and those before."""
    kernel = np.hanning(9)
    return np.convolve(frame["close"].to_numpy(), kernel / kernel.sum())[: len(frame)]


@leak()
def fourier_denoised(frame: Frame) -> np.ndarray:
    """The log close from its 20 lowest frequencies, in the fashion of wavelet and Fourier denoising."""
    price = np.log(frame["close"].to_numpy())
    spectrum = np.fft.rfft(price)
    spectrum[20:] = 0.0
    return np.fft.irfft(spectrum, len(price))


@leak()
def pivot_high(frame: Frame) -> Frame:
    """Whether the high is the highest of the two rows before and after: a fractal, a zigzag."""
    return (frame["high"] == frame["high"].rolling(5, center=True).max()).astype(float)


@twin("pivot_high")
def confirmed_pivot_high(frame: Frame) -> Frame:
    """The same fractal, told two rows later, when it is known."""
    return (frame["high"].shift(2) == frame["high"].rolling(5).max()).astype(float)


# -------------------------------------------------------------------------------- filled backwards


@leak()
def warmup_backfilled(frame: Frame) -> Frame:
    """A moving average whose warm-up is filled with its first value."""
    return frame["close"].rolling(20).mean().bfill()


@leak()
def gaps_backfilled(frame: Frame) -> Frame:
    """Missing closes replaced by the next one."""
    return frame["close"].bfill()


@twin("gaps_backfilled")
def gaps_forward_filled(frame: Frame) -> Frame:
    """Missing closes replaced by the last one, for at most five rows."""
    return frame["close"].ffill(limit=5)


@leak()
def interpolated(frame: Frame) -> Frame:
    """Missing closes on the straight line between their neighbours."""
    return frame["close"].interpolate()


@leak()
def nearest_report(frame: Frame) -> Frame:
    """The week's close joined to the nearest row, before or after (merge_asof with direction='nearest')."""
    import pandas as pd

    weekly = frame["close"].iloc[::5].rename("level").reset_index()
    days = pd.DataFrame({"time": frame.index})
    return pd.merge_asof(days, weekly, on="time", direction="nearest").set_index("time")["level"]


@twin("nearest_report")
def last_report(frame: Frame) -> Frame:
    """The week's close joined to the rows from then on."""
    import pandas as pd

    weekly = frame["close"].iloc[::5].rename("level").reset_index()
    days = pd.DataFrame({"time": frame.index})
    return pd.merge_asof(days, weekly, on="time", direction="backward").set_index("time")["level"]


# -------------------------------------------------------------------------------- off by one


@leak()
def label_as_feature(frame: Frame) -> Frame:
    """Features beside the column that is to be forecast."""
    change = frame["close"].pct_change()
    return frame[["close"]].assign(change=change, target=change.shift(-1))


@twin("label_as_feature", labels={"target": 1})
def label_declared(frame: Frame) -> Frame:
    """The same table, its outcome declared as such."""
    change = frame["close"].pct_change()
    return frame[["close"]].assign(change=change, target=change.shift(-1))


@leak()
def one_row_ahead(frame: Frame) -> Frame:
    """A moving average shifted the wrong way."""
    return frame["close"].rolling(10).mean().shift(-1)


@twin("one_row_ahead")
def one_row_late(frame: Frame) -> Frame:
    """A moving average shifted the right way."""
    return frame["close"].rolling(10).mean().shift(1)


@leak(output="values")
def label_one_row_early(frame: Frame) -> tuple[Any, Any]:
    """Inputs and an outcome that is already known: today's return for today's inputs."""
    change = frame["close"].pct_change()
    return frame[["close", "volume"]].assign(change=change), change.rename("outcome")


@twin("label_one_row_early")
def inputs_and_outcome(frame: Frame) -> tuple[Any, Any]:
    """Inputs, and the next return as outcome."""
    change = frame["close"].pct_change()
    return frame[["close", "volume"]].assign(change=change), change.shift(-1).rename("outcome")


@leak(labels={"outcome": 1})
def label_longer_than_said(frame: Frame) -> Frame:
    """An outcome over five rows declared (and so purged) as one over one row."""
    return frame[["close"]].assign(outcome=frame["close"].shift(-5) / frame["close"] - 1)


@leak()
def overnight_gap(frame: Frame) -> Frame:
    """The gap to the next open, told at the close before it."""
    return frame["open"].shift(-1) / frame["close"] - 1


@twin("overnight_gap")
def overnight_gap_known(frame: Frame) -> Frame:
    """The gap from the last close to this open, told at this close."""
    return frame["open"] / frame["close"].shift(1) - 1


@leak()
def drawdown_to_come(frame: Frame) -> Frame:
    """How far the close will fall from here: a cumulative minimum taken from the end."""
    return frame["close"][::-1].cummin()[::-1] / frame["close"] - 1


@twin("drawdown_to_come")
def drawdown(frame: Frame) -> Frame:
    """How far the close has fallen from its highest so far."""
    return frame["close"] / frame["close"].cummax() - 1


@leak()
def one_leak_in_a_million(frame: Frame) -> Frame:
    """A moving average and, in its twelfth digit, the next return."""
    change = frame["close"].pct_change()
    return change.rolling(20).mean() + 1e-12 * change.shift(-1).fillna(0.0)


# -------------------------------------------------------------------------------- longer bars, calendars


@leak()
def week_under_way(frame: Frame) -> Frame:
    """Every day carries the close of its own week."""
    week = frame.index.isocalendar()
    return frame["close"].groupby([week["year"].to_numpy(), week["week"].to_numpy()]).transform("last")


@leak()
def week_labelled_left(frame: Frame) -> Frame:
    """Weekly closes stamped with the beginning of their week, carried over the days."""
    weekly = frame["close"].resample("W-FRI", label="left", closed="right").last()
    return weekly.reindex(frame.index, method="ffill")


@twin("week_labelled_left")
def week_completed(frame: Frame) -> Frame:
    """Weekly closes stamped with the end of their week, carried over the days after."""
    weekly = frame["close"].resample("W-FRI", label="right", closed="right").last().shift(1)
    return weekly.reindex(frame.index, method="ffill")


@leak()
def month_high(frame: Frame) -> Frame:
    """The distance to the high of the month, its remaining days included."""
    month = frame.index.year * 12 + frame.index.month
    return frame["close"] / frame["high"].groupby(month).transform("max") - 1


@twin("month_high")
def month_high_so_far(frame: Frame) -> Frame:
    """The distance to the high of the month so far."""
    month = frame.index.year * 12 + frame.index.month
    return frame["close"] / frame["high"].groupby(month).cummax() - 1


@leak(market="hourly")
def session_range(frame: Frame) -> Frame:
    """Where an hour's close stands between low and high of its whole session."""
    day = frame.index.normalize()
    low, high = frame["low"].groupby(day).transform("min"), frame["high"].groupby(day).transform("max")
    return (frame["close"] - low) / (high - low)


@twin("session_range", market="hourly")
def session_range_so_far(frame: Frame) -> Frame:
    """Where an hour's close stands between low and high of its session so far."""
    day = frame.index.normalize()
    low, high = frame["low"].groupby(day).cummin(), frame["high"].groupby(day).cummax()
    return (frame["close"] - low) / (high - low)


@leak(market="hourly")
def daily_close_on_hours(frame: Frame) -> Frame:
    """Daily closes stamped with midnight, carried over the hours of the same day."""
    daily = frame["close"].resample("1D").last().dropna()
    return daily.reindex(frame.index, method="ffill")


@leak()
def days_to_next_bar(frame: Frame) -> np.ndarray:
    """How many days until the next row: unscheduled closures included."""
    days = np.diff(frame.index.asi8) / 86_400e9
    return np.r_[days, 1.0]


@twin("days_to_next_bar")
def days_since_last_bar(frame: Frame) -> np.ndarray:
    """How many days since the last row."""
    days = np.diff(frame.index.asi8) / 86_400e9
    return np.r_[1.0, days]


@leak()
def last_row_of_month(frame: Frame) -> np.ndarray:
    """Whether no further row of the month follows, read from the rows that follow."""
    month = np.asarray(frame.index.month)
    return np.r_[month[1:] != month[:-1], True]


@twin("last_row_of_month")
def day_of_month(frame: Frame) -> np.ndarray:
    """The day of the month and of the week."""
    return np.column_stack([frame.index.day, frame.index.day_of_week])


@leak()
def share_of_history(frame: Frame) -> np.ndarray:
    """The number of the row, as a share of all rows there will ever be."""
    return np.arange(len(frame)) / len(frame)


@twin("share_of_history")
def row_number(frame: Frame) -> np.ndarray:
    """The number of the row."""
    return np.arange(len(frame), dtype=float)


# -------------------------------------------------------------------------------- revised and adjusted


@leak()
def back_adjusted(frame: Frame) -> Frame:
    """Closes divided by the splits that come after them."""
    later = frame["split"][::-1].cumprod()[::-1].shift(-1).fillna(1.0)
    return frame["close"] / later


@twin("back_adjusted")
def forward_adjusted(frame: Frame) -> Frame:
    """Closes multiplied by the splits so far."""
    return frame["close"] * frame["split"].cumprod()


@leak(market="reports", facts={"vintage": "point in time"})
def backdated_earnings(frame: Frame) -> Frame:
    """Earnings moved from the day they were published to the quarter they are about: 30 rows earlier."""
    return frame["earnings"].shift(-30)


@twin("backdated_earnings", market="reports", facts={"vintage": "point in time"})
def published_earnings(frame: Frame) -> Frame:
    """Earnings from the day they were published."""
    return frame["earnings"] / frame["close"]


# -------------------------------------------------------------------------------- many symbols


@leak(market="panel", given="panel")
def survivors_rank(frame: Frame) -> Frame:
    """Momentum ranked among the symbols that have a price in the last row."""
    close = frame["close"].ffill(limit=1)
    alive = close.columns[close.iloc[-1].notna()]
    return close[alive].pct_change(20, fill_method=None).rank(axis=1, pct=True)


@twin("survivors_rank", market="panel", given="panel")
def rank_of_the_day(frame: Frame) -> Frame:
    """Momentum ranked among the symbols that have a price on the day."""
    return frame["close"].pct_change(20, fill_method=None).rank(axis=1, pct=True)


@leak(market="panel", given="panel")
def most_liquid(frame: Frame) -> Frame:
    """Returns of the three symbols with the largest mean volume of all rows."""
    chosen = frame["volume"].mean().nlargest(3).index
    return frame["close"][chosen].pct_change(fill_method=None)


@twin("most_liquid", market="panel", given="panel")
def most_liquid_so_far(frame: Frame) -> Frame:
    """Returns of the three symbols with the largest mean volume of the last 60 rows."""
    volume = frame["volume"].rolling(60).mean()
    return frame["close"].pct_change(fill_method=None).where(volume.rank(axis=1, ascending=False) <= 3)


@leak(market="panel", given="long")
def shifted_across_symbols(frame: Frame) -> Frame:
    """Lagged closes of a long table without groupby: a symbol's first row gets the last row of the one above it."""
    return frame[["symbol"]].assign(lagged=frame["close"].shift(1))


@twin("shifted_across_symbols", market="panel", given="long")
def shifted_by_symbol(frame: Frame) -> Frame:
    """Lagged closes of a long table, symbol by symbol."""
    return frame[["symbol"]].assign(lagged=frame.groupby("symbol")["close"].shift(1))


@leak(market="panel", given="long")
def symbol_encoding(frame: Frame) -> Frame:
    """Each symbol encoded by the mean of what is to be forecast."""
    outcome = frame.groupby("symbol")["close"].pct_change(fill_method=None).groupby(frame["symbol"]).shift(-1)
    return frame[["symbol"]].assign(encoded=outcome.groupby(frame["symbol"]).transform("mean"))


@leak()
def weekday_encoding(frame: Frame) -> Frame:
    """Each weekday encoded by the mean of the next returns after such days, in all rows."""
    outcome = frame["close"].pct_change().shift(-1)
    return outcome.groupby(frame.index.day_of_week).transform("mean")


@twin("weekday_encoding")
def weekday_encoding_so_far(frame: Frame) -> Frame:
    """Each weekday encoded by the mean of the next returns after earlier such days, as far as these are over."""
    after = frame["close"].pct_change().shift(-1)
    day = frame.index.day_of_week
    return after.groupby(day).transform(lambda values: values.shift(1).expanding().mean())


# -------------------------------------------------------------------------------- not repeatable


@leak(expected="not judged")
def unseeded_noise(frame: Frame) -> Frame:
    """A feature with noise from a generator without a seed: it cannot be judged, and must not be called a leak."""
    return frame["close"].pct_change() + np.random.default_rng().normal(0.0, 1e-4, len(frame))


@twin("unseeded_noise")
def seeded_noise(frame: Frame) -> Frame:
    """A feature with noise whose generator has a seed."""
    return frame["close"].pct_change() + np.random.default_rng(0).normal(0.0, 1e-4, len(frame))
