"""Training speed of the tutorial LSTM: longshort, PyTorch and Keras side by side.

The job: windows of 60 steps of one series, two LSTM layers of 50 units, dropout 0.2 after each, one output, batches of
32, Adam, mean squared error, 1952 windows an epoch. Every contender runs in a process of its own, the contenders take
turns for several rounds, and medians are compared. An epoch's speed is the median over the epochs after the first.
Contenders with one thread are also compared by the processor time they used, which other programs disturb less.

    make bench
    python benchmarks/train.py --keras-python .venv-bench/bin/python
    python benchmarks/train.py --only longshort-1,torch-1 --rounds 3

The contenders called "whole estimator" are `LSTM.fit` on bars: features, targets, windows and scaling are in their
time, spread over the epochs; the others get windows ready-made, and their first epoch (tracing) is not counted.

"FMA floor" is the time the bare arithmetic would take at the measured rate of one core's fused multiply-adds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

STEPS, UNITS, DROPOUT, BATCH, WINDOWS = 60, 50, 0.2, 32, 1952
# multiply-adds per window and time step: forward, gradient of the states, gradient of the weights; no gradient is
# needed for the inputs of the first layer
_GATES = 4 * UNITS
FLOP_PER_WINDOW = 2 * STEPS * _GATES * ((UNITS + 1) + UNITS + (UNITS + 1) + 3 * (2 * UNITS))

CONTENDERS = {  # name: (what it is, environment)
    "fit-1": ("LSTM.fit, whole estimator, 1 thread", {}),
    "fit-2": ("LSTM.fit, whole estimator, 2 threads", {}),
    "longshort-1": ("longshort, 1 thread", {}),
    "longshort-2": ("longshort, 2 threads, one model", {}),
    "longshort-fleet": ("longshort, 2 models on 2 threads", {}),
    "torch-1": ("PyTorch loop, 1 thread", {"OMP_NUM_THREADS": "1"}),
    "torch-1-malloc": ("PyTorch loop, 1 thread, malloc settings", {"OMP_NUM_THREADS": "1"}),
    "torch-2": ("PyTorch loop, 2 threads", {"OMP_NUM_THREADS": "2"}),
    "torch-2-malloc": ("PyTorch loop, 2 threads, malloc settings", {"OMP_NUM_THREADS": "2"}),
    "keras-1": ("Keras/TensorFlow fit, 1 thread", {"TF_CPP_MIN_LOG_LEVEL": "3"}),
    "keras-2": ("Keras/TensorFlow fit, 2 threads", {"TF_CPP_MIN_LOG_LEVEL": "3"}),
}


def series():
    """Return a reproducible random walk on [0, 1] with the first window's start and target rows."""
    import numpy as np

    x = np.cumsum(np.random.default_rng(0).normal(size=WINDOWS + STEPS))
    x = (x - x.min()) / np.ptp(x)
    return x, np.arange(WINDOWS), x[STEPS:].reshape(-1, 1)


def windows():
    import numpy as np

    x, starts, targets = series()
    return np.stack([x[s : s + STEPS] for s in starts]).astype(np.float32)[..., None], targets.astype(np.float32)


# ----------------------------------------------------------------------------------------------------------------------
# Contenders: each returns the (wall, processor) seconds of every epoch and the last training loss


def run_longshort(threads: int, epochs: int):
    trainer = _trainer(threads)
    x, starts, targets = series()
    trainer.bind(x, 1, [0.0], [1.0])
    return _timed(lambda: trainer.epoch(starts, targets), epochs)


def run_fit(threads: int, epochs: int):
    import numpy as np

    import longshort as ls

    days = np.datetime64("2000-01-03T21:00") + np.arange(WINDOWS + STEPS) * np.timedelta64(1, "D")
    bars = ls.Bars(days, "A", {"close": 100 + 100 * series()[0]}, calendar="24/7")
    model = ls.LSTM(
        [ls.features.field("close")],
        ls.features.forward_close(),
        lookback=STEPS,
        hidden=(UNITS, UNITS),
        dropout=DROPOUT,
        batch_size=BATCH,
        epochs=epochs,
        validation=0.0,
        scaler="minmax",
        init="keras",
        eps=1e-7,
        threads=threads,
    )
    model.with_params(epochs=1).fit(bars.until(bars.time[3 * STEPS]))  # load every module
    wall, cpu = time.perf_counter(), time.process_time()
    model.fit(bars)
    seconds = (time.perf_counter() - wall) / epochs, (time.process_time() - cpu) / epochs
    assert model.trained_["rows"] == WINDOWS
    return [seconds, seconds], model.history_.train_loss[-1]


