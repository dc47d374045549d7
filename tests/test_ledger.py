"""The chain of records: nothing can be edited, deleted, moved or cut without `verify` noticing."""

import json
import os
import shutil
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from longshort import ledger as ledger_module
from longshort.errors import InputError, LedgerError
from longshort.ledger import GENESIS, Ledger, digest_of, project

N = 6


@pytest.fixture
def folder(tmp_path):
    ledger = Ledger(tmp_path)
    for i in range(N):
        ledger.record("trial", trial=f"configuration {i}", ic=0.01 * i, symbols=["AAPL", "MSFT"])
    return tmp_path


def lines(folder):
    return (folder / "ledger.jsonl").read_bytes().splitlines(keepends=True)


def write(folder, new):
    (folder / "ledger.jsonl").write_bytes(b"".join(new))


def test_records_come_back_as_written(folder):
    records = Ledger(folder).records()
    assert [r.facts["trial"] for r in records] == [f"configuration {i}" for i in range(N)]
    assert records[0].previous == GENESIS
    assert all(b.previous == a.digest for a, b in pairwise(records))
    assert Ledger(folder).verify() == N
    assert Ledger(folder).trials() == N


def test_digest_is_the_sha256_of_the_documented_text(folder):
    import hashlib

    found = json.loads(lines(folder)[3])
    body = {k: v for k, v in found.items() if k != "digest"}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    assert found["digest"] == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("i", range(N))
def test_any_edited_record_is_noticed(folder, i):
    original = lines(folder)
    record = json.loads(original[i])
    for change in ({"ic": 0.5}, {"trial": "another"}):
        forged = record | {"facts": record["facts"] | change}
        write(folder, [*original[:i], ledger_module.canonical(forged).encode() + b"\n", *original[i + 1 :]])
        with pytest.raises(LedgerError, match=f"line {i + 1} was edited"):
            Ledger(folder).verify()


@pytest.mark.parametrize("i", range(N))
def test_an_edited_and_resealed_record_is_noticed(folder, i):
    original = lines(folder)
    record = json.loads(original[i])
    forged = {k: v for k, v in record.items() if k != "digest"} | {"kind": "note"}
    forged["digest"] = digest_of(forged)
    write(folder, [*original[:i], ledger_module.canonical(forged).encode() + b"\n", *original[i + 1 :]])
    with pytest.raises(LedgerError, match="the chain breaks" if i < N - 1 else "was rewritten"):
        Ledger(folder).verify()


@pytest.mark.parametrize("i", range(N))
def test_any_deleted_record_is_noticed(folder, i):
    original = lines(folder)
    write(folder, original[:i] + original[i + 1 :])
    with pytest.raises(LedgerError, match="the chain breaks" if i < N - 1 else "was cut: 6 records .* 5 are left"):
        Ledger(folder).verify()


@pytest.mark.parametrize("i", range(N))
def test_any_cut_tail_is_noticed(folder, i):
    write(folder, lines(folder)[:i])
    with pytest.raises(LedgerError, match="was cut"):
        Ledger(folder).verify()


@pytest.mark.parametrize("i", range(N - 1))
def test_any_swap_is_noticed(folder, i):
    original = lines(folder)
    original[i], original[i + 1] = original[i + 1], original[i]
    write(folder, original)
    with pytest.raises(LedgerError, match="the chain breaks"):
        Ledger(folder).verify()


@pytest.mark.parametrize("i", range(N))
def test_any_repeated_record_is_noticed(folder, i):
    original = lines(folder)
    write(folder, [*original[: i + 1], original[i], *original[i + 1 :]])
    with pytest.raises(LedgerError):
        Ledger(folder).verify()


def test_every_flipped_byte_is_noticed(folder):
    data = (folder / "ledger.jsonl").read_bytes()
    for at in range(0, len(data), 7):
        (folder / "ledger.jsonl").write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(LedgerError):
            Ledger(folder).verify()


def test_a_broken_chain_takes_no_more_records(folder):
    write(folder, lines(folder)[1:])
    before = (folder / "ledger.jsonl").read_bytes()
    with pytest.raises(LedgerError):
        Ledger(folder).record("note", text="late")
    assert (folder / "ledger.jsonl").read_bytes() == before


def test_a_missing_or_damaged_head_is_noticed(folder):
    (folder / "ledger.head").write_text("{")
    with pytest.raises(LedgerError, match=r"ledger\.head is damaged"):
        Ledger(folder).verify()
    (folder / "ledger.head").unlink()
    with pytest.raises(LedgerError, match=r"ledger\.head beside it is missing"):
        Ledger(folder).verify()


