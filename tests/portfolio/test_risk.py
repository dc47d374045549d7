import json
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longshort.errors import InputError, UnknownName
from longshort.forecast import ForecastRow, Limit
from longshort.portfolio import Limits, effective_bets, view_of

NAN = np.nan
SYMBOLS = ("AAPL", "MSFT", "XOM", "JPM")
SECTORS = {"AAPL": "tech", "MSFT": "tech", "XOM": "energy", "JPM": "banks"}
TIGHT = {
    "max_position": {"max_position": 0.2},
    "max_gross": {"max_gross": 0.7},
    "max_net": {"max_net": 0.1},
    "max_leverage": {"max_leverage": 0.6},
    "max_turnover": {"max_turnover": 0.15},
    "max_sector": {"sectors": SECTORS, "max_sector": 0.25},
    "min_effective_bets": {"min_effective_bets": 3.0},
    "min_independent_bets": {"min_independent_bets": 1.5},
    "restricted": {"restricted": {"AAPL": "long", "MSFT": "short", "XOM": "both"}},
    "max_drawdown": {"max_drawdown": 0.02},
    "max_daily_loss": {"max_daily_loss": 0.01, "on_breach": "reduce"},
    "max_silence": {"max_silence": 1},
    "stops": {"stop_loss": 0.05, "take_profit": 0.1, "trailing_stop": 0.04, "time_stop": 4, "cooldown": 2},
    "atr": {"atr_stop": 2.0, "atr_window": 2, "atr_trailing": True},
    "none": {},
}


def at_once(limits, targets, **seen):
    symbols = SYMBOLS[: len(targets)]
    allowed, refused = limits.stepper(symbols).weights(view_of(symbols, **seen), np.array(targets, dtype=float))
    return allowed, refused


# ------------------------------------------------------------------------------------------------ one limit at a time


def test_small_targets_pass_untouched():
    targets = np.array([0.4, -0.3, NAN])
    view = view_of(SYMBOLS[:3], weights=[0.0, 0.0, 0.2])
    allowed, refused = Limits().stepper(SYMBOLS[:3]).weights(view, targets)
    assert allowed is targets
    assert refused == []


def test_a_position_is_cut_to_its_cap():
    allowed, (refusal,) = at_once(Limits(max_position=0.3), [0.5, -0.2])
    np.testing.assert_array_equal(allowed, [0.3, -0.2])
    said = (refusal.limit, refusal.symbol, refusal.value, refusal.bound, refusal.asked, refusal.allowed)
    assert said == ("max_position", "AAPL", 0.5, 0.3, 0.5, 0.3)


def test_a_position_that_drifted_is_cut_back_only_beyond_the_band():
    limits = Limits(max_position=0.3, band=0.1)
    assert np.isnan(at_once(limits, [NAN], weights=[0.32])[0])
    allowed, (refusal,) = at_once(limits, [NAN], weights=[-0.34])
    assert allowed == [-0.3]
    assert (refusal.limit, refusal.value) == ("max_position", 0.34)


def test_gross_scales_targets_and_spares_what_is_kept():
    allowed, (refusal,) = at_once(Limits(), [0.8, -0.8, NAN], weights=[0, 0, 0.2])
    np.testing.assert_allclose(allowed, [0.4, -0.4, NAN])
    assert (refusal.limit, refusal.symbol, refusal.bound) == ("max_gross", None, 1.0)
    assert (refusal.value, refusal.asked, refusal.allowed) == pytest.approx((1.8, 1.8, 1.0))


def test_too_much_of_what_is_kept_shrinks_with_everything_else():
    allowed, _ = at_once(Limits(), [0.1, NAN, NAN], weights=[0, 0.8, -0.7])
    np.testing.assert_allclose(allowed, np.array([0.1, 0.8, -0.7]) / 1.6)
    assert np.isnan(at_once(Limits(), [NAN, NAN], weights=[0.52, -0.52])[0]).all()  # within the band


def test_kept_positions_count_to_the_edge_of_the_band():
    for weight, expected in ((0.524, NAN), (0.526, 0.5)):
        allowed = at_once(Limits(), [NAN, NAN], weights=[weight, -weight])[0]
        np.testing.assert_allclose(allowed, [expected, -expected])


def test_the_lower_of_gross_and_leverage_counts_and_is_named():
    assert at_once(Limits(max_gross=2, max_leverage=1.5), [1, 1])[1][0].limit == "max_leverage"
    allowed, (refusal,) = at_once(Limits(max_gross=1.5, max_leverage=2, max_net=2, max_turnover=2), [1, 1])
    assert refusal.limit == "max_gross"
    np.testing.assert_allclose(allowed, [0.75, 0.75])


