"""What a model says, and what a model is.

`Forecast` is the value that flows from every forecaster to verdicts, policies and reports. `Forecaster` is the protocol
whoever forecasts implements; `Fitting` is a fit taken apart into steps, so that many fits can share the machine as one
fleet. `Policy` turns the `View` of one decision into target weights, `Limit` cuts them to what may be. All are small
on purpose: a new kind of model is a class with `fit` and `predict`, a sizing rule a function of a `View`.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from ._frozen import frozen
from .errors import InputError, UnknownName, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

    from .bars import Bars

TARGET_KINDS = ("close", "return", "log_return", "direction", "volatility", "move", "barrier")


@dataclass(frozen=True)
class TargetInfo:
    """What a number in a forecast means.

    Parameters
    ----------
    kind : {"close", "return", "log_return", "direction", "volatility", "move", "barrier"}
        The quantity. Prices are forward-adjusted, returns and volatilities are fractions of one bar's horizon; a
        direction is 0 or 1, a move and a barrier -1, 0 or 1.
    horizon : int
        Bars from the decision to the moment the outcome is known.
    entry : {"close", "next_open"}, default="close"
        The price a return starts from.

    Examples
    --------
    >>> print(TargetInfo("log_return", 1))
    log return over the next bar
    >>> print(TargetInfo("volatility", 5))
    volatility over the next 5 bars
    """

    kind: str
    horizon: int = 1
    entry: str = "close"

    def __post_init__(self):
        if self.kind not in TARGET_KINDS:
            raise UnknownName(f"A target's kind was {self.kind!r}. {did_you_mean(self.kind, TARGET_KINDS)}")
        if self.horizon < 1:
            raise InputError(f"A target's horizon must be at least 1 bar, was {self.horizon}.")

    def __str__(self) -> str:
        span = "the next bar" if self.horizon == 1 else f"the next {self.horizon} bars"
        if self.kind == "close":
            return "next close" if self.horizon == 1 else f"close {self.horizon} bars ahead"
        if self.kind == "barrier":
            return f"first barrier touched within {span}"
        entry = "" if self.entry == "close" else ", entered at the next open"
        return f"{self.kind.replace('_', ' ')} over {span}{entry}"

    def to_dict(self) -> dict[str, Any]:
        """Return the three facts as a JSON-able mapping."""
        return {"kind": self.kind, "horizon": self.horizon, "entry": self.entry}


_KEYED: dict[str, Any] = {"quantiles": float, "probabilities": float, "horizons": int}  # field -> what its keys are


def _frozen(name: str, array, shape: tuple[int, ...]) -> np.ndarray:
    array = np.array(array, dtype=np.float64, order="C")
    if array.shape != shape:
        raise InputError(f"Forecast.{name} must have shape {shape}, was {array.shape}.")
    array.setflags(write=False)
    return array


@dataclass(frozen=True, eq=False)
class Forecast:
    """Forecasts made at `time` for `for_time`, one row a decision, one column a symbol.

    Parameters
    ----------
    time : int64 array (n_rows,)
        UTC nanoseconds at which each row was made: it used nothing known later.
    symbols : tuple of str
        Column names.
    mean : float array (n_rows, n_symbols)
        The point forecast, NaN where the model had no full window.
    std : float array (n_rows, n_symbols), optional
        Predicted standard deviation.
    quantiles : mapping of float to array (n_rows, n_symbols), optional
        For example ``{0.05: ..., 0.95: ...}``.
    covariance : float array (n_rows, n_symbols, n_symbols), optional
        Predicted covariance between the symbols.
    probabilities : mapping of float to array (n_rows, n_symbols), optional
        By the value of the class, for example ``{0.0: ..., 1.0: ...}`` of a direction.
    position : float array (n_rows, n_symbols), optional
        Position in [-1, 1] that a network trained on positions takes.
    horizons : mapping of int to array (n_rows, n_symbols), optional
        Point forecasts by horizon in bars, for models of several; `mean` is the first of them.
    target : TargetInfo, optional
        What the numbers mean. A policy that wants returns refuses prices.
    for_time : int64 array (n_rows,), optional
        UTC nanoseconds at which each outcome is known.
    digest : str, optional
        SHA-256 over times, symbols and values; computed when not given.

    Examples
    --------
    >>> import numpy as np
    >>> f = Forecast(np.array([0, 1]), ("AAPL",), np.array([[0.1], [0.2]]), target=TargetInfo("return"))
    >>> f.mean[1, 0], f.symbols, len(f)
    (np.float64(0.2), ('AAPL',), 2)
    """

    time: np.ndarray
    symbols: tuple[str, ...]
    mean: np.ndarray
    std: np.ndarray | None = None
    quantiles: Mapping[float, np.ndarray] | None = None
    covariance: np.ndarray | None = None
    target: TargetInfo | None = None
    for_time: np.ndarray | None = None
    digest: str = field(default="")
    probabilities: Mapping[float, np.ndarray] | None = None
    position: np.ndarray | None = None
    horizons: Mapping[int, np.ndarray] | None = None

    def __post_init__(self):
        put = object.__setattr__
        time = np.array(self.time, dtype=np.int64)
        time.setflags(write=False)
        put(self, "time", time)
        put(self, "symbols", tuple(self.symbols))
        n, s = len(time), len(self.symbols)
        put(self, "mean", _frozen("mean", self.mean, (n, s)))
        for name in ("std", "position"):
            if (value := getattr(self, name)) is not None:
                put(self, name, _frozen(name, value, (n, s)))
        for name in ("probabilities", "horizons"):
            if (values := getattr(self, name)) is not None:
                put(self, name, {k: _frozen(f"{name}[{k}]", values[k], (n, s)) for k in sorted(values)})
        if self.quantiles is not None:
            levels = sorted(self.quantiles)
            if any(not 0 < level < 1 for level in levels):
                raise InputError(f"Quantile levels must lie strictly between 0 and 1, were {levels}.")
            put(self, "quantiles", {q: _frozen(f"quantiles[{q}]", self.quantiles[q], (n, s)) for q in levels})
        if self.covariance is not None:
            put(self, "covariance", _frozen("covariance", self.covariance, (n, s, s)))
        if self.for_time is not None:
            for_time = np.array(self.for_time, dtype=np.int64)
            if for_time.shape != (n,):
                raise InputError(f"Forecast.for_time must have shape {(n,)}, was {for_time.shape}.")
            for_time.setflags(write=False)
            put(self, "for_time", for_time)
        if not self.digest:
            put(self, "digest", self._hash())

    def _hash(self) -> str:
        sha = hashlib.sha256()
        sha.update(repr((self.symbols, self.target and self.target.to_dict(), tuple(self.quantiles or ()))).encode())
        parts = [self.time, self.mean, self.std, self.covariance, self.for_time, *(self.quantiles or {}).values()]
        for part in parts:
            sha.update(b"-" if part is None else part.tobytes())
        for name in ("probabilities", "horizons"):
            for key, part in (getattr(self, name) or {}).items():
                sha.update(f"{name} {key}".encode() + part.tobytes())
        if self.position is not None:
            sha.update(b"position" + self.position.tobytes())
        return sha.hexdigest()

    def __len__(self) -> int:
        return len(self.time)

    def extras(self) -> dict[str, np.ndarray]:
        """Return everything said beside the point forecast, flat: ``std``, ``quantiles/0.05``, ``horizons/5``, ..."""
        return _beside(self)

    def with_extras(self, extras: Mapping[str, np.ndarray]) -> "Forecast":
        """Return the same point forecasts together with what `extras` gave."""
        fields: dict[str, Any] = {}
        for name, value in extras.items():
            group, _, key = name.partition("/")
            if group in _KEYED:
                fields.setdefault(group, {})[_KEYED[group](key)] = value
            else:
                fields[group] = value
        return replace(self, digest="", **fields)

    def since(self, time: int) -> "Forecast":
        """Return the rows made at `time` (UTC nanoseconds) or later."""
        return self._rows(slice(int(np.searchsorted(self.time, time, side="left")), None))

    def _rows(self, rows: slice) -> "Forecast":
        def cut(array):
            return None if array is None else array[rows]

        def cut_all(arrays):
            return None if arrays is None else {key: array[rows] for key, array in arrays.items()}

        return replace(
            self,
            time=self.time[rows],
            mean=self.mean[rows],
            std=cut(self.std),
            quantiles=cut_all(self.quantiles),
            covariance=cut(self.covariance),
            for_time=cut(self.for_time),
            probabilities=cut_all(self.probabilities),
            position=cut(self.position),
            horizons=cut_all(self.horizons),
            digest="",
        )

    def row(self, i: int) -> "ForecastRow":
        """Return the forecasts of one decision, as views.

        Examples
        --------
        >>> import numpy as np
        >>> f = Forecast(np.array([0, 1]), ("AAPL",), np.array([[0.1], [0.2]]), target=TargetInfo("return"))
        >>> f.row(1).mean
        array([0.2])
        """

        def cut(arrays):
            return None if arrays is None else {key: array[i] for key, array in arrays.items()}

        return ForecastRow(
            self.target,
            self.mean[i],
            None if self.std is None else self.std[i],
            cut(self.quantiles),
            None if self.covariance is None else self.covariance[i],
            cut(self.probabilities),
            None if self.position is None else self.position[i],
            cut(self.horizons),
        )

    def to_pandas(self) -> "pd.DataFrame":
        """Return the point forecasts, indexed by the moment they are for (or were made, when that is all we know).

        Quantiles, when there are any, become further columns: ``(symbol, "q05")``.
        """
        import pandas as pd

        stamps = pd.to_datetime(self.time if self.for_time is None else self.for_time, utc=True)
        stamps.name = "time" if self.for_time is None else "for_time"
        if self.quantiles is None:
            return pd.DataFrame(self.mean, index=stamps, columns=list(self.symbols))
        columns = {(s, "mean"): self.mean[:, j] for j, s in enumerate(self.symbols)}
        for level, values in self.quantiles.items():
            columns |= {(s, f"q{round(100 * level):02d}"): values[:, j] for j, s in enumerate(self.symbols)}
        return pd.DataFrame(columns, index=stamps).sort_index(axis=1)

    def __repr__(self) -> str:
        if not len(self):
            return f"Forecast(no rows, {len(self.symbols)} symbols)"
        first, last = self.time[[0, -1]].astype("datetime64[ns]").astype("datetime64[D]")
        optional = ("std", "quantiles", "covariance", "probabilities", "position", "horizons")
        parts = [n for n in optional if getattr(self, n) is not None]
        return (
            f"Forecast({self.target or 'unknown target'}; {len(self)} rows made {first} .. {last}; "
            f"{', '.join(self.symbols[:4])}{', ...' if len(self.symbols) > 4 else ''}"
            f"{'; with ' + ', '.join(parts) if parts else ''})"
        )


@frozen(eq=False)
class ForecastRow:
    """The forecasts of one decision: the fields of `Forecast`, one entry a symbol."""

    target: TargetInfo | None
    mean: np.ndarray
    std: np.ndarray | None = None
    quantiles: Mapping[float, np.ndarray] | None = None
    covariance: np.ndarray | None = None
    probabilities: Mapping[float, np.ndarray] | None = None
    position: np.ndarray | None = None
    horizons: Mapping[int, np.ndarray] | None = None

    def extras(self) -> dict[str, np.ndarray]:
        """Return everything said beside the point forecast, flat, as `Forecast.extras` does."""
        return _beside(self)


def _beside(said: "Forecast | ForecastRow") -> dict[str, np.ndarray]:
    alone = {n: value for n in ("std", "covariance", "position") if (value := getattr(said, n)) is not None}
    keyed = {f"{n}/{key}": v for n in _KEYED for key, v in (getattr(said, n) or {}).items()}
    return alone | keyed


def row_of_parts(target: TargetInfo | None, parts: "Mapping[str, Any]") -> ForecastRow:
    """Return one decision's forecasts from the names `Forecast.extras` uses: ``mean``, ``std``, ``quantiles/0.05``, ...

    Examples
    --------
    >>> row = row_of_parts(TargetInfo("return"), {"mean": np.array([0.01]), "quantiles/0.05": np.array([-0.02])})
    >>> row.quantiles
    {0.05: array([-0.02])}
    """
    fields: dict[str, Any] = {}
    for name, values in parts.items():
        group, _, key = name.partition("/")
        if group in _KEYED:
            fields.setdefault(group, {})[_KEYED[group](key)] = values
        else:
            fields[group] = values
    return ForecastRow(target, **fields)


@runtime_checkable
class Streaming(Protocol):
    """A fitted forecaster at work, fed one closed row (as `Bars.row` gives it) after the other."""

    symbols: tuple[str, ...]

    def step(self, row: Any) -> np.ndarray:
        """Take one row and return the point forecasts, float64 (n_symbols,)."""
        ...

    def forecast(self, row: Any) -> ForecastRow:
        """Take one row and return everything that `predict` says of it, bit for bit."""
        ...

    def settle(self) -> None:
        """Do now, between two rows, what the next forecast would otherwise have to wait for."""
        ...


@runtime_checkable
class Forecaster(Protocol):
    """Anything that learns from bars and forecasts at bars.

    `fit(bars, start)` sees nothing but `bars`; rows before `start` only warm features up. `predict(bars, start)` makes
    one row for every bar from `start` on, and row t equals the last row of `predict(bars.until(t))`. `target` says
    what is predicted. `to_dict()` describes the configuration, for digests and reports.
    """

    target: Any

    def fit(self, bars: "Bars", start: Any = None) -> "Forecaster":
        """Learn from `bars` and return self."""
        ...

    def predict(self, bars: "Bars", start: Any = None) -> Forecast:
        """Forecast at every bar from `start` on."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as a JSON-able mapping."""
        ...


