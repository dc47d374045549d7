import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshort.errors import InputError
from longshort.forecast import Forecast, TargetInfo
from longshort.portfolio import (
    EqualWeight,
    IntervalAware,
    Kelly,
    LongShort,
    Positions,
    Quantiles,
    RiskPerTrade,
    Rule,
    Sign,
    TopK,
    VolatilityTarget,
    as_policy,
    kelly_criterion,
    view_of,
)
from longshort.portfolio.volatility import Deviations


def view(mean, kind="return", horizon=1, seen=None, **said):
    symbols = tuple("ABCDEFGH"[: len(mean)])
    said = {k: {q: [v] for q, v in x.items()} if isinstance(x, dict) else [x] for k, x in said.items()}
    forecast = Forecast(np.arange(1), symbols, [mean], target=TargetInfo(kind, horizon), **said)
    return view_of(symbols, forecast.row(0), **(seen or {}))


def weights(policy, mean, kind="return", horizon=1, seen=None, **said):
    shown = view(mean, kind, horizon, seen, **said)
    return policy.stepper(shown.symbols)(shown)


def test_weights_follow_sign_and_strength():
    np.testing.assert_allclose(weights(LongShort(), [0.03, -0.01, 0.0]), [0.75, -0.25, 0.0])


def test_a_day_of_weaker_forecasts_is_invested_less_and_a_stronger_one_no_more():
    step = LongShort(memory=60).stepper(("A",))
    assert step(view([0.01])) == [1.0]  # the first one is as strong as usual
    assert step(view([-0.005])) == pytest.approx(-0.005 / 0.0075)  # usual: the mean of both
    assert step(view([0.05])) == [1.0]


def test_a_missing_forecast_makes_the_others_no_weaker():
    step = LongShort().stepper(("A", "B", "C"))
    np.testing.assert_allclose(step(view([0.01, 0.01, 0.01])), [1 / 3] * 3)
    np.testing.assert_allclose(step(view([0.01, 0.01, np.nan])), [0.5, 0.5, np.nan])
    np.testing.assert_allclose(step(view([0.01, 0.01, 0.01])), [1 / 3] * 3)


def test_moments_of_four_bars_size_as_those_of_one_do():
    """A return of 0.08 % with a deviation of 4 % over four bars is 0.02 % with 2 % a bar; 252 bars a year."""
    covariance = np.diag([0.04**2, 0.08**2])
    said = {"covariance": covariance}
    mean, one = [0.0008, -0.0008], covariance / 4
    kelly = Kelly(overlap=False)
    np.testing.assert_allclose(weights(kelly, mean, horizon=4, **said), [0.25, -0.0625], rtol=1e-3)
    np.testing.assert_allclose(
        weights(kelly, mean, horizon=4, **said), weights(kelly, mean, horizon=4, std=[0.04, 0.08]), rtol=1e-12
    )
    scaled = VolatilityTarget(Sign(overlap=False), target=0.05)
    np.testing.assert_allclose(
        weights(scaled, mean, horizon=4, **said), weights(scaled, [0.0002, -0.0002], covariance=one), rtol=1e-12
    )


def test_no_position_is_larger_than_its_cap_however_near_the_stop():
    np.testing.assert_allclose(weights(RiskPerTrade(risk=0.05, stop=0.01, cap=0.4), [0.01, -0.01]), [0.4, -0.4])


def test_a_fraction_that_floating_point_misses_counts_all_its_symbols():
    """0.29 x 100 is 28.999999999999996."""
    symbols = tuple(f"S{i:03}" for i in range(100))
    forecast = Forecast(np.arange(1), symbols, [np.arange(100.0) / 1e4], target=TargetInfo("return"))
    found = Quantiles(0.29).stepper(symbols)(view_of(symbols, forecast.row(0)))
    assert (np.count_nonzero(found > 0), np.count_nonzero(found < 0)) == (29, 29)


