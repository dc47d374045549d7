"""Many models at once: 32 independent LSTMs as a longshort fleet, as a loop of PyTorch fits, and in a tuned pool.

Every model has its own data, its own seed and 512 windows an epoch, in batches of 32 with Adam and the mean squared
error. The fleet is `models.fleet.run` over trainings, the way every estimator, ensemble and walk-forward trains. The
loop is what people write: one fit after the other, one thread. The pool is PyTorch at its best here: two processes
that are already started and warm, one thread each, glibc told to keep freed memory. Each contender runs in a process of
its own; they take turns for several rounds, and the medians of their rates are compared.

    make bench
    python benchmarks/fleets.py --only tiny --rounds 3
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time

MODELS, WINDOWS, BATCH = 32, 512, 32
SHAPES = {  # name: (what it is, units of each layer, window, features, epochs timed)
    "tiny": ("1 x 16 units, 20 steps of 5 features", (16,), 20, 5, 12),
    "small": ("1 x 32 units, 20 steps of 5 features", (32,), 20, 5, 10),
    "tutorial": ("2 x 50 units, 60 steps of 1 feature", (50, 50), 60, 1, 3),
}
CONTENDERS = {
    "longshort": "longshort, fleet on 2 threads",
    "longshort-1": "longshort, fleet on 1 thread",
    "loop": "PyTorch, loop of fits, 1 thread",
    "loop-malloc": "PyTorch, loop of fits, 1 thread, malloc settings",
    "pool": "PyTorch, 2 processes x 1 thread, malloc settings",
}
WANTED = {"tiny": (15, 8), "small": (7, 3.5), "tutorial": (4.5, 1.8)}  # times the loop, times the pool


def series(seed: int, length: int, features: int):
    """Return one model's data (WINDOWS + length, features) and its targets (WINDOWS, 1)."""
    import numpy as np

    x = np.random.default_rng(seed).normal(size=(WINDOWS + length, features))
    return x, np.tanh(x[length:, :1])


# ----------------------------------------------------------------------------------------------------------------------
# Contenders: each returns the seconds for all models and the mean of their last training losses


def run_longshort(shape: str, threads: int) -> tuple[float, float]:
    from longshort.models import fleet

    _, _, _, _, epochs = SHAPES[shape]
    data = _all_series(shape)
    fleet.run([_training(shape, seed, *data[seed], epochs=1) for seed in range(4)], threads)  # start the pool
    begin = time.perf_counter()
    trainings = [_training(shape, seed, *data[seed], epochs=epochs) for seed in range(MODELS)]
    failures = fleet.run(trainings, threads)
    seconds = time.perf_counter() - begin
    assert failures == [None] * MODELS
    return seconds, statistics.mean(training.history.train_loss[-1] for training in trainings)


def _training(shape: str, seed: int, x, targets, epochs: int):
    import numpy as np

    from longshort.models.training import Samples, Training
    from longshort.native import core

    _, hidden, length, features, _ = SHAPES[shape]
    engine = core.LSTMTrainer(
        n_inputs=features, hidden=list(hidden), lookback=length, batch_size=BATCH, seed=seed, threads=1
    )
    engine.bind(x.ravel(), features, np.zeros(features), np.ones(features))
    return Training(engine, Samples(np.arange(WINDOWS) * features, targets), None, epochs, None)


def _all_series(shape: str):
    _, _, length, features, _ = SHAPES[shape]
    return [series(seed, length, features) for seed in range(MODELS)]


def run_loop(shape: str, malloc: bool) -> tuple[float, float]:
    fit = torch_fit(shape, malloc)
    data = _all_series(shape)
    fit(0, *data[0], 1)
    begin = time.perf_counter()
    losses = [fit(seed, *data[seed], SHAPES[shape][4]) for seed in range(MODELS)]
    return time.perf_counter() - begin, statistics.mean(losses)


def torch_fit(shape: str, malloc: bool):
    """Return a function that fits one model of this shape with PyTorch and returns its last training loss."""
    if malloc:  # keep the work space of a step instead of giving it back to the system every time (glibc)
        import ctypes

        libc = ctypes.CDLL(None)
        libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
    import numpy as np
    import torch
    from torch import nn

    torch.set_num_threads(1)
    _, hidden, length, features, _ = SHAPES[shape]

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(features, hidden[0], num_layers=len(hidden), batch_first=True)
            self.dense = nn.Linear(hidden[0], 1)

        def forward(self, x):
            return self.dense(self.lstm(x)[0][:, -1])

    def fit(seed: int, x, targets, epochs: int) -> float:
        torch.manual_seed(seed)
        windows = np.lib.stride_tricks.sliding_window_view(x, length, axis=0)[:WINDOWS].transpose(0, 2, 1)
        inputs = torch.from_numpy(np.ascontiguousarray(windows, dtype=np.float32))
        outcomes = torch.from_numpy(targets.astype(np.float32))
        net, criterion = Net(), nn.MSELoss()
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
        total = 0.0
        for _ in range(epochs):
            total = 0.0
            for batch in torch.randperm(WINDOWS).split(BATCH):
                optimizer.zero_grad()
                loss = criterion(net(inputs[batch]), outcomes[batch])
                loss.backward()
                optimizer.step()
                total += loss.item() * len(batch)
        return total / WINDOWS

    return fit