def test_a_line_torn_by_a_crash_is_dropped_at_every_byte(folder):
    full = (folder / "ledger.jsonl").read_bytes()
    extra = lines(folder)[-1].replace(b'"index":5', b'"index":6')
    for kept in range(1, len(extra), 11):
        (folder / "ledger.jsonl").write_bytes(full + extra[:kept])
        assert Ledger(folder).verify() == N
    appended = Ledger(folder).record("note", text="after the crash")
    assert appended.index == N
    assert Ledger(folder).verify() == N + 1


def test_a_crash_between_the_line_and_the_head_loses_nothing(folder, tmp_path):
    head = (folder / "ledger.head").read_bytes()
    Ledger(folder).record("trial", trial="the last one")
    (folder / "ledger.head").write_bytes(head)
    assert Ledger(folder).verify() == N + 1
    Ledger(folder).record("note", text="go on")
    assert Ledger(folder).verify() == N + 2


def test_a_crash_right_after_the_first_line_loses_nothing(tmp_path):
    Ledger(tmp_path).record("trial", trial="first")
    (tmp_path / "ledger.head").unlink()
    assert Ledger(tmp_path).trials() == 1
    Ledger(tmp_path).record("trial", trial="second")
    assert Ledger(tmp_path).trials() == 2


SCRIPT = """
import sys
from longshort.ledger import Ledger
ledger, name = Ledger(sys.argv[1]), sys.argv[2]
for i in range(int(sys.argv[3])):
    ledger.record("trial", trial=f"{name}-{i}")
    print(i, flush=True)
"""


def _start(folder: Path, name: str, n: int) -> subprocess.Popen:
    src = str(Path(ledger_module.__file__).parents[1])
    env = os.environ | {"PYTHONPATH": src + os.pathsep + os.environ.get("PYTHONPATH", "")}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder), name, str(n)], stdout=subprocess.PIPE, text=True, env=env
    )


def test_two_processes_append_to_one_chain(tmp_path):
    writers = [_start(tmp_path, name, 25) for name in ("a", "b")]
    for w in writers:
        w.communicate(timeout=60)
        assert w.returncode == 0
    assert Ledger(tmp_path).verify() == 50
    assert Ledger(tmp_path).trials() == 50


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_killed_writer_loses_nothing_it_was_promised(tmp_path):
    for confirmed_before_kill in (1, 4, 9):
        folder = tmp_path / str(confirmed_before_kill)
        with _start(folder, "victim", 10_000) as writer:
            assert writer.stdout is not None
            confirmed = [writer.stdout.readline() for _ in range(confirmed_before_kill)]
            os.kill(writer.pid, signal.SIGKILL)
            confirmed += writer.stdout.readlines()
        promised = len([c for c in confirmed if c.endswith("\n")])
        assert Ledger(folder).verify() >= promised
        assert Ledger(folder).record("note", text="next").index >= promised
        assert Ledger(folder).verify() > promised


def test_a_repeated_trial_counts_once(tmp_path):
    for ledger in (Ledger(), Ledger(tmp_path)):
        assert ledger.record_trial("a", symbol="AAPL") == 1
        assert ledger.record_trial("b") == 2
        assert ledger.record_trial("a") == 2
        ledger.record("note", text="not a trial")
        assert ledger.trials() == 2


def test_project_nests_and_returns_to_the_ledger_before(tmp_path):
    outside = ledger_module.current()
    with project(tmp_path / "one"):
        ledger_module.record("trial", trial="x")
        with project(tmp_path / "two"):
            assert ledger_module.trials() == 0
        assert ledger_module.trials() == 1
        assert ledger_module.verify() == 1
        assert "run folder" in ledger_module.current().where
    assert ledger_module.current() is outside


def test_a_moved_run_folder_keeps_its_chain(folder, tmp_path):
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("ledger.jsonl", "ledger.head"):
        shutil.copy(folder / name, moved)
    assert Ledger(moved).trials() == N


def test_facts_that_json_cannot_hold_are_refused_and_leave_no_trace(tmp_path):
    ledger = Ledger(tmp_path / "new")
    for bad in (float("nan"), float("inf"), object(), {1, 2}):
        with pytest.raises(InputError, match="A record holds text, finite numbers"):
            ledger.record("note", value=bad)
    assert not (tmp_path / "new").exists()
    with pytest.raises(InputError, match=r"trial=\.\.\."):
        ledger.record("trial", symbol="AAPL")
    with pytest.raises(InputError, match="was ''"):
        ledger.record("")


