"""Saved things: crash at every step, corruption of every byte, and everything a loader must refuse."""

import errno
import itertools
import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from longshort import artifact
from longshort._artifact.contents import canonical
from longshort.errors import ArtifactError, InputError

OLD = {"tensors": {"weights": {"w": np.arange(3.0)}}, "documents": {"model": {"name": "old"}}}
NEW = {"tensors": {"weights": {"w": np.arange(5.0)}}, "documents": {"model": {"name": "new"}}, "texts": {"a.toml": "x"}}
STEPS = ("mkdir", "open", "write", "fsync", "close", "rename", "replace", "unlink")


def name_of(path: Path) -> str:
    return artifact.load(path, "demo").documents["model"]["name"]


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    artifact.save(tmp_path / "model", "demo", **OLD)
    return tmp_path / "model"


# Round trip ---------------------------------------------------------------------------------------------------------


def test_what_is_saved_comes_back_with_the_same_bits(tmp_path):
    arrays = {
        "fortran": np.asfortranarray(np.random.default_rng(0).normal(size=(4, 3))),
        "strided": np.arange(20, dtype=np.int64)[::3],
        "big_endian": np.arange(4, dtype=">f4"),
        "flag": np.array([True, False]),
        "scalar": np.float32(0.1),
        "empty": np.zeros((0, 5)),
        "negative_zero": np.array([-0.0]),
    }
    document = {"names": ["ä", "b"], "depth": {"x": None, "y": 1e-300, "n": 2**60}, "flag": True}
    digest = artifact.save(
        tmp_path / "m", "demo", tensors={"t": arrays}, documents={"d": document}, texts={"s.toml": "a"}
    )
    found = artifact.load(tmp_path / "m", "demo")
    for key, array in arrays.items():
        assert np.array_equal(found.tensors["t"][key], array), key
        assert found.tensors["t"][key].dtype == np.asarray(array).dtype.newbyteorder("=")
    assert np.signbit(found.tensors["t"]["negative_zero"][0])
    assert (found.documents["d"], found.texts["s.toml"], found.digest) == (document, "a", digest)


def test_the_same_content_gives_the_same_bytes(tmp_path):
    first = artifact.save(
        tmp_path / "a", "demo", documents={"m": {"b": 1, "a": np.float64(2.5)}}, tensors=OLD["tensors"]
    )
    second = artifact.save(tmp_path / "b", "demo", documents={"m": {"a": 2.5, "b": 1}}, tensors=OLD["tensors"])
    assert first == second
    assert content_of(tmp_path / "a") == content_of(tmp_path / "b")


def test_files_have_the_permissions_of_any_new_file(saved):
    plain = saved.parent / "plain"
    plain.touch()
    assert (saved / "model.json").stat().st_mode == plain.stat().st_mode


# A crash at every step ----------------------------------------------------------------------------------------------

CRASH = """
import os, signal, sys
import longshort.artifact as artifact, safetensors.numpy, fcntl, numpy as np
folder, step = sys.argv[1], 0
def dies_at(limit):
    def wrap(function):
        def wrapped(*args, **kwargs):
            global step
            step += 1
            if step == limit:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)
        return wrapped
    for name in ("mkdir", "open", "write", "fsync", "close", "rename", "replace", "unlink", "rmdir", "lstat"):
        setattr(os, name, wrap(getattr(os, name)))
for limit in range(1, 1000):
    child = os.fork()
    if child == 0:
        dies_at(limit)
        SAVE
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
    print(limit, CHECK, flush=True)
"""


