"""Saved strategies: the same bits back, nothing but data inside, and no damage that goes unnoticed."""

import json
import os
import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import longshort as ls
from longshort import artifact, ledger
from longshort import features as f
from longshort import models as m
from longshort import portfolio as p
from longshort.data import synthetic
from longshort.errors import ArtifactError, InputError, NotFitted, UnknownName
from longshort.evaluation import judge
from longshort.evaluation.wording import plain
from longshort.orders import Costs
from longshort.trading import golden
from longshort.trading.keeping import read
from longshort.trading.verifying import verify_strategy

RETURN = f.forward_return()


@pytest.fixture(scope="module")
def bars():
    return ls.load_bars(["AAPL", "SPY"], start="2014-01-01", end="2016-12-30", source="sample")


def small(**changes):
    given = {"features": [f.log_return(), f.volatility(5)], "lookback": 5, "hidden": (4,), "epochs": 1}
    return ls.LSTM(**(given | changes))


FORECASTERS = {
    "lstm": small(),
    "carry": small(context="carry"),
    "gaussian": small(loss="gaussian", seeds=2),
    "close": small(target=f.forward_close(), features=[f.field("close")]),
    "ridge": m.Ridge([f.rsi(14), f.log_return()], RETURN),
    "ar": m.AutoRegression(f.forward_volatility(5)),
    "ensemble": m.Ensemble([m.Ridge([f.log_return()], RETURN), m.HistoricalMean(RETURN)], "stacking"),
    "conformal": m.Conformal(small(), method="adaptive"),
    "none": None,
}


@pytest.fixture(scope="module")
def saved(bars, tmp_path_factory):
    """A small strategy with a study, and where it was saved."""
    folder = tmp_path_factory.mktemp("runs") / "two"
    model = m.AutoRegression(RETURN, spans=(1, 2))
    with ledger.project(folder):
        study = ls.walk_forward(model, bars, ls.WalkForward("1Y", "6M"), baselines=[])
        strategy = ls.Strategy(model, p.TopK(1, short=1), ls.Limits(stop_loss=0.05)).fitted(bars)
        ls.save_strategy(folder / "strategy", strategy, study, costs=Costs(half_spread_bp=1.0))
    return strategy, study, folder / "strategy"


@pytest.fixture
def copied(saved, tmp_path):
    return Path(shutil.copytree(saved[2], tmp_path / "copy"))


@pytest.mark.parametrize("name", FORECASTERS)
def test_a_loaded_strategy_says_the_same_bits_and_its_stream_too(bars, name, tmp_path):
    early = bars.until("2016-06-30")
    strategy = ls.Strategy(FORECASTERS[name], p.VolatilityTarget(p.TopK(1, short=1), 0.1), refit="3M").fitted(early)
    digest = ls.save_strategy(tmp_path / "x", strategy, bars=early)
    assert ls.save_strategy(tmp_path / "again" / "x", strategy, bars=early) == digest
    again = ls.load_strategy(tmp_path / "x")
    assert again.to_dict() == strategy.to_dict()
    assert again.policy == strategy.policy
    assert again.limits.to_dict() == strategy.limits.to_dict()
    if name == "none":
        return
    assert again.predict(bars).digest == strategy.predict(bars).digest
    streams = [one.stream(early) for one in (strategy, again)]
    for t in range(len(early), len(early) + 20):
        said = [stream.step(bars.row(t)) for stream in streams]
        assert said[0].tobytes() == said[1].tobytes()


@pytest.mark.parametrize(
    ("size", "calendar", "year"), [("1D", "XNYS", 252.0), ("1D", "24/7", 365.25), ("1W", None, 52.0)]
)
def test_golden_windows_are_decided_with_the_bars_a_year_of_the_strategy(size, calendar, year):
    day = 86_400 * 10**9
    time = {"XNYS": None, "24/7": (18_000 + np.arange(30)) * day, None: (18_000 + np.arange(30) * 7) * day}[calendar]
    if time is None:
        part = ls.load_bars("AAPL", start="2014-01-01", end="2014-02-28", source="sample")
    else:
        price = {"close": np.full((30, 1), 100.0)}
        part = ls.Bars.from_arrays(time, ["X"], price, bar_size=size, calendar=calendar)
    strategy = ls.Strategy(policy=lambda view: np.array([view.bars_per_year / 1000]))
    numbers, _ = golden.taken(strategy, part)
    assert set(numbers["said.weights"].ravel()) == {year / 1000}