def run_longshort_fleet(epochs: int):
    from concurrent.futures import ThreadPoolExecutor

    x, starts, targets = series()
    trainers = [_trainer(1, seed) for seed in (0, 1)]
    for trainer in trainers:
        trainer.bind(x, 1, [0.0], [1.0])
    with ThreadPoolExecutor(2) as pool:
        seconds, loss = _timed(lambda: list(pool.map(lambda t: t.epoch(starts, targets), trainers)).pop(), epochs)
    return [(wall / 2, cpu / 2) for wall, cpu in seconds], loss  # two models' epochs in this time


def _trainer(threads: int, seed: int = 0):
    from longshort.native import core

    return core.LSTMTrainer(
        n_inputs=1,
        hidden=[UNITS, UNITS],
        dropout=[DROPOUT, DROPOUT],
        lookback=STEPS,
        batch_size=BATCH,
        init="keras",
        eps=1e-7,
        seed=seed,
        threads=threads,
    )


def run_torch(threads: int, malloc: bool, epochs: int):
    if malloc:  # keep the work space of a step instead of giving it back to the system every time (glibc)
        import ctypes

        libc = ctypes.CDLL(None)
        libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(1, UNITS, num_layers=2, dropout=DROPOUT, batch_first=True)
            self.drop = nn.Dropout(DROPOUT)
            self.dense = nn.Linear(UNITS, 1)

        def forward(self, x):
            return self.dense(self.drop(self.lstm(x)[0][:, -1]))

    inputs, targets = (torch.from_numpy(a) for a in windows())
    net, criterion = Net(), nn.MSELoss()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

    def epoch():
        total = 0.0
        for batch in torch.randperm(WINDOWS).split(BATCH):
            optimizer.zero_grad()
            loss = criterion(net(inputs[batch]), targets[batch])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        return total / WINDOWS

    return _timed(epoch, epochs)


def run_keras(threads: int, epochs: int):
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    import keras

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((STEPS, 1)),
            keras.layers.LSTM(UNITS, return_sequences=True),
            keras.layers.Dropout(DROPOUT),
            keras.layers.LSTM(UNITS),
            keras.layers.Dropout(DROPOUT),
            keras.layers.Dense(1),
        ]
    )
    model.compile(optimizer="adam", loss="mean_squared_error")
    marks = []

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            marks.append((time.perf_counter(), time.process_time()))

        def on_epoch_end(self, epoch, logs=None):
            wall, cpu = marks[-1]
            marks[-1] = (time.perf_counter() - wall, time.process_time() - cpu)

    inputs, targets = windows()
    history = model.fit(inputs, targets, epochs=epochs, batch_size=BATCH, verbose=0, callbacks=[Clock()])
    return marks, history.history["loss"][-1]


def _timed(epoch, epochs: int):
    seconds, loss = [], float("nan")
    for _ in range(epochs):
        wall, cpu = time.perf_counter(), time.process_time()
        loss = epoch()
        seconds.append((time.perf_counter() - wall, time.process_time() - cpu))
    return seconds, loss


def contend(name: str, epochs: int) -> dict:
    """Run one contender in this process."""
    family, *rest = name.split("-")
    if name == "longshort-fleet":
        seconds, loss = run_longshort_fleet(epochs)
    elif family == "longshort":
        seconds, loss = run_longshort(int(rest[0]), epochs)
    elif family == "fit":
        seconds, loss = run_fit(int(rest[0]), epochs)
    elif family == "torch":
        seconds, loss = run_torch(int(rest[0]), "malloc" in rest, epochs)
    else:
        seconds, loss = run_keras(int(rest[0]), epochs)
    wall, cpu = (statistics.median(column) for column in zip(*(seconds[1:] or seconds), strict=True))
    return {
        "wall": WINDOWS / wall,
        "cpu": WINDOWS / cpu,
        "first_epoch_extra": seconds[0][0] - wall,
        "loss": float(loss),
    }


