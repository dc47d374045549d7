"""How far back should a model look? One model at several lookbacks, compared on the same rows.

Shorter windows are full earlier, so compared carelessly every lookback is judged on rows of its own. Here a row counts
only where the longest window is full, in training and in the test, and all fits run as one fleet. The best of several
is a choice made after looking: every lookback is a trial in the ledger, and `LookbackSweep.chosen` says what is left of
its lead once the choosing is counted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import ledger
from ..errors import InputError
from ..features.windows import check_lookback
from ..forecast import Forecaster, target_of
from ..models import fleet
from ..models.readiness import ready_cells
from .evidence import Evidence
from .fitting import Job, collect, copies, frozen
from .judged import information_free, next_returns
from .remembering import closes_at, look, remember_trial
from .splits import NEVER, Fold, Folds, WalkForward
from .statistics import MeanTest, per_date, skill_test
from .study import check_arguments
from .verdict import scored

if TYPE_CHECKING:
    from ..bars import Bars


def lookback_sweep(
    forecaster: Forecaster,
    bars: "Bars",
    lookbacks: Sequence[int],
    cv: WalkForward,
    seeds: int = 3,
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> "LookbackSweep":
    """Walk one model forward at several lookbacks, on identical rows.

    Parameters
    ----------
    forecaster : Forecaster
        With `lookback` and `with_params`, such as an `LSTM`; unfitted, and left untouched.
    bars : Bars
        The whole history.
    lookbacks : sequence of int
        Windows to try, in bars.
    cv : WalkForward
        The folds; the same for all.
    seeds : int, default=3
        Copies with different random numbers.
    threads : int, optional
        Threads shared by all fits; all cores by default. Results do not depend on it.
    progress : callable, optional
        Called with the fraction done, 0 to 1.

    Returns
    -------
    LookbackSweep
        Scores by lookback and seed; `report.lookback_plot` draws them.

    Notes
    -----
    Training rows are the same as well, unless bars are missing: after a gap shorter windows are full again earlier.

    Examples
    --------
    >>> import longshort as ls
    >>> from longshort.data import synthetic
    >>> bars = synthetic.planted_signal(500, seed=1)
    >>> lstm = ls.LSTM([ls.features.field("volume").log()], hidden=(4,), epochs=3)
    >>> sweep = lookback_sweep(lstm, bars, [2, 10], cv=ls.WalkForward(train=300, test=100), seeds=2)
    >>> sweep.lookbacks, sweep.skill.shape, sweep.forecasts.shape
    ((2, 10), (2, 2), (2, 2, 190, 1))
    """
    check_arguments(forecaster, bars, cv, seeds)
    found = _lookbacks(forecaster, lookbacks)
    models = [forecaster.with_params(lookback=n) for n in found]  # type: ignore[attr-defined]
    actual, judged, folds = _same_rows(models[-1], bars, cv)
    first = int(bars.time[int(np.argmax(judged.any(axis=1)))])
    pairs = [(replace(f, train_start=max(f.train_start, first)), r) for f, r in zip(folds, folds.rows, strict=True)]
    done, told = _forecasts(models, bars, folds, pairs, seeds, threads, progress)
    sweep = LookbackSweep(
        name=str(getattr(forecaster, "described", type(forecaster).__name__)),
        lookbacks=found,
        target=target_of(forecaster),
        symbols=tuple(bars.symbols),
        failures=tuple(
            f"lookback {n}, fold {fold.number}: {fold.failure}"
            for n, swept in zip(found, done, strict=True)
            for fold in swept
            if fold.failure
        ),
        folds=tuple(fold for fold, _ in pairs),
        **_on_common_cells(target_of(forecaster), bars, np.concatenate(folds.rows), actual, judged, told),
    )
    _remember(sweep, models, bars, cv, seeds)
    return replace(sweep, trials=ledger.trials())


@dataclass(frozen=True, eq=False, repr=False)
class LookbackSweep:
    """What a sweep left: forecasts of every lookback and seed beside the outcomes, on the same cells.

    Parameters
    ----------
    name : str
        What was swept.
    lookbacks : tuple of int
        Increasing.
    target : Target
        What was forecast.
    time : int64 array (n_rows,)
        Decisions, UTC nanoseconds.
    symbols : tuple of str
        Columns.
    forecasts : array (n_lookbacks, n_seeds, n_rows, n_symbols)
        NaN in the same cells for all.
    actual, reference : array (n_rows, n_symbols)
        Outcomes; last adjusted closes.
    baselines : dict of str to array (n_rows, n_symbols)
        Forecasts that need no model.
    failures : tuple of str
        Folds that failed; their rows count for no lookback.
    folds : tuple of Fold
        The same for all lookbacks.
    trials : int
        Different configurations in the ledger, this sweep's included.

    Examples
    --------
    >>> import longshort as ls
    >>> from longshort.data import synthetic
    >>> lstm = ls.LSTM([ls.features.field("volume").log()], hidden=(4,), epochs=2)
    >>> cv = ls.WalkForward(train=300, test=150)
    >>> sweep = ls.evaluation.lookback_sweep(lstm, synthetic.planted_signal(500, seed=1), [2, 10], cv, seeds=1)
    >>> sweep.best in (2, 10), len(sweep.losses())
    (True, 2)
    """

    name: str
    lookbacks: tuple[int, ...]
    target: Any
    time: np.ndarray
    symbols: tuple[str, ...]
    forecasts: np.ndarray
    actual: np.ndarray
    reference: np.ndarray
    baselines: dict[str, np.ndarray]
    failures: tuple[str, ...] = ()
    folds: tuple[Fold, ...] = field(default=())
    trials: int = 0

    @property
    def baseline(self) -> str:
        """The best forecast that needs no model: what skill is measured against."""
        return min(self.baselines, key=lambda name: self._loss(self.baselines[name]))

    @property
    def skill(self) -> np.ndarray:
        """1 - squared error / the baseline's, of every seed alone, (n_lookbacks, n_seeds)."""
        base = self._loss(self.baselines[self.baseline])
        return np.array([[1.0 - self._loss(seed) / base for seed in seeds] for seeds in self.forecasts])

    @property
    def skill_of_mean(self) -> list[MeanTest]:
        """The skill of the mean over seeds, with its error, by lookback."""
        base = self._per_date(self.baselines[self.baseline])
        horizon = self.target.info.horizon
        return [skill_test(self._per_date(seeds.mean(axis=0)), base, horizon) for seeds in self.forecasts]

    @property
    def best(self) -> int:
        """The lookback whose mean over seeds had the smallest error: a choice made after looking."""
        return self.lookbacks[int(np.nanargmax([test.mean for test in self.skill_of_mean]))]

    def losses(self) -> dict[str, np.ndarray]:
        """Return the squared error of the mean over seeds per date, by lookback."""
        return {str(n): self._per_date(s.mean(axis=0)) for n, s in zip(self.lookbacks, self.forecasts, strict=True)}

    def chosen(self) -> dict[str, Any]:
        """Test whether the best lookback beats the baseline, knowing that it was chosen (Hansen, 2005).

        Returns
        -------
        dict
            As `evaluation.selection.superior_ability`.
        """
        from .selection import superior_ability

        base = self._per_date(self.baselines[self.baseline])
        keep = np.isfinite(base)
        return superior_ability({n: loss[keep] for n, loss in self.losses().items()}, base[keep])

    def table(self) -> list[dict[str, Any]]:
        """Return one row a lookback: skill of the mean over seeds, its error, and the single seeds' mean and spread."""
        found = []
        for n, test, seeds in zip(self.lookbacks, self.skill_of_mean, self.skill, strict=True):
            row = {"lookback": n, "skill": test.mean, "error": test.error, "seeds_mean": float(seeds.mean())}
            found.append(row | {"seeds_low": float(seeds.min()), "seeds_high": float(seeds.max())})
        return found

    @property
    def warning(self) -> str:
        """What the best one is worth."""
        order = sorted(self.table(), key=lambda row: -row["skill"])
        k = len(order)
        text = f"{self.best} bars did best of {k}, which is a choice made after looking and counts as {k} trials."
        if k > 1:
            lead, spread = order[0]["skill"] - order[1]["skill"], order[0]["seeds_high"] - order[0]["seeds_low"]
            noise = "less than its own seeds differ" if lead < spread else f"its own seeds differ by {100 * spread:.2f}"
            text += f" It leads {order[1]['lookback']} bars by {100 * lead:.2f} points of skill: {noise}."
        return text

    def _loss(self, values: np.ndarray) -> float:
        return float(np.nanmean(self._per_date(values)))

    def _per_date(self, values: np.ndarray) -> np.ndarray:
        """Squared errors averaged per date, those of prices as shares of the last close."""
        error = values - self.actual
        return per_date((error / self.reference if self.target.kind == "close" else error) ** 2)

    def __repr__(self) -> str:
        cells = int(np.isfinite(self.actual).sum())
        lines = [
            f"Lookback sweep of {self.name} on {', '.join(self.symbols[:4])}: {self.target.info}",
            f"  {cells:,} forecasts of the same {len(self.time):,} rows each, {len(self.folds)} folds, "
            f"{self.forecasts.shape[1]} seeds; skill against {self.baseline}",
            "",
            f"  {'lookback':>8}  {'skill':>8}  {'error':>7}   single seeds",
        ]
        for row in self.table():
            seeds = f"{row['seeds_low']:+.2%} .. {row['seeds_high']:+.2%}"
            lines.append(f"  {row['lookback']:8}  {row['skill']:+8.2%}  {row['error']:7.2%}   {seeds}")
        return "\n".join([*lines, "", self.warning, *self.failures])


