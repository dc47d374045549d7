"""A loaded strategy trades bar by bar as its backtest did: the same orders, from the same loop."""

import numpy as np
import pytest

import longshort as ls
from longshort import features as f
from longshort import models as m
from longshort import portfolio as p
from longshort.orders import Costs
from longshort.trading import Execution, History, SimulatedBroker, Streamed, Trader, play
from longshort.trading.result import hash_of

RETURN = f.forward_return()


@pytest.fixture(scope="module")
def bars():
    return ls.load_bars(["AAPL", "SPY"], start="2012-01-01", end="2015-12-31", source="sample")  # AAPL splits in 2014


def lstm(**changes):
    given = {"features": [f.log_return(), f.volatility(5)], "target": RETURN, "lookback": 5, "hidden": (4,)}
    return ls.LSTM(**(given | {"epochs": 2} | changes))


STRATEGIES = {
    "points": ls.Strategy(lstm(), p.TopK(1, short=1), ls.Limits(stop_loss=0.05)),
    "deviations": ls.Strategy(lstm(loss="gaussian", seeds=2), p.Kelly(), ls.Limits(trailing_stop=0.08)),
    "intervals": ls.Strategy(
        m.Conformal(lstm(), 0.02, "adaptive", normalise="volatility"), p.IntervalAware(p.LongShort(), cost=0.0)
    ),
    "ensemble": ls.Strategy(m.Ensemble([lstm(loss="gaussian"), lstm(loss="gaussian", lookback=8)]), p.Kelly()),
    "ridge": ls.Strategy(m.Ridge([f.rsi(14), f.log_return()], RETURN), p.VolatilityTarget(p.Sign(), 0.1)),
}


@pytest.mark.parametrize("name", STRATEGIES)
def test_streamed_and_stored_forecasts_lead_to_the_same_orders(bars, name, tmp_path):
    early = bars.until("2014-02-28")
    ls.save_strategy(tmp_path / "x", STRATEGIES[name].fitted(early), bars=early)
    strategy = ls.load_strategy(tmp_path / "x")
    first = len(early)
    stored = ls.backtest(strategy, strategy.predict(bars, start=int(bars.time[first])), bars)
    assert len(stored.orders) > 5

    broker = SimulatedBroker(100_000.0, list(bars.symbols), Costs(), Execution(), bars.bar_size)
    target = strategy.forecaster.target.info
    source = Streamed(strategy.stream(early), target)
    live = Trader(strategy, list(bars.symbols), source, broker.account.cash)
    play(live, broker, History(bars, first, len(bars)))
    told = [order for order in live.orders if order.time < bars.time[-1]]  # a backtest decides nothing it cannot fill
    assert hash_of(told) == hash_of([order for order in stored.orders if order.time < bars.time[-1]])
    assert broker.account.cash == live.account.cash
    assert np.isfinite(stored.equity).all()
