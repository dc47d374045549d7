"""`.keras` files: the numbers of Keras 3 out of files it wrote, and everything a reader must refuse."""

import copy
import io
import json
import marshal
import os
import pickle
import random
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

import longshort as ls
from longshort.errors import ArtifactError, InputError, NotFitted, UnknownName
from longshort.features.windows import Scaling
from longshort.models.network import make_engine

h5py = pytest.importorskip("h5py")

from longshort.interop import keras as interop  # noqa: E402
from longshort.interop.keras.files import CONFIG, METADATA, WEIGHTS  # noqa: E402

FILES = Path(__file__).parent / "files"
RETURNS = ls.features.log_return()


@pytest.fixture(scope="module")
def bars():
    return ls.load_bars("AAPL", start="2016-01-01", end="2017-12-31", source="sample")


@pytest.fixture(scope="module")
def fitted(bars):
    features = [RETURNS, ls.features.volatility(10)]
    shape = {"lookback": 12, "hidden": (6, 5), "head": (4,), "head_activation": "tanh", "dropout": (0.1, 0.0)}
    return ls.LSTM(features, epochs=2, **shape).fit(bars)


def members_of(file: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(members, compression=zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a name twice, on purpose
        for name, data in members.items() if isinstance(members, dict) else members:
            archive.writestr(name, data)
    return out.getvalue()


def outputs_of(stack: interop.Stack, windows: np.ndarray) -> np.ndarray:
    """Return what the native engine makes of plain windows (n, lookback, n_features)."""
    n, lookback, n_features = windows.shape
    shape = {"hidden": stack.hidden, "head": stack.head, "head_activation": stack.head_activation}
    targets = [ls.features.forward_log_return(h + 1) for h in range(stack.n_outputs)]
    model = ls.LSTM([RETURNS], targets, lookback=lookback, precision=stack.precision, **shape)
    engine = make_engine(model, n_features, seed=0)
    engine.set_weights(stack.weights)
    flat = np.ascontiguousarray(windows, np.float64).reshape(n * lookback, 1, n_features)
    engine.bind(flat, n_features, np.zeros(n_features), np.ones(n_features))
    return engine.predict(np.arange(n, dtype=np.int64) * lookback * n_features)


# Files of Keras -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sequential", "functional"])
def test_a_file_of_keras_gives_the_outputs_keras_gave(name):
    """Known answers: written and computed by Keras 3.15.1 on the torch backend."""
    known = json.loads((FILES / "keras_outputs.json").read_text())[name]
    stack = interop.read(FILES / f"{name}.keras")
    found = outputs_of(stack, np.array(known["windows"]))
    assert np.abs(found - np.array(known["outputs"])).max() < 1e-6


def test_the_shape_of_a_file_is_read():
    stack = interop.read(FILES / "sequential.keras")
    assert (stack.lookback, stack.n_features, stack.hidden, stack.head, stack.n_outputs) == (6, 2, (4, 3), (2,), 1)
    assert (stack.head_activation, stack.dropout, stack.precision, stack.about) == ("tanh", (0.2, 0.0), "fp32", None)
    assert stack.weights["lstm.0.weight_ih_l0"].shape == (16, 2)
    assert not stack.weights["lstm.1.bias_hh_l0"].any()
    chain = interop.read(FILES / "functional.keras")
    assert (chain.lookback, chain.n_features, chain.hidden, chain.head, chain.n_outputs) == (None, 3, (3,), (), 2)


def test_swapped_gates_would_show():
    known = json.loads((FILES / "keras_outputs.json").read_text())["sequential"]
    stack = interop.read(FILES / "sequential.keras")
    for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0"):
        gates = np.split(stack.weights[f"lstm.0.{name}"], 4)
        stack.weights[f"lstm.0.{name}"] = np.concatenate([gates[0], gates[2], gates[1], gates[3]])
    assert np.abs(outputs_of(stack, np.array(known["windows"])) - np.array(known["outputs"])).max() > 1e-3


def test_a_loaded_file_forecasts_with_the_scaling_it_is_told(bars):
    features = [RETURNS, ls.features.volatility(10)]
    inputs, output = Scaling("standard", np.array([0.0, 0.01]), np.array([0.02, 0.01])), (0.001, 0.015)
    model = interop.load(
        FILES / "sequential.keras", features, ls.features.forward_log_return(1), inputs, output, symbols=["AAPL"]
    )
    forecast = model.predict(bars)
    row = len(bars) - 1
    window = model.program_.compute(bars)[row - 5 : row + 1, 0]
    raw = outputs_of(interop.read(FILES / "sequential.keras"), inputs.transform(window)[None])
    assert forecast.mean[-1, 0] == pytest.approx(raw[0, 0] * 0.015 + 0.001, abs=1e-9)
    assert (model.init, model.eps, model.dropouts(), model.symbols_) == ("keras", 1e-7, [0.2, 0.0], ("AAPL",))


def test_an_open_window_and_several_outputs_are_given_by_the_caller(bars):
    features = [RETURNS, ls.features.volatility(10), ls.features.rsi(14)]
    targets = [ls.features.forward_log_return(1), ls.features.forward_log_return(5)]
    scalers = {"scaler": (0.0, 1.0), "target_scaler": (0.0, 0.01), "symbols": ["AAPL"]}
    file = FILES / "functional.keras"
    with pytest.raises(InputError, match="leaves the rows of a window open. Pass lookback"):
        interop.load(file, features, targets, **scalers)
    forecast = interop.load(file, features, targets, lookback=4, **scalers).predict(bars)
    assert sorted(forecast.horizons) == [1, 5]
    with pytest.raises(InputError, match="2 outputs"):
        interop.load(file, features, targets[0], lookback=4, **scalers)
    with pytest.raises(InputError, match="reads 3 columns, features are 1"):
        interop.load(file, [RETURNS], targets, lookback=4, **scalers)


def test_scalers_of_scikit_learn_are_taken_as_they_are():
    from longshort.interop.keras.exchange import _scaling

    sklearn = pytest.importorskip("sklearn.preprocessing")
    values = np.random.default_rng(0).normal(3, 5, size=(50, 2))
    for scaler in (
        sklearn.MinMaxScaler(),
        sklearn.MinMaxScaler((-1, 1)),
        sklearn.StandardScaler(),
        sklearn.StandardScaler(with_mean=False, with_std=False),
        sklearn.RobustScaler(),
        sklearn.MaxAbsScaler(),
    ):
        with pytest.raises(InputError, match="must be fitted"):
            _scaling("scaler", scaler, 2)
        expected = scaler.fit_transform(values)
        assert np.abs(_scaling("scaler", scaler, 2).transform(values) - expected).max() < 1e-12, scaler
        with pytest.raises(InputError, match="must scale 3 columns"):
            _scaling("scaler", scaler, 3)
    for scaler in (sklearn.MinMaxScaler(clip=True).fit(values), sklearn.QuantileTransformer(), 3.0):
        with pytest.raises(InputError, match="scaler must be a Scaling"):
            _scaling("scaler", scaler, 2)


def test_what_a_file_cannot_know_is_asked_for():
    file = FILES / "sequential.keras"
    with pytest.raises(InputError, match="Pass features, target, scaler, symbols, target_scaler"):
        interop.load(file)
    told = ([RETURNS] * 2, ls.features.forward_log_return(1), (0, 1), (0, 1), ["AAPL"])
    with pytest.raises(InputError, match="reads windows of 6 rows, lookback was 7"):
        interop.load(file, *told, lookback=7)
    with pytest.raises(InputError, match="hidden follow from"):
        interop.load(file, *told, hidden=(3,))
    with pytest.raises(InputError, match="positive scales"):
        interop.load(file, *told[:2], (0, 0), *told[3:])


# There and back -----------------------------------------------------------------------------------------------------


def test_a_model_comes_back_from_its_file_with_the_same_bits(fitted, bars, tmp_path):
    file = tmp_path / "model.keras"
    interop.save(fitted, file)
    back = interop.load(file)
    assert np.array_equal(back.predict(bars).mean, fitted.predict(bars).mean, equal_nan=True)
    assert back.to_dict() == fitted.to_dict()
    first = file.read_bytes()
    interop.save(back, file)
    assert file.read_bytes() == first
    back.save(tmp_path / "native")
    assert np.array_equal(ls.LSTM.load(tmp_path / "native").predict(bars).mean, back.predict(bars).mean, equal_nan=True)


@pytest.mark.parametrize(
    "change",
    [
        {"precision": "fp64"},
        {"loss": "quantile"},
        {"loss": "gaussian", "head": ()},
        {"target": ls.features.forward_direction(1), "loss": "cross_entropy", "head_activation": "relu"},
        {"target": [ls.features.forward_log_return(h) for h in (1, 5)]},
        {"scaler": "robust", "dropout": 0.3},
    ],
    ids=str,
)
def test_every_kind_of_lstm_survives_the_round_trip(fitted, bars, tmp_path, change):
    model = fitted.with_params(epochs=1, **change).fit(bars)
    interop.save(model, tmp_path / "model.keras")
    ours, theirs = model.predict(bars), interop.load(tmp_path / "model.keras").predict(bars)
    assert ours.digest == theirs.digest


def test_files_have_the_same_bytes_in_a_fresh_process(fitted, tmp_path):
    interop.save(fitted, tmp_path / "a.keras")
    fitted.save(tmp_path / "model")
    code = f"""
import longshort as ls
from longshort.interop import keras
keras.save(ls.LSTM.load({str(tmp_path / "model")!r}), {str(tmp_path / "b.keras")!r})
import sys
assert not {{"torch", "keras", "tensorflow"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONHASHSEED": "7"}, timeout=60)
    assert (tmp_path / "a.keras").read_bytes() == (tmp_path / "b.keras").read_bytes()


def test_one_network_is_chosen_where_a_model_has_several(fitted, bars, tmp_path):
    file = tmp_path / "model.keras"
    pair = fitted.with_params(seeds=2, epochs=1).fit(bars)
    with pytest.raises(InputError, match="2 seeds"):
        interop.save(pair, file)
    with pytest.raises(InputError, match="between 0 and 1"):
        interop.save(pair, file, seed=2)
    interop.save(pair, file, seed=1)
    assert np.array_equal(interop.load(file).predict(bars).mean, pair.predict_seeds(bars)[1], equal_nan=True)
    own = fitted.with_params(per_symbol=True, epochs=1).fit(bars)
    with pytest.raises(UnknownName, match="Did you mean 'AAPL'"):
        interop.save(own, file, symbol="AAPLE")
    interop.save(own, file, symbol="AAPL")
    with pytest.raises(InputError, match="one network for all symbols"):
        interop.save(fitted, file, symbol="AAPL")


def test_what_cannot_be_written_is_refused(fitted, tmp_path):
    with pytest.raises(InputError, match=r"must end in .keras"):
        interop.save(fitted, tmp_path / "model.h5")
    with pytest.raises(NotFitted, match="Call fit"):
        interop.save(ls.LSTM([RETURNS]), tmp_path / "model.keras")
    with pytest.raises(InputError, match="Only an LSTM"):
        interop.save(ls.models.Ridge([RETURNS], target=ls.features.forward_log_return(1)), tmp_path / "model.keras")
    assert not list(tmp_path.iterdir())


def test_a_file_of_ours_takes_no_advice_on_what_it_reads(fitted, tmp_path):
    interop.save(fitted, tmp_path / "model.keras")
    with pytest.raises(InputError, match="says itself what it reads, so features, lr must not be given"):
        interop.load(tmp_path / "model.keras", features=[RETURNS], lr=0.1)


# Hostile files ------------------------------------------------------------------------------------------------------


class Canary:
    def __reduce__(self):
        return (os.mkdir, ("canary-was-executed",))


@pytest.fixture
def canary(tmp_path, monkeypatch):
    """Fail when anything in a file was executed or imported."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "canary_module.py").write_text("import os\nos.mkdir('canary-was-executed')\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    assert not (tmp_path / "canary-was-executed").exists()
    assert "canary_module" not in sys.modules


def refused(data: bytes, match: str, **options) -> None:
    file = Path("hostile.keras")
    file.write_bytes(data)
    with pytest.raises(ArtifactError, match=match) as caught:
        interop.read(file, **options)
    assert "hostile.keras" in str(caught.value)
    assert len(str(caught.value)) < 700


def bomb(name: str, size: int) -> bytes:
    return zipped({**members_of(FILES / "sequential.keras"), name: b"\0" * size}, zipfile.ZIP_DEFLATED)


def lying_about_its_size() -> bytes:
    """A deflated member of 2 MB whose headers both claim 10 bytes."""
    data = bytearray(bomb(METADATA, 2**21))
    claimed = (2**21).to_bytes(4, "little")
    while (at := data.find(claimed)) >= 0:
        data[at : at + 4] = (10).to_bytes(4, "little")
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "no whole .keras file"),
        (b"PK\x03\x04" + b"\0" * 64, "no whole .keras file"),
        (pickle.dumps(Canary()), "no whole .keras file"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 64, "older format"),
        (zipped({"archive/data.pkl": pickle.dumps(Canary()), "archive/version": b"3"}), "also holds 'archive/data"),
        (zipped({CONFIG: b"{}", METADATA: b"{}"}), "lacks 'model.weights.h5'"),
        (zipped(members_of(FILES / "sequential.keras") | {"../../evil": b"x"}), "also holds '../../evil'"),
        (zipped(members_of(FILES / "sequential.keras") | {"/etc/evil": b"x"}), "also holds '/etc/evil'"),
        (zipped(members_of(FILES / "sequential.keras") | {"assets/a.pkl": b"x"}), "also holds"),
        (zipped([(CONFIG, b"{}"), (CONFIG, b"{}"), (METADATA, b"{}"), (WEIGHTS, b"")]), "holds twice 'config.json'"),
        (bomb(CONFIG, 2**23), "unpacks to 8388608 bytes"),
        (bomb(METADATA, 2**23), "unpacks to 8388608 bytes"),
        (bomb(WEIGHTS, 2**26 + 2**20), "unpacks to 68157440 bytes"),
        (lying_about_its_size(), "no whole .keras file|not the JSON"),
        (zipped(members_of(FILES / "sequential.keras"), zipfile.ZIP_BZIP2), "stored or deflated"),
        (zipped(members_of(FILES / "sequential.keras") | {WEIGHTS: b""}), "needs? .* bytes of weights"),
        (zipped(members_of(FILES / "sequential.keras") | {WEIGHTS: b"\0" * 9000}), "is damaged"),
        (zipped(members_of(FILES / "sequential.keras") | {WEIGHTS: pickle.dumps(Canary()) * 99}), "is damaged"),
    ],
    ids=[
        "empty", "torch zip cut", "pickle", "h5", "torch zip", "missing", "traversal", "absolute", "assets", "twice",
        "config bomb", "metadata bomb", "weights bomb", "lying size", "bzip2", "no weights", "zeros", "pickled weights",
    ],
)  # fmt: skip
def test_archives_that_are_not_three_plain_members_are_refused(canary, data, match):
    refused(data, match)


