"""Features that cannot look ahead, targets that do, and the windows between them and a model.

>>> from longshort import features as f
>>> inputs = f.FeatureSet([f.log_return(), f.rsi(14), f.field("close") / f.sma(50) - 1])
>>> inputs.names
('log_return_1', 'rsi_14', 'close / sma_50 - 1')

Expressions and sets are in `expressions`, the indicators in `indicators`, what may be predicted in `targets`.
"""

from .._lazy import attach

_EXPORTS: dict[str, str | None] = {  # public name -> where it is defined
    "Bollinger": "indicators",
    "Feature": "expressions",
    "FeatureSet": "expressions",
    "Macd": "indicators",
    "Stepper": "expressions",
    "Stochastic": "indicators",
    "Target": "targets",
    "atr": "indicators",
    "beta": "indicators",
    "bollinger": "indicators",
    "calendar": "indicators",
    "causal": "expressions",
    "const": "expressions",
    "correlation": "indicators",
    "covariance": "indicators",
    "ema": "indicators",
    "ema_ratio": "indicators",
    "field": "expressions",
    "forward_barrier": "targets",
    "forward_close": "targets",
    "forward_direction": "targets",
    "forward_log_return": "targets",
    "forward_move": "targets",
    "forward_return": "targets",
    "forward_volatility": "targets",
    "log_return": "indicators",
    "macd": "indicators",
    "momentum": "indicators",
    "obv": "indicators",
    "roc": "indicators",
    "rsi": "indicators",
    "simple_return": "indicators",
    "sma": "indicators",
    "sma_ratio": "indicators",
    "spread": "indicators",
    "stochastic": "indicators",
    "technical": "indicators",
    "true_range": "indicators",
    "tutorial": "indicators",
    "volatility": "indicators",
    "volume_ratio": "indicators",
    "where": "expressions",
}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