def test_memory_of_one_bar_compares_symbols_only():
    step = LongShort(memory=1).stepper(("A", "B"))
    for size in (0.01, 0.0001):
        np.testing.assert_allclose(step(view([size, -size])), [0.5, -0.5])


def test_one_side_alone():
    np.testing.assert_allclose(weights(LongShort(short=False), [0.03, -0.01]), [0.75, 0.0])
    np.testing.assert_allclose(weights(LongShort(long=False), [0.03, -0.01]), [0.0, -0.25])


def test_a_direction_counts_by_its_probability_beyond_one_half():
    np.testing.assert_allclose(weights(LongShort(), [0.6, 0.3], "direction"), [1 / 3, -2 / 3])
    probable = {0.0: [0.4, 0.7], 1.0: [0.6, 0.3]}
    np.testing.assert_allclose(weights(Sign(), [9.0, 9.0], "direction", probabilities=probable), [0.5, -0.5])


def test_moves_count_by_the_probability_of_up_minus_that_of_down():
    probable = {-1.0: [0.2, 0.5], 0.0: [0.3, 0.4], 1.0: [0.5, 0.1]}
    np.testing.assert_allclose(weights(LongShort(), [0.0, 0.0], "move", probabilities=probable), [3 / 7, -4 / 7])


@pytest.mark.parametrize("policy", [LongShort(), Sign(), TopK(1), Quantiles(), Kelly(), RiskPerTrade(stop=0.05)])
@pytest.mark.parametrize("kind", ["close", "volatility"])
def test_prices_and_volatilities_are_refused_with_the_line_to_write(policy, kind):
    with pytest.raises(InputError, match=r"sized by .*returns.*forward_log_return\(1\)"):
        weights(policy, [101.0, 99.0], kind)


def test_a_forecast_of_nothing_in_particular_is_refused():
    forecast = Forecast(np.arange(1), ("A",), [[0.01]])
    with pytest.raises(InputError, match="do not say what they predict"):
        Sign().stepper(("A",))(view_of(("A",), forecast.row(0)))


def test_kelly_refuses_directions_without_a_payoff():
    with pytest.raises(InputError, match="forecasts the direction over the next bar"):
        weights(Kelly(), [0.6], "direction")


def test_top_and_bottom():
    np.testing.assert_allclose(weights(TopK(2), [1, 4, 3, 2]), [0, 0.5, 0.5, 0])
    np.testing.assert_allclose(weights(TopK(0, short=1), [1, 4, 3, 2]), [-1, 0, 0, 0])
    np.testing.assert_allclose(weights(TopK(1, short=3), [1, 4, 3, 2]), [-0.25, 0.25, -0.25, -0.25])


def test_equal_forecasts_are_ranked_by_name():
    symbols = ("C", "A", "B")
    forecast = Forecast(np.arange(1), symbols, [[0.01, 0.01, 0.01]], target=TargetInfo("return"))
    got = TopK(1, short=1).stepper(symbols)(view_of(symbols, forecast.row(0)))
    np.testing.assert_array_equal(got, [-0.5, 0.5, 0.0])


def test_both_sides_shrink_where_few_symbols_have_a_forecast():
    nan = np.nan
    np.testing.assert_array_equal(weights(TopK(2, short=2), [0.02, nan, nan, 0.01]), [0.25, nan, nan, -0.25])
    np.testing.assert_array_equal(weights(TopK(2, short=2), [nan, nan, nan, 0.01]), [nan, nan, nan, 0.0])


def test_top_minus_bottom_fraction():
    np.testing.assert_allclose(
        weights(Quantiles(0.25), [5, 4, 3, 2, 1, 0, -1, -2]), [0.25, 0.25, 0, 0, 0, 0, -0.25, -0.25]
    )
    np.testing.assert_allclose(weights(Quantiles(0.1), [3, 2, 1]), [0.5, 0, -0.5])
    np.testing.assert_allclose(weights(Quantiles(0.4, short=False), [3, 2, 1, 0, -1]), [0.5, 0.5, 0, 0, 0])
    np.testing.assert_array_equal(weights(Quantiles(), [0.01]), [0.0])