def test_bombs_are_refused_before_they_are_unpacked(canary):
    import tracemalloc

    data = bomb(WEIGHTS, 2**28)
    tracemalloc.start()
    refused(data, "unpacks to 268435456 bytes")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24


@pytest.mark.parametrize(
    "data",
    [
        b"", b"[]", b"null", b"\xff\xfe{\0}\0", b'{"a": 1, "a": 2}', b'{"a": NaN}', b'{"a": 1e999}', b"[" * 10_000,
        b"1" * 10_000, pickle.dumps(Canary()), b"\x89HDF", b"{}", b'{"keras_version": "2.15.0"}',
    ],
    ids=lambda data: repr(data[:12]),
)  # fmt: skip
@pytest.mark.parametrize("name", [CONFIG, METADATA])
def test_documents_that_are_not_strict_json_are_refused(canary, name, data):
    refused(zipped(members_of(FILES / "sequential.keras") | {name: data}), "JSON|Keras 3|Sequential")


def test_files_that_are_no_plain_files_are_refused(canary):
    whole = FILES / "sequential.keras"
    Path("link.keras").symlink_to(whole)
    Path("folder.keras").mkdir()
    os.mkfifo("pipe.keras")
    for name in ("link.keras", "folder.keras", "pipe.keras", "/dev/zero"):
        with pytest.raises(ArtifactError, match="must be a plain file"):
            interop.read(name)
    with pytest.raises(ArtifactError, match="cannot be read"):
        interop.read("absent.keras")
    with pytest.raises(ArtifactError, match="cannot be read"):
        interop.read("nul\0.keras")
    with pytest.raises(ArtifactError, match="more than the 1000 allowed"):
        interop.read(whole, max_bytes=1000)


