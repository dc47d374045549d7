"""A fitted `Ensemble` on live data: the streams of its members, combined."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..features import FeatureSet, field
from ..forecast import ForecastRow, row_of_parts

if TYPE_CHECKING:
    from ..bars import Bars


class EnsembleStream:
    """A fitted `Ensemble`, fed row by row: the members' streams, combined.

    Parameters
    ----------
    model : Ensemble
        Fitted; every member must have `stream`.
    bars : Bars, optional
        History to warm up with.
    """

    def __init__(self, model: Any, bars: "Bars | None" = None):
        for name, member in model.members_.items():
            if not hasattr(member, "stream"):
                raise InputError(
                    f"Member {name!r} ({type(member).__name__}) has no stream. Call predict(bars) instead."
                )
        if model.combine == "median" and model.seeds not in (None, 1):
            raise InputError("A median over several seeds cannot be streamed. Fit with seeds=None.")
        self._model, self._streams = model, [member.stream(bars) for member in model.members_.values()]
        self.symbols = self._streams[0].symbols
        self._close = None
        if model.combine == "stacking" and model.target.kind == "close":
            self._close = FeatureSet([field("close")]).stepper(self.symbols)
            for i in range(0 if bars is None else len(bars)):
                self._close.step(bars.row(i))  # type: ignore[union-attr]

    def step(self, row: Mapping[str, np.ndarray]) -> np.ndarray:
        """Take one closed row (as `Bars.row` gives it) and return the forecasts, (n_symbols,)."""
        origin = self._origin(row)
        return self._model.combination_([stream.step(row) for stream in self._streams], origin)

    def forecast(self, row: Mapping[str, np.ndarray]) -> ForecastRow:
        """Take one closed row and return everything that `predict` says of it."""
        origin = self._origin(row)
        mean, extras = self._model.joined([stream.forecast(row) for stream in self._streams], origin)
        return row_of_parts(self._model.target.info, {"mean": mean, **extras})

    def _origin(self, row: Mapping[str, np.ndarray]) -> Any:
        if self._close is not None:
            return np.array(self._close.step(row))[:, 0]
        return 0.5 if self._model.target.kind == "direction" else 0.0

    def settle(self) -> None:
        """Do now, between two rows, what the next forecast would otherwise have to wait for."""
        for stream in self._streams:
            stream.settle()

    def snapshot(self) -> dict[str, np.ndarray]:
        """Return everything the next forecasts depend on, as named arrays; see `Stream.snapshot`."""
        out = {} if self._close is None else {"close": np.frombuffer(self._close.snapshot()["state"], np.uint8)}
        for name, stream in self._members():
            out |= {f"{name}.{key}": array for key, array in stream.snapshot().items()}
        return out

    def restore(self, snapshot: Mapping[str, np.ndarray]) -> "EnsembleStream":
        """Continue from a snapshot of a stream of the same ensemble and symbols, with the same bits; return self."""
        if self._close is not None and "close" not in snapshot:
            raise InputError("The snapshot lacks 'close': it was taken from another ensemble. Take it again.")
        for name, stream in self._members():
            own = {key.removeprefix(f"{name}."): array for key, array in snapshot.items() if key.startswith(f"{name}.")}
            stream.restore(own)
        if self._close is not None:
            self._close.restore(self._close.snapshot() | {"state": np.asarray(snapshot["close"], np.uint8).tobytes()})
        return self

    def _members(self) -> list[tuple[str, Any]]:
        """Return the members' streams by name."""
        members = list(zip(self._model.members_, self._streams, strict=True))
        for name, stream in members:
            if not hasattr(stream, "snapshot"):
                raise InputError(f"The stream of member {name!r} cannot be kept ({type(stream).__name__}). Warm it up.")
        return members
