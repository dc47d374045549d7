"""Money, shares, orders, costs and accounts: whole numbers that add up, and junk that never leaves."""

import math
import random
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longshort.errors import InputError, LedgerError, LongshortError, OrderError, UnknownName
from longshort.orders import (
    Account,
    BasisPoints,
    BookEvent,
    Costs,
    Fill,
    Instrument,
    Margin,
    Money,
    Order,
    PerShare,
    Posting,
    Shares,
    Tiered,
    replayed,
    steps_of,
)

# ------------------------------------------------------------------------------------------------------------- units


def test_money_and_shares_do_not_add():
    for wrong in (
        lambda: Money.of(1) + Shares(1),
        lambda: Shares(1) + Money.of(1),
        lambda: Money.of(1) + 1,
        lambda: Shares(1) - 1,
        lambda: Money.of(1) * 0.5,
        lambda: Money.of(1) < Shares(2),
    ):
        with pytest.raises(TypeError):
            wrong()


def test_currencies_do_not_mix():
    with pytest.raises(OrderError, match="USD and EUR"):
        Money.of(1) + Money.of(1, "EUR")
    with pytest.raises(OrderError, match="EUR, but KO is traded in USD"):
        Account(Money.of(1, "EUR"), ["KO"])
    with pytest.raises(OrderError, match="BMW is traded in EUR"):
        Account(1, [Instrument("KO"), Instrument("BMW", currency="EUR")])


@pytest.mark.parametrize("amount", [math.nan, math.inf, -math.inf, 1e20, "nan", "1e400", "abc", True, Decimal("NaN")])
def test_money_refuses_what_is_not_a_finite_amount(amount):
    with pytest.raises((OrderError, ArithmeticError)):
        Money.of(amount)


def test_money_shows_cents_and_more_only_where_there_is_more():
    assert str(Money.of("1234.5")) == "1234.50 USD"
    assert str(Money.of("0.123456", "EUR")) == "0.123456 EUR"
    assert str(Money(-1)) == "-0.000001 USD"


def test_rounding_meets_multiples_that_floating_point_misses():
    assert [steps_of(k * 0.1, 0.1) for k in range(100)] == list(range(100))
    assert [steps_of(k * 0.01, 0.01, "down") for k in range(100)] == list(range(100))
    assert [steps_of(k * 0.01, 0.01, "up") for k in range(100)] == list(range(100))
    assert steps_of(np.array([-1.99, 1.99, 2.0]), 1.0).tolist() == [-1, 1, 2]


def test_rounding_of_arrays_meets_the_same_multiples():
    values = np.array([0.3, -0.7, 0.29, np.nan])
    assert steps_of(values, 0.1)[:3].tolist() == [3.0, -7.0, 2.0]
    assert [steps_of(v, 0.1) for v in values[:3].tolist()] == [3, -7, 2]
    with pytest.raises(UnknownName, match="'up'"):
        steps_of(0.3, 0.1, "upp")


def test_half_a_spread_is_rounded_against_us():
    assert Costs(half_spread_bp=2.0).spread_of(33_330_001) == 6667  # 6666.0002
    assert Costs(half_spread_bp=2.0).spread_of(10_000) == 2


def test_doubled_costs_double_every_kind():
    once = Costs(BasisPoints(5), 2.0, 0.5, 0.01, 0.06, {"GME": 0.3})
    twice = once.doubled()
    assert (twice.half_spread_bp, twice.impact, twice.borrow, twice.financing) == (4.0, 1.0, 0.02, 0.12)
    assert (twice.borrow_of("GME"), twice.borrow_of("KO")) == (0.6, 0.02)
    assert twice.commission.total_micro(1, 10**9, 0) == 2 * once.commission.total_micro(1, 10**9, 0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300])
def test_rounding_refuses_what_is_not_finite(value):
    with pytest.raises(OrderError, match="finite"):
        steps_of(value, 1.0)


@pytest.mark.parametrize("more", [{"lot": 0}, {"lot": 1e-9}, {"lot": math.nan}, {"tick": 0}, {"multiplier": 0}])
def test_an_instrument_refuses_steps_that_cannot_be_counted(more):
    with pytest.raises(InputError):
        Instrument("X", **more)


