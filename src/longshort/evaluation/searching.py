"""Which configuration to try next: Optuna's samplers, asked in rounds of fixed size, and the store that remembers.

All configurations of a round are drawn before the first of them is judged, and every round draws from random numbers of
its own. So what is tried depends on the seed and the scores alone, not on threads, machines or interruptions: a search
that goes on from its store draws the earlier rounds again, is told the scores it was told then, and continues as if it
had never stopped. Only whole rounds are stored; an interrupted one is done again.
"""

import importlib
import json
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import ledger
from ..errors import ArtifactError, InputError, SetupError, UnknownName, did_you_mean
from .spaces import Choices, Range, Space, decoded, encoded

SAMPLERS = ("tpe", "gp", "cma", "random")
COMPLETE, PRUNED, FAILED = "complete", "pruned", "failed"
STARTUP = 10  # configurations drawn blindly before the sampler learns from scores
_OPENING = threading.Lock()


@dataclass(frozen=True)
class Trial:
    """One configuration and what became of it.

    Parameters
    ----------
    number : int
        From 0. The first is the forecaster as it was given, where the space contains it.
    params : dict
        The values tried.
    state : {"complete", "pruned", "failed"}
        Pruned: given up after some inner folds, because half of the trials had done better by then.
    score : float or None
        Mean gain over the inner test rows it reached; higher is better.
    error : float or None
        Its standard error, robust to autocorrelation.
    folds : tuple of float
        Mean gain in each inner fold.
    reason : str
        Why it failed.
    gains : tuple of array
        Gain of every date, one array an inner fold.
    """

    number: int
    params: Mapping[str, Any]
    state: str
    score: float | None
    error: float | None
    folds: tuple[float, ...] = ()
    reason: str = ""
    gains: tuple[np.ndarray, ...] = field(default=(), repr=False, compare=False)

    @property
    def reached(self) -> list[float]:
        """The score after each inner fold."""
        return [float(np.concatenate(self.gains[: k + 1]).mean()) for k in range(len(self.gains))]

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the gains and the values as a JSON-able mapping."""
        return {
            "number": self.number,
            "state": self.state,
            "score": self.score,
            "error": self.error,
            "folds": list(self.folds),
            "reason": self.reason,
        }


@dataclass
class Asked:
    """A configuration that was drawn: its number, values, and Optuna's own record of it."""

    number: int
    params: dict[str, Any]
    trial: Any


@dataclass(frozen=True)
class Stored:
    """A trial as it was kept: without its values, but with what was drawn for them."""

    drawn: Mapping[str, Any]
    trial: Trial


class Search:
    """Draw configurations from a space, round by round.

    Parameters
    ----------
    space : Space
        Where to draw from.
    sampler : {"tpe", "gp", "cma", "random"}
        Tree-structured Parzen estimator, Gaussian process, CMA-ES, or no learning at all.
    seed : int
        Of all draws.
    prune : bool
        Whether to give up trials that are behind half of the others.
    """

    def __init__(self, space: Space, sampler: str, seed: int, prune: bool):
        optuna = require_optuna(sampler)
        self.space, self.sampler, self.seed = space, sampler, seed
        pruner = optuna.pruners.MedianPruner(n_startup_trials=5) if prune else optuna.pruners.NopPruner()
        self.study = optuna.create_study(direction="maximize", pruner=pruner)
        self.distributions = {name: _distribution(d, sampler) for name, d in space.dimensions.items()}
        own = {name: encoded(space.dimensions[name], value) for name, value in space.own().items()}
        if own:
            self.study.enqueue_trial(own)
        self.rounds = 0

    def ask(self, n: int) -> list[Asked]:
        """Draw the next `n` configurations."""
        words = np.random.SeedSequence([self.seed, self.rounds]).generate_state(1)
        self.study.sampler = _sampler(self.sampler, int(words[0]))
        self.rounds += 1
        asked = []
        for _ in range(n):
            trial = self.study.ask(self.distributions)
            params = {name: decoded(self.space.dimensions[name], v) for name, v in trial.params.items()}
            asked.append(Asked(trial.number, params, trial))
        return asked

    def behind(self, asked: Asked, fold: int, score: float) -> bool:
        """Note the score after a fold; return whether to give the trial up."""
        asked.trial.report(score, fold)
        return asked.trial.should_prune()

    def tell(self, asked: Asked, trial: Trial) -> None:
        """Say what became of a configuration."""
        if trial.state == COMPLETE:
            self.study.tell(asked.trial, trial.score)
        else:
            self.study.tell(asked.trial, state=_states()[trial.state])

    def again(self, asked: Sequence[Asked], stored: "Sequence[Stored]") -> list[Trial] | None:
        """Tell the stored outcomes of a round that was drawn again; None when they are of other values."""
        pairs = list(zip(asked, stored, strict=True))
        if any(one.trial.params != old.drawn for one, old in pairs):
            return None
        for one, old in pairs:
            for fold, score in enumerate(old.trial.reached):
                one.trial.report(score, fold)
        trials = [replace(old.trial, params=one.params) for one, old in pairs]
        for one, trial in zip(asked, trials, strict=True):
            self.tell(one, trial)
        return trials

    def importance(self) -> dict[str, float]:
        """Return each argument's share in what sets good trials apart (PED-ANOVA); empty for too few trials."""
        import optuna

        scores = [t.value for t in self.study.get_trials(states=[optuna.trial.TrialState.COMPLETE])]
        if len(scores) < 4 or len(set(scores)) < 2:
            return {}
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        found = optuna.importance.get_param_importances(self.study, evaluator=evaluator)
        return {name: float(share) for name, share in found.items()}


