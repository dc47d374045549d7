"""The longshort preset beside each Keras tutorial: the same rows, shapes and counts, and one figure.

    python tools/tutorials/beside.py fit DATA OUT     before blocks.py
    python tools/tutorials/beside.py draw DATA OUT    after it

DATA is the csv file both read. The presets are fitted on the rows the tutorial trains on and forecast the closes it
holds back.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

import longshort as ls
from longshort.features.windows import Windows
from longshort.interop import keras
from longshort.models import presets
from longshort.models.network import make_engine

PRESETS = {"keras_tutorial": presets.keras_tutorial, "lstm_64_64_32_1": presets.lstm_64_64_32_1}
TITLES = {
    "keras_tutorial": "LSTM(50), LSTM(50), Dense(1), dropout 0.2",
    "lstm_64_64_32_1": "LSTM(64), LSTM(64), Dense(32), Dense(1)",
}
SEEDS = 3
INK, BLUE, OCHRE, GREY = "#1f2328", "#1f5fbf", "#b7791f", "#8a94a0"


def bars_of(file: Path) -> ls.Bars:
    """Return the tutorial's window: its `end` is exclusive."""
    frame = pd.read_csv(file, parse_dates=["date"], index_col="date")
    return ls.Bars.from_pandas(frame[frame.index < "2024-12-31"], "AAPL", calendar="XNYS", bar_size="1D")


def split_of(bars: ls.Bars) -> int:
    return int(np.ceil(len(bars) * 0.8))


def fit(file: Path, out: Path) -> None:
    bars = bars_of(file)
    first = split_of(bars)
    for name, preset in PRESETS.items():
        start = time.perf_counter()
        model = preset().fit(bars.until(bars.time[first - 1]))
        seconds, best = time.perf_counter() - start, model.history_.best_epoch
        counted = sum(layer["parameters"] for layer in model.layers())
        print(f"  {name}: {counted:,} parameters, fitted in {seconds:.1f} s, best epoch {best}", flush=True)
        keras.save(model, out / f"ours_{name}.keras")
        net = model.nets_[0][0]
        windows = Windows.over(model.program_.compute(bars), model.lookback, start=first - 1)
        scaled = np.stack([net.inputs.transform(windows[i]) for i in range(len(windows))])
        said = model.predict(bars).mean[first - 1 :, 0]
        np.save(out / f"{name}_windows.npy", scaled.astype(np.float32))
        np.save(out / f"{name}_outputs.npy", net.output.transform(said[:, None]))
        np.save(out / f"{name}_ours.npy", said[:-1])  # the last one is for a close nobody knows yet
        np.save(out / f"{name}_recipe.npy", [recipe(preset(seed=seed), bars, first) for seed in range(SEEDS)])


def recipe(model: ls.LSTM, bars: ls.Bars, first: int) -> np.ndarray:
    """Train the native engine exactly as the tutorial trains: all rows scaled together, no validation, all epochs."""
    close = np.asarray(bars["close"])[:, 0]
    low, spread = close.min(), np.ptp(close)
    windows = Windows.over(model.program_.compute(bars), model.lookback)
    engine = make_engine(model, 1, seed=model.seed)
    engine.bind(windows.features, windows.time_stride, np.array([low]), np.array([spread]))
    train = windows.take(windows.rows < first - 1)
    targets = ((close[train.rows + 1] - low) / spread)[:, None]
    for _ in range(model.epochs):
        engine.epoch(train.starts, targets)
    held_back = windows.take((windows.rows >= first - 1) & (windows.rows < len(bars) - 1))
    return engine.predict(held_back.starts)[:, 0] * spread + low


def check_theirs(name: str, bars: ls.Bars, facts: dict, out: Path) -> None:
    """Read the tutorial's trained model without Keras and forecast the same rows with it."""
    scaling = (facts["scaling"]["low"], facts["scaling"]["range"])
    model = keras.load(
        out / f"theirs_{name}.keras",
        ls.features.field("close"),
        ls.features.forward_close(1),
        scaler=scaling,
        target_scaler=scaling,
        symbols=["AAPL"],
    )
    counted = sum(layer["parameters"] for layer in model.layers())
    rows = slice(split_of(bars) - 1, len(bars) - 1)
    theirs = np.load(out / f"{name}_theirs.npy")
    gap = float(np.abs(model.predict(bars).mean[rows, 0] - theirs).max() / scaling[1])
    print(f"  {name}: trained by Keras, read by longshort, largest difference {gap:.1e} of the scaled close")
    ours = sum(layer["parameters"] for layer in PRESETS[name]().layers())
    if not (gap < 1e-6 and counted == ours == facts[name]["parameters"]):
        sys.exit(f"  must agree to 1e-6 and have {facts[name]['parameters']} parameters, has {counted}")


def error_of(values: np.ndarray, actual: np.ndarray) -> float:
    return float(np.sqrt(np.mean((values - actual) ** 2)))


def draw(file: Path, out: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    bars, facts = bars_of(file), json.loads((out / "facts.json").read_text())
    first = split_of(bars)
    assert first == facts["train"]
    close = np.asarray(bars["close"])[:, 0]
    actual, last = close[first:], close[first - 1 : -1]
    dates = bars.dates[first:].astype("datetime64[D]")
    figure, axes = plt.subplots(2, 1, figsize=(10, 9), sharex=True, constrained_layout=True)
    for axis, (name, title) in zip(axes, TITLES.items(), strict=True):
        check_theirs(name, bars, facts, out)
        recipe = np.load(out / f"{name}_recipe.npy")
        lines = {
            "the tutorial, Keras": (np.load(out / f"{name}_theirs.npy"), GREY, "-"),
            f"its recipe, longshort engine, {SEEDS} seeds": (recipe[0], BLUE, ":"),
            "longshort preset": (np.load(out / f"{name}_ours.npy"), BLUE, "-"),
            "persistence (the last close)": (last, OCHRE, "--"),
        }
        axis.plot(dates, actual, color=INK, linewidth=1.0, label="AAPL, adjusted close")
        for label, (values, colour, style) in lines.items():
            errors = [error_of(v, actual) for v in (recipe if "recipe" in label else [values])]
            label += ": RMSE " + ", ".join(f"${error:.2f}" for error in errors)
            axis.plot(dates, values, color=colour, linestyle=style, linewidth=1.2, label=label)
            print(f"    {label}")
        axis.set_title(f"{title}: {facts[name]['parameters']:,} parameters", loc="left", fontsize=11)
        axis.set_ylabel("USD")
        axis.legend(frameon=False, fontsize=9, loc="upper left")
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle("Forecasts of the next close on the last fifth of the tutorial's rows", x=0.01, ha="left")
    figure.supxlabel(
        "The tutorial scales by the minimum and maximum of all rows, these included, and trains on every earlier row.\n"
        "The preset scales by the rows it trains on and keeps their last fifth to choose the epoch: it must forecast "
        "prices beyond the range it knows.",
        fontsize=8,
        x=0.01,
        ha="left",
    )
    figure.savefig(out / "tutorials.png", dpi=130)
    print(f"  {out / 'tutorials.png'}")


if __name__ == "__main__":
    {"fit": fit, "draw": draw}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