def test_what_lies_in_the_directory_is_data(saved):
    _, _, path = saved
    files = {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()}
    assert files == {
        "manifest.json", "strategy.toml", "contract.json", "golden.safetensors", "golden.json", "evidence.json",
        "card.json", "model-card.md", "forecaster/manifest.json", "forecaster/model.json",
        "forecaster/learned.safetensors",
    }  # fmt: skip
    tables = tomllib.loads((path / "strategy.toml").read_text())
    assert tables["policy"] == {"kind": "TopK", "k": 1, "short": 1, "gross": 1.0, "band": 0.0, "overlap": True}
    assert tables["limits"]["stop_loss"] == 0.05
    assert tables["costs"]["commission"]["kind"] == "per share"
    assert tables["refit"] == "6M"  # as long as the folds of the study
    assert "longshort." not in "".join(line for line in (path / "strategy.toml").read_text().splitlines()[1:])


def test_the_evidence_is_kept_with_it(saved):
    _, study, path = saved
    kept = read(path)
    assert kept.evidence["verdict"]["sentence"] == judge(study.evidence()).sentence
    assert kept.evidence["ledger"]["head"] == ledger.Ledger(path.parent).records()[-1].digest
    assert kept.evidence["study"]["forecasts"] == study.forecast.digest
    assert kept.costs == Costs(half_spread_bp=1.0)


def test_the_model_card_says_what_is_known_and_what_it_is_not_for(saved):
    strategy, study, path = saved
    card, facts = (path / "model-card.md").read_text(), json.loads((path / "card.json").read_text())
    for section in ("Model", "Intended use", "What it is not for", "Training data", "Evaluation", "Verdict", "Caveats"):
        assert f"\n## {section}\n" in card
    assert judge(study.evidence()).sentence in card
    assert strategy.contract.digest in card
    assert "2014-01-02 to 2016-12-30" in card
    assert facts["study"]["trials"] == 1
    assert facts["due"] == "2017-06-30"
    assert "There is no evidence that its forecasts are better than naive ones." in facts["caveats"]
    assert "Its policy and limits were never played over a history." in card


def test_the_model_card_holds_the_numbers_of_the_verdict(saved):
    _, study, path = saved
    card, facts = (path / "model-card.md").read_text(), json.loads((path / "card.json").read_text())
    verdict = judge(study.evidence())
    found, told = verdict.details, card.partition("## Verdict\n")[2].partition("\n## ")[0]
    for key in ("ic_p", "level", "planned", "rank_ic", "skill_low", "power", "benchmarks", "money", "coverage"):
        assert facts["verdict"][key] == found[key], key
    assert f"one-sided p {found['ic_p']:.2g}); every p that decides had to be below {found['level']:.2g}" in told
    for name, one in found["benchmarks"].items():
        assert f"against {plain(name)}: skill {one['skill']:+.2%}" in told
        assert f"Diebold-Mariano p {one['diebold_mariano']['p']:.2g}" in told
    assert all(f"- {line}\n" in told for line in verdict.remarks)
    head = ledger.Ledger(path.parent).records()[-1].digest
    assert f"the last of them SHA-256 {head}" in card
    assert f"made with longshort {ls.__version__}" in card
    assert "settings: spans (1, 2)" in card or "settings: spans [1, 2]" in card
    assert "Whether its symbols were chosen knowing which would last" in card


def test_a_card_says_that_no_ledger_was_kept(bars, tmp_path):
    model = m.HistoricalMean(RETURN)
    study = ls.walk_forward(model, bars, ls.WalkForward("1Y", "6M"), baselines=[])
    ls.save_strategy(tmp_path / "x", ls.Strategy(model).fitted(bars), study)
    card = (tmp_path / "x" / "model-card.md").read_text()
    assert "ledger: none was kept in a folder" in card
    assert "What was tried is known of this process only" in card
    assert "The test rows were read" not in card
    again = ls.walk_forward(model, bars, ls.WalkForward("1Y", "6M"), baselines=[])
    ls.save_strategy(tmp_path / "y", ls.Strategy(model).fitted(bars), again)
    assert "The test rows were read 2 times" in (tmp_path / "y" / "model-card.md").read_text()


