"""Backtests: golden ledgers by hand, no look-ahead, costs that reconcile, the ledger of trials."""

import numpy as np
import pytest
from small_markets import FREE, bars_of, flat

from longshort import clock, ledger
from longshort.bars import State
from longshort.data import synthetic
from longshort.errors import InputError, OrderError
from longshort.evaluation.earnings import bars_per_year
from longshort.forecast import Forecast, TargetInfo
from longshort.orders import Costs, Instrument, Margin, Money
from longshort.portfolio import EqualWeight, Limits, TopK, VolatilityTarget
from longshort.strategy import Strategy
from longshort.trading import Execution, backtest
from longshort.trading.result import entries_at_random


def weights(*rows):
    """A rule that asks for one row of weights after the other."""
    table = iter([np.atleast_1d(np.asarray(row, np.float64)) for row in rows])
    return lambda view: next(table, np.full(len(view.symbols), np.nan))


def test_a_golden_ledger_long_short_and_flat():
    """Decide at 10, buy at the next opening at 11; sell short at 12; cover at 9: +1,000 and +3,000 on 1,000 shares."""
    rows = [(10, 10, 10, 10), (11, 11, 11, 11), (12, 12, 12, 12), (9, 9, 9, 9)]
    result = backtest(weights(1.0, -1.1, 0.0), None, bars_of(rows), cash=10_000, costs=FREE)
    assert result.positions[:, 0].tolist() == [0, 1000, -1000, 0]
    assert result.equity.tolist() == [10_000, 10_000, 11_000, 14_000]
    assert [(t.side, t.profit) for t in result.trades()] == [("long", 1000.0), ("short", 3000.0)]
    assert result.trades().win_rate == 1.0
    assert result.cash[-1] == 14_000


def test_win_rate_and_profit_factor_by_hand():
    """100 shares from 10 to 9: -100. Then 0.101011 of 9,900 at 9 are 111 shares, from 10 to 13: +333."""
    prices = [10.0, 10.0, 9.0, 9.0, 10.0, 10.0, 13.0, 13.0]
    asked = [0.1, 0.0, 0.0, 0.101011, None, 0.0, None, None]
    rule = weights(*[np.nan if a is None else a for a in asked])
    result = backtest(rule, None, flat(prices), cash=10_000, costs=FREE)
    trades = result.trades()
    assert [t.profit for t in trades] == [-100.0, 333.0]
    assert trades.win_rate == 0.5
    assert trades.profit_factor == 3.33
    assert trades.holding_days == 1.5
    assert result.scores()["trades"] == 2


# ------------------------------------------------------------------------------------------------------- no look-ahead


def _noise(n=1500, seed=0):
    return synthetic.random_walk(n, seed=seed)


def test_an_oracle_of_the_next_bar_earns_nothing_when_it_comes_one_bar_late():
    """Tomorrow's return, known a day early, is a fortune; the same numbers a day later are noise."""
    bars = _noise()
    close = bars["close"]
    ahead = np.append(close[1:] / close[:-1] - 1, [[0.0]], axis=0)
    sign = lambda view: np.sign(view.forecast.mean)  # noqa: E731
    early = Forecast(bars.time[:-2], bars.symbols, ahead[:-2], target=TargetInfo("return"))
    late = Forecast(bars.time[1:-1], bars.symbols, ahead[:-2], target=TargetInfo("return"))
    costs = {"costs": FREE}
    assert backtest(sign, early, bars, **costs).scores()["sharpe"] > 5
    verdict = backtest(sign, late, bars, **costs).verdict()
    assert abs(verdict.details["sharpe"]) < 1.5
    assert verdict.exit_code == 3


def test_what_comes_later_changes_nothing_earlier():
    bars = _noise(300)
    rule = lambda view: np.sign(view.returns)  # noqa: E731
    whole, part = backtest(rule, None, bars), backtest(rule, None, bars.until(int(bars.time[200])))
    assert whole.equity[:201].tolist() == part.equity.tolist()
    assert [o.line() for o in whole.orders if o.time < bars.time[200]] == [o.line() for o in part.orders]


