"""Training speed on a GPU: the torch engine on CUDA, with and without mixed precision, beside both engines on one core.

Two jobs, each with small and large batches: the tutorial's network (60 bars of one series, two LSTM layers of 50) and a
larger one (30 bars of 16 features, 128-64-32). All contenders take the same windows in the same order; they take turns
for several rounds in one process, and medians of epochs are compared. Without a GPU the processor's rows are measured
alone, and it says so.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --windows 8192 --rounds 5 --json gpu.json
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time

import numpy as np

JOBS = {
    "tutorial": {"lookback": 60, "n_inputs": 1, "hidden": (50, 50)},
    "multi": {"lookback": 30, "n_inputs": 16, "hidden": (128, 64, 32)},
}
CONTENDERS = {
    "native": "native engine, 1 core",
    "torch-cpu": "torch engine, 1 core",
    "cuda": "torch engine, CUDA",
    "cuda-mixed": "torch engine, CUDA, mixed precision",
}


def make(name: str, job: dict, batch_size: int):
    """Return an engine for one job."""
    if name == "native":
        from longshort.native import core

        return core.LSTMTrainer(
            n_inputs=job["n_inputs"], hidden=list(job["hidden"]), lookback=job["lookback"], batch_size=batch_size
        )
    from longshort.models.nets import make_network
    from longshort.models.torch_engine import TorchEngine

    return TorchEngine(
        make_network("lstm", job["n_inputs"], hidden=job["hidden"]),
        lookback=job["lookback"],
        batch_size=batch_size,
        device="cpu" if name == "torch-cpu" else "cuda",
        mixed_precision=name == "cuda-mixed",
    )


def data(job: dict, n_windows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a series with as many windows, where they start, and targets that can be learned."""
    random, lookback, n_inputs = np.random.default_rng(0), job["lookback"], job["n_inputs"]
    series = random.normal(size=(n_windows + lookback, n_inputs))
    rows = np.arange(n_windows)
    return series, rows * n_inputs, series[rows + lookback - 1, :1] * 0.5 + series[rows + lookback - 2, :1] * 0.3


def measure(job: dict, batch_size: int, names: list[str], n_windows: int, rounds: int) -> dict[str, dict]:
    """Time epochs of all contenders in turn; the first epoch of each only warms up."""
    series, starts, targets = data(job, n_windows)
    engines, found = {}, {}
    for name in names:
        engine = engines[name] = make(name, job, batch_size)
        engine.bind(series, job["n_inputs"], np.zeros(job["n_inputs"]), np.ones(job["n_inputs"]))
        began = time.perf_counter()
        engine.epoch(starts, targets)
        found[name] = {"first": time.perf_counter() - began, "epochs": [], "loss": None}
    for number in range(rounds):
        for name in names if number % 2 == 0 else names[::-1]:
            began = time.perf_counter()
            engines[name].epoch(starts, targets)  # ends with the loss on the processor, hence with the GPU done
            found[name]["epochs"].append(time.perf_counter() - began)
    for name in names:
        found[name]["loss"] = engines[name].loss(starts, targets)
        found[name]["windows_per_second"] = n_windows / statistics.median(found[name].pop("epochs"))
    return found


def main() -> None:
    """Print a table per job and batch size, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batches", default="32,1024", help="batch sizes, comma-separated")
    parser.add_argument("--jobs", default=",".join(JOBS), help="of " + ", ".join(JOBS))
    parser.add_argument("--json", help="write the figures to this file")
    options = parser.parse_args()
    import torch

    gpu = torch.cuda.is_available()
    where = torch.cuda.get_device_name() if gpu else "no CUDA device"
    print(f"torch {torch.__version__}, {where}, {platform.machine()}, one processor thread")
    if not gpu:
        print("No GPU was found by torch: only the processor's rows are measured.")
    names = [name for name in CONTENDERS if gpu or not name.startswith("cuda")]
    figures = {}
    for job in options.jobs.split(","):
        for batch_size in map(int, options.batches.split(",")):
            found = measure(JOBS[job], batch_size, names, options.windows, options.rounds)
            figures[f"{job}-{batch_size}"] = found
            print(f"\n{job}, batches of {batch_size}: windows/s, ratio to each engine on one core, loss afterwards")
            for name, result in found.items():
                speed = result["windows_per_second"]
                ratios = "".join(f"{speed / found[n]['windows_per_second']:9.2f}" for n in ("native", "torch-cpu"))
                extra = max(result["first"] - options.windows / speed, 0.0)
                text = f"{CONTENDERS[name]:37}{speed:10.0f}{ratios}{result['loss']:12.5f}"
                print(f"{text}   first epoch {extra:.2f} s longer")
            if gpu:
                ratio = found["cuda-mixed"]["windows_per_second"] / found["cuda"]["windows_per_second"]
                print(f"=> mixed precision / single precision on the GPU: {ratio:.2f}")
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"torch": torch.__version__, "device": where, "figures": figures}, file, indent=1)


if __name__ == "__main__":
    main()