def test_changing_the_facts_object_later_does_not_change_the_record():
    ledger, facts = Ledger(), {"symbols": ["AAPL"]}
    ledger.record("note", **facts)
    facts["symbols"].append("MSFT")
    assert ledger.records()[0].facts == {"symbols": ["AAPL"]}
    assert ledger.verify() == 1


def test_a_tampered_memory_chain_is_noticed():
    ledger = Ledger()
    ledger.record("note", value=1)
    ledger.record("note", value=2)
    ledger.records()[0].facts["value"] = 3
    with pytest.raises(LedgerError, match="line 1 was edited"):
        ledger.verify()


def test_a_thousand_trials_of_a_process_are_checked_once_each(monkeypatch):
    """Every study asks several times; checking the whole chain each time would take minutes by then."""
    ledger, sealed_at, digested = Ledger(), ledger_module.digest_of, []
    monkeypatch.setattr(ledger_module, "digest_of", lambda value: digested.append(1) or sealed_at(value))
    for i in range(100):
        ledger.record_trial(str(i))
    assert ledger.trials() == 100
    assert len(digested) == 2 * 100  # sealed, then checked
    assert ledger.verify() == 100
    assert len(digested) == 3 * 100


def test_a_noted_head_is_found_again_or_missed(tmp_path):
    ledger = Ledger(tmp_path)
    first = ledger.record("trial", trial="a")
    ledger.record("trial", trial="b")
    ledger.confirm(1, first.digest)
    ledger.confirm(2, ledger.head)
    ledger.confirm(0, "")
    with pytest.raises(LedgerError, match="held 3 records .* and holds 2 now"):
        ledger.confirm(3, ledger.head)
    with pytest.raises(LedgerError, match="Record 0 .* was replaced"):
        ledger.confirm(1, "f" * 64)


@pytest.mark.parametrize("i", range(N + 1))
def test_any_inserted_record_is_noticed_though_it_is_sealed_rightly(folder, i):
    kept, records = lines(folder), Ledger(folder).records()
    previous = records[i - 1].digest if i else GENESIS
    body = {"index": i, "time": records[0].time, "kind": "trial", "facts": {"trial": "forged"}, "previous": previous}
    forged = ledger_module.canonical(body | {"digest": digest_of(body)}).encode() + b"\n"
    write(folder, [*kept[:i], forged, *kept[i:]])
    if i < N:
        with pytest.raises(LedgerError, match="chain breaks"):
            Ledger(folder).verify()
    else:  # behind the last: not confirmed by the head, as a crash leaves it, and cannot be told from one
        assert Ledger(folder).verify() == N + 1


def sealed(index, previous, **facts):
    body = {"index": index, "time": 1, "kind": "trial", "facts": facts, "previous": previous}
    return body | {"digest": digest_of(body)}


def as_line(record):
    return ledger_module.canonical(record).encode() + b"\n"


def test_more_than_one_record_behind_the_head_is_no_crash(folder):
    """A crash between line and head leaves one; whoever appends by hand leaves two."""
    first = sealed(N, Ledger(folder).head, trial="forged")
    second = sealed(N + 1, first["digest"], trial="forged too")
    write(folder, [*lines(folder), as_line(first), as_line(second)])
    with pytest.raises(LedgerError, match=f"holds {N + 2} records, but only {N} were confirmed"):
        Ledger(folder).verify()


def test_a_record_out_of_its_place_is_noticed_though_it_is_sealed_rightly(folder):
    write(folder, [*lines(folder), as_line(sealed(N + 3, Ledger(folder).head, trial="forged"))])
    with pytest.raises(LedgerError, match=f"chain breaks at line {N + 1} .record {N + 3} follows {N - 1}"):
        Ledger(folder).verify()


@pytest.mark.parametrize(
    "edit", [(b'","', b'", "'), (b'"index"', b' "index"'), (b"0.01", b"0.010"), (b"a", b"\\u0061")]
)
def test_an_edit_that_changes_no_fact_is_noticed(folder, edit):
    kept = lines(folder)
    assert edit[0] in kept[1]
    write(folder, [kept[0], kept[1].replace(*edit, 1), *kept[2:]])
    with pytest.raises(LedgerError, match="line 2 was changed, it is not a record .it is not in canonical form"):
        Ledger(folder).verify()


