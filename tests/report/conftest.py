"""Studies made in a moment: real `Study` objects around forecasts that were written down, not trained."""

from collections.abc import Callable

import numpy as np
import pytest

import longshort as ls
from longshort.evaluation.judged import information_free
from longshort.evaluation.splits import Fold
from longshort.forecast import Forecast
from longshort.models.training import History


def build_study(
    kind: str = "log_return",
    symbols: tuple[str, ...] = ("AAPL",),
    n: int = 900,
    failed: tuple[int, ...] = (),
    skill: float = 0.0,
    seeds: int = 3,
    quantiles: bool = False,
    seed: int = 0,
) -> ls.Study:
    """A study of four folds over random walks; `skill` mixes the outcome into the forecast."""
    f = ls.features
    bars = ls.data.synthetic.random_walk(n, symbols, seed=seed)
    target = getattr(f, f"forward_{kind}")(5 if kind == "volatility" else 1)
    actual, label_end = np.asarray(target.compute(bars)), np.asarray(target.label_end(bars))
    free = {name: np.asarray(v) for name, v in information_free(target, bars).items()}
    rows = np.arange(300, n - 5)
    rng = np.random.default_rng(seed)
    base = next(iter(free.values()))[rows]
    scale = np.nanstd(actual[rows] - base)
    noise = rng.normal(scale=0.2 * scale, size=(seeds, *base.shape))
    values = base + skill * (actual[rows] - base) + noise
    parts = np.array_split(np.arange(len(rows)), 4)
    fold = np.repeat(np.arange(4), [len(p) for p in parts])
    folds = []
    for k, part in enumerate(parts):
        first, last = rows[part[0]], rows[part[-1]]
        stamps = (int(bars.time[i]) for i in (first - 260, first - 1, first, last))
        one = Fold(k, *stamps, n_train=260, n_test=len(part))
        if k in failed:
            one, values[:, part] = one.failed("TrainingError: the loss was <nan> in epoch 3"), np.nan
        folds.append(one)
    mean = values.mean(axis=0)
    histories = [
        [None if k in failed else History([1.0, 0.7, 0.6], [1.1, 0.9, 0.95], best_epoch=2) for _ in range(seeds)]
        for k in range(4)
    ]
    lstm = ls.LSTM([f.log_return(), f.rsi(14)], target=target, lookback=20, hidden=(16, 8), dropout=0.1)
    return ls.Study(
        forecaster=lstm,
        bars=bars,
        cv=ls.WalkForward(train=260, test=150),
        target=target,
        folds=tuple(folds),
        forecast=Forecast(
            bars.time[rows],
            bars.symbols,
            mean,
            target=target.info,
            for_time=label_end[rows],
            quantiles={0.05: mean - 1.6 * scale, 0.95: mean + 1.6 * scale} if quantiles else None,
        ),
        seeds=values,
        actual=actual[rows],
        fold=fold,
        reference=np.asarray(bars.adjusted("close"))[rows],
        baselines={name: v[rows] for name, v in free.items()},
        challengers={"ridge": base + 0.1 * noise[0]},
        histories=histories,
        configuration={"forecaster": lstm.to_dict()},
        trials=2,
    )


@pytest.fixture
def make_study() -> Callable[..., ls.Study]:
    return build_study
