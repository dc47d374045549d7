"""What every exported policy promises, on views of a market in which anything may be missing, infinite or absurd."""

import inspect
import json
from dataclasses import fields, replace

import numpy as np
import pytest

from longshort import portfolio
from longshort.errors import InputError, SetupError
from longshort.forecast import Forecast, Policy, TargetInfo
from longshort.portfolio import view_of

SYMBOLS = ("MSFT", "AAPL", "XOM", "GOOG", "JPM")
GIVEN = {  # arguments where there must be some; further variants of others
    "TopK": [{"k": 2}, {"k": 1, "short": 2}, {"k": 0, "short": 9}],
    "Quantiles": [{}, {"fraction": 0.5, "short": False}],
    "LongShort": [{}, {"target_vol": 0.1}, {"memory": 1, "band": 0.05, "short": False}],
    "Kelly": [{}, {"fraction": 1.0, "cap": 0.3}],
    "RiskPerTrade": [{"stop": 0.05}, {"atr": 2.0, "risk": 0.05}],
    "VolatilityTarget": [{"policy": portfolio.Sign()}, {"policy": portfolio.TopK(2, 1), "target": 3.0}],
    "IntervalAware": [{"policy": portfolio.LongShort()}, {"policy": portfolio.Sign(), "hold": True, "cost": 0.0}],
}
NEEDS_NO_FORECAST = {"EqualWeight"}


def policies() -> list:
    found = []
    for name in portfolio.__all__:
        try:
            value = getattr(portfolio, name)
        except SetupError:
            continue
        if inspect.isclass(value) and hasattr(value, "stepper") and name not in ("Limits", "Rule"):
            found += [pytest.param(value, given, id=f"{name}-{i}") for i, given in enumerate(GIVEN.get(name, [{}]))]
    return found


ALL = policies()


def build(kind: type, given: dict) -> Policy:
    try:
        policy = kind(**given)
        policy.stepper(SYMBOLS)
    except SetupError as error:
        pytest.skip(str(error))
    return policy


def market(seed: int, horizon: int = 1, hostile: bool = True, bars: int = 40) -> list:
    """Views of a random market; hostile ones lack numbers and have absurd ones."""
    rng, n = np.random.default_rng(seed), len(SYMBOLS)
    views = []
    price = 50.0 + 100 * rng.random(n)
    mix = rng.normal(size=(n, n))
    for t in range(bars):
        returns = rng.normal(0, 0.02, n)
        price = price * (1 + returns)
        mean, std = rng.normal(0, 0.01, n), rng.uniform(0.005, 0.03, n)
        covariance = mix @ mix.T * 1e-4 + np.diag(std**2)
        position, weights = rng.uniform(-1, 1, n), rng.normal(0, 0.2, n)
        seen = {"returns": returns, "price": price, "high": price * 1.01, "low": price * 0.99, "weights": weights}
        state = np.zeros(n, dtype=np.uint8)
        if hostile:
            for array in (mean, std, position, *seen.values()):
                bad = rng.random(n) < 0.1
                array[bad] = rng.choice([np.nan, np.inf, -np.inf, 0.0, 1e300, -1e9], bad.sum())
            if rng.random() < 0.2:
                covariance[0, :] = covariance[:, 0] = rng.choice([np.nan, np.inf, 0.0])
            state[rng.random(n) < 0.1] = 2
        with np.errstate(invalid="ignore"):
            forecast = Forecast(
                np.array([t]),
                SYMBOLS,
                mean[None],
                std=std[None],
                quantiles={0.4: mean[None] - 0.003, 0.6: mean[None] + 0.003},
                covariance=covariance[None],
                position=position[None],
                target=TargetInfo("log_return", horizon),
            )
        row = None if hostile and rng.random() < 0.1 else forecast.row(0)
        views.append(view_of(SYMBOLS, row, time=t, session=t, state=state, **{k: v.copy() for k, v in seen.items()}))
        price = np.where(np.isfinite(price) & (price > 0) & (price < 1e6), price, 100.0)
    for view in views:
        for name in ("price", "returns", "high", "low", "volume", "state", "weights", "shares", "entry_price"):
            getattr(view, name).setflags(write=False)
    return views


def shuffled(view, order: np.ndarray):
    row = view.forecast
    if row is not None:
        row = replace(
            row,
            mean=row.mean[order],
            std=row.std[order],
            quantiles={q: v[order] for q, v in row.quantiles.items()},
            covariance=row.covariance[np.ix_(order, order)],
            position=row.position[order],
        )
    arrays = {
        f.name: getattr(view, f.name)[order] for f in fields(view) if isinstance(getattr(view, f.name), np.ndarray)
    }
    return replace(view, symbols=tuple(view.symbols[i] for i in order), forecast=row, **arrays)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("horizon", [1, 5])
@pytest.mark.parametrize(("kind", "given"), ALL)
def test_weights_are_finite_or_nan_and_within_one(kind, given, horizon, seed):
    step = build(kind, given).stepper(SYMBOLS)
    for view in market(seed, horizon):
        weights = step(view)
        assert weights.shape == (len(SYMBOLS),)
        assert weights.dtype == np.float64
        assert not np.isinf(weights).any()
        assert np.nansum(np.abs(weights)) <= 1 + 1e-9


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("kind", "given"), ALL)
def test_what_is_left_alone_and_what_is_asked_for_is_no_more_than_gross_together(kind, given, seed):
    step = build(kind, given).stepper(SYMBOLS)
    for view in market(seed):
        weights, held = step(view), np.abs(view.weights)
        kept = held[np.isnan(weights) & np.isfinite(held)].sum()
        if not np.isfinite(view.weights).all():
            continue
        assert kept + np.nansum(np.abs(weights)) <= max(1.0, kept) + given.get("band", 0.0) * len(SYMBOLS) + 1e-9