@settings(deadline=None)
@given(st.integers(-(10**9), 10**9), st.integers(1, 10**12), st.sampled_from([1.0, 0.001, 1e-8, 100.0]))
def test_opposite_quantities_have_opposite_values(lots, price, lot):
    instrument = Instrument("X", lot=lot)
    assert instrument.value_micro(lots, price) == -instrument.value_micro(-lots, price)
    assert abs(instrument.value_micro(lots, price) - lots * price * Decimal(str(lot))) <= Decimal("0.5")


# ------------------------------------------------------------------------------------------------------------ orders


def test_a_hundred_thousand_junk_orders_do_not_leave():
    """Every combination draws at least one field from what no order may have."""
    draw = random.Random(0)
    good = {"quantity": [Shares(1), Shares(-5)], "limit": [None], "stop": [None], "trail": [None], "time": [0]}
    junk_prices = [1.0, math.nan, math.inf, 100, "5", Shares(5), Money(0), Money(-5), -1]
    junk = {
        "quantity": [0, 1, 1.0, math.nan, math.inf, -math.inf, "1", None, Shares(0), Money.of(1), True, 1e300],
        "limit": junk_prices,
        "stop": junk_prices,
        "trail": junk_prices,
        "time": [0.0, math.nan, "now", None],
        "kind": ["markt", "", None, 3, math.nan],
        "valid": ["ioc ", "", None, 0],
    }
    left = 0
    for _ in range(100_000):
        fields = {name: draw.choice(values) for name, values in good.items()}
        for name in draw.sample(sorted(junk), draw.randint(1, 4)):
            fields[name] = draw.choice(junk[name])
        try:
            Order("1", "X", **fields)
            left += 1
        except LongshortError:
            pass
    assert left == 0


@pytest.mark.parametrize(
    ("kind", "prices"),
    [
        ("market", {"limit"}),
        ("limit", set()),
        ("limit", {"limit", "stop"}),
        ("stop", {"limit"}),
        ("stop_limit", {"stop"}),
        ("trailing_stop", {"stop"}),
    ],
)
def test_an_order_has_the_prices_of_its_kind_and_no_others(kind, prices):
    with pytest.raises(OrderError, match=kind):
        Order("1", "X", Shares(1), 0, kind, **dict.fromkeys(prices, Money.of(5)))


def test_shares_and_money_make_themselves_of_whole_numbers_only():
    for junk in (1.0, math.nan, "1", None, True, 2**70):
        with pytest.raises(OrderError):
            Shares(junk)
        with pytest.raises(OrderError):
            Money(junk)


def test_a_book_shows_the_best_level_first():
    with pytest.raises(OrderError, match="best first"):
        BookEvent.of(0, "X", bids=[(9.0, 1), (9.5, 1)], asks=[])


# ------------------------------------------------------------------------------------------------------------- costs


def test_commission_of_interactive_brokers_fixed_schedule():
    """100 shares at 25: 1.00; 1,000 shares at 25: 5.00; 1,000 shares at 0.25: 2.50, one percent (its price list)."""
    fixed = PerShare()
    assert fixed.total_micro(100, 2_500_000_000, 0) == 1_000_000
    assert fixed.total_micro(1000, 25_000_000_000, 0) == 5_000_000
    assert fixed.total_micro(1000, 250_000_000, 0) == 2_500_000


def test_tiers_are_marginal():
    tiered = Tiered(((100, 0.01), (200, 0.005)), minimum=0.0, most=1.0)
    assert tiered.total_micro(300, 10**12, 0) == 1_000_000 + 1_000_000
    assert tiered.total_micro(50, 10**12, 75) == 250_000 + 125_000


@pytest.mark.parametrize("name", ["half_spread_bp", "impact", "borrow", "financing"])
@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf, "1"])
def test_costs_below_zero_are_refused(name, value):
    with pytest.raises(InputError, match=name):
        Costs(**{name: value})


def test_nothing_is_free_by_default():
    costs = Costs()
    assert min(costs.half_spread_bp, costs.impact, costs.borrow, costs.financing) > 0
    assert costs.commission.total_micro(1, 10**9, 0) > 0
    assert costs.doubled().commission.total_micro(100, 10**10, 0) == 2 * costs.commission.total_micro(100, 10**10, 0)