def test_net_cuts_the_heavier_side():
    allowed, (refusal,) = at_once(Limits(max_net=0.2), [0.4, 0.2, -0.1])
    np.testing.assert_allclose(allowed, [0.2, 0.1, -0.1])
    assert (refusal.limit, refusal.bound) == ("max_net", 0.2)
    assert refusal.value == pytest.approx(0.5)


def test_a_neutral_portfolio_is_not_refused_for_a_rounding():
    """0.1 + 0.2 - 0.3 is 5.6e-17."""
    allowed, refused = at_once(Limits(max_net=0.0), [0.1, 0.2, -0.3])
    assert (allowed.tolist(), refused) == ([0.1, 0.2, -0.3], [])
    step = Limits(max_net=0.0).stepper(SYMBOLS)
    once, _ = step.weights(view_of(SYMBOLS), np.array([0.2917, -0.1139, 0.6, -0.1274]))
    again, refused = step.weights(view_of(SYMBOLS), once)
    assert (again.tolist(), refused) == (once.tolist(), [])


def test_net_reaches_for_what_is_kept_when_targets_do_not_suffice():
    allowed, _ = at_once(Limits(max_net=0.2), [-0.5, NAN, NAN], weights=[-0.5, -0.3, 0.1])
    np.testing.assert_allclose(allowed, [0.0, NAN, NAN])
    allowed, _ = at_once(Limits(max_net=0.2), [NAN, NAN, NAN], weights=[-0.5, -0.3, 0.1])
    np.testing.assert_allclose(allowed, [-0.1875, -0.1125, NAN])


def test_a_sector_shrinks_alone():
    limits = Limits(sectors=SECTORS, max_sector=0.4)
    allowed, (refusal,) = at_once(limits, [0.3, -0.3, 0.3, 0.1])
    np.testing.assert_allclose(allowed, [0.2, -0.2, 0.3, 0.1])
    assert (refusal.limit, refusal.value, refusal.bound) == ("max_sector tech", 0.6, 0.4)


def test_every_symbol_needs_a_sector_and_others_may_have_one():
    with pytest.raises(UnknownName, match="no sector for 1 symbols: TSLA"):
        Limits(sectors=SECTORS).stepper(("AAPL", "TSLA"))
    with pytest.raises(UnknownName, match=r"no sector for 1 symbols: AAPL. Did you mean 'APPL'\?"):
        Limits(sectors={"APPL": "tech", "XOM": "energy"}).stepper(("AAPL", "XOM"))
    Limits(sectors=SECTORS).stepper(("AAPL",))


def test_a_sector_written_in_two_ways_would_have_two_caps():
    sectors = {"AAPL": "Health Care", "MSFT": "healthcare"}
    with pytest.raises(InputError, match="'Health Care' and 'healthcare'"):
        Limits(sectors=sectors).stepper(("AAPL", "MSFT"))
    Limits(sectors=sectors).stepper(("AAPL",))  # only one of them is here


def test_turnover_holds_back_what_is_opened_and_nothing_that_is_closed():
    # opened: 0.3 more of AAPL, 0.3 of MSFT on the other side; closed: 0.1 of MSFT, 0.2 of XOM
    allowed, (refusal,) = at_once(Limits(max_turnover=0.3), [0.5, -0.3, 0.0], weights=[0.2, 0.1, 0.2])
    np.testing.assert_allclose(allowed, [0.35, -0.15, 0.0])
    assert (refusal.limit, refusal.value, refusal.bound) == ("max_turnover", pytest.approx(0.6), 0.3)


def test_concentrated_weights_are_cut_to_one_size():
    allowed, (refusal,) = at_once(Limits(min_effective_bets=4), [0.6, 0.2, -0.1, 0.1])
    assert np.sum(allowed**2) == pytest.approx(1 / 4)
    np.testing.assert_allclose(allowed[1:], [0.2, -0.1, 0.1])
    assert (refusal.limit, refusal.value, refusal.bound) == ("min_effective_bets", pytest.approx(1 / 0.42), 4.0)
    full, _ = at_once(Limits(min_effective_bets=3), [0.7, 0.1, 0.1, 0.1])
    assert 1 / np.sum(full**2) >= 3 - 1e-9


