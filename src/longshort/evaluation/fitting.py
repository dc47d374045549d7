"""The work of a walk-forward: one job per fold and model, run together as a fleet; a failure stays in its fold."""

import copy
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, SealedRows
from ..forecast import FitsInSteps, Forecaster, Seeded
from ..models import fleet
from ..models.fits import part_of_a_fit
from ..models.network import upcoming
from .splits import Fold, Folds

if TYPE_CHECKING:
    from ..bars import Bars

log = logging.getLogger(__name__)


class Job:
    """Fit one copy on one fold and forecast its test rows; steps as the fit does, holds nothing afterwards."""

    def __init__(self, bars: "Bars", fold: Fold, rows: np.ndarray, forecaster: Forecaster):
        self.bars, self.fold, self.rows = bars, fold, rows
        self.forecaster: Any = forecaster
        self.fitting: Any = None
        self.values: np.ndarray | None = None  # (n_seeds, n_rows, n_symbols)
        self.extras: dict[str, np.ndarray] = {}  # what the forecast says beside its mean, (n_rows, n_symbols) each
        self.histories: list[Any] = [None]
        self.choice: dict[str, Any] | None = None  # what a tuned forecaster chose
        self._done = 0.0

    @property
    def fraction(self) -> float:
        """How far along, from 0 to 1."""
        return self._done if self.fitting is None else float(getattr(self.fitting, "fraction", 0.0))

    def parts(self) -> Sequence[Any]:
        """Return the trainings that may run at the same time before the next `step`."""
        return self.fitting.parts() if isinstance(self.fitting, fleet.Parted) else ()

    def step(self) -> bool:
        """Do one unit of work; return True when the forecasts are there."""
        if isinstance(self.forecaster, FitsInSteps):
            if self.fitting is None:
                self.fitting = self.forecaster.fitting(self._seen(), start=self.fold.train_start)
                return False
            if not self.fitting.step():
                return False
            fitted = self.fitting.result
        else:
            with part_of_a_fit():
                fitted = self.forecaster.fit(self._seen(), start=self.fold.train_start)
        self.values = self._predict(fitted)
        self.histories = list(getattr(fitted, "histories_", [getattr(fitted, "history_", None)]))
        self.choice = getattr(fitted, "choice_", None)
        self._done, self.fitting, self.forecaster = 1.0, None, None
        return True

    @property
    def left(self) -> dict[str, Any]:
        """What the job leaves when it is done."""
        return {name: getattr(self, name) for name in ("values", "extras", "histories", "choice")}

    @left.setter
    def left(self, found: Mapping[str, Any]) -> None:
        for name, value in found.items():
            setattr(self, name, value)
        self._done, self.fitting, self.forecaster = 1.0, None, None

    def _seen(self) -> "Bars":
        seen = self.bars.until(self.fold.train_end)
        if not seen.time[-1] == self.fold.train_end < self.fold.test_start:
            raise SealedRows(
                f"A model would see bars up to {seen.time[-1]}, but its test begins at {self.fold.test_start}."
            )
        return seen

    def _predict(self, fitted: Any) -> np.ndarray:
        bars = self.bars.until(self.fold.test_end)
        first = int(self.rows[0])
        wanted = self.rows - first
        said = fitted.predict(bars, start=self.fold.test_start)
        values = np.asarray(said.mean)[None]
        if isinstance(fitted, FitsInSteps):
            values = np.asarray(fitted.predict_seeds(bars, start=self.fold.test_start))
        expected = (len(bars) - first, len(bars.symbols))
        if values.shape[1:] != expected:
            raise InputError(
                f"{type(fitted).__name__}.predict must return one row for each of the {expected[0]} bars from start on "
                f"and {expected[1]} symbols, was {values.shape[1:]}."
            )
        self.extras = {name: part[wanted] for name, part in said.extras().items()}
        return values[:, wanted]


def load_calendar(bars: "Bars", horizon: int) -> None:
    """Load the exchange's calendar before threads ask for it: building it changes warning filters of the process."""
    upcoming(bars, horizon)


def copies(forecaster: Forecaster, seeds: int) -> list[Any]:
    """Return unfitted copies: one that trains all seeds itself, one per seed, or just one."""
    if isinstance(forecaster, FitsInSteps):
        return [forecaster.with_seeds(seeds)]
    if isinstance(forecaster, Seeded):
        return [forecaster.with_seed(forecaster.seed + i) for i in range(seeds)]
    return [copy.deepcopy(forecaster)]


def collect(folds: Folds, groups: list[list[Job]], errors: Mapping[int, Exception | None]):
    """Return folds with their failures, values (n_seeds, n_rows, n_symbols), extras, and histories per fold."""
    done, values, histories, first_error = [], [], [], None
    for fold, group in zip(folds, groups, strict=True):
        error = next((e for job in group if (e := errors[id(job)]) is not None), None)
        if error is None:
            values.append(np.concatenate([job.values for job in group if job.values is not None]))
            histories.append([h for job in group for h in job.histories])
            done.append(fold)
        else:
            log.warning("fold %d failed: %s: %s", fold.number, type(error).__name__, error)
            first_error = first_error or error
            values.append(None)
            histories.append([])
            done.append(fold.failed(f"{type(error).__name__}: {error}"))
    known = [v for v in values if v is not None]
    if not known:
        assert first_error is not None
        raise first_error
    n_seeds, _, n_symbols = known[0].shape
    filled = [
        np.full((n_seeds, f.n_test, n_symbols), np.nan) if v is None else v for f, v in zip(folds, values, strict=True)
    ]
    return tuple(done), frozen(np.concatenate(filled, axis=1)), _extras(groups), histories


def _extras(groups: list[list[Job]]) -> dict[str, np.ndarray]:
    """Return what the forecasts say beside their means; of models with one copy a seed, nothing can be joined."""
    if any(len(group) > 1 for group in groups):
        return {}
    jobs = [group[0] for group in groups]
    shapes = {name: part.shape[1:] for job in jobs for name, part in job.extras.items()}
    return {
        name: frozen(np.concatenate([job.extras.get(name, np.full((len(job.rows), *shape), np.nan)) for job in jobs]))
        for name, shape in shapes.items()
    }


def rival_values(name: str, jobs: list[Job], errors: Mapping[int, Exception | None]) -> np.ndarray:
    """Return a challenger's forecasts (n_rows, n_symbols), NaN for folds it failed in."""
    parts = []
    for job in jobs:
        if (error := errors[id(job)]) is not None:
            log.warning("challenger %s failed in fold %d: %s", name, job.fold.number, error)
        missing = np.full((len(job.rows), len(job.bars.symbols)), np.nan)
        parts.append(missing if job.values is None else job.values.mean(axis=0))
    return frozen(np.concatenate(parts))


def frozen(array: np.ndarray) -> np.ndarray:
    array = np.ascontiguousarray(array)
    array.setflags(write=False)
    return array
