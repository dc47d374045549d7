import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longshort.portfolio import Limits, view_of

NAN = np.nan


class Tape:
    """One symbol, bar by bar: what the limits say while a position is held as given."""

    def __init__(self, limits, entry=100.0, side=1.0):
        self.step = limits.stepper(("AAPL",))
        self.entry, self.side, self.last, self.t = entry, side, None, 0

    def bar(self, price, high=None, low=None, *, held=True, target=NAN, returns=None, entry=None):
        if returns is None:
            returns = NAN if self.last is None else price / self.last - 1
        weight = 0.5 * self.side if held else 0.0
        view = view_of(
            ("AAPL",),
            time=self.t,
            session=self.t,
            price=[price],
            high=[price if high is None else high],
            low=[price if low is None else low],
            returns=[returns],
            weights=[weight],
            entry_price=[(entry or self.entry) if held else NAN],
        )
        self.last, self.t = price, self.t + 1
        allowed, refused = self.step.weights(view, np.array([target]))
        levels = self.step.levels(view)
        stop, aim = (NAN, NAN) if levels is None else (levels[0][0], levels[1][0])
        return float(allowed[0]), [r.limit for r in refused], stop, aim


def test_without_exits_there_are_no_levels():
    assert Limits().stepper(("AAPL",)).levels(view_of(("AAPL",))) is None


def test_a_stop_loss_stands_at_a_fraction_of_the_entry_price():
    tape = Tape(Limits(stop_loss=0.05))
    assert tape.bar(99.0) == (pytest.approx(NAN, nan_ok=True), [], 95.0, pytest.approx(NAN, nan_ok=True))
    said = tape.bar(95.0)
    assert said[:3] == (0.0, ["stop_loss"], 95.0)


def test_the_stop_of_a_short_stands_above_its_entry():
    tape = Tape(Limits(stop_loss=0.05, take_profit=0.1), side=-1.0)
    assert tape.bar(104.0)[2:] == (105.0, 90.0)
    assert tape.bar(105.5)[:2] == (0.0, ["stop_loss"])


def test_the_refusal_of_a_stop_names_price_level_and_weight():
    step = Limits(stop_loss=0.05).stepper(("AAPL",))
    view = view_of(("AAPL",), time=7, price=[94.0], weights=[0.5], entry_price=[100.0])
    _, (refusal,) = step.weights(view, np.array([0.6]))
    assert (refusal.time, refusal.limit, refusal.symbol) == (7, "stop_loss", "AAPL")
    assert (refusal.value, refusal.bound, refusal.asked, refusal.allowed) == (94.0, 95.0, 0.6, 0.0)


def test_a_profit_is_taken_at_its_target():
    tape = Tape(Limits(take_profit=0.1))
    assert tape.bar(109.0)[3] == pytest.approx(110.0)
    assert tape.bar(110.01)[:2] == (0.0, ["take_profit"])


def test_a_trailing_stop_follows_the_best_price_and_never_moves_back():
    tape = Tape(Limits(trailing_stop=0.05))
    assert tape.bar(100.0)[2] == 95.0
    assert tape.bar(110.0)[2] == pytest.approx(104.5)
    assert tape.bar(106.0)[2] == pytest.approx(104.5)
    assert tape.bar(107.0, high=112.0)[2] == pytest.approx(106.4)  # highs count
    assert tape.bar(106.0)[:2] == (0.0, ["trailing_stop"])


def test_a_trailing_stop_of_a_short_follows_the_lows():
    tape = Tape(Limits(trailing_stop=0.05), side=-1.0)
    assert tape.bar(100.0, low=80.0)[2] == 105.0  # that bar began before the entry
    assert tape.bar(95.0, low=90.0)[2] == pytest.approx(94.5)
    assert tape.bar(94.6)[:2] == (0.0, ["trailing_stop"])


def test_the_high_of_the_bar_of_entry_does_not_count():
    assert Tape(Limits(trailing_stop=0.05)).bar(101.0, high=120.0)[2] == pytest.approx(0.95 * 101.0)


def test_the_tightest_stop_counts():
    tape = Tape(Limits(stop_loss=0.02, trailing_stop=0.1))
    assert tape.bar(100.0)[2] == 98.0
    assert tape.step.exits.rule_of(0) == "stop_loss"
    assert tape.bar(120.0)[2] == pytest.approx(108.0)
    assert tape.step.exits.rule_of(0) == "trailing_stop"