def test_too_few_independent_bets_may_only_be_reduced():
    row = ForecastRow(None, np.zeros(2), covariance=np.array([[4e-4, 3.9e-4], [3.9e-4, 4e-4]]))
    limits = Limits(min_independent_bets=1.5)
    view = view_of(SYMBOLS[:2], row, weights=[0.3, 0.0])
    allowed, (refusal,) = limits.stepper(SYMBOLS[:2]).weights(view, np.array([0.2, 0.5]))
    np.testing.assert_allclose(allowed, [0.2, 0.0])
    assert (refusal.limit, refusal.bound) == ("min_independent_bets", 1.5)
    assert refusal.value < 1.1
    apart = replace(view, forecast=replace(row, covariance=np.eye(2) * 4e-4))
    np.testing.assert_allclose(limits.stepper(SYMBOLS[:2]).weights(apart, np.array([0.4, 0.5]))[0], [0.4, 0.5])
    unknown = replace(view, forecast=None)
    allowed, (refusal,) = limits.stepper(SYMBOLS[:2]).weights(unknown, np.array([0.2, 0.5]))
    np.testing.assert_allclose(allowed, [0.2, 0.0])
    assert np.isnan(refusal.value)


def test_concentration_of_what_is_kept_is_cut_only_beyond_the_band():
    limits = Limits(min_effective_bets=4, band=0.1)
    assert np.isnan(at_once(limits, [NAN, NAN], weights=[0.54, 0.0])[0]).all()  # cap 0.5
    allowed, (refusal,) = at_once(limits, [NAN, NAN], weights=[0.56, 0.0])
    np.testing.assert_allclose(allowed, [0.5, 0.0])
    assert refusal.limit == "min_effective_bets"


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(1, 10))
def test_the_cut_to_one_size_uses_all_the_room(sizes, bets):
    from longshort.portfolio.caps import largest_allowed

    c = largest_allowed(np.array(sizes), 1 / bets)
    squares = np.sum(np.minimum(sizes, c) ** 2)
    assert squares <= 1 / bets + 1e-9
    assert c == np.inf or squares == pytest.approx(1 / bets)


def test_restricted_symbols_may_be_held_and_reduced_but_not_added_to():
    limits = Limits(restricted={"AAPL": "long", "MSFT": "short"})
    allowed, refused = at_once(limits, [0.5, -0.3, 0.1], weights=[0.2, 0.1, 0.0])
    np.testing.assert_allclose(allowed, [0.2, 0.0, 0.1])
    assert [(r.limit, r.symbol, r.bound) for r in refused] == [("restricted", "AAPL", 0.2), ("restricted", "MSFT", 0.0)]
    np.testing.assert_allclose(at_once(limits, [-0.5, 0.3])[0], [-0.5, 0.3])
    np.testing.assert_allclose(at_once(Limits(restricted=("AAPL",)), [0.1, 0.1])[0], [0.0, 0.1])


@pytest.mark.parametrize("side", ["long", "both"])
def test_a_restricted_name_that_restricts_nothing_is_refused_where_symbols_become_known(side):
    with pytest.raises(UnknownName, match=r"'APPL'. Did you mean 'AAPL'\?.*restricted_elsewhere=True"):
        Limits(restricted={"APPL": side}).stepper(("AAPL", "MSFT"))
    with pytest.raises(UnknownName, match="names 2 symbols that are not here"):
        Limits(restricted=("GME", "AAPL", "AMC")).stepper(("AAPL", "MSFT"))


def test_a_list_for_a_whole_firm_may_name_other_symbols_but_not_write_ours_in_another_way():
    firm = Limits(restricted=("GME", "APPL", "AAPL"), restricted_elsewhere=True)
    allowed, refused = at_once(firm, [0.3, 0.2])
    np.testing.assert_array_equal(allowed, [0.0, 0.2])
    assert [(r.limit, r.symbol) for r in refused] == [("restricted", "AAPL")]
    both = Limits(restricted=("BRK.B", "gme"), restricted_elsewhere=True)
    with pytest.raises(UnknownName, match="names 'BRK.B', which is 'BRK-B' here"):
        both.stepper(("BRK-B", "AAPL"))
    with pytest.raises(UnknownName, match="names 'gme', which is 'GME' here"):
        both.stepper(("BRK.B", "GME"))
    replace(both, restricted=("BRK.B", "BRK-B")).stepper(("BRK-B",))  # a list may know both


# ------------------------------------------------------------------------------------------------------------ breakers


def played(limits, equities, target=0.5, sessions=None, held=0.5):
    step = limits.stepper(("AAPL",))
    out = []
    for t, equity in enumerate(equities):
        session = t if sessions is None else sessions[t]
        view = view_of(("AAPL",), time=t, session=session, equity=equity, weights=[held])
        out.append(step.weights(view, np.array([target])))
    return step, out