def test_impact_follows_the_square_root_of_the_share_of_volume():
    costs = Costs(impact=1.0)
    one, four = (costs.impact_of(100_000_000, n, 0.02, 1e6) for n in (10_000, 40_000))
    assert one == 200_001 == int(100e6 * 0.02 * 0.1) + 1
    assert four == 400_001
    assert costs.impact_of(100_000_000, 1e12, 0.02, 1e6) == 10_000_001  # capped at a tenth of the price
    assert costs.impact_of(100_000_000, 1e4, math.nan, 1e6) == 0


# ---------------------------------------------------------------------------------------------------------- accounts


def test_a_round_trip_by_hand():
    """Buy 100 at 50, sell 40 at 55, sell 80 at 45: 60 were left to close at -5 and 20 open a short at 45."""
    account = Account(10_000, ["KO"])
    account.apply(Fill("1", "KO", 0, 100, 50_000_000, 1_000_000))
    account.apply(Fill("2", "KO", 0, -40, 55_000_000, 1_000_000))
    assert account.position("KO").realised == Money.of(200)
    account.apply(Fill("3", "KO", 0, -80, 45_000_000, 1_000_000))
    held = account.position("KO")
    assert (held.quantity, held.entry_price, held.basis) == (Shares(-20), 45.0, Money.of(-900))
    assert held.realised == Money.of(200 - 300)
    assert account.cash == Money.of(10_000 - 5000 + 2200 + 3600 - 3)
    assert account.equity(np.array([45.0])) == Money.of(10_000 - 100 - 3)
    account.audit()


def test_a_split_changes_shares_and_entry_price_but_not_what_it_cost():
    account = Account(10_000, ["KO"])
    account.apply(Fill("1", "KO", 0, 100, 60_000_000, 0))
    account.apply(Posting("split", "KO", 1, 0, 200, 3.0))
    assert account.position("KO").entry_price == 20.0
    assert account.equity(np.array([20.0])) == Money.of(10_000)
    account.audit()


def test_the_audit_finds_a_micro_unit():
    account = Account(10_000, ["KO"])
    account.apply(Fill("1", "KO", 0, 100, 60_000_000, 0))
    account.cash_micro += 1
    with pytest.raises(LedgerError, match=r"off by 1\."):
        account.audit()


@pytest.mark.parametrize("name", ["lots", "price_micro", "commission_micro"])
@pytest.mark.parametrize("value", [math.nan, math.inf, 1.5])
def test_a_fill_that_is_not_in_whole_numbers_changes_nothing(name, value):
    account = Account(1000, ["KO"])
    told = {"lots": 1, "price_micro": 10_000_000, "commission_micro": 0, name: value}
    with pytest.raises(OrderError, match="A fill is whole numbers"):
        account.apply(Fill("1", "KO", 0, **told))
    assert account.to_dict() == Account(1000, ["KO"]).to_dict()


@pytest.mark.parametrize("price", [0, -1])
def test_a_fill_has_a_price_above_zero(price):
    with pytest.raises(OrderError, match="above zero"):
        Account(1000, ["KO"]).apply(Fill("1", "KO", 0, 1, price, 0))


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("dividend", {"cash_micro": math.nan}),
        ("dividend", {"cash_micro": 1.5}),
        ("split", {"lots": math.nan}),
        *(("split", {"ratio": ratio}) for ratio in (math.nan, math.inf, 0.0, -2.0)),
    ],
)
def test_a_posting_that_is_not_in_whole_numbers_changes_nothing(kind, more):
    account = Account(1000, ["KO"])
    account.apply(Fill("1", "KO", 0, 10, 10_000_000, 0))
    before = account.to_dict()
    with pytest.raises(OrderError, match="A posting is whole numbers"):
        account.apply(Posting(kind, "KO", 0, **{"cash_micro": 0, **more}))
    assert account.to_dict() == before


@pytest.mark.parametrize("kind", ["commission", "spread", math.nan])
def test_what_fills_are_charged_cannot_be_posted(kind):
    with pytest.raises(UnknownName, match="posting's kind"):
        Account(1000, ["KO"]).apply(Posting(kind, "KO", 0, 5))