def target_of(forecaster: Forecaster) -> Any:
    """Return the target a forecaster predicts, its default filled in (`target_` where it has one)."""
    target = getattr(forecaster, "target_", None)
    target = forecaster.target if target is None else target
    if target is None:
        raise InputError(f"{type(forecaster).__name__} has no target. Give it one, such as forward_log_return(1).")
    return target


@runtime_checkable
class Fitting(Protocol):
    """A fit that advances step by step, so that many can run as one fleet.

    `step()` does one unit of work (an epoch) without holding the interpreter and returns True when nothing is left;
    `result` is then the fitted forecaster.
    """

    def step(self) -> bool:
        """Advance by one unit; return True when the fit is done."""
        ...

    @property
    def result(self) -> Forecaster:
        """The fitted forecaster, once `step` has returned True."""
        ...


@runtime_checkable
class FitsInSteps(Protocol):
    """A forecaster whose fit can join a fleet, and which averages over seeds.

    One fit trains all its seeds, because the number of epochs is chosen for all of them together.
    """

    def fitting(self, bars: "Bars", start: Any = None) -> Fitting:
        """Prepare a fit on `bars` without running it; self is left untouched."""
        ...

    def with_seeds(self, seeds: int) -> "Forecaster":
        """Return an unfitted copy that trains `seeds` nets and forecasts their mean."""
        ...

    def predict_seeds(self, bars: "Bars", start: Any = None) -> np.ndarray:
        """Return every seed's forecasts, (n_seeds, n_rows, n_symbols); their mean is what `predict` says."""
        ...


