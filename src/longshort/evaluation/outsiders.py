"""Forecasts made elsewhere: `referee` judges them in one line, with the tests a study gets."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import ledger
from ..errors import InputError, NotEnoughData
from ..forecast import TargetInfo
from ..models.fits import digest_of_values, require_not_chosen_on
from .evidence import Evidence, Verdict
from .remembering import look, series_of, sharpes
from .verdict import judge, scored

FEWEST = 30


def referee(y_true: ArrayLike, y_pred: ArrayLike, prices: ArrayLike | None = None, horizon: int = 1) -> Verdict:
    """Judge forecasts somebody else made, with the same tests as `Study.verdict`.

    Parameters
    ----------
    y_true, y_pred : arrays, Series or frames (n_rows,) or (n_rows, n_symbols)
        Outcomes and forecasts, in order of time, out of sample. Two pandas objects are aligned by their index, frames
        of several columns also by the names of these. NaN rows do not count.
    prices : array, optional
        When y are price levels: the last price known at each forecast, aligned by its index like y_pred. Without it,
        positive values that hardly change from row to row are taken for levels (prices, or a volatility), and the last
        known one is ``y_true`` `horizon` rows earlier; the first `horizon` rows are then not judged.
    horizon : int, default=1
        Rows from a forecast to its outcome. Overlapping outcomes need it: 5-day returns every day have ``horizon=5``.

    Returns
    -------
    Verdict
        Judged against zero and the mean so far (returns), or the last value and its drift (levels). With dated
        `prices` and one bar ahead they are also followed, as in `Study.verdict`: Sharpe ratio deflated by the ledger,
        break-even cost.

    Notes
    -----
    The referee cannot see how forecasts were made. A model that was fitted, scaled or chosen on these rows passes
    unjustly, unless `models.training.fit_net` stopped early on these very outcomes: then this raises `SealedRows`. Each
    different pair of outcomes and forecasts counts as one trial in the ledger, and outcomes that begin or end with the
    same 30 rows share the level of the test.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> forecast = rng.normal(size=2000)
    >>> outcome = 0.1 * forecast + rng.normal(size=2000)
    >>> referee(outcome, 0.1 * forecast).exit_code, referee(rng.normal(size=2000), forecast).exit_code
    (0, 3)

    The classic trap: repeating the last price has a splendid R2 and no value.

    >>> price = 100 * np.exp(np.cumsum(0.01 * rng.normal(size=2000)))
    >>> verdict = referee(price[1:], price[:-1])
    >>> verdict.details["r2"]["forecast"] > 0.98, verdict.exit_code
    (True, 3)
    """
    actual, forecast, time, symbols, dated = _aligned(y_true, y_pred)
    if isinstance(horizon, bool) or not isinstance(horizon, int | np.integer) or horizon < 1:
        raise InputError(f"horizon must be a whole number of rows of at least 1, was {horizon!r}.")
    n = int(np.sum((np.isfinite(actual) & np.isfinite(forecast)).any(axis=1)))
    if n < FEWEST:
        raise NotEnoughData(f"A verdict needs at least {FEWEST} rows with outcome and forecast, but there are {n}.")
    reference = None if prices is None else _matrix("prices", _beside(prices, y_true, y_pred))
    if reference is not None and reference.shape != actual.shape:
        raise InputError(f"prices must have the shape of y_true, {actual.shape}, was {reference.shape}.")
    if reference is not None and (wrong := int((reference <= 0).sum())):
        raise InputError(
            f"prices must be above 0, but {wrong:,} of {reference.size:,} are not. Give NaN where unknown."
        )
    if reference is None and looks_like_level(actual):
        reference = np.full(actual.shape, np.nan)
        reference[horizon:] = actual[:-horizon]
    change = None if reference is None else actual / reference - 1.0
    if change is None or reference is None:
        info = TargetInfo("return", int(horizon))
        alive = np.where(np.isfinite(actual), 0.0, np.nan)
        baselines = {"zero": alive, "expanding_mean": alive + _mean_so_far(actual, int(horizon))}
    else:
        info = TargetInfo("close", int(horizon))
        baselines = {"last": reference, "drift": reference * (1.0 + _mean_so_far(change, int(horizon)))}
    case = Evidence(
        name="the forecast",
        target=info,
        time=time,
        actual=actual,
        forecast=forecast,
        baselines=baselines,
        symbols=symbols,
        reference=reference,
        returns=change if prices is not None and horizon == 1 else None,  # other levels may be no prices
        dated=dated,
    )
    return judge(replace(case, **_remember(case, n)))


def _remember(case: Evidence, n: int) -> dict[str, Any]:
    """Record the forecast as a trial and the look at its outcomes; return what is known of others on the same ones."""
    require_not_chosen_on(case.actual)
    book, outcomes = ledger.current(), digest_of_values(case.actual)
    trial = ledger.digest_of({"referee": [outcomes, digest_of_values(case.forecast)], "horizon": case.target.horizon})
    facts = {"what": "referee", "rows": n, "outcomes": outcomes, "ends": _ends(case.actual)}
    series, earned = scored(case)
    trials = book.record_trial(trial, config=trial, **facts, **earned, scores=book.keep(series.to_bytes()))
    known = [r.facts for r in book.records(ledger.TRIAL)]
    rivals = [f for f in known if f.get("outcomes") == outcomes]
    alike = [f for f in known if _alike(f, facts)]
    return {
        "trials": trials,
        "trials_where": book.where,
        "trial_sharpes": sharpes(earned["bars_per_year"]) if earned else (),
        "tried": len({f["trial"] for f in alike}),
        "planned": book.planned,
        "others": lambda: series_of(rivals, trial, book),
        "reads": look("referee", [f"outcomes {outcomes}"], [(0, n)]),
    }


def _ends(actual: np.ndarray) -> list[str]:
    """Digests of the first and the last outcomes, by which the same rows are known when some are left out."""
    parts = (actual[:FEWEST], actual[-FEWEST:])
    return [digest_of_values(part) for part in parts if len(np.unique(part[np.isfinite(part)])) > 2]


def _alike(other: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    """Whether two sets of outcomes are the same, or begin or end alike: a longer lookback leaves the first ones out."""
    theirs = other.get("ends")
    same_end = isinstance(theirs, list) and not set(facts["ends"]).isdisjoint(map(str, theirs))
    return other.get("outcomes") == facts["outcomes"] or same_end


def looks_like_level(values: np.ndarray) -> bool:
    """Return whether values (n_rows, n_symbols) are positive and hardly change from row to row, as prices do.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> returns = 0.01 * rng.normal(size=(500, 1))
    >>> looks_like_level(returns), looks_like_level(100 * np.exp(np.cumsum(returns, axis=0)))
    (False, True)
    """
    known = values[np.isfinite(values)]
    if not len(known) or known.min() <= 0:
        return False
    change = np.abs(np.diff(np.log(np.where(np.isfinite(values), values, np.nan)), axis=0))
    change = change[np.isfinite(change)]
    return bool(len(change) and np.median(change) < 0.2)


def _mean_so_far(values: np.ndarray, horizon: int, fewest: int = 20) -> np.ndarray:
    """Mean of the outcomes known at each row; zero until there are `fewest`."""
    known = np.full(values.shape, np.nan)
    known[horizon:] = values[:-horizon]
    finite = np.isfinite(known)
    count, total = np.cumsum(finite, axis=0), np.cumsum(np.where(finite, known, 0.0), axis=0)
    return np.divide(total, count, out=np.zeros(values.shape), where=count >= fewest)


def _beside(prices: Any, y_true: Any, y_pred: Any) -> Any:
    """Return prices in the rows and columns that `_aligned` gives; without an index they must be so already."""
    index = getattr(y_true, "index", None) if hasattr(y_true, "iloc") else None
    if index is None:
        return prices
    common = index if not hasattr(y_pred, "iloc") else _common(index, y_pred.index)
    if not hasattr(prices, "iloc"):
        if not common.equals(index):
            raise InputError(
                "y_true and y_pred were aligned by their index, which left rows out or moved them; prices have none. "
                "Give prices the index of y_true."
            )
        return prices
    if not prices.index.is_unique:
        raise InputError("prices must have a unique index to be aligned. Drop duplicate rows.")
    if not len(common.intersection(prices.index)):
        raise InputError("prices have no index value in common with y_true. Give both the same index, or pass arrays.")
    return _same_columns(y_true, prices.reindex(common), "prices")


def _common(index: Any, other: Any) -> Any:
    """Return the values that both indexes have, in increasing order."""
    common = index.intersection(other, sort=False)
    return common if common.is_monotonic_increasing else common.sort_values()


def _aligned(y_true: Any, y_pred: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[str, ...], bool]:
    index = y_true.index if hasattr(y_true, "iloc") else None  # a list has an index too: a method
    columns = getattr(y_true, "columns", None)
    if index is not None and hasattr(y_pred, "iloc"):
        if not index.is_unique or not y_pred.index.is_unique:
            raise InputError("y_true and y_pred must have a unique index to be aligned. Drop duplicate rows.")
        common = _common(index, y_pred.index)
        if not len(common) and len(index) and len(y_pred):
            raise InputError(
                f"y_true ({index[0]} .. {index[-1]}) and y_pred ({y_pred.index[0]} .. {y_pred.index[-1]}) "
                "have no index value in common. Give both the same index, or pass arrays."
            )
        y_true, y_pred, index = y_true.loc[common], _same_columns(y_true, y_pred.loc[common]), common
    actual, forecast = _matrix("y_true", y_true), _matrix("y_pred", y_pred)
    if actual.shape != forecast.shape:
        raise InputError(f"y_true and y_pred must have the same shape, were {actual.shape} and {forecast.shape}.")
    dated = index is not None and "datetime64" in str(getattr(index, "dtype", ""))
    if index is not None and dated and (index.hasnans or not (index.is_monotonic_increasing and index.is_unique)):
        raise InputError("The times of y_true must increase from row to row. Sort both by time and drop duplicates.")
    time = np.asarray(index.as_unit("ns").asi8 if index is not None and dated else np.arange(len(actual)), np.int64)
    names = tuple(map(str, columns)) if columns is not None else tuple(f"series {j}" for j in range(actual.shape[1]))
    return actual, forecast, time, names if columns is not None or len(names) > 1 else ("series",), dated


def _same_columns(y_true: Any, y_pred: Any, what: str = "y_pred") -> Any:
    """Return y_pred with its columns in the order of those of y_true; a single column may have any name."""
    wanted, found = (list(getattr(y, "columns", ())) for y in (y_true, y_pred))
    if len(wanted) < 2 or len(wanted) != len(found) or wanted == found:
        return y_pred
    if set(wanted) != set(found) or len(set(wanted)) < len(wanted):
        names, others = (", ".join(map(str, columns[:5])) for columns in (wanted, found))
        raise InputError(f"y_true has the columns {names}, {what} {others}. Rename them alike, or pass arrays.")
    return y_pred[wanted]


def _matrix(name: str, values: Any) -> np.ndarray:
    if np.iscomplexobj(values):
        raise InputError(f"{name} must hold real numbers, was complex. Pass {name}.real if that is what is meant.")
    try:
        out = np.asarray(values, np.float64)
        if isinstance(values, np.ma.MaskedArray):
            out = np.where(np.ma.getmaskarray(values), np.nan, out)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must hold numbers ({error}).") from error
    if out.ndim not in (1, 2):
        raise InputError(f"{name} must have shape (n_rows,) or (n_rows, n_symbols), was {out.shape}.")
    return out[:, None] if out.ndim == 1 else out
