"""From forecasts to weights: policies size positions, limits bound them.

>>> from longshort import portfolio as p
>>> policy, limits = p.TopK(3, short=3), p.Limits(stop_loss=0.08)
"""

from .._lazy import attach

_EXPORTS: dict[str, str | None] = {  # public name -> where it is defined; None: a sub-module
    "EqualWeight": "policies",
    "IntervalAware": "wrappers",
    "Kelly": "sizing",
    "Limits": "risk",
    "LSTMPrior": "priors",
    "LongShort": "policies",
    "MeanVariance": "optimize",
    "MinVariance": "optimize",
    "Positions": "policies",
    "Quantiles": "policies",
    "RiskParity": "optimize",
    "RiskPerTrade": "sizing",
    "Rule": "rules",
    "Sign": "policies",
    "TopK": "policies",
    "VolatilityTarget": "wrappers",
    "as_policy": "rules",
    "effective_bets": "diversification",
    "efficient_frontier": "frontier",
    "expected_deviation": "reading",
    "expected_interval": "reading",
    "expected_returns": "reading",
    "fixed_fractional": "sizing",
    "kelly_criterion": "sizing",
    "view_of": "viewing",
    "volatility_based": "sizing",
}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
