"""Feature programs: the flat list of instructions that the native interpreter runs, and how expressions become one.

An `Assembly` collects instructions. An operand is a pair ``(instruction, lag)``: a lag costs nothing but memory. The
same instruction asked for twice is emitted once, which is how features share their common parts::

    close  ->  fetch close | fetch split | fetch dividend | price_factor | multiply
    sma(20), bollinger(20), sma(50) read the same product and the same partial means

Rolling kernels are trees over doubled windows: the mean of the last 2^k values is merged from the mean of the last
2^(k-1) and the same one 2^(k-1) bars ago. So a window of n costs about log2(n) operations, and its value depends on the
n values in it and on nothing else: a bad tick is gone, to the last bit, when it leaves the window.

Warm-up is found here too. Every instruction knows after how many bars it first speaks, and recursive ones also how much
of their start is still in them; before that has shrunk below `SETTLED`, a gate holds the value back (as NaN).
"""

import hashlib
import inspect
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import InputError, UnknownName, did_you_mean
from ..native import core

SETTLED = 1e-13
"""Share of its start that a recursive mean may still carry when it first speaks."""

MAX_OPERANDS, MAX_PARAMETERS = 6, 3
_CODES = {name: code for code, name in enumerate(core.FEATURE_OPS)}

Operand = tuple[int, int]


@dataclass(frozen=True)
class Instruction:
    """One instruction, and what is known of its warm-up.

    Parameters
    ----------
    op : str
        One of the native core's ``FEATURE_OPS``.
    operands : tuple of (int, int)
        Earlier instructions and the lags they are read with.
    parameters : tuple of float
        At most three.
    first : int
        Bars before the first number.
    memory : float array or None
        Share of the start still contained at each bar since the start, for recursive values; None when there is none.
    """

    op: str
    operands: tuple[Operand, ...]
    parameters: tuple[float, ...]
    first: int = 0
    memory: np.ndarray | None = None

    @property
    def settled(self) -> int:
        """Bars before the first number that no longer depends on where the series started."""
        return self.first if self.memory is None else max(self.first, len(self.memory))


@dataclass(frozen=True)
class Custom:
    """A user's own function over a trailing window of adjusted fields, and the input column that carries its values."""

    function: Callable
    lookback: int
    fields: tuple[str, ...]
    column: str

    @property
    def identity(self) -> dict[str, Any]:
        """What tells two functions apart in a digest: the name, and a hash of the source where Python has it."""
        module, name = getattr(self.function, "__module__", "?"), getattr(self.function, "__qualname__", "?")
        try:
            source = inspect.getsource(self.function)
        except (OSError, TypeError):
            source = getattr(getattr(self.function, "__code__", None), "co_code", b"").hex()
        return {"function": f"{module}.{name}", "source_sha256": hashlib.sha256(source.encode()).hexdigest()}


