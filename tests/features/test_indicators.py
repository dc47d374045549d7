"""Indicators against TA-Lib (https://ta-lib.org, BSD licence) and pandas, and their values where a formula is 0/0."""

import numpy as np
import pandas as pd
import pytest

import longshort as ls
from longshort import features as f
from longshort.data.synthetic import random_walk
from longshort.errors import InputError, UnknownName

BARS = random_walk(1000, "X", seed=3)
OPEN, HIGH, LOW, CLOSE, VOLUME = (BARS[name][:, 0].copy() for name in ("open", "high", "low", "close", "volume"))
ORACLES = {
    "sma": (f.sma(20), lambda ta: ta.SMA(CLOSE, 20)),
    "ema": (f.ema(20), lambda ta: ta.EMA(CLOSE, 20)),
    "rsi": (f.rsi(14), lambda ta: ta.RSI(CLOSE, 14)),
    "rsi_2": (f.rsi(2), lambda ta: ta.RSI(CLOSE, 2)),
    "macd": (f.macd().line, lambda ta: ta.MACD(CLOSE)[0]),
    "macd_signal": (f.macd().signal, lambda ta: ta.MACD(CLOSE)[1]),
    "macd_histogram": (f.macd().histogram, lambda ta: ta.MACD(CLOSE)[2]),
    "macd_5_35_5": (f.macd(5, 35, 5).histogram, lambda ta: ta.MACD(CLOSE, 5, 35, 5)[2]),
    "upper": (f.bollinger(20).upper, lambda ta: ta.BBANDS(CLOSE, 20)[0]),
    "middle": (f.bollinger(20).middle, lambda ta: ta.BBANDS(CLOSE, 20)[1]),
    "lower": (f.bollinger(20).lower, lambda ta: ta.BBANDS(CLOSE, 20)[2]),
    "lower_3_sigma": (f.bollinger(33, 3.0).lower, lambda ta: ta.BBANDS(CLOSE, 33, 3, 3)[2]),
    "atr": (f.atr(14), lambda ta: ta.ATR(HIGH, LOW, CLOSE, 14)),
    "true_range": (f.true_range(), lambda ta: ta.TRANGE(HIGH, LOW, CLOSE)),
    "stochastic_k": (f.stochastic(14).k, lambda ta: ta.STOCH(HIGH, LOW, CLOSE, 14, 3, 0, 3, 0)[0]),
    "stochastic_d": (f.stochastic(14).d, lambda ta: ta.STOCH(HIGH, LOW, CLOSE, 14, 3, 0, 3, 0)[1]),
    "momentum": (f.momentum(10), lambda ta: ta.MOM(CLOSE, 10)),
    "roc": (f.roc(10), lambda ta: ta.ROC(CLOSE, 10)),
    "obv": (f.obv(20), lambda ta: _changes(ta.OBV(CLOSE, VOLUME), 20)),
    "rolling_min": (f.field("low").rolling_min(27), lambda ta: ta.MIN(LOW, 27)),
    "rolling_max": (f.field("high").rolling_max(64), lambda ta: ta.MAX(HIGH, 64)),
    "rolling_sum": (f.field("close").rolling_sum(31), lambda ta: ta.SUM(CLOSE, 31)),
    "rolling_corr": (f.field("close").rolling_corr(f.field("volume"), 30), lambda ta: ta.CORREL(CLOSE, VOLUME, 30)),
}


def _changes(series, n):
    return np.concatenate([np.full(n, np.nan), series[n:] - series[:-n]])


@pytest.mark.parametrize("name", ORACLES)
def test_an_indicator_agrees_with_ta_lib_to_1e_10(name):
    ta = pytest.importorskip("talib", reason="TA-Lib, the oracle of the indicators, is not installed")
    feature, oracle = ORACLES[name]
    values, expected = feature.compute(BARS)[:, 0], oracle(ta)
    first = max(feature.warmup, int(np.isfinite(expected).argmax()))
    scale = np.abs(expected[first:]).mean()
    np.testing.assert_allclose(values[first:], expected[first:], rtol=1e-10, atol=1e-10 * scale)