class Store:
    """Where trials outlive the process: an Optuna study in SQLite, PostgreSQL or whatever SQLAlchemy speaks.

    Several processes may add to it at once. What they add is the same, so of a trial that two of them stored the first
    one counts. Connections are opened when needed and kept by nobody.

    Parameters
    ----------
    url : str
        ``sqlite:////folder/tuning.sqlite``, ``postgresql://user@host/base``.
    name : str
        Digest of everything the trials depend on.
    """

    def __init__(self, url: str, name: str):
        optuna = require_optuna()
        from sqlalchemy.pool import NullPool

        options: dict[str, Any] = {"poolclass": NullPool}
        if url.startswith("sqlite"):
            options["connect_args"] = {"timeout": 120}
        self.url, driven = _shown_and_driven(url)
        with _OPENING:
            try:
                self.storage = _patiently(lambda: optuna.storages.RDBStorage(driven, engine_kwargs=options))
            except ImportError as error:
                raise SetupError(
                    f"The storage {self.url} needs a database driver ({error}). For PostgreSQL: "
                    "pip install 'longshort[postgres]'."
                ) from error
            self.study = _patiently(
                lambda: optuna.create_study(
                    storage=self.storage, study_name=name, direction="maximize", load_if_exists=True
                )
            )

    def trials(self) -> list[Stored]:
        """Return the stored trials by number, up to the first that is missing."""
        known, found = self._known(), []
        while len(found) in known:
            found.append(known[len(found)])
        return found

    def _known(self) -> dict[int, Stored]:
        known: dict[int, Stored] = {}
        for stored in self.study.get_trials(deepcopy=False):
            if "trial" not in stored.user_attrs:
                raise ArtifactError(f"Study {self.study.study_name} in {self.url} was not written by tune. Remove it.")
            trial = _read(stored.user_attrs["trial"])
            known.setdefault(trial.number, Stored(stored.params, trial))
        return known

    def add(self, asked: Sequence[Asked], trials: Sequence[Trial]) -> None:
        """Append a round; what another process has stored already, which is the same, stays."""
        import optuna

        with _OPENING:
            there = self._known()
            for one, trial in zip(asked, trials, strict=True):
                if trial.number in there:
                    continue
                self.study.add_trial(
                    optuna.trial.create_trial(
                        state=_states()[trial.state],
                        value=trial.score if trial.state == COMPLETE else None,
                        params=one.trial.params,
                        distributions=one.trial.distributions,
                        intermediate_values=dict(enumerate(trial.reached)),
                        user_attrs={"trial": _written(trial), "values": repr(dict(trial.params))},
                    )
                )

    def close(self) -> None:
        """Give the connections back."""
        self.storage.remove_session()
        self.storage.engine.dispose()