@runtime_checkable
class Seeded(Protocol):
    """A forecaster that draws random numbers: studies and ensembles fit copies with others."""

    seed: int

    def with_seed(self, seed: int) -> Forecaster:
        """Return an unfitted copy that draws its random numbers from `seed`."""
        ...


# ------------------------------------------------------------------------------------------- from forecast to weights


@frozen(eq=False)
class View:
    """All that a policy and its limits may know at one decision; nothing in it was known later than `time`.

    Parameters
    ----------
    time : int
        UTC nanoseconds of the decision: the moment the bar was known.
    symbols : tuple of str
        Columns of every array.
    forecast : ForecastRow or None
        The forecasts made at `time`; None where there is no model, or it said nothing.
    price : float array (n_symbols,)
        Last raw close, NaN before the first.
    returns : float array (n_symbols,)
        Total simple return of the bar, splits and dividends accounted for; NaN where there is none.
    high, low, volume : float array (n_symbols,)
        Of the bar, raw; NaN where there is none.
    state : uint8 array (n_symbols,)
        `State` of every cell: only OK ones can be traded.
    weights : float array (n_symbols,)
        Value of each position over equity, negative for shorts.
    shares : float array (n_symbols,)
        Shares held, negative for shorts.
    entry_price : float array (n_symbols,)
        Average price the open position was entered at, in today's shares; NaN without a position.
    equity, cash : float
        In the account's currency.
    session : int
        Exchange date as days since 1970-01-01.
    bars_per_year : float
        To make figures per bar annual.
    """

    time: int
    symbols: tuple[str, ...]
    forecast: ForecastRow | None
    price: np.ndarray
    returns: np.ndarray
    high: np.ndarray
    low: np.ndarray
    volume: np.ndarray
    state: np.ndarray
    weights: np.ndarray
    shares: np.ndarray
    entry_price: np.ndarray
    equity: float
    cash: float
    session: int
    bars_per_year: float