def test_a_drawdown_closes_everything_until_it_is_reset_by_hand():
    limits = Limits(max_drawdown=0.15, max_daily_loss=1.0)
    step, said = played(limits, [100, 110, 94, 93, 120])
    assert [float(w[0]) for w, _ in said] == [0.5, 0.5, 0.5, 0.0, 0.0]  # 93 / 110: 15.5 %
    (refusal,) = said[3][1]
    assert (refusal.limit, refusal.bound, refusal.asked, refusal.allowed) == ("max_drawdown", 0.15, 0.5, 0.0)
    assert refusal.value == pytest.approx(1 - 93 / 110)
    assert said[4][1][0].value == refusal.value  # the fall that opened it
    step.reset()
    after = step.weights(view_of(("AAPL",), time=9, equity=93.0), np.array([0.5]))
    assert after[0] == [0.5]


def test_an_open_breaker_is_silent_once_nothing_is_held():
    limits = Limits(max_daily_loss=0.05, max_drawdown=0.5)
    equity, sessions = [100, 90, 91, 90, 80, 79, 40, 30], [0, 0, 0, 1, 1, 1, 2, 2]
    _, said = played(limits, equity, 0.9, sessions, held=0.0)
    named = [[r.limit for r in refused] for _, refused in said]
    daily = ["max_daily_loss"]
    assert named == [[], daily, [], [], daily, [], ["max_drawdown"], []]


def test_an_open_breaker_that_holds_nothing_answers_as_it_does_with_a_position():
    """The short way out says what the long one says: zero where a target is, NaN where none is, and faults by name."""
    symbols = ("KO", "SPY", "XOM")
    step = Limits(max_drawdown=0.1, max_daily_loss=1.0).stepper(symbols)
    asked = np.array([0.5, NAN, -0.2])

    def at(time, equity, targets, **seen):
        return step.weights(view_of(symbols, time=time, session=time, equity=equity, **seen), targets)

    at(0, 100.0, asked)
    first, refused = at(1, 80.0, asked, weights=[0.1, 0.1, 0.0])
    assert first.tolist() == [0.0, 0.0, 0.0]
    assert [r.limit for r in refused] == ["max_drawdown"]
    second, refused = at(2, 80.0, asked)
    np.testing.assert_array_equal(second, [0.0, NAN, 0.0])
    assert not np.signbit(second[[0, 2]]).any()
    assert refused == []
    infinite, refused = at(3, 80.0, np.array([np.inf, 0.1, 0.1]))
    np.testing.assert_array_equal(infinite, [NAN, 0.0, 0.0])
    assert [(r.limit, r.symbol) for r in refused] == [("inputs", "KO"), ("max_drawdown", None)]
    closed, refused = at(4, 80.0, asked, state=[1, 0, 0])
    np.testing.assert_array_equal(closed, [0.0, NAN, 0.0])
    assert [(r.limit, r.symbol) for r in refused] == [("inputs", "KO"), ("max_drawdown", None)]
    assert [r.limit for r in at(5, NAN, asked)[1]] == ["inputs"]


def test_an_open_breaker_may_allow_reductions_only():
    limits = Limits(max_drawdown=0.1, max_daily_loss=1.0, on_breach="reduce")
    for target, allowed in ((0.8, 0.5), (0.3, 0.3), (-0.2, 0.0), (NAN, NAN)):
        _, said = played(limits, [100, 80], target)
        np.testing.assert_array_equal(said[1][0], [allowed])


def test_a_daily_loss_counts_from_the_last_equity_of_the_session_before():
    sessions = [0, 0, 1, 1, 1, 2]
    _, said = played(Limits(max_daily_loss=0.05), [100, 104, 100, 98, 103, 103], sessions=sessions)
    assert [float(w[0]) for w, _ in said] == [0.5, 0.5, 0.5, 0.0, 0.0, 0.5]  # 98 / 104: 5.8 %; a new session at last
    assert said[3][1][0].limit == "max_daily_loss"
    assert said[3][1][0].value == pytest.approx(1 - 98 / 104)


def test_breakers_count_positions_at_their_market_value():
    """Nothing was sold: equity fell with the price of what is held."""
    step = Limits(max_drawdown=0.2, max_daily_loss=1.0).stepper(("AAPL",))
    for price, expected in ((100.0, 1.0), (79.0, 0.0)):
        seen = view_of(("AAPL",), time=int(price), price=[price], equity=price * 10, shares=[10.0], weights=[1.0])
        assert step.weights(seen, np.array([1.0]))[0] == [expected]


@pytest.mark.parametrize("equity", [0.0, -5.0])
def test_ruin_opens_the_breaker(equity):
    _, said = played(Limits(max_drawdown=1.0, max_daily_loss=1.0), [100, equity, 100])
    assert said[1][0] == ([0.5] if equity == 0.0 else [0.0])  # all is lost: 100 % is what was allowed
    _, said = played(Limits(), [100, equity, 100])
    assert said[2][0] == [0.0]