@given(st.integers(2, 8), st.floats(0.01, 0.5))
def test_quantile_portfolios_are_neutral_and_never_hold_a_symbol_on_both_sides(n, fraction):
    got = weights(Quantiles(fraction), list(np.linspace(-1, 1, n)))
    assert abs(got.sum()) < 1e-12
    assert np.abs(got).sum() == pytest.approx(1.0)


def test_equal_weight_spreads_over_what_can_be_traded():
    seen = view_of(("A", "B", "C"), state=[0, 3, 0], price=[1, 2, np.nan])
    np.testing.assert_array_equal(EqualWeight().stepper(seen.symbols)(seen), [1.0, np.nan, np.nan])


def test_a_position_that_is_left_alone_counts_towards_gross_and_targets_give_way():
    seen = {"weights": [0.5, 0.1, -0.2], "state": [2, 0, 0]}
    np.testing.assert_allclose(weights(Sign(), [0.01, 0.01, -0.01], seen=seen), [np.nan, 0.25, -0.25])
    np.testing.assert_allclose(weights(Sign(gross=0.4), [0.01, 0.01, -0.01], seen=seen), [np.nan, 0.0, 0.0])
    np.testing.assert_allclose(weights(Sign(), [np.nan, 0.01, -0.01], seen={"weights": [-0.8, 0, 0]})[1:], [0.1, -0.1])
    unknown = {"weights": [np.nan, 0.0, 0.0], "state": [2, 0, 0]}  # for limits to say something about
    np.testing.assert_allclose(weights(Sign(), [0.01, 0.01, -0.01], seen=unknown), [np.nan, 0.5, -0.5])


def test_positions_of_a_network_share_the_account():
    np.testing.assert_allclose(weights(Positions(), [0, 0], position=[1.0, -0.5]), [0.5, -0.25])
    np.testing.assert_allclose(weights(Positions(), [0], position=[-0.5]), [-0.5])
    with pytest.raises(InputError, match="loss='sharpe'"):
        weights(Positions(), [0.0])


def test_kelly_is_mean_over_variance():
    # Thorp (2006): f = m / s^2, here 0.0002 / 0.0004 = 0.5, half of it
    np.testing.assert_allclose(weights(Kelly(0.5), [0.0002], std=[0.02]), [0.25])
    np.testing.assert_allclose(weights(Kelly(0.5, cap=0.1), [0.0002, -0.01], std=[0.02, 0.02]), [0.1, -0.1])


def test_kelly_with_a_covariance_solves_for_all_stakes_together():
    covariance = np.array([[4e-4, 1e-4], [1e-4, 1e-4]])
    mean = np.array([5e-5, 2e-5])
    expected = 0.5 * np.linalg.inv(covariance) @ mean
    np.testing.assert_allclose(weights(Kelly(0.5), mean, covariance=covariance), expected)


def test_joint_stakes_shrink_together_so_that_a_hedge_stays_one():
    covariance = np.array([[4e-4, 3.8e-4], [3.8e-4, 4e-4]])
    mean = np.array([0.004, 0.002])
    stakes = 0.5 * np.linalg.inv(covariance) @ mean  # 27 of one, 21 short of the other
    assert np.abs(stakes).min() > 1
    free = weights(Kelly(0.5), mean, covariance=covariance)
    np.testing.assert_allclose(free, stakes / np.abs(stakes).sum())
    capped = weights(Kelly(0.5, cap=0.3), mean, covariance=covariance)
    np.testing.assert_allclose(capped, 0.3 * stakes / np.abs(stakes).max())
    small = weights(Kelly(0.01, cap=0.9), mean, covariance=covariance)
    np.testing.assert_allclose(small, 0.02 * stakes)


