"""A tuned fit in steps: rounds of trials, each inner fold of a round as one fleet, then the fit of the best."""

import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import ledger
from ..bars import require_bars
from ..errors import ArtifactError, LongshortError, NotEnoughData, NotFitted
from ..forecast import FitsInSteps
from ..models import fleet
from ..models.members import MemberFit
from ..models.network import row_of
from .fitting import Job
from .gains import Gains, score_of
from .judged import information_free
from .remembering import remember_trial, require_unsealed, search_fact
from .scale import run_jobs
from .scores import Scores
from .searching import COMPLETE, FAILED, PRUNED, Asked, Search, Store, Trial, require_optuna, storage_url
from .selection import Luck, best_of_many
from .splits import NEVER, WalkForward
from .statistics import mean_test
from .trials import Trials

if TYPE_CHECKING:
    from ..bars import Bars

log = logging.getLogger(__name__)


class TunedFitting:
    """A tuned fit in steps: rounds of trials, each inner fold of a round as one fleet, then the final fit."""

    def __init__(self, model: Any, bars: "Bars", start: Any = None):
        require_bars(bars, "fit")
        self.model, self.bars, self.start, self.space = model, bars, start, model.space_
        self.folds, self.judge = _inner(model, bars, row_of(bars, start))
        self.search = Search(self.space, model.sampler, model.seed, model.prune)
        self.trials: list[Trial] = []
        self.round: list[Attempt] = []
        self.final: MemberFit | None = None
        url = storage_url(model.storage)
        key = {"tune": model.with_params(seeds=None, trials=1).to_dict(), "optuna": require_optuna().__version__}
        key |= {"bars": bars.digest, "start": int(self.folds[0].train_start)}
        self.store = None if url is None else Store(url, ledger.digest_of(key))
        self._take_stored()

    # -- steps ---------------------------------------------------------------------------------------------------

    def parts(self) -> Sequence[Any]:
        """Return what a fleet may run at the same time before the next `step`."""
        if self.final is not None:
            return [] if self.final.done else [self.final]
        return [attempt for attempt in self.round if not attempt.done]

    def step(self) -> bool:
        """Do one unit of work; return True when the fit is done."""
        waiting = self.parts()
        if waiting:
            waiting[0].step()
            return False
        if self.final is not None:
            return True
        if self.round:
            self._judge_fold()
        elif len(self.trials) < self.model.trials:
            self.round = [Attempt(self, asked) for asked in self._ask()]
        else:
            self._finish_search()
        return False

    @property
    def fraction(self) -> float:
        """How far along, from 0 to 1; the final fit counts as much as one trial."""
        k = len(self.folds)
        if self.final is not None:
            done = k * self.model.trials + k * self.final.fraction
        else:
            done = k * len(self.trials) + sum(a.progress if a.open else k for a in self.round)
        return min(done / (k * (self.model.trials + 1)), 1.0)

    @property
    def result(self) -> Any:
        """The fitted forecaster."""
        if self.final is None or not self.final.done:
            raise NotFitted("This fit is not done: call step() until it returns True.")
        model, trials = self.model, Trials(self.trials)
        model.trials_, model.best_ = trials, self.final.result
        model.best_params_, model.best_score_ = dict(trials.best.params), float(trials.best.score or 0.0)
        model.luck_, model.importance_ = _luck(self.trials, self.folds, model), self.search.importance()
        return model

    # -- rounds --------------------------------------------------------------------------------------------------

    @cached_property
    def judged(self) -> bool:
        """Whether a study judged this very search; raises `SealedRows` where it would choose on another's test rows."""
        spans = [(fold.test_start, fold.test_end) for fold in self.folds]
        return require_unsealed(self.bars, spans, self.model.to_dict())

    def _ask(self) -> list[Asked]:
        _ = self.judged  # before anything is trained
        return self.search.ask(min(self.model.batch, self.model.trials - len(self.trials)))

    def _judge_fold(self) -> None:
        """Give up who is behind, send the others into the next fold; close the round when nobody is left."""
        for attempt in self.round:
            if attempt.open and not attempt.failure:
                behind = self.search.behind(attempt.asked, attempt.fold, attempt.score)
                attempt.pruned = behind and attempt.fold + 1 < len(self.folds)
            attempt.advance()
        if not any(attempt.open for attempt in self.round):
            asked, trials = [a.asked for a in self.round], [a.trial() for a in self.round]
            for one, trial in zip(asked, trials, strict=True):
                self.search.tell(one, trial)
            if self.store is not None:
                self.store.add(asked, trials)
            self._close(trials)
            self._take_stored()

    def _close(self, trials: Sequence[Trial]) -> None:
        """Record the trials of a round; those of a search that a study has judged count no more than in the study."""
        book, search = ledger.current(), search_fact(self.model.to_dict())
        rows = np.concatenate(self.folds.rows)
        with book.inside() if self.judged else nullcontext():
            for trial in trials:
                described = {"forecaster": self.space.candidate(trial.params).to_dict()}
                series, time = None, self.bars.time[rows]
                if trial.gains:
                    gain = np.concatenate(trial.gains)
                    series = Scores(time[: len(gain)], gain, np.full(len(gain), np.nan))
                facts = {"state": trial.state, "score": trial.score, **search}
                remember_trial("tune", described, self.bars, time, self.model.target.info.kind, series, **facts)
        self.trials += trials
        self.round = []

    def _take_stored(self) -> None:
        """Draw the rounds again that are stored, by an earlier run or another process, and tell what became of them.

        A round that is not whole is done again.
        """
        if self.store is None or len(self.trials) >= self.model.trials:
            return
        stored, before = self.store.trials(), len(self.trials)
        while len(self.trials) < self.model.trials:
            size = min(self.model.batch, self.model.trials - len(self.trials))
            part = stored[len(self.trials) : len(self.trials) + size]
            if len(part) < size:
                break
            trials = self.search.again(self.search.ask(size), part)
            if trials is None:
                raise ArtifactError(
                    f"The trials stored in {self.store.url} were drawn differently, probably on another machine or "
                    "with another version of numpy or torch. Give this tuning another storage, or storage='memory'."
                )
            self._close(trials)
        if len(self.trials) > before:
            log.info("taking %d stored trials", len(self.trials) - before)

    def _finish_search(self) -> None:
        if self.store is not None:
            self.store.close()
        if not any(trial.state == COMPLETE for trial in self.trials):
            failed = self.trials[0]
            raise NotEnoughData(f"All {len(self.trials)} trials failed; the first because: {failed.reason}")
        best = self.space.candidate(Trials(self.trials).best.params)
        if self.model.seeds is not None and isinstance(best, FitsInSteps):
            best = best.with_seeds(self.model.seeds)
        self.final = MemberFit("The chosen configuration", best, self.bars, self.start)


