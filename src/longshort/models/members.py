"""The fit of one member of something larger: in steps or in one, its failure named after it."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..errors import LongshortError, TrainingError
from ..forecast import FitsInSteps
from . import fleet
from .fits import part_of_a_fit

if TYPE_CHECKING:
    from ..bars import Bars


class MemberFit:
    """The fit of one member, in its steps or in one; a failure names the member."""

    def __init__(self, who: str, forecaster: Any, bars: "Bars", start: Any):
        self.who, self.forecaster, self.bars, self.start = who, forecaster, bars, start
        self.fitting: Any = None
        self.done = False
        self.result: Any = None

    @property
    def fraction(self) -> float:
        """How far along, from 0 to 1."""
        return 1.0 if self.done else float(getattr(self.fitting, "fraction", 0.0))

    def parts(self) -> "list[NamedPart]":
        """Return the trainings that may run at the same time before the next `step`."""
        parts = self.fitting.parts() if isinstance(self.fitting, fleet.Parted) else ()
        return [NamedPart(self.who, part) for part in parts]

    def step(self) -> bool:
        """Do one unit of work; return True when the member is fitted."""
        with blaming(self.who):
            if not isinstance(self.forecaster, FitsInSteps):
                with part_of_a_fit():
                    self.result = self.forecaster.fit(self.bars, start=self.start)
            elif self.fitting is None:
                self.fitting = self.forecaster.fitting(self.bars, self.start)
                return False
            elif not self.fitting.step():
                return False
            else:
                self.result = self.fitting.result
        self.done, self.fitting = True, None
        return True


class NamedPart:
    """A part of a member's fit."""

    def __init__(self, who: str, task: Any):
        self.who, self.task = who, task

    def parts(self) -> "list[NamedPart]":
        """Return the part's own parts."""
        parts = self.task.parts() if isinstance(self.task, fleet.Parted) else ()
        return [NamedPart(self.who, part) for part in parts]

    def step(self) -> bool:
        """Advance; return True when done."""
        with blaming(self.who):
            return self.task.step()


@contextlib.contextmanager
def blaming(who: str) -> Iterator[None]:
    """Say who failed, in an error of the same class where it is one of ours; nothing where `who` is empty."""
    try:
        yield
    except Exception as error:
        if not who:
            raise
        kind = type(error) if isinstance(error, LongshortError) else TrainingError
        raise kind(f"{who} failed: {error}") from error
