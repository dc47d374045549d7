"""Reports: `tearsheet(study)` makes one self-contained HTML page; `demo` is the whole way from sample data to it."""

from .._lazy import attach

_EXPORTS: dict[str, str | None] = {
    "Outlook": "outlook",
    "Plot": "plots",
    "Tearsheet": "sheet",
    "cumulative_ic_plot": "study_plots",
    "demo": "showcase",
    "doctor": "machine",
    "frontier_plot": "frontier",
    "equity_plot": "result_plots",
    "importance_plot": "plots",
    "lookback_plot": "plots",
    "look_ahead": "outlook",
    "skill_plot": "study_plots",
    "tearsheet": "sheet",
    "training_history": "plots",
    "tuning_history": "plots",
    "verdict_plot": "study_plots",
}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