@pytest.mark.parametrize(
    ("feature", "expected"),
    [
        (f.log_return().rolling_std(20), lambda r: r.rolling(20).std()),
        (f.log_return().rolling_std(7, ddof=0), lambda r: r.rolling(7).std(ddof=0)),
        (f.log_return().rolling_cov(f.log_return().lag(2), 33), lambda r: r.rolling(33).cov(r.shift(2))),
        (f.log_return().rolling_corr(f.log_return().lag(), 21), lambda r: r.rolling(21).corr(r.shift(1))),
        (f.log_return().rolling_mean(250), lambda r: r.rolling(250).mean()),
        (f.log_return().exponential_mean(0.2), lambda r: r.ewm(alpha=0.2, adjust=False).mean()),
        (f.log_return().clip(-0.01, 0.005), lambda r: r.clip(-0.01, 0.005)),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_the_language_agrees_with_pandas(feature, expected):
    returns = pd.Series(np.log(CLOSE)).diff()
    values, w = feature.compute(BARS)[:, 0], feature.warmup
    np.testing.assert_allclose(values[w:], expected(returns).to_numpy()[w:], rtol=1e-9, atol=1e-14)


def test_tutorial_gives_the_columns_of_the_recipe():
    """The recipe as it is published, in pandas, on one symbol."""
    close, volume = pd.Series(CLOSE), pd.Series(VOLUME)
    recipe = pd.DataFrame({"close": close, "high": HIGH, "low": LOW, "volume": volume})
    recipe["returns"] = close.pct_change()
    recipe["log_returns"] = np.log(close).diff()
    recipe["volatility"] = recipe["returns"].rolling(20).std()
    for n in (5, 10, 20, 50):
        recipe[f"sma_{n}"] = close.rolling(n).mean()
        recipe[f"sma_{n}_ratio"] = close / recipe[f"sma_{n}"]
    recipe["volume_sma"] = volume.rolling(20).mean()
    recipe["volume_ratio"] = volume / recipe["volume_sma"]
    ours = f.FeatureSet(f.tutorial())
    assert ours.names == tuple(recipe.columns)
    values = ours.compute(BARS)[:, 0]
    assert ours.warmup == 49
    assert np.array_equal(np.isnan(values), recipe.isna().to_numpy())
    np.testing.assert_allclose(values[49:], recipe.to_numpy()[49:], rtol=1e-9, atol=1e-13)


def test_splits_of_apple_are_invisible_in_returns_and_volume():
    bars = ls.load_bars("AAPL", start="2014-05-01", end="2014-07-31", source="sample")
    day = int(np.flatnonzero(bars.dates == np.datetime64("2014-06-09"))[0])
    assert bars["close"][day, 0] / bars["close"][day - 1, 0] < 0.15  # 7:1 as traded
    assert abs(f.simple_return().compute(bars)[day, 0] - 0.016) < 0.001
    ratio = f.volume_ratio(10).compute(bars)[day, 0]
    assert 0.3 < ratio < 3.0


def test_prices_are_those_of_bars_adjusted_bit_by_bit():
    bars = ls.load_bars(["AAPL", "SPY"], start="2010-01-01", end="2020-12-31", source="sample")
    assert (bars.split > 1).sum() == 2
    assert (bars.dividend > 0).sum() > 50
    for name in ("open", "high", "low", "close", "volume"):
        assert np.array_equal(f.field(name).compute(bars), bars.adjusted(name), equal_nan=True)


def test_a_market_that_stands_still_is_neither_bull_nor_bear():
    flat = np.full((450, 1), 50.0)
    fields = {"open": flat, "high": flat, "low": flat, "close": flat, "volume": np.zeros((450, 1))}
    bars = ls.Bars.from_arrays(BARS.time[:450], "FLAT", fields, bar_size="1D")
    neutral = {
        f.rsi(14): 50.0, f.stochastic().k: 50.0, f.bollinger().percent_b: 0.5, f.volume_ratio(): 1.0,
        f.volatility(): 0.0, f.sma_ratio(50): 1.0, f.macd().line: 0.0, f.spread(f.field("high")): 0.0,
        f.correlation(f.field("high")): 0.0, f.beta(f.field("high")): 0.0,
    }  # fmt: skip
    for feature, value in neutral.items():
        assert feature.compute(bars)[-1, 0] == value, feature.name


def test_beta_and_spread_to_a_market():
    rng = np.random.default_rng(1)
    market, own = rng.normal(0, 0.01, 500), rng.normal(0, 0.002, 500)
    close = 100 * np.exp(np.cumsum(np.stack([market, 1.5 * market + own], axis=1), axis=0))
    bars = ls.Bars.from_arrays(BARS.time[:500], ["MKT", "STK"], {"close": close}, bar_size="1D")
    x, y = np.diff(np.log(close), axis=0)[-60:].T
    beta = f.beta("MKT", 60).compute(bars)[-1]
    np.testing.assert_allclose(beta, [1.0, np.cov(x, y)[0, 1] / np.var(x, ddof=1)], rtol=1e-10)
    np.testing.assert_allclose(f.covariance("MKT", 60).compute(bars)[-1, 1], np.cov(x, y)[0, 1], rtol=1e-10)
    ratio = np.log(close[-20:, 1] / close[-20:, 0])
    expected = (ratio[-1] - ratio.mean()) / ratio.std(ddof=1)
    np.testing.assert_allclose(f.spread("MKT", 20).compute(bars)[-1], [0.0, expected], rtol=1e-9)


def test_calendar_knows_the_date():
    bars = ls.load_bars("AAPL", start="2020-01-02", end="2020-12-31", source="sample")
    features = f.FeatureSet(f.calendar())
    values = dict(zip(features.names, features.compute(bars)[:, 0].T, strict=True))
    stamps = pd.DatetimeIndex(bars.dates)
    weekday = stamps.day_of_week.to_numpy()
    np.testing.assert_allclose(values["weekday_sin"], np.sin(2 * np.pi * weekday / 7), atol=1e-15)
    np.testing.assert_allclose(values["weekday_cos"], np.cos(2 * np.pi * weekday / 7), atol=1e-15)
    month = stamps.month.to_numpy() - 1
    np.testing.assert_allclose(values["month_cos"], np.cos(2 * np.pi * month / 12), atol=1e-15)
    days = stamps.day.to_numpy()
    turn = (days <= 3) | (stamps.days_in_month.to_numpy() - days <= 1)
    assert np.array_equal(values["turn_of_month"], turn.astype(float))
    gaps = np.diff(bars.time) / 86_400e9
    np.testing.assert_allclose(values["days_since_last_bar"][1:], gaps, rtol=1e-12)


def test_a_bar_that_ends_at_midnight_belongs_to_the_day_it_ends():
    midnight = np.array(["2024-03-01T00:00", "2024-03-02T00:00"], dtype="datetime64[ns]")  # of 29 February and 1 March
    bars = ls.Bars.from_arrays(midnight, "BTC", {"close": [1.0, 2.0]}, calendar="24/7", bar_size="1D")
    day = f.Feature("time", (), (("what", "day"),))
    left = f.Feature("time", (), (("what", "days_to_month_end"),))
    assert day.compute(bars).ravel().tolist() == [29.0, 1.0]
    assert left.compute(bars).ravel().tolist() == [0.0, 30.0]


def test_technical_is_stationary_and_reads_nothing_but_ohlcv():
    features = f.FeatureSet(f.technical())
    assert len(features) == 12
    assert set(features.inputs) <= {"open", "high", "low", "close", "volume", "split", "dividend"}
    dear = ls.Bars.from_arrays(
        BARS.time,
        "X",
        {name: BARS[name] * (1000.0 if name != "volume" else 7.0) for name in BARS.fields},
        bar_size="1D",
    )
    np.testing.assert_allclose(features.compute(dear), features.compute(BARS), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "make",
    [
        lambda: f.sma(0), lambda: f.sma(2.5), lambda: f.sma("20"), lambda: f.sma(True), lambda: f.rsi(-1),
        lambda: f.log_return(0), lambda: f.volatility(1), lambda: f.macd(26, 12), lambda: f.macd(12, 26, 0),
        lambda: f.bollinger(1), lambda: f.bollinger(20, -2), lambda: f.bollinger(20, "2"), lambda: f.atr(None),
        lambda: f.correlation(3), lambda: f.stochastic(0), lambda: f.obv(10**7),
    ],
)  # fmt: skip
def test_a_bad_lookback_is_refused(make):
    with pytest.raises(InputError):
        make()


def test_the_message_names_what_was_expected():
    with pytest.raises(InputError, match="rolling_mean must be a whole number of bars, at least 1, was 0"):
        f.sma(0)
    with pytest.raises(InputError, match="fast < slow, was 26 and 12"):
        f.macd(26, 12)


def test_an_unknown_field_or_symbol_gets_the_nearest_name():
    with pytest.raises(UnknownName, match="Did you mean 'close'"):
        f.field("clsoe").compute(BARS)
    with pytest.raises(UnknownName, match="reads 'SPY'"):
        f.beta("SPY").compute(BARS)
