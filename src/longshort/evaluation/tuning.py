"""Tuning as part of fitting: `tune(forecaster, space)` is a forecaster that chooses its arguments before it learns.

::

    bars a fold may see   |---------------------------------------------|
    inner fold 0          [   train   ]x[test]
    inner fold 1          [      train      ]x[test]                       every trial: fit, forecast, gain a date
    inner fold 2          [         train         ]x[test]
    the best, refitted    [                 train                 ]

A tuned forecaster sees what any forecaster sees: the bars it is fitted on. `walk_forward` therefore tunes anew inside
every training window, and no test row ever takes part in a choice. The scores of many trials flatter the best of them,
so it is reported with what luck alone gives for as many.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from .. import ledger
from ..bars import require_bars
from ..errors import ArtifactError, InputError, LongshortError, NotEnoughData, NotFitted, UnknownName, did_you_mean
from ..forecast import FitsInSteps, Forecast, Forecaster, Seeded, target_of
from ..models import fleet
from ..models.ensemble import MemberFit
from ..models.nesting import forecaster_of, load_with_parts, save_with_parts
from ..models.network import row_of
from ..models.parameters import Parameters
from ..models.readiness import ready_cells
from .fitting import Job
from .gains import Gains, score_of
from .judged import information_free
from .scale import check_parallel, run_jobs
from .searching import COMPLETE, FAILED, PRUNED, Asked, Search, Store, Trial, check_sampler, require_optuna, storage_url
from .selection import Luck, best_of_many
from .spaces import Space, changed, decoded, encoded
from .splits import NEVER, WalkForward
from .statistics import mean_test

if TYPE_CHECKING:
    from ..bars import Bars

log = logging.getLogger(__name__)

BATCH = 8


def tune(
    forecaster: Forecaster,
    space: Mapping[str, Any],
    trials: int = 40,
    sampler: str = "tpe",
    cv: int | WalkForward = 3,
    score: str = "auto",
    *,
    prune: bool = True,
    batch: int = BATCH,
    seed: int = 0,
    seeds: int | None = None,
    storage: Any = None,
    threads: int | None = None,
    parallel: str | None = None,
) -> "Tuned":
    """Return a forecaster that chooses its arguments on the bars it is fitted on, then learns from all of them.

    Parameters
    ----------
    forecaster : Forecaster
        Unfitted; its own arguments hold for everything `space` does not name.
    space : mapping of str to list or tuple
        A list of choices ``[20, 60, 120]``, or a range ``(low, high)``, ``(low, high, "log")``, ``(low, high, step)``.
        ``layers`` and ``units`` stand for ``hidden``. See `evaluation.spaces`.
    trials : int, default=40
        Configurations to try, the forecaster's own among them where the space contains it.
    sampler : {"tpe", "gp", "cma", "random"}, default="tpe"
        Bayesian optimisation by tree-structured Parzen estimators or a Gaussian process, or CMA-ES.
    cv : int or WalkForward, default=3
        Inner folds: so many expanding ones of equal test length, or a walk-forward of your own. Purged like any other.
    score : {"auto", "mse", "mae", "pinball", "ic"}, default="auto"
        What a trial gains over the best information-free forecast on the inner test rows, see `evaluation.gains`.
        "auto" fits the forecaster's loss.
    prune : bool, default=True
        Give a trial up after an inner fold when half of the finished ones had a better score by then.
    batch : int, default=8
        Trials of a round: drawn before any of them is judged, trained as one fleet.
    seed : int, default=0
        Of the sampler. The same seed gives the same trials, whatever the number of threads.
    seeds : int, optional
        Networks of the final fit; as many as the forecaster has by default. Trials train what the forecaster says.
    storage : path-like or str, optional
        Where trials are kept to go on from: a file, or a database URL (PostgreSQL for teams); "memory" for nowhere. By
        default ``tuning.sqlite`` in the folder of `ls.project`, memory without one.
    threads : int, optional
        Threads for `fit`; all cores by default. Inside `walk_forward` its fleet decides.
    parallel : {None, "threads", "ray"}
        Where `fit` runs its trials, see `walk_forward`, which spreads whole folds instead.

    Returns
    -------
    Tuned
        Unfitted. After `fit`: `best_params_`, `best_score_`, `luck_`, `trials_`, `importance_`, and the forecaster
        itself, `best_`.

    Notes
    -----
    Trials: each one counts in the ledger, so that verdicts know of all that was tried.

    Interruptions: with a storage, a fit that was killed goes on from the last whole round and ends with the bytes it
    would have had; a larger `trials` adds to what is there. Another version of Optuna begins anew.

    Examples
    --------
    >>> import longshort as ls
    >>> from longshort import features as f, models as m
    >>> bars = ls.load_bars("AAPL", start="2010-01-01", end="2014-12-31", source="sample")
    >>> ridge = m.Ridge([f.log_return().abs()], f.forward_volatility(5))
    >>> tuned = tune(ridge, {"lookback": [1, 5, 10, 20, 40]}, trials=5).fit(bars.until("2013-12-31"))
    >>> tuned.best_params_["lookback"] > 5, tuned.luck_.expected < tuned.best_score_
    (True, True)
    >>> len(tuned.predict(bars, start="2014-01-01"))
    252
    """
    return Tuned(
        forecaster,
        space,
        trials,
        sampler,
        cv,
        score,
        prune=prune,
        batch=batch,
        seed=seed,
        seeds=seeds,
        storage=storage,
        threads=threads,
        parallel=parallel,
    )


class Tuned(Parameters):
    """A forecaster that chooses its arguments when it is fitted; made by `tune`, which describes them.

    Attributes
    ----------
    best_ : Forecaster
        The chosen configuration, fitted on all the bars.
    best_params_ : dict
        Its values.
    best_score_ : float
        Its mean gain on the inner test rows.
    luck_ : Luck
        The best score beside what luck alone would give for as many trials.
    trials_ : Trials
        All trials, best first when printed.
    importance_ : dict of str to float
        Share of each argument in what sets good trials apart.

    Examples
    --------
    >>> import longshort as ls
    >>> tuned = Tuned(ls.LSTM(), {"lookback": [20, 60], "lr": (1e-4, 1e-2, "log")}, trials=20)
    >>> print(tuned)
    LSTM, tuned over 2 arguments in 20 trials (tpe): lookback in [20, 60], lr 0.0001 .. 0.01, log
    """

    best_: Any
    best_params_: dict[str, Any]
    best_score_: float
    luck_: Luck
    trials_: "Trials"
    importance_: dict[str, float]

    def __init__(
        self,
        forecaster: Forecaster,
        space: Mapping[str, Any],
        trials: int = 40,
        sampler: str = "tpe",
        cv: int | WalkForward = 3,
        score: str = "auto",
        *,
        prune: bool = True,
        batch: int = BATCH,
        seed: int = 0,
        seeds: int | None = None,
        storage: Any = None,
        threads: int | None = None,
        parallel: str | None = None,
    ):
        self.forecaster, self.space, self.trials, self.sampler = forecaster, space, trials, sampler
        self.cv, self.score, self.prune, self.batch = cv, score, prune, batch
        self.seed, self.seeds, self.storage, self.threads = seed, seeds, storage, threads
        self.parallel = parallel
        self.check()

    # -- configuration -------------------------------------------------------------------------------------------

    def inside(self) -> dict[str, Any]:
        """Return the forecaster that is tuned."""
        return {"forecaster": self.forecaster}

    def set_params(self, **params: Any) -> "Tuned":
        """Change arguments, also ``forecaster__argument``; unknown names raise `UnknownName`."""
        inner = {key.removeprefix("forecaster__"): v for key, v in params.items() if key.startswith("forecaster__")}
        for name, value in params.items():
            if name in self._parameters():
                setattr(self, name, value)
            elif not name.startswith("forecaster__"):
                raise UnknownName(f"Tuned has no parameter {name!r}. {did_you_mean(name, self.get_params())}")
        if inner:
            self.forecaster = changed(self.forecaster, inner)
        self.check()
        return self

    def shipped(self) -> "Tuned":
        """Return an unfitted copy that finds its store from another process too."""
        return self.with_params(storage=storage_url(self.storage) or "memory")

    def with_seeds(self, seeds: int) -> "Tuned":
        """Return an unfitted copy whose final fit trains `seeds` networks."""
        return self.with_params(seeds=seeds)

    def with_seed(self, seed: int) -> "Tuned":
        """Return an unfitted copy that draws its trials, and trains, from another seed."""
        if not isinstance(self.forecaster, Seeded):
            return self.with_params(seed=seed)
        moved = self.forecaster.with_seed(self.forecaster.seed + seed - self.seed)
        return self.with_params(seed=seed, forecaster=moved)

    def check(self) -> None:
        """Raise `InputError` where the arguments do not fit together."""
        if isinstance(self.forecaster, type) or not isinstance(self.forecaster, Forecaster):
            raise InputError(f"forecaster must be a forecaster such as LSTM(...), was {self.forecaster!r}.")
        for name, low in (("trials", 1), ("batch", 1), ("seed", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < low:
                raise InputError(f"{name} must be a whole number of at least {low}, was {value!r}.")
        if self.seeds is not None and (not isinstance(self.seeds, int | np.integer) or self.seeds < 1):
            raise InputError(f"seeds must be None or a whole number of at least 1, was {self.seeds!r}.")
        if not isinstance(self.cv, WalkForward) and (
            isinstance(self.cv, bool) or not isinstance(self.cv, int | np.integer) or self.cv < 1
        ):
            raise InputError(f"cv must be a number of inner folds or a WalkForward, was {self.cv!r}.")
        score_of(self.forecaster, self.score)
        check_parallel(self.parallel)
        check_sampler(self.sampler, self.space_)

    @property
    def space_(self) -> Space:
        """The search space, checked."""
        return Space(self.forecaster, self.space)

    @property
    def target(self) -> Any:
        """What is forecast."""
        return target_of(self.forecaster)

    @property
    def program_(self) -> Any:
        """The features of the forecaster as it was given; None where it reads none."""
        return getattr(self.forecaster, "program_", None)

    @property
    def described(self) -> str:
        """What a study calls it."""
        return f"tuned {getattr(self.forecaster, 'described', type(self.forecaster).__name__)}"

    def ready(self, bars: "Bars") -> np.ndarray:
        """Return where every candidate has a full window, bool (n_bars, n_symbols)."""
        return np.logical_and.reduce([ready_cells(one, bars) for one in self.space_.widest()])

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as a JSON-able mapping; not where trials are kept, nor on how many threads."""
        own = {name: getattr(self, name) for name in ("trials", "sampler", "score", "prune", "batch", "seed", "seeds")}
        cv = self.cv.to_dict() if isinstance(self.cv, WalkForward) else int(self.cv)
        return {
            "kind": "Tuned",
            "forecaster": self.forecaster.to_dict(),
            "space": self.space_.to_list(),
            "cv": cv,
            **own,
        }

    @classmethod
    def from_dict(cls, configuration: Mapping[str, Any]) -> "Tuned":
        """Return the unfitted forecaster that `to_dict` described."""
        given = {name: value for name, value in configuration.items() if name != "kind"}
        base = given.pop("forecaster")
        space, cv = Space.given(base, given.pop("space")), given.pop("cv")
        return cls(forecaster_of(base), space, cv=WalkForward(**cv) if isinstance(cv, Mapping) else cv, **given)

    def __repr__(self) -> str:
        n, name = len(self.space), type(self.forecaster).__name__
        told = (
            f"{name}, tuned over {n} argument{'s' * (n != 1)} in {self.trials} trials ({self.sampler}): {self.space_}"
        )
        return f"{told}\n{self.trials_.told(self.luck_)}" if hasattr(self, "trials_") else told

    # -- learning ------------------------------------------------------------------------------------------------

    def fit(self, bars: "Bars", start: Any = None, progress: Callable[[float], None] | None = None) -> "Tuned":
        """Try configurations on inner folds of `bars`, then fit the best on all of them.

        Parameters
        ----------
        bars : Bars
            All that may be known.
        start : date-like or int, optional
            First decision row; earlier bars only warm features and windows up.
        progress : callable, optional
            Called with the fraction done.

        Raises
        ------
        NotEnoughData
            The bars do not hold the inner folds.
        LongshortError
            What stopped the first trial, when every trial failed.
        """
        fitting = self.fitting(bars, start)
        if self.parallel == "ray":
            _search_on_ray(fitting, self.threads, progress)
        for failure in fleet.run([fitting], self.threads, progress):
            if failure is not None:
                raise failure
        self.__dict__.update(fitting.result.__dict__)
        return self

    def fitting(self, bars: "Bars", start: Any = None) -> "TunedFitting":
        """Prepare a fit that advances by steps, for a fleet; self is left untouched."""
        return TunedFitting(self.with_params(), bars, start)

    @property
    def histories_(self) -> list[Any]:
        """Training histories of the chosen forecaster."""
        return list(getattr(self._fitted(), "histories_", [getattr(self.best_, "history_", None)]))

    @property
    def history_(self) -> Any:
        """Training history of the chosen forecaster, None where it has none."""
        return self.histories_[0]

    @property
    def choice_(self) -> dict[str, Any]:
        """What was chosen, with its score and what luck gives, as a JSON-able mapping."""
        self._fitted()
        described = self.space_.candidate(self.best_params_).to_dict()
        params = {name: described.get(name, value) for name, value in self.best_params_.items()}
        return {"params": params, "score": self.best_score_, "luck": self.luck_.to_dict()}

    def summary(self) -> str:
        """Return the layers of the chosen forecaster."""
        return self._fitted().summary()

    # -- forecasting ---------------------------------------------------------------------------------------------

    def predict(self, bars: "Bars", start: Any = None, **options: Any) -> Forecast:
        """Forecast as the chosen forecaster does."""
        return self._fitted().predict(bars, start, **options)

    def predict_seeds(self, bars: "Bars", start: Any = None) -> np.ndarray:
        """Return every seed's forecasts, (n_seeds, n_rows, n_symbols)."""
        best = self._fitted()
        if isinstance(best, FitsInSteps):
            return best.predict_seeds(bars, start)
        return np.asarray(best.predict(bars, start).mean)[None]

    def stream(self, bars: "Bars | None" = None) -> Any:
        """Return a stream of the chosen forecaster, which answers row by row what `predict` would."""
        return self._fitted().stream(bars)

    def _fitted(self) -> Any:
        if not hasattr(self, "best_"):
            raise NotFitted("Nothing has been tuned yet. Call fit(bars) first, or Tuned.load(directory).")
        return self.best_

    # -- keeping -------------------------------------------------------------------------------------------------

    def save(self, directory: Any) -> None:
        """Write the chosen forecaster and the table of trials into one directory, atomically; no pickle."""
        document = {
            "model": self.to_dict(),
            "best": self.trials_.best.number if self._fitted() else None,
            "trials": [t.to_dict() | {"params": self._described(t)} for t in self.trials_],
            "luck": self.luck_.to_dict(),
            "importance": self.importance_,
        }
        save_with_parts(directory, "tuned", document, {"best": self.best_})

    @classmethod
    def load(cls, directory: Any) -> "Tuned":
        """Read what `save` wrote; predictions have the bits they had before saving."""
        found, parts = load_with_parts(directory, "tuned")
        document = found.documents["model"]
        try:
            model = cls.from_dict(document["model"])
            space = model.space_
            told = [
                Trial(**(t | {"folds": tuple(t["folds"]), "params": _params(space, t)})) for t in document["trials"]
            ]
            model.trials_, model.luck_ = Trials(told), Luck(**document["luck"])
            model.best_, model.importance_ = parts["best"], document["importance"]
            best = told[document["best"]]
        except (KeyError, TypeError, IndexError, InputError) as error:
            raise ArtifactError(f"{directory} describes a tuning this version cannot read: {error}") from error
        model.best_params_, model.best_score_ = dict(best.params), float(best.score or 0.0)
        return model

    def _described(self, trial: Trial) -> dict[str, Any]:
        """Values as JSON holds them: of choices their place, of ranges the number."""
        dimensions = self.space_.dimensions
        return {name: encoded(dimensions[name], value) for name, value in trial.params.items()}


