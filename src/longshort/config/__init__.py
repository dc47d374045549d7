"""A study as a text file, and the folder its results live in.

::

    runs/aapl/
        study.toml        what was asked: data, model, walk-forward, policy, limits, costs
        origin            the file it was copied from, which alone may replace it
        study/            what came out (an artifact: hashed, no pickle)
        backtest/         the policy and the limits played over it
        strategy/         fitted on all bars, with its model card: what `load_strategy` opens
        tuned/            the model with arguments chosen by `tune`, tuning.html its trials
        ledger.jsonl      every configuration tried in this folder; study/ names its last record
        report.html       the page to look at

`study.toml` names public things by their short names and passes keywords; it holds no code and no import paths. A key
nobody knows is refused with the nearest name.
"""

from .._lazy import attach

_EXPORTS: dict[str, str | None] = {  # public name -> where it is defined; None: a sub-module
    "Config": "study_file",
    "Run": "runs",
    "init": "study_file",
    "load_config": "study_file",
    "open_run": "runs",
    "parse": "study_file",
    "preset": "tables",
    "referee_file": "predictions",
    "start_run": "runs",
    "template": "study_file",
}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