class Assembly:
    """Collects instructions, each once.

    Examples
    --------
    >>> a = Assembly()
    >>> close = a.fetch("close")
    >>> a.mean(close, 20) == a.mean(close, 20), len(a.code)
    (True, 6)
    >>> a.warmup(a.mean(close, 20))
    19
    """

    def __init__(self, symbols: Sequence[str] | None = None):
        self.code: list[Instruction] = []
        self.inputs: list[str] = []
        self.symbols = symbols  # None: columns of other symbols are not known yet, and the program cannot run
        self.others: list[str] = []
        self.custom: list[Custom] = []
        self._known: dict[Any, int] = {}

    def emit(self, op: str, operands: Sequence[Operand] = (), parameters: Sequence[float] = ()) -> Operand:
        """Return the operand that reads this instruction, emitting it unless it is there already."""
        # Instructions do the same at every bar, so one over lagged operands is the lag of one over those as they are.
        constant = [self.code[node].op == "constant" for node, _ in operands]
        lag = min((lag for (_, lag), fixed in zip(operands, constant, strict=True) if not fixed), default=0)
        operands = tuple((n, 0 if fixed else own - lag) for (n, own), fixed in zip(operands, constant, strict=True))
        key = (op, operands, tuple(math.nan if p != p else float(p) for p in parameters))  # one NaN equals itself
        node = self._known.get(key)
        if node is None:
            node = self._known[key] = len(self.code)
            self.code.append(Instruction(*key, *self._warmup_of(*key)))
        return node, lag

    def _warmup_of(self, op, operands, parameters) -> tuple[int, np.ndarray | None]:
        first = max((self.code[node].first + lag for node, lag in operands), default=0)
        memories = [m for m in (self.memory(operand) for operand in operands) if m is not None]
        memory = None
        if memories:
            memory = np.zeros(max(map(len, memories)))
            for m in memories:
                memory[: len(m)] = np.maximum(memory[: len(m)], m)
        if op == "exponential_mean":
            alpha, seed, skip = parameters
            first += int(skip + seed) - 1
            memory = _memory_after_mean(alpha, first, memory)
        elif op == "settle":
            first, memory = first + int(parameters[0]), None
        elif op in ("fill_forward", "is_missing"):
            memory = None
        return first, memory

    def memory(self, operand: Operand) -> np.ndarray | None:
        """Return the share of the start in an operand, bar by bar."""
        node, lag = operand
        memory = self.code[node].memory
        return memory if memory is None or not lag else np.concatenate([np.ones(lag), memory])

    def warmup(self, operand: Operand) -> int:
        """Return the bars before an operand's first number that does not depend on the start."""
        node, lag = operand
        return self.code[node].settled + lag

    # ---------------------------------------------------------------------------------------------------- reading
    def fetch(self, name: str, symbol: int = -1) -> Operand:
        """Read input `name`, of every symbol itself or of one symbol (by column) for all."""
        if name not in self.inputs:
            self.inputs.append(name)
        return self.emit("fetch", (), (self.inputs.index(name), symbol))

    def column_of(self, symbol: str | None) -> int:
        """Return the column of another symbol; -1 stands for each symbol's own."""
        if symbol is None:
            return -1
        if symbol not in self.others:
            self.others.append(symbol)
        if self.symbols is None:
            return len(self.others)
        if symbol not in self.symbols:
            raise UnknownName(
                f"A feature reads {symbol!r}, but the bars have {len(self.symbols)} symbols without it. "
                f"{did_you_mean(symbol, self.symbols)} Load it together with the others."
            )
        return list(self.symbols).index(symbol)

    def custom_column(self, function: Callable, lookback: int, fields: tuple[str, ...]) -> Operand:
        """Return the operand that reads what a user's own function said."""
        for custom in self.custom:
            if (custom.function, custom.lookback, custom.fields) == (function, lookback, fields):
                return self.fetch(custom.column)
        custom = Custom(function, lookback, fields, f"custom {len(self.custom)}")
        self.custom.append(custom)
        operand = self.fetch(custom.column)
        self.code[operand[0]] = replace(self.code[operand[0]], first=lookback - 1)
        return operand

    def constant(self, value: float) -> Operand:
        """Return a number as operand."""
        return self.emit("constant", (), (value,))

    # ----------------------------------------------------------------------------------------------------- gating
    def settle(self, operand: Operand) -> Operand:
        """Hold a recursive value back until its start is forgotten; anything else stays as it is."""
        node, _ = operand
        wait = self.code[node].settled - self.code[node].first
        return self.emit("settle", (operand,), (wait,)) if wait else operand

    # ---------------------------------------------------------------------------------------------------- rolling
    def _doubled(self, operand: Operand, level: int, op: str, parameters: Sequence[float] = ()) -> Operand:
        for k in range(level):
            operand = self.emit(op, (operand, _lag(operand, 2**k)), parameters)
        return operand

    def total(self, x: Operand, n: int) -> Operand:
        """Return the sum of the last n values."""
        out, covered = None, 0
        for level in _levels(n):
            part = _lag(self._doubled(x, level, "add"), covered)
            out = part if out is None else self.emit("add", (out, part))
            covered += 2**level
        assert out is not None
        return out

    def extreme(self, x: Operand, n: int, op: str) -> Operand:
        """Return the ``"minimum"`` or ``"maximum"`` of the last n values."""
        level = n.bit_length() - 1
        part = self._doubled(x, level, op)
        return part if n == 2**level else self.emit(op, (part, _lag(part, n - 2**level)))

    def mean(self, x: Operand, n: int) -> Operand:
        """Return the mean of the last n values; of equal values exactly that value."""
        return self._means(x, n)[-1]

    def _means(self, x: Operand, n: int) -> list[Operand]:
        """Return the mean of the newest part of the window, of the newest two, ... of all (see `_levels`)."""
        out, covered = [], 0
        for level in _levels(n):
            part = _lag(self._doubled(x, level, "merge_mean", (0.5,)), covered)
            size = 2**level
            out.append(self.emit("merge_mean", (out[-1], part), (size / (covered + size),)) if out else part)
            covered += size
        return out

    def covariance(self, x: Operand, y: Operand, n: int) -> Operand:
        """Return the sum of products of deviations over the last n pairs; exactly 0 when x or y is constant."""
        out, covered = None, 0
        means = list(zip(self._means(x, n), self._means(y, n), strict=True))
        for i, level in enumerate(_levels(n)):
            part = _lag(self._doubled_covariance(x, y, level), covered)
            size = 2**level
            if out is None:
                out = part
            else:
                parts = [_lag(self._doubled(z, level, "merge_mean", (0.5,)), covered) for z in (x, y)]
                (ax, ay), weight = means[i - 1], covered * size / (covered + size)
                out = self.emit("merge_covariance", (out, part, ax, parts[0], ay, parts[1]), (weight,))
            covered += size
        assert out is not None
        return out

    def _doubled_covariance(self, x: Operand, y: Operand, level: int) -> Operand:
        if level == 0:
            return self.constant(0.0)
        out = self.emit("pair_covariance", (x, _lag(x, 1), y, _lag(y, 1)), (0.5,))
        for k in range(1, level):
            size = 2**k
            mx, my = (self._doubled(z, k, "merge_mean", (0.5,)) for z in (x, y))
            operands = (out, _lag(out, size), mx, _lag(mx, size), my, _lag(my, size))
            out = self.emit("merge_covariance", operands, (size / 2,))
        return out

    # --------------------------------------------------------------------------------------------------- finishing
    def compile(self, outputs: Sequence[Operand]) -> Any:
        """Return the native program."""
        n = len(self.code)
        operands = np.zeros((n, MAX_OPERANDS, 2), dtype=np.int32)
        parameters = np.zeros((n, MAX_PARAMETERS))
        for i, instruction in enumerate(self.code):
            for k, operand in enumerate(instruction.operands):
                operands[i, k] = operand
            parameters[i, : len(instruction.parameters)] = instruction.parameters
        codes = np.array([_CODES[i.op] for i in self.code], dtype=np.int32)
        outs = np.array(outputs, dtype=np.int32).reshape(-1, 2)
        return core.FeatureProgram.compile(codes, operands, parameters, outs, len(self.inputs))


