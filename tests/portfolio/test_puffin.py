"""Stops and sizing as the puffin tutorials (MichaelTien8901/puffin, part 24, risk management) document them.

Their distances in money are fractions of the entry price here: a stop $5 below an entry at $100 is `stop_loss=0.05`.
"""

import numpy as np
import pytest

from longshort.errors import InputError
from longshort.portfolio import (
    Limits,
    effective_bets,
    fixed_fractional,
    kelly_criterion,
    view_of,
    volatility_based,
)

NAN = np.nan


def path(limits, prices, side=1.0, entry=100.0):
    """Return which rules fire at each price while a position is held."""
    step, fired = limits.stepper(("AAPL",)), []
    for t, price in enumerate(prices):
        returns = [NAN if t == 0 else price / prices[t - 1] - 1]
        seen = {"price": [price], "returns": returns, "weights": [0.1 * side], "entry_price": [entry]}
        _, refused = step.weights(view_of(("AAPL",), time=t, session=t, **seen), np.array([NAN]))
        fired.append([r.limit for r in refused])
    return fired


# ---------------------------------------------------------------------------------------------------- position sizing


def test_two_per_cent_of_100000_with_a_five_dollar_stop_is_400_shares():
    assert fixed_fractional(100_000, 0.02, 5.0) == 400.0


@pytest.mark.parametrize(("equity", "risk", "stop"), [(0, 0.02, 5), (1e5, 0, 5), (1e5, 1.01, 5), (1e5, 0.02, 0)])
def test_fixed_fractional_raises_value_error_outside_its_ranges(equity, risk, stop):
    with pytest.raises(ValueError, match="must lie in"):
        fixed_fractional(equity, risk, stop)


def test_half_kelly_of_55_per_cent_wins_at_three_to_two():
    assert kelly_criterion(win_rate=0.55, win_loss_ratio=1.5) == pytest.approx(0.125)


@pytest.mark.parametrize(("rate", "full"), [(0.45, 1 / 12), (0.50, 1 / 6), (0.55, 0.25), (0.60, 1 / 3), (0.39, 0.0)])
def test_full_kelly_by_win_rate(rate, full):
    assert kelly_criterion(rate, 1.5, fraction=1.0) == pytest.approx(full)


@pytest.mark.parametrize(("fraction", "part"), [(1.0, 0.4), (0.5, 0.2), (0.25, 0.1)])
def test_fractions_of_kelly_at_60_per_cent_and_two_to_one(fraction, part):
    assert kelly_criterion(0.6, 2.0, fraction) == pytest.approx(part)


@pytest.mark.parametrize("given_", [(1.1, 1.5), (0.5, 0.0), (0.5, 1.5, 0.0), (0.5, 1.5, 1.5), (NAN, 1.5)])
def test_kelly_refuses_what_is_no_probability_ratio_or_fraction(given_):
    with pytest.raises(InputError):
        kelly_criterion(*given_)


def test_volatility_sizing_risks_the_same_money_at_two_ranges():
    assert volatility_based(100_000, atr=3.0, risk=0.02, multiple=2.0) == pytest.approx(333.333, abs=1e-3)
    assert volatility_based(100_000, 6.0, 0.02) == pytest.approx(volatility_based(100_000, 3.0, 0.02) / 2)


def test_exercise_one_of_position_sizing():
    assert fixed_fractional(50_000, 0.02, 4.0) == 250.0
    assert volatility_based(50_000, 2.5, 0.02, 2.0) == 200.0


# --------------------------------------------------------------------------------------------------------------- stops


def test_a_fixed_stop_of_five_dollars_fires_at_94_and_at_95_but_not_above():
    assert path(Limits(stop_loss=0.05), [95.01]) == [[]]
    assert path(Limits(stop_loss=0.05), [95.0]) == [["stop_loss"]]
    assert path(Limits(stop_loss=0.05), [94.0]) == [["stop_loss"]]


