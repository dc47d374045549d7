"""Run folders: what was asked in them, what came out, and the steps that lead from one to the other."""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..artifact import MANIFEST, write_atomic
from ..errors import ArtifactError, InputError, UnknownName, did_you_mean
from .study_file import RUNNING, STUDY_FILE, Config, load_config

if TYPE_CHECKING:
    from ..evaluation import Study
    from ..strategy import Strategy
    from ..trading import BacktestResult
    from ..trading.verifying import Verification

log = logging.getLogger(__name__)

STUDY, BACKTEST, STRATEGY, REPORT, ORIGIN = "study", "backtest", "strategy", "report.html", "origin"
TUNED = "tuned"


@dataclass(frozen=True)
class Run:
    """A folder with one study: what was asked, what came out, what was tried.

    Examples
    --------
    >>> from longshort.config import init
    >>> run = start_run(init("aapl.toml"))
    >>> run.name, run.config().model["lookback"]
    ('aapl', 60)
    """

    path: Path

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    def config(self) -> Config:
        """What was asked."""
        return load_config(self.path)

    def study(self) -> "Study":
        """What came out of the last walk-forward."""
        from ..evaluation import Study

        if not (self.path / STUDY).exists():
            raise ArtifactError(f"{self.path} holds no study yet. Run `longshort walk-forward {self.path}` first.")
        self.check_ledger()
        return Study.load(self.path / STUDY)

    def strategy_judged_by(self, study: "Study") -> "Strategy":
        """Return the strategy that `study.toml` describes; raise `InputError` where the study judged another model."""
        from ..trading.keeping import refuse_other

        config = self.config()
        strategy = config.build_strategy(config.forecaster())
        try:
            refuse_other(strategy, study)
        except InputError as error:
            raise InputError(
                f"{self.path / STUDY_FILE} is not what the study beside it was made of: {error} Run "
                f"`longshort walk-forward {self.path}` again."
            ) from error
        return strategy

    def refuse_other_play(self, played: Any, strategy: "Strategy", study: Any) -> None:
        """Raise `InputError` where the backtest kept here is not of what `study.toml` says now."""
        from ..trading.keeping import refuse_other_play

        try:
            refuse_other_play(played.kept["configuration"], strategy, study, self.config().build_costs())
        except InputError as error:
            raise InputError(f"{error} Run `longshort backtest {self.path}` again.") from error

    def check_ledger(self) -> None:
        """Raise `LedgerError` when records that the folder's study was made after are gone."""
        from ..evaluation.keeping import ledger_of
        from ..ledger import Ledger

        if (self.path / STUDY).exists() and (noted := ledger_of(self.path / STUDY)):
            Ledger(self.path).confirm(**noted)


def open_run(name: str | Path, root: str | Path = "runs") -> Run:
    """Find a run folder by its path or by its name below `root`.

    Examples
    --------
    >>> open_run("runs/nothing")
    Traceback (most recent call last):
    ...
    longshort.errors.UnknownName: There is no run 'runs/nothing'. ...
    """
    for path in (Path(name), Path(root) / str(name)):
        if path.is_dir() and (path / STUDY_FILE).exists():
            return Run(path)
    there = sorted(p.parent.name for p in Path(root).glob(f"*/{STUDY_FILE}"))
    advice = did_you_mean(str(name), there) if there else "Make one with `longshort init` and `longshort walk-forward`."
    raise UnknownName(f"There is no run {str(name)!r}. {advice}")


def start_run(source: str | Path, root: str | Path = "runs") -> Run:
    """Open a run folder, or make one from a `study.toml`.

    A `study.toml` inside a run folder means that run; any other is copied into ``root/<name>/``.

    Examples
    --------
    >>> from longshort.config import init
    >>> start_run(init("ibm.toml", "IBM")).path.as_posix()
    'runs/ibm'
    """
    path = Path(source)
    if path.suffix != ".toml":
        return open_run(source, root)
    config = load_config(path)
    if any((path.parent / part).exists() for part in (STUDY, "ledger.jsonl")):
        return Run(path.parent)
    config.build_strategy(config.forecaster())  # a mistake shows now, before an earlier run's text is replaced
    config.cv()
    folder = Path(root) / config.name
    _claim(folder, path)
    write_atomic(folder / STUDY_FILE, config.text)
    return Run(folder)


def _claim(folder: Path, study_file: Path) -> None:
    """Refuse a run folder that another `study.toml` of the same name fills already."""
    try:
        mine = os.path.relpath(study_file, folder)
    except ValueError:  # another drive
        mine = os.path.abspath(study_file)
    note = folder / ORIGIN
    if note.exists():
        other = folder / note.read_text(encoding="utf-8").strip()
        if other.is_file() and not other.samefile(study_file):
            raise InputError(
                f"{folder} holds the study of {os.path.normpath(other)}, and {study_file} has the same name "
                f'{folder.name!r}. Give it another: name = "..." at its top.'
            )
    write_atomic(note, mine + "\n")


