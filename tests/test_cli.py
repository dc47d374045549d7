"""The command line: verbs, exit codes, output for machines, interruption."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from longshort import cli
from longshort.errors import DataError

SMALL = """\
[data]
symbols = ["AAPL"]
source = "sample"
start = "2012-01-01"
end = "2015-12-31"

[model]
features = ["log_return"]
lookback = 5
hidden = [4]
epochs = 2

[walk_forward]
train = "2Y"
test = "1Y"
seeds = 1
"""


def run(*arguments: object) -> int:
    return cli.main([str(a) for a in arguments])


@pytest.fixture
def study(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "study.toml"
    path.write_text(SMALL)
    return path


def test_help_lists_every_verb(capsys):
    assert run("--help") == 0
    shown = capsys.readouterr().out
    for verb in (
        "demo",
        "predict",
        "init",
        "check",
        "walk-forward",
        "backtest",
        "train",
        "verify",
        "tearsheet",
        "referee",
        "audit",
        "ledger",
        "doctor",
    ):
        assert verb in shown


def test_help_loads_nothing_heavy():
    code = (
        "import sys\nfrom longshort.cli import main\nmain(['--help'])\n"
        "heavy = {'numpy', 'pandas', 'matplotlib', 'scipy', 'torch'} & set(sys.modules)\nassert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)


def test_version(capsys):
    assert run("--version") == 0
    assert capsys.readouterr().out.startswith("longshort 0.")


def test_an_unknown_verb_is_answered_with_the_nearest(capsys):
    assert run("predcit") == 2
    assert "predict" in capsys.readouterr().err


def test_init_writes_a_file_once(tmp_path, capsys):
    path = tmp_path / "study.toml"
    assert run("init", path, "--symbol", "IBM") == 0
    assert 'symbols = ["IBM"]' in path.read_text()
    assert run("init", path) == 2
    assert "--force" in capsys.readouterr().err
    assert run("init", path, "--force", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"study": str(path)}


def test_an_error_is_one_line_without_a_traceback(tmp_path, capsys):
    assert run("walk-forward", tmp_path / "none.toml") == 2
    err = capsys.readouterr().err
    assert err.startswith("longshort: ")
    assert err.count("\n") == 1


def test_debug_shows_the_traceback(tmp_path):
    with pytest.raises(Exception, match="longshort init"):
        run("--debug", "walk-forward", tmp_path / "none.toml")


def test_a_walk_forward_leaves_a_run_folder_and_says_what_it_found(study, capsys):
    code = run("walk-forward", study, "--json")
    found = json.loads(capsys.readouterr().out)
    assert code == found["exit_code"]
    assert code in (0, 3)
    folder = Path(found["run"])
    assert {p.name for p in folder.iterdir()} >= {"study.toml", "study", "report.html", "ledger.jsonl"}
    (folder / "report.html").unlink()
    assert run("tearsheet", folder.name) == 0
    assert "<svg" in (folder / "report.html").read_text()
    assert run("walk-forward", folder.name) == code
    assert "trial" in (folder / "report.html").read_text()


def test_a_backtest_joins_the_report_until_its_rules_change(study, capsys, caplog):
    run("walk-forward", study, "--json")
    folder = Path(json.loads(capsys.readouterr().out)["run"])
    assert "<h2>Strategy" not in (folder / "report.html").read_text()
    assert run("backtest", folder, "--json") == 3
    sentence = json.loads(capsys.readouterr().out)["verdict"]["sentence"].replace("-", "−")
    assert sentence in (folder / "report.html").read_text()
    (folder / "report.html").unlink()
    assert run("tearsheet", folder) == 0
    assert sentence in (folder / "report.html").read_text()
    with (folder / "study.toml").open("a") as text:
        text.write('\n[policy]\nkind = "EqualWeight"\n')
    assert run("tearsheet", folder) == 0
    assert "<h2>Strategy" not in (folder / "report.html").read_text()
    assert "made with other settings" in caplog.text


def test_training_keeps_the_strategy_with_its_card(study, capsys):
    import longshort as ls

    assert run("train", study, "--json") == 0
    kept = json.loads(capsys.readouterr().out)
    assert ls.load_strategy(kept["strategy"]).forecaster.lookback == 5
    assert Path(kept["card"]).read_text().startswith("# Model card: aapl")


def test_tuning_keeps_what_was_chosen_with_its_trials_and_goes_on_where_it_was(study, capsys):
    pytest.importorskip("optuna")
    import longshort as ls

    space = (
        "\n[tune]\ntrials = 3\ncv = 1\n[tune.space]\nlookback = [5, 8]\nlr = {low = 0.001, high = 0.1, log = true}\n"
    )
    study.write_text(SMALL + space)
    assert run("tune", study, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["params"]) == {"lookback", "lr"}
    assert found["trials"] == found["luck"]["trials"] == 3
    folder = Path(found["tuned"]).parent
    assert ls.Tuned.load(found["tuned"]).best_params_ == found["params"]
    assert "luck alone" in (folder / "tuning.html").read_text()
    assert run("tune", folder, "--trials", "5") == 0
    assert "best of 5" in capsys.readouterr().out
    assert (folder / "tuning.sqlite").exists()


def test_tuning_without_a_space_says_what_to_write(study, capsys):
    assert run("tune", study) == 2
    assert "[tune.space]" in capsys.readouterr().err


def attend() -> None:
    """Let a child process be interrupted, though a shell that runs the tests in the background ignores Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_an_interrupted_walk_forward_leaves_no_half_written_file(study):
    endless = SMALL.replace("epochs = 2", "epochs = 100000\npatience = 100000").replace("hidden = [4]", "hidden = [64]")
    study.write_text(endless)
    process = subprocess.Popen(
        [sys.executable, "-m", "longshort", "walk-forward", str(study)],
        cwd=study.parent,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.PIPE,
        preexec_fn=attend,
    )
    ledger = study.parent / "runs" / "aapl" / "study.toml"
    deadline = time.monotonic() + 60
    while not ledger.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(2.0)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Interrupted" in err
    assert b"Traceback" not in err
    left = {p.name for p in (study.parent / "runs" / "aapl").iterdir()}
    assert left <= {"study.toml", "origin", "ledger.jsonl", "ledger.head", "ledger.lock"}