def test_a_fixed_stop_of_a_short_fires_above_its_entry():
    assert path(Limits(stop_loss=0.05), [104.9, 105.0], side=-1.0) == [[], ["stop_loss"]]


def test_a_trailing_stop_five_below_110_stands_at_105():
    limits = Limits(trailing_stop=5 / 110)
    assert path(limits, [100.0, 110.0, 105.5]) == [[], [], []]
    assert path(limits, [100.0, 110.0, 105.0]) == [[], [], ["trailing_stop"]]


def test_a_time_stop_fires_with_its_last_bar():
    assert path(Limits(time_stop=10), [100.0] * 10) == [[]] * 9 + [["time_stop"]]


def test_any_rule_that_fires_closes_the_position():
    limits = Limits(stop_loss=0.05, time_stop=20)
    assert path(limits, [94.0]) == [["stop_loss"]]
    assert path(limits, [99.0] * 20)[-1] == ["time_stop"]


def test_exercise_one_of_stops_the_trailing_one_fires_first():
    rise, fall = np.linspace(100, 108, 6)[1:], np.linspace(108, 104, 6)[1:]
    fired = path(Limits(stop_loss=0.03, trailing_stop=2.5 / 108, time_stop=15), [*rise, *fall])
    assert fired[:8] == [[]] * 8
    assert fired[8] == ["trailing_stop"]  # 104.8 is below 105.5


def test_an_atr_stop_of_two_ranges_of_three_stands_six_below_entry():
    step = Limits(atr_stop=2.0, atr_window=1).stepper(("AAPL",))
    bars = [(100.0, 0.0, NAN), (100.0, 0.0, 0.0), (100.0, 0.1, 0.0)]
    for t, (price, weight, returns) in enumerate(bars):
        seen = {"price": [price], "high": [101.5], "low": [98.5], "weights": [weight], "returns": [returns]}
        view = view_of(("AAPL",), time=t, **seen)
        stops, _ = step.levels(view)
    assert stops == [pytest.approx(94.0)]


# ---------------------------------------------------------------------------------------------------- portfolio limits


def test_a_drawdown_of_13_6_per_cent_is_within_15_and_over_10():
    curve = [100_000, 105_000, 110_000, 95_000, 98_000]
    for most, expected in ((0.15, []), (0.13, ["max_drawdown"])):
        step = Limits(max_drawdown=most, max_daily_loss=1.0).stepper(("AAPL",))
        for t, equity in enumerate(curve[:4]):
            view = view_of(("AAPL",), time=t, session=t, equity=float(equity), weights=[0.5])
            _, refused = step.weights(view, np.array([0.5]))
        assert [r.limit for r in refused] == expected
    assert refused[0].value == pytest.approx(15 / 110)


def test_a_circuit_breaker_stays_open_until_it_is_reset():
    step = Limits(max_drawdown=0.20, max_daily_loss=1.0).stepper(("AAPL",))
    allowed = []
    for t, equity in enumerate([100.0, 79.0, 99.0, 120.0]):
        allowed.append(step.weights(view_of(("AAPL",), time=t, session=t, equity=equity), np.array([0.5]))[0][0])
    assert allowed == [0.5, 0.0, 0.0, 0.0]
    step.reset()
    assert step.weights(view_of(("AAPL",), time=4, session=4, equity=120.0), np.array([0.5]))[0] == [0.5]


def test_exposure_of_half_and_a_third_is_within_one():
    step = Limits(max_gross=1.0).stepper(("AAPL", "GOOGL"))
    assert step.weights(view_of(("AAPL", "GOOGL")), np.array([0.5, 0.33]))[1] == []


def test_a_concentrated_portfolio_has_few_effective_bets():
    weights = np.array([0.5, 0.33])
    herfindahl = np.sum((weights / weights.sum()) ** 2)
    assert effective_bets(weights) == pytest.approx(1 / herfindahl)