@pytest.mark.parametrize("equity", [NAN, np.inf, -np.inf])
def test_an_equity_that_is_no_number_stops_new_risk_and_is_forgotten(equity):
    _, said = played(Limits(), [100, equity, 100], target=0.8)
    assert [float(w[0]) for w, _ in said] == [0.8, 0.5, 0.8]
    assert said[1][1][0].limit == "inputs"
    _, said = played(Limits(), [100, equity], target=0.2)
    assert said[1][0] == [0.2]


# -------------------------------------------------------------------------------------------------------------- inputs


def test_an_infinite_target_leaves_the_position():
    allowed, (refusal,) = at_once(Limits(), [np.inf, 0.2], weights=[0.1, 0.0])
    np.testing.assert_array_equal(allowed, [NAN, 0.2])
    assert (refusal.limit, refusal.symbol, refusal.value, refusal.allowed) == ("inputs", "AAPL", np.inf, 0.1)


def test_a_position_of_unknown_value_stops_all_new_risk():
    seen = {"weights": [NAN, 0.3, 0.0], "shares": [10.0, 5.0, 0.0]}
    allowed, refused = at_once(Limits(), [0.2, 0.5, 0.1], **seen)
    np.testing.assert_array_equal(allowed, [0.0, 0.3, 0.0])
    assert refused[-1].symbol == "AAPL"
    allowed, _ = at_once(Limits(), [NAN, 0.1, NAN], **seen)
    np.testing.assert_array_equal(allowed, [NAN, 0.1, NAN])


def test_a_symbol_without_shares_needs_no_value():
    allowed, refused = at_once(Limits(), [NAN, 0.5], weights=[NAN, 0.0], shares=[0.0, 0.0])
    np.testing.assert_array_equal(allowed, [NAN, 0.5])
    assert refused == []


@pytest.mark.parametrize("seen", [{"price": [NAN, 100.0]}, {"price": [0.0, 1.0]}, {"state": [2, 0]}])
def test_what_cannot_be_traded_is_not_opened(seen):
    allowed, refused = at_once(Limits(), [0.3, 0.3], weights=[0.1, 0.0], **seen)
    np.testing.assert_array_equal(allowed, [0.1, 0.3])
    assert [(r.limit, r.symbol) for r in refused] == [("inputs", "AAPL")]


# ------------------------------------------------------------------------------------------- all of them, and in pairs


def check(limits, view, targets, allowed):
    """What must hold after the limits, written once more from the documentation."""
    assert not np.isinf(allowed).any()
    held = np.where(np.isfinite(view.weights), view.weights, 0.0)
    unknown = ~np.isfinite(view.weights) & (view.shares != 0)
    kept = np.isnan(allowed)
    after = np.where(kept, held, allowed)
    asked = np.where(np.isfinite(targets), targets, held)
    assert (np.abs(after) <= np.abs(asked) + 1e-9).all()
    assert (after * asked >= -1e-12).all()
    grows = (np.abs(after) > np.abs(held) + 1e-9) | ((after * held < 0) & (np.abs(after) > 1e-9))
    if unknown.any() or not np.isfinite(view.equity):
        assert not grows.any()
    bad = ~np.isfinite(view.price) | ~(view.price > 0) | (view.state != 0)
    assert not grows[bad].any()
    wide = (1 + limits.band) * (1 + 1e-6)
    assert (np.abs(allowed[~kept]) <= limits.max_position * (1 + 1e-6)).all()
    assert (np.abs(after) <= limits.max_position * wide).all()
    for inside in [np.ones(len(after), dtype=bool)] + [
        np.array([limits.sectors[s] == name for s in view.symbols]) for name in set((limits.sectors or {}).values())
    ]:
        cap = min(limits.max_gross, limits.max_leverage) if inside.all() else limits.max_sector
        share = 1.0 if not kept[inside].any() else wide
        assert np.abs(after[inside]).sum() <= cap * share * (1 + 1e-6)
    assert abs(after.sum()) <= limits.max_net * (wide if kept.any() else 1 + 1e-6)
    squares = limits.max_gross**2 / limits.min_effective_bets
    assert (after**2).sum() <= squares * (wide**2 if kept.any() else 1 + 1e-6)
    more = np.where(after * held > 0, np.maximum(np.abs(after) - np.abs(held), 0), np.abs(after))
    assert more.sum() <= limits.max_turnover * (1 + 1e-6)
    if limits.min_independent_bets > 1 and grows.any():
        assert effective_bets(after, view.forecast.covariance) >= limits.min_independent_bets * (1 - 1e-6)
    sides = limits.restricted_sides()
    for j, symbol in enumerate(view.symbols):
        if sides.get(symbol) in ("long", "both"):
            assert after[j] <= max(held[j], 0) + 1e-9
        if sides.get(symbol) in ("short", "both"):
            assert after[j] >= min(held[j], 0) - 1e-9