def test_the_length_of_the_history_decides_nothing_for_a_policy_that_counts_by_the_year():
    bars = _noise(300)
    policy = VolatilityTarget(EqualWeight(), 0.05)
    whole, part = backtest(policy, None, bars), backtest(policy, None, bars.until(int(bars.time[200])))
    assert [o.line() for o in whole.orders if o.time < bars.time[200]] == [o.line() for o in part.orders]
    assert len(part.orders) > 50


@pytest.mark.parametrize("margin", [Margin(), Margin.cash()])
def test_the_order_of_the_columns_decides_nothing(margin):
    rng = np.random.default_rng(0)
    bars = flat(np.round(100 + rng.normal(size=(200, 5)).cumsum(axis=0), 2), [*"CADBE"])
    said = Forecast(bars.time[:-1], bars.symbols, rng.normal(size=(199, 5)), target=TargetInfo("return"))
    strategy = Strategy(policy=TopK(2, short=1), limits=Limits(stop_loss=0.05, take_profit=0.05))
    execution = Execution(margin=margin)
    one = backtest(strategy, said, bars, execution=execution)
    shuffled = [*"EDCBA"]
    mean = said.mean[:, [bars.symbols.index(s) for s in shuffled]]
    turned = Forecast(said.time, shuffled, mean, target=said.target)
    other = backtest(strategy, turned, bars, execution=execution)
    assert other.symbols == tuple(shuffled)
    assert other.order_hash == one.order_hash
    assert other.equity.tolist() == one.equity.tolist()
    assert len(one.orders) > 200


def test_a_position_nobody_can_sell_any_more_is_named():
    state = np.zeros((10, 2), np.uint8)
    state[5:, 0] = State.UNLISTED
    prices = np.full((10, 2), 100.0)
    prices[5:, 0] = np.nan
    result = backtest(lambda view: np.array([0.5, 0.5]), None, flat(prices, ["A", "B"], state=state))
    assert result.stuck == ("A",)
    assert "not tradable at the end, at their last prices: A, 50% of equity" in str(result)
    assert result.delisted == ()


def test_a_backtest_has_the_bars_a_year_that_a_study_of_its_rows_has():
    long, short = (backtest(lambda view: np.ones(1), None, _noise(n)) for n in (40, 29))
    assert long.bars_per_year == bars_per_year(long.time)
    assert short.bars_per_year == clock.bars_per_year("1D", short.bars.calendar)  # too few to count


def test_a_position_whose_exchange_is_closed_at_the_end_can_be_sold_another_day():
    state = np.zeros((10, 2), np.uint8)
    state[9, 0] = State.CLOSED
    result = backtest(lambda view: np.array([0.5, 0.5]), None, flat(np.full((10, 2), 100.0), ["A", "B"], state=state))
    assert result.stuck == ()


def test_a_backtest_without_cash_is_refused():
    for cash in (0, -5, Money.of(0)):
        with pytest.raises(InputError, match="cash above zero"):
            backtest(lambda view: np.ones(1), None, _noise(10), cash=cash)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"costs": 10}, "Costs.flat"),
        ({"execution": 0.1}, "Execution"),
        ({"cash": "100k"}, "number such as"),
        ({"instruments": {"X": 5}}, "must be Instrument"),
        ({"instruments": {"X": Instrument("Y")}}, "must be Instrument"),
    ],
)
def test_arguments_of_another_kind_are_refused_with_what_to_write(given, said):
    with pytest.raises((InputError, OrderError), match=said):
        backtest(lambda view: np.ones(1), None, flat([1.0, 2.0]), **given)


