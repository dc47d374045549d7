"""Indicators against TA-Lib (BSD, C core 0.6; https://ta-lib.org) on random walks."""

import numpy as np
import pytest

from longshort import features as f

talib = pytest.importorskip("talib", reason="TA-Lib, the oracle of the indicators, is not installed")


class Panel:
    """The part of Bars that features read."""

    def __init__(self, n: int, seed: int = 0):
        rng = np.random.default_rng(seed)
        close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, (n, 1)), axis=0))
        high = close * (1 + np.abs(rng.normal(0, 0.005, (n, 1))))
        low = close * (1 - np.abs(rng.normal(0, 0.005, (n, 1))))
        volume = rng.integers(1_000, 100_000, (n, 1)).astype(float)
        self.columns = {"open": (high + low) / 2, "high": high, "low": low, "close": close, "volume": volume}
        self.fields = tuple(self.columns)
        self.symbols = ("X",)
        self.time = np.arange(1, n + 1) * 86_400 * 10**9
        self.split, self.dividend = np.ones((n, 1)), np.zeros((n, 1))

    def __getitem__(self, name):
        return self.columns[name]


PANEL = Panel(1000)
OPEN, HIGH, LOW, CLOSE, VOLUME = (PANEL[name][:, 0].copy() for name in PANEL.fields)
ORACLES = [
    (f.sma(20), talib.SMA(CLOSE, 20)),
    (f.ema(20), talib.EMA(CLOSE, 20)),
    (f.rsi(14), talib.RSI(CLOSE, 14)),
    *zip(f.macd(12, 26, 9), talib.MACD(CLOSE, 12, 26, 9), strict=True),
    *zip(f.bollinger(20), talib.BBANDS(CLOSE, 20), strict=False),
    (f.atr(14), talib.ATR(HIGH, LOW, CLOSE, 14)),
    *zip(f.stochastic(14), talib.STOCH(HIGH, LOW, CLOSE, 14, 3, 0, 3, 0), strict=True),
    (f.momentum(10), talib.MOM(CLOSE, 10)),
    (f.roc(10), talib.ROC(CLOSE, 10)),
    (f.true_range(), talib.TRANGE(HIGH, LOW, CLOSE)),
    (f.obv(20), np.r_[np.full(20, np.nan), np.subtract(*(talib.OBV(CLOSE, VOLUME)[i:][:980] for i in (20, 0)))]),
    (f.correlation(f.field("high"), 20), None),
]


@pytest.mark.parametrize(("feature", "expected"), ORACLES[:-1], ids=lambda value: getattr(value, "name", ""))
def test_an_indicator_agrees_with_ta_lib_to_1e_10(feature, expected):
    values = feature.compute(PANEL)[:, 0]
    w = feature.warmup
    assert np.isnan(values[:w]).all()
    w = max(w, int(np.isfinite(expected).argmax()))
    np.testing.assert_allclose(values[w:], expected[w:], rtol=1e-10, atol=1e-10 * np.abs(expected[w:]).mean())
