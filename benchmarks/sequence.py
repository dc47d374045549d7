"""Learning from sequences against learning from windows: the same windowed test error, with how much less work?

Window mode spends `lookback` cell steps on every target; a chunk spends `lookback` - 1 on warming the state up and then
one a target. Both are judged the same way, on windows that start from zero state, by the mean squared error of rows no
training has seen. Work is counted in cell steps trained on (one bar through the network and back), until a test error
within 1 % of the best that window mode ever reaches. The test error only stops the clock; nothing is chosen by it.

    python benchmarks/sequence.py
    python benchmarks/sequence.py --seeds 5 --chunk 60
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import longshort as ls
from longshort.features.windows import Windows
from longshort.models.sequences import Chunks, outputs
from longshort.models.training import Samples
from longshort.native import core

LOOKBACK, UNITS, BATCH, RATE = 60, [50, 50], 32, 1e-3
EVERY = 25_000  # cell steps between two looks at the test error


def cycles(n_train: int = 2000, n_test: int = 1000):
    """A non-linear autoregression with two slow cycles and noise: tomorrow needs more than today."""
    random = np.random.default_rng(0)
    n, t = n_train + n_test + LOOKBACK + 1, np.arange(n_train + n_test + LOOKBACK + 1)
    x = np.zeros(n)
    for k in range(2, n):
        x[k] = 0.6 * x[k - 1] - 0.5 * x[k - 2] + 0.8 * np.tanh(2 * x[k - 1] * x[k - 2]) + 0.3 * random.normal()
    x += np.sin(t * 2 * np.pi / 35) + 0.5 * np.sin(t * 2 * np.pi / 90)
    return x[:-1, None], x[1:], n_train


def planted(n_train: int = 2000, n_test: int = 1000):
    """`synthetic.planted_signal`: half of the next return's variance stands in the volume of the decision row."""
    bars = ls.data.synthetic.planted_signal(n_train + n_test + LOOKBACK + 1, seed=1)
    returns = np.diff(np.log(bars["close"][:, 0]), prepend=np.nan)
    return np.column_stack([returns[1:-1], np.log(bars["volume"][1:-1, 0])]), returns[2:], n_train


def ranges(n_test: int = 1000):
    """Real bars of AAPL: the log of tomorrow's high over low from returns, ranges and volumes until today."""
    bars = ls.load_bars("AAPL", start="2000-01-01", source="sample")
    high, low, close, volume = (bars.adjusted(k)[:, 0] for k in ("high", "low", "close", "volume"))
    width = np.log(np.maximum(high / low - 1, 1e-3))
    rows = np.column_stack([np.diff(np.log(close)), width[1:], np.diff(np.log(volume))])
    return rows[:-1], width[2:], len(rows) - 1 - n_test - LOOKBACK


SETS = {"cycles (synthetic)": cycles, "planted signal": planted, "next day's range of AAPL": ranges}


class Job:
    """One data set, scaled by its training rows, with what each mode learns from and what both are judged by."""

    def __init__(self, make):
        features, target, n_train = make()
        n_train += LOOKBACK - 1  # rows that are decided on in training, after those that only fill the first window
        self.features = np.ascontiguousarray(features)[:, None, :]
        self.center, self.scale = features[:n_train].mean(axis=0), features[:n_train].std(axis=0)
        self.target = ((target - target[:n_train].mean()) / target[:n_train].std())[:, None]
        windows = Windows.over(self.features, LOOKBACK)
        self.learn, self.judge = windows.take(windows.rows < n_train), windows.take(windows.rows >= n_train)

    def trainer(self, seed: int, **options):
        made = core.LSTMTrainer(
            n_inputs=self.features.shape[2], hidden=UNITS, lr=RATE, seed=seed, **({"lookback": LOOKBACK} | options)
        )
        made.bind(self.features, self.features.shape[2], self.center, self.scale)
        return made

    def by_window(self, seed: int):
        return self.trainer(seed, batch_size=BATCH), Samples(self.learn.starts, self.target[self.learn.rows]), LOOKBACK

    def by_sequence(self, seed: int, chunk: int, batch: int):
        chunks = Chunks.over(self.learn, chunk)
        size = int(chunks.counts.max())
        steps = LOOKBACK - 1 + size
        trainer = self.trainer(seed, batch_size=batch, lookback=steps, targets_per_window=size)
        return trainer, chunks.samples(self.target[self.learn.rows], size), steps

    def test_error(self, weights) -> float:
        if not hasattr(self, "_judge"):
            self._judge = self.trainer(0)
        self._judge.set_weights(weights)
        return float(np.mean((outputs(self._judge, self.judge, "window") - self.target[self.judge.rows]) ** 2))


def curve(job: Job, trainer, samples: Samples, steps: int, batch: int, budget: int) -> np.ndarray:
    """Train on slices of shuffled epochs; return (cell steps so far, test error, processor seconds) at each look."""
    slice_ = max(1, round(EVERY / (steps * batch))) * batch
    random, looks, work, seconds = np.random.default_rng(0), [], 0, 0.0
    while work < budget:
        order = random.permutation(len(samples))
        for part in np.split(order, range(slice_, len(order), slice_)):
            weights = () if samples.weights is None else (samples.weights[part],)
            begin = time.process_time()
            trainer.epoch(samples.starts[part], samples.targets[part], *weights)
            seconds += time.process_time() - begin
            work += len(part) * steps
            looks.append((work, job.test_error(trainer.weights()), seconds))
    return np.array(looks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--chunk", type=int, default=LOOKBACK // 2, help="most targets of a chunk")
    parser.add_argument("--batch", type=int, default=8, help="chunks in a batch")
    parser.add_argument("--epochs", type=int, default=20, help="of window mode")
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=list(SETS))
    options = parser.parse_args()
    print(f"{'':26}{'seed':>5}{'best error':>22}{'cell steps to it + 1 %':>28}{'':>8}{'processor s':>18}")
    for name in options.sets:
        job, ratios, errors = Job(SETS[name]), [], []
        budget = options.epochs * len(job.learn) * LOOKBACK
        for seed in range(options.seeds):
            window = curve(job, *job.by_window(seed), BATCH, budget)
            sequence = curve(job, *job.by_sequence(seed, options.chunk, options.batch), options.batch, budget // 2)
            goal = window[:, 1].min() * 1.01
            first, then = (np.flatnonzero(c[:, 1] <= goal) for c in (window, sequence))
            best = f"{window[:, 1].min():.4f} -> {sequence[:, 1].min():.4f}"
            w = window[first[0]]
            if not len(then):
                print(f"{name:26}{seed:5}{best:>22}{w[0] / 1e6:12.3f} M -> never", flush=True)
                ratios.append(0.0)
                continue
            s = sequence[then[0]]
            ratios.append(w[0] / s[0])
            errors.append(sequence[:, 1].min() / window[:, 1].min())
            print(
                f"{name:26}{seed:5}{best:>22}{w[0] / 1e6:14.3f} M -> {s[0] / 1e6:6.3f} M{w[0] / s[0]:7.1f}x"
                f"{w[2]:9.2f} -> {s[2]:5.2f}",
                flush=True,
            )
        print(f"=> {name:26} less work: median {np.median(ratios):.1f}x, least {min(ratios):.1f}x")


if __name__ == "__main__":
    main()