@runtime_checkable
class Resumable(Protocol):
    """Something at work whose memory can be kept, so that after an interruption it goes on bit for bit."""

    def snapshot(self) -> dict[str, Any]:
        """Return all that later answers depend on, between two decisions, as a JSON-able mapping."""
        ...

    def restore(self, kept: Mapping[str, Any]) -> Any:
        """Take up what `snapshot` gave, fresh and for the same symbols; `InputError` where it is of something else."""
        ...


@runtime_checkable
class Policy(Protocol):
    """A rule that sizes positions.

    `stepper(symbols)` starts afresh and returns a function called once per decision, in order: ``step(view)`` gives the
    target weights, float (n_symbols,), as fractions of equity. NaN leaves that position as it is: a policy without a
    finite forecast says NaN and never opens anything. A step that remembers earlier decisions is `Resumable`.
    """

    def stepper(self, symbols: tuple[str, ...]) -> Callable[[View], np.ndarray]:
        """Return a fresh step from `View` to target weights."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as a JSON-able mapping."""
        ...


@frozen
class Refusal:
    """What a limit did not allow: the number that broke, the bound it broke, and what was asked and given.

    `symbol` is None for limits on the whole portfolio; `asked` and `allowed` are then gross weights.
    """

    time: int
    limit: str
    symbol: str | None
    value: float
    bound: float
    asked: float
    allowed: float


