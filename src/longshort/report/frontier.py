"""The efficient frontier of one rebalance as a plot: what could be chosen from, and what was."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, UnknownName
from .plots import Mark, Plot
from .svg import limits, nice_ticks

if TYPE_CHECKING:
    from ..portfolio.frontier import Frontier


def frontier_plot(frontier: "Frontier", chosen: Mapping[str, Any] | None = None) -> Plot:
    """Plot an efficient frontier with its symbols, the least risk, equal weights, and portfolios that were chosen.

    Parameters
    ----------
    frontier : Frontier
        As `portfolio.efficient_frontier` returns it, one a rebalance.
    chosen : mapping of str to (array (n_symbols,) or mapping of str to float), optional
        Weights by the name they are drawn with; a mapping gives them by symbol, those left out are zero.

    Returns
    -------
    Plot
        With ``save("frontier.svg")``, ``.html`` or ``.png``. Risk and return are predicted, not realised.

    Examples
    --------
    >>> from longshort import portfolio as p
    >>> from longshort.forecast import Forecast, TargetInfo
    >>> mean, covariance = np.array([[0.0002, 0.0006]]), np.diag([0.0001, 0.0004])[None]
    >>> said = Forecast(np.array([0]), ("A", "B"), mean, covariance=covariance, target=TargetInfo("return"))
    >>> plot = frontier_plot(p.efficient_frontier(said, points=5), {"mine": {"A": 0.5, "B": 0.5}})
    >>> [mark.name for mark in plot.marks if mark.name]
    ['frontier', 'mine']
    """
    named = {"1/N": np.full(len(frontier.symbols), 1.0 / len(frontier.symbols)), "least risk": frontier.weights[0]}
    given = {name: _by_symbol(frontier.symbols, weights, name) for name, weights in (chosen or {}).items()}
    tips = [f"{s}: {_said(r, g)}" for s, r, g in zip(frontier.symbols, frontier.deviation, frontier.mean, strict=True)]
    marks = [
        Mark("dots", frontier.deviation, frontier.mean, "s-soft", tips=tips),
        Mark("line", frontier.risk, frontier.gain, "s-model", "frontier", "thick"),
    ]
    for name, weights in (named | given).items():
        risk, gain = frontier.at(weights)
        role = "s-actual" if name in given else "s-naive"
        label = name if name in given else ""
        marks.append(
            Mark("dots", np.array([risk]), np.array([gain]), role, label, tips=[f"{name}: {_said(risk, gain)}"])
        )
    across = limits(*(mark.x for mark in marks), pad=0.03)
    ticks = [(at, f"{at:.1%}" if across[1] - across[0] < 0.05 else f"{at:.0%}") for at in nice_ticks(*across, 7)]
    least = _said(*frontier.at(frontier.weights[0]))
    note = f"Predicted at the decision, a year. Least risk: {least}. Grey: single symbols; amber: least risk, 1/N."
    return Plot(_title(frontier), note, marks, "risk: standard deviation", "return", ticks, "{:.1%}".format)


def _title(frontier: "Frontier") -> str:
    title = f"Efficient frontier of {len(frontier.symbols)} symbols"
    if frontier.time is None:
        return title
    return f"{title}, {np.datetime64(frontier.time, 'ns').astype('datetime64[D]')}"


def _said(risk: float, gain: float) -> str:
    return f"risk {risk:.1%}, return {gain:+.1%}"


def _by_symbol(symbols: tuple[str, ...], weights: Any, name: str) -> np.ndarray:
    if isinstance(weights, Mapping):
        unknown = [s for s in weights if s not in symbols]
        if unknown:
            raise UnknownName(f"{name!r} has weights for {', '.join(unknown[:5])}, which the frontier does not know.")
        weights = [weights.get(s, 0.0) for s in symbols]
    found = np.asarray(weights, np.float64)
    if found.shape != (len(symbols),) or not np.isfinite(found).all():
        raise InputError(
            f"{name!r} must have one finite weight for each of the {len(symbols)} symbols, was {weights!r}."
        )
    return found
