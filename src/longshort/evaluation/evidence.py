"""What goes into a judgement and what comes out: out-of-sample forecasts beside outcomes, and the verdict on them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from ..forecast import TargetInfo
from .scores import Scores
from .wording import remarks

if TYPE_CHECKING:
    import pandas as pd

EDGE, NO_EVIDENCE = 0, 3


@dataclass(frozen=True, eq=False)
class Evidence:
    """Out-of-sample forecasts beside what happened and what others would have said; arrays (n_rows, n_symbols).

    Parameters
    ----------
    name : str
        What the model is called in the sentence.
    target : TargetInfo
        What is forecast.
    time : int64 array (n_rows,)
        Decision times; years come from it.
    actual, forecast : arrays
        NaN where there is none; a cell counts where all of actual, forecast and baselines are finite.
    baselines : mapping of str to array
        Information-free forecasts. They decide.
    reference : array, optional
        Last price known at each decision; needed for price forecasts.
    challengers : mapping of str to array
        Simple fitted models. They comment.
    seeds : array (n_seeds, n_rows, n_symbols), optional
        Forecasts of the single seeds.
    fold : int array (n_rows,), optional
        Number of the fold of each row.
    last_value : array, optional
        The latest known value of the target at each decision: what a volatility's rise or fall is measured from.
    returns : array, optional
        Simple return of each symbol from the decision to the next bar: what following the forecasts would have earned.
    quantiles : mapping of float to array, optional
        Forecast quantiles in units of the target; `std`, predicted deviations, does for a normal distribution.
    trials, trials_where, trial_sharpes
        How many configurations were tried, where that was counted, and the Sharpe ratios per bar they left.
    tried, planned : int
        Configurations tried on rows that overlap these, and how many there will be: they share the level of the test.
    others : callable
        Returns the score series of the other configurations tried on these rows; asked when details are read.
    reads : int
        How often these test rows have been looked at, this time included.
    failures : tuple of str
        Reasons of failed folds.
    dated : bool
        Whether `time` is known or only the order.

    Examples
    --------
    >>> from longshort.evaluation import judge
    >>> rng = np.random.default_rng(0)
    >>> outcome = rng.normal(size=(500, 1))
    >>> case = Evidence(
    ...     name="a hunch",
    ...     target=TargetInfo("return"),
    ...     time=np.arange(500),
    ...     actual=outcome,
    ...     forecast=0.3 * outcome + rng.normal(size=(500, 1)),
    ...     baselines={"zero": np.zeros((500, 1))},
    ...     dated=False,
    ... )
    >>> print(judge(case).sentence.split("(")[0])
    Edge: on 500 out-of-sample rows a hunch knew more about the return over the next bar than zero
    """

    name: str
    target: TargetInfo
    time: np.ndarray
    actual: np.ndarray
    forecast: np.ndarray
    baselines: Mapping[str, np.ndarray]
    symbols: tuple[str, ...] = ("series",)
    reference: np.ndarray | None = None
    challengers: Mapping[str, np.ndarray] = field(default_factory=dict)
    seeds: np.ndarray | None = None
    fold: np.ndarray | None = None
    last_value: np.ndarray | None = None
    returns: np.ndarray | None = None
    quantiles: Mapping[float, np.ndarray] | None = None
    std: np.ndarray | None = None
    trials: int = 1
    trials_where: str = "this process"
    trial_sharpes: tuple[float, ...] = ()
    tried: int = 1
    planned: int = 0
    others: Callable[[], Sequence[Scores]] = tuple
    reads: int = 1
    failures: tuple[str, ...] = ()
    dated: bool = True


@dataclass(frozen=True, eq=False)
class Verdict:
    """What an out-of-sample study proves.

    Parameters
    ----------
    exit_code : int
        0 edge, 3 no evidence.
    sentence : str
        The answer in plain words, with its numbers.
    found : mapping
        What decides: benchmarks, information coefficient, challengers, power, what was tried.
    more : callable, optional
        Returns the rest of the details; called when they are first looked at.

    Examples
    --------
    >>> from longshort.evaluation import referee
    >>> rng = np.random.default_rng(1)
    >>> verdict = referee(y_true=rng.normal(size=1000), y_pred=rng.normal(size=1000))
    >>> verdict.exit_code, verdict.edge, sorted(verdict.details["benchmarks"])
    (3, False, ['expanding_mean', 'zero'])
    >>> print(verdict.sentence.split(":")[0])
    No evidence
    """

    exit_code: int
    sentence: str
    found: Mapping[str, Any]
    more: Callable[[], Mapping[str, Any]] = dict

    @cached_property
    def details(self) -> dict[str, Any]:
        """Everything behind the sentence, JSON-able: benchmarks, skill by fold and year, calibration, seeds, money."""
        return _jsonable({**self.found, **self.more()})

    @property
    def edge(self) -> bool:
        """Whether the model passed."""
        return self.exit_code == EDGE

    @property
    def table(self) -> "pd.DataFrame":
        """One row a forecast: errors, skill against the best naive forecast, tests of the model against the row."""
        import pandas as pd

        frame = pd.DataFrame.from_dict(self.details["table"], orient="index")
        return frame.dropna(axis=1, how="all")

    @property
    def shown(self) -> str:
        """The table as text."""
        return str(self.table.to_string(float_format=lambda v: f"{v:.4g}"))

    @property
    def remarks(self) -> list[str]:
        """All forecasts compared, what following them earned, the order of the symbols, coverage, power."""
        return remarks(self.details)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a JSON-able mapping."""
        return {"exit_code": self.exit_code, "sentence": self.sentence, "details": self.details}

    def __str__(self) -> str:
        return self.sentence

    def __repr__(self) -> str:
        return "\n".join([self.sentence, "", self.shown, *(["", *self.remarks] if self.remarks else [])])

    def _repr_html_(self) -> str:
        import html

        table = self.table.to_html(float_format=lambda v: f"{v:.4g}", border=0)
        notes = "".join(f"<p>{html.escape(line)}</p>" for line in self.remarks)
        return f"<p><b>{html.escape(self.sentence)}</b></p>{table}{notes}"


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _jsonable(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(v) for v in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if isfinite(value) else None
    return value