def test_a_split_moves_remembered_prices_with_the_shares():
    tape = Tape(Limits(stop_loss=0.3, trailing_stop=0.1))
    assert tape.bar(100.0)[2] == 90.0
    assert tape.bar(140.0)[2] == pytest.approx(126.0)
    said = tape.bar(34.0, returns=34.0 * 4 / 140.0 - 1, entry=25.0)  # four for one
    assert said[2] == pytest.approx(31.5)
    assert np.isnan(said[0])
    assert tape.bar(31.0, entry=25.0)[:2] == (0.0, ["trailing_stop"])


def test_a_dividend_lowers_the_best_price_by_as_much_as_the_share():
    tape = Tape(Limits(trailing_stop=0.05))
    tape.bar(100.0)
    price = 96.0  # four went out as a dividend: no loss at all
    said = tape.bar(price, returns=(price + 4.0) / 100.0 - 1)
    assert said[2] == pytest.approx(0.95 * 96.0)
    assert np.isnan(said[0])


def test_a_split_while_a_bar_is_missing_leaves_levels_alone():
    tape = Tape(Limits(trailing_stop=0.05))
    tape.bar(100.0)
    assert tape.bar(100.0, returns=NAN)[2] == 95.0


def test_an_atr_stop_keeps_the_distance_it_had_at_entry():
    tape = Tape(Limits(atr_stop=2.0, atr_window=3))
    for _ in range(4):
        tape.bar(100.0, 101.0, 98.0, held=False)  # true range 3, from the second bar on
    assert tape.bar(100.0, 101.0, 98.0)[2] == pytest.approx(94.0)
    assert tape.bar(100.0, 110.0, 95.0)[2] == pytest.approx(94.0)  # a wild bar moves it not
    assert tape.bar(93.9)[:2] == (0.0, ["atr_stop"])


def test_a_trailing_atr_stop_follows_the_best_price_and_never_moves_back():
    tape = Tape(Limits(atr_stop=2.0, atr_window=1, atr_trailing=True))
    tape.bar(100.0, held=False)
    assert tape.bar(100.0, 101.0, 99.0)[2] == pytest.approx(96.0)  # true range 2
    assert tape.bar(105.0, 106.0, 104.0)[2] == pytest.approx(96.0)  # twice 6 below 106 would be lower
    rising = tape.bar(106.0, 106.0, 105.0)[2]
    assert rising == pytest.approx(106.0 - 2.0)  # true range 1
    assert tape.bar(105.0, 120.0, 105.0)[2] == rising  # twice 15 below 120 would be lower


def test_nothing_is_opened_before_the_true_range_is_known():
    tape = Tape(Limits(atr_stop=2.0, atr_window=3))
    for _ in range(3):
        assert tape.bar(100.0, 101.0, 99.0, held=False, target=0.5)[:2] == (0.0, ["atr_stop"])
    assert tape.bar(100.0, 101.0, 99.0, held=False, target=0.5)[:2] == (0.5, [])


def test_the_true_range_is_wilders_and_sees_no_split():
    from longshort.portfolio.volatility import TrueRange

    rng = np.random.default_rng(0)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, 60)))
    high, low = close * (1 + rng.random(60) * 0.02), close * (1 - rng.random(60) * 0.02)
    ranges = TrueRange(1, 14)
    factor = 1.0
    for t in range(60):
        if t == 40:
            factor = 1 / 7
        returns = [NAN if t == 0 else close[t] / close[t - 1] - 1]
        seen = {"price": [close[t] * factor], "high": [high[t] * factor], "low": [low[t] * factor]}
        ranges.update(view_of(("AAPL",), returns=returns, **seen))
    true = np.maximum(high[1:], close[:-1]) - np.minimum(low[1:], close[:-1])
    expected = true[:14].mean()  # Wilder (1978): a mean first, then 1/14 of every new one
    for value in true[14:]:
        expected += (value - expected) / 14
    assert ranges.atr[0] * 7 == pytest.approx(expected)


def test_a_time_stop_closes_after_so_many_bars():
    tape = Tape(Limits(time_stop=3))
    assert [tape.bar(100.0)[1] for _ in range(3)] == [[], [], ["time_stop"]]