def test_a_truncated_file_is_refused_at_every_length(canary):
    data = (FILES / "functional.keras").read_bytes()
    for size in [*range(0, len(data) - 1000, 97), *range(len(data) - 1000, len(data), 7)]:
        refused(data[:size], "no whole .keras file")


def layer(config: dict, index: int) -> dict:
    return config["config"]["layers"][index]


def insert(config: dict, index: int, kind: str, **settings) -> None:
    entry = copy.deepcopy(layer(config, 2)) | {"class_name": kind}
    entry["config"] = {"name": f"the_{kind.lower()}", "dtype": "float32", **settings}
    config["config"]["layers"].insert(index, entry)


def set_in(config: dict, index: int, **settings) -> None:
    layer(config, index)["config"].update(settings)


LAMBDA = {"class_name": "__lambda__", "config": {"value": marshal.dumps(compile("1", "x", "eval")).hex()}}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        # code
        (lambda c: insert(c, 3, "Lambda", function=LAMBDA), "'the_lambda' is a 'Lambda': it is Python code"),
        (lambda c: layer(c, 1).update(module="canary_module"), "'lstm' is code of its own"),
        (lambda c: layer(c, 1).update(registered_name="canary_module>LSTM"), "is code of its own"),
        (lambda c: c.update(class_name="Evil", module="canary_module"), "must be a Sequential model"),
        (lambda c: c.update(registered_name="canary_module>Sequential"), "must be a Sequential model"),
        (lambda c: set_in(c, 1, activation=LAMBDA), "'lstm' must have activation='tanh'"),
        (lambda c: set_in(c, 1, kernel_regularizer=LAMBDA), "kernel_regularizer=None"),
        # layers without a counterpart
        (lambda c: insert(c, 3, "Bidirectional"), "'the_bidirectional' is a 'Bidirectional': it reads every window"),
        (lambda c: insert(c, 3, "GRU", units=3), "'the_gru' is a 'GRU': it has other gates"),
        (lambda c: insert(c, 3, "BatchNormalization"), "it has no counterpart"),
        (lambda c: insert(c, 4, "TimeDistributed"), "answers at every row"),
        (lambda c: insert(c, 2, "InputLayer", batch_shape=[None, 6, 2]), "only the first layer may be an input"),
        (lambda c: insert(c, 1, "Dropout", rate=0.1), "drops something else than the outputs of an LSTM"),
        (lambda c: insert(c, 5, "Dropout", rate=0.1), "drops something else than the outputs of an LSTM"),
        (lambda c: insert(c, 1, "Dense", units=3), "stands before the first LSTM"),
        # settings without a counterpart
        (lambda c: set_in(c, 1, activation="relu"), "'lstm' must have activation='tanh' to mean the same"),
        (lambda c: set_in(c, 1, recurrent_activation="hard_sigmoid"), "recurrent_activation='sigmoid'"),
        (lambda c: set_in(c, 1, recurrent_dropout=0.2), "recurrent_dropout=0"),
        (lambda c: set_in(c, 1, dropout=0.2), "must have dropout=0"),
        (lambda c: set_in(c, 1, go_backwards=True), "go_backwards=False"),
        (lambda c: set_in(c, 1, stateful=True), "stateful=False"),
        (lambda c: set_in(c, 1, use_bias=False), "use_bias=True"),
        (lambda c: set_in(c, 3, return_sequences=True), "'lstm_1' must have return_sequences=False"),
        (lambda c: set_in(c, 1, return_sequences=False), "'lstm' must have return_sequences=True"),
        (lambda c: set_in(c, 1, peephole=True), "a setting this version does not know: 'peephole'"),
        (lambda c: set_in(c, 1, dtype="mixed_float16"), "computes in 'mixed_float16'"),
        (lambda c: set_in(c, 1, dtype="float64"), "computes in float64, the layers before it in float32"),
        (lambda c: set_in(c, 4, activation="gelu"), "'dense' must have activation='linear' or 'relu' or 'tanh'"),
        (lambda c: set_in(c, 5, activation="tanh"), "is the output and must be linear"),
        (lambda c: set_in(c, 2, noise_shape=[1]), "noise_shape=None"),
        # shapes
        (lambda c: set_in(c, 1, units=2**40), "between 1 and 65536 units"),
        (lambda c: set_in(c, 1, units=0), "between 1 and 65536 units"),
        (lambda c: set_in(c, 1, units=True), "between 1 and 65536 units"),
        (lambda c: set_in(c, 1, units="4"), "between 1 and 65536 units"),
        (lambda c: set_in(c, 1, units=2**16), "need .* bytes of weights"),
        (lambda c: set_in(c, 1, units=5), "must be float32 of shape"),
        (lambda c: set_in(c, 0, batch_shape=[None, 10**9, 2]), "between 1 and 65536 rows"),
        (lambda c: set_in(c, 0, batch_shape=[None, 6, 0]), "between 1 and 65536 features"),
        (lambda c: set_in(c, 0, batch_shape=[32, 6, 2]), "must take windows of shape"),
        (lambda c: set_in(c, 0, batch_shape=[None, 2]), "must take windows of shape"),
        (lambda c: set_in(c, 2, rate=1.0), "must have a rate in"),
        (lambda c: set_in(c, 2, rate="0.5"), "must have a rate in"),
        (lambda c: c["config"].update(layers=[]), "between 1 and 100 layers"),
        (lambda c: c["config"].update(layers=[layer(c, 1)] * 1000), "between 1 and 100 layers"),
        (lambda c: c["config"].update(layers={"a": 1}), "between 1 and 100 layers"),
        (lambda c: c["config"].update(layers=[3]), "without class or configuration"),
        (lambda c: c["config"]["layers"].pop(0), "has no input layer"),
        (lambda c: c["config"].update(layers=c["config"]["layers"][:4]), "must have LSTM layers and then dense ones"),
        (lambda c: c.update(config=None), "between 1 and 100 layers"),
        (lambda c: set_in(c, 1, name=["x"]), "whose name is"),
    ],
)  # fmt: skip
def test_networks_without_an_exact_counterpart_are_refused_with_the_layer_and_the_reason(canary, change, match):
    members = members_of(FILES / "sequential.keras")
    config = json.loads(members[CONFIG])
    change(config)
    refused(zipped(members | {CONFIG: json.dumps(config).encode()}), match)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda c: layer(c, 2)["inbound_nodes"].append(layer(c, 2)["inbound_nodes"][0]), "is a graph"),
        (lambda c: layer(c, 2)["inbound_nodes"][0]["args"].append(layer(c, 2)["inbound_nodes"][0]["args"][0]), "graph"),
        (lambda c: layer(c, 1)["inbound_nodes"][0]["kwargs"].update(training=True), "is called with"),
        (lambda c: layer(c, 1)["inbound_nodes"][0]["kwargs"].update(mask=[1]), "is called with"),
        (lambda c: layer(c, 1).update(inbound_nodes=7), "is a graph"),
        (lambda c: layer(c, 0).update(inbound_nodes=[1]), "is a graph"),
        (lambda c: c["config"].update(output_layers=[["lstm", 0, 0], ["dense", 0, 0]]), "is a graph"),
        (lambda c: c["config"]["layers"].reverse(), "is a graph|no input layer"),
    ],
)
def test_graphs_that_are_no_chain_are_refused(canary, change, match):
    members = members_of(FILES / "functional.keras")
    config = json.loads(members[CONFIG])
    change(config)
    refused(zipped(members | {CONFIG: json.dumps(config).encode()}), match)