def _params(space: Space, trial: Mapping[str, Any]) -> dict[str, Any]:
    return {name: decoded(space.dimensions[name], value) for name, value in trial["params"].items()}


class Trials(Sequence[Trial]):
    """All trials in the order in which they were drawn; prints as a table, best first.

    Examples
    --------
    >>> Trials([Trial(0, {"lookback": 20}, "complete", 0.01, 0.02), Trial(1, {"lookback": 60}, "complete", 0.03, 0.02)])
    trial     score    error  state     lookback
        1   +0.0300   0.0200  complete  60
        0   +0.0100   0.0200  complete  20
    """

    def __init__(self, trials: Sequence[Trial]):
        self._trials = tuple(trials)

    @overload
    def __getitem__(self, i: int) -> Trial: ...
    @overload
    def __getitem__(self, i: slice) -> tuple[Trial, ...]: ...
    def __getitem__(self, i):
        return self._trials[i]

    def __len__(self) -> int:
        return len(self._trials)

    def __iter__(self) -> Iterator[Trial]:
        return iter(self._trials)

    @property
    def best(self) -> Trial:
        """The complete trial with the highest score, the earliest of equals."""
        complete = [t for t in self._trials if t.state == COMPLETE]
        return max(complete, key=lambda t: (t.score, -t.number))

    def told(self, luck: Luck) -> str:
        """The best trial in words, then the best ten as a table."""
        best, states = self.best, [t.state for t in self._trials]
        chosen = ", ".join(f"{name} {_short(value)}" for name, value in best.params.items())
        others = "".join(f", {states.count(s)} {s}" for s in (PRUNED, FAILED) if s in states)
        return (
            f"  chosen: {chosen} (trial {best.number}; {states.count(COMPLETE)} complete{others})\n"
            f"  gain {best.score:+.4f} +- {best.error or float('nan'):.4f} on the inner test rows; luck alone gives "
            f"the best of {luck.trials} about {luck.expected:+.4f} (p {luck.p:.3f})\n\n{self._table(10)}"
        )

    def to_pandas(self) -> Any:
        """Return one row a trial: state, score, error, one column an argument."""
        import pandas as pd

        rows = [{"state": t.state, "score": t.score, "error": t.error, **t.params} for t in self._trials]
        return pd.DataFrame(rows, index=pd.Index([t.number for t in self._trials], name="trial"))

    def _table(self, most: int) -> str:
        order = sorted(
            self._trials, key=lambda t: (t.state != COMPLETE, -(t.score if t.score is not None else -np.inf))
        )
        names = list(self._trials[0].params)
        rows = [["trial", "score", "error", "state", *names]]
        for t in order[:most]:
            numbers = ["" if v is None else f"{v:{form}}" for v, form in ((t.score, "+.4f"), (t.error, ".4f"))]
            rows.append([str(t.number), *numbers, t.state, *(_short(t.params[name]) for name in names)])
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        widths[0], widths[1], widths[2] = 5, max(widths[1], 8), max(widths[2], 7)
        lines = [
            "  ".join(c.rjust(w) if i < 3 else c.ljust(w) for i, (c, w) in enumerate(zip(r, widths, strict=True)))
            for r in rows
        ]
        more = [f"... and {len(order) - most} more"] if len(order) > most else []
        return "\n".join([*(line.rstrip() for line in lines), *more])

    def __repr__(self) -> str:
        return self._table(len(self._trials))


