"""Combinatorial purged cross-validation (Lopez de Prado, 2018, chapter 12): many histories instead of one.

Decision rows are cut into N groups in order of time; every choice of k groups is tested by a model trained on the rest.
The C(N, k) choices give each group C(N-1, k-1) forecasts, which join into C(N, k) k / N whole paths::

    N = 4, k = 2    group   0  1  2  3        6 trainings, 3 paths
    choice (0, 1)           t  t  .  .
    choice (0, 2)           t  .  t  .        path 0 takes the first forecast of every group,
    ...                                       path 1 the second, path 2 the third

Here a model is also trained on rows *after* those it is tested on, which nobody could have done at the time. It tells
how much a result depends on the one history we had; whether an edge could be earned is for `walk_forward` to say.

A training sample is dropped when anything in it (first bar of its features .. end of its label) overlaps anything in a
test sample. That is done to the bars and not left to the model: the bars a model is given are MISSING from the first
bar a test forecast reads to the end of the last test label (and the embargo), so no window and no return reaches in.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from math import comb, nan
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import ledger, metrics
from ..errors import InputError, NotEnoughData
from ..forecast import FitsInSteps, Forecaster, target_of
from ..models import fleet
from . import statistics as st
from .earnings import bars_per_year, follow_signs
from .evidence import Evidence
from .fitting import copies, frozen, load_calendar
from .judged import decision_rows, information_free
from .remembering import look, remember_trial
from .verdict import scored

if TYPE_CHECKING:
    from ..bars import Bars


@dataclass(frozen=True)
class CombinatorialPurged:
    """How to cut history.

    Parameters
    ----------
    groups : int, default=6
        N, of equal size in decision rows.
    tested : int, default=2
        k, groups tested at a time.
    embargo : int, default=0
        Bars after each test label that nothing is learned from.

    Examples
    --------
    >>> cv = CombinatorialPurged(groups=6, tested=2)
    >>> cv.trainings, cv.paths
    (15, 5)
    """

    groups: int = 6
    tested: int = 2
    embargo: int = 0

    def __post_init__(self):
        for name, least in (("groups", 2), ("tested", 1), ("embargo", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
                raise InputError(f"{name} must be a whole number of at least {least}, was {value!r}.")
        if self.tested >= self.groups:
            raise InputError(f"tested must be below groups ({self.groups}), was {self.tested}.")

    @property
    def trainings(self) -> int:
        """C(N, k)."""
        return comb(self.groups, self.tested)

    @property
    def paths(self) -> int:
        """C(N, k) k / N."""
        return comb(self.groups - 1, self.tested - 1)

    def choices(self) -> list[tuple[int, ...]]:
        """Return the groups tested by each training."""
        return list(combinations(range(self.groups), self.tested))

    def split(self, decisions: np.ndarray) -> list[np.ndarray]:
        """Return the bar indices of each group's decisions; `decisions` is bool (n_bars,)."""
        rows = np.flatnonzero(decisions)
        if len(rows) < 2 * self.groups:
            raise NotEnoughData(
                f"{self.groups} groups need at least {2 * self.groups} decision rows, found {len(rows)}."
            )
        return [np.asarray(part) for part in np.array_split(rows, self.groups)]