def test_an_interruption_while_the_command_is_loaded_is_no_traceback():
    code = (
        "import os, signal, sys\n"
        "from longshort.__main__ import run\n"
        "class Impatient:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'longshort.cli':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Impatient())\n"
        "sys.exit(run())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, preexec_fn=attend)
    assert done.returncode == 130
    assert done.stderr == b"Interrupted. Nothing was left half-written.\n"


@pytest.mark.parametrize("gone", [["ledger.jsonl"], ["ledger.jsonl", "ledger.head", "ledger.lock"]])
def test_a_deleted_ledger_is_noticed_by_the_study_beside_it(study, capsys, gone):
    assert run("walk-forward", study) in (0, 3)
    folder = study.parent / "runs" / "aapl"
    for name in gone:
        (folder / name).unlink()
    for verb in ("tearsheet", "walk-forward", "train"):
        assert run(verb, folder) == 2
        assert "Restore" in capsys.readouterr().err


def test_a_ledger_that_was_begun_anew_beside_a_study_is_not_verified(study, capsys):
    from longshort import ledger

    assert run("walk-forward", study) in (0, 3)
    folder = study.parent / "runs" / "aapl"
    assert run("ledger", "verify", folder) == 0
    for name in ("ledger.jsonl", "ledger.head"):
        (folder / name).unlink()
    with ledger.project(folder) as book:
        book.record("trial", trial="the only one, honestly")
        book.record("trial", trial="or the second")
    assert run("ledger", "verify", folder) == 2
    assert "the ledger was replaced" in capsys.readouterr().err


def csv(path: Path, header: str, columns: list[np.ndarray]) -> Path:
    np.savetxt(path, np.column_stack(columns), delimiter=",", header=header, comments="")
    return path


@pytest.mark.parametrize(("share", "code"), [(0.3, 0), (0.0, 3)])
def test_the_referee_answers_with_its_exit_code(tmp_path, capsys, share, code):
    rng = np.random.default_rng(5)
    forecast, noise = rng.normal(size=600), rng.normal(size=600)
    path = csv(tmp_path / "p.csv", "actual,forecast", [share * forecast + noise, 0.3 * forecast])
    assert run("referee", path, "--json") == code
    assert json.loads(capsys.readouterr().out)["exit_code"] == code
    assert run("referee", path) == code
    shown = capsys.readouterr().out
    assert "clark_west_p" in shown  # the table, and what else the rows show
    assert "Power: 600 independent rows" in shown
    assert run("referee", path, "--figure", tmp_path / "verdict.svg") == code
    assert ("Edge" if code == 0 else "No evidence") in (tmp_path / "verdict.svg").read_text()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,b\n1,2\n", "columns actual and forecast"),
        ("actual,forecast\n1,x\n", "must hold numbers"),
        ("time,actual,forecast\n2020-01-02,1,1\n2020-01-01,1,1\n", "in order"),
        ("", "cannot be read"),
        ("actual,forecast\n1,1\n", "at least"),
        ("time,actual,forecast\n", "there are 0"),
        ("actual,forecast\n" + "1,2\n3,4\n" * 20 + "1,1e200\n", "In row 40 the forecast is 1e+200"),
    ],
)
def test_the_referee_refuses_files_it_cannot_judge(tmp_path, capsys, text, says):
    path = tmp_path / "p.csv"
    path.write_text(text)
    assert run("referee", path) == 2
    assert says in capsys.readouterr().err