def test_a_position_that_a_reverse_split_pays_out_is_a_closed_trade():
    """7 at 10, one for ten: 0.7 of a share at 100 in cash; then 5 at 100, which is another trade."""
    split = np.ones((8, 1))
    split[3] = 0.1
    wanted = {18_000: 0.07, 18_004: 0.5}
    rule = lambda view: np.array([wanted.get(view.session, np.nan)])  # noqa: E731
    result = backtest(rule, None, flat([10, 10, 10, 100, 100, 100, 100, 100], split=split), cash=1000, costs=FREE)
    paid, held = result.trades()
    assert (paid.open, paid.shares, paid.exit_price, paid.reason) == (
        False,
        pytest.approx(0.7),
        pytest.approx(100.0),
        "lieu",
    )
    assert (held.open, held.shares, held.entry_price) == (True, 5.0, 100.0)
    assert sum(t.profit for t in result.trades()) == pytest.approx(result.equity[-1] - 1000, abs=1e-5)


def test_every_fill_is_later_than_its_decision():
    result = backtest(lambda view: np.sign(view.returns), None, _noise(300))
    decided = {order.id: order.time for order in result.orders}
    assert result.fills
    assert all(fill.time > decided[fill.order] for fill in result.fills)


# --------------------------------------------------------------------------------------------------------------- costs


def test_ten_basis_points_of_the_turnover_are_what_the_account_lacks():
    """Whole shares at prices in cents, the same orders with and without costs: they differ by a thousandth of it."""
    prices = np.round(100 + np.random.default_rng(0).normal(size=400).cumsum(), 2)
    bars = flat(prices)
    asked = np.sign(np.random.default_rng(1).normal(size=400)) * 0.5
    lots = lambda view: np.array([100 * asked[view.session - 18_000] * view.price[0] / view.equity])  # noqa: E731
    free, paid = backtest(lots, None, bars, costs=FREE), backtest(lots, None, bars, costs=Costs.flat(10))
    assert free.order_hash == paid.order_hash
    micro = lambda result: result.account.cash_micro + int(result.account.lots @ np.rint(prices[-1:] * 1e6))  # noqa: E731
    turnover = sum(abs(fill.lots) * fill.price_micro for fill in paid.fills)
    assert (micro(free) - micro(paid)) * 1000 == turnover
    assert paid.costs["commission"].sum() == pytest.approx(turnover / 1e9, abs=1e-9)
    assert paid.scores()["cost_bp"] == pytest.approx(10.0)


def test_each_kind_of_cost_makes_the_account_poorer_by_what_it_says():
    bars = _noise(400)
    rule = lambda view: np.array([-0.8 if view.session % 3 else 0.4])  # noqa: E731
    result = backtest(rule, None, bars, costs=Costs())
    for kind in ("commission", "spread", "borrow"):
        assert result.costs[kind].sum() > 0, kind
    gross = sum(result.costs[kind].sum() for kind in result.costs)
    assert result.scores()["break_even_bp"] * result.traded.sum() / 1e4 == pytest.approx(
        result.equity[-1] - result.equity[0] + gross
    )


# ---------------------------------------------------------------------------------------------------- what is recorded


def test_the_same_backtest_has_the_same_orders_and_is_one_trial():
    bars = _noise(200)
    with ledger.aside() as book:
        first, second = (backtest(lambda view: np.sign(view.returns), None, bars) for _ in range(2))
        assert first.order_hash == second.order_hash
        assert first.equity.tolist() == second.equity.tolist()
        assert book.trials() == 1
        other = backtest(lambda view: -np.sign(view.returns), None, bars)
        assert book.trials() == other.trials == 2
        facts = book.records(ledger.TRIAL)[0].facts
        assert facts["what"] == "backtest"
        assert facts["bars"] == bars.digest
        assert facts["orders"] == first.order_hash
        assert len(facts["returns"]) == 64


def test_twenty_useless_strategies_make_the_best_of_them_look_like_luck():
    bars = _noise(300, seed=3)
    with ledger.aside():
        for seed in range(20):
            draw = np.random.default_rng(seed)
            last = backtest(lambda view, draw=draw: draw.choice([-1.0, 1.0], 1), None, bars, costs=FREE)
        assert last.trials == 20
        assert last.verdict().details["deflated_benchmark"] > 0.5
        assert "after 20 trials" in last.verdict().sentence