@dataclass(frozen=True, eq=False)
class PathStudy:
    """Forecasts along every path.

    Parameters
    ----------
    forecasts : array (n_paths, n_rows, n_symbols)
        In the target's units.
    actual : array (n_rows, n_symbols)
        Outcomes.
    rows : int array (n_rows,)
        Bars of the decisions.
    naive : dict of str to array (n_rows, n_symbols)
        Forecasts without information.
    name, target, bars, cv
        What was studied.
    """

    forecasts: np.ndarray
    actual: np.ndarray
    rows: np.ndarray
    naive: dict[str, np.ndarray]
    name: str
    target: Any
    bars: "Bars"
    cv: CombinatorialPurged
    trials: int = 1

    @cached_property
    def _scores(self) -> dict[str, np.ndarray]:
        best = min(self._errors(values) for values in self.naive.values())
        return {
            "skill": np.array([1.0 - self._errors(path) / best for path in self.forecasts]),
            "ic": np.array([metrics.information_coefficient(self.actual, path) for path in self.forecasts]),
            "sharpe": np.array([self._sharpe(path) for path in self.forecasts]),
        }

    def scores(self) -> dict[str, np.ndarray]:
        """Return skill, information coefficient and Sharpe ratio (signs followed, net of costs) of every path."""
        return dict(self._scores)

    def _errors(self, values: np.ndarray) -> float:
        return float(np.nanmean(st.per_date((self.actual - values) ** 2)))

    def _sharpe(self, path: np.ndarray) -> float:
        """NaN where following signs means nothing (volatility)."""
        kind = self.target.info.kind
        if kind == "volatility":
            return nan
        close = np.asarray(self.bars.adjusted("close"))
        later = np.minimum(self.rows + 1, len(close) - 1)
        returns = np.where((self.rows + 1 < len(close))[:, None], close[later] / close[self.rows] - 1.0, nan)
        said = path - close[self.rows] if kind == "close" else path - (0.5 if kind == "direction" else 0.0)
        earned = follow_signs(said, returns, self.target.info.horizon)
        return metrics.sharpe(earned.net, bars_per_year=bars_per_year(self.bars.time[self.rows]))

    def __repr__(self) -> str:
        lines = [
            f"{self.cv.paths} paths of {self.name} over {len(self.rows):,} rows ({self.target.info}), "
            f"{self.cv.trainings} trainings of {self.cv.groups} groups, {self.cv.tested} tested"
        ]
        for name, values in self._scores.items():
            if np.isfinite(values).any():
                low, middle, high = np.nanquantile(values, [0, 0.5, 1])
                lines.append(f"  {name:7} median {middle:+.3f}, from {low:+.3f} to {high:+.3f}")
        return "\n".join([*lines, "Trained on later rows too: read it as sensitivity, not as an edge."])