def test_joint_stakes_without_a_forecast_of_one_are_those_of_the_others():
    covariance = np.diag([4e-4, 4e-4, 4e-4])
    got = weights(Kelly(0.5), [0.001, np.nan, 0.004], covariance=covariance)
    np.testing.assert_allclose(got, [0.2, np.nan, 0.8])


@pytest.mark.parametrize("variance", [-1e-4, 0.0])
def test_kelly_takes_no_position_where_the_covariance_is_none(variance):
    assert np.isnan(weights(Kelly(0.5), [0.01, 0.01], covariance=np.diag([1e-4, variance]))).all()


def test_kelly_of_symbols_that_move_as_one_takes_no_position():
    got = weights(Kelly(0.5), [0.01, 0.01], covariance=np.full((2, 2), 1e-4))
    assert np.isnan(got).all()


def test_kelly_on_a_direction_is_the_textbook_bet():
    got = weights(Kelly(0.5, payoff=1.5), [0.55, 0.45, 0.5], "direction")
    stake = kelly_criterion(0.55, 1.5, 0.5)
    even = kelly_criterion(0.5, 1.5, 0.5)
    assert got[0] == pytest.approx(stake)
    assert got[1] == pytest.approx(-stake)
    assert got[2] == 0.0 < even  # no side is the likelier one


def test_kelly_over_several_bars_shares_mean_and_variance_among_them():
    one = weights(Kelly(0.1, overlap=False), [0.0002], std=[0.02])
    four = weights(Kelly(0.1, overlap=False), [(1.0002**4) - 1], horizon=4, std=[0.04])
    np.testing.assert_allclose(one, four)


def test_a_position_loses_the_same_at_its_stop():
    np.testing.assert_allclose(weights(RiskPerTrade(0.02, stop=0.05), [0.01]), [0.4])
    np.testing.assert_allclose(weights(RiskPerTrade(0.02, stop=0.01), [-0.01]), [-1.0])  # cap


def test_risk_per_trade_waits_for_its_true_range():
    step = RiskPerTrade(0.01, atr=2.0, atr_window=3).stepper(("A",))
    seen = {"high": [102.0], "low": [98.0], "price": [100.0], "returns": [0.0]}
    said = [step(view([0.01], seen=seen))[0] for _ in range(5)]
    assert np.isnan(said[:3]).all()  # the first bar has no close before it
    assert said[3:] == pytest.approx([0.01 / (2 * 4 / 100)] * 2)


def test_volatility_target_scales_to_the_deviation_of_past_returns():
    step = VolatilityTarget(Sign(), target=0.10, halflife=50).stepper(("A",))
    rng = np.random.default_rng(0)
    returns = rng.normal(0, 0.02, 400)
    got = [step(view([0.01], seen={"returns": [r]}))[0] for r in returns]
    assert np.isnan(got[:19]).all()  # too few returns to size anything by
    age = 0.5 ** (np.arange(250) / 50)
    deviation = np.sqrt((age * returns[::-1][:250] ** 2).sum() / age.sum())
    assert got[-1] == pytest.approx(0.10 / (deviation * np.sqrt(252)))


def test_volatility_target_sees_that_opposite_positions_cancel():
    rng = np.random.default_rng(1)
    step = VolatilityTarget(Sign(), target=0.05).stepper(("A", "B"))
    for r in rng.normal(0, 0.02, 100):
        got = step(view([0.01, -0.01], seen={"returns": [r, r + 1e-4 * rng.normal()]}))
    np.testing.assert_allclose(got, [0.5, -0.5])  # hedged: the whole account, and far from the target


def test_volatility_target_takes_a_forecast_deviation_and_covariance_first():
    rng = np.random.default_rng(2)
    step = VolatilityTarget(Sign(), target=0.10).stepper(("A",))
    for r in rng.normal(0, 0.01, 100):
        got = step(view([0.01], std=[0.04], seen={"returns": [r]}))
    assert got == pytest.approx(0.10 / (0.04 * np.sqrt(252)), rel=0.02)
    got = weights(VolatilityTarget(Sign(), target=0.10), [0.01], covariance=[[0.04**2]])
    assert got == pytest.approx(0.10 / (0.04 * np.sqrt(252)))