def run_walk_forward(run: Run, progress: Callable[..., None] | None = None) -> "Study":
    """Do what the run's `study.toml` asks: walk forward, keep the study, write the report."""
    from .. import ledger
    from ..evaluation import walk_forward

    run.check_ledger()
    config = run.config()
    options = {k: config.walk_forward[k] for k in RUNNING if k in config.walk_forward}
    with ledger.project(run.path):
        study = walk_forward(config.forecaster(), config.bars(), config.cv(), progress=progress, **options)
        study.save(run.path / STUDY)
    run_tearsheet(run, study)
    return study


def run_backtest(run: Run) -> "BacktestResult":
    """Play the run's policy and limits over the forecasts of its study; keep the result and write the report."""
    from ..trading.played import save_result

    study = run.study()
    result = _played(run, study)
    save_result(run.path / BACKTEST, result)
    run_tearsheet(run, study, result)
    return result


def run_tearsheet(run: Run, study: Any = None, result: Any = None, out: Path | None = None) -> Path:
    """Write the page of a run's study, with its backtest where there is one; return where it stands."""
    from ..report import tearsheet

    study = run.study() if study is None else study
    if result is None and (run.path / BACKTEST).exists():
        result = _replayed(run, study)
    return tearsheet(study, *([] if result is None else [result])).save(out or run.path / REPORT)


def _replayed(run: Run, study: Any) -> "BacktestResult | None":
    """Play a kept backtest again, for what was not kept of it; None where study or settings are others by now."""
    from ..trading.played import load_result

    kept = load_result(run.path / BACKTEST).kept
    try:
        result = _played(run, study)
    except InputError as error:
        log.warning("the report leaves %s out: %s", run.path / BACKTEST, error)
        return None
    if result.order_hash == kept["order_hash"]:
        return result
    advice = f"run `longshort backtest {run.path}` again"
    log.warning("the report leaves %s out, which was made with other settings: %s", run.path / BACKTEST, advice)
    return None


def _played(run: Run, study: Any) -> "BacktestResult":
    from .. import ledger
    from ..trading import backtest

    config, strategy = run.config(), run.strategy_judged_by(study)
    with ledger.project(run.path):
        return backtest(strategy, study, name=run.name, **config.account())


def run_train(run: Run, progress: Callable[[float], None] | None = None) -> "Strategy":
    """Fit the run's model on all of its bars and keep the strategy, with all that is known about it."""
    from .. import ledger
    from ..trading import load_strategy, save_strategy
    from ..trading.played import load_result

    run.check_ledger()
    config, bars = run.config(), run.config().bars()
    study = run.study() if (run.path / STUDY).exists() else None
    strategy = config.build_strategy(config.forecaster()) if study is None else run.strategy_judged_by(study)
    played = load_result(run.path / BACKTEST) if study is not None and (run.path / BACKTEST).exists() else None
    if played is not None:
        run.refuse_other_play(played, strategy, study)
    with ledger.project(run.path):
        strategy = strategy.fitted(bars, progress=progress, currency=config.currency, seeds=config.seeds)
        save_strategy(run.path / STRATEGY, strategy, study, played, bars, costs=config.build_costs(), name=run.name)
    return load_strategy(run.path / STRATEGY)


def run_verify(run: str | Path, root: str | Path = "runs", data: bool = False) -> "Verification":
    """Verify the strategy of a run, or the one that stands at a path; with `data` against the run's bars too."""
    from ..clock import now_ns
    from ..trading.keeping import folder_of
    from ..trading.verifying import verify_strategy

    at = Path(run)
    if not (folder_of(at) / MANIFEST).exists():
        at = open_run(run, root).path
        if not (at / STRATEGY).exists():
            raise ArtifactError(f"{at} holds no strategy yet. Run `longshort train {at}` first.")
    bars = load_config(at).bars() if data else None
    return verify_strategy(at, bars, now=now_ns())


def run_tune(run: Run, trials: int | None = None, progress: Callable[[float], None] | None = None) -> Any:
    """Tune the run's model on all of its bars; keep the result and its plots in the run folder."""
    from .. import ledger
    from ..report import importance_plot, tuning_history

    run.check_ledger()
    config = run.config()
    if not config.tune.get("space"):
        raise InputError(
            f"{run.path / STUDY_FILE} names nothing to tune. Add a table, for example:\n[tune.space]\n"
            "lookback = [20, 60, 120]\nlr = {low = 0.0001, high = 0.01, log = true}"
        )
    tuned = config.forecaster()
    if trials is not None:
        tuned.set_params(trials=trials)
    with ledger.project(run.path):
        tuned.fit(config.bars(), progress=progress)
    tuned.save(run.path / TUNED)
    tuning_history(tuned).save(run.path / "tuning.html")
    if tuned.importance_:
        importance_plot(tuned).save(run.path / "importance.html")
    return tuned