def hostile(rng, t):
    """A view and targets in which anything may be missing, infinite or absurd."""
    n = len(SYMBOLS)
    seen = {
        "weights": rng.normal(0, 0.3, n) * (rng.random(n) < 0.7),
        "price": 100 * np.exp(rng.normal(0, 0.1, n)),
        "returns": rng.normal(0, 0.1, n),
    }
    seen |= {"high": seen["price"] * 1.05, "low": seen["price"] * 0.95}
    seen["entry_price"] = np.where(seen["weights"] != 0, 100.0, NAN)
    targets = rng.normal(0, 0.5, n)
    targets[rng.random(n) < 0.3] = NAN
    shares = seen["weights"] * 1e4
    if rng.random() < 0.5:
        for array in (*seen.values(), targets, shares):
            bad = rng.random(n) < 0.15
            array[bad] = rng.choice([NAN, np.inf, -np.inf, 0.0, 1e300, -1.0], bad.sum())
    equity = 1e6 * (1 + rng.normal(0, 0.01)) if rng.random() < 0.9 else rng.choice([NAN, np.inf, -np.inf, 0.0, -1.0])
    state = (rng.random(n) < 0.1).astype(np.uint8)
    shares = np.where(seen["weights"] == 0, 0.0, np.where(shares == 0, 1.0, shares))
    mix = rng.normal(size=(n, n)) * (rng.random() < 0.9)
    covariance = mix @ mix.T * 1e-4 if rng.random() < 0.9 else np.full((n, n), NAN)
    row = ForecastRow(None, np.zeros(n), covariance=covariance) if rng.random() < 0.9 else None
    return view_of(SYMBOLS, row, time=t, session=t // 3, equity=equity, state=state, shares=shares, **seen), targets


def through_json(step):
    return json.loads(json.dumps(step.snapshot(), allow_nan=False))


@pytest.mark.parametrize("names", [*((n,) for n in TIGHT), *combinations(TIGHT, 2), tuple(TIGHT)], ids="+".join)
def test_limits_that_are_interrupted_go_on_bit_for_bit(names):
    limits = Limits(**{k: v for name in names for k, v in TIGHT[name].items()})
    rng = np.random.default_rng(3)
    decisions = [hostile(rng, t) for t in range(30)]
    for cut in (0, 1, 9, 20):
        whole, early = limits.stepper(SYMBOLS), limits.stepper(SYMBOLS)
        for view, targets in decisions[:cut]:
            whole.weights(view, targets), whole.levels(view)
            early.weights(view, targets), early.levels(view)
        late = limits.stepper(SYMBOLS)
        late.restore(through_json(early))
        assert through_json(late) == through_json(early)
        for view, targets in decisions[max(cut - 1, 0) :]:  # the last one once more: asking twice changes nothing
            (mine, told), (theirs, said) = late.weights(view, targets), whole.weights(view, targets)
            assert mine.tobytes() == theirs.tobytes()
            assert repr(told) == repr(said)
            assert repr(late.levels(view)) == repr(whole.levels(view))
            if whole.bracket is not None:
                assert repr(late.bracket(1, 100.0, 1)) == repr(whole.bracket(1, 100.0, 1))


def test_an_open_breaker_is_still_open_after_an_interruption_and_says_so_no_more():
    limits, target = Limits(max_drawdown=0.1, max_daily_loss=1.0), np.array([0.5])
    step, _ = played(limits, [100, 80], held=0.0)
    again = limits.stepper(("AAPL",))
    again.restore(through_json(step))
    view = view_of(("AAPL",), time=9, session=9, equity=200.0)
    assert again.weights(view, target) == (np.zeros(1), [])
    assert limits.stepper(("AAPL",)).weights(view, target)[0] == [0.5]  # what forgetting would do


def test_a_daily_loss_of_yesterday_is_not_taken_for_the_one_of_today():
    """The same fall on two days: each is refused once, on the other side of an interruption too."""
    limits = Limits(max_daily_loss=0.1, max_drawdown=1.0)
    _, said = played(limits, [100, 80, 64], sessions=[0, 0, 1], held=0.0)
    again = limits.stepper(("AAPL",))
    again.restore(through_json(played(limits, [100, 80], sessions=[0, 0], held=0.0)[0]))
    view = view_of(("AAPL",), time=2, session=1, equity=64.0)
    (theirs,) = said[2][1]
    (mine,) = again.weights(view, np.array([0.5]))[1]
    assert mine == theirs


def test_bounds_may_change_over_an_interruption_and_peaks_stay():
    step, _ = played(Limits(max_drawdown=0.5, max_daily_loss=1.0), [100, 120, 100])
    tighter = Limits(max_drawdown=0.1, max_daily_loss=1.0).stepper(("AAPL",))
    tighter.restore(through_json(step))
    (refusal,) = tighter.weights(view_of(("AAPL",), time=9, equity=100.0), np.array([0.5]))[1]
    assert refusal.value == pytest.approx(1 - 100 / 120)


def test_a_snapshot_of_something_else_is_refused():
    limits = Limits(stop_loss=0.05)
    kept = through_json(limits.stepper(SYMBOLS))
    with pytest.raises(InputError, match="The snapshot is of"):
        limits.stepper(SYMBOLS[:2]).restore(kept)
    with pytest.raises(InputError, match="limits with some exits"):
        Limits().stepper(SYMBOLS).restore(kept)
    with pytest.raises(InputError, match="must have"):
        limits.stepper(SYMBOLS).restore({"kind": "Limits"})
    with pytest.raises(InputError, match="must have"):
        limits.stepper(SYMBOLS).restore(kept | {"breaker": {}})
    kept["exits"]["_age"]["array"] = ["a lot", 0, 0, 0]
    with pytest.raises(InputError, match="damaged"):
        limits.stepper(SYMBOLS).restore(kept)


@pytest.mark.parametrize("names", [*((n,) for n in TIGHT), *combinations(TIGHT, 2), tuple(TIGHT)], ids="+".join)
def test_limits_hold_together_whatever_comes_in(names):
    given_ = {k: v for name in names for k, v in TIGHT[name].items()}
    limits = Limits(**given_)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        step = limits.stepper(SYMBOLS)
        for t in range(25):
            view, targets = hostile(rng, t)
            before = targets.copy()
            allowed, refused = step.weights(view, targets)
            np.testing.assert_array_equal(targets, before)
            check(limits, view, targets, allowed)
            if not np.array_equal(allowed, targets, equal_nan=True):
                assert refused
            again, _ = step.weights(view, allowed)
            np.testing.assert_allclose(again, allowed, rtol=1e-9, atol=1e-9)
            step.levels(view)


numbers = st.one_of(st.floats(-2, 2), st.sampled_from([NAN, np.inf, -np.inf, 0.0]))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(numbers, numbers), min_size=4, max_size=4),
    st.lists(
        st.sampled_from(
            sorted(set(TIGHT) - {"min_independent_bets", "stops", "atr", "max_drawdown", "max_daily_loss"})
        ),
        max_size=4,
    ),
    st.floats(0, 0.3),
)
def test_limits_hold_for_any_position_and_target(pairs, names, band):
    limits = Limits(**{k: v for name in names for k, v in TIGHT[name].items()}, band=band)
    weights, targets = (np.array(side) for side in zip(*pairs, strict=True))
    view = view_of(SYMBOLS, weights=weights, shares=np.where(weights == 0, 0.0, 1.0))
    step = limits.stepper(SYMBOLS)
    allowed, _ = step.weights(view, targets)
    check(limits, view, targets, allowed)
    np.testing.assert_allclose(step.weights(view, allowed)[0], allowed, rtol=1e-9, atol=1e-9)


