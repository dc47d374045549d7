"""Where nothing can be known the verdict says so: cheap forecasters on five kinds of markets, and the best of 20."""

import numpy as np
import pytest

import longshort as ls
from longshort import features as f
from longshort import ledger
from longshort.data import synthetic
from longshort.forecast import Forecast
from longshort.models import Ridge

INPUTS = [f.log_return(), f.log_return(5), f.volatility(10)]
CV = ls.WalkForward(250, 350)


class RandomLinear:
    """Weights nobody learned: the cheapest way to try a thousand things."""

    def __init__(self, target, seed):
        self.target, self.seed = target, seed

    def fit(self, bars, start=None):
        return self

    def predict(self, bars, start=None):
        values = np.asarray(f.FeatureSet(INPUTS).compute(bars)) @ np.random.default_rng(self.seed).normal(size=3)
        first = 0 if start is None else int(np.searchsorted(bars.time, start))
        return Forecast(bars.time[first:], bars.symbols, 0.1 * values[first:], target=self.target.info)

    def to_dict(self):
        return {"kind": "RandomLinear", "seed": self.seed}


def block_shuffled(n, seed):
    """AAPL's own returns in blocks of 20 days in random order: its tails and its volatility, nobody's future."""
    bars = ls.load_bars("AAPL", source="sample")
    r = np.diff(np.log(np.asarray(bars.adjusted("close"))[:, 0]))
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, len(r) - 20, size=n // 20 + 1)
    return synthetic.from_log_returns(np.concatenate([r[s : s + 20] for s in starts])[:n, None], seed=seed)


MARKETS = {
    "random walk": lambda n, seed: synthetic.random_walk(n, seed=seed),
    "drifting walk": lambda n, seed: synthetic.random_walk(n, seed=seed, drift=0.0006),
    "garch": lambda n, seed: synthetic.garch(n, seed=seed),
    "student t(3)": lambda n, seed: synthetic.student_t(n, seed=seed),
    "shuffled blocks": block_shuffled,
}


def edge(model, bars, tmp_path):
    with ledger.project(tmp_path):
        return ls.walk_forward(model, bars, CV, baselines=[], seeds=1).verdict().exit_code == 0


def test_a_ridge_finds_an_edge_on_at_most_11_of_100_markets_without_one(tmp_path):
    found = 0
    for name, market in MARKETS.items():
        for seed in range(20):
            bars = market(650, 1000 + seed)
            found += edge(Ridge(INPUTS, f.forward_log_return()), bars, tmp_path / f"{name}-{seed}")
    assert found <= 11  # the 99 % bound of 100 draws at 5 %


@pytest.mark.parametrize(
    ("horizon", "markets"), [(1, 5), *(pytest.param(h, 12, marks=pytest.mark.full) for h in (1, 5, 20))]
)
def test_the_best_of_twenty_is_tested_as_the_best_of_twenty(horizon, markets, tmp_path):
    """Each alone passes 5 % once in a while, and the best of twenty on two markets of three; not here."""
    target, found, naive = f.forward_log_return(horizon), 0, 0
    for seed in range(markets):
        bars = synthetic.random_walk(650, seed=2000 + seed)
        with ledger.project(tmp_path / str(seed)):
            studies = [ls.walk_forward(RandomLinear(target, k), bars, CV, baselines=[], seeds=1) for k in range(20)]
            found += any(study.verdict().exit_code == 0 for study in studies)
            assert {study.verdict().details["tried"] for study in studies} == {20}
        ps = [max(b["clark_west"]["p"] for b in s.verdict().details["benchmarks"].values()) for s in studies]
        naive += min(ps) < 0.05
    assert found <= (3 if markets == 12 else 2)  # the 99 % bounds of 12 and 5 draws at 5 %
    assert naive >= 2 or horizon > 1  # and the danger is real
