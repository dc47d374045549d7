"""Tables of TOML: what is written is what is read, and nothing but what has a name."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshort import portfolio as p
from longshort.errors import InputError, UnknownName
from longshort.orders import BasisPoints, Costs, PerShare, Tiered
from longshort.trading.tables import costs_of, limits_of, policies, policy_of, strategy_of, to_toml

values = st.recursive(
    st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
tables = st.dictionaries(
    names, values | st.dictionaries(names, values | st.dictionaries(names, values, max_size=2), max_size=3)
)


@given(tables)
def test_what_is_written_is_what_is_read(table):
    assert tomllib.loads(to_toml(table)) == table


def needed(cls):
    return {"RiskPerTrade": {"risk": 0.01, "stop": 0.05}, "VolatilityTarget": {"policy": p.TopK(1), "target": 0.1}}.get(
        cls.__name__, {}
    )


@pytest.mark.parametrize("name", sorted(policies()))
def test_every_policy_comes_back_from_its_own_text(name):
    cls = policies()[name]
    for arguments in (needed(cls), {"policy": p.Sign()}, {"k": 2}):
        try:
            policy = cls(**arguments)
        except TypeError:
            continue
        text = to_toml({"policy": policy.to_dict()})
        assert policy_of(tomllib.loads(text)["policy"]) == policy
        return
    pytest.fail(f"no arguments are known that make a {name}")


@pytest.mark.parametrize(
    "costs",
    [
        Costs(),
        Costs(BasisPoints(2.0)),
        Costs(Tiered()),
        Costs(PerShare(0.01), borrow_by_symbol={"GME": 0.3, "BRK.B": 0.1}),
        Costs().doubled().doubled(),
    ],
)
def test_costs_come_back_from_their_own_text(costs):
    assert costs_of(tomllib.loads(to_toml({"costs": costs.to_dict()}))["costs"]) == costs


def test_limits_come_back_from_their_own_text_with_the_word_for_none():
    limits = p.Limits(stop_loss=0.05, sectors={"BRK.B": "finance", "KO": "food"}, restricted=("GME", "AMC"))
    text = to_toml({"limits": limits.to_dict()})
    assert 'take_profit = "none"' in text
    assert limits_of(tomllib.loads(text)["limits"]).to_dict() == limits.to_dict()


def test_functions_have_no_place_in_a_table():
    assert "Rule" not in policies()
    with pytest.raises(UnknownName, match="no kind 'Rule'"):
        policy_of({"kind": "Rule", "function": "os.system"})
    with pytest.raises(InputError, match="Rule"):
        to_toml({"policy": p.as_policy(print)})


def test_a_strategy_from_tables():
    strategy = strategy_of({"refit": "none", "limits": {"stop_loss": 0.1}})
    assert (strategy.refit, strategy.limits.stop_loss, strategy.policy) == (None, 0.1, p.LongShort())