def test_a_new_position_starts_the_clock_and_the_best_price_anew():
    tape = Tape(Limits(time_stop=3, trailing_stop=0.05, cooldown=0))
    tape.bar(120.0)
    tape.bar(120.0)
    tape.bar(100.0, held=False)
    assert [tape.bar(100.0)[1:3] for _ in range(3)] == [([], 95.0), ([], 95.0), (["time_stop"], 95.0)]


def test_turning_the_position_round_starts_anew():
    tape = Tape(Limits(trailing_stop=0.05))
    assert tape.bar(110.0)[2] == pytest.approx(104.5)
    tape.side = -1.0
    assert tape.bar(110.0, entry=108.0)[2] == pytest.approx(108.0 * 1.05)


def test_after_a_stop_the_same_side_waits():
    tape = Tape(Limits(stop_loss=0.05, cooldown=2))
    assert tape.bar(94.0, target=0.5)[:2] == (0.0, ["stop_loss"])
    assert tape.bar(94.0, held=False, target=0.5)[:2] == (0.0, ["cooldown"])
    assert tape.bar(94.0, held=False, target=-0.5)[:2] == (-0.5, [])  # the other side need not
    assert tape.bar(94.0, held=False, target=0.5)[:2] == (0.5, [])


def test_a_position_gone_in_a_bar_that_touched_its_stop_counts_as_stopped():
    tape = Tape(Limits(stop_loss=0.05))
    tape.bar(100.0, target=0.5)
    assert tape.bar(97.0, 99.0, 94.0, held=False, target=0.5)[:2] == (0.0, ["cooldown"])
    assert tape.bar(97.0, held=False, target=0.5)[:2] == (0.5, [])


def test_a_position_gone_for_other_reasons_may_be_entered_again():
    tape = Tape(Limits(stop_loss=0.05))
    tape.bar(100.0, target=0.5)
    assert tape.bar(97.0, 99.0, 96.0, held=False, target=0.5)[:2] == (0.5, [])


def test_a_position_without_an_entry_price_is_not_added_to():
    tape = Tape(Limits(stop_loss=0.05))
    assert tape.bar(100.0, target=0.8, entry=NAN)[:2] == (0.5, ["inputs"])
    assert tape.bar(100.0, target=0.2, entry=NAN)[:2] == (0.2, [])


def test_no_price_moves_no_level_and_closes_nothing():
    tape = Tape(Limits(stop_loss=0.05, trailing_stop=0.1))
    assert tape.bar(100.0)[2] == 95.0
    said = tape.bar(NAN)
    assert np.isnan(said[0])
    assert said[1:3] == ([], 95.0)


def test_asking_twice_at_one_moment_counts_as_one_bar():
    step = Limits(time_stop=2).stepper(("AAPL",))
    first, second = (view_of(("AAPL",), time=t, weights=[0.5]) for t in (1, 2))
    for view, expected in ((first, NAN), (first, NAN), (second, 0.0), (second, 0.0)):
        step.levels(view)
        np.testing.assert_array_equal(step.weights(view, np.array([NAN]))[0], [expected])


def test_a_bracket_for_a_position_just_opened():
    tape = Tape(Limits(stop_loss=0.05, take_profit=0.1, atr_stop=1.0, atr_window=1))
    tape.bar(100.0, held=False)
    tape.bar(100.0, 101.0, 99.0, held=False)  # true range 2
    assert tape.step.bracket(0, 50.0, 1) == pytest.approx((48.0, 55.0))
    assert tape.step.bracket(0, 50.0, -1) == pytest.approx((52.0, 45.0))
    assert np.isnan(Limits(time_stop=2).stepper(("A",)).bracket(0, 50.0, 1)).all()
    assert Limits().stepper(("A",)).bracket is None


@pytest.mark.parametrize(("low", "expected"), [(94.0, (0.0, ["cooldown"])), (96.0, (0.5, []))])
def test_a_position_opened_and_stopped_within_one_bar_waits_too(low, expected):
    tape = Tape(Limits(stop_loss=0.05))
    tape.bar(100.0, held=False, target=0.5)
    tape.step.bracket(0, 100.0, 1)
    assert tape.bar(97.0, 101.0, low, held=False, target=0.5)[:2] == expected
    assert tape.bar(97.0, held=False, target=0.5)[:2] == (0.5, [])