def with_weights(change) -> bytes:
    members = members_of(FILES / "sequential.keras")
    stream = io.BytesIO(members[WEIGHTS])
    with h5py.File(stream, "r+") as h5:
        change(h5)
    return zipped(members | {WEIGHTS: stream.getvalue()})


def put(h5, name: str, data=None, **options) -> None:
    del h5[name]
    h5.create_dataset(name, data=data, **options)


def link(h5, name: str, target) -> None:
    del h5[name]
    h5[name] = target


def virtual(h5) -> None:
    layout = h5py.VirtualLayout((32,), "float32")
    layout[:] = h5py.VirtualSource("elsewhere.h5", "x", shape=(32,))
    del h5["layers/lstm/cell/vars/2"]
    h5.create_virtual_dataset("layers/lstm/cell/vars/2", layout)


KERNEL, BIAS = "layers/lstm/cell/vars/0", "layers/lstm/cell/vars/2"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda h5: h5.pop(KERNEL), "must hold the arrays"),
        (lambda h5: h5.create_dataset("layers/lstm/cell/vars/3", data=[1.0]), "must hold the arrays"),
        (lambda h5: h5.create_group("layers/lstm_2/cell/vars"), "layers the network lacks"),
        (lambda h5: h5.pop("layers/dense"), "must have a Group /layers/dense, has nothing there"),
        (lambda h5: h5.pop("layers"), "must have a Group //?layers, has nothing there"),
        (lambda h5: put(h5, KERNEL, np.zeros((16, 2), "f4")), r"shape \(2, 16\), is float32 of shape \(16, 2\)"),
        (lambda h5: put(h5, KERNEL, np.zeros((2, 16), "f8")), "must be float32"),
        (lambda h5: put(h5, KERNEL, np.zeros((2, 16), "i4")), "must be float32"),
        (lambda h5: put(h5, KERNEL, np.full((2, 16), np.nan, "f4")), "must be finite, but 32 values are not"),
        (lambda h5: put(h5, KERNEL, np.full((2, 16), -np.inf, "f4")), "must be finite"),
        (lambda h5: put(h5, KERNEL, np.zeros((2, 16), "f4"), compression="gzip"), "hold its numbers plainly"),
        (lambda h5: put(h5, KERNEL, shape=(2**30, 2**30), dtype="f4", chunks=(64, 64)), r"\(1073741824, 1073741824\)"),
        (lambda h5: put(h5, KERNEL, shape=(2, 16), dtype="f4"), "hold its numbers plainly"),  # nothing but a fill value
        (lambda h5: put(h5, KERNEL, pickle.dumps(Canary()).hex()), "must be float32"),
        (lambda h5: put(h5, BIAS, shape=(16,), dtype="f4", external=[("elsewhere.bin", 0, 64)]), "hold its numbers"),
        (lambda h5: link(h5, KERNEL, h5py.SoftLink("/layers/lstm_1/cell/vars/0")), "has a SoftLink there"),
        (lambda h5: link(h5, KERNEL, h5py.ExternalLink("elsewhere.h5", "/x")), "has a ExternalLink there"),
        (lambda h5: link(h5, "layers/dense", h5py.ExternalLink("elsewhere.h5", "/x")), "has a ExternalLink there"),
        (lambda h5: (h5.pop(KERNEL), h5.create_group(KERNEL)), "must have a Dataset"),
        (lambda h5: virtual(h5), "must be float32|hold its numbers plainly"),
    ],
)  # fmt: skip
def test_weights_that_are_not_exactly_those_of_the_network_are_refused(canary, change, match):
    refused(with_weights(change), match)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda a: a["model"].update(lookback=10**9), "does not describe the network"),
        (lambda a: a["model"].update(lookback=0), "cannot build"),
        (lambda a: a["model"].update(hidden=[6]), "does not describe the network|cannot build"),
        (lambda a: a["model"].update(seeds=2), "does not describe the network"),
        pytest.param(
            lambda a: a["model"].update(network="os.system"), "cannot build|does not describe", marks=pytest.mark.full
        ),
        (lambda a: a["model"].update(evil=1), "cannot build"),
        (lambda a: a["model"].pop("features"), "cannot build"),
        (lambda a: a["model"].update(lr=-1), "cannot build"),
        (lambda a: a["model"].update(loss="pickle"), "cannot build"),
        (lambda a: a["scaling"]["inputs"].update(scale=[1.0, 0.0]), "cannot build"),
        (lambda a: a["scaling"]["inputs"].update(scale=[1.0], center=[1.0]), "does not describe the network"),
        (lambda a: a["scaling"].pop("output"), "cannot build"),
        (lambda a: a.update(symbols=[]), "must name the symbols"),
        (lambda a: a.update(symbols="AAPL"), "must name the symbols"),
        (lambda a: a.update(version=2), "newer longshort"),
    ],
)
def test_a_note_of_ours_that_does_not_fit_the_network_is_refused(canary, fitted, change, match):
    interop.save(fitted, "model.keras")
    members = members_of(Path("model.keras"))
    metadata = json.loads(members[METADATA])
    change(metadata["longshort"])
    Path("model.keras").write_bytes(zipped(members | {METADATA: json.dumps(metadata).encode()}))
    with pytest.raises(ArtifactError, match=match):
        interop.load("model.keras")


