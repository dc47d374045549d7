"""What each operation of the feature language means in instructions: one table, one line an operation.

An entry gives the number of inputs, the parameters, and a function that emits instructions into an `Assembly`. Every
indicator is a formula over these; a new indicator needs no new line here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import InputError, UnknownName, did_you_mean
from .program import Assembly, Operand

PRICES = ("open", "high", "low", "close")
DATE_PARTS = ("month", "day", "days_to_month_end", "year")


class Expression(Protocol):
    """What lowering reads of a feature."""

    @property
    def op(self) -> str: ...
    @property
    def inputs(self) -> Sequence["Expression"]: ...
    @property
    def params(self) -> Sequence[tuple[str, Any]]: ...
    @property
    def label(self) -> str | None: ...


@dataclass(frozen=True)
class Operation:
    """One line of the table."""

    inputs: int
    params: tuple[str, ...]
    emit: Callable[..., Operand]


def _plain(op: str, inputs: int) -> Operation:
    return Operation(inputs, (), lambda a, *x: a.emit(op, x))


def _field(a: Assembly, name: str, symbol: str | None) -> Operand:
    column = a.column_of(symbol)
    value = a.fetch(name, column)
    if name in PRICES:
        actions = [a.fetch(part, column) for part in ("close", "split", "dividend")]
        return a.emit("multiply", (value, a.emit("price_factor", actions)))
    if name == "volume":
        actions = [a.fetch(part, column) for part in ("close", "split")]
        return a.emit("divide", (value, a.emit("share_factor", actions)), (float("nan"),))
    return value


def _time(a: Assembly, what: str) -> Operand:
    """Days since 1970, of the day whose end the stamp is: midnight belongs to the day before."""
    seconds = a.fetch("time")
    if what == "seconds":
        return seconds
    days = a.emit("divide", (seconds, a.constant(86_400)), (float("nan"),))
    floor = a.emit("floor", (a.emit("negate", (days,)),))
    day = a.emit("subtract", (a.emit("negate", (floor,)), a.constant(1)))
    if what == "weekday":  # 1970-01-01 was a Thursday
        shifted = a.emit("add", (day, a.constant(3)))
        weeks = a.emit("floor", (a.emit("divide", (shifted, a.constant(7)), (float("nan"),)),))
        return a.emit("subtract", (shifted, a.emit("multiply", (weeks, a.constant(7)))))
    return a.emit("date_part", (day,), (DATE_PARTS.index(what),))


def _std(a: Assembly, x: Operand, n: int, ddof: int) -> Operand:
    return a.emit("sqrt", (_cov(a, x, x, n, ddof),))


def _cov(a: Assembly, x: Operand, y: Operand, n: int, ddof: int) -> Operand:
    return a.emit("multiply", (a.covariance(x, y, n), a.constant(1 / (n - ddof))))


def _corr(a: Assembly, x: Operand, y: Operand, n: int) -> Operand:
    scale = a.emit("multiply", (a.emit("sqrt", (a.covariance(x, x, n),)), a.emit("sqrt", (a.covariance(y, y, n),))))
    raw = a.emit("divide", (a.covariance(x, y, n), scale), (0.0,))
    return a.emit("maximum", (a.emit("minimum", (raw, a.constant(1.0))), a.constant(-1.0)))


def _beta(a: Assembly, x: Operand, y: Operand, n: int) -> Operand:
    return a.emit("divide", (a.covariance(x, y, n), a.covariance(y, y, n)), (0.0,))


def _where(a: Assembly, test: Operand, yes: Operand, no: Operand) -> Operand:
    return a.emit("where", [a.settle(x) for x in (test, yes, no)])


OPERATIONS: dict[str, Operation] = {
    "field": Operation(0, ("name", "symbol"), _field),
    "const": Operation(0, ("value",), lambda a, value: a.constant(value)),
    "time": Operation(0, ("what",), _time),
    "causal": Operation(0, ("function", "lookback", "fields"), lambda a, **p: a.custom_column(**p)),
    **{
        op: _plain(op, 2) for op in ("add", "subtract", "multiply", "minimum", "maximum", "less", "less_equal", "equal")
    },
    **{op: _plain(op, 1) for op in ("negate", "absolute", "log", "exp", "sqrt", "sign", "floor", "sine")},
    "divide": Operation(2, ("otherwise",), lambda a, x, y, otherwise: a.emit("divide", (x, y), (otherwise,))),
    "where": Operation(3, (), _where),
    "lag": Operation(1, ("n",), lambda a, x, n: (x[0], x[1] + n)),
    "rolling_mean": Operation(1, ("n",), lambda a, x, n: a.mean(x, n)),
    "rolling_sum": Operation(1, ("n",), lambda a, x, n: a.total(x, n)),
    "rolling_min": Operation(1, ("n",), lambda a, x, n: a.extreme(x, n, "minimum")),
    "rolling_max": Operation(1, ("n",), lambda a, x, n: a.extreme(x, n, "maximum")),
    "rolling_std": Operation(1, ("n", "ddof"), _std),
    "rolling_cov": Operation(2, ("n", "ddof"), _cov),
    "rolling_corr": Operation(2, ("n",), _corr),
    "rolling_beta": Operation(2, ("n",), _beta),
    "exponential_mean": Operation(
        1,
        ("alpha", "seed", "skip"),
        lambda a, x, alpha, seed, skip: a.emit("exponential_mean", (x,), (alpha, seed, skip)),
    ),
    "ffill": Operation(1, ("limit",), lambda a, x, limit: a.emit("fill_forward", (a.settle(x),), (limit,))),
    "missing": Operation(1, (), lambda a, x: a.emit("is_missing", (a.settle(x),))),
    "rank": Operation(1, (), lambda a, x: a.emit("rank", (a.settle(x),))),
    "zscore": Operation(1, (), lambda a, x: a.emit("zscore", (a.settle(x),))),
}


def lower(feature: Expression, assembly: Assembly, known: dict[int, Operand]) -> Operand:
    """Emit a feature's instructions and return the operand that reads it.

    Parameters
    ----------
    feature : Expression
        A node of the graph.
    assembly : Assembly
        Receives the instructions.
    known : dict
        Operands of the nodes lowered so far, by id; shared by all features of a set.

    Examples
    --------
    >>> from longshort import features as f
    >>> a = Assembly()
    >>> lower(f.sma(50), a, {}), len(a.code), a.inputs
    ((11, 0), 12, ['close', 'split', 'dividend'])
    """
    operand = known.get(id(feature))
    if operand is None:
        operation = OPERATIONS[feature.op]
        operands = [lower(x, assembly, known) for x in feature.inputs]
        operand = known[id(feature)] = operation.emit(assembly, *operands, **dict(feature.params))
    return operand


def check_node(op: str, n_inputs: int, params: dict[str, Any]) -> None:
    """Raise unless a node read from a file is one the language has."""
    operation = OPERATIONS.get(op)
    if operation is None:
        raise UnknownName(f"A feature's operation was {op!r}. {did_you_mean(op, OPERATIONS)}")
    if n_inputs != operation.inputs or set(params) != set(operation.params):
        raise InputError(
            f"Operation {op!r} takes {operation.inputs} inputs and the parameters {list(operation.params)}, "
            f"was {n_inputs} and {sorted(params)}. The description comes from another version or was edited."
        )


_INFIX = {  # sign, and how tightly it binds
    "less": ("<", 0),
    "less_equal": ("<=", 0),
    "equal": ("==", 0),
    "add": ("+", 1),
    "subtract": ("-", 1),
    "multiply": ("*", 2),
    "divide": ("/", 2),
}


def describe(feature: Expression, binding: int = -1) -> str:
    """Return a feature as the expression one would type, with the labels of its parts.

    Examples
    --------
    >>> from longshort import features as f
    >>> describe((f.field("close") / f.field("close", symbol="SPY")).log().rolling_std(20))
    '(close / SPY:close).log().rolling_std(20)'
    """
    if feature.label is not None:
        return feature.label
    params = dict(feature.params)
    if feature.op == "field":
        return params["name"] if params["symbol"] is None else f"{params['symbol']}:{params['name']}"
    if feature.op == "const":
        return f"{params['value']:g}"
    if feature.op == "time":
        return params["what"]
    if feature.op == "causal":
        return f"{getattr(params['function'], '__name__', 'causal')}_{params['lookback']}"
    if feature.op in _INFIX:
        sign, own = _INFIX[feature.op]
        left, right = describe(feature.inputs[0], own), describe(feature.inputs[1], own + 1)
        return f"({left} {sign} {right})" if own < binding else f"{left} {sign} {right}"
    if feature.op == "where":
        return f"where({', '.join(describe(x) for x in feature.inputs)})"
    first, *others = feature.inputs
    shown = [describe(x) for x in others] + [f"{v:g}" if isinstance(v, float) else str(v) for v in params.values()]
    if feature.op in ("rolling_std", "rolling_cov") and params["ddof"] == 1:
        shown.pop()
    return f"{describe(first, 9)}.{feature.op}({', '.join(shown)})"
