"""A saved LSTM that was forged with hashes that fit: whatever does not fit its own description is refused."""

import json
import tracemalloc

import numpy as np
import pytest

import longshort as ls
from longshort import artifact
from longshort.errors import ArtifactError
from longshort.models.storage import KIND, VERSION


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    bars = ls.load_bars("AAPL", start="2016-01-01", end="2016-12-31", source="sample")
    folder = tmp_path_factory.mktemp("storage") / "model"
    features = [ls.features.log_return(), ls.features.volatility(5)]
    ls.LSTM(features, lookback=5, hidden=(3,), head=(2,), epochs=1).fit(bars).save(folder)
    return folder


def forged(saved, folder, change):
    """Write the artifact again, changed, with a manifest that agrees: a forger knows how hashes work."""
    found = artifact.load(saved, KIND, version=VERSION, allow_nan={"validation"})
    tensors = {name: dict(arrays) for name, arrays in found.tensors.items()}
    document = json.loads(json.dumps(found.documents["model"]))
    change(tensors, document)
    documents = {"model": document}
    artifact.save(folder, KIND, tensors=tensors, documents=documents, version=VERSION, allow_nan={"validation"})
    return folder


def put(tensors, name, array):
    tensors["weights"][name] = array


KERNEL = "net.0.0.lstm.0.weight_ih_l0"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda t, d: put(t, KERNEL, np.zeros((12, 3), np.float32)), id="wrong shape"),
        pytest.param(lambda t, d: put(t, KERNEL, np.zeros((2, 12), np.float32)), id="transposed"),
        pytest.param(lambda t, d: t["weights"].pop(KERNEL), id="missing tensor"),
        pytest.param(lambda t, d: put(t, "net.0.0.lstm.1.weight_ih_l0", np.zeros((12, 3), np.float32)), id="extra"),
        pytest.param(lambda t, d: t["scaling"].pop("net.0.0.inputs.center"), id="missing scaler"),
        pytest.param(lambda t, d: t["scaling"].update({"net.0.0.output.scale": np.zeros(1)}), id="zero scale"),
        pytest.param(lambda t, d: t["scaling"].update({"net.0.0.inputs.scale": np.ones(3)}), id="other scaler"),
        pytest.param(lambda t, d: d["model"]["features"]["outputs"].pop(), id="other features"),
        pytest.param(lambda t, d: d["model"]["features"]["nodes"][0].update(op="os.system"), id="unknown operation"),
        pytest.param(lambda t, d: d["model"].update(evil=1), id="unknown argument"),
        pytest.param(lambda t, d: d["model"].pop("features"), id="no features"),
        pytest.param(lambda t, d: d["model"].update(lookback=0), id="lookback 0"),
        pytest.param(lambda t, d: d["model"].update(lookback=-1), id="lookback -1"),
        pytest.param(lambda t, d: d["model"].update(lookback=10**9), id="lookback 1e9"),
        pytest.param(lambda t, d: d["model"].update(lookback="60"), id="lookback as words"),
        pytest.param(lambda t, d: d["model"].update(lr=-1), id="lr -1"),
        pytest.param(lambda t, d: d["model"].update(lr=None), id="no lr"),
        pytest.param(lambda t, d: d["model"].update(seed=-1), id="seed -1"),
        pytest.param(lambda t, d: d["model"].update(seed=2**70), id="seed 2^70"),
        pytest.param(lambda t, d: d["model"].update(seeds=10**9), id="seeds 1e9"),
        pytest.param(lambda t, d: d["model"].update(hidden=[10**9]), id="hidden 1e9"),
        pytest.param(lambda t, d: d["model"].update(hidden=[4]), id="hidden 4"),
        pytest.param(lambda t, d: d["model"].update(network="os.system"), id="network of code", marks=pytest.mark.full),
        pytest.param(lambda t, d: d["model"].update(loss="os.system"), id="loss of code"),
        pytest.param(lambda t, d: d.pop("symbols"), id="no symbols"),
        pytest.param(lambda t, d: d.update(histories=[]), id="no histories"),
        pytest.param(lambda t, d: d.update(histories=[{"evil": 1}]), id="histories of something else"),
    ],
)  # fmt: skip
def test_a_model_that_does_not_fit_its_description_is_refused(saved, tmp_path, change):
    bad = forged(saved, tmp_path / "bad", change)
    tracemalloc.start()
    with pytest.raises(ArtifactError, match="bad"):
        ls.LSTM.load(bad)
    assert tracemalloc.get_traced_memory()[1] < 2**26
    tracemalloc.stop()


def test_an_artifact_of_another_kind_is_refused(saved, tmp_path):
    artifact.save(tmp_path / "other", "study", documents={"model": {}})
    with pytest.raises(ArtifactError, match="must hold a 'lstm', holds a 'study'"):
        ls.LSTM.load(tmp_path / "other")
    artifact.save(tmp_path / "newer", KIND, documents={"model": {}}, version=VERSION + 1)
    with pytest.raises(ArtifactError, match="Update longshort"):
        ls.LSTM.load(tmp_path / "newer")
    artifact.save(tmp_path / "empty", KIND, documents={"model": {}}, version=VERSION)
    with pytest.raises(ArtifactError):
        ls.LSTM.load(tmp_path / "empty")
