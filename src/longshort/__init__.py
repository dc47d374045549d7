"""Long Short-Term Memory forecasting for going long and short.

>>> import longshort as ls
>>> bars = ls.load_bars("AAPL", start="2015-01-01", end="2020-12-31", source="sample")
>>> lstm = ls.LSTM(features=ls.features.technical(), lookback=60, hidden=(50, 50), dropout=0.2, seed=0)
>>> cv = ls.WalkForward(train="2Y", test="1Y")

`walk_forward(lstm, bars, cv)` then gives a study whose `verdict()` says whether the forecasts beat the naive ones, and
`tearsheet(study)` writes it down. Everything is loaded on first use: see the table below.
"""

from ._lazy import attach

__version__ = "0.1.0"

_EXPORTS: dict[str, str | None] = {  # public name -> where it is defined; None: a sub-module
    "BacktestResult": "trading",
    "Bars": "bars",
    "Costs": "orders",
    "Forecast": "forecast",
    "LSTM": "models",
    "Limits": "portfolio",
    "LongShort": "portfolio",
    "Strategy": "strategy",
    "Study": "evaluation",
    "Tuned": "evaluation",
    "Verdict": "evaluation",
    "WalkForward": "evaluation",
    "audit": "evaluation",
    "backtest": "trading",
    "check": "data",
    "clean": "data",
    "data": None,
    "errors": None,
    "evaluation": None,
    "features": None,
    "interop": None,
    "ledger": None,
    "load_bars": "data",
    "load_strategy": "trading",
    "metrics": None,
    "models": None,
    "orders": None,
    "portfolio": None,
    "project": "ledger",
    "referee": "evaluation",
    "report": None,
    "save_strategy": "trading",
    "tearsheet": "report",
    "trading": None,
    "tune": "evaluation",
    "walk_forward": "evaluation",
}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