@pytest.mark.skipif(os.name != "posix", reason="folders are not synced on Windows: needs POSIX")
def test_a_record_is_on_disk_before_its_head_and_both_before_it_is_returned(tmp_path, monkeypatch):
    synced, sync = [], os.fsync

    def noted(handle):
        synced.append(os.path.basename(os.readlink(f"/proc/self/fd/{handle}")) if sys.platform == "linux" else "")
        sync(handle)

    monkeypatch.setattr(os, "fsync", noted)
    Ledger(tmp_path).record("trial", trial="a")
    assert len(synced) == 3
    assert sys.platform != "linux" or synced == ["ledger.jsonl", "ledger.head.new", tmp_path.name]


@pytest.mark.parametrize("i", range(N))
def test_an_edit_is_noticed_by_whoever_has_read_the_ledger_before(folder, i):
    ledger, kept = Ledger(folder), lines(folder)
    assert ledger.verify() == N
    ledger.record("trial", trial="one more")
    assert ledger.verify() == N + 1
    write(folder, [*kept[:i], kept[i].replace(b"configuration", b"configuratiom"), *lines(folder)[i + 1 :]])
    with pytest.raises(LedgerError, match=f"line {i + 1} was edited"):
        ledger.verify()
    with pytest.raises(LedgerError, match=f"line {i + 1} was edited"):
        ledger.record("trial", trial="another")


# ------------------------------------------------------------------------------------------------------- score series


def test_any_edited_or_deleted_score_series_is_noticed(tmp_path):
    ledger = Ledger(tmp_path)
    series = [f"what every date of trial {i} was worth".encode() for i in range(N)]
    for i, one in enumerate(series):
        ledger.record("trial", trial=str(i), scores=ledger.keep(one))
    assert ledger.verify() == N
    for record in ledger.records():
        file = tmp_path / "scores" / record.facts["scores"]
        whole = file.read_bytes()
        file.write_bytes(whole.replace(b"worth", b"wroth"))
        with pytest.raises(LedgerError, match="was edited"):
            Ledger(tmp_path).verify()
        file.unlink()
        with pytest.raises(LedgerError, match="is missing"):
            Ledger(tmp_path).verify()
        file.write_bytes(whole)
    assert Ledger(tmp_path).verify() == N


def test_a_ledger_in_memory_keeps_the_latest_series(monkeypatch):
    monkeypatch.setattr(ledger_module, "KEPT_IN_MEMORY", 3)
    ledger = Ledger()
    digests = [ledger.keep(bytes([i])) for i in range(5)]
    assert [ledger.kept(d) for d in digests] == [None, None, b"\x02", b"\x03", b"\x04"]


def test_what_is_tried_inside_a_study_is_recorded_and_no_trial(tmp_path):
    ledger = Ledger(tmp_path)
    with ledger.inside():
        ledger.record_trial("a part of something larger")
    ledger.record_trial("the whole")
    assert ledger.trials() == 1
    assert [r.kind for r in ledger.records()] == ["inner", "trial"]


def test_unsealing_needs_a_reason_and_ends_with_its_block(tmp_path):
    with project(tmp_path) as ledger:
        with pytest.raises(InputError, match="Say why"), ledger_module.unsealed(" "):
            pass
        with pytest.raises(ZeroDivisionError), ledger_module.unsealed("a last look"):
            _ = 1 / (not ledger.is_unsealed)
        assert not ledger.is_unsealed
        assert [r.facts["reason"] for r in ledger.records("unsealed")] == ["a last look"]


@pytest.mark.parametrize("trials", [0, -1, 2.5, True, "20"])
def test_a_plan_is_a_whole_number(trials):
    with pytest.raises(InputError, match="whole number of trials"):
        ledger_module.plan(trials)


def test_a_plan_may_be_counted_by_numpy():
    with ledger_module.aside() as ledger:
        ledger_module.plan(np.int64(20))
        assert ledger.planned == 20


def test_an_archive_that_cannot_be_written_is_read(folder, monkeypatch):
    (folder / "ledger.lock").unlink(missing_ok=True)
    monkeypatch.setattr(ledger_module.os, "access", lambda *_: False)
    assert Ledger(folder).verify() > 0
    assert not (folder / "ledger.lock").exists()


def test_a_place_where_no_ledger_can_be_kept_is_named(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(LedgerError, match="No ledger can be kept in .*file.*Choose a folder"):
            Ledger(path).record("note", text="lost")
        with pytest.raises(LedgerError, match="Choose a folder"):
            Ledger(path).keep(b"scores")