def test_forecasts_that_the_policy_cannot_use_are_kept_with_a_warning(bars, tmp_path):
    week = ls.Strategy(m.AutoRegression(f.forward_volatility(5))).fitted(bars)
    ls.save_strategy(tmp_path / "x", week, bars=bars)
    assert ls.load_strategy(tmp_path / "x").predict(bars).digest == week.predict(bars).digest
    assert "It cannot trade: " in (tmp_path / "x" / "model-card.md").read_text()
    assert verify_strategy(tmp_path / "x").checks[1].ok is None


def test_a_card_without_a_study_says_that_nothing_is_known(bars, tmp_path):
    ls.save_strategy(tmp_path / "x", ls.Strategy(m.Persistence(RETURN)).fitted(bars), bars=bars)
    card = (tmp_path / "x" / "model-card.md").read_text()
    assert "nothing is known about its skill" in card
    assert "to be fitted anew: never" in card
    assert "No costs were declared." in card


# -------------------------------------------------------------------------------------------------------- refusals


def flip(file: Path, whole: bytes, at: int) -> None:
    file.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])


@pytest.mark.parametrize("stride", [101, pytest.param(1, marks=pytest.mark.full)])
def test_every_byte_counts(tmp_path, stride):
    """One bit of each byte in turn; 100 % must be refused."""
    close = synthetic.random_walk(24, seed=1)["close"]
    bars = ls.Bars.from_arrays(
        10**18 + np.arange(24) * 86_400 * 10**9, "X", {"close": close}, calendar="24/7", bar_size="1D"
    )
    ls.save_strategy(tmp_path / "x", ls.Strategy(m.Persistence(RETURN), p.EqualWeight()).fitted(bars), bars=bars)
    for file in sorted(file for file in (tmp_path / "x").rglob("*") if file.is_file()):
        whole = file.read_bytes()
        for at in {*range(0, len(whole), stride), len(whole) - 1}:
            flip(file, whole, at)
            with pytest.raises(ArtifactError):
                ls.load_strategy(tmp_path / "x")
        file.write_bytes(whole)
    assert ls.load_strategy(tmp_path / "x")


@pytest.mark.parametrize("what", ["missing", "extra", "link", "linked part", "linked whole", "cut", "part of another"])
def test_a_directory_that_is_not_the_one_that_was_saved_is_refused(copied, bars, what, tmp_path):
    file = copied / "model-card.md"
    if what == "missing":
        file.unlink()
    elif what == "extra":
        (copied / "hook.py").write_text("print('run me')")
    elif what == "link":
        os.replace(file, tmp_path / "card")
        file.symlink_to(tmp_path / "card")
    elif what == "linked part":
        os.replace(copied / "forecaster", tmp_path / "part")
        (copied / "forecaster").symlink_to(tmp_path / "part")
    elif what == "linked whole":
        os.replace(copied, tmp_path / "elsewhere")
        copied.symlink_to(tmp_path / "elsewhere")
    elif what == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    else:
        shutil.rmtree(copied / "forecaster")
        m.AutoRegression(RETURN, spans=(1, 2)).fit(bars.until("2015-06-30")).save(copied / "forecaster")
    with pytest.raises(ArtifactError):
        ls.load_strategy(copied)
    assert not verify_strategy(copied).ok


def resealed(folder: Path, **changes) -> None:
    """Write the artifact again with other contents and right hashes, as somebody who knows the format would."""
    found = artifact.load(folder, "strategy", version=1, allow_nan={"golden"})
    version = changes.pop("version", found.version)
    kind = changes.pop("kind", found.kind)
    parts = changes.pop(
        "parts",
        {name: shutil.copytree(path, folder.parent / name, dirs_exist_ok=True) for name, path in found.parts.items()},
    )
    given = {"tensors": found.tensors, "documents": found.documents, "texts": found.texts} | changes
    shutil.rmtree(folder)
    artifact.save(folder, kind, **given, parts=parts, version=version, allow_nan={"golden", "forecasts"})


@pytest.mark.parametrize(
    "wrong", ["newer", "foreign", "kind of policy", "key of limits", "import path", "no table", "code"]
)
def test_what_this_version_cannot_read_is_refused_though_its_hashes_are_right(copied, wrong):
    text = (copied / "strategy.toml").read_text()
    changed = {
        "kind of policy": ('kind = "TopK"', 'kind = "BottomK"'),
        "key of limits": ("stop_loss", "stop_los"),
        "import path": ('kind = "TopK"', 'kind = "os.system"'),
        "code": ('kind = "TopK"', 'kind = "Rule"\nfunction = "os.system"'),
    }
    if wrong == "newer":
        resealed(copied, version=2)
    elif wrong == "foreign":
        resealed(copied, kind="study")
    elif wrong == "no table":
        resealed(copied, texts={})
    else:
        resealed(copied, texts={"strategy.toml": text.replace(*changed[wrong])})
    with pytest.raises(ArtifactError):
        ls.load_strategy(copied)