def _lookbacks(forecaster: Any, lookbacks: Sequence[int]) -> tuple[int, ...]:
    if not hasattr(forecaster, "lookback") or not hasattr(forecaster, "with_params"):
        raise InputError(
            f"A sweep needs a forecaster with a lookback to change, such as LSTM(...), but {type(forecaster).__name__} "
            "has none."
        )
    for n in lookbacks:
        check_lookback(n)
    found = tuple(sorted({int(n) for n in lookbacks}))
    if len(found) < 2:
        raise InputError(f"A sweep compares at least 2 different lookbacks, was {list(lookbacks)}.")
    forecaster.with_params(lookback=found[0])
    return found


def _same_rows(widest: Any, bars: "Bars", cv: WalkForward) -> tuple[np.ndarray, np.ndarray, Folds]:
    """Return the outcomes, the cells at which the widest window is full and has one, and the folds over their rows."""
    target = target_of(widest)
    actual, label_end = np.asarray(target.compute(bars)), np.asarray(target.label_end(bars))
    judged = ready_cells(widest, bars) & np.isfinite(actual) & (label_end != NEVER)[:, None]
    return actual, judged, cv.split(bars.time, bars.dates, np.asarray(judged.any(axis=1)), label_end)


def _forecasts(
    models: list[Any],
    bars: "Bars",
    folds: Folds,
    pairs: list[tuple[Fold, np.ndarray]],
    seeds: int,
    threads: int | None,
    progress: Callable[[float], None] | None,
) -> tuple[list[Any], np.ndarray]:
    """Fit all models in all folds as one fleet; return their folds and (n_models, n_seeds, n_rows, n_symbols)."""
    jobs = [[[Job(bars, f, r, one) for one in copies(model, seeds)] for f, r in pairs] for model in models]
    tasks = [job for groups in jobs for group in groups for job in group]
    with ledger.current().inside():
        errors = dict(zip(map(id, tasks), fleet.run(tasks, threads, progress), strict=True))
    collected = [collect(folds, groups, errors)[:2] for groups in jobs]
    return [done for done, _ in collected], np.stack([values for _, values in collected])