class LimitStep(Protocol):
    """A limit at work, called once per decision, in order. One that remembers earlier decisions is `Resumable`."""

    def weights(self, view: View, targets: np.ndarray) -> tuple[np.ndarray, list[Refusal]]:
        """Return what is allowed of `targets` (NaN: keep the position), finite or NaN, and what was refused."""
        ...

    def levels(self, view: View) -> "tuple[np.ndarray, np.ndarray] | None":
        """Return raw prices at which open positions are closed: stops and targets, NaN for none; None: no such rule."""
        ...


@runtime_checkable
class Brackets(Protocol):
    """A limit at work that also protects a position in the bar in which it is opened, before the next decision."""

    def bracket(self, j: int, entry_price: float, side: int) -> tuple[float, float]:
        """Return stop and target, raw prices or NaN, of a position just opened in column j; side is 1 or -1."""
        ...


@runtime_checkable
class HearsForecasts(Protocol):
    """A limit at work that asks how long a model has been silent, and is told whether there is one."""

    def expect_forecasts(self) -> None:
        """Take it that there is a forecaster, even if it never says a word."""
        ...


@runtime_checkable
class Limit(Protocol):
    """A bound that target weights and positions must keep."""

    def stepper(self, symbols: tuple[str, ...]) -> LimitStep:
        """Return a fresh limit at work."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as a JSON-able mapping."""
        ...