NONSENSE = (None, 3, "x", [], {}, -1.5, True, [[1]], {"kind": "LSTM"}, "none", 2**70)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to everything inside a document."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


@pytest.mark.parametrize("seed", [*range(40), *(pytest.param(k, marks=pytest.mark.full) for k in range(40, 400))])
def test_nonsense_under_right_hashes_is_refused_or_read_never_a_crash(saved, tmp_path, seed):
    rng, folder = np.random.default_rng(seed), tmp_path / "x"
    shutil.copytree(saved[2], folder)
    documents = artifact.load(folder, "strategy", allow_nan={"golden"}).documents
    name = ("contract", "golden", "golden", "evidence", "card")[rng.integers(5)]
    ways = [way for way in places(documents[name]) if 0 < len(way) < 4]
    path, value = ways[rng.integers(len(ways))], NONSENSE[rng.integers(len(NONSENSE))]
    inner = documents[name]
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    resealed(folder, documents=documents)
    try:
        strategy = ls.load_strategy(folder)
    except ArtifactError:
        assert not verify_strategy(folder).ok
    else:
        assert isinstance(strategy, ls.Strategy)
        str(verify_strategy(folder))


def test_another_forecaster_under_right_hashes_is_found_by_the_golden_windows(copied, bars, tmp_path):
    m.AutoRegression(RETURN, spans=(1, 2)).fit(bars.until("2015-06-30")).save(tmp_path / "other")
    resealed(copied, parts={"forecaster": tmp_path / "other"})
    with pytest.raises(ArtifactError, match=r"does not say what it said .* differ by up to"):
        ls.load_strategy(copied)
    found = verify_strategy(copied)
    assert [check.name for check in found.checks if check.ok is False] == ["golden windows"]


def test_other_limits_under_right_hashes_are_found_by_the_golden_decisions(copied):
    text = (copied / "strategy.toml").read_text()
    resealed(copied, texts={"strategy.toml": text.replace("gross = 1.0", "gross = 0.5")})
    with pytest.raises(ArtifactError, match="weights"):
        ls.load_strategy(copied)


def test_on_another_build_a_millionth_is_allowed_and_no_more(saved, copied):
    numbers, document = read(copied).golden
    other = {**document, "build": {**document["build"], "isa": "v9"}}
    strategy = saved[0]
    for factor, here, there in ((1.0, True, True), (1.0 + 1e-9, False, True), (1.0 + 1e-3, False, False)):
        moved = {**numbers, "said.mean": numbers["said.mean"] * factor}
        assert golden.replayed(strategy, moved, document).ok is here
        assert golden.replayed(strategy, moved, other).ok is there
    gone = {**numbers, "said.mean": np.full_like(numbers["said.mean"], np.nan)}
    assert not golden.replayed(strategy, gone, other).ok


def test_weights_that_are_not_finite_cannot_be_saved_and_not_be_loaded(bars, tmp_path):
    strategy = ls.Strategy(small()).fitted(bars)
    ls.save_strategy(tmp_path / "x", strategy, bars=bars)
    weights = dict(artifact.load(tmp_path / "x" / "forecaster", "lstm", allow_nan={"validation"}).tensors["weights"])
    name = next(iter(weights))
    weights[name] = np.full_like(weights[name], np.nan)
    part = artifact.load(tmp_path / "x" / "forecaster", "lstm", allow_nan={"validation"})
    artifact.save(
        tmp_path / "bad", "lstm", tensors={**part.tensors, "weights": weights}, documents=part.documents,
        allow_nan={"validation", "weights"},
    )  # fmt: skip
    resealed(tmp_path / "x", parts={"forecaster": tmp_path / "bad"})
    with pytest.raises(ArtifactError, match="finite"):
        ls.load_strategy(tmp_path / "x")
    own = strategy.forecaster.nets_[0][0].weights
    own["head.0.bias"] = np.full_like(own["head.0.bias"], np.inf)
    with pytest.raises(InputError, match="finite"):
        ls.save_strategy(tmp_path / "y", strategy, bars=bars)
    assert not (tmp_path / "y").exists()


