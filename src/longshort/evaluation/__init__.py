"""Evaluation: walk forward, compare with what needs no model, say what is proved."""

from .._lazy import attach

_EXPORTS: dict[str, str | None] = {  # public name -> where it is defined; None: a sub-module
    "Audit": "leaks",
    "CombinatorialPurged": "combinatorial",
    "Evidence": "evidence",
    "Finding": "leaks",
    "Fold": "splits",
    "Study": "study",
    "Tuned": "tuning",
    "Verdict": "evidence",
    "LookbackSweep": "sweep",
    "WalkForward": "splits",
    "audit": "leaks",
    "judge": "verdict",
    "lookback_sweep": "sweep",
    "cross_validate": "combinatorial",
    "referee": "outsiders",
    "selection": None,
    "statistics": None,
    "tune": "tuning",
    "walk_forward": "study",
    "zoo": None,
}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