RULES = st.fixed_dictionaries(
    {},
    optional={
        "stop_loss": st.floats(0.01, 0.3),
        "take_profit": st.floats(0.01, 0.3),
        "trailing_stop": st.floats(0.01, 0.3),
        "atr_stop": st.floats(0.5, 5),
        "atr_trailing": st.booleans(),
        "time_stop": st.integers(2, 20),
    },
)


@settings(max_examples=60, deadline=None)
@given(RULES, st.integers(0, 10**6), st.sampled_from([1.0, -1.0]))
def test_splits_change_neither_what_is_closed_nor_when(rules, seed, side):
    rng = np.random.default_rng(seed)
    returns = rng.normal(0, 0.03, 30)
    price = 100 * np.cumprod(1 + returns)
    high, low = price * (1 + 0.02 * rng.random(30)), price * (1 - 0.02 * rng.random(30))
    shares = np.cumprod(np.where(rng.random(30) < 0.2, rng.choice([2.0, 7.0, 0.1], 30), 1.0))
    limits = Limits(**rules, atr_window=3)
    plain, split = limits.stepper(("AAPL",)), limits.stepper(("AAPL",))
    for t in range(30):
        said = []
        for step, factor in ((plain, 1.0), (split, shares[t])):
            view = view_of(
                ("AAPL",),
                time=t,
                session=t,
                returns=[returns[t]],
                weights=[0.5 * side * (t >= 5)],
                **{n: [v[t] / factor] for n, v in (("price", price), ("high", high), ("low", low))},
                entry_price=[price[4] / factor],
            )
            allowed, refused = step.weights(view, np.array([NAN]))
            levels = step.levels(view) or (np.array([NAN]), np.array([NAN]))
            said.append((allowed, [r.limit for r in refused], *(level * factor for level in levels)))
        assert said[0][1] == said[1][1]
        for one, other in zip(said[0][::2], said[1][::2], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-9)


@given(st.integers(0, 10**6), st.sampled_from([1.0, -1.0]), st.booleans())
@settings(max_examples=40, deadline=None)
def test_trailing_levels_never_move_back(seed, side, ranges):
    rng = np.random.default_rng(seed)
    limits = Limits(atr_stop=2.0, atr_window=2, atr_trailing=True) if ranges else Limits(trailing_stop=0.1)
    tape, last = Tape(limits, side=side), -np.inf
    for price in 100 * np.exp(np.cumsum(rng.normal(0, 0.02, 40))):
        stop = side * tape.bar(price, price * 1.01, price * 0.99)[2]
        if np.isfinite(stop):
            assert stop >= last - 1e-9
            last = stop
    assert np.isfinite(last)


@pytest.mark.parametrize(
    ("side", "high", "low", "touched"),
    [
        (1.0, 111.0, 99.0, True),
        (1.0, 109.0, 99.0, False),
        (1.0, 101.0, 94.0, True),
        (-1.0, 101.0, 89.0, True),
        (-1.0, 101.0, 91.0, False),
        (-1.0, 106.0, 99.0, True),
    ],
)
@pytest.mark.parametrize("within", [False, True], ids=["a bar later", "within its first bar"])
def test_stops_and_targets_of_both_sides_start_the_wait(side, high, low, touched, within):
    tape = Tape(Limits(stop_loss=0.05, take_profit=0.1), side=side)
    tape.bar(100.0, held=not within, target=0.5 * side)
    if within:
        tape.step.bracket(0, 100.0, int(side))
    allowed, refused = tape.bar(100.0, high, low, held=False, target=0.5 * side)[:2]
    assert (allowed, refused) == ((0.0, ["cooldown"]) if touched else (0.5 * side, []))


@pytest.mark.parametrize("cooldown", [0, 1, 3])
def test_an_exit_at_a_close_waits_as_many_decisions_as_one_within_the_bar(cooldown):
    """Closed at decision t and gone at the next, or gone by a resting order within the bar: the wait is the same."""
    at_close, within = (Tape(Limits(stop_loss=0.05, cooldown=cooldown)) for _ in range(2))
    at_close.bar(94.0)
    within.bar(99.0)
    for tape, low in ((at_close, 94.0), (within, 94.0)):
        first = tape.bar(96.0, 97.0, low, held=False, target=0.5)[1]
        said = [first] + [tape.bar(96.0, held=False, target=0.5)[1] for _ in range(4)]
        assert said == [["cooldown"]] * cooldown + [[]] * (5 - cooldown)