# ----------------------------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--only", help="comma-separated names: " + ", ".join(CONTENDERS))
    peers = ".venv-bench/bin/python"
    parser.add_argument(
        "--keras-python",
        default=peers if os.path.exists(peers) else None,
        help=f"interpreter that has tensorflow and keras (default: {peers} where it exists)",
    )
    parser.add_argument("--torch-python", default=sys.executable, help="interpreter that has torch")
    parser.add_argument("--json", help="write the figures to this file")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        print(json.dumps(contend(options.contender, options.epochs)))
        return
    names = options.only.split(",") if options.only else list(CONTENDERS)
    if options.keras_python is None:
        skipped = [name for name in names if name.startswith("keras")]
        names = [name for name in names if name not in skipped]
        if skipped:
            print("without --keras-python: skipped " + ", ".join(skipped))
    figures = measure(names, options)
    report(figures)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(figures, file, indent=1)


def measure(names: list[str], options: argparse.Namespace) -> dict:
    """Run all contenders in turn, `rounds` times; every other round in reverse order."""
    from longshort.native import core

    figures = {name: {"wall": [], "cpu": []} for name in names}
    peaks = []
    for round_number in range(options.rounds):
        peaks.append(core.fma_peak(0.3))
        for name in names if round_number % 2 == 0 else names[::-1]:
            python = {"keras": options.keras_python, "torch": options.torch_python}.get(name.split("-")[0])
            command = [python or sys.executable, __file__, "--contender", name, "--epochs", str(options.epochs)]
            done = subprocess.run(command, env={**os.environ, **CONTENDERS[name][1]}, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{name} failed:\n{done.stderr[-2000:]}")
            found = json.loads(done.stdout.splitlines()[-1])
            for clock, values in figures[name].items():
                values.append(found[clock])
            print(f"round {round_number + 1}: {CONTENDERS[name][0]:45s} {found['wall']:8.0f} windows/s", flush=True)
    return {"fma_gflops": max(peaks), "isa": core.isa, "rounds": options.rounds, "windows_per_second": figures}


def report(figures: dict) -> None:
    """Print the table, then the ratios."""
    speeds = figures["windows_per_second"]
    wall = {name: statistics.median(values["wall"]) for name, values in speeds.items()}
    cpu = {name: statistics.median(values["cpu"]) for name, values in speeds.items()}
    floor = figures["fma_gflops"] * 1e9 / FLOP_PER_WINDOW
    print(
        f"\nFMA floor of one core ({figures['isa']}): {figures['fma_gflops']:.0f} GFLOP/s / "
        f"{FLOP_PER_WINDOW / 1e6:.2f} MFLOP = {floor:.0f} windows/s. Medians of {figures['rounds']} rounds.\n"
    )
    print(f"{'':45s} windows/s  (range)           share of the floor   per processor second")
    for name, value in wall.items():
        cores = 1 if "-1" in name else 2
        spread = f"({min(speeds[name]['wall']):.0f}-{max(speeds[name]['wall']):.0f})"
        print(f"{CONTENDERS[name][0]:45s} {value:9.0f}  {spread:16s} {value / floor / cores:10.0%} {cpu[name]:22.0f}")
    print()
    for own in ("fit-1", "fit-2", "longshort-1", "longshort-2"):
        for rival in speeds:
            if own in speeds and not rival.startswith(("longshort", "fit")):
                text = f"{CONTENDERS[own][0]} / {CONTENDERS[rival][0]}"
                ratio = f"{wall[own] / wall[rival]:6.2f}"
                if "-1" in own and "-1" in rival:
                    ratio += f"   by processor time {cpu[own] / cpu[rival]:6.2f}"
                print(f"{'=> ' if own == 'longshort-1' else ''}{text:80s} {ratio}")
    keras = [wall[name] for name in speeds if name.startswith("keras")]
    for what, family in (("longshort", "longshort"), ("LSTM.fit", "fit")):
        ours = [wall[name] for name in (f"{family}-1", f"{family}-2") if name in speeds]
        if keras and ours:
            print(f"{f'=> each at its best on 2 cores: {what} / Keras':80s} {max(ours) / max(keras):6.2f}")
    if "longshort-1" in speeds:
        print(f"{'=> longshort, 1 thread: share of the FMA floor by cpu time':80s} {cpu['longshort-1'] / floor:6.0%}")


if __name__ == "__main__":
    main()