def run_pool(shape: str) -> tuple[float, float]:
    """Two processes that take the next model whenever they are free; started and warm before the clock runs."""
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    jobs, answers = context.Queue(), context.Queue()
    workers = [context.Process(target=_work, args=(shape, jobs, answers)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for _ in workers:
        assert answers.get() is None
    begin = time.perf_counter()
    for seed in [*range(MODELS), None, None]:
        jobs.put(seed)
    losses = [answers.get() for _ in range(MODELS)]
    seconds = time.perf_counter() - begin
    for worker in workers:
        worker.join()
    return seconds, statistics.mean(losses)


def _work(shape: str, jobs, answers) -> None:
    fit, data = torch_fit(shape, malloc=True), _all_series(shape)
    fit(0, *data[0], 1)
    answers.put(None)
    while (seed := jobs.get()) is not None:
        answers.put(fit(seed, *data[seed], SHAPES[shape][4]))


def contend(contender: str, shape: str) -> dict[str, float]:
    """Run one contender in this process."""
    if contender.startswith("longshort"):
        seconds, loss = run_longshort(shape, 1 if contender.endswith("-1") else 2)
    elif contender == "pool":
        seconds, loss = run_pool(shape)
    else:
        seconds, loss = run_loop(shape, malloc=contender.endswith("malloc"))
    return {"rate": MODELS * WINDOWS * SHAPES[shape][4] / seconds, "loss": loss}


# ----------------------------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", help="comma-separated shapes: " + ", ".join(SHAPES))
    parser.add_argument("--contenders", default=",".join(CONTENDERS), help="comma-separated: " + ", ".join(CONTENDERS))
    parser.add_argument("--torch-python", default=sys.executable, help="interpreter that has torch")
    parser.add_argument("--json", help="write the figures to this file")
    parser.add_argument("--contend", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contend:
        print(json.dumps(contend(*options.contend)))
        return
    shapes = options.only.split(",") if options.only else list(SHAPES)
    figures = {shape: measure(shape, options.contenders.split(","), options) for shape in shapes}
    print(f"\n{versions(options.torch_python)}")
    for shape, rates in figures.items():
        report(shape, rates)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(figures, file, indent=1)


def measure(shape: str, contenders: list[str], options: argparse.Namespace) -> dict[str, list[float]]:
    """Run all contenders in turn, `rounds` times; every other round in reverse order."""
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for round_number in range(options.rounds):
        for name in contenders if round_number % 2 == 0 else contenders[::-1]:
            python = sys.executable if name.startswith("longshort") else options.torch_python
            command = [python, __file__, "--contend", name, shape]
            done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{name} failed:\n{done.stderr[-2000:]}")
            found = json.loads(done.stdout.splitlines()[-1])
            rates[name].append(found["rate"])
            print(f"round {round_number + 1}: {shape:9} {CONTENDERS[name]:52} {found['rate']:9,.0f}", flush=True)
    return rates


def versions(torch_python: str) -> str:
    from longshort import __version__
    from longshort.native import core

    command = [torch_python, "-c", "import torch; print(torch.__version__)"]
    found = subprocess.run(command, capture_output=True, text=True)
    load = os.getloadavg()[0]
    return (
        f"longshort {__version__} ({core.isa}), PyTorch {found.stdout.strip()}, Python {platform.python_version()}, "
        f"{os.cpu_count()} cores, load at the end {load:.1f}. {MODELS} models, {WINDOWS} windows, batches of {BATCH}."
    )


def report(shape: str, rates: dict[str, list[float]]) -> None:
    """Print models x windows a second, then the ratios and what they should be."""
    medians = {name: statistics.median(values) for name, values in rates.items()}
    rounds = len(next(iter(rates.values())))
    print(f"\n{shape}: {SHAPES[shape][0]}; models x windows a second, median of {rounds} (range)")
    for name, value in medians.items():
        print(f"  {CONTENDERS[name]:52} {value:9,.0f}  ({min(rates[name]):,.0f} - {max(rates[name]):,.0f})")
    for peer, wanted in zip(("loop", "pool"), WANTED[shape], strict=True):
        if "longshort" in medians and peer in medians:
            ratio = medians["longshort"] / medians[peer]
            print(f"=> {shape}: longshort / {CONTENDERS[peer]:52} {ratio:5.1f}   (wanted {wanted})")


if __name__ == "__main__":
    main()
