"""Features as expressions that cannot look ahead, and the sets of them that models read.

An expression is a small graph over fields of the bars: ``(field("close") / field("close").lag(1)).log()``. Nothing in
the language reaches forward, so a feature at time t has seen bars up to t and no others. `FeatureSet` compiles the
graph to one program (`lowering.py`, `program.py`) that runs over history and per tick with the same instructions and
bits.

Rules that hold everywhere:

- Prices and volume are forward-adjusted as they are read, so splits and dividends are invisible in returns.
- A missing number makes everything that contains it NaN; finite windows heal when it has left them, recursive means
  start anew. Values outside a domain (log of 0, 0/0) are NaN, never infinite.
- `warmup` bars at the start are NaN. What follows does not depend on where the series began: exactly for finite
  windows, to 1e-12 relative for recursive means.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..bars import Bars, require_bars
from ..errors import ArtifactError, InputError, NotEnoughData, UnknownName, did_you_mean
from ..native import core
from .custom import CustomColumn
from .lowering import check_node, describe, lower
from .operators import Operators, whole
from .program import Assembly, Custom, Operand, gather, run, seconds

OHLCV = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True, eq=False, repr=False)
class Feature(Operators):
    """A causal expression over the bars. Made by `field` and the indicator functions, combined by operators.

    Parameters
    ----------
    op : str
        An operation of the language (`lowering.OPERATIONS`).
    inputs : tuple of Feature
        What it is computed from.
    params : tuple of (str, value)
        Numbers and names that belong to the operation.
    label : str, optional
        Name of the column; made from the expression when not given.

    Examples
    --------
    >>> from longshort import features as f
    >>> stretch = (f.field("close") / f.sma(20) - 1).rolling_mean(5)
    >>> stretch
    Feature('(close / sma_20 - 1).rolling_mean(5)', warmup=23)
    >>> stretch.rename("stretch").name
    'stretch'
    """

    op: str
    inputs: tuple["Feature", ...] = ()
    params: tuple[tuple[str, Any], ...] = ()
    label: str | None = None

    # -------------------------------------------------------------------------------------------------- description
    @property
    def name(self) -> str:
        """Column name: the label, or the expression itself."""
        return self.label or describe(self)

    @property
    def warmup(self) -> int:
        """Bars at the start without a value."""
        assembly = Assembly()
        return assembly.warmup(lower(self, assembly, {}))

    def rename(self, name: str) -> "Feature":
        """Return the same feature under another column name."""
        if not isinstance(name, str) or not name.strip():
            raise InputError(f"A feature's name must be a non-empty string, was {name!r}.")
        return replace(self, label=name)

    def __repr__(self) -> str:
        return f"Feature({self.name!r}, warmup={self.warmup})"

    def __bool__(self) -> bool:
        raise InputError(
            f"A feature has a value per bar, so it is neither true nor false: {self.name}. "
            "Choose per bar with where(condition, yes, no), and test for equality with .equals(other)."
        )

    # -------------------------------------------------------------------------------------------------- computation
    def compute(self, bars: "Bars") -> np.ndarray:
        """Return the values, float64 (n_bars, n_symbols), NaN in warm-up and where inputs are missing."""
        return FeatureSet(self).compute(bars)[:, :, 0]

    def stepper(self, symbols: int | Sequence[str]) -> "Stepper":
        """Return the live twin of `compute`: ``.step(row)`` gives (n_symbols,), with the same bits as history.

        Parameters
        ----------
        symbols : int or sequence of str
            How many, or which: names are needed when the feature reads another symbol.
        """
        return Stepper(FeatureSet(self), symbols, single=True)


# -------------------------------------------------------------------------------------------------------------- sets
@dataclass(frozen=True)
class _Plan:
    """A compiled set: the native program and what it reads."""

    program: Any
    columns: tuple[str, ...]
    custom: tuple[Custom, ...]
    others: tuple[str, ...]


@dataclass(frozen=True, eq=False, repr=False, init=False)
class FeatureSet:
    """Features compiled into one program: shared parts are computed once.

    Parameters
    ----------
    features : Feature or nested sequence of Features
        Flattened in order. A feature that is there already, with the same name, is kept once.

    Examples
    --------
    >>> from longshort import features as f
    >>> inputs = f.FeatureSet([f.log_return(), f.rsi(14), *f.macd(), f.bollinger(20).percent_b.rename("percent_b")])
    >>> inputs.names
    ('log_return_1', 'rsi_14', 'macd_12_26_9', 'macd_12_26_9_signal', 'macd_12_26_9_histogram', 'percent_b')
    >>> f.FeatureSet.from_dict(inputs.to_dict()).digest == inputs.digest
    True
    """

    features: tuple[Feature, ...]

    def __init__(self, features: Feature | Iterable[Any]):
        kept: dict[str, tuple[Feature, Operand]] = {}
        assembly, known = Assembly(), {}
        for feature in _flatten(features):
            operand = lower(feature, assembly, known)
            before = kept.setdefault(feature.name, (feature, operand))
            if before[1] != operand:
                raise InputError(
                    f"Two different features are called {feature.name!r}. Give one another name with .rename(name)."
                )
        if not kept:
            raise InputError("A FeatureSet needs at least one feature, was empty.")
        object.__setattr__(self, "features", tuple(feature for feature, _ in kept.values()))

    # -------------------------------------------------------------------------------------------------- description
    @cached_property
    def names(self) -> tuple[str, ...]:
        """Column names, in order."""
        return tuple(feature.name for feature in self.features)

    @cached_property
    def warmup(self) -> int:
        """Bars at the start in which at least one feature has no value."""
        assembly, known = Assembly(), {}
        return max(assembly.warmup(lower(feature, assembly, known)) for feature in self.features)

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Raw columns that are read, in the order of the array form of a row."""
        plan = self._plan()
        names = [name for name in plan.columns if not name.startswith("custom ")]
        for custom in plan.custom:
            names += [*_adjusted(custom).inputs, "time"]
        return tuple(dict.fromkeys(names))

    @cached_property
    def symbols(self) -> tuple[str, ...]:
        """Symbols whose fields are read for every symbol."""
        return self._plan().others

    @cached_property
    def digest(self) -> str:
        """SHA-256 over names, operations and parameters."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.features)

    def __iter__(self) -> Iterator[Feature]:
        return iter(self.features)

    def __repr__(self) -> str:
        return f"FeatureSet({len(self)} features, warmup={self.warmup}: {', '.join(self.names)})"

    def __reduce__(self):
        return FeatureSet, (self.features,)

    # -------------------------------------------------------------------------------------------------- computation
    def _plan(self, symbols: Sequence[str] | None = None) -> _Plan:
        plans = self.__dict__.setdefault("_plans", {})
        key = tuple(symbols) if symbols is not None and plans and plans[None].others else None
        if key not in plans or (key is None and None not in plans):
            assembly, known = Assembly(key), {}
            outputs = [assembly.settle(lower(feature, assembly, known)) for feature in self.features]
            plans[key] = _Plan(
                assembly.compile(outputs), tuple(assembly.inputs), tuple(assembly.custom), tuple(assembly.others)
            )
            if key is None and symbols is not None and plans[None].others:
                return self._plan(symbols)
        return plans[key]

    def compute(
        self, bars: "Bars", start: Any = None, threads: int | None = None, out: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the values over history.

        Parameters
        ----------
        bars : Bars
            A panel of at least one bar.
        start : int or time, optional
            First row of the result; earlier bars are read to warm up. A row number, or whatever `Bars.since` takes.
        threads : int, optional
            Over blocks of symbols; all available for large panels when not given. The bits do not depend on it.
        out : float64 array (n_bars - start, n_symbols, n_features), C order, optional
            Where to put the result. Not given: a new array; a large one takes the memory of the last one that is gone.

        Returns
        -------
        float64 array (n_bars - start, n_symbols, n_features), C order
            NaN in warm-up and where inputs are missing, never infinite.
        """
        require_bars(bars, "compute")
        n_bars, n_symbols = len(bars.time), len(bars.symbols)
        if n_bars == 0:
            raise NotEnoughData("Features need at least one bar, but bars has none. Load a longer span.")
        plan = self._plan(bars.symbols)
        first = _row_of(bars, start)
        custom = {c.column: _custom_history(c, bars) for c in plan.custom}
        columns = [custom[name] if name in custom else _column(bars, name) for name in plan.columns]
        return run(plan.program, columns, (n_bars, n_symbols, len(self)), first, threads, out)

    def stepper(self, symbols: int | Sequence[str]) -> "Stepper":
        """Return the live twin of `compute`, with no bar seen yet.

        Parameters
        ----------
        symbols : int or sequence of str
            How many, or which: names are needed when a feature reads another symbol.
        """
        return Stepper(self, symbols)

    # ------------------------------------------------------------------------------------------------------- saving
    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able description without code. A function given to `causal` appears as name and source hash."""
        nodes: list[dict[str, Any]] = []
        known: dict[str, int] = {}

        def number_of(feature: Feature) -> int:
            params = dict(feature.params)
            if feature.op == "causal":
                params["function"] = Custom(params["function"], 1, (), "").identity
                params["fields"] = list(params["fields"])
            if feature.op == "divide" and params["otherwise"] != params["otherwise"]:
                params["otherwise"] = None  # JSON has no NaN
            node = {"op": feature.op, "inputs": [number_of(x) for x in feature.inputs], "params": params}
            key = json.dumps(node, sort_keys=True)
            if key not in known:
                known[key] = len(nodes)
                nodes.append(node)
            return known[key]

        outputs = [{"name": feature.name, "node": number_of(feature)} for feature in self.features]
        return {"version": 1, "nodes": nodes, "outputs": outputs}

    @classmethod
    def from_dict(cls, description: Mapping[str, Any]) -> "FeatureSet":
        """Return the set that `to_dict` described.

        Raises
        ------
        ArtifactError
            The description is damaged or from a newer version, or holds a function given to `causal`.
        """
        if not isinstance(description, Mapping) or description.get("version") != 1:
            raise ArtifactError("A feature set's description must have version 1. Was it saved by a newer version?")
        made: list[Feature] = []
        try:
            for node in description["nodes"]:
                params = dict(node["params"])
                if node["op"] == "causal":
                    raise _unsaved(params["function"]["function"])
                if node["op"] == "divide" and params.get("otherwise") is None:
                    params["otherwise"] = float("nan")
                check_node(node["op"], len(node["inputs"]), params)
                if any(not 0 <= i < len(made) for i in node["inputs"]):
                    raise ArtifactError("A feature set's description reads a node that comes later.")
                made.append(Feature(node["op"], tuple(made[i] for i in node["inputs"]), tuple(params.items())))
            return cls(tuple(replace(made[out["node"]], label=out["name"]) for out in description["outputs"]))
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            if isinstance(error, InputError):
                raise
            raise ArtifactError(f"A feature set's description is damaged: {error!r}. Save the model again.") from error

    def require_saveable(self) -> None:
        """Raise `ArtifactError` when a part of the set is code, which is never saved."""
        for custom in self._plan().custom:
            raise _unsaved(custom.identity["function"])


class Stepper:
    """Features of one bar after the other: the state of a program, the same code that runs history.

    Parameters
    ----------
    features : FeatureSet
        What to compute.
    symbols : int or sequence of str
        How many symbols a row has, or which.
    single : bool, default=False
        Return (n_symbols,) instead of (n_symbols, n_features).

    Examples
    --------
    >>> import numpy as np
    >>> from longshort import features as f
    >>> live = f.field("close").rolling_mean(2).stepper(1)
    >>> for close in (10.0, 12.0, 11.0):
    ...     print(live.step({"close": np.array([close])}))
    [nan]
    [11.]
    [11.5]
    """

    def __init__(self, features: FeatureSet, symbols: int | Sequence[str], single: bool = False):
        names = None if isinstance(symbols, int | np.integer) else tuple(symbols)
        n_symbols = whole(symbols if names is None else len(names), "the number of symbols", 1)
        if names is None and features.symbols:
            raise InputError(
                f"These features read {', '.join(features.symbols)} for every symbol, so the stepper needs the names "
                f"of its {n_symbols} symbols, not their number."
            )
        plan = features._plan(names)
        self.features, self.n_symbols = features, n_symbols
        self._state = core.FeatureStepper(plan.program, n_symbols)
        self._shape = (n_symbols,) if single else (n_symbols, len(features))
        self._inputs, self._columns = features.inputs, plan.columns
        self._row = np.empty((len(self._inputs), n_symbols))
        self._custom = [(CustomColumn(c, n_symbols), _adjusted(c).stepper(n_symbols)) for c in plan.custom]

    def step(self, row: Mapping[str, Any] | np.ndarray) -> np.ndarray:
        """Take one closed bar and return its features.

        Parameters
        ----------
        row : mapping or float64 array (n_inputs, n_symbols)
            As `Bars.row` gives it, or, fastest, the raw columns in the order of `FeatureSet.inputs` (``"time"`` in
            seconds).
        """
        if not isinstance(row, np.ndarray):
            row = self.gathered(row)
        if self._custom:
            row = self._with_custom(row)
        out = np.empty(self._shape)
        try:
            self._state.step(row, out)
        except (TypeError, ValueError):
            raise InputError(
                f"A row must be a C-ordered float64 array {(len(self._inputs), self.n_symbols)}, in the order "
                f"{', '.join(self._inputs)}, was {row.dtype} {row.shape}."
            ) from None
        return out

    def feed(self, bars: "Bars") -> "Stepper":
        """Take all rows of `bars` without returning anything, for a warm start; return self."""
        self.tail(bars, 0)
        return self

    def tail(self, bars: "Bars", n: int) -> np.ndarray:
        """Take all rows of `bars` and return the features of the last `n`, (n, n_symbols, n_features)."""
        first = max(0, len(bars.time) - n)
        out = np.empty((len(bars.time) - first, self.n_symbols, len(self.features)))
        if self._custom:
            for i in range(len(bars.time)):
                features = self.step(bars.row(i))
                if i >= first:
                    out[i - first] = features.reshape(out.shape[1:])
        else:
            columns = [_column(bars, name) for name in self._columns]
            self._state.run([column[:first] for column in columns], first, None)
            self._state.run([column[first:] for column in columns], len(out), out)
        return out

    @property
    def native(self) -> Any:
        """The compiled state, for whoever steps it natively; None where a feature is a user's own function."""
        return None if self._custom else self._state

    def gathered(self, row: Mapping[str, Any]) -> np.ndarray:
        """Return a row's raw columns, (n_inputs, n_symbols), in an array that the next call uses again."""
        try:
            gather(row, self._inputs, self._row)
        except KeyError as error:
            name = str(error.args[0])
            raise UnknownName(
                f"The row lacks {name!r}, which these features read. {did_you_mean(name, row)} "
                f"They need: {', '.join(self._inputs)}."
            ) from None
        except (TypeError, ValueError) as error:
            raise InputError(f"A row's columns must be numbers, {self.n_symbols} a column: {error}.") from None
        return self._row

    def _with_custom(self, row: np.ndarray) -> np.ndarray:
        position = {name: k for k, name in enumerate(self._inputs)}
        values = {}
        for column, adjust in self._custom:
            adjusted = adjust.step(row[[position[name] for name in adjust.features.inputs]])
            values[column.custom.column] = column.push(float(row[position["time"], 0]), adjusted)
        return np.stack([values[name] if name in values else row[position[name]] for name in self._columns])

    def snapshot(self) -> dict[str, Any]:
        """Return the state after the last step, to continue from later."""
        windows = [(column.window.copy(), column.seconds.copy(), adjust.snapshot()) for column, adjust in self._custom]
        state = {"digest": self.features.digest, "n_symbols": self.n_symbols, "state": self._state.snapshot()}
        return {**state, "windows": windows}

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Continue from a snapshot of the same features and number of symbols.

        Raises
        ------
        InputError
            The snapshot belongs to other features or another number of symbols.
        """
        if snapshot["digest"] != self.features.digest or snapshot["n_symbols"] != self.n_symbols:
            raise InputError(
                f"The snapshot is of {snapshot['n_symbols']} symbols and features {snapshot['digest'][:12]}, this "
                f"stepper of {self.n_symbols} and {self.features.digest[:12]}. Build the stepper it was taken from."
            )
        self._state.restore(snapshot["state"])
        for (column, adjust), (window, stamps, inner) in zip(self._custom, snapshot["windows"], strict=True):
            column.window, column.seconds = window.copy(), stamps.copy()
            adjust.restore(inner)


def _flatten(features: Any) -> Iterator[Feature]:
    if isinstance(features, Feature):
        yield features
    elif isinstance(features, str) or not isinstance(features, Iterable):
        advice = f" Use features.field({features!r}) for a column." if isinstance(features, str) else ""
        raise InputError(f"Features must be Feature objects, in lists nested as you like, was {features!r}.{advice}")
    else:
        for part in features:
            yield from _flatten(part)


def _adjusted(custom: Custom) -> FeatureSet:
    return FeatureSet(tuple(field(name) for name in custom.fields))


def _custom_history(custom: Custom, bars: "Bars") -> np.ndarray:
    adjusted, stamps = _adjusted(custom).compute(bars), seconds(bars.time)
    column = CustomColumn(custom, adjusted.shape[1])
    return np.stack([column.push(stamps[i], adjusted[i]) for i in range(len(adjusted))])


def _row_of(bars: "Bars", start: Any) -> int:
    n_bars = len(bars.time)
    if start is None:
        return 0
    row = int(start) if isinstance(start, int | np.integer) else n_bars - len(bars.since(start).time)
    if not 0 <= row <= n_bars:
        raise InputError(f"start must be a row of the {n_bars} bars, was {start}.")
    return row


def _column(bars: "Bars", name: str) -> np.ndarray:
    if name == "time":
        return seconds(bars.time)
    if name in ("split", "dividend"):
        values = getattr(bars, name)
        if values.strides == (0, 0) and values.size:  # bars without actions: the same number everywhere
            return np.full(len(values), values[0, 0])
    elif name in bars.fields:
        values = bars[name]
    else:
        raise UnknownName(
            f"A feature reads {name!r}, but the bars have no such field. {did_you_mean(name, bars.fields)} "
            "A series from elsewhere becomes a field with bars.join(series, name=..., available_at=...)."
        )
    return np.ascontiguousarray(values, dtype=np.float64)


def _unsaved(function: str) -> ArtifactError:
    return ArtifactError(
        f"causal({function}) is code, and code is never saved. Write it as an expression of longshort.features, or "
        "build the model again from its source."
    )


# ------------------------------------------------------------------------------------------------------- constructors
def field(name: str, symbol: str | None = None) -> Feature:
    """Return a field of the bars: forward-adjusted prices and volume, anything else as it is.

    Parameters
    ----------
    name : str
        ``"open"``, ``"high"``, ``"low"``, ``"close"``, ``"volume"``, or the name of a joined series.
    symbol : str, optional
        Read this symbol's value for every symbol: a market, a sector, a pair.

    Examples
    --------
    >>> from longshort import features as f
    >>> (f.field("close") / f.field("close", symbol="SPY")).log().name
    '(close / SPY:close).log()'
    """
    for what, value in (("name", name), ("symbol", symbol)):
        if (value is not None or what == "name") and not (isinstance(value, str) and value):
            raise InputError(f"field's {what} must be a non-empty string, was {value!r}.")
    if name in ("split", "dividend", "time"):
        raise InputError(f"{name!r} is not a field: prices are already adjusted, and calendar() reads the time.")
    return Feature("field", (), (("name", name), ("symbol", symbol)))


def const(value: float) -> Feature:
    """Return a number as a feature, for the places where Python cannot make one of it.

    Examples
    --------
    >>> from longshort import features as f
    >>> f.where(f.rsi(14) > 70, f.const(1), f.const(0)).name
    'where(70 < rsi_14, 1, 0)'
    """
    return _feature(value)


def where(condition: Feature, yes: Any, no: Any) -> Feature:
    """Return `yes` where the condition holds, else `no`; NaN where the condition is.

    Examples
    --------
    >>> from longshort import features as f
    >>> up_volume = f.where(f.log_return() > 0, f.field("volume"), 0)
    >>> up_volume.rolling_sum(10).warmup
    10
    """
    return Feature("where", (_feature(condition), _feature(yes), _feature(no)))


def causal(function: Callable, lookback: int, fields: Sequence[str] = OHLCV, name: str | None = None) -> Feature:
    """Return your own pandas function as a feature, recomputed on exactly its trailing window.

    Parameters
    ----------
    function : callable
        Takes a DataFrame of the last `lookback` bars of one symbol (adjusted fields, UTC index), returns a number or a
        series whose last value counts. It is not called on windows with missing bars: those give NaN.
    lookback : int
        Bars in the window.
    fields : sequence of str, default=("open", "high", "low", "close", "volume")
        Columns of the DataFrame.
    name : str, optional
        Column name; the function's name and the lookback when not given.

    Notes
    -----
    Look-ahead: there is none to have, the window ends at the bar. Saving: code is never saved, so a model that uses
    your function cannot be written to disk.

    Examples
    --------
    >>> from longshort import features as f
    >>> def skew(window):
    ...     return window["close"].pct_change().skew()
    >>> f.causal(skew, lookback=20)
    Feature('skew_20', warmup=19)
    """
    if not callable(function):
        raise InputError(f"causal needs a function of a DataFrame, was {function!r}.")
    chosen = (fields,) if isinstance(fields, str) else tuple(fields)
    if not chosen:
        raise InputError("causal needs at least one field, was none.")
    for part in chosen:
        field(part)
    params = (("function", function), ("lookback", whole(lookback, "causal's lookback", 1)), ("fields", chosen))
    return Feature("causal", (), params, label=name)


def _feature(value: Any) -> Feature:
    return _NUMBER._operand(value)


_NUMBER = Feature("const", (), (("value", 0.0),))