@pytest.mark.parametrize(
    ("strategy", "error", "says"),
    [
        (
            lambda: ls.Strategy(m.Persistence(RETURN), policy=lambda view: view.weights),
            InputError,
            "code is never saved",
        ),
        (lambda: ls.Strategy(m.AutoRegression(RETURN)), NotFitted, "fit"),
        (lambda: m.Persistence(RETURN), InputError, r"Strategy\(forecaster\)"),
        (
            lambda: ls.Strategy(m.Regressor(Constant(), [f.log_return()], RETURN)),
            InputError,
            "A Regressor cannot be kept",
        ),
        (lambda: ls.Strategy(m.AutoRegression(RETURN), Mine()), UnknownName, r"\[policy\] has no kind 'Mine'"),
    ],
)
def test_what_cannot_be_kept_is_refused_and_leaves_nothing(bars, tmp_path, strategy, error, says):
    with pytest.raises(error, match=says):
        ls.save_strategy(tmp_path / "x", strategy(), bars=bars)
    assert not list(tmp_path.iterdir())


class Mine:
    """A policy of somebody's own, which nobody else could load."""

    def stepper(self, symbols):
        return lambda view: np.zeros(len(symbols))

    def to_dict(self):
        return {"kind": "Mine"}


class Constant:
    def fit(self, X, y):
        return self

    def predict(self, X):
        return np.zeros(len(X))


def test_the_study_of_another_model_or_of_other_symbols_is_refused(saved, bars, tmp_path):
    strategy, study, _ = saved
    longer = ls.Strategy(m.AutoRegression(RETURN, spans=(1, 3))).fitted(bars)
    with pytest.raises(InputError, match="'spans' differ"):
        ls.save_strategy(tmp_path / "x", longer, study)
    alone = ls.Strategy(m.AutoRegression(RETURN, spans=(1, 2))).fitted(bars.select("AAPL"))
    with pytest.raises(InputError, match="other symbols"):
        ls.save_strategy(tmp_path / "x", alone, study, bars=bars.select("AAPL"))
    with pytest.raises(InputError, match="needs bars"):
        ls.save_strategy(tmp_path / "x", strategy)


@pytest.mark.parametrize("other", ["policy", "limits", "costs", "forecasts"])
def test_the_backtest_of_another_strategy_is_refused(saved, bars, tmp_path, other):
    strategy, study, _ = saved
    mine = ls.backtest(strategy, study, costs=Costs.none())
    ls.save_strategy(tmp_path / "x", strategy, study, mine, costs=Costs.none())
    assert mine.order_hash in (tmp_path / "x" / "model-card.md").read_text()
    changed = {"policy": {"policy": p.Sign()}, "limits": {"limits": ls.Limits()}}.get(other, {})
    forecast = (
        replace(study.forecast, mean=study.forecast.mean * 2, digest="") if other == "forecasts" else study.forecast
    )
    costs = Costs() if other == "costs" else Costs.none()
    result = ls.backtest(replace(strategy, **changed), forecast, study.bars, costs=costs)
    with pytest.raises(InputError, match=f"played other {other}"):
        ls.save_strategy(tmp_path / "y", strategy, study, result, costs=Costs.none())


