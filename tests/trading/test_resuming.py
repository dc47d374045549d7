"""A trader that is interrupted anywhere goes on as if nothing had happened."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_markets import bars_of

from longshort import Limits, Strategy, load_bars
from longshort.bars import State
from longshort.errors import InputError, LedgerError
from longshort.forecast import Forecast, TargetInfo
from longshort.orders import Costs, Instrument
from longshort.portfolio import EqualWeight, IntervalAware, Kelly, LongShort, RiskPerTrade, TopK, VolatilityTarget
from longshort.trading import Execution, History, Recorded, SimulatedBroker, Trader, play, recording

STRATEGIES = {
    "weekly": (LongShort(target_vol=0.3), Limits(), 5),
    "stops": (TopK(1, short=1), Limits(stop_loss=0.02, take_profit=0.03, cooldown=2), 1),
    "trailing": (EqualWeight(band=0.1), Limits(trailing_stop=0.03, max_position=0.3), 1),
    "atr": (RiskPerTrade(0.01, atr=2.0, atr_window=3), Limits(atr_stop=2.0, atr_window=3, atr_trailing=True), 1),
    "breakers": (Kelly(), Limits(max_drawdown=0.05, max_daily_loss=0.02, time_stop=4), 1),
    "silence": (VolatilityTarget(IntervalAware(LongShort())), Limits(max_silence=1, max_turnover=0.3), 1),
}


def trader(symbols: Any = ("A", "B", "C"), limits: Any = None) -> Trader:
    return Trader(Strategy(None, LongShort(), limits or Limits(stop_loss=0.05)), symbols)


PARTS = ("_left", "_waiting", "_fresh", "resting")


def market(seed: int, rows: int = 40) -> Any:
    """Three symbols with gaps, halts, splits, thin volume and forecasts that are missing now and then."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, (rows, 3)), axis=0))
    opened = close * np.exp(rng.normal(0, 0.01, close.shape))
    high, low = np.maximum(opened, close) * 1.005, np.minimum(opened, close) * 0.995
    table = np.stack([opened, high, low, close, rng.integers(200, 20_000, close.shape).astype(float)], axis=2)
    away = rng.random(close.shape) < 0.1
    table[away] = np.nan
    split = np.where(rng.random(close.shape) < 0.02, 2.0, 1.0)
    split[away] = 1.0
    state = np.where(away, State.HALTED, State.OK).astype(np.uint8)
    return bars_of(table, ["A", "B", "C"], state=state, split=split)


def said(bars: Any, horizon: int, seed: int) -> Forecast:
    rng = np.random.default_rng(seed + 1)
    mean = np.where(rng.random(bars.shape) < 0.15, np.nan, rng.normal(0, 0.02, bars.shape))
    kept = np.flatnonzero(rng.random(len(bars)) < 0.9)
    std = rng.uniform(0.01, 0.03, bars.shape)
    return Forecast(bars.time[kept], bars.symbols, mean[kept], std=std[kept], target=TargetInfo("return", horizon))


def session(name: str, seed: int) -> tuple[Any, list[str]]:
    """Play a session and return what makes a fresh trader of it, and every message the trader took in."""
    policy, limits, horizon = STRATEGIES[name]
    bars = market(seed)
    forecast = said(bars, horizon, seed)

    def fresh() -> Trader:
        return Trader(Strategy(None, policy, limits), bars.symbols, Recorded(forecast))

    tape = recording.Tape()
    broker = SimulatedBroker(100_000, bars.symbols, Costs(), Execution(participation=0.05))
    play(fresh(), broker, History(bars), tape)
    return fresh, tape.lines


def heard(trader: Trader, lines: list[str]) -> list[Any]:
    return [sent for line in lines for sent in trader.on(recording.from_line(line))]


@pytest.mark.parametrize("name", STRATEGIES)
@settings(max_examples=12, deadline=None)
@given(st.integers(0, 50), st.floats(0, 1))
def test_a_trader_interrupted_between_any_two_messages_sends_the_same(name, seed, where):
    fresh, lines = session(name, seed)
    cut = round(where * len(lines))
    whole, early, late = fresh(), fresh(), fresh()
    before = heard(whole, lines[:cut])
    assert heard(early, lines[:cut]) == before
    kept = json.loads(json.dumps(early.snapshot(), allow_nan=False))
    late.restore(kept)
    assert json.loads(json.dumps(late.snapshot(), allow_nan=False)) == kept
    assert heard(late, lines[cut:]) == heard(whole, lines[cut:])
    assert late.account.to_dict() == whole.account.to_dict()
    assert repr(late.refusals) == repr(whole.refusals[len(early.refusals) :])
    assert json.dumps(late.snapshot()) == json.dumps(whole.snapshot())


def test_sessions_of_these_markets_keep_every_part_of_the_state_busy():
    kept = set()
    for name in STRATEGIES:
        fresh, lines = session(name, 7)
        trader = fresh()
        for line in lines:
            trader.on(recording.from_line(line))
            now = trader.snapshot()
            kept |= {part for part in PARTS if now[part] not in ([], {"items": []})}
    assert kept == set(PARTS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version 2"),
        ({"instruments": []}, "other instruments"),
        ({"instruments": trader(("B", "A", "C")).snapshot()["instruments"]}, "other instruments"),
        ({"instruments": trader((Instrument("A", lot=10), "B", "C")).snapshot()["instruments"]}, "other instruments"),
        ({"policy": {}}, "must have"),
        ({"_mark": {"array": [1.0], "dtype": "float64", "shape": [1]}}, "'_mark' should be like"),
        ({"_mark": 5}, "'_mark' should be like"),
        ({"_left": [3]}, "'_left' should be like"),
        ({"resting": [[0, 5]]}, "damaged"),
        ({"resting": 3}, "damaged"),
        ({"account": {}}, "3 symbols was expected"),
    ],
)
def test_a_snapshot_of_something_else_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        trader().restore(trader().snapshot() | change)


def test_a_snapshot_lacks_nothing_and_has_nothing_beside():
    kept = trader().snapshot()
    for name in kept:
        with pytest.raises(InputError, match="must have"):
            trader().restore({k: v for k, v in kept.items() if k != name})
    with pytest.raises(InputError, match="must have"):
        trader().restore(kept | {"more": 1})


def test_an_account_that_does_not_add_up_is_not_taken_up():
    kept = trader().snapshot()
    kept["account"] = kept["account"] | {"cash_micro": kept["account"]["cash_micro"] + 1}
    with pytest.raises(LedgerError, match="does not add up"):
        trader().restore(kept)


def test_only_a_fresh_trader_takes_up_a_snapshot():
    bars = load_bars("AAPL", start="2014-06-02", end="2014-06-09", source="sample")
    one = Trader(EqualWeight(), bars.symbols)
    kept = one.snapshot()
    for event in History(bars):
        one.on(event)
    with pytest.raises(InputError, match="fresh trader"):
        one.restore(kept)


def test_limits_of_ones_own_without_a_memory_are_not_taken_to_have_none():
    class Own:
        def stepper(self, symbols):
            return self

        def to_dict(self):
            return {}

        def weights(self, view, targets):
            return targets, []

        def levels(self, view):
            return None

    with pytest.raises(InputError, match="limits cannot be kept: Own has no snapshot"):
        trader(limits=Own()).snapshot()