def _shown_and_driven(url: str) -> tuple[str, str]:
    """Return a URL as messages may show it, without its password, and with the driver that the extra installs.

    >>> _shown_and_driven("postgresql://desk:secret@db/tuning")
    ('postgresql://desk:***@db/tuning', 'postgresql+psycopg://desk:secret@db/tuning')
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parts = make_url(url)
    except ArgumentError as error:
        raise InputError("storage looks like a database URL and is none. Write postgresql://user@host/base.") from error
    driven = parts.set(drivername="postgresql+psycopg") if parts.drivername == "postgresql" else parts
    return parts.render_as_string(), driven.render_as_string(hide_password=False)


def _patiently(open_: Callable[[], Any], tries: int = 6) -> Any:
    """Open what another process may be creating at this very moment."""
    from sqlalchemy.exc import SQLAlchemyError

    reason: Exception | None = None
    for k in range(tries):
        try:
            return open_()
        except (SQLAlchemyError, RuntimeError) as error:
            reason = error
            time.sleep(0.1 * 2**k)
    raise InputError(f"The storage of trials cannot be opened: {reason}")


def storage_url(storage: str | Path | None) -> str | None:
    """Return the URL of a store: of a path, of `tuning.sqlite` in the project in force, or None for memory.

    Examples
    --------
    >>> storage_url("postgresql://desk@db/tuning"), storage_url("memory"), storage_url("/tmp/tuning.sqlite")
    ('postgresql://desk@db/tuning', None, 'sqlite:////tmp/tuning.sqlite')
    """
    if storage is None:
        folder = ledger.current().path
        return None if folder is None else storage_url(folder / "tuning.sqlite")
    if str(storage) == "memory":
        return None
    if isinstance(storage, str) and "://" in storage:
        return storage
    if not isinstance(storage, str | Path):
        raise InputError(f"storage is a path, a URL, 'memory' or None, was {storage!r}.")
    path = Path(storage).resolve()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"No trials can be kept in {path.parent}: {error.strerror}. Choose another folder.") from error
    return f"sqlite:///{path}"


def require_optuna(sampler: str = "tpe") -> Any:
    """Return Optuna, or raise `SetupError` naming the extra that is missing."""
    if sampler not in SAMPLERS:
        raise UnknownName(f"sampler was {sampler!r}. {did_you_mean(str(sampler), SAMPLERS)}")
    quiet = "optuna" not in sys.modules
    needed = {"gp": ("torch", "torch"), "cma": ("cmaes", "tune")}
    name, extra = "optuna", "tune"
    try:
        import optuna

        if sampler in needed:
            name, extra = needed[sampler]
            importlib.import_module(name)
    except ImportError as error:
        raise SetupError(f"Tuning with {sampler!r} needs {name}: pip install 'longshort[{extra}]'.") from error
    if quiet:  # whoever imported Optuna before has chosen how much it says
        optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def check_sampler(sampler: str, space: Space) -> None:
    """Refuse spaces that a sampler cannot search."""
    if sampler not in SAMPLERS:
        raise UnknownName(f"sampler was {sampler!r}. {did_you_mean(str(sampler), SAMPLERS)}")
    if sampler != "cma":
        return
    if len(space.dimensions) < 2:
        raise InputError("CMA-ES needs at least two arguments to tune, was given one. Use sampler='tpe'.")
    for name, dimension in space.dimensions.items():
        if isinstance(dimension, Choices) and not dimension.ordered and len(dimension.values) > 1:
            raise InputError(
                f"CMA-ES searches numbers, and {name} offers choices without an order. List numbers in increasing "
                "order, or use sampler='tpe'."
            )


# ------------------------------------------------------------------------------------------------------- Optuna's words


def _sampler(name: str, seed: int) -> Any:
    import optuna

    if name == "gp":
        return optuna.samplers.GPSampler(seed=seed, n_startup_trials=STARTUP)
    if name == "cma":
        return optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP, constant_liar=True)


def _distribution(dimension: Range | Choices, sampler: str) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(dimension, Choices):
        n = len(dimension.values)
        if dimension.ordered and sampler in ("gp", "cma"):
            return IntDistribution(0, n - 1)
        return CategoricalDistribution(tuple(range(n)))
    if dimension.whole:
        low, high, step = int(dimension.low), int(dimension.high), int(dimension.step or 1)
        return IntDistribution(low, high - (high - low) % step, log=dimension.log, step=step)
    return FloatDistribution(dimension.low, _last(dimension), log=dimension.log, step=dimension.step)


def _last(dimension: Range) -> float:
    """The last value that whole steps reach."""
    if dimension.step is None:
        return dimension.high
    return dimension.low + int((dimension.high - dimension.low) / dimension.step + 1e-9) * dimension.step


def _states() -> dict[str, Any]:
    from optuna.trial import TrialState

    return {COMPLETE: TrialState.COMPLETE, PRUNED: TrialState.PRUNED, FAILED: TrialState.FAIL}


def _written(trial: Trial) -> str:
    return json.dumps(trial.to_dict() | {"params": {}, "gains": [g.tolist() for g in trial.gains]})


def _read(text: str) -> Trial:
    found = json.loads(text)
    found["folds"] = tuple(found["folds"])
    found["gains"] = tuple(np.array(g, dtype=np.float64) for g in found["gains"])
    return Trial(**found)
