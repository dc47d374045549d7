"""Made-up markets: what is planted is there, what is not is not."""

import numpy as np
import pytest

from longshort.data.synthetic import from_log_returns, garch, planted_signal, random_walk, student_t
from longshort.errors import InputError

MARKETS = [random_walk, student_t, garch, planted_signal]


def moves(bars):
    return np.diff(np.log(bars["close"]), axis=0)


@pytest.mark.parametrize("market", MARKETS)
def test_the_seed_decides_every_bit(market):
    one, same, other = market(300, 2, seed=1), market(300, 2, seed=1), market(300, 2, seed=2)
    assert one.digest == same.digest != other.digest
    assert one.symbols == ("S000", "S001")
    assert abs(np.corrcoef(moves(one).T)[0, 1]) < 0.2


@pytest.mark.parametrize("market", MARKETS)
def test_bars_could_be_real(market):
    bars = market(2000, seed=3)
    opened, high, low, close = (bars[name] for name in ("open", "high", "low", "close"))
    assert (high >= np.maximum(opened, close)).all()
    assert (low <= np.minimum(opened, close)).all()
    assert ((close > 1) & (close < 1e5)).all()
    assert (bars["volume"] > 0).all()
    assert moves(bars).std() == pytest.approx(0.01, rel=0.2)
    assert (np.diff(bars.time) > 0).all()
    assert np.is_busday(bars.dates).all()


@pytest.mark.parametrize("market", [random_walk, student_t, garch])
def test_returns_of_noise_are_not_correlated_with_anything_before(market):
    bars = market(20_000, seed=4)
    future = moves(bars)[1:, 0]
    for past in (moves(bars)[:-1, 0], np.log(bars["volume"][1:-1, 0]), (bars["high"] / bars["low"])[1:-1, 0]):
        assert abs(np.corrcoef(past, future)[0, 1]) < 4 / np.sqrt(len(future)) * (2 if market is not random_walk else 1)


@pytest.mark.parametrize("ceiling", [0.0, 0.3, 0.7, 1.0, -0.5])
def test_the_planted_signal_stands_in_the_row_before_and_nowhere_else(ceiling):
    bars = planted_signal(20_000, seed=5, ceiling_correlation=ceiling)
    shown = np.log(bars["volume"][:, 0] / 1e6)
    future = moves(bars)[:, 0]
    assert np.corrcoef(shown[:-1], future)[0, 1] == pytest.approx(ceiling, abs=0.02)
    for lag in (1, 2, 5):
        assert abs(np.corrcoef(shown[: -1 - lag], future[lag:])[0, 1]) < 0.03
    assert abs(np.corrcoef(future[1:], future[:-1])[0, 1]) < 0.03


def test_the_signal_can_stand_in_the_return_itself():
    future = moves(planted_signal(20_000, seed=6, ceiling_correlation=0.7, carrier="return"))[:, 0]
    assert np.corrcoef(future[1:], future[:-1])[0, 1] == pytest.approx(0.7, abs=0.02)
    assert future.std() == pytest.approx(0.01, rel=0.05)


def test_the_volatility_of_garch_clusters_and_tails_are_heavy():
    size = np.abs(moves(garch(10_000, seed=7))[:, 0])
    assert np.corrcoef(size[1:], size[:-1])[0, 1] > 0.1
    tails = moves(student_t(10_000, seed=7))[:, 0]
    assert ((tails - tails.mean()) ** 4).mean() / tails.var() ** 2 > 5


def test_more_than_a_lifetime_of_days_is_minutes():
    bars = random_walk(25_000, seed=8)
    assert bars.bar_size == "1m"
    assert random_walk(20_000, seed=8).bar_size == "1D"


def test_later_returns_change_no_earlier_row():
    returns = 0.01 * np.random.default_rng(0).standard_normal(100)
    other = np.r_[returns[:60], -returns[60:]]
    one, two = from_log_returns(returns), from_log_returns(other)
    assert one.until(int(one.time[59])) == two.until(int(one.time[59]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: random_walk(0), "at least one bar; n was 0"),
        (lambda: student_t(5, degrees=2), "more than 2 degrees"),
        (lambda: garch(5, alpha=0.5, beta=0.5), "sum below 1"),
        (lambda: planted_signal(5, ceiling_correlation=1.1), "-1 .. 1; it was 1.1"),
        (lambda: planted_signal(5, carrier="price"), "'volume' or 'return'; it was 'price'"),
        (lambda: from_log_returns(np.zeros((5, 2)), "A"), "one column per symbol"),
    ],
)
def test_markets_that_cannot_be_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