def test_the_order_of_the_symbols_decides_nothing():
    rng = np.random.default_rng(5)
    order = np.array([2, 0, 3, 1])
    limits = Limits(**{k: v for given_ in TIGHT.values() for k, v in given_.items()})
    one, other = limits.stepper(SYMBOLS), limits.stepper(tuple(SYMBOLS[i] for i in order))
    for t in range(40):
        view, targets = hostile(rng, t)
        arrays = ("price", "returns", "high", "low", "volume", "state", "weights", "shares", "entry_price")
        turned = {name: getattr(view, name)[order] for name in arrays}
        if view.forecast is not None:
            covariance = view.forecast.covariance[np.ix_(order, order)]
            turned["forecast"] = replace(view.forecast, covariance=covariance)
        there = replace(view, symbols=tuple(SYMBOLS[i] for i in order), **turned)
        np.testing.assert_allclose(one.weights(view, targets)[0][order], other.weights(there, targets[order])[0])


# --------------------------------------------------------------------------------------------------------- description


def test_limits_print_every_bound_and_describe_themselves():
    limits = Limits(
        stop_loss=0.05, time_stop=10, atr_stop=2, sectors=SECTORS, min_effective_bets=3, restricted=("GME",)
    )
    text = str(limits)
    for part in ("stop-loss at 0.05", "time-stop after 10 bars", "atr-stop 2 ATR", "sector <= 1", "bets >= 3"):
        assert part in text
    assert "drawdown <= 0.25" in str(Limits())
    assert "no exits" in str(Limits())
    assert json.loads(json.dumps(limits.to_dict()))["restricted"] == {"GME": "both"}
    assert isinstance(limits, Limit)
    assert Limits(**{k: v for k, v in limits.to_dict().items() if k != "kind"}).to_dict() == limits.to_dict()


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"max_gross": np.inf}, "max_gross"),
        ({"max_gross": NAN}, "was nan"),
        ({"max_drawdown": None}, "always on"),
        ({"max_drawdown": 1.5}, r"\(0, 1\]"),
        ({"stop_loss": 0.0}, "stop_loss"),
        ({"time_stop": 2.5}, "whole number"),
        ({"restricted": "AAPL"}, r"write \('AAPL',\)"),
        ({"restricted": {"AAPL": "up"}}, "'long', 'short' or 'both'"),
        ({"on_breach": "hope"}, "'flat' or 'reduce'"),
        ({"restricted_elsewhere": "yes"}, "True or False"),
        ({"cooldown": -1}, "cooldown"),
        ({"min_effective_bets": 0.5}, "min_effective_bets"),
    ],
)
def test_bounds_that_bound_nothing_are_refused(given_, message):
    with pytest.raises(InputError, match=message):
        Limits(**given_)