def run_crashes(folder: Path, save: str, check: str) -> list[str]:
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    source = CRASH.replace("SAVE", save).replace("CHECK", check)
    command = [sys.executable, "-W", "ignore", "-c", source, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return [line.split(" ", 1)[1] for line in done.stdout.splitlines()]


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")
def test_killed_at_any_step_of_replacing_a_model_the_old_or_the_new_one_loads(tmp_path):
    artifact.save(tmp_path / "model", "demo", documents={"model": {"name": "old"}}, tensors=OLD["tensors"])
    seen = run_crashes(
        tmp_path,
        "artifact.save(folder + '/model', 'demo', documents={'model': {'name': str(limit)}}, "
        "tensors={'weights': {'w': np.arange(float(limit))}})",
        "(lambda a: (a.documents['model']['name'], a.tensors['weights']['w'].size))"
        "(artifact.load(folder + '/model', 'demo'))",
    )
    assert len(seen) > 25, "the kill points were not reached"
    allowed = {("old", 3)}
    names = []
    for limit, line in enumerate(seen, start=1):
        found = eval(line)  # a tuple printed by the child above
        assert found in allowed | {(str(limit), limit)}, f"killed at step {limit}: a mix or an unknown version, {found}"
        allowed = {found}
        names.append(found[0])
    assert "old" in names
    assert any(name.isdigit() for name in names)
    assert artifact.save(tmp_path / "model", "demo", **NEW)
    assert not list(tmp_path.glob(".model.*.old"))


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")
def test_killed_at_any_step_of_the_first_save_there_is_nothing_or_all(tmp_path):
    seen = run_crashes(
        tmp_path,
        "artifact.save(folder + f'/model{limit}', 'demo', documents={'model': 'whole'})",
        "os.path.exists(folder + f'/model{limit}') and artifact.load(folder + f'/model{limit}', 'demo').documents",
    )
    assert set(seen) == {"False", "{'model': 'whole'}"}


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")
def test_killed_at_any_step_of_writing_a_file_the_old_or_the_new_content_stands(tmp_path):
    (tmp_path / "report.html").write_text("old")
    seen = run_crashes(
        tmp_path,
        "artifact.write_atomic(folder + '/report.html', 'new' * 1000)",
        "len(open(folder + '/report.html').read())",
    )
    assert set(seen) == {"3", "3000"}


def fail_at(patch: pytest.MonkeyPatch, limit: int, code: int) -> itertools.count:
    """Make the call number `limit` of all these functions fail; the counter tells how many there were."""
    calls = itertools.count(1)

    def wrap(real):
        def failing(*args, **kwargs):
            if next(calls) == limit:
                raise OSError(code, os.strerror(code))
            return real(*args, **kwargs)

        return failing

    for step in ("mkdir", "open", "write", "fsync", "rename"):
        patch.setattr(os, step, wrap(getattr(os, step)))
    return calls


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_an_error_at_any_step_leaves_the_old_or_the_new_one_and_nothing_else(saved, monkeypatch, code):
    refused = 0
    for limit in range(1, 200):
        with monkeypatch.context() as patch:
            calls = fail_at(patch, limit, code)
            try:
                artifact.save(saved, "demo", **NEW)
                message = ""
            except ArtifactError as error:
                message = str(error)
        assert not message or os.strerror(code) in message
        assert name_of(saved) == ("old" if message else "new")
        refused += bool(message)
        if message:  # an error while the old version is cleared away is forgiven; the next save clears it
            assert [p.name for p in saved.parent.iterdir()] == ["model"], f"leftovers after an error at step {limit}"
        if next(calls) <= limit:
            break
        artifact.save(saved, "demo", **OLD)
    assert name_of(saved) == "new"
    assert [p.name for p in saved.parent.iterdir()] == ["model"]
    assert refused > 15


def test_a_short_write_is_continued(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, data[: max(1, len(data) // 2)]))
    artifact.save(tmp_path / "model", "demo", **OLD)
    assert name_of(tmp_path / "model") == "old"


def test_every_file_and_the_folder_are_synced_before_the_rename_that_publishes(saved, monkeypatch):
    log: list[str] = []
    opened: dict[int, str] = {}
    real_open, real_fsync, real_rename = os.open, os.fsync, os.rename

    def spy_open(path, *args, **kwargs):
        handle = real_open(path, *args, **kwargs)
        opened[handle] = Path(path).name
        return handle

    monkeypatch.setattr(os, "open", spy_open)
    monkeypatch.setattr(os, "fsync", lambda handle: (log.append(f"sync {opened[handle]}"), real_fsync(handle))[1])
    monkeypatch.setattr(os, "rename", lambda a, b: (log.append(f"rename to {Path(b).name}"), real_rename(a, b))[1])
    artifact.save(saved, "demo", **NEW)
    published = log.index("rename to model")
    for name in ("weights.safetensors", "model.json", "a.toml", "manifest.json"):
        assert log.index(f"sync {name}") < published
    assert any(entry.endswith(".new") and entry.startswith("sync") for entry in log[:published])
    assert log[published + 1] == f"sync {saved.parent.name}"


def test_after_a_crash_between_the_renames_load_opens_the_version_set_aside(saved, caplog):
    caplog.set_level("INFO")
    os.rename(saved, saved.with_name(f".model.{'0' * 16}.old"))
    assert name_of(saved) == "old"
    assert "interrupted" in caplog.text
    artifact.save(saved, "demo", **NEW)
    assert [p.name for p in saved.parent.iterdir()] == ["model"]


def test_two_writers_and_a_reader_never_see_a_mix(tmp_path):
    path = tmp_path / "model"
    artifact.save(path, "demo", tensors={"w": {"x": np.zeros(500)}}, documents={"model": 0})
    failures, stop = [], threading.Event()

    def write(number: int) -> None:
        for _ in range(40):
            try:
                artifact.save(
                    path, "demo", tensors={"w": {"x": np.full(500, float(number))}}, documents={"model": number}
                )
            except ArtifactError as error:
                failures.append(error)

    def read() -> None:
        while not stop.is_set():
            try:
                found = artifact.load(path, "demo")
                assert (found.tensors["w"]["x"] == found.documents["model"]).all()
            except (ArtifactError, AssertionError) as error:
                failures.append(error)

    writers = [threading.Thread(target=write, args=(k,)) for k in (1, 2)]
    reader = threading.Thread(target=read)
    for thread in (*writers, reader):
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    reader.join()
    assert not failures, failures[:3]


# Corruption ---------------------------------------------------------------------------------------------------------


def test_every_flipped_byte_is_refused(saved):
    flips = 0
    for file in sorted(saved.iterdir()):
        original = file.read_bytes()
        for position in range(len(original)):
            for mask in (0x01, 0xFF):
                damaged = bytearray(original)
                damaged[position] ^= mask
                file.write_bytes(damaged)
                with pytest.raises(ArtifactError):
                    artifact.load(saved, "demo")
                flips += 1
        file.write_bytes(original)
    assert name_of(saved) == "old"
    assert flips > 1000


def test_every_truncation_is_refused(saved):
    for file in sorted(saved.iterdir()):
        original = file.read_bytes()
        for size in range(len(original)):
            file.write_bytes(original[:size])
            with pytest.raises(ArtifactError):
                artifact.load(saved, "demo")
        file.write_bytes(original + b" ")
        with pytest.raises(ArtifactError):
            artifact.load(saved, "demo")
        file.write_bytes(original)


def rewrite_manifest(folder: Path, change) -> None:
    """Change the manifest and give it a digest that fits, as a careful forger would."""
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    manifest["digest"] = artifact._digest(manifest)
    (folder / "manifest.json").write_bytes(canonical(manifest))


def replace_file(folder: Path, name: str, data: bytes) -> None:
    """Put other bytes in place of a file and make the manifest agree."""
    import hashlib

    (folder / name).write_bytes(data)
    entry = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    rewrite_manifest(folder, lambda manifest: manifest["files"].update({name: entry}))


class Canary:
    def __reduce__(self):
        return (os.mkdir, ("canary-was-executed",))


@pytest.mark.parametrize("name", ["weights.safetensors", "model.json"])
@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(Canary()),
        b"PK\x03\x04" + b"\0" * 64,
        (2**60).to_bytes(8, "little") + b"{}",
        b"",
        b"\xff\xfe{\0}\0",
        b'{"a": 1, "a": 2}',
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b"[" * 10_000,
        b"1" * 10_000,
    ],
    ids=["pickle", "torch zip", "huge header", "empty", "utf-16", "twice", "nan", "1e999", "deep", "long integer"],
)
def test_foreign_content_with_a_matching_hash_is_refused_and_never_run(saved, monkeypatch, name, data):
    monkeypatch.chdir(saved.parent)
    replace_file(saved, name, data)
    with pytest.raises(ArtifactError, match="model"):
        artifact.load(saved, "demo")
    assert not Path("canary-was-executed").exists()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda m: m.update(format=2), "Update longshort"),
        (lambda m: m.update(version=2), "Update longshort"),
        (lambda m: m.update(kind="other"), "holds a 'other'"),
        (lambda m: m.update(extra=1), "damaged"),
        (lambda m: m.pop("longshort"), "damaged"),
        (lambda m: m["files"].pop("model.json"), "not listed model.json"),
        (lambda m: m["files"].update({"x.json": {"bytes": 1, "sha256": "0"}}), "missing x.json"),
        (lambda m: m["files"].update({"../../etc/passwd": {"bytes": 1, "sha256": "0"}}), "damaged"),
        (lambda m: m["files"].update({"a\\b": {"bytes": 1, "sha256": "0"}}), "damaged"),
        (lambda m: m["files"].update({"%2e%2e": {"bytes": 1, "sha256": "0"}}), "damaged"),
        (lambda m: m["files"]["model.json"].update(bytes=-1), "damaged"),
        (lambda m: m["files"]["model.json"].update(bytes=True), "damaged"),
        (lambda m: m["files"]["model.json"].update(bytes=2**60), "more than"),
    ],
)
def test_a_forged_manifest_is_refused(saved, change, match):
    rewrite_manifest(saved, change)
    with pytest.raises(ArtifactError, match=match):
        artifact.load(saved, "demo")


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"{}", b'{"format": 1, "format": 1}', b"\xff", b"{" * 9999])
def test_a_manifest_that_is_none_is_refused(saved, data):
    (saved / "manifest.json").write_bytes(data)
    with pytest.raises(ArtifactError):
        artifact.load(saved, "demo")


