"""Golden windows: the last bars a strategy saw, what it said about them, and whether it still says so.

The bars are kept raw, so the whole way is walked again: adjustment, features, scaling, network, policy, limits. On the
build and instruction set that saved them every bit of a forecast must agree; on another, and of weights, which solvers
of other packages may have a hand in, every number within 1e-6 of the largest.
"""

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from .. import clock
from ..bars import Bars
from ..errors import InputError
from ..evaluation.keeping import arrays_of, bars_of
from ..forecast import Forecast, View
from ..native import core, isa
from ..strategy import Strategy

WINDOWS, TOLERANCE, WEIGHTS = 16, 1e-6, "weights"
_NATIVE = {  # arguments of an LSTM that the native engine computes
    "engine": ("auto", "native"),
    "network": ("lstm",),
    "symbol_embedding": (0, None),
    "precision": ("fp32", "fp64"),
    "device": ("auto", "cpu"),
}


def taken(strategy: Strategy, bars: Bars) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the golden windows of `bars` and what is said about them, as arrays and a document."""
    part = _enough(strategy, bars)
    numbers = arrays_of(part)
    said = _said(strategy, part)
    numbers |= {f"said.{name}": values for name, values in said.items()}
    document = {
        "forecaster": None if strategy.forecaster is None else strategy.forecaster.to_dict(),
        "bars": {n: getattr(part, n) for n in ("calendar", "bar_size", "source")},
        "symbols": list(part.symbols),
        "fields": list(part.fields),
        "windows": min(WINDOWS, len(part)),
        "build": build(strategy),
        "deaf": deaf(strategy, bars),
    }
    return {name: np.ascontiguousarray(values) for name, values in numbers.items()}, document


@dataclass(frozen=True)
class Replay:
    """What replaying the golden windows showed.

    Parameters
    ----------
    windows, symbols : int
        How much was replayed.
    same_build : bool
        Whether this is the build and instruction set that saved them.
    differences : dict of str to float
        By output: the largest difference, in units of the largest number; infinity where one is missing.
    stream : bool or None
        Whether the stream says the same bits as `predict`; None without a forecaster.
    """

    windows: int
    symbols: int
    same_build: bool
    differences: Mapping[str, float]
    stream: bool | None

    @property
    def worst(self) -> float:
        """The largest difference of all."""
        return max(self.differences.values(), default=0.0)

    @property
    def ok(self) -> bool:
        """Whether the strategy still says what it said."""
        allowed = {name: 0.0 if self.same_build and name != WEIGHTS else TOLERANCE for name in self.differences}
        return all(self.differences[name] <= allowed[name] for name in allowed) and self.stream is not False

    def __str__(self) -> str:
        where = "the build and instruction set that saved it" if self.same_build else "another build"
        what = f"{self.windows} windows of {self.symbols} symbol{'s' * (self.symbols != 1)}"
        if self.worst == 0.0:
            found = f"{what}, every bit the same, on {where}"
        else:
            name = max(self.differences, key=lambda n: self.differences[n])
            found = f"{what} differ by up to {self.worst:.1e} ({name}) on {where}"
        return found + ("; the stream says something else than predict" if self.stream is False else "")


def replayed(strategy: Strategy, numbers: Mapping[str, np.ndarray], document: Mapping[str, Any]) -> Replay:
    """Forecast and decide about golden windows again, and compare."""
    part = bars_of(numbers, {**document, **document["bars"]})
    strategy.check(part)
    said = _said(strategy, part)
    kept = {name.removeprefix("said."): values for name, values in numbers.items() if name.startswith("said.")}
    differences = {name: _apart(kept.get(name), said.get(name)) for name in {*kept, *said}}
    same = document["build"] == build(strategy)
    return Replay(int(document["windows"]), len(part.symbols), same, differences, _streams(strategy, part, said))


def build(strategy: Strategy) -> dict[str, str]:
    """Return what the bits of a forecast depend on beside the strategy: compiled core, instruction set, libraries."""
    found = {"core": _core(), "isa": isa, "machine": platform.machine(), "numpy": np.__version__}
    if strategy.forecaster is not None and _uses_torch(strategy.forecaster.to_dict()):
        found["torch"] = version("torch")
    return found


def _uses_torch(told: Any) -> bool:
    """Whether a network in a description is computed by torch."""
    if isinstance(told, list | tuple):
        return any(map(_uses_torch, told))
    if not isinstance(told, Mapping):
        return False
    mine = told.get("kind") == "LSTM" and any(told.get(n, known[0]) not in known for n, known in _NATIVE.items())
    return mine or any(map(_uses_torch, told.values()))


@lru_cache(maxsize=1)
def _core() -> str:
    return hashlib.sha256(Path(str(core.__file__)).read_bytes()).hexdigest()


def _enough(strategy: Strategy, bars: Bars) -> Bars:
    """Return the last bars, as many as the forecaster needs to speak where it spoke in the whole history."""
    if strategy.forecaster is None:
        return _last(bars, 64)
    spoke = np.isfinite(strategy.forecaster.predict(bars, start=int(bars.time[-min(WINDOWS, len(bars))])).mean)
    n = 64
    while n < len(bars):
        part = _last(bars, n)
        if np.array_equal(np.isfinite(_forecast(strategy, part).mean), spoke):
            return part
        n *= 2
    return bars


def _last(bars: Bars, n: int) -> Bars:
    return bars.since(int(bars.time[-min(n, len(bars))]))


def _forecast(strategy: Strategy, part: Bars) -> Forecast:
    return strategy.forecaster.predict(part, start=int(part.time[-min(WINDOWS, len(part))]))


def _said(strategy: Strategy, part: Bars) -> dict[str, np.ndarray]:
    """Return everything said about the golden windows: forecasts, and weights of an account in cash."""
    forecast = None if strategy.forecaster is None else _forecast(strategy, part)
    said: dict[str, Any] = {} if forecast is None else {"mean": forecast.mean, **forecast.extras()}
    said = {name: np.asarray(values) for name, values in said.items()}
    try:
        weights = _decided(strategy, part, forecast)
    except InputError:  # a policy that wants returns, and forecasts of volatility: see `deaf`
        return said
    return said | {WEIGHTS: weights}


def deaf(strategy: Strategy, bars: Bars) -> str:
    """Return why the policy cannot act on the forecasts, empty where it can."""
    part = _enough(strategy, bars)
    try:
        _decided(strategy, part, None if strategy.forecaster is None else _forecast(strategy, part))
    except InputError as error:
        return str(error)
    return ""


def _decided(strategy: Strategy, part: Bars, forecast: Forecast | None) -> np.ndarray:
    n = min(WINDOWS, len(part))
    policy, limits = strategy.policy.stepper(part.symbols), strategy.limits.stepper(part.symbols)
    weights = np.full((n, len(part.symbols)), np.nan)
    for k in range(n):
        view = _view(part, len(part) - n + k, None if forecast is None else forecast.row(k))
        weights[k], _ = limits.weights(view, policy(view))
    return weights


def _view(part: Bars, t: int, row: Any) -> View:
    """Return what the policy sees of an account in cash at row `t`."""
    n, nan = len(part.symbols), np.full(len(part.symbols), np.nan)
    close = part.adjusted("close")
    with np.errstate(all="ignore"):
        returns = close[t] / close[t - 1] - 1.0 if t else nan

    def field(name: str) -> np.ndarray:
        return np.array(part[name][t]) if name in part else np.array(nan)

    return View(
        time=int(part.time[t]),
        symbols=part.symbols,
        forecast=row,
        price=field("close"),
        returns=returns,
        high=field("high"),
        low=field("low"),
        volume=field("volume"),
        state=np.array(part.state[t]),
        weights=np.zeros(n),
        shares=np.zeros(n),
        entry_price=np.array(nan),
        equity=1e6,
        cash=1e6,
        session=int(part.dates[t].astype("datetime64[D]").astype(np.int64)),
        bars_per_year=clock.bars_per_year(part.bar_size, part.calendar),
    )


def _streams(strategy: Strategy, part: Bars, said: Mapping[str, np.ndarray]) -> bool | None:
    """Say whether the stream, begun before the golden windows, says the same bits about them."""
    n = min(WINDOWS, len(part))
    if strategy.forecaster is None or n == len(part):
        return None
    stream = strategy.stream(part.until(int(part.time[-n - 1])))
    rows = [stream.forecast(part.row(len(part) - n + k)) for k in range(n)]
    told = [{"mean": row.mean, **row.extras()} for row in rows]
    names = set(said) - {WEIGHTS}
    return all(set(one) == names for one in told) and all(
        _apart(said[name], np.array([one[name] for one in told])) == 0.0 for name in names
    )


def _apart(kept: Any, now: Any) -> float:
    """Return the largest difference in units of the largest number; 0 only for equal bits, infinity for gaps."""
    if kept is None or now is None or kept.shape != now.shape or not np.array_equal(np.isnan(kept), np.isnan(now)):
        return float("inf")
    known = ~np.isnan(kept)
    if kept[known].tobytes() == now[known].tobytes():
        return 0.0
    if not (np.isfinite(kept[known]).all() and np.isfinite(now[known]).all()):
        return float("inf")
    size = float(np.abs(kept[known]).max())
    return float(np.abs(kept[known] - now[known]).max()) / max(size, 1e-300) or 5e-324
