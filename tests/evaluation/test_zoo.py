"""The leak zoo: every leak is found, no clean twin is accused, and what nobody can see is asked for."""

import importlib.util

import pytest

from longshort.errors import UnknownName
from longshort.evaluation import zoo

RUNS = 60  # of 120: half the audit must do
KINDS = ("leak", "clean", "not observable", "not judged")


def cases():
    for entry in zoo.entries(installed=False):
        yield pytest.param(entry, id=entry.name, marks=[pytest.mark.full] if entry.needs else [])


@pytest.mark.parametrize("entry", list(cases()))
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_every_entry_gets_its_answer(entry):
    if entry.needs and importlib.util.find_spec(entry.needs) is None:
        pytest.skip(f"needs {entry.needs}")
    found = entry.audit(runs=min(RUNS, entry.options.get("runs", RUNS)))
    assert found.answer == entry.expected, found
    if entry.expected == "not observable":
        assert all(question.supply for question in found.questions)


def test_the_zoo_is_as_large_as_promised():
    assert len(zoo.entries("leak", observable=True)) >= 40
    assert len(zoo.entries("clean")) >= 20
    assert len(zoo.entries("not observable")) >= 5
    assert all(entry.about.endswith(".") for entry in zoo.entries(installed=False))


def test_a_twin_belongs_to_a_leak_and_an_unseen_leak_has_its_admission():
    for entry in zoo.entries("clean", installed=False):
        assert zoo.find(entry.twin_of).expected != "clean"
    for entry in zoo.entries(observable=False, installed=False):
        assert entry.expected in ("leak", "not observable")
        assert entry.expected != "leak" or entry.options["facts"]


@pytest.mark.full
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("seed", [1, 2])
def test_other_invented_futures_find_the_same(seed):
    found = zoo.run(auditor=lambda entry: entry.audit(seed=seed).answer)
    assert not found.wrong, found


def test_the_table_counts_and_names_mistakes():
    found = zoo.run([zoo.find(n) for n in ("centred_mean", "trailing_mean")], auditor=lambda entry: "clean")
    assert found.missed == ("centred_mean",)
    assert (found.recall, found.false_alarms) == (0.0, ())
    assert "wrong: centred_mean" in repr(found)
    found = zoo.run([zoo.find(n) for n in ("centred_mean", "trailing_mean")], auditor=lambda entry: "leak")
    assert found.false_alarms == ("trailing_mean",)
    assert found.to_dict()["table"]["clean"]["leak"] == 1


def test_a_typo_gets_the_nearest_name():
    with pytest.raises(UnknownName, match="centred_mean"):
        zoo.find("centered_mean")
    with pytest.raises(UnknownName, match="Did you mean 'clean'"):
        zoo.entries("cleen")
    with pytest.raises(UnknownName, match="Did you mean 'daily'"):
        zoo.Entry("x", "X.", lambda: len, "clean", market="daly").bars  # noqa: B018
