"""Latency of one answer: from a new number to the forecast of an LSTM over its last 60 rows, from a Python call.

The network: two LSTM layers of 64 units and one output, float32, the same weights for all. longshort answers by one
step of the state that has seen the rest of the window and takes the number into the other states afterwards
(``settle``, timed beside it); the others run through the window. All answers are compared. Also timed: a raw row to a
forecast from twelve features (`features.technical()`), and 500 symbols of 8 features in one call.

Every contender runs in a process of its own, they take turns for several rounds, and medians over the rounds are shown.

    make bench
    python benchmarks/ticks.py --peers-python .venv-bench/bin/python [--rounds 5] [--only longshort,torch-1]

The peers' interpreter has keras, tensorflow, onnx and onnxruntime; PyTorch is in longshort's.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import numpy as np

ROWS, UNITS, LAYERS, SYMBOLS, FEATURES = 60, 64, 2, 500, 8
TORCH, PEERS = "torch", "peers"
CONTENDERS = {  # name: (what it is, whose interpreter, calls a round)
    "longshort": ("longshort, Ticker, 1 thread", "own", 4000),
    "longshort-raw": ("longshort, raw row, 12 features, 1 thread", "own", 4000),
    "longshort-500": ("longshort, 500 symbols, 1 thread", "own", 40),
    "torch-1": ("PyTorch eager, 1 thread", TORCH, 300),
    "torch-2": ("PyTorch eager, 2 threads", TORCH, 300),
    "torch-500": ("PyTorch eager, 500 symbols, 2 threads", TORCH, 12),
    "onnx-1": ("ONNX Runtime, 1 thread", PEERS, 600),
    "onnx-2": ("ONNX Runtime, 2 threads", PEERS, 600),
    "onnx-500": ("ONNX Runtime, 500 symbols, 2 threads", PEERS, 12),
    "keras": ("Keras/TensorFlow predict", PEERS, 12),
}


def weights(n_inputs: int) -> dict[str, np.ndarray]:
    """Return the network's weights by torch's names."""
    random, found = np.random.default_rng(0), {}
    for i in range(LAYERS):
        inputs = UNITS if i else n_inputs
        for part, shape in (("weight_ih", (4 * UNITS, inputs)), ("weight_hh", (4 * UNITS, UNITS))):
            found[f"lstm.{i}.{part}_l0"] = random.uniform(-0.2, 0.2, shape).astype(np.float32)
        for part in ("bias_ih", "bias_hh"):
            found[f"lstm.{i}.{part}_l0"] = random.uniform(-0.2, 0.2, 4 * UNITS).astype(np.float32)
    found["head.0.weight"] = random.uniform(-0.2, 0.2, (1, UNITS)).astype(np.float32)
    found["head.0.bias"] = np.zeros(1, np.float32)
    return found


def numbers(n: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(n, *shape))


def timed(calls: int, call, between=lambda: None) -> tuple[list, dict[str, list[float]]]:
    """Return what `call(i)` said, and the microseconds of each call and of what is done between two."""
    clock, said, first, second = time.perf_counter_ns, [], [], []
    for i in range(calls):
        begin = clock()
        answer = call(i)
        middle = clock()
        between()
        second.append((clock() - middle) / 1e3)
        first.append((middle - begin) / 1e3)
        said.append(answer)
    return said, {"answer": first, "settle": second}


# ----------------------------------------------------------------------------------------------------------------------
# Contenders: each returns its answers to the first windows, and the microseconds


def run_longshort(calls: int):
    from longshort.models.streaming import Ticker

    ticker, x = Ticker(weights(1), ROWS), numbers(calls + ROWS)[: calls + ROWS].tolist()
    for value in x[: ROWS - 1]:
        ticker.tick(value)
        ticker.settle()
    return timed(calls, lambda i: ticker.tick(x[ROWS - 1 + i]), ticker.settle)


def run_longshort_raw(calls: int):
    import longshort as ls
    from longshort.data.synthetic import random_walk

    bars = random_walk(calls + 800, 1)
    model = ls.LSTM(lookback=ROWS, hidden=(UNITS,) * LAYERS, epochs=1, validation=0.0, refit=False)
    stream = model.fit(bars.until(int(bars.time[600]))).stream(bars.until(int(bars.time[799])))
    columns = [bars[name] if name in bars.fields else getattr(bars, name) for name in stream.inputs]
    rows = np.concatenate(columns, axis=1)[800:]
    _, times = timed(calls, lambda i: stream.tick(rows[i]), stream.settle)
    return [], times


def run_longshort_500(calls: int):
    from longshort.native import core

    trainer = core.LSTMTrainer(n_inputs=FEATURES, hidden=[UNITS] * LAYERS, lookback=ROWS)
    trainer.set_weights(weights(FEATURES))
    columns, x = list(range(SYMBOLS)), numbers(calls + ROWS, SYMBOLS, FEATURES)
    ticker, out = core.Ticker(None, SYMBOLS, FEATURES, ROWS, ROWS), np.empty(SYMBOLS)
    ticker.add(0, trainer.serve(columns, np.zeros(FEATURES), np.ones(FEATURES)))
    ticker.feed(x[: ROWS - 1])

    def call(i: int):
        ticker.step(x[ROWS - 1 + i], None, out)
        return float(out[0])

    return timed(calls, call, ticker.settle)


def run_torch(threads: int, calls: int, symbols: int = 1, n_inputs: int = 1):
    import torch

    torch.set_num_threads(threads)
    lstm, linear = torch.nn.LSTM(n_inputs, UNITS, LAYERS, batch_first=True), torch.nn.Linear(UNITS, 1)
    named = weights(n_inputs)
    lstm.load_state_dict(
        {f"{name[:-1]}{i}": torch.tensor(named[f"lstm.{i}.{name}"]) for i in range(LAYERS) for name in _parts()}
    )
    linear.load_state_dict({name: torch.tensor(named[f"head.0.{name}"]) for name in ("weight", "bias")})
    windows = torch.tensor(_windows(calls, symbols, n_inputs))

    def call(i: int):
        with torch.inference_mode():
            return linear(lstm(windows[i : i + ROWS].transpose(0, 1))[0][:, -1])[0].item()

    return timed(calls, call)


def run_onnx(threads: int, calls: int, symbols: int = 1, n_inputs: int = 1):
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper

    named, nodes, arrays, below = weights(n_inputs), [], [], "x"
    for i in range(LAYERS):

        def gates(part, layer=i):  # ONNX's order of gates: input, output, forget, cell
            a, f, g, o = np.split(named[f"lstm.{layer}.{part}_l0"], 4)
            return np.concatenate([a, o, f, g])

        bias = np.concatenate([gates("bias_ih"), gates("bias_hh")])
        for name, array in (("w", gates("weight_ih")), ("r", gates("weight_hh")), ("b", bias)):
            arrays.append(onnx.numpy_helper.from_array(array[np.newaxis], f"{name}{i}"))
        given, out = [below, f"w{i}", f"r{i}", f"b{i}"], [f"y{i}", f"h{i}"]
        nodes.append(helper.make_node("LSTM", given, out, hidden_size=UNITS))
        nodes.append(helper.make_node("Squeeze", [f"y{i}", "one"], [f"s{i}"]))
        below = f"s{i}"
    arrays += [
        onnx.numpy_helper.from_array(np.array([1]), "one"),
        onnx.numpy_helper.from_array(np.array([0]), "zero"),
        onnx.numpy_helper.from_array(named["head.0.weight"], "weight"),
        onnx.numpy_helper.from_array(named["head.0.bias"], "bias"),
    ]
    nodes.append(helper.make_node("Squeeze", [f"h{LAYERS - 1}", "zero"], ["last"]))
    nodes.append(helper.make_node("Gemm", ["last", "weight", "bias"], ["out"], transB=1))
    floats = TensorProto.FLOAT
    x = helper.make_tensor_value_info("x", floats, [ROWS, symbols, n_inputs])
    graph = helper.make_graph(nodes, "lstm", [x], [helper.make_tensor_value_info("out", floats, [symbols, 1])], arrays)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    windows = _windows(calls, symbols, n_inputs)
    return timed(calls, lambda i: float(session.run(None, {"x": windows[i : i + ROWS]})[0][0, 0]))


def run_keras(calls: int):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    layers = [keras.layers.LSTM(UNITS, return_sequences=i + 1 < LAYERS) for i in range(LAYERS)]
    model = keras.Sequential([keras.Input((ROWS, 1)), *layers, keras.layers.Dense(1)])
    named, order = weights(1), []
    for i in range(LAYERS):
        weight_ih, weight_hh, bias_ih, bias_hh = (named[f"lstm.{i}.{part}"] for part in _parts())
        order += [weight_ih.T, weight_hh.T, bias_ih + bias_hh]  # Keras has torch's order of gates
    model.set_weights([*order, named["head.0.weight"].T, named["head.0.bias"]])
    windows = _windows(calls, 1, 1)
    model.predict(windows[:ROWS].transpose(1, 0, 2), verbose=0)
    return timed(calls, lambda i: float(model.predict(windows[i : i + ROWS].transpose(1, 0, 2), verbose=0)[0, 0]))


def _parts() -> tuple[str, ...]:
    return "weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"


def _windows(calls: int, symbols: int, n_inputs: int) -> np.ndarray:
    shape = () if symbols == n_inputs == 1 else (symbols, n_inputs)
    return np.ascontiguousarray(numbers(calls + ROWS, *shape), np.float32).reshape(-1, symbols, n_inputs)


def contend(name: str) -> dict:
    """Run one contender in this process."""
    calls = CONTENDERS[name][2]
    family, *rest = name.split("-")
    if family == "longshort":
        run = {"": run_longshort, "raw": run_longshort_raw, "500": run_longshort_500}["".join(rest)]
        said, times = run(calls)
    elif family == "keras":
        said, times = run_keras(calls)
    else:
        run = run_torch if family == "torch" else run_onnx
        said, times = run(2, calls, SYMBOLS, FEATURES) if rest == ["500"] else run(int(rest[0]), calls)
    quantiles = {}
    for what, values in times.items():
        warm = values[len(values) // 10 :]
        quantiles[what] = [float(np.quantile(warm, q)) for q in (0.5, 0.99, 0.999)]
    return {"said": said[:10], **quantiles}


# ----------------------------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", help="comma-separated names: " + ", ".join(CONTENDERS))
    peers = ".venv-bench/bin/python"
    parser.add_argument(
        "--peers-python",
        action="append",
        help=f"interpreter that has keras and tensorflow, onnx and onnxruntime, or some of them; may be given several "
        f"times (default: {peers} where it exists)",
    )
    parser.add_argument("--json", help="write the figures to this file")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        print(json.dumps(contend(options.contender)))
        return
    pythons = options.peers_python or ([peers] if os.path.exists(peers) else [])
    figures: dict[str, list[dict]] = {}
    for name in options.only.split(",") if options.only else CONTENDERS:
        figures[name] = []
    chosen = {name: _interpreter(name, pythons) for name in figures}
    for name, python in chosen.items():
        if python is None:
            print(f"skipped {CONTENDERS[name][0]}: no interpreter has it; see --peers-python")
    names = [name for name, python in chosen.items() if python is not None]
    for number in range(options.rounds):
        for name in names if number % 2 == 0 else names[::-1]:
            done = subprocess.run(
                [str(chosen[name]), __file__, "--contender", name], capture_output=True, text=True, env={**os.environ}
            )
            if done.returncode:
                sys.exit(f"{name} failed:\n{done.stderr[-2000:]}")
            figures[name].append(json.loads(done.stdout.splitlines()[-1]))
    report({name: figures[name] for name in names}, options.rounds)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(figures, file, indent=1)


def _interpreter(name: str, pythons: list[str]) -> str | None:
    wanted = {"torch": "torch", "onnx": "onnx, onnxruntime", "keras": "keras, tensorflow"}.get(name.split("-")[0])
    if wanted is None:
        return sys.executable
    for python in [sys.executable, *pythons]:
        code = f"import importlib.util as u; assert all(u.find_spec(n) for n in {wanted.split(', ')!r})"
        if subprocess.run([python, "-c", code], capture_output=True).returncode == 0:
            return python
    return None


def report(figures: dict[str, list[dict]], rounds: int) -> None:
    """Print the table, the ratios, and how far the answers lie apart."""
    from longshort.native import isa

    def median(name: str, what: str, k: int) -> float:
        return statistics.median(run[what][k] for run in figures[name])

    print(f"microseconds, medians of {rounds} rounds, core {isa}, load {os.getloadavg()[0]:.1f}\n")
    print(f"{'':45s}{'p50':>12s}{'p99':>12s}{'p99.9':>12s}{'settle p50':>14s}")
    for name in figures:
        values = "".join(f"{median(name, 'answer', k):12.2f}" for k in range(3))
        settle = f"{median(name, 'settle', 0):14.2f}" if name.startswith("longshort") else ""
        print(f"{CONTENDERS[name][0]:45s}{values}{settle}")
    print()
    for own, family in (("longshort", ("torch-1", "torch-2", "onnx-1", "onnx-2", "keras")),
                        ("longshort-500", ("torch-500", "onnx-500"))):  # fmt: skip
        for rival in family:
            if own in figures and rival in figures:
                ratio = median(rival, "answer", 0) / median(own, "answer", 0)
                apart = np.abs(np.subtract(figures[rival][0]["said"], figures[own][0]["said"])).max()
                print(f"=> {CONTENDERS[rival][0]:45s}{ratio:12.0f} times as long   answers differ by {apart:.1e}")


if __name__ == "__main__":
    main()