@pytest.mark.parametrize(("kind", "given"), ALL)
def test_every_policy_takes_positions_where_forecasts_are_clear(kind, given):
    step = build(kind, given).stepper(SYMBOLS)
    assert np.nansum(np.abs([step(view) for view in market(0, hostile=False)])) > 0.5


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("kind", "given"), ALL)
def test_without_a_forecast_or_a_market_the_position_is_left_alone(kind, given, seed):
    step = build(kind, given).stepper(SYMBOLS)
    for view in market(seed):
        weights = step(view)
        silent = view.state != 0
        if kind.__name__ not in NEEDS_NO_FORECAST:
            silent |= True if view.forecast is None else ~np.isfinite(view.forecast.mean)
        if kind.__name__ == "Positions" and view.forecast is not None:
            silent = (view.state != 0) | ~np.isfinite(view.forecast.position)
        assert np.isnan(weights[silent]).all()


@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize(("kind", "given"), ALL)
def test_the_order_of_the_symbols_decides_nothing(kind, given, horizon):
    order = np.array([3, 0, 4, 2, 1])
    policy = build(kind, given)
    step, other = policy.stepper(SYMBOLS), policy.stepper(tuple(SYMBOLS[i] for i in order))
    for view in market(1, horizon):
        ties = view if view.forecast is None else replace(view, forecast=replace(view.forecast, mean=rounded(view)))
        np.testing.assert_allclose(step(ties)[order], other(shuffled(ties, order)), rtol=1e-9, atol=1e-12)


def rounded(view) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.sign(view.forecast.mean) * 0.01  # ties everywhere


@pytest.mark.parametrize(("kind", "given"), ALL)
def test_a_fresh_step_says_the_same_and_views_stay_as_they_are(kind, given):
    policy, views = build(kind, given), market(2)
    first = policy.stepper(SYMBOLS)
    said = [first(view).copy() for view in views]
    again = policy.stepper(SYMBOLS)
    for weights, view in zip(said, market(2), strict=True):
        np.testing.assert_array_equal(again(view), weights)


@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize(("kind", "given"), ALL)
def test_a_step_that_is_interrupted_goes_on_bit_for_bit(kind, given, horizon):
    policy, views = build(kind, given), market(4, horizon)
    whole = policy.stepper(SYMBOLS)
    said = [whole(view).tobytes() for view in views]
    early = policy.stepper(SYMBOLS)
    for cut in (0, 1, 7, 25):
        late, early = policy.stepper(SYMBOLS), policy.stepper(SYMBOLS)
        for view in views[:cut]:
            early(view)
        late.restore(json.loads(json.dumps(early.snapshot(), allow_nan=False)))
        assert [late(view).tobytes() for view in views[cut:]] == said[cut:]
    with pytest.raises(InputError, match="snapshot"):
        policy.stepper(SYMBOLS[:2]).restore(early.snapshot())
    with pytest.raises(InputError, match="snapshot"):
        policy.stepper(SYMBOLS).restore({})


@pytest.mark.parametrize(("kind", "given"), ALL)
def test_policies_describe_themselves_in_json_and_know_their_symbols(kind, given):
    policy = build(kind, given)
    described = json.loads(json.dumps(policy.to_dict()))
    assert described["kind"] == kind.__name__
    assert isinstance(policy, Policy)
    assert policy == build(kind, given)
    assert hash(policy) == hash(build(kind, given))
    with pytest.raises(InputError, match="was started for"):
        policy.stepper(("A", "B"))(view_of(("B", "A")))


LIMITS = {
    "default": {},
    "tight": {
        "max_position": 0.1,
        "max_gross": 0.4,
        "max_net": 0.1,
        "max_turnover": 0.2,
        "min_effective_bets": 8.0,
        "stop_loss": 0.03,
        "take_profit": 0.05,
        "trailing_stop": 0.03,
        "atr_stop": 2.0,
        "atr_window": 3,
        "time_stop": 5,
    },
}


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize(("kind", "given"), ALL)
def test_every_policy_under_limits_asks_for_nothing_that_is_not_allowed(kind, given, limits):
    limits = portfolio.Limits(**LIMITS[limits], max_drawdown=1.0, max_daily_loss=1.0)
    step, gate = build(kind, given).stepper(SYMBOLS), limits.stepper(SYMBOLS)
    for view in market(3):
        asked = step(view)
        allowed, refused = gate.weights(view, asked)
        assert not np.isinf(allowed).any()
        held = np.where(np.isfinite(view.weights), view.weights, 0.0)
        after, before = (np.where(np.isnan(w), held, w) for w in (allowed, asked))
        assert (np.abs(after) <= np.abs(before) + 1e-9).all()
        assert np.abs(after).sum() <= limits.max_gross * (1 + limits.band) + 1e-9
        if not np.isfinite(view.weights).all():
            assert (np.abs(after) <= np.abs(held) + 1e-9).all()
        assert refused or np.array_equal(allowed, asked, equal_nan=True)
        stops, targets = gate.levels(view) or (np.full(len(SYMBOLS), np.nan),) * 2
        assert not (np.isinf(stops) | (stops <= 0) | np.isinf(targets) | (targets <= 0)).any()