def test_non_finite_weights_are_refused_on_both_ways(saved):
    from safetensors.numpy import save as to_safetensors

    with pytest.raises(InputError, match=r"'w' must be finite, but 1 of 3 values are not, the first at \(1,\)"):
        artifact.save(saved, "demo", tensors={"weights": {"w": np.array([0.0, np.nan, 1.0])}})
    assert name_of(saved) == "old"
    replace_file(saved, "weights.safetensors", to_safetensors({"w": np.array([0.0, np.inf])}))
    with pytest.raises(ArtifactError, match="must be finite"):
        artifact.load(saved, "demo")
    with pytest.raises(ArtifactError, match="must be finite"):
        artifact.load(saved, "demo", allow_nan=("weights",))  # a gap is NaN, never infinity


def test_gaps_are_kept_where_they_are_announced(tmp_path):
    values = np.array([np.nan, 1.0])
    artifact.save(tmp_path / "f", "demo", tensors={"forecast": {"mean": values}}, allow_nan=("forecast",))
    with pytest.raises(ArtifactError, match="allow_nan"):
        artifact.load(tmp_path / "f", "demo")
    found = artifact.load(tmp_path / "f", "demo", allow_nan=("forecast",))
    assert np.array_equal(found.tensors["forecast"]["mean"], values, equal_nan=True)


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_links_folders_and_devices_are_refused(saved):
    link = saved.with_name("link")
    link.symlink_to(saved, target_is_directory=True)
    with pytest.raises(ArtifactError, match="link"):
        artifact.load(link, "demo")
    with pytest.raises(ArtifactError, match="link"):
        artifact.save(link, "demo", **NEW)
    content = (saved / "model.json").read_bytes()
    outside = saved.with_name("outside.json")
    outside.write_bytes(content)
    for make in (lambda p: p.symlink_to(outside), Path.mkdir, os.mkfifo):
        (saved / "model.json").unlink()
        make(saved / "model.json")
        with pytest.raises(ArtifactError, match="plain file"):
            artifact.load(saved, "demo")
        (saved / "model.json").rmdir() if (saved / "model.json").is_dir() else None
        if not os.path.lexists(saved / "model.json"):
            (saved / "model.json").touch()