def _short(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 40 else text[:37] + "..."


# ------------------------------------------------------------------------------------------------------------- fitting


class TunedFitting:
    """A tuned fit in steps: rounds of trials, each inner fold of a round as one fleet, then the final fit."""

    def __init__(self, model: Tuned, bars: "Bars", start: Any = None):
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
        if self.store is not None:
            self._resume(self.store)

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
    def result(self) -> Tuned:
        """The fitted forecaster."""
        if self.final is None or not self.final.done:
            raise NotFitted("This fit is not done: call step() until it returns True.")
        model, trials = self.model, Trials(self.trials)
        model.trials_, model.best_ = trials, self.final.result
        model.best_params_, model.best_score_ = dict(trials.best.params), float(trials.best.score or 0.0)
        model.luck_, model.importance_ = _luck(self.trials, self.folds, model), self.search.importance()
        return model

    # -- rounds --------------------------------------------------------------------------------------------------

    def _ask(self) -> list[Asked]:
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

    def _close(self, trials: Sequence[Trial]) -> None:
        """Count the trials of a round."""
        book = ledger.current()
        for trial in trials:
            described = self.space.candidate(trial.params).to_dict()
            digest = ledger.digest_of({"tune": described, "bars": self.bars.digest})
            facts = {"what": "tune", "state": trial.state, "score": trial.score, "bars": self.bars.digest}
            book.record_trial(digest, configuration=described, **facts)
        self.trials += trials
        self.round = []

    def _resume(self, store: Store) -> None:
        """Draw the stored rounds again and tell what became of them; a round that is not whole is done again."""
        stored = store.trials()
        while len(self.trials) < self.model.trials:
            size = min(self.model.batch, self.model.trials - len(self.trials))
            part = stored[len(self.trials) : len(self.trials) + size]
            if len(part) < size:
                break
            trials = self.search.again(self.search.ask(size), part)
            if trials is None:
                raise ArtifactError(
                    f"The trials stored in {store.url} were drawn differently, probably on another machine or with "
                    "another version of numpy or torch. Give this tuning another storage, or storage='memory'."
                )
            self._close(trials)
        if self.trials:
            log.info("going on after %d stored trials", len(self.trials))

    def _finish_search(self) -> None:
        if self.store is not None:
            self.store.close()
        if not any(trial.state == COMPLETE for trial in self.trials):
            failed = self.trials[0]
            raise NotEnoughData(f"All {len(self.trials)} trials failed; the first because: {failed.reason}")
        best = self.space.candidate(Trials(self.trials).best.params)
        if self.model.seeds is not None and isinstance(best, FitsInSteps):
            best = best.with_seeds(self.model.seeds)
        self.final = MemberFit("the chosen configuration", best, self.bars, self.start)


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


def _search_on_ray(fitting: TunedFitting, threads: int | None, progress: Callable[[float], None] | None) -> None:
    """Run all rounds on Ray; what is left is the final fit."""
    while fitting.final is None:
        attempts = [a for a in fitting.round if not a.done]
        jobs = [a.job for a in attempts if a.job is not None]
        for attempt, error in zip(attempts, run_jobs(jobs, threads, None, "ray") if jobs else (), strict=True):
            attempt.settle(error)
        fitting.step()
        if progress:
            progress(fitting.fraction)


def _inner(model: Tuned, bars: "Bars", first: int) -> tuple[Any, Gains]:
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


def _luck(trials: Sequence[Trial], folds: Any, model: Tuned) -> Luck:
    n = sum(len(rows) for rows in folds.rows)
    columns = []
    for trial in (t for t in trials if t.state != FAILED):
        known = np.concatenate(trial.gains)
        columns.append(np.concatenate([known, np.full(n - len(known), np.nan)]))
    length = max(5.0, n ** (1 / 3), 3.0 * model.target.info.horizon)
    return best_of_many(np.stack(columns, axis=1), length=length, seed=model.seed)