def test_long_short_with_a_volatility_is_the_scaled_long_short():
    rng = np.random.default_rng(3)
    one = LongShort(target_vol=0.1).stepper(("A", "B"))
    other = VolatilityTarget(LongShort(), 0.1).stepper(("A", "B"))
    for _ in range(40):
        seen = view(list(rng.normal(0, 0.01, 2)), seen={"returns": rng.normal(0, 0.01, 2)})
        np.testing.assert_array_equal(one(seen), other(seen))


@pytest.mark.parametrize(
    "said",
    [
        {"std": [0.005, 0.02, 0.002]},
        {"quantiles": {0.2: [0.004, -0.01, -0.02], 0.8: [0.02, 0.03, -0.004]}},
    ],
)
def test_positions_are_taken_only_where_the_interval_is_clear_of_the_costs(said):
    np.testing.assert_allclose(
        weights(IntervalAware(Sign(), cost=0.002), [0.010, 0.010, -0.010], **said), [1 / 3, 0, -1 / 3]
    )


def test_a_coverage_lies_between_the_quantiles_forecast():
    said = {"quantiles": {0.1: [-0.03], 0.3: [-0.01], 0.7: [0.03], 0.9: [0.05]}}
    from longshort.portfolio import expected_interval

    ends = expected_interval(view([0.01], **said).forecast, coverage=0.6)
    np.testing.assert_allclose([end[0] for end in ends], [-0.02, 0.04])
    with pytest.raises(InputError, match="Choose a coverage inside"):
        expected_interval(view([0.01], **said).forecast, coverage=0.9)


def test_conformal_intervals_size_positions():
    from longshort import features as f
    from longshort import models as m
    from longshort.data import synthetic

    bars = synthetic.random_walk(400, seed=1)
    model = m.Conformal(m.HistoricalMean(f.forward_log_return()), coverage=0.9).fit(bars)
    row = model.predict(bars).row(-1)
    got = IntervalAware(Sign()).stepper(bars.symbols)(view_of(bars.symbols, row))
    np.testing.assert_array_equal(got, [0.0])  # noise straddles any cost


def test_the_interval_of_a_week_pays_its_costs_once():
    policy = IntervalAware(Sign(), cost=0.01)
    np.testing.assert_allclose(weights(policy, [0.03], horizon=1, std=[0.015]), [1.0])
    np.testing.assert_allclose(weights(policy, [0.03], horizon=5, std=[0.015]), [0.2])  # the first of five books


def test_an_unclear_interval_closes_or_holds_as_asked():
    seen = {"weights": [0.3]}
    assert weights(IntervalAware(Sign()), [0.01], std=[0.05], seen=seen) == [0.0]
    assert np.isnan(weights(IntervalAware(Sign(), hold=True), [0.01], std=[0.05], seen=seen))
    assert weights(IntervalAware(Sign(), hold=True), [-0.01], std=[0.05], seen=seen) == [0.0]


def test_intervals_are_needed_to_size_by_them():
    with pytest.raises(InputError, match="loss='gaussian'"):
        weights(IntervalAware(Sign()), [0.01])


def test_forecasts_over_h_bars_run_h_overlapping_books():
    step = Sign().stepper(("A",))
    said = [float(step(view([r], horizon=4))[0]) for r in (1, 1, 1, 1, -1, -1, np.nan, -1, -1)]
    np.testing.assert_array_equal(said, [0.25, 0.5, 0.75, 1.0, 0.5, 0.0, np.nan, -0.5, -0.5])
    np.testing.assert_array_equal(weights(Sign(overlap=False), [0.01], horizon=4), [1.0])