def test_missing_and_extra_files_are_refused(saved):
    (saved / "notes.txt").write_text("mine")
    with pytest.raises(ArtifactError, match=r"not listed notes\.txt"):
        artifact.load(saved, "demo")
    (saved / "notes.txt").unlink()
    (saved / "model.json").unlink()
    with pytest.raises(ArtifactError, match=r"missing model\.json"):
        artifact.load(saved, "demo")


# What saving refuses ------------------------------------------------------------------------------------------------


def test_saving_never_deletes_what_is_not_its_own(saved, tmp_path):
    (saved / "notes.txt").write_text("mine")
    with pytest.raises(ArtifactError, match=r"notes\.txt, which saving would delete"):
        artifact.save(saved, "demo", **NEW)
    with pytest.raises(ArtifactError, match="would be replaced by a 'study'"):
        artifact.save(saved, "study", **NEW)
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.tex").write_text("years of work")
    with pytest.raises(ArtifactError, match="not an artifact"):
        artifact.save(home, "demo", **NEW)
    with pytest.raises(ArtifactError, match="file or link"):
        artifact.save(home / "thesis.tex", "demo", **NEW)
    assert (home / "thesis.tex").read_text() == "years of work"
    assert (saved / "notes.txt").read_text() == "mine"


def test_an_empty_folder_may_be_saved_into(tmp_path):
    (tmp_path / "model").mkdir()
    artifact.save(tmp_path / "model", "demo", **OLD)
    assert name_of(tmp_path / "model") == "old"