class Attempt:
    """One configuration on its way through the inner folds; a failure is its own."""

    def __init__(self, fitting: TunedFitting, asked: Asked):
        self.fitting, self.asked, self.fold = fitting, asked, 0
        self.gains: list[np.ndarray] = []
        self.failure, self.pruned, self.open = "", False, True
        self.job: Job | None = self._job()

    def _job(self) -> Job:
        whole = self.fitting
        candidate = whole.space.candidate(self.asked.params)
        return Job(whole.bars, whole.folds[self.fold], whole.folds.rows[self.fold], candidate)

    @property
    def done(self) -> bool:
        """Whether the fold it is in has been forecast, or never will be."""
        return self.job is None

    @property
    def progress(self) -> float:
        """Folds behind it."""
        return self.fold + (self.job.fraction if self.job is not None else 1.0)

    @property
    def score(self) -> float:
        """Mean gain so far."""
        return float(np.concatenate(self.gains).mean())

    def parts(self) -> "list[Guarded]":
        """Return the trainings that may run at the same time."""
        return [] if self.job is None or self.failure else [Guarded(self, part) for part in self.job.parts()]

    def step(self) -> bool:
        """Do one unit of work; return True when the fold is done."""
        if self.job is not None and not self.failure:
            try:
                if not self.job.step():
                    return False
                self._collect(self.job)
            except LongshortError as error:
                self.fail(error)
        self.job = None
        return True

    def settle(self, error: Exception | None) -> None:
        """Take what the job left where it ran, or what stopped it."""
        if isinstance(error, LongshortError):
            self.fail(error)
        elif error is not None:
            raise error
        elif self.job is not None:
            self._collect(self.job)
        self.job = None

    def fail(self, error: LongshortError) -> None:
        """Give the trial up for a reason."""
        log.info("trial %d failed: %s", self.asked.number, error)
        self.failure = f"{type(error).__name__}: {error}"

    def _collect(self, job: Job) -> None:
        assert job.values is not None
        self.gains.append(self.fitting.judge(self.fold, job.values.mean(axis=0), job.extras))

    def advance(self) -> None:
        """Enter the next fold, or be finished."""
        if not self.open:
            return
        last = self.fold + 1 == len(self.fitting.folds)
        if self.failure or self.pruned or last:
            self.open = False
        else:
            self.fold += 1
            self.job = self._job()

    def trial(self) -> Trial:
        """What became of it."""
        state = FAILED if self.failure else PRUNED if self.pruned else COMPLETE
        score = error = None
        if self.gains:
            horizon = self.fitting.model.target.info.horizon
            score, error = self.score, mean_test(np.concatenate(self.gains), horizon).error
        folds = tuple(float(g.mean()) for g in self.gains)
        error = error if error is not None and np.isfinite(error) else None
        done = Trial(self.asked.number, self.asked.params, state, score, error, folds, self.failure)
        return replace(done, gains=tuple(self.gains))