def test_forecasts_that_are_not_of_these_bars_are_refused():
    bars = _noise(50)
    forecast = Forecast(bars.time + 1, bars.symbols, np.zeros(bars.shape))
    with pytest.raises(InputError, match="50 of 50 are not"):
        backtest(lambda view: view.weights, forecast, bars)
    with pytest.raises(InputError, match="needs prices"):
        backtest(lambda view: view.weights, forecast)
    with pytest.raises(InputError, match="Study or a Forecast"):
        backtest(lambda view: view.weights, "study", bars)
    with pytest.raises(InputError, match="1 symbols"):
        backtest(lambda view: np.zeros(2), None, bars)
    with pytest.raises(InputError, match="A policy is an object"):
        backtest(3, None, bars)


def test_a_result_prints_and_becomes_tables():
    bars = synthetic.random_walk(200, symbols=["A", "B"], seed=1)
    result = backtest(lambda view: np.sign(view.returns) / 2, None, bars)
    text = str(result)
    assert text.startswith("Backtest of a rule: 200 rows")
    assert all(word in text for word in ("Sharpe", "bp paid per traded value", "equal exposure", "No evidence"))
    assert result.verdict().sentence in result._repr_html_().replace("&#x27;", "'")
    for what in ("account", "positions", "weights", "profits", "trades", "fills", "orders", "refusals", "costs"):
        frame = result.to_pandas(what)
        assert len(frame) == {"trades": len(result.trades()), "fills": len(result.fills)}.get(
            what, {"orders": len(result.orders), "refusals": len(result.refusals)}.get(what, 200)
        )
    assert result.to_pandas("account")["equity"].iloc[-1] == result.equity[-1]
    with pytest.raises(InputError, match="positions"):
        result.to_pandas("position")
    returns = result.returns_pandas()
    assert (1 + returns).prod() == pytest.approx(result.equity[-1] / result.equity[0])
    assert returns.index.tz is None


def test_an_account_in_another_currency_trades_in_it():
    from longshort.orders import Instrument, Money

    bars = flat([100.0, 100.0, 110.0, 110.0])
    listed = {"X": Instrument("X", currency="EUR")}
    result = backtest(weights(0.5), None, bars, cash=Money.of(10_000, "EUR"), costs=FREE, instruments=listed)
    assert result.account.currency == result.fills[0].currency == "EUR"
    assert result.equity[-1] == 10_500
    assert "EUR" in str(result)
    with pytest.raises(OrderError, match="Cash is in USD, but X is traded in EUR"):
        backtest(weights(0.5), None, bars, cash=Money.of(10_000), instruments=listed)


def test_positions_taken_at_random_moments_say_whether_the_moment_mattered():
    moves = np.random.default_rng(0).normal(size=(400, 3))
    clever, lucky = entries_at_random(np.sign(moves), moves), entries_at_random(np.sign(moves[::-1]), moves)
    assert clever == 1 / 400
    assert 0.05 < lucky < 0.95
    by_hand = [(np.roll(np.sign(moves[::-1]), k, axis=0) * moves).sum() for k in range(400)]
    assert lucky == (1 + sum(other >= by_hand[0] for other in by_hand[1:])) / 400
    assert np.isnan(entries_at_random(np.zeros((5, 1)), np.zeros((5, 1))))


def test_a_position_that_is_still_open_is_no_trade_that_was_won_or_lost():
    result = backtest(weights(0.5), None, flat([100.0, 100.0, 110.0]), cash=10_000, costs=FREE)
    (trade,) = result.trades()
    assert (trade.open, trade.profit) == (True, 500.0)
    assert np.isnan(result.trades().win_rate)
    assert "1 round trips (1 still open)\n" in str(result)
    assert "nan" not in str(result.trades()[0])