def _lag(operand: Operand, bars: int) -> Operand:
    return operand[0], operand[1] + bars


def _levels(n: int) -> list[int]:
    """Return the powers of two that make up n, smallest first: so the largest, oldest part is read with a short lag."""
    return [level for level in range(n.bit_length()) if n >> level & 1]


def _memory_after_mean(alpha: float, first: int, memory: np.ndarray | None) -> np.ndarray:
    """Return the share of the start left at each bar in an exponential mean that is seeded at bar `first`."""
    keep = 1.0 - alpha
    lengths = [math.ceil(math.log(SETTLED) / math.log(keep))] if 0 < keep < 1 else []
    if memory is None:
        return np.concatenate([np.ones(first), keep ** np.arange(max(lengths, default=0))])
    out, share, bar = [1.0] * (first + 1), 1.0, first + 1
    while share > SETTLED or bar < len(memory):
        share = keep * share + alpha * (float(memory[bar]) if bar < len(memory) else 0.0)
        out.append(share)
        bar += 1
    return np.array(out[:-1])


def run(
    program: Any,
    columns: Sequence[np.ndarray],
    shape: tuple[int, int, int],
    start: int,
    threads: int | None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Run a native program over history and return (n_bars - start, n_symbols, n_outputs)."""
    n_bars, n_symbols, n_outputs = shape
    wanted = (n_bars - start, n_symbols, n_outputs)
    size = math.prod(wanted)
    ours = out is None and size >= core.LARGE_RESULT
    if out is None:
        out = np.asarray(core.large_result(size)).reshape(wanted) if ours else np.empty(wanted)
    elif not isinstance(out, np.ndarray) or (out.shape, out.dtype) != (wanted, np.float64):
        raise InputError(
            f"out must be a float64 array {wanted}, was {getattr(out, 'dtype', type(out))} {getattr(out, 'shape', '')}."
        )
    elif not (out.flags.c_contiguous and out.flags.writeable):
        raise InputError("out must be C-ordered and writeable. Make it with numpy.empty.")
    if threads is None:
        threads = 1 if n_bars * n_symbols * program.size < 4_000_000 else _available_cpus()
    program.run(list(columns), n_bars, n_symbols, out, start, threads, ours)
    return out


def _available_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def seconds(time: Any) -> np.ndarray:
    """Return stamps (int64 nanoseconds) as the float64 seconds that calendar instructions read."""
    return np.asarray(time, dtype=np.int64).astype(np.float64) / 1e9


def gather(row: Mapping[str, Any], names: Sequence[str], into: np.ndarray) -> None:
    """Copy a row as `Bars.row` gives it into an array (n_inputs, n_symbols). No action is no split and no dividend."""
    for k, name in enumerate(names):
        if name == "time":
            into[k] = seconds(row["time"])
        elif name == "split" and name not in row:
            into[k] = 1.0
        elif name == "dividend" and name not in row:
            into[k] = 0.0
        else:
            into[k] = row[name]
