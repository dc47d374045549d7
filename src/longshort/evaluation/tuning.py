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
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ArtifactError, InputError, NotFitted, UnknownName, did_you_mean
from ..forecast import FitsInSteps, Forecast, Forecaster, Seeded, target_of
from ..models import fleet
from ..models.fits import remember_fit
from ..models.nesting import forecaster_of, load_with_parts, save_with_parts
from ..models.parameters import Parameters
from ..models.readiness import ready_cells
from .gains import score_of
from .rounds import TunedFitting, search_on_ray
from .scale import check_parallel
from .searching import Trial, check_sampler, storage_url
from .selection import Luck
from .spaces import Space, changed, decoded, encoded
from .splits import WalkForward
from .trials import Trials

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
            search_on_ray(fitting, self.threads, progress)
        fleet.finish([fitting], self.threads, progress)
        self.__dict__.update(fitting.result.__dict__)
        remember_fit(self, bars)
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