def _on_common_cells(
    target: Any, bars: "Bars", rows: np.ndarray, actual: np.ndarray, judged: np.ndarray, told: np.ndarray
) -> dict[str, Any]:
    """Return what is compared, NaN wherever one lookback, one seed or one baseline says nothing."""
    told = np.where(judged[rows], told, np.nan)
    naive = {n: np.asarray(b)[rows] for n, b in information_free(target, bars).items()}
    common = np.logical_and.reduce([np.isfinite(told).all(axis=(0, 1)), *map(np.isfinite, naive.values())])
    return {
        "time": bars.time[rows],
        "forecasts": frozen(np.where(common, told, np.nan)),
        "actual": frozen(np.where(common, actual[rows], np.nan)),
        "reference": frozen(np.asarray(bars.adjusted("close"))[rows]),
        "baselines": {n: frozen(np.where(common, b, np.nan)) for n, b in naive.items()},
    }


def _remember(sweep: LookbackSweep, models: list[Any], bars: "Bars", cv: WalkForward, seeds: int) -> None:
    """Write every lookback into the ledger as a trial with its scores, and the test rows as looked at."""
    info = sweep.target.info
    for model, forecast in zip(models, sweep.forecasts.mean(axis=1), strict=True):
        configuration = {"forecaster": model.to_dict(), "cv": cv.to_dict(), "seeds": int(seeds)}
        case = Evidence(
            name=sweep.name,
            target=info,
            time=sweep.time,
            actual=sweep.actual,
            forecast=forecast,
            baselines=sweep.baselines,
            reference=sweep.reference,
            returns=next_returns(bars, sweep.time),
        )
        series, earned = scored(case)
        remember_trial("lookback_sweep", configuration, bars, sweep.time, info.kind, series, **earned)
    spans = [(fold.test_start, fold.test_end) for fold in sweep.folds]
    look("lookback_sweep", bars.symbols, spans, bars=bars.digest, closes=closes_at(bars, spans[0][0]))
