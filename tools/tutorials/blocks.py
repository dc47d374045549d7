"""Run the code blocks of two Keras tutorials as they stand, under the Keras of this interpreter.

    .venv-tutorials/bin/python tools/tutorials/blocks.py TUTORIALS OUT

TUTORIALS holds ``1-keras-guide.md`` and ``2-keras-64-64-32-1.md``; the second takes `x_train` and its imports from the
first. OUT is where `beside.py fit` has left the native models. Each block's time, output and warnings are printed; a
block that fails is named with its error and ends the run. Then, outside the tutorials' text: the second model, which
its tutorial neither compiles nor trains, is trained as the first tutorial trains; both models forecast the last fifth
of the rows; and every `.keras` file longshort wrote must forecast in Keras what it forecasts natively.
"""

import contextlib
import io
import json
import re
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "source"))  # yfinance, from a local file

NAMES = {"keras_tutorial": "1-keras-guide.md", "lstm_64_64_32_1": "2-keras-64-64-32-1.md"}
COUNTS = {"keras_tutorial": 30_651, "lstm_64_64_32_1": 52_033}


def blocks_of(path: Path) -> list[tuple[str, str]]:
    """Return (language, code) of every fenced block."""
    found = re.finditer(r"^``` *(\w+)\n(.*?)^```", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [(match.group(1), match.group(2)) for match in found]


def run_block(number: int, code: str, names: dict, title: str) -> None:
    first = next(line for line in code.splitlines() if line.strip() and not line.startswith("#"))
    print(f"  block {number}: {first[:78]}", flush=True)
    out, start = io.StringIO(), time.perf_counter()
    with warnings.catch_warnings(record=True) as told, contextlib.redirect_stdout(out):
        warnings.simplefilter("always")
        try:
            exec(compile(code, f"{title}, block {number}", "exec"), names)
        except Exception as error:
            failed = f"{type(error).__name__}: {error}"
        else:
            failed = None
    seconds = time.perf_counter() - start
    text = re.sub("\x1b\\[[0-9;]*m|\b", "", out.getvalue())
    lines = [line for line in text.replace("\r", "\n").splitlines() if line.strip()]
    for line in lines if len(lines) < 25 else [*lines[:2], "...", lines[-1]]:
        print(f"      | {line[-110:]}")
    for message in dict.fromkeys(f"{w.category.__name__}: {w.message}" for w in told):
        print(f"      warned: {message[:200]}")
    if failed:
        sys.exit(f"      FAILED after {seconds:.1f} s: {failed}")
    print(f"      ran, {seconds:.1f} s", flush=True)


def run_tutorial(path: Path, names: dict) -> None:
    print(path.name, flush=True)
    for number, (language, code) in enumerate(blocks_of(path), 1):
        if language == "python":
            run_block(number, code, names, path.name)
        else:
            print(f"  block {number}: {code.strip()[:78]}\n      {language}, not run: this environment has it all")


def forecasts_of(model, names: dict):
    """Return the closes a model forecasts for the rows the tutorial holds back, in dollars."""
    import numpy as np

    scaled, steps, first = names["scaled_data"], names["time_step"], names["training_data_len"]
    windows = np.stack([scaled[i - steps : i] for i in range(first, len(scaled))])
    return names["scaler"].inverse_transform(model.predict(windows, verbose=0))[:, 0]


def check_ours(out: Path) -> None:
    """Load what longshort wrote and compare forecasts of the same scaled windows."""
    import keras
    import numpy as np

    for name in NAMES:
        theirs = keras.saving.load_model(out / f"ours_{name}.keras").predict(
            np.load(out / f"{name}_windows.npy"), verbose=0
        )
        gap = float(np.abs(theirs - np.load(out / f"{name}_outputs.npy")).max())
        print(f"  {name}: written by longshort, loaded by Keras {keras.__version__}, largest difference {gap:.1e}")
        if not gap < 1e-6:
            sys.exit("  more than 1e-6")


def main(tutorials: Path, out: Path) -> None:
    import keras
    import numpy as np

    print(f"Keras {keras.__version__} on {keras.backend.backend()}, Python {sys.version.split()[0]}")
    names: dict = {"__name__": "__main__"}
    facts = {}
    for title, file in NAMES.items():
        run_tutorial(tutorials / file, names)
        model = names["model"]
        if title == "lstm_64_64_32_1":
            print("  not in the tutorial: compiled and trained as block 5 of the first", flush=True)
            start = time.perf_counter()
            model.compile(optimizer="adam", loss="mean_squared_error")
            model.fit(names["X_train"], names["y_train"], batch_size=32, epochs=50, verbose=0)
            print(f"      {time.perf_counter() - start:.1f} s")
        if model.count_params() != COUNTS[title]:
            sys.exit(f"  {model.count_params()} parameters, expected {COUNTS[title]}")
        np.save(out / f"{title}_theirs.npy", forecasts_of(model, names))
        model.save(out / f"theirs_{title}.keras")
        facts[title] = {"parameters": model.count_params(), "shape": list(model.input_shape[1:])}
        names["x_train"] = names["X_train"]  # what the second tutorial leaves open
    scaler = names["scaler"]
    facts["scaling"] = {"low": float(scaler.data_min_[0]), "range": float(scaler.data_range_[0])}
    facts["train"] = int(names["training_data_len"])
    (out / "facts.json").write_text(json.dumps(facts))
    check_ours(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
