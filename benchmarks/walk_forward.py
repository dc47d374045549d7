"""A walk-forward of many small LSTMs beside a joblib loop of PyTorch fits, and the cost of a model by number.

Every symbol, fold and seed is a model of its own: 1 x 32 units, 20 steps of 2 features, Adam in batches of 32, two
epochs over 500 windows, then 50 forecasts. longshort is the real `walk_forward` with everything it does (features,
folds, scaling, forecasts, study); the loop fits and predicts ready-made windows, in as many processes as there are
cores, one thread each, started and warm. Of the loop only some models are timed, because every model costs the same.
Each contender runs in a process of its own; they take turns, and medians are compared.

    make bench
    python benchmarks/walk_forward.py --only speed --symbols 100 --folds 10 --seeds 3
    python benchmarks/walk_forward.py --only cost          # K = 10, 100, 1,000 models
    python benchmarks/walk_forward.py --only ray           # one worker against two, and the bytes
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time

TRAIN, TEST, LOOKBACK, UNITS, BATCH, EPOCHS = 500, 50, 20, 32, 32, 2
TIMED = 24  # models of the loop


def study(symbols: int, folds: int, seeds: int, parallel: str | None = None) -> tuple[float, str]:
    """Return the seconds of a walk-forward and the digest of its forecasts."""
    import longshort as ls
    from longshort import features as f
    from longshort.data import synthetic

    bars = synthetic.random_walk(TRAIN + TEST * folds + LOOKBACK + 2, symbols, seed=1)
    inputs = [f.log_return(), f.log_return().abs()]
    options = dict(epochs=EPOCHS, batch_size=BATCH, validation=0.0, per_symbol=True)
    lstm = ls.LSTM(inputs, lookback=LOOKBACK, hidden=(UNITS,), **options)
    cv = ls.WalkForward(train=TRAIN, test=TEST)
    if parallel:
        ls.walk_forward(lstm, bars.until(int(bars.time[TRAIN + 2 * TEST])), cv, [], seeds=1, parallel=parallel)  # warm
    begin = time.perf_counter()
    found = ls.walk_forward(lstm, bars, cv, baselines=[], seeds=seeds, parallel=parallel)
    seconds = time.perf_counter() - begin
    assert not any(fold.failure for fold in found.folds)
    return seconds, found.forecast.digest


def loop(models: int) -> float:
    """Return the seconds a joblib loop of PyTorch fits takes, per model."""
    from joblib import Parallel, delayed

    workers = Parallel(n_jobs=os.cpu_count())
    with workers:
        workers(delayed(fit)(seed) for seed in range(2 * (os.cpu_count() or 1)))  # start and warm
        begin = time.perf_counter()
        workers(delayed(fit)(seed) for seed in range(models))
        return (time.perf_counter() - begin) / models


def fit(seed: int) -> float:
    """Fit one network with PyTorch, as people do, and forecast its test rows."""
    import numpy as np
    import torch
    from torch import nn

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    x = np.random.default_rng(seed).normal(size=(TRAIN + TEST + LOOKBACK, 2)).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(x, LOOKBACK, axis=0).transpose(0, 2, 1)
    inputs = torch.from_numpy(np.ascontiguousarray(windows))
    outcomes = torch.from_numpy(x[LOOKBACK - 1 :, :1].copy())

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(2, UNITS, batch_first=True)
            self.dense = nn.Linear(UNITS, 1)

        def forward(self, x):
            return self.dense(self.lstm(x)[0][:, -1])

    net, criterion = Net(), nn.MSELoss()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(EPOCHS):
        for batch in torch.randperm(TRAIN).split(BATCH):
            optimizer.zero_grad()
            criterion(net(inputs[batch]), outcomes[batch]).backward()
            optimizer.step()
    with torch.no_grad():
        return float(net(inputs[TRAIN : TRAIN + TEST]).mean())


def contend(what: str, *numbers: int) -> dict[str, float | str]:
    """Run one contender in this process."""
    if what == "loop":
        return {"per_model": loop(numbers[0])}
    symbols, folds, seeds = numbers[:3]
    if what == "ray":
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        import ray

        ray.init(num_cpus=numbers[3], include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    seconds, digest = study(symbols, folds, seeds, "ray" if what == "ray" else None)
    return {"per_model": seconds / (symbols * folds * seeds), "seconds": seconds, "digest": digest}


# ----------------------------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--symbols", type=int, default=100)
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="speed,cost,ray", help="comma-separated: speed, cost, ray")
    parser.add_argument("--torch-python", default=sys.executable, help="interpreter that has torch and joblib")
    parser.add_argument("--contend", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contend:
        print(json.dumps(contend(options.contend[0], *map(int, options.contend[1:]))))
        return
    shape = (options.symbols, options.folds, options.seeds)
    wanted = options.only.split(",")
    if "speed" in wanted:
        report_speed(shape, options)
    if "cost" in wanted:
        report_cost(options.rounds)
    if "ray" in wanted and importlib.util.find_spec("ray") is None:
        print("Ray is not installed: no comparison of workers")
    elif "ray" in wanted:
        report_ray(shape, options.rounds)
    print(f"{os.cpu_count()} cores, load at the end {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}")


def report_speed(shape: tuple[int, int, int], options: argparse.Namespace) -> None:
    """Compare with the loop, in turns."""
    ours, theirs = [], []
    for _ in range(options.rounds):
        ours.append(measure(sys.executable, "study", *shape)["per_model"])
        theirs.append(measure(options.torch_python, "loop", TIMED)["per_model"])
        print(f"  longshort {1e3 * ours[-1]:.2f} ms a model, PyTorch and joblib {1e3 * theirs[-1]:.2f} ms", flush=True)
    ratio = statistics.median(theirs) / statistics.median(ours)
    print(f"=> {shape[0]} symbols x {shape[1]} folds x {shape[2]} seeds: {ratio:.1f} times the loop (wanted 5)")


def report_cost(rounds: int) -> None:
    """Print the cost of a model for 10, 100 and 1,000 models."""
    for symbols in (1, 10, 100):
        found = [measure(sys.executable, "study", symbols, 5, 2)["per_model"] for _ in range(rounds)]
        middle, best = 1e3 * statistics.median(found), 1e3 * min(found)
        print(f"=> K = {10 * symbols:5,}: {middle:.2f} ms a model ({best:.2f} best)")


def report_ray(shape: tuple[int, int, int], rounds: int) -> None:
    """Print how much faster two workers are than one, and whether the bytes are those of a local run."""
    local = measure(sys.executable, "study", *shape)["digest"]
    one, two = [], []
    for _ in range(rounds):
        for workers, times in ((1, one), (2, two)):
            found = measure(sys.executable, "ray", *shape, workers)
            times.append(found["seconds"])
            print(f"  {workers} worker: {times[-1]:.2f} s, same bytes as local: {found['digest'] == local}", flush=True)
    print(f"=> two workers are {statistics.median(one) / statistics.median(two):.2f} times one (wanted 1.7)")


def measure(python: str, *arguments: object) -> dict:
    """Run one contender in a process of its own."""
    command = [python, __file__, "--contend", *map(str, arguments)]
    done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{arguments[0]} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
