"""How many bets a portfolio really is."""

import math

import numpy as np

from ..errors import InputError


def effective_bets(weights: np.ndarray, covariance: np.ndarray | None = None) -> float:
    """Return the effective number of bets: n for n equal and independent positions, 1 for a single one, 0 for none.

    Without a covariance it is the inverse Herfindahl index of the absolute weights. With one, the variance is split
    among uncorrelated sources, the principal portfolios, and the number is the exponential of the entropy of the shares
    (Meucci, 2009), so that two positions in what moves as one count as one bet.

    Parameters
    ----------
    weights : float array (n_symbols,)
        Of the positions, any scale; NaN is none.
    covariance : float array (n_symbols, n_symbols), optional
        Of the returns; only what it says of the symbols held counts.

    Examples
    --------
    >>> effective_bets([0.25, -0.25, 0.25, 0.25])
    4.0
    >>> round(effective_bets([0.5, 0.5], [[1.0, 0.999], [0.999, 1.0]]), 2)
    1.0
    """
    weights = np.nan_to_num(np.asarray(weights, dtype=np.float64), nan=0.0)
    if weights.ndim != 1 or not np.isfinite(weights).all():
        raise InputError(f"effective_bets needs finite weights of shape (n_symbols,), had shape {weights.shape}.")
    if covariance is None:
        squares = math.fsum((weights * weights).tolist())
        return math.fsum(np.abs(weights).tolist()) ** 2 / squares if squares > 0 else 0.0
    covariance = np.asarray(covariance, dtype=np.float64)
    if covariance.shape != (len(weights),) * 2:
        raise InputError(f"A covariance of shape {(len(weights),) * 2} was expected, this one had {covariance.shape}.")
    held = weights != 0.0
    weights, covariance = weights[held], covariance[np.ix_(held, held)]
    if not np.isfinite(covariance).all():
        raise InputError("effective_bets needs a finite covariance of the symbols held.")
    variances, portfolios = np.linalg.eigh(covariance)
    parts = np.maximum(variances, 0.0) * (portfolios.T @ weights) ** 2
    if parts.sum() <= 0:
        return 0.0
    shares = parts[parts > 0] / parts.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