def cross_validate(
    forecaster: Forecaster,
    bars: "Bars",
    cv: CombinatorialPurged | None = None,
    seeds: int = 1,
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> PathStudy:
    """Train on every choice of groups and forecast the others; counts as one trial.

    Parameters
    ----------
    forecaster : Forecaster
        Unfitted; it is left untouched.
    bars : Bars
        The whole history.
    cv : CombinatorialPurged, optional
        How to cut it; 6 groups, 2 tested, by default.
    seeds : int, default=1
        Copies with different random numbers; the forecast is their mean.
    threads, progress
        As in `walk_forward`.

    Examples
    --------
    >>> import longshort as ls
    >>> from longshort import features as f, models as m
    >>> from longshort.data import synthetic
    >>> bars = synthetic.planted_signal(700, seed=1)
    >>> model = m.Ridge([f.field("volume").log()], f.forward_log_return(), lookback=1)
    >>> study = cross_validate(model, bars, CombinatorialPurged(groups=4, tested=2))
    >>> len(study.forecasts), bool((study.scores()["ic"] > 0.6).all())
    (3, True)
    """
    cv = CombinatorialPurged() if cv is None else cv
    if not isinstance(forecaster, Forecaster) or isinstance(forecaster, type):
        raise InputError(f"forecaster must be an object with target, fit, predict and to_dict, was {forecaster!r}.")
    target = target_of(forecaster)
    actual, ends = np.asarray(target.compute(bars)), np.asarray(target.label_end(bars))
    groups = cv.split(decision_rows(forecaster, bars, actual, ends))
    jobs = [_Job(forecaster, bars, groups, choice, cv, seeds) for choice in cv.choices()]
    load_calendar(bars, target.info.horizon)
    with ledger.current().inside():
        fleet.finish(jobs, threads, progress)
    rows = np.concatenate(groups)
    told: list[list[np.ndarray]] = [[] for _ in groups]
    for job in jobs:
        for g, values in job.said.items():
            told[g].append(values)
    paths = [np.concatenate([told[g][p] for g in range(cv.groups)]) for p in range(cv.paths)]
    described = {"forecaster": forecaster.to_dict(), "cv": vars(cv), "seeds": int(seeds)}
    naive, time = {n: np.asarray(v)[rows] for n, v in information_free(target, bars).items()}, bars.time[rows]
    case = Evidence(
        name=type(forecaster).__name__,
        target=target.info,
        time=time,
        actual=actual[rows],
        forecast=np.mean(paths, axis=0),
        baselines=naive,
        reference=np.asarray(bars.adjusted("close"))[rows],
    )
    trials = remember_trial("combinatorial", described, bars, time, target.info.kind, scored(case)[0])
    look("combinatorial", bars.symbols, [(int(time[0]), int(time[-1]))], bars=bars.digest)
    return PathStudy(
        forecasts=frozen(np.stack(paths)),
        actual=frozen(actual[rows]),
        rows=frozen(rows),
        naive=naive,
        name=str(getattr(forecaster, "name", "") or type(forecaster).__name__),
        target=target,
        bars=bars,
        cv=cv,
        trials=trials,
    )


class _Job:
    """One training and its forecasts."""

    def __init__(self, forecaster: Any, bars: "Bars", groups: list[np.ndarray], choice, cv, seeds: int):
        self.bars, self.tested = bars, {g: groups[g] for g in choice}
        self.seen: Any = without(
            bars, list(self.tested.values()), reach_of(forecaster), _horizon(forecaster) + cv.embargo
        )
        self.copies, self.fittings, self.fitted = copies(forecaster, seeds), [], []
        self.said: dict[int, np.ndarray] = {}

    def step(self) -> bool:
        """Do one unit of work; return True when the forecasts are there."""
        if len(self.fitted) < len(self.copies):
            one = self.copies[len(self.fitted)]
            if not isinstance(one, FitsInSteps):
                self.fitted.append(one.fit(self.seen))
                return False
            if not self.fittings:
                self.fittings.append(one.fitting(self.seen))
                return False
            if self.fittings[-1].step():
                self.fitted.append(self.fittings.pop().result)
            return False
        for g, rows in self.tested.items():
            known = self.bars.until(int(self.bars.time[rows[-1]]))
            start = int(self.bars.time[rows[0]])
            values = np.mean([np.asarray(one.predict(known, start=start).mean) for one in self.fitted], axis=0)
            self.said[g] = values[rows - rows[0]]
        self.fitted, self.seen = [], None
        return True


def reach_of(forecaster: Any) -> int:
    """Return how many bars before its decision row a forecast reads."""
    program = getattr(forecaster, "program_", None)
    own = int(getattr(forecaster, "warmup", 0))
    return own if program is None else max(own, int(program.warmup) + int(getattr(forecaster, "lookback", 1)) - 1)


def _horizon(forecaster: Any) -> int:
    targets = getattr(forecaster, "targets_", None) or (target_of(forecaster),)
    return max(int(target.info.horizon) for target in targets)


def without(bars: "Bars", tested: list[np.ndarray], before: int, after: int) -> "Bars":
    """Return bars that are MISSING from `before` bars before each stretch of rows to `after` bars behind it."""
    from ..bars import Bars, State

    hidden = np.zeros(len(bars), bool)
    for rows in tested:
        hidden[max(0, rows[0] - before) : rows[-1] + after + 1] = True
    fields = {name: np.where(hidden[:, None], nan, np.asarray(bars[name])) for name in bars.fields}
    state = np.where(hidden[:, None] & (bars.state == State.OK), State.MISSING, bars.state)
    dividend = np.where(hidden[:, None], 0.0, bars.dividend)
    return Bars.from_arrays(
        bars.time,
        bars.symbols,
        fields,
        split=bars.split,
        dividend=dividend,
        state=state,
        calendar=bars.calendar,
        bar_size=bars.bar_size,
        source=bars.source,
    )
