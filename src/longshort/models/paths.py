"""Several sessions ahead: a forecast fed with its own forecasts, and the interval its own errors justify.

Only closes can be made up without inventing a market, so the features of the model must read nothing else. The interval
is split-conformal (Vovk et al., 2005): the same path is rolled out from every validation row, by networks that never
learned from those rows, and the quantiles of its log errors at each step are laid around the forecast. The errors of
one step overlap and are not independent, so the coverage is approximate. A model whose errors were nearly all of one
sign would have an interval beside its forecast; then it is widened to the forecast, never narrowed.
"""

from typing import Any

import numpy as np

from ..bars import Bars
from ..errors import InputError, NotEnoughData
from ..features.windows import Windows
from ..forecast import Forecast, TargetInfo
from .network import Net, upcoming

LEVELS = (0.05, 0.95)
FEWEST_ERRORS = 40  # below this a 5 % quantile is the extreme or its neighbour
_DAY = 86_400 * 10**9
_ANY_DAYS = 946_684_800 * 10**9  # 2000-01-01: features that read only closes do not care
_CLOSES = {"close", "split", "dividend"}
_NEXT_CLOSE = {
    "close": lambda last, said: said,
    "return": lambda last, said: last * (1 + said),
    "log_return": lambda last, said: last * np.exp(said),
}


def predict_path(model: Any, bars: "Bars", steps: int) -> Forecast:
    """Forecast the closes of the next `steps` sessions, in the raw price units of the last bar.

    Parameters
    ----------
    model : LSTM
        Fitted, reading closes only, with a close or return target one bar ahead.
    bars : Bars
        Known history.
    steps : int
        Sessions ahead, at least 1.

    Returns
    -------
    Forecast
        `steps` rows, all made at the last bar; `quantiles` at 5 % and 95 % when at least 40 validation errors exist.
    """
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 1:
        raise InputError(f"steps must be a whole number of sessions, at least 1, was {steps!r}.")
    reason = _why_no_path(model)
    if reason:
        raise InputError(f"predict(steps={steps}) cannot roll this model forward: {reason}.")
    model.check_symbols(bars)
    closes = np.asarray(bars.adjusted("close"))[-_rows_needed(model) :]
    if len(closes) < _rows_needed(model) or not np.isfinite(closes).all():
        raise NotEnoughData(
            f"predict(steps={steps}) needs {_rows_needed(model)} bars without gaps before the first forecast, "
            f"but bars has {len(bars)} and {int((~np.isfinite(closes)).sum())} of the last closes are missing."
        )
    path = np.empty((steps, len(bars.symbols)))
    errors = []
    for j, symbol in enumerate(bars.symbols):
        path[:, j] = _roll(model, symbol, _nets(model, symbol), closes[:, j : j + 1], steps)[:, 0]
        errors.append(_validation_errors(model, symbol, steps))
    path /= bars.factor[-1]
    return Forecast(
        np.full(steps, bars.time[-1]),
        bars.symbols,
        path,
        quantiles=_interval(path, errors),
        target=TargetInfo("close"),
        for_time=upcoming(bars, steps),
    )


def remember_validation(fitting: Any) -> dict | None:
    """Keep what `predict_path` needs to know about the validation rows: closes, rows, and networks blind to them."""
    if not fitting.is_validation.any() or _why_no_path(fitting.model):
        return None
    rows = np.unique(fitting.windows.rows[fitting.is_validation])
    first = max(0, int(rows[0]) - _rows_needed(fitting.model) + 1)
    nets = [[m.net() for m in group] for group in fitting.search] if fitting.refits else None
    return {
        "closes": np.array(fitting.bars.adjusted("close")[first:]),
        "rows": rows - first,
        "nets": nets,
    }


def _why_no_path(model: Any) -> str | None:
    info, program = model.target_.info, model.program_
    if model.context == "carry":
        return "it carries its state from bar to bar, and a path is rolled forward window by window"
    inputs = set(program.inputs)
    if info.kind not in _NEXT_CLOSE or info.horizon != 1 or info.entry != "close":
        return f"its target is the {info}, not a close or a return one bar ahead"
    if inputs - _CLOSES:
        return f"its features read {', '.join(sorted(inputs - _CLOSES))}, and only closes can be rolled forward"
    if program.symbols:
        return f"its features read {', '.join(program.symbols)}, whose closes would have to be rolled forward too"
    return None


def _rows_needed(model: Any) -> int:
    return model.lookback + model.program_.warmup


def _nets(model: Any, symbol: str) -> list[Net]:
    return model.nets_[model.symbols_.index(symbol) if model.per_symbol else 0]


def _roll(model: Any, symbol: str, nets: list[Net], closes: np.ndarray, steps: int) -> np.ndarray:
    """Roll every column of a panel of closes (n_rows, n_columns) forward; return (steps, n_columns)."""
    n_rows, n_columns = closes.shape
    closes = np.concatenate([closes, np.full((steps, n_columns), np.nan)])
    names = [f"path-{j}" for j in range(n_columns)]
    next_close = _NEXT_CLOSE[model.target_.info.kind]
    program = model.program_
    for step in range(steps):
        seen = closes[step : n_rows + step]
        panel = Bars.from_arrays(_ANY_DAYS + np.arange(n_rows) * _DAY, names, {"close": seen}, bar_size="1D")
        windows = Windows.over(program.compute(panel), model.lookback, start=n_rows - 1)
        said = np.full(n_columns, np.nan)
        said[windows.columns] = np.mean([net.predict(model, windows, [symbol] * n_columns) for net in nets], axis=0)
        closes[n_rows + step] = next_close(seen[-1], said)
    return closes[n_rows:]


def _validation_errors(model: Any, symbol: str, steps: int) -> np.ndarray | None:
    """Return log(actual / path) from every validation row, (steps, n_rows), NaN past the end of what fit saw."""
    kept = model.validation_
    if kept is None:
        return None
    j = model.symbols_.index(symbol)
    nets = _nets(model, symbol) if kept["nets"] is None else kept["nets"][j if model.per_symbol else 0]
    closes, needed = kept["closes"][:, j], _rows_needed(model)
    rows = kept["rows"][kept["rows"] >= needed - 1]
    if not len(rows):
        return None
    panel = np.stack([closes[row - needed + 1 : row + 1] for row in rows], axis=1)
    path = _roll(model, symbol, nets, panel, steps)
    ahead = rows[None, :] + np.arange(1, steps + 1)[:, None]
    actual = np.where(ahead < len(closes), closes[np.minimum(ahead, len(closes) - 1)], np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.log(actual / path)


def _interval(path: np.ndarray, errors: list[np.ndarray | None]) -> dict[float, np.ndarray] | None:
    enough = [e for e in errors if e is not None and np.isfinite(e).sum(axis=1).min() >= FEWEST_ERRORS]
    if len(enough) < len(errors):
        return None
    out = {level: np.empty_like(path) for level in LEVELS}
    for j, symbol_errors in enumerate(enough):
        for h, row in enumerate(symbol_errors):
            known = np.sort(row[np.isfinite(row)])
            n = len(known)
            for level in LEVELS:  # the conformal rank: one step further out than the sample quantile
                rank = np.floor((n + 1) * level) if level < 0.5 else np.ceil((n + 1) * level)
                error = known[int(np.clip(rank, 1, n)) - 1]
                error = min(error, 0.0) if level < 0.5 else max(error, 0.0)
                out[level][h, j] = path[h, j] * np.exp(error)
    return out
