"""Trading: one decision loop, a broker that simulates, and backtests that play stored forecasts through both."""

from .._lazy import attach

_EXPORTS: dict[str, str | None] = {  # public name -> where it is defined; None: a sub-module
    "BacktestResult": "result",
    "Broker": "broker",
    "Execution": "simulated",
    "History": "history",
    "Live": "history",
    "Recorded": "sources",
    "SimulatedBroker": "simulated",
    "Streamed": "sources",
    "Trader": "trader",
    "backtest": "backtesting",
    "load_strategy": "keeping",
    "play": "trader",
    "recording": None,
    "save_strategy": "keeping",
    "verify_strategy": "verifying",
}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
