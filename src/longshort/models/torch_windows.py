"""Windows for the torch engine: cut from bound features by index, scaled, and placed in their batch by content."""

from typing import Any

import numpy as np

from ..errors import InputError
from .with_torch import torch

ROWS = 16  # windows predicted together on the processor: always so many
_ODD = np.uint64(0x9E3779B97F4A7C15)


class Series:
    """The features an engine is bound to, and windows cut from them."""

    def __init__(
        self, data: np.ndarray, time_stride: int, center: Any, scale: Any, lookback: int, device: torch.device
    ) -> None:
        if not isinstance(data, np.ndarray) or data.dtype != np.float64 or not data.flags.c_contiguous:
            raise InputError("data must be a C-contiguous float64 array. Write np.ascontiguousarray(data, np.float64).")
        center, scale = (np.asarray(v, dtype=np.float64).reshape(-1) for v in (center, scale))
        if center.shape != scale.shape or not np.isfinite(center).all() or not (np.isfinite(scale) & (scale > 0)).all():
            raise InputError("center and scale must be finite, of one length, and scale positive.")
        if time_stride < 1:
            raise InputError(f"time_stride must be at least 1 element, was {time_stride}.")
        self.n_features, self.lookback, self.time_stride = len(center), lookback, int(time_stride)
        self.device = device
        self.size, self.reach = data.size, (lookback - 1) * self.time_stride + self.n_features
        home = torch.device("cpu") if device.type == "mps" else device  # Apple's GPU has no float64
        self._data = data
        flat = torch.from_numpy(_writable(data).reshape(-1)).to(home)
        self._view = None
        if self.size >= self.reach:
            shape = (self.size - self.reach + 1, lookback, self.n_features)
            self._view = flat.as_strided(shape, (1, self.time_stride, 1))
        self._center, self._scale = (torch.from_numpy(v.copy()).to(home) for v in (center, scale))
        self._symbols: np.ndarray | None = None

    def name_columns(self, symbols: np.ndarray, known: int) -> None:
        symbols = np.asarray(symbols, dtype=np.int64)
        if self.time_stride % self.n_features or symbols.shape != (self.time_stride // self.n_features,):
            columns = self.time_stride / self.n_features
            raise InputError(f"symbols must have one number per column ({columns:g}), was of shape {symbols.shape}.")
        if len(symbols) and not (0 <= symbols.min() and symbols.max() < known):
            odd = symbols[(symbols < 0) | (symbols >= known)][0]
            raise InputError(f"The network knows symbols 0 to {known - 1}, but symbols has {odd}.")
        self._symbols = symbols

    def check(self, starts: np.ndarray, may_be_empty: bool) -> None:
        if starts.ndim != 1 or starts.dtype.kind not in "iu":
            raise InputError(
                f"starts must be one-dimensional integers, was of shape {starts.shape} and type {starts.dtype}."
            )
        if not len(starts):
            if may_be_empty:
                return
            raise InputError("starts must name at least one window; it was empty.")
        outside = (starts < 0) | (starts > self.size - self.reach)
        if outside.any():
            i = int(np.flatnonzero(outside)[0])
            raise InputError(
                f"starts[{i}] = {starts[i]} is outside the series: a window reaches over {self.reach} of its "
                f"{self.size} elements."
            )

    def places(self, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Batch and row for each window.

        The matrix products of small layers give a row other last bits at another place among its neighbours. So the row
        is chosen by the content of the window (a hash of its first and last bar): an answer depends on nothing else.
        """
        bits, reach = self._data.reshape(-1).view(np.uint64), np.arange(self.n_features)
        ends = starts[:, None] + np.concatenate([reach, reach + (self.lookback - 1) * self.time_stride])
        with np.errstate(over="ignore"):
            row = (bits[ends] * _ODD ** np.arange(1, ends.shape[1] + 1, dtype=np.uint64)).sum(axis=1) >> np.uint64(60)
        row = row.astype(np.int64)
        order = np.argsort(row, kind="stable")
        sizes = np.bincount(row, minlength=ROWS)
        batch = np.empty_like(row)
        batch[order] = np.arange(len(row)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return batch, row

    def windows(self, starts: np.ndarray, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Scaled windows (n, lookback, n_features), and the numbers of their symbols where they matter."""
        assert self._view is not None
        index = torch.from_numpy(starts).to(self._view.device)
        x = ((self._view[index] - self._center) / self._scale).to(dtype).to(self.device)
        if self._symbols is None:
            return x, None
        return x, torch.from_numpy(self._symbols[starts % self.time_stride // self.n_features]).to(self.device)


class _Writable:
    """Says of a read-only array that it may be written, for `torch.from_numpy`, which would warn; nothing writes it."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array  # kept alive
        address, _ = array.__array_interface__["data"]
        self.__array_interface__ = {**array.__array_interface__, "data": (address, False)}


def _writable(array: np.ndarray) -> np.ndarray:
    return array if array.flags.writeable else np.asarray(_Writable(array))
