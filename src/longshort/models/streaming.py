"""Live: one row in, one forecast per symbol out, the same bits as `predict` over history.

A forecast is a function of the last `lookback` rows. A `Stream` does not run through them again at every row: it keeps
one state per row at which a window can start, each as far as the rows have come (see ``native/ticker.hpp``). The row
that completes a window needs one step of one state; `settle` then takes the row into the other states, when there is
time. Networks whose window cannot be taken row by row are asked again about the whole window.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..bars import Bars, State
from ..errors import InputError, SetupError, did_you_mean
from ..features.windows import Windows, broken_cells, check_lookback
from ..forecast import ForecastRow, row_of_parts
from ..native import core
from .network import bind, make_engine, mean_of_seeds, steps_by_row, symbol_numbers

MOST_STATE_BYTES = 2**31
"""States of a window are kept up to this size; beyond, every forecast runs through its window again."""


class Stream:
    """A fitted `LSTM`, fed row by row.

    Parameters
    ----------
    model : LSTM
        Fitted.
    bars : Bars, optional
        History to warm up with; its symbols are the columns of every row from then on.

    Attributes
    ----------
    symbols : tuple of str
        Columns of a row.
    inputs : tuple of str
        Raw columns that the features read: the order of the array form of a row.
    way : {"staggered", "carried", "recomputed"}
        How a forecast is found: one step of the state that has seen the rest of its window; one step of the state that
        is carried on for ever (``context="carry"``); the whole window again. All three equal `predict`, bit for bit.

    Examples
    --------
    >>> import longshort as ls
    >>> bars = ls.load_bars("AAPL", start="2017-01-01", end="2019-12-31", source="sample")
    >>> model = ls.LSTM([ls.features.log_return()], lookback=10, hidden=(8,), epochs=1).fit(bars.until("2018-12-31"))
    >>> stream = model.stream(bars.until("2019-12-30"))
    >>> stream.way, stream.inputs
    ('staggered', ('close', 'split', 'dividend'))
    >>> bool(stream.step(bars.row(len(bars) - 1))[0] == model.predict(bars).mean[-1, 0])
    True
    """

    def __init__(self, model: Any, bars: "Bars | None" = None):
        self.symbols = tuple(model.symbols_ if bars is None else bars.symbols)
        if bars is not None:
            model.check_symbols(bars)
        self._model = model
        self._stepper = model.program_.stepper(self.symbols)
        self.inputs = model.program_.inputs
        self.way = way_of(model, len(self.symbols))
        self._served = (_Windows if self.way == "recomputed" else _States)(model, self.symbols, self._stepper)
        if bars is not None:
            features = self._stepper.tail(bars, len(bars) if self.way == "carried" else model.lookback)
            features[broken_cells(bars)[len(bars) - len(features) :]] = np.nan
            self._served.feed(features)

    def step(self, row: "Mapping[str, Any] | np.ndarray", state: Any = None) -> np.ndarray:
        """Take one closed row and return the forecasts, float64 (n_symbols,); NaN without a full window.

        Parameters
        ----------
        row : mapping or float64 array (n_inputs, n_symbols)
            As `Bars.row` gives it, or, fastest, the raw columns in the order of `inputs`.
        state : array of `State` (n_symbols,), optional
            Of a row given as an array; MISSING and HALTED cells break the window. A mapping brings its own.
        """
        if isinstance(row, np.ndarray):
            raw = row
        else:
            raw, state = self._stepper.gathered(row), row.get("state", state)
        if state is not None:
            state = np.asarray(state, dtype=np.uint8)
        return self._served.step(raw, state)

    def forecast(self, row: "Mapping[str, Any] | np.ndarray", state: Any = None) -> ForecastRow:
        """Take one closed row, as `step` does, and return everything `predict` says of it: deviations, quantiles, ...

        Where the network says more than a point, the first call turns the stream to reading all of its outputs.
        """
        target = self._model.target_.info
        if self._model.n_outputs == 1 and self._model.loss_.plain:
            return ForecastRow(target, self.step(row, state))
        if isinstance(self._served, _States) and self._served.points:
            full = _States(self._model, self.symbols, self._stepper, points=False)
            full.restore(self._served.snapshot())
            self._served = full
        self.step(row, state)
        parts = {name: values[:, np.newaxis] for name, values in self._served.said.items()}
        said: dict[str, Any] = {}
        for name, values in self._model.joined(parts).items():
            keyed = values if isinstance(values, Mapping) else {None: values}
            said |= {name if key is None else f"{name}/{key}": array[0] for key, array in keyed.items()}
        return row_of_parts(target, said)

    def tick(self, row: "float | Sequence[float] | np.ndarray") -> float:
        """Take one closed row of a stream of one symbol, the raw columns in the order of `inputs`; the forecast."""
        return self._served.tick(row)

    def settle(self) -> None:
        """Do now, between two rows, what the next forecast would otherwise have to wait for."""
        self._served.settle()

    def snapshot(self) -> dict[str, np.ndarray]:
        """Return everything the next forecasts depend on, as named arrays for `numpy.savez` or an artifact."""
        features = self._stepper.snapshot()
        out = {"identity": self._identity(), "features": np.frombuffer(features["state"], np.uint8)}
        for k, (window, seconds, inner) in enumerate(features["windows"]):
            out |= {f"own.{k}.window": window, f"own.{k}.seconds": seconds}
            out[f"own.{k}.features"] = np.frombuffer(inner["state"], np.uint8)
        return out | self._served.snapshot()

    def restore(self, snapshot: "Mapping[str, np.ndarray]") -> "Stream":
        """Continue from a snapshot of a stream of the same model and symbols, with the same bits; return self.

        Raises
        ------
        InputError
            The snapshot is of another model or of other symbols, or is damaged.
        """
        known = self.snapshot()
        for name in known:
            if name not in snapshot:
                raise InputError(f"The snapshot lacks {name!r}. {did_you_mean(name, list(snapshot))} Take it again.")
        if not np.array_equal(snapshot["identity"], known["identity"]):
            raise InputError(
                f"The snapshot was taken from a stream of another model or other symbols than these "
                f"{len(self.symbols)}. Restore it into model.stream() of the model and the symbols it was taken from."
            )
        for name, array in known.items():
            found = np.asarray(snapshot[name])
            fits = found.shape[1:] == array.shape[1:] if name == "rows" else found.shape == array.shape
            if not fits or found.dtype != array.dtype:
                raise InputError(
                    f"The snapshot is damaged: {name!r} must be {array.dtype} {array.shape}, was {found.dtype} "
                    f"{found.shape}. Take it again."
                )
        features = self._stepper.snapshot()
        features["state"] = snapshot["features"].tobytes()
        for k, (window, seconds, inner) in enumerate(features["windows"]):
            inner["state"] = snapshot[f"own.{k}.features"].tobytes()
            window[:], seconds[:] = snapshot[f"own.{k}.window"], snapshot[f"own.{k}.seconds"]
        self._stepper.restore(features)
        self._served.restore(snapshot)
        return self

    def _identity(self) -> np.ndarray:
        model = self._model
        known: list[Any] = [model.program_.digest, model.lookback, model.context, self.symbols]
        if self.way == "carried":  # rows mean the same to every network, states only to their own
            nets = [net for _, nets in model.nets_for(self.symbols) for net in nets]
            known += [hashlib.sha256(a.tobytes()).hexdigest() for net in nets for a in net.weights.values()]
        return np.frombuffer(hashlib.sha256(json.dumps(known).encode()).digest(), np.uint8)


def way_of(model: Any, n_symbols: int) -> str:
    """Return how a stream of a fitted model finds its forecasts: ``"staggered"``, ``"carried"`` or ``"recomputed"``."""
    if not steps_by_row(model):
        return "recomputed"
    if model.context == "carry":
        return "carried"
    numbers = 3 * sum(model.hidden) * model.lookback * n_symbols * model.seeds
    return "staggered" if numbers * (8 if model.precision == "fp64" else 4) <= MOST_STATE_BYTES else "recomputed"


class _States:
    """The native ticker: features, scaling, networks and their mean in one call."""

    def __init__(self, model: Any, symbols: Sequence[str], stepper: Any, points: bool = True):
        self._model, self._symbols, self._stepper = model, symbols, stepper
        self.points, carry = points and model.loss_.plain, model.context == "carry"
        self.said: dict[str, np.ndarray] = {}  # of the latest row, (n_seeds, n_symbols, ...) each, unless only points
        n_features = len(model.program_)
        self._ticker = core.Ticker(
            stepper.native,
            n_symbols=len(symbols),
            n_features=n_features,
            lookback=int(model.lookback),
            wait=int(model.lookback),
            carry=carry,
            n_seeds=int(model.seeds),
            n_outputs=int(model.n_outputs),
            raw=not self.points,
            floor=model.target_.info.kind == "volatility",
        )
        self._by_hand = stepper.native is None
        shape = (len(symbols),) if self.points else (int(model.seeds), len(symbols), int(model.n_outputs))
        self._shape, self._carry = shape, carry
        for columns, nets in model.nets_for(symbols):
            for seed, net in enumerate(nets):
                engine: Any = make_engine(model, n_features, seed=0)
                engine.set_weights(net.weights)
                served = engine.serve(columns.tolist(), net.inputs.center, net.inputs.scale, carry)
                center, scale = float(net.output.center[0]), float(net.output.scale[0])
                self._ticker.add(seed, served, center, scale)

    def feed(self, features: np.ndarray) -> None:
        self._ticker.feed(features)

    def step(self, row: np.ndarray, state: np.ndarray | None) -> np.ndarray:
        if self._by_hand:
            row = self._stepper.step(row)
        out = np.empty(self._shape)
        self._ticker.step(row, state, out)
        return out if self.points else self._read(out)

    def _read(self, raw: np.ndarray) -> np.ndarray:
        """Return what outputs (n_seeds, n_symbols, n_outputs) say, mean over the seeds."""
        self.said, shape = {"mean": np.full(raw.shape[:2], np.nan)}, raw.shape[:2]
        ready = ~np.isnan(raw[0, :, 0])
        for columns, nets in self._model.nets_for(self._symbols):
            columns = columns[ready[columns]]
            for seed, net in enumerate(nets):
                if len(columns):
                    _put(self.said, net.said(self._model, raw[seed, columns]), shape, seed, columns)
        return mean_of_seeds(self.said["mean"])

    def tick(self, row: Any) -> float:
        if self.points and not self._by_hand:
            return self._ticker.tick(row)
        return _one(self, row, len(self._symbols))

    def settle(self) -> None:
        self._ticker.settle()

    def snapshot(self) -> dict[str, np.ndarray]:
        return {"carried": self._ticker.carried()} if self._carry else {"rows": self._ticker.rows()}

    def restore(self, snapshot: Mapping[str, np.ndarray]) -> None:
        if self._carry:
            self._ticker.set_carried(snapshot["carried"])
        else:
            self._ticker.reset()
            self._ticker.feed(snapshot["rows"])


class _Windows:
    """The last rows of features, and at every row the engine that `predict` would ask about them."""

    def __init__(self, model: Any, symbols: Sequence[str], stepper: Any):
        self._model, self._stepper, self._numbers = model, stepper, symbol_numbers(model, symbols)
        n_features = len(model.program_)
        self._ring = np.full((model.lookback, len(symbols), n_features), np.nan)
        self._engines = []
        self.said: dict[str, np.ndarray] = {}  # of the latest row, (n_seeds, n_symbols, ...) each
        for columns, nets in model.nets_for(symbols):
            for seed, net in enumerate(nets):
                engine = make_engine(model, n_features, seed=0)
                engine.set_weights(net.weights)
                self._engines.append((seed, columns, engine, net))

    def feed(self, features: np.ndarray) -> None:
        last = features[-len(self._ring) :]
        self._ring = np.concatenate([self._ring[len(last) :], last])

    def step(self, row: np.ndarray, state: np.ndarray | None) -> np.ndarray:
        features = self._stepper.step(row)
        if state is not None:
            features[np.isin(state, (State.MISSING, State.HALTED))] = np.nan
        self.feed(features[np.newaxis])
        shape = (self._model.seeds, self._ring.shape[1])
        self.said = {"mean": np.full(shape, np.nan)}
        windows = Windows.over(self._ring, len(self._ring))
        for seed, columns, engine, net in self._engines:
            ready = windows.take(np.isin(windows.columns, columns))
            if len(ready):
                bind(engine, ready, net.inputs, self._numbers)
                _put(self.said, net.said(self._model, engine.predict(ready.starts)), shape, seed, ready.columns)
        return mean_of_seeds(self.said["mean"])

    def tick(self, row: Any) -> float:
        return _one(self, row, self._ring.shape[1])

    def settle(self) -> None:
        """There is nothing to do between two rows."""

    def snapshot(self) -> dict[str, np.ndarray]:
        return {"rows": self._ring.copy()}

    def restore(self, snapshot: Mapping[str, np.ndarray]) -> None:
        self._ring = np.full_like(self._ring, np.nan)
        self.feed(np.asarray(snapshot["rows"], dtype=np.float64))


def _put(said: dict[str, np.ndarray], parts: Mapping[str, np.ndarray], shape: Any, seed: int, columns: Any) -> None:
    """Write what a network says about some columns where it belongs, NaN for the others."""
    for name, values in parts.items():
        if name not in said:
            said[name] = np.full((*shape, *values.shape[1:]), np.nan)
        said[name][seed, columns] = values


def _one(served: "_States | _Windows", row: Any, n_symbols: int) -> float:
    if n_symbols != 1:
        raise InputError(f"tick serves one symbol, and this is a stream of {n_symbols}. Use step.")
    return float(served.step(np.asarray(row, dtype=np.float64).reshape(-1, 1), None)[0])


class Ticker:
    """A bare network, fed one row after the other: no features, no scaling, no Bars.

    Parameters
    ----------
    weights : mapping of str to array
        By torch's names: ``lstm.{i}.weight_ih_l0``, ``weight_hh_l0``, ``bias_ih_l0`` and ``bias_hh_l0`` of every layer,
        ``head.{j}.weight`` and ``bias`` of every dense one, the last with one row. float64 weights are computed in
        float64, all others in float32.
    lookback : int
        Rows in a window.
    head_activation : {"relu", "tanh", "linear"}, default="relu"
        Between dense layers.

    Notes
    -----
    A row that is not finite breaks the window: the next `lookback` - 1 forecasts are NaN, as are those before the first
    full window.

    Examples
    --------
    >>> import longshort as ls
    >>> bars = ls.load_bars("AAPL", start="2017-01-01", end="2019-12-31", source="sample")
    >>> model = ls.LSTM([ls.features.log_return()], lookback=3, hidden=(8,), epochs=1).fit(bars)
    >>> ticker = ls.models.streaming.Ticker(model.nets_[0][0].weights, lookback=3)
    >>> import math
    >>> [math.isfinite(ticker.tick(x)) for x in (0.1, -0.2, 0.3, 0.1)]
    [False, False, True, True]
    """

    def __init__(self, weights: Mapping[str, np.ndarray], lookback: int, head_activation: str = "relu"):
        check_lookback(lookback)
        arrays = {name: np.asarray(array) for name, array in weights.items()}
        double = any(array.dtype == np.float64 for array in arrays.values())
        widths = [arrays[f"lstm.{i}.weight_hh_l0"].shape[1] for i in range(_count(arrays, "lstm.{}.weight_hh_l0"))]
        heads = [arrays[f"head.{j}.weight"].shape[0] for j in range(_count(arrays, "head.{}.weight"))]
        if not widths or not heads or heads[-1] != 1:
            raise InputError(
                "weights must hold lstm.0.weight_hh_l0 and so on, and dense layers from head.0.weight on that end in "
                f"one output; found {len(widths)} LSTM layers and heads of {heads} outputs."
            )
        self.lookback, self.n_inputs = int(lookback), int(arrays["lstm.0.weight_ih_l0"].shape[1])
        engine = (core.LSTMTrainer64 if double else core.LSTMTrainer)(
            n_inputs=self.n_inputs,
            hidden=widths,
            head=heads[:-1],
            head_activation=head_activation,
            lookback=self.lookback,
        )
        engine.set_weights(arrays)
        self._native = core.Ticker(None, 1, self.n_inputs, self.lookback, self.lookback)
        self._native.add(0, engine.serve([0], np.zeros(self.n_inputs), np.ones(self.n_inputs)))

    @classmethod
    def from_torch(cls, lstm: Any, linear: Any, lookback: int) -> "Ticker":
        """Serve what ``linear(lstm(window)[0][:, -1])`` computes in PyTorch, without PyTorch.

        Parameters
        ----------
        lstm : torch.nn.LSTM
            Of any number of layers; one direction, no projections. Dropout is off, as after ``eval()``.
        linear : torch.nn.Linear
            With one output.
        lookback : int
            Rows in a window.

        Returns
        -------
        Ticker
            Equal to PyTorch to 1e-6 in float32: the order of the additions is our own.
        """
        try:
            from torch import nn
        except ImportError as error:
            raise SetupError("from_torch needs PyTorch: pip install 'longshort[torch]'.") from error
        from .exchange import to_native

        if not isinstance(lstm, nn.LSTM) or not isinstance(linear, nn.Linear):
            raise InputError(
                f"from_torch needs a torch.nn.LSTM and a torch.nn.Linear, were {type(lstm).__name__} and "
                f"{type(linear).__name__}."
            )
        if str(lstm.weight_ih_l0.dtype) not in ("torch.float32", "torch.float64"):
            raise InputError(
                f"from_torch needs float32 or float64 weights, was {lstm.weight_ih_l0.dtype}. Call .float()."
            )
        if (linear.in_features, linear.out_features) != (lstm.hidden_size, 1):
            raise InputError(
                f"linear must turn the {lstm.hidden_size} units of the LSTM into 1 number, was "
                f"{linear.in_features} into {linear.out_features}."
            )
        weights = to_native(nn.ModuleDict({"lstm": lstm, "linear": linear}))
        return cls(weights, lookback)

    def tick(self, x: "float | Sequence[float] | np.ndarray") -> float:
        """Take one row, a number or `n_inputs` of them; return the network's output for the window it completes."""
        return self._native.tick(x)

    def settle(self) -> None:
        """Do now, between two rows, what the next `tick` would otherwise have to wait for."""
        self._native.settle()

    def snapshot(self) -> np.ndarray:
        """Return the rows the next outputs depend on, float64 (n, n_inputs)."""
        return self._native.rows()[:, 0]

    def restore(self, snapshot: np.ndarray) -> "Ticker":
        """Continue from the rows of a snapshot, with the same bits; return self."""
        rows = np.asarray(snapshot, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != self.n_inputs:
            raise InputError(f"A snapshot holds rows (n, {self.n_inputs}), was of shape {rows.shape}.")
        self._native.reset()
        self._native.feed(rows[:, np.newaxis])
        return self


def _count(arrays: Mapping[str, np.ndarray], name: str) -> int:
    n = 0
    while name.format(n) in arrays:
        n += 1
    return n