@pytest.mark.parametrize("name", [CONFIG, METADATA, WEIGHTS])
def test_random_damage_is_refused_or_harmless_and_never_another_error(canary, name):
    """The archive's checksum is renewed, so that the damage reaches the parsers."""
    members, dice = members_of(FILES / "functional.keras"), random.Random(0)
    outcomes = {"refused": 0, "read": 0}
    for _ in range(400):
        data = bytearray(members[name])
        for _ in range(dice.choice([1, 1, 4])):
            at = dice.randrange(len(data))
            data[at : at + 4] = dice.choice([b"\xff" * 4, b"\0" * 4, bytes([data[at] ^ 1 << dice.randrange(8)])])
        Path("damaged.keras").write_bytes(zipped(members | {name: bytes(data)}))
        try:
            stack = interop.read("damaged.keras")
            assert all(np.isfinite(array).all() for array in stack.weights.values())
            outcomes["read"] += 1
        except ArtifactError:
            outcomes["refused"] += 1
    assert outcomes["refused"] > 40


# With Keras itself ---------------------------------------------------------------------------------------------------


@pytest.mark.full
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3.15 on NumPy 2
@pytest.mark.parametrize(
    ("hidden", "head", "activation", "dropout", "shape"),
    [
        ((50, 50), (), "relu", 0.2, (60, 1)),
        ((64, 64), (32,), "linear", 0.0, (60, 1)),
        ((16, 8, 4), (8, 4), "relu", 0.1, (20, 7)),
        ((5,), (3,), "tanh", 0.0, (3, 2)),
    ],
)
def test_predictions_agree_with_keras_both_ways(keras, tmp_path, hidden, head, activation, dropout, shape):
    layers = [keras.Input(shape)]
    for i, units in enumerate(hidden):
        layers.append(keras.layers.LSTM(units, return_sequences=i < len(hidden) - 1))
        layers += [keras.layers.Dropout(dropout)] * bool(dropout)
    layers += [keras.layers.Dense(units, activation=activation) for units in head]
    net = keras.Sequential([*layers, keras.layers.Dense(1)])
    rng = np.random.default_rng(1)
    net.set_weights([rng.normal(0, 0.3, w.shape).astype(np.float32) for w in net.get_weights()])
    net.save(tmp_path / "theirs.keras")
    stack = interop.read(tmp_path / "theirs.keras")
    windows = rng.normal(size=(40, *shape)).astype(np.float32)
    expected = net.predict(windows, verbose=0)
    assert np.abs(expected).max() > 0.01
    assert np.abs(outputs_of(stack, windows) - expected).max() < 1e-6 * max(1.0, np.abs(expected).max())
    back = tmp_path / "ours.keras"
    back.write_bytes(sys.modules["longshort.interop.keras.files"].stack_bytes(stack))
    again = keras.saving.load_model(back)
    assert np.array_equal(again.predict(windows, verbose=0), expected)
    assert all(np.array_equal(a, b) for a, b in zip(net.get_weights(), again.get_weights(), strict=True))