def test_a_band_leaves_small_changes_undone_but_never_a_close():
    policy = Sign(band=0.1)
    assert np.isnan(weights(policy, [0.01], seen={"weights": [0.95]}))
    assert weights(policy, [0.01], seen={"weights": [0.8]}) == [1.0]
    assert weights(policy, [0.0], seen={"weights": [0.05]}) == [0.0]


def test_a_plain_function_is_a_policy():
    seen = view([0.01, 0.02])
    step = as_policy(lambda view: [np.inf, 0.5]).stepper(seen.symbols)
    np.testing.assert_array_equal(step(seen), [np.nan, 0.5])
    with pytest.raises(InputError, match=r"shape \(2,\)"):
        as_policy(lambda view: 0.5).stepper(seen.symbols)(seen)
    with pytest.raises(InputError, match=r"Write Sign\(\)"):
        as_policy(Sign)
    assert Rule(weights).to_dict()["function"].endswith("weights")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TopK(0), "at least 1"),
        (lambda: TopK(1.5), "whole number"),
        (lambda: TopK(True), "whole number"),
        (lambda: LongShort(gross=1.5), r"gross must be a number in \(0, 1\], was 1.5"),
        (lambda: LongShort(gross=float("nan")), "was nan"),
        (lambda: LongShort(target_vol=0.0), "target_vol"),
        (lambda: LongShort(long=False, short=False), "neither"),
        (lambda: Quantiles(0.6), r"\(0, 0.5\]"),
        (lambda: Kelly(2.0), "fraction"),
        (lambda: RiskPerTrade(), "either stop=0.05 or atr=2.0"),
        (lambda: RiskPerTrade(stop=0.05, atr=2.0), "either"),
        (lambda: IntervalAware(Sign(), coverage=1.0), "coverage"),
        (lambda: VolatilityTarget(Sign), r"wraps a policy.*Write Sign\(\)"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_volatility_target_scales_a_small_portfolio_up_to_gross_and_no_further():
    covariance = np.diag([0.01**2, 0.01**2])
    small = Sign(gross=0.2)
    got = weights(VolatilityTarget(small, target=0.06, gross=0.9), [0.01, -0.01], covariance=covariance)
    np.testing.assert_allclose(got, np.array([1, -1]) * 0.06 / (0.01 * np.sqrt(2 * 252)))
    got = weights(VolatilityTarget(small, target=0.5, gross=0.9), [0.01, -0.01], covariance=covariance)
    np.testing.assert_allclose(got, [0.45, -0.45])


def test_volatility_target_counts_the_positions_it_leaves_alone():
    policy = VolatilityTarget(Sign(), target=0.05)
    covariance = np.diag([0.01**2, 0.01**2])
    got = weights(policy, [0.01, np.nan], covariance=covariance, seen={"weights": [0.0, 0.7]})
    whole = 0.01 * np.sqrt(252) * np.hypot(1.0, 0.7)
    np.testing.assert_allclose(got, [0.05 / whole, np.nan])


def test_an_unclear_forecast_of_five_bars_leaves_the_books_of_the_bars_before():
    """Costs were counted once for five bars, so a position stays that long; four of five books are still clear."""
    target = TargetInfo("return", 5)
    step = IntervalAware(Sign(), cost=0.001).stepper(("A",))
    clear, unclear = ({"mean": [[0.01]], "std": [[s]]} for s in (0.001, 0.1))
    got = []
    for k, said in enumerate([clear] * 5 + [unclear] * 5):
        row = Forecast(np.arange(1), ("A",), **said, target=target).row(0)
        got.append(round(float(step(view_of(("A",), row, time=k))[0]), 9))
    assert got == [0.2, 0.4, 0.6, 0.8, 1.0, 0.8, 0.6, 0.4, 0.2, 0.0]


def test_a_symbol_has_a_deviation_from_its_twentieth_return_on():
    past = Deviations(1, halflife=20.0)
    known = [bool(np.isfinite(past.update(np.array([0.01]))[0])) for _ in range(21)]
    assert known == [False] * 19 + [True] * 2
