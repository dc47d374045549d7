"""What every public class of money does with arguments that make no sense: a typed error at once, nothing later."""

import inspect
import math
from decimal import Decimal

import pytest

from longshort import orders, portfolio, trading
from longshort.errors import LongshortError
from longshort.strategy import Contract, Strategy

NONSENSE = [math.nan, math.inf, -math.inf, Decimal("NaN"), 1j, b"x", [math.nan], object()]
GIVEN = {
    orders.BasisPoints: {},
    orders.Costs: {},
    orders.Instrument: {"symbol": "A"},
    orders.Margin: {},
    orders.Money: {"micro": 1},
    orders.Order: {"id": "1", "symbol": "A", "quantity": orders.Shares(1), "time": 0},
    orders.PerShare: {},
    orders.Shares: {"lots": 1},
    orders.Tiered: {},
    orders.Twice: {"schedule": orders.PerShare()},
    orders.Account: {"cash": 1000, "instruments": ["A"]},
    trading.Execution: {},
    trading.SimulatedBroker: {"cash": 1000, "instruments": ["A"]},
    trading.Trader: {"strategy": portfolio.EqualWeight(), "symbols": ["A"]},
    trading.Recorded: {"forecast": None},
    trading.History: {"bars": None},
    trading.Live: {"bars": None},
    portfolio.EqualWeight: {},
    portfolio.IntervalAware: {"policy": portfolio.Sign()},
    portfolio.Kelly: {},
    portfolio.Limits: {},
    portfolio.LongShort: {},
    portfolio.MeanVariance: {},
    portfolio.MinVariance: {},
    portfolio.Positions: {},
    portfolio.Quantiles: {},
    portfolio.RiskParity: {},
    portfolio.RiskPerTrade: {"stop": 0.05},
    portfolio.Sign: {},
    portfolio.TopK: {"k": 1},
    portfolio.VolatilityTarget: {"policy": portfolio.Sign()},
    Contract: {"symbols": ("A",), "bar_size": "1D", "calendar": "XNYS", "fields": ("close",)},
    Strategy: {},
}
TOLD = {"group", "reason", "reduces"}  # of an order: made in the loop, by the hundred thousand
ELSEWHERE = {(orders.Money, "currency"), (portfolio.Limits, "restricted")}  # looked at when they meet symbols
CASES = [
    pytest.param(kind, name, id=f"{kind.__name__}-{name}")
    for kind in GIVEN
    for name in inspect.signature(kind).parameters
    if name not in TOLD and (kind, name) not in ELSEWHERE
]


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_an_argument_that_makes_no_sense_is_a_typed_error(kind, name):
    for value in NONSENSE:
        with pytest.raises(LongshortError):
            kind(**{**GIVEN[kind], name: value})


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_a_number_is_neither_text_nor_a_truth_nor_left_out(kind, name):
    default = inspect.signature(kind).parameters[name].default
    if isinstance(default, int | float) and name != "account":  # money may be text
        for value in ("0.5", None, *([] if isinstance(default, bool) else [True])):
            with pytest.raises(LongshortError):
                kind(**{**GIVEN[kind], name: value})


def test_every_class_with_arguments_is_tried():
    public = {
        value
        for module in (orders, portfolio)
        for value in (getattr(module, name) for name in module.__all__ if name != "LSTMPrior")
        if inspect.isclass(value) and inspect.signature(value).parameters
    }
    told = {"BookEvent", "Cancel", "Ended", "Fill", "MarketEvent", "Position", "Posting"}  # messages: who reads checks
    made = {"Commission", "Failure", "Frontier", "LimitsAtWork", "OptimisedStep", "Rule", "Brackets"}
    assert {kind.__name__ for kind in public - set(GIVEN)} <= told | made
