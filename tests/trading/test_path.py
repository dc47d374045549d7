"""The whole way, from an empty folder to a verified strategy: typed as commands, and written in Python."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import longshort as ls
from longshort import artifact, ledger
from longshort.config.runs import Run
from longshort.trading import verify_strategy
from longshort.trading.played import load_result

CHANGES = (
    ('start = "2010-01-01"', 'start = "2013-01-01"'),
    ('# end = "2021-03-31"', 'end = "2016-12-31"'),
    ('features = "technical"', 'features = ["log_return", "rsi(14)"]'),
    ("lookback = 60", "lookback = 5"),
    ("hidden = [50, 50]", "hidden = [4]\nepochs = 2"),
    ('train = "5Y"', 'train = "2Y"'),
    ("seeds = 3", "seeds = 2"),
    ('# refit = "6M"', 'refit = "6M"'),
    ("# stop_loss = 0.05", "stop_loss = 0.05"),
    ("cash = 100000", "cash = 50000"),
)


def typed(folder: Path, *words: str) -> tuple[int, dict]:
    done = subprocess.run(
        [sys.executable, "-m", "longshort", *words, "--json"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout) if done.stdout else {"stderr": done.stderr}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder in which init, walk-forward, backtest, train and verify were typed."""
    folder = tmp_path_factory.mktemp("whole")
    assert typed(folder, "init")[0] == 0
    text = (folder / "study.toml").read_text()
    for old, new in CHANGES:
        assert old in text
        text = text.replace(old, new)
    (folder / "study.toml").write_text(text)
    return folder


def test_the_whole_way_as_commands_and_in_python(folder, monkeypatch):
    code, judged = typed(folder, "walk-forward", "study.toml")
    assert code == judged["exit_code"] == 3
    code, played = typed(folder, "backtest", "aapl")
    assert code == played["verdict"]["exit_code"] == 3
    assert played["configuration"]["cash_micro"] == 50_000_000_000
    code, trained = typed(folder, "train", "study.toml")
    assert code == 0
    assert trained["due"] == "2017-06-30"
    code, verified = typed(folder, "verify", "aapl", "--data")
    assert code == 0
    held = {check["name"]: check["ok"] for check in verified["checks"]}
    assert held == {
        "every byte": True, "description": True, "golden windows": True, "data contract": True, "ledger": True,
        "verdict": None, "age": None,
    }  # fmt: skip
    code, drawn = typed(folder, "tearsheet", "aapl")
    assert code == 0
    assert "<svg" in (folder / drawn["report"]).read_text()

    card = (folder / trained["card"]).read_text()
    assert judged["sentence"] in card
    assert played["order_hash"] in card
    assert "half_spread_bp 2.0" in card
    assert "- seeds: 2" in card
    assert "What was judged is the mean" not in card

    monkeypatch.chdir(folder)
    bars = ls.load_bars("AAPL", start="2013-01-01", end="2016-12-31", source="sample")
    f = ls.features
    lstm = ls.LSTM([f.log_return(), f.rsi(14)], f.forward_log_return(1), lookback=5, hidden=(4,), dropout=0.2, epochs=2)
    with ledger.project("python"):
        study = ls.walk_forward(lstm, bars, ls.WalkForward(train="2Y", test="1Y"), seeds=2)
        strategy = ls.Strategy(lstm, limits=ls.Limits(stop_loss=0.05), refit="6M")
        result = ls.backtest(strategy, study, cash=50_000)
        fitted = strategy.fitted(bars, seeds=2)  # what was judged is a mean over seeds
        ls.save_strategy("python/strategy", fitted, study, result, costs=ls.Costs())
    ls.tearsheet(study).save("python/report.html")
    assert result.order_hash == played["order_hash"]
    assert study.forecast.digest == Run(folder / "runs/aapl").study().forecast.digest
    mine, theirs = (artifact.load(Path(p) / "strategy/forecaster", "lstm", allow_nan={"validation"}).digest
                    for p in ("python", "runs/aapl"))  # fmt: skip
    assert mine == theirs
    assert verify_strategy("python", bars).ok
    loaded = ls.load_strategy("runs/aapl")
    assert loaded.predict(bars).digest == fitted.predict(bars).digest
    assert ls.backtest(loaded, study, cash=50_000).order_hash == played["order_hash"]


def test_what_was_played_is_kept_to_the_last_bit(folder):
    kept = load_result(folder / "runs/aapl/backtest")
    run = Run(folder / "runs/aapl")
    config, study = run.config(), run.study()
    again = ls.backtest(run.strategy_judged_by(study), study, name="aapl", **config.account())
    assert kept.kept["order_hash"] == again.order_hash
    assert kept.series["equity"].tobytes() == np.ascontiguousarray(again.equity).tobytes()
    assert kept.kept["scores"]["sharpe"] == again.scores()["sharpe"]


def test_a_study_file_that_changed_since_its_walk_forward_is_noticed(folder):
    file = folder / "runs/aapl/study.toml"
    text = file.read_text()
    file.write_text(text.replace("lookback = 5", "lookback = 6"))
    for verb in ("backtest", "train"):
        code, said = typed(folder, verb, "runs/aapl")
        assert code == 2
        assert "'lookback' differ" in said["stderr"]
        assert "longshort walk-forward" in said["stderr"]
    file.write_text(text.replace("stop_loss = 0.05", "stop_loss = 0.10"))  # what is done with forecasts may change ...
    code, said = typed(folder, "train", "runs/aapl")
    assert code == 2
    assert "played other limits" in said["stderr"]  # ... and is played again
    assert typed(folder, "backtest", "aapl")[0] == 3
    assert typed(folder, "train", "runs/aapl")[0] == 0
    file.write_text(text)


def test_a_damaged_strategy_is_not_verified(folder):
    file = folder / "runs/aapl/strategy/strategy.toml"
    text = file.read_text()
    file.write_text(text.replace("stop_loss = 0.1", "stop_loss = 0.9"))
    code, found = typed(folder, "verify", "aapl")
    assert code == 1
    assert not found["ok"]
    file.write_text(text)


def test_verbs_say_what_is_missing_before_them(tmp_path):
    assert typed(tmp_path, "init")[0] == 0
    code, said = typed(tmp_path, "verify", "runs/aapl")
    assert (code, "There is no run" in said["stderr"]) == (2, True)
    (tmp_path / "runs/aapl").mkdir(parents=True)
    (tmp_path / "study.toml").rename(tmp_path / "runs/aapl/study.toml")
    for verb, first in (("backtest", "walk-forward"), ("verify", "train")):
        code, said = typed(tmp_path, verb, "aapl")
        assert code == 2
        assert f"longshort {first}" in said["stderr"]