@pytest.mark.full
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3.15 on NumPy 2
@pytest.mark.parametrize("precision", ["fp32", "fp64"])
def test_keras_loads_our_file_trains_it_further_and_forecasts_the_same(keras, fitted, bars, tmp_path, precision):
    from longshort.features.windows import Windows

    model = fitted.with_params(precision=precision).fit(bars)
    interop.save(model, tmp_path / "model.keras")
    net = keras.saving.load_model(tmp_path / "model.keras")
    windows, own = Windows.over(model.program_.compute(bars), model.lookback), model.nets_[0][0]
    x = np.stack([own.inputs.transform(windows[i]) for i in range(len(windows))])
    said = own.output.inverse(np.asarray(net.predict(x, verbose=0), np.float64))[:, 0]
    ours = model.predict(bars).mean[windows.rows, windows.columns]
    assert np.abs(said - ours).max() / own.output.scale[0] < 1e-6
    assert net.count_params() == sum(layer["parameters"] for layer in model.layers())
    net.compile("adam", "mse")
    net.fit(x, x[:, -1, 0], epochs=1, verbose=0)


@pytest.mark.full
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3.15 on NumPy 2
def test_what_keras_makes_of_code_is_refused(keras, canary):
    net = keras.Sequential([keras.Input((6, 2)), keras.layers.LSTM(3), keras.layers.Dense(1)])
    net.add(keras.layers.Lambda(lambda x: x * 2))
    net.save("lambda.keras")
    with pytest.raises(ArtifactError, match="is Python code, and code is never run from a file"):
        interop.read("lambda.keras")

    @keras.saving.register_keras_serializable("canary_module")
    class Own(keras.layers.LSTM):
        pass

    net = keras.Sequential([keras.Input((6, 2)), Own(3), keras.layers.Dense(1)])
    net.save("own.keras")
    with pytest.raises(ArtifactError, match="has no counterpart|code of its own"):
        interop.read("own.keras")
    inputs = keras.Input((6, 2))
    states = keras.layers.LSTM(3)(inputs)
    keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Add()([states, states]))).save("graph.keras")
    with pytest.raises(ArtifactError, match="no counterpart|is a graph"):
        interop.read("graph.keras")