@pytest.mark.parametrize(
    "content",
    [
        {"documents": {"d": float("nan")}},
        {"documents": {"d": {"x": [np.inf]}}},
        {"documents": {"d": {1: "x"}}},
        {"documents": {"d": np.zeros(3)}},
        {"documents": {"d": {"when": object()}}},
        {"documents": {"manifest": {}}},
        {"documents": {"../x": {}}},
        {"documents": {"X": {}}},
        {"documents": {"": {}}},
        {"documents": {"d" * 65: {}}},
        {"tensors": {"t": {"x": np.array(["a"])}}},
        {"tensors": {"t": {"x": np.array([object()])}}},
        {"tensors": {"t": {"x": np.array(["2020-01-01"], dtype="datetime64[ns]")}}},
        {"tensors": {"t": {"x": np.array([1j])}}},
        {"texts": {"a.json": "{}"}},
        {"texts": {"a/b.toml": ""}},
    ],
)
def test_what_cannot_be_kept_faithfully_is_refused_before_anything_is_written(saved, content):
    before = content_of(saved.parent)
    with pytest.raises(InputError):
        artifact.save(saved, "demo", **content)
    assert content_of(saved.parent) == before


def test_nothing_there_is_said_plainly(tmp_path):
    with pytest.raises(ArtifactError, match="There is nothing at"):
        artifact.load(tmp_path / "absent", "demo")
    with pytest.raises(ArtifactError, match=r"no manifest\.json"):
        artifact.load(tmp_path, "demo")
    with pytest.raises(InputError, match="kind"):
        artifact.save(tmp_path / "m", "../x")


def test_a_copied_artifact_loads(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "copy")
    assert artifact.load(tmp_path / "copy", "demo").digest == artifact.load(saved, "demo").digest


# Artifacts inside artifacts -----------------------------------------------------------------------------------------


def nested(tmp_path: Path) -> Path:
    artifact.save(tmp_path / "inner", "demo", **OLD)
    artifact.save(tmp_path / "middle", "box", documents={"box": 1}, parts={"one": tmp_path / "inner"})
    artifact.save(tmp_path / "outer", "box", documents={"box": 2}, parts={"two": tmp_path / "middle"})
    return tmp_path / "outer"


def test_parts_open_as_what_they_were_at_any_depth(tmp_path):
    outer = nested(tmp_path)
    middle = artifact.load(artifact.load(outer, "box").parts["two"], "box")
    assert middle.digest == artifact.load(tmp_path / "middle", "box").digest
    assert content_of(middle.parts["one"]) == content_of(tmp_path / "inner")
    first = content_of(outer)
    artifact.save(outer, "box", documents={"box": 2}, parts={"two": tmp_path / "middle"})
    assert content_of(outer) == first


@pytest.mark.parametrize("file", ["two/one/weights.safetensors", "two/one/manifest.json", "two/box.json"])
def test_a_changed_byte_in_a_part_is_seen_from_outside(tmp_path, file):
    outer = nested(tmp_path)
    data = (outer / file).read_bytes()
    (outer / file).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ArtifactError, match=f"{file} does not match"):
        artifact.load(outer, "box")


def test_a_link_a_stray_file_or_an_empty_folder_in_a_part_is_refused(tmp_path):
    outer = nested(tmp_path)
    for name in ("two/one/stray.txt", "two/empty", "two/link"):
        path = outer / name
        if name.endswith("txt"):
            path.write_text("x")
        elif name.endswith("empty"):
            path.mkdir()
        else:
            path.symlink_to(tmp_path / "inner")
        with pytest.raises(ArtifactError, match=f"not listed {name}"):
            artifact.load(outer, "box")
        (Path.rmdir if name.endswith("empty") else Path.unlink)(path)
    shutil.move(outer / "two" / "one", tmp_path / "elsewhere")
    (outer / "two" / "one").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match="not listed two/one"):
        artifact.load(outer, "box")


def test_a_part_must_be_an_artifact_with_a_sound_name(tmp_path):
    inner = tmp_path / "inner"
    artifact.save(inner, "demo", **OLD)
    with pytest.raises(InputError, match="part's name"):
        artifact.save(tmp_path / "outer", "box", parts={"../up": inner})
    with pytest.raises(ArtifactError, match="has no manifest"):
        artifact.save(tmp_path / "outer", "box", parts={"one": tmp_path})
