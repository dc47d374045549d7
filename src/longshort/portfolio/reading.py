"""What a forecast says about returns: expected return, deviation and interval of one decision.

Policies and optimisers never look at raw forecasts. They ask here, and get simple returns per bar whatever the model
was trained on: log returns are turned into simple ones, an outcome over h bars is shared among its bars. A probability
that prices rise says nothing about by how much, so it counts only for rules that need no more than an order (`scores`).
"""

import math
from statistics import NormalDist

import numpy as np

from ..errors import InputError, UnknownName, did_you_mean
from ..forecast import ForecastRow, TargetInfo

RETURNS = ("return", "log_return")
SCORES = ("direction", "move", "barrier")


def expected_returns(row: ForecastRow, *, scores: bool = False) -> np.ndarray:
    """Return the expected simple return of every symbol over the next bar.

    Parameters
    ----------
    row : ForecastRow
        The forecasts of one decision. Log returns become simple ones, ``exp(m) - 1``, and returns over h bars the
        constant return that compounds to them. Half the variance, by which a mean lies above that, is left out.
    scores : bool, default=False
        Accept directions, moves and barriers too, as the probability of up minus that of down, in [-1, 1]. That orders
        symbols and has a sign; it is not a return.

    Returns
    -------
    float array (n_symbols,)
        NaN (or not finite) where the model said nothing usable.

    Raises
    ------
    InputError
        For forecasts of prices or volatilities, for scores that were not asked for, and for forecasts that do not say
        what they predict.

    Examples
    --------
    >>> import numpy as np
    >>> from longshort.forecast import Forecast, TargetInfo
    >>> week = Forecast(np.arange(1), ("AAPL",), [[0.05]], target=TargetInfo("log_return", 5))
    >>> expected_returns(week.row(0)).round(4)
    array([0.0101])
    >>> rise = Forecast(np.arange(1), ("AAPL",), [[0.55]], target=TargetInfo("direction"))
    >>> expected_returns(rise.row(0), scores=True).round(4)
    array([0.1])
    >>> expected_returns(rise.row(0))
    Traceback (most recent call last):
    ...
    longshort.errors.InputError: This policy sizes by expected returns, and the model forecasts the direction over the
    next bar. Use LongShort, Sign, TopK or Quantiles, or train on forward_log_return(1).
    """
    target = target_of_row(row)
    if target.kind == "log_return":
        return _simple(row.mean if target.horizon == 1 else row.mean / target.horizon)
    if target.kind == "return":
        return row.mean if target.horizon == 1 else _per_bar(row.mean, target.horizon)
    if scores:
        return _score(row, target)
    raise InputError(
        f"This policy sizes by expected returns, and the model forecasts the {target}. Use LongShort, Sign, TopK or "
        f"Quantiles, or train on forward_log_return({target.horizon})."
    )


def target_of_row(row: ForecastRow) -> TargetInfo:
    """Return what a row forecasts; prices, volatilities and the unknown raise `InputError`."""
    target = row.target
    if target is None:
        raise InputError(
            "The forecasts do not say what they predict, so nothing can be sized by them. Make them with "
            "Forecast(..., target=TargetInfo('return'))."
        )
    if target.kind in RETURNS or target.kind in SCORES:
        return target
    raise InputError(
        f"Positions are sized by returns, and the model forecasts the {target}. "
        f"Train it on returns: target=forward_log_return({target.horizon})."
    )


def _simple(log_return: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.expm1(log_return) + 0.0 * log_return  # minus infinity is NaN, not a loss of all


def _per_bar(total: np.ndarray, horizon: int) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):  # below -100 %: NaN, which holds
        return np.expm1(np.log1p(total) / horizon)


def _score(row: ForecastRow, target: TargetInfo) -> np.ndarray:
    chances = row.probabilities or {}
    if target.kind == "direction":
        return 2.0 * chances.get(1.0, row.mean) - 1.0
    return chances[1.0] - chances[-1.0] if 1.0 in chances and -1.0 in chances else row.mean


def expected_deviation(row: ForecastRow) -> np.ndarray | None:
    """Return the forecast standard deviation of one bar's return, (n_symbols,); None where the model gives none.

    Over h bars it grows with the root of h, as it does where returns are independent.

    Examples
    --------
    >>> import numpy as np
    >>> from longshort.forecast import Forecast, TargetInfo
    >>> week = Forecast(np.arange(1), ("AAPL",), [[0.05]], std=[[0.04]], target=TargetInfo("return", 4))
    >>> expected_deviation(week.row(0))
    array([0.02])
    """
    if row.std is None or row.target is None or row.target.kind not in RETURNS:
        return None
    return row.std if row.target.horizon == 1 else row.std / math.sqrt(row.target.horizon)


def expected_interval(row: ForecastRow, coverage: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower and upper end of the simple return over the whole horizon, each (n_symbols,).

    Quantiles count before deviations, so intervals of `models.Conformal` are taken as they are.

    Parameters
    ----------
    row : ForecastRow
        With `quantiles` or `std`.
    coverage : float, optional
        Share of outcomes inside, interpolated between the levels forecast. The narrowest pair of levels when not given,
        and one deviation to either side where there are no quantiles.

    Examples
    --------
    >>> import numpy as np
    >>> from longshort.forecast import Forecast, TargetInfo
    >>> f = Forecast(np.arange(1), ("A",), [[0.01]], quantiles={0.1: [[-0.01]], 0.9: [[0.03]]}, std=[[0.02]],
    ...              target=TargetInfo("return"))
    >>> [float(end[0]) for end in expected_interval(f.row(0))]
    [-0.01, 0.03]
    """
    target = target_of_row(row)
    if target.kind in SCORES:
        raise InputError(f"An interval of returns was wanted, and the model forecasts the {target}.")
    low, high = _ends(row, coverage)
    if target.kind == "log_return":
        return _simple(low), _simple(high)
    return low, high


def _ends(row: ForecastRow, coverage: float | None) -> tuple[np.ndarray, np.ndarray]:
    levels = sorted(row.quantiles or ())
    pairs = [(q, r) for q in levels for r in levels if q < 0.5 < r and math.isclose(q + r, 1.0)]
    if pairs and row.quantiles is not None:
        if coverage is None:
            low, high = max(pairs)
            return row.quantiles[low], row.quantiles[high]
        below, above = (1.0 - coverage) / 2.0, (1.0 + coverage) / 2.0
        return _quantile(row, levels, below), _quantile(row, levels, above)
    if row.std is not None:
        reach = 1.0 if coverage is None else NormalDist().inv_cdf((1.0 + coverage) / 2.0)
        return row.mean - reach * row.std, row.mean + reach * row.std
    raise InputError(
        "Sizing by intervals needs a forecast with quantiles or a standard deviation: train with loss='quantile' or "
        "loss='gaussian', or wrap the model in models.Conformal."
    )


def _quantile(row: ForecastRow, levels: list[float], wanted: float) -> np.ndarray:
    """Interpolate between the levels of a row; beyond them nothing is known."""
    values = row.quantiles or {}
    for low, high in zip(levels, levels[1:], strict=False):
        if low - 1e-9 <= wanted <= high + 1e-9:
            share = (wanted - low) / (high - low)
            return values[low] * (1.0 - share) + values[high] * share
    raise UnknownName(
        f"Quantile {wanted:.3g} was wanted, and the forecast has those from {levels[0]:.3g} to {levels[-1]:.3g}. "
        f"{did_you_mean(f'{wanted:.3g}', [f'{level:.3g}' for level in levels])} Choose a coverage inside."
    )