def test_doctor_answers_for_machines(capsys):
    assert run("doctor", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["problems"] == []
    assert found["cores"] >= 1


def test_doctor_prints_how_to_get_what_is_missing(capsys, monkeypatch):
    from longshort.report import machine

    monkeypatch.setattr(machine, "_version", lambda name: None if name == "pyarrow" else "1.0")
    assert run("doctor") == 0
    assert "pip install 'longshort[parquet]'" in capsys.readouterr().out.replace("\n", "")


def test_check_lists_the_gap_of_the_sample(capsys):
    arguments = ("check", "QQQ", "--source", "sample", "--start", "2004-01-01", "--end", "2011-12-31")
    assert run(*arguments, "--json") == 1  # faults
    found = json.loads(capsys.readouterr().out)
    assert ("gap", 1588) in {(issue["kind"], issue["count"]) for issue in found["issues"]}
    assert run(*arguments) == 1
    assert "1,588 sessions without a bar" in capsys.readouterr().out


def test_a_warning_about_data_is_one_line():
    code = (
        "import sys, warnings\nfrom longshort.cli import main\nwarnings.simplefilter('default')\n"
        "sys.exit(main(['check', 'QQQ', '--source', 'sample', '--start', '2010-01-01', '--end', '2012-01-01']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stderr.startswith("longshort: The source has less than asked for: QQQ begins on 2011-03-23")
    assert done.stderr.count("\n") == 1


def test_check_takes_a_calendar(tmp_path, capsys):
    path = tmp_path / "prices.csv"
    rows = [f"2020-01-{day:02},10,11,9,{10 + 0.01 * day}" for day in (2, 3, 6, 8, 9)]
    path.write_text("\n".join(["date,open,high,low,close", *rows]))
    assert run("check", path, "--calendar", "XNYS", "--json") == 1
    gaps = [issue for issue in json.loads(capsys.readouterr().out)["issues"] if issue["kind"] == "gap"]
    assert gaps[0]["dates"] == ["2020-01-07"]


def test_check_of_good_data_answers_with_zero(capsys):
    assert run("check", "AAPL", "--source", "sample", "--start", "2015-01-02", "--end", "2015-06-30") == 0
    assert "AAPL: no issue found." in capsys.readouterr().out


def test_check_of_a_missing_file_is_an_error_and_any_file_may_be_named(tmp_path, capsys):
    assert run("check", tmp_path / "none.csv") == 2
    assert capsys.readouterr().err.startswith("longshort: There is no file")
    path = tmp_path / "prices.txt"
    path.write_text("date,open,high,low,close\n2020-01-02,1,2,0.5,1\n2020-01-03,1,2,0.5,1.1\n")
    assert run("check", path, "--json") == 0
    assert "issues" in json.loads(capsys.readouterr().out)


def test_predict_prints_the_coming_sessions(tmp_path, capsys):
    arguments = ("predict", "AAPL", "--source", "sample", "--start", "2018-01-01", "--days", "2", "--epochs", "1")
    assert run(*arguments, "--png", tmp_path / "chart.png", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["date"] for row in found["AAPL"]["sessions"]] == ["2021-04-01", "2021-04-05"]
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")
    assert run(*arguments) == 0
    assert "2021-04-05" in capsys.readouterr().out


def test_errors_of_the_library_become_exit_code_two(monkeypatch, capsys):
    def fail(*_, **__):
        raise DataError("there are no bars")

    monkeypatch.setattr("longshort.config.init", fail)
    assert run("init") == 2
    assert capsys.readouterr().err == "longshort: there are no bars\n"


def test_the_ledger_is_shown_and_verified_and_an_edit_is_found(tmp_path, capsys):
    from longshort import ledger

    with ledger.project(tmp_path) as book:
        book.record("trial", trial="a", what="walk_forward", sharpe=0.05)
        book.record("trial", trial="b", what="walk_forward")
        book.record("trial", trial="b", what="walk_forward")  # once more on longer bars: no other trial
    assert run("ledger", "show", tmp_path) == 0
    shown = capsys.readouterr().out
    assert "Sharpe per bar +0.050" in shown
    assert "3 records, 2 trials, chain intact" in shown
    assert run("ledger", "verify", tmp_path, "--json") == 0
    assert json.loads(capsys.readouterr().out)["trials"] == 2
    file = tmp_path / "ledger.jsonl"
    file.write_text(file.read_text().replace("0.05", "0.51"))
    assert run("ledger", "verify", tmp_path) == 2
    assert "was edited" in capsys.readouterr().err
    assert run("ledger", "forge", tmp_path) == 2
    assert run("ledger", "show", tmp_path / "nowhere") == 2


def test_an_edited_and_a_deleted_score_series_are_found_by_verify(tmp_path, capsys):
    from longshort import ledger

    with ledger.project(tmp_path) as book:
        book.record_trial("a", what="referee", scores=book.keep(b"what every date was worth"))
    (series,) = (tmp_path / "scores").iterdir()
    assert run("ledger", "verify", tmp_path) == 0
    series.write_bytes(b"what every date was w0rth")
    assert run("ledger", "verify", tmp_path) == 2
    assert "was edited: its digest is not its name" in capsys.readouterr().err
    series.unlink()
    assert run("ledger", "verify", tmp_path) == 2
    assert "is missing: a record seals it" in capsys.readouterr().err


def test_the_last_day_of_training_can_be_written_without_dashes():
    read = ("600", "0.7", "20150101", "2015-01-01", None)
    assert [cli._number_or_text(text) for text in read] == [600, 0.7, "20150101", "2015-01-01", None]


def test_a_label_looks_ahead_a_whole_number_of_rows(tmp_path):
    (tmp_path / "mine.py").write_text("def close(frame):\n    return frame['close']\n")
    assert cli.main(["audit", f"{tmp_path / 'mine.py'}:close", "--label", "y=\u00b2"]) == 2