class Guarded:
    """A training of an attempt; when it fails, the attempt does."""

    def __init__(self, attempt: Attempt, task: Any):
        self.attempt, self.task = attempt, task

    def parts(self) -> "list[Guarded]":
        """Return the training's own parts."""
        if self.attempt.failure or not isinstance(self.task, fleet.Parted):
            return []
        return [Guarded(self.attempt, part) for part in self.task.parts()]

    def step(self) -> bool:
        """Advance; return True when done."""
        try:
            return bool(self.attempt.failure) or self.task.step()
        except LongshortError as error:
            self.attempt.fail(error)
            return True


def search_on_ray(fitting: TunedFitting, threads: int | None, progress: Callable[[float], None] | None) -> None:
    """Run all rounds on Ray; what is left is the final fit."""
    while fitting.final is None:
        attempts = [a for a in fitting.round if not a.done]
        jobs = [a.job for a in attempts if a.job is not None]
        for attempt, error in zip(attempts, run_jobs(jobs, threads, None, "ray") if jobs else (), strict=True):
            attempt.settle(error)
        fitting.step()
        if progress:
            progress(fitting.fraction)


def _inner(model: Any, bars: "Bars", first: int) -> tuple[Any, Gains]:
    """Return the inner folds of a training window and the judge of its trials."""
    target = model.target
    actual, ends = np.asarray(target.compute(bars)), np.asarray(target.label_end(bars))
    cells = np.isfinite(actual) & (ends != NEVER)[:, None] & model.ready(bars)
    cells[:first] = False
    decisions = cells.any(axis=1)
    cv = model.cv if isinstance(model.cv, WalkForward) else _expanding(int(model.cv), int(decisions.sum()))
    folds = cv.split(bars.time, bars.dates, decisions, ends)
    return folds, Gains(score_of(model.forecaster, model.score), target, bars, folds, information_free(target, bars))


def _expanding(k: int, n: int) -> WalkForward:
    """Inner folds: k tests of equal length, the first after at least as many rows."""
    test = n // (k + 1)
    if test < 10:
        raise NotEnoughData(
            f"{k} inner folds need at least {10 * (k + 1)} decision rows, but these bars have {n}. Load an earlier "
            "start, use a longer train, or fewer folds (cv=1)."
        )
    return WalkForward(train=n - k * test, test=test, expanding=True)


def _luck(trials: Sequence[Trial], folds: Any, model: Any) -> Luck:
    n = sum(len(rows) for rows in folds.rows)
    columns = []
    for trial in (t for t in trials if t.state != FAILED):
        known = np.concatenate(trial.gains)
        columns.append(np.concatenate([known, np.full(n - len(known), np.nan)]))
    length = max(5.0, n ** (1 / 3), 3.0 * model.target.info.horizon)
    return best_of_many(np.stack(columns, axis=1), length=length, seed=model.seed)
