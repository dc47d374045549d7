"""A fit of an `Ensemble`: the fits of its members and, where weights are learned, of their early copies."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ..bars import require_bars
from ..errors import NotEnoughData, NotFitted
from .combining import LEARNED, Combination, diversity_of, learn, origin_of, samples_of
from .members import MemberFit, blaming
from .network import row_of

if TYPE_CHECKING:
    from ..bars import Bars


class EnsembleFitting:
    """The fits of all members, and of their early copies where weights are learned; all may run at the same time."""

    def __init__(self, model: Any, bars: "Bars", start: Any = None):
        require_bars(bars, "fit")
        self.model, self.bars, self.start = model, bars, start
        self.final = {n: MemberFit(_called(n), m, bars, start) for n, m in model.unfitted.items()}
        self.early: dict[str, MemberFit] = {}
        self.first_held = 0
        if model.combine in LEARNED:
            self.first_held = self._first_held_row()
            early = bars.until(int(bars.time[self.first_held - 1]))
            self.early = {n: MemberFit(_called(n), m, early, start) for n, m in model.unfitted.items()}

    def _first_held_row(self) -> int:
        """The first of the latest decision rows, on which weights are learned."""
        model, bars = self.model, self.bars
        cells = model.ready(bars) & np.isfinite(model.target.compute(bars))
        cells[: row_of(bars, self.start)] = False
        rows = np.flatnonzero(cells.any(axis=1))
        n_held = round(model.validation * len(rows))
        if n_held < 10 or n_held >= len(rows):
            raise NotEnoughData(
                f"validation={model.validation} of {len(rows)} decision rows leaves {n_held} to learn weights on; at "
                "least 10 are needed, and some to train before them. Load more bars, or use combine='mean'."
            )
        return int(rows[len(rows) - n_held])

    def parts(self) -> "list[MemberFit]":
        """Return the fits that are not done."""
        return [fit for fit in (*self.early.values(), *self.final.values()) if not fit.done]

    def step(self) -> bool:
        """Do one unit of work of one member; return True when all are done."""
        waiting = self.parts()
        if waiting:
            waiting[0].step()
        return not self.parts()

    @property
    def fraction(self) -> float:
        """How far along, from 0 to 1."""
        fits = [*self.early.values(), *self.final.values()]
        return sum(fit.fraction for fit in fits) / len(fits)

    @property
    def result(self) -> Any:
        """The fitted ensemble."""
        if self.parts():
            raise NotFitted("This fit is not done: call step() until it returns True.")
        model = self.model
        model.members_ = {name: fit.result for name, fit in self.final.items()}
        model.combination_, model.diversity_ = Combination.equal(model.combine, len(self.final)), None
        if self.early:
            self._learn_weights()
        histories = [h for m in model.members_.values() for h in getattr(m, "histories_", ())]
        if histories:
            model.histories_, model.history_ = histories, histories[0]  # type: ignore[attr-defined]
        return model

    def _learn_weights(self) -> None:
        model, bars, first = self.model, self.bars, self.first_held
        held = int(bars.time[first])
        said = []
        for name, fit in self.early.items():
            with blaming(_called(name)):
                said.append(fit.result.predict(bars, start=held).mean)
        outcome, origin = model.target.compute(bars)[first:], origin_of(model.target, bars, first)
        samples = samples_of(model.target, outcome, said, origin)
        if len(samples[0]) < 10:
            raise NotEnoughData(
                f"Weights need at least 10 outcomes that all members forecast, but only {len(samples[0])} of the "
                f"{len(outcome)} held-back rows have them. Load more bars, or use combine='mean'."
            )
        model.combination_ = learn(model.combine, *samples, model.shrinkage)
        model.diversity_ = diversity_of(list(self.early), model.combination_, model.target, outcome, said, origin)


def _called(name: str) -> str:
    """Return a member as errors call it."""
    return f"Member {name!r} of the ensemble"