def test_an_account_names_the_nearest_symbol():
    with pytest.raises(UnknownName, match="Did you mean 'AAPL'"):
        Account(1, ["AAPL"]).apply(Fill("1", "AAPLE", 0, 1, 1, 0))
    with pytest.raises(InputError, match="differ"):
        Account(1, ["A", "A"])


def test_a_position_without_a_price_has_no_value():
    account = Account(1, ["A", "B"])
    account.apply(Fill("1", "A", 0, 1, 1, 0))
    assert account.equity(np.array([5.0, math.nan])) == Money(999_999 + 5_000_000)
    with pytest.raises(OrderError, match="finite price"):
        account.equity(np.array([math.nan, 5.0]))


@pytest.mark.parametrize("more", [{"initial": 1.5}, {"maintenance_long": math.nan}, {"maintenance_short": -0.1}])
def test_margins_are_shares(more):
    with pytest.raises(InputError, match="share"):
        Margin(**more)


LOTS = st.integers(-1000, 1000).filter(bool)
FILLS = st.lists(st.tuples(st.integers(0, 2), LOTS, st.integers(1, 10**9), st.integers(0, 10**7)), max_size=60)


@settings(max_examples=200, deadline=None)
@given(FILLS, st.sampled_from([1.0, 0.001, 10.0]))
def test_cash_plus_positions_is_conserved_by_every_fill_less_its_costs(fills, lot):
    """At the price of the fill, equity falls by the commission and nothing else (a lot of 0.001 rounds)."""
    account = Account(10**6, [Instrument(s, lot=lot) for s in "ABC"])
    for k, (j, lots, price, commission) in enumerate(fills):
        prices = np.full(3, price / 1e6)
        before = account.equity_micro(prices)
        account.apply(Fill(str(k), "ABC"[j], k, lots, price, commission))
        assert abs(account.equity_micro(prices) - (before - commission)) <= (0 if lot >= 1 else 2)
        account.audit()


def test_a_million_random_fills_are_conserved_to_the_micro_unit():
    """An independent sum of all trades, in Python's unbounded integers, gives the same cash and the same equity."""
    rng = np.random.default_rng(0)
    n, symbols = 1_000_000, [f"S{j}" for j in range(50)]
    account = Account(10**9, symbols)
    column, lots = rng.integers(0, 50, n).tolist(), rng.integers(-500, 501, n).tolist()
    price, commission = rng.integers(1_000_000, 500_000_000, n).tolist(), rng.integers(0, 5_000_000, n).tolist()
    cash, held = 10**15, [0] * 50
    for k in range(n):
        j = column[k]
        account.apply(Fill("", symbols[j], k, lots[k], price[k], commission[k]))
        cash -= lots[k] * price[k] + commission[k]
        held[j] += lots[k]
    last = rng.integers(1_000_000, 500_000_000, 50)
    assert account.cash_micro == cash
    assert account.equity_micro(last / 1e6) == cash + sum(a * b for a, b in zip(held, last.tolist(), strict=True))
    account.audit()


def test_ten_basis_points_of_the_turnover_reconcile_exactly():
    """Prices in cents: a thousandth of any trade is a whole number of micro-units."""
    rng = np.random.default_rng(1)
    account, turnover = Account(10**9, ["A"]), 0
    for k in range(5000):
        lots, price = int(rng.integers(-300, 301)), int(rng.integers(100, 90_000)) * 10_000
        value = abs(lots) * price
        account.apply(Fill("", "A", k, lots, price, BasisPoints(10).total_micro(abs(lots), value, 0)))
        turnover += value
    assert -account.totals["commission"] * 1000 == turnover


def test_an_account_is_a_fold_over_its_messages():
    messages = [Fill("1", "KO", 0, 10, 50_000_000, 7), Posting("dividend", "KO", 1, 4_000_000)]
    once = replayed(1000, ["KO"], messages)
    assert once.to_dict() == replayed(1000, ["KO"], messages).to_dict()
    assert once.totals["dividend"] == 4_000_000
    with pytest.raises(UnknownName, match="dividend"):
        once.apply(Posting("dividends", "KO", 1, 4_000_000))
    with pytest.raises(OrderError, match="fills and postings"):
        once.apply("fill")