def test_a_crash_while_saving_leaves_the_old_one(saved, copied, bars, monkeypatch):
    before = {file: file.read_bytes() for file in copied.rglob("*") if file.is_file()}

    def full(*arguments, **more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(artifact, "write_file", full)
    with pytest.raises(ArtifactError, match="untouched"):
        ls.save_strategy(copied, saved[0], bars=bars)
    assert {file: file.read_bytes() for file in copied.rglob("*") if file.is_file()} == before
    assert sorted(path.name for path in copied.parent.iterdir()) == ["copy"]


def test_a_card_warns_when_another_number_of_seeds_was_judged(bars, tmp_path):
    study = ls.walk_forward(small(), bars, ls.WalkForward("1Y", "1Y"), baselines=[], seeds=2)
    for seeds, warned in ((None, True), (2, False)):
        ls.save_strategy(tmp_path / "x", ls.Strategy(small()).fitted(bars, seeds=seeds), study)
        card = (tmp_path / "x" / "model-card.md").read_text()
        assert ("the mean over 2 seeds; what is kept, over 1" in card) is warned


def test_a_tuned_forecaster_is_kept_as_the_one_it_chose(bars, tmp_path):
    class Tuned:
        best_ = m.AutoRegression(RETURN).fit(bars)
        target = RETURN

        def fit(self, bars, start=None):
            return self

        predict = fit

        def to_dict(self):
            return {"kind": "Tuned"}

    ls.save_strategy(tmp_path / "x", ls.Strategy(Tuned()), bars=bars)
    assert isinstance(ls.load_strategy(tmp_path / "x").forecaster, m.AutoRegression)


# -------------------------------------------------------------------------------------------------------- verifying


def test_verifying_prints_a_list_of_what_was_checked(saved, bars):
    _, _, path = saved
    found = verify_strategy(path, bars, now="2017-01-01")
    assert found.ok
    assert [check.name for check in found.checks] == [
        "every byte", "description", "golden windows", "data contract", "ledger", "verdict", "age",
    ]  # fmt: skip
    assert {check.name for check in found.checks if check.ok is None} == {"verdict"}  # there is no evidence
    assert "16 windows of 2 symbols, every bit the same" in str(found)
    assert str(found).endswith(": verified")
    assert found.to_dict()["checks"][4]["ok"] is True
    assert verify_strategy(path.parent).ok  # the run folder it lies in


def test_verifying_with_other_data_fails_and_with_other_history_says_so(saved, bars):
    _, _, path = saved
    found = verify_strategy(path, bars.select("AAPL"))
    assert not found.ok
    assert "symbols must be AAPL, SPY, lack SPY" in str(found)
    assert "NOT verified: 1 check failed" in str(found)
    later = verify_strategy(path, bars.since("2015-01-01"))
    assert later.ok
    assert "the bars it learned from were others" in str(later)


def test_a_backtest_of_a_loaded_strategy_on_other_bars_is_refused(saved, bars):
    _, study, path = saved
    strategy = ls.load_strategy(path)
    assert ls.backtest(strategy, study).order_hash == ls.backtest(saved[0], study).order_hash
    with pytest.raises(InputError, match="bar_size must be 1D, was 1W"):
        ls.backtest(strategy, None, bars.resample("1W"))


def test_verifying_notices_a_ledger_that_was_begun_anew(saved, tmp_path):
    folder = Path(shutil.copytree(saved[2].parent, tmp_path / "run"))
    for name in ("ledger.jsonl", "ledger.head"):
        (folder / name).unlink()
    assert verify_strategy(folder).ok  # it lies elsewhere, or was thrown away: nobody can say
    with ledger.project(folder) as book:
        for k in range(9):
            book.record("trial", trial=str(k))
    found = verify_strategy(folder)
    assert [check.name for check in found.checks if check.ok is False] == ["ledger"]


def test_age_is_told_when_today_is(saved):
    _, _, path = saved
    assert "was to be fitted anew after 2017-06-30" in str(verify_strategy(path, now="2017-07-01"))
    assert "to be fitted anew after 2017-06-30" in str(verify_strategy(path))


@pytest.mark.full
@pytest.mark.parametrize("changes", [{"network": "gru"}, {"engine": "torch"}, {"symbol_embedding": 2}], ids=str)
def test_what_torch_computes_is_kept_with_its_version(bars, changes, tmp_path):
    torch = pytest.importorskip("torch")
    strategy = ls.Strategy(small(**changes)).fitted(bars)
    ls.save_strategy(tmp_path / "x", strategy, bars=bars)
    assert torch.__version__.startswith(read(tmp_path / "x").golden[1]["build"]["torch"].split("+")[0])
    assert ls.load_strategy(tmp_path / "x").predict(bars).digest == strategy.predict(bars).digest
    assert "torch" not in golden.build(ls.Strategy(small()))


@pytest.mark.full
def test_a_strategy_of_a_solver_comes_back(bars, tmp_path):
    pytest.importorskip("cvxpy")
    strategy = ls.Strategy(m.EWMA(RETURN), p.MinVariance()).fitted(bars)
    ls.save_strategy(tmp_path / "x", strategy, bars=bars)
    again = ls.load_strategy(tmp_path / "x")
    assert again.predict(bars).digest == strategy.predict(bars).digest
    numbers, document = read(tmp_path / "x").golden
    moved = {**numbers, "said.weights": numbers["said.weights"] * (1 + 1e-9)}
    assert golden.replayed(again, moved, document).ok  # another version of a solver
    assert not golden.replayed(again, {**numbers, "said.weights": numbers["said.weights"] * 1.001}, document).ok