def test_views_of_other_symbols_are_refused():
    step = Limits().stepper(("AAPL", "MSFT"))
    with pytest.raises(InputError, match="was started for|were started for"):
        step.weights(view_of(("MSFT", "AAPL")), np.zeros(2))
    with pytest.raises(InputError, match="one target for each of the 2"):
        step.weights(view_of(("AAPL", "MSFT")), np.zeros(3))


# ----------------------------------------------------------------------------------------------------- diversification


def test_effective_bets_of_known_portfolios():
    assert effective_bets(np.full(10, 0.1)) == pytest.approx(10)
    assert effective_bets([1.0, 0.0, NAN]) == 1.0
    assert effective_bets([0.0]) == 0.0
    # Herfindahl of 50, 30, 20 %: 0.38
    assert effective_bets([0.5, -0.3, 0.2]) == pytest.approx(1 / 0.38)


def test_symbols_that_move_as_one_are_one_bet():
    assert effective_bets([0.5, 0.5], np.eye(2) * 0.04) == pytest.approx(2.0)
    assert effective_bets([0.5, 0.5], np.full((2, 2), 0.04)) == pytest.approx(1.0)
    # principal variances 1.5 and 0.5; a long-short pair stands wholly on the smaller one
    assert effective_bets([0.5, -0.5], [[1.0, 0.5], [0.5, 1.0]]) == pytest.approx(1.0)
    # shares of the variance 80 and 20 %, entropy 0.5004
    assert effective_bets([0.5, 0.5], np.diag([0.04, 0.01])) == pytest.approx(1.6494, abs=1e-4)
    assert effective_bets([0.5, 0.5, 0.0], np.diag([0.04, 0.04, NAN])) == pytest.approx(2.0)
    with pytest.raises(InputError, match="shape"):
        effective_bets([0.5, 0.5], np.eye(3))


def test_an_open_breaker_closes_a_position_whose_weight_is_unknown():
    step = Limits(max_drawdown=0.1, max_daily_loss=1.0).stepper(SYMBOLS[:2])
    step.weights(view_of(SYMBOLS[:2], equity=1e6), np.full(2, NAN))
    ruin = view_of(SYMBOLS[:2], time=1, session=1, equity=8e5, weights=[NAN, 0.0], shares=[100.0, 0.0])
    allowed, refused = step.weights(ruin, np.full(2, NAN))
    assert allowed[0] == 0.0
    assert "max_drawdown" in [r.limit for r in refused]


@pytest.mark.parametrize(("held", "kept"), [(0.54, True), (0.56, False)])
def test_what_is_kept_may_drift_over_the_net_cap_within_the_band(held, kept):
    allowed, refused = at_once(Limits(max_net=0.5, band=0.1), [NAN, 0.1], weights=[held, 0.0])
    assert bool(np.isnan(allowed[0])) is kept
    assert allowed[1] == 0.0
    assert [r.limit for r in refused] == ["max_net"]
