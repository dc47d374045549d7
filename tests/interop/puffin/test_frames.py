"""The tutorial's feature frame."""

import numpy as np
import pytest

from longshort.data import synthetic
from longshort.errors import DataError, NotEnoughData, PriceError, UnknownName
from longshort.interop.puffin import create_trading_features

pd = pytest.importorskip("pandas")


@pytest.fixture
def bars():
    frame = synthetic.random_walk(200, seed=3).to_pandas()
    return frame.rename(columns=str.capitalize)


def test_features_follow_their_formulas(bars):
    features = create_trading_features(bars)
    assert len(features) == 200 - 49
    assert features.index.equals(bars.index[49:])
    close, at = bars["Close"].to_numpy(), 120
    row = features.iloc[at - 49]
    moves = close[1:] / close[:-1] - 1
    assert row["returns"] == moves[at - 1]
    assert row["log_returns"] == pytest.approx(np.log(close[at] / close[at - 1]), rel=1e-12)
    assert row["volatility"] == pytest.approx(np.std(moves[at - 20 : at], ddof=1), rel=1e-12)
    assert row["sma_10"] == pytest.approx(close[at - 9 : at + 1].mean(), rel=1e-12)
    assert row["sma_50_ratio"] == pytest.approx(close[at] / close[at - 49 : at + 1].mean(), rel=1e-12)
    assert row["volume_ratio"] == pytest.approx(bars["Volume"].iloc[at] / bars["Volume"].iloc[at - 19 : at + 1].mean())


def test_later_bars_change_nothing_and_a_bad_bar_is_forgotten(bars):
    features = create_trading_features(bars)
    other = bars.copy()
    other.iloc[100:, :] *= 1.7
    assert create_trading_features(other).iloc[:51].equals(features.iloc[:51])
    spike = bars.copy()
    spike.iloc[60, spike.columns.get_loc("Close")] *= 1e6
    assert create_trading_features(spike).iloc[61:].equals(features.iloc[61:])


def test_rows_without_volume_for_the_whole_window_are_left_out(bars):
    bars.loc[bars.index[100:130], "Volume"] = 0
    features = create_trading_features(bars)
    assert np.isfinite(features.to_numpy()).all()
    assert len(features) == 151 - 11


def test_bars_that_are_not_usable_are_refused(bars):
    with pytest.raises(UnknownName, match="'High'"):
        create_trading_features(bars.drop(columns="High"))
    with pytest.raises(NotEnoughData, match="needs 50 rows, but df has 49"):
        create_trading_features(bars.iloc[:49])
    for column, value, error in (("Close", 0.0, PriceError), ("Low", np.nan, PriceError), ("Volume", -1.0, DataError)):
        bad = bars.copy()
        bad.iloc[7, bad.columns.get_loc(column)] = value
        with pytest.raises(error):
            create_trading_features(bad)
