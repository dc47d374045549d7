"""The torch engine: any module behind the one training loop, on any device, with the native engine's habits.

It takes the same passes as the native engine: windows gathered by index from the bound features, the same order of
samples, the same Adam, the same losses. So the plain LSTM follows the same loss path in both, and whatever torch can
express trains, stops, resumes and forecasts like it.
"""

import ctypes
import hashlib
import math
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any

import numpy as np

from ..errors import InputError, TrainingError, UnknownName, did_you_mean
from ..native import core
from .nets import NETWORKS, Dropout, Network, make_network, seeded
from .torch_losses import torch_loss
from .torch_windows import ROWS, Series
from .with_torch import nn, torch

PRECISIONS = {"fp32": torch.float32, "fp64": torch.float64}
ROWS_ELSEWHERE = 512  # windows predicted together on a GPU: always so many
EVALUATED = 256  # windows evaluated together where only their mean loss is wanted


class TorchEngine:
    """Trains and applies one torch module; an `Engine` like the native one.

    Parameters
    ----------
    module : nn.Module
        Maps windows (batch, lookback, n_features) to raw outputs (batch, n_outputs) or (batch,). The engine takes it
        over: it moves to the device and learns in place. A `Network` with symbols is called with their numbers too.
    loss : str or callable, default="mse"
        As in `torch_losses.torch_loss`.
    loss_options : mapping, optional
        Of that loss, such as ``{"huber_delta": 1.0}``.
    lookback : int
        Bars in a window.
    lr, beta1, beta2, eps : float
        Of Adam.
    weight_decay : float, default=0.0
        Decoupled (AdamW).
    clip : float, default=0.0
        Largest global norm of a gradient; 0 for no limit.
    batch_size : int, default=32
        Samples per step. Losses of blocks (`sharpe`, `rank`) take whole blocks until there are at least so many.
    seed : int, default=0
        Origin of the order of samples and of dropout. Initial weights are the module's.
    device : str, default="auto"
        ``"auto"`` is a GPU where there is one; otherwise a device of torch, such as ``"cpu"`` or ``"cuda:1"``.
    precision : {"fp32", "fp64"}, default="fp32"
        Of weights and arithmetic.
    mixed_precision : bool, default=False
        Train with bfloat16 products where that is safe (autocast). CUDA only; forecasts stay in `precision`.
    threads : int, default=1
        Processor threads for one operation, set while the engine works and restored afterwards.

    Notes
    -----
    On the processor a row of `predict` is a function of its window and the weights alone, and training one of seed and
    data, bit for bit: nothing reads or moves the global random state. A module that draws random numbers itself (any
    that is not a `Network`) is trained one at a time per process, with the global state put back after each epoch.

    On Linux with glibc, the first engine tells the allocator to keep memory between steps, which is worth 1.6x.

    Examples
    --------
    >>> import numpy as np
    >>> from longshort.models.nets import make_network
    >>> x = np.sin(np.arange(200.0))
    >>> engine = TorchEngine(make_network("lstm", 1, hidden=(8,)), lookback=10, lr=0.01, device="cpu")
    >>> engine.bind(x, time_stride=1, center=[0.0], scale=[1.0])
    >>> starts = np.arange(150)
    >>> losses = [engine.epoch(starts, x[starts + 10]) for _ in range(20)]
    >>> losses[-1] < 0.1 * losses[0], engine.predict(starts[:3]).shape
    (True, (3, 1))
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        lookback: int,
        loss: Any = "mse",
        loss_options: Mapping[str, Any] | None = None,
        lr: float = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        clip: float = 0.0,
        batch_size: int = 32,
        seed: int = 0,
        device: str = "auto",
        precision: str = "fp32",
        mixed_precision: bool = False,
        threads: int = 1,
    ) -> None:
        if precision not in PRECISIONS:
            raise UnknownName(f"precision was {precision!r}. {did_you_mean(str(precision), PRECISIONS)}")
        for name, value in (("lookback", lookback), ("batch_size", batch_size), ("threads", threads)):
            if not isinstance(value, int | np.integer) or value < 1:
                raise InputError(f"{name} must be a whole number of at least 1, was {value!r}.")
        self.device = choose_device(device)
        if mixed_precision and self.device.type != "cuda":
            raise InputError(
                f"mixed_precision needs a CUDA device, but device={device!r} is {self.device}. Pass False."
            )
        self._loss = torch_loss(loss, **(loss_options or {}))
        self.lookback, self.batch_size, self.clip = int(lookback), int(batch_size), float(clip)
        self.seed, self.threads, self.mixed_precision = int(seed), int(threads), mixed_precision
        self.dtype = PRECISIONS[precision]
        self.module = module.to(device=self.device, dtype=self.dtype)
        trained = [p for p in module.parameters() if p.requires_grad]
        if not trained:
            raise InputError(f"{type(module).__name__} has no weights to train.")
        self._trained = trained
        self._adam = torch.optim.AdamW(trained, lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay)
        self.steps_done = self.epochs_done = 0
        self._series: Series | None = None
        keep_memory_between_steps()

    # -- data ----------------------------------------------------------------------------------------------------

    def bind(
        self, data: np.ndarray, time_stride: int, center: Any, scale: Any, symbols: np.ndarray | None = None
    ) -> None:
        """Cut windows from these features from now on.

        Parameters
        ----------
        data : float64 array, C-contiguous
            Kept, never copied on the processor. Step t of the window that starts at element s is
            ``data.ravel()[s + t * time_stride : ... + n_features]``.
        time_stride : int
            Elements from one bar to the next.
        center, scale : arrays (n_features,)
            Inputs are ``(x - center) / scale``, computed in float64.
        symbols : int array (n_columns,), optional
            Number that the network knows each column of the features by; their positions by default. A window's column
            is ``start % time_stride // n_features``.
        """
        series = Series(data, time_stride, center, scale, self.lookback, self.device)
        expected = getattr(self.module, "n_inputs", series.n_features)
        if expected != series.n_features:
            raise InputError(
                f"The network takes {expected} features a bar, but center and scale have {series.n_features}."
            )
        known = getattr(self.module, "n_symbols", 0)
        if known:
            series.name_columns(np.arange(time_stride // series.n_features) if symbols is None else symbols, known)
        self._series = series

    # -- training ------------------------------------------------------------------------------------------------

    def epoch(self, starts: np.ndarray, targets: np.ndarray, blocks: np.ndarray | None = None) -> float:
        """Train on every window once, in shuffled order; return the mean loss as seen, dropout included.

        Parameters
        ----------
        starts : int64 array (n,)
            Where windows start.
        targets : float64 array (n, n_targets) or (n,)
            Scaled outcomes.
        blocks : int array (n,), optional
            For `sharpe` the run of one symbol and for `rank` the date each sample belongs to; samples of a
            block are taken together, in the order given.

        Raises
        ------
        TrainingError
            A loss or a gradient was not finite. The weights are those before that batch.
        """
        series, starts, targets, blocks = self._checked(starts, targets, blocks)
        ready, aligned = self._tensor(self._prepared(targets, blocks)), self._blocks(blocks)
        batches = list(self._batches(len(starts), blocks))
        self.epochs_done += 1
        total = 0.0
        self.module.train()
        with self._working(), self._randomness():
            for number, batch in enumerate(batches):
                index = torch.from_numpy(batch).to(self.device)
                part = None if aligned is None else aligned[index]
                outputs = self._forward(series, starts[batch], self.mixed_precision)
                loss = self._loss(outputs, ready[index], part)
                self._adam.zero_grad(set_to_none=True)
                loss.backward()
                total += len(batch) * self._step(loss.detach(), f"batch {number + 1} of {len(batches)}")
        return total / len(starts)

    def _step(self, loss: torch.Tensor, where: str) -> float:
        gradients = [p.grad for p in self._trained if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        value, size = torch.stack([loss.double(), norm.double()]).tolist()
        if not math.isfinite(value) or not math.isfinite(size):
            what = "gradient" if math.isfinite(value) else "loss"
            raise TrainingError(
                f"Training stopped: the {what} was not finite in epoch {self.epochs_done}, {where}. The weights are "
                f"those before that batch. Look for non-finite inputs, lower lr ({self.lr:g}) or set clip."
            )
        if 0 < self.clip < size:
            for gradient in gradients:
                gradient.mul_(self.clip / size)
        self._adam.step()
        self.steps_done += 1
        return value

    def _batches(self, n: int, blocks: np.ndarray | None) -> Iterator[np.ndarray]:
        """Indices of the samples of each batch: the native engine's order, or whole blocks in such an order."""
        if blocks is None:
            order = core.shuffled(n, self.seed, self.epochs_done).astype(np.int64)
            yield from (order[at : at + self.batch_size] for at in range(0, n, self.batch_size))
            return
        members = _members(blocks)
        batches: list[list[np.ndarray]] = [[]]
        for g in core.shuffled(len(members), self.seed, self.epochs_done):
            if sum(map(len, batches[-1])) >= self.batch_size:
                batches.append([])
            batches[-1].append(members[g])
        if len(batches) > 1 and 2 * sum(map(len, batches[-1])) < self.batch_size:  # too few to say anything
            last = batches.pop()
            batches[-1] += last
        yield from map(np.concatenate, batches)

    def loss(self, starts: np.ndarray, targets: np.ndarray, blocks: np.ndarray | None = None) -> float:
        """Return the mean loss, without dropout and without learning; where blocks matter, over all samples at once."""
        series, starts, targets, blocks = self._checked(starts, targets, blocks)
        if blocks is not None:
            order = np.argsort(blocks, kind="stable")
            starts, targets, blocks = starts[order], targets[order], blocks[order]
        ready, aligned = self._tensor(self._prepared(targets, blocks)), self._blocks(blocks)
        with self._working(), torch.no_grad():
            self.module.eval()
            chunks = [slice(at, at + EVALUATED) for at in range(0, len(starts), EVALUATED)]
            outputs = [self._forward(series, starts[chunk]) for chunk in chunks]
            if self._loss.by_block:
                return float(self._loss(torch.cat(outputs), ready, aligned))
            losses = [self._loss(o, ready[chunk]) * len(o) for o, chunk in zip(outputs, chunks, strict=True)]
            return float(torch.stack(losses).double().sum()) / len(starts)

    def predict(self, starts: np.ndarray) -> np.ndarray:
        """Return raw outputs, float64 (n, n_outputs), without dropout."""
        series, starts, _, _ = self._checked(starts, None, None)
        if not len(starts):
            return np.zeros((0, self.n_outputs))
        batch, row = (
            series.places(starts) if self.device.type == "cpu" else np.divmod(np.arange(len(starts)), ROWS_ELSEWHERE)
        )
        table = np.full((batch.max() + 1, ROWS if self.device.type == "cpu" else ROWS_ELSEWHERE), starts[0])
        table[batch, row] = starts
        with self._working(), torch.no_grad():
            self.module.eval()
            outputs = torch.stack([self._forward(series, line) for line in table])
            return outputs.double().numpy(force=True)[batch, row]

    def _forward(self, series: Series, starts: np.ndarray, mixed: bool = False) -> torch.Tensor:
        x, symbols = series.windows(starts, self.dtype)
        with torch.autocast("cuda", torch.bfloat16) if mixed else nullcontext():
            outputs = self.module(x) if symbols is None else self.module(x, symbols)
        if not isinstance(outputs, torch.Tensor) or outputs.shape not in {(len(x),), (len(x), *outputs.shape[1:2])}:
            found = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs).__name__
            raise InputError(
                f"{type(self.module).__name__} must turn windows {tuple(x.shape)} into outputs ({len(x)}, n_outputs), "
                f"but gave {found}. Take the last step and drop what else the layers return."
            )
        return (outputs[:, None] if outputs.ndim == 1 else outputs).to(self.dtype)

    @property
    def n_outputs(self) -> int:
        """How many raw outputs the module gives."""
        known = getattr(self.module, "n_outputs", None)
        if known is None:
            series = self._bound()
            with torch.no_grad():
                self.module.eval()
                known = self._forward(series, np.zeros(1, np.int64)).shape[1]
        return int(known)

    @contextmanager
    def _working(self) -> Iterator[None]:
        before = torch.get_num_threads()
        if before != self.threads:
            torch.set_num_threads(self.threads)
        try:
            yield
        finally:
            if before != self.threads:
                torch.set_num_threads(before)

    @contextmanager
    def _randomness(self) -> Iterator[None]:
        """Randomness of this epoch: a function of seed and epoch, whoever else draws numbers meanwhile."""
        digest = hashlib.blake2b(f"dropout {self.seed} {self.epochs_done}".encode(), digest_size=8).digest()
        key = int.from_bytes(digest, "little") >> 1
        if not isinstance(self.module, Network):
            with seeded(key):
                yield
            return
        generator = torch.Generator(self.device).manual_seed(key)
        drops = [part for part in self.module.modules() if isinstance(part, Dropout)]
        for drop in drops:
            drop.generator = generator
        try:
            yield
        finally:
            for drop in drops:
                drop.generator = None

    # -- checks --------------------------------------------------------------------------------------------------

    def _bound(self) -> Series:
        if self._series is None:
            raise InputError("Call bind(data, ...) first: there is no series to cut windows from.")
        return self._series

    def _checked(self, starts: Any, targets: Any, blocks: Any) -> tuple[Series, np.ndarray, Any, Any]:
        series = self._bound()
        starts = np.asarray(starts)
        series.check(starts, may_be_empty=targets is None)
        if targets is None:
            return series, starts.astype(np.int64), None, None
        targets = np.asarray(targets, dtype=np.float64)
        targets = targets[:, None] if targets.ndim == 1 else targets
        if targets.ndim != 2 or len(targets) != len(starts):
            raise InputError(f"targets must have shape ({len(starts)}, n_targets), was {targets.shape}.")
        if not np.isfinite(targets).all():
            row, column = np.argwhere(~np.isfinite(targets))[0]
            raise InputError(f"targets must be finite, but targets[{row}, {column}] was {targets[row, column]}.")
        self._loss.check(self.n_outputs, targets)
        if self._loss.by_block != (blocks is not None):
            need = "needs the block of each sample" if self._loss.by_block else "takes no blocks"
            raise InputError(f"This loss {need}. Pass blocks only with loss='sharpe' or loss='rank'.")
        if blocks is not None:
            blocks = np.unique(np.asarray(blocks), return_inverse=True)[1]
            if blocks.shape != starts.shape:
                raise InputError(f"blocks must have shape {starts.shape}, was {blocks.shape}.")
        return series, starts.astype(np.int64), targets, blocks

    def _prepared(self, targets: np.ndarray, blocks: np.ndarray | None) -> np.ndarray:
        if self._loss.prepare is None or blocks is None:
            return targets
        return self._loss.prepare(targets, blocks)

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.dtype).to(self.device)

    def _blocks(self, blocks: np.ndarray | None) -> torch.Tensor | None:
        return None if blocks is None else torch.from_numpy(blocks).to(self.device)

    # -- what is kept --------------------------------------------------------------------------------------------

    @property
    def lr(self) -> float:
        """Step size of Adam."""
        return float(self._adam.param_groups[0]["lr"])

    @lr.setter
    def lr(self, rate: float) -> None:
        if not 0 <= rate < math.inf:
            raise InputError(f"lr must be at least 0 and finite, was {rate!r}.")
        self._adam.param_groups[0]["lr"] = float(rate)

    @property
    def n_parameters(self) -> int:
        """Count of all weights that are trained, both biases of a layer included."""
        return sum(p.numel() for p in self._trained)

    def weights(self) -> dict[str, np.ndarray]:
        """Return copies of all weights (and buffers) by the module's names."""
        return {name: _array(tensor) for name, tensor in self.module.state_dict().items()}

    def set_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        """Replace all weights; names and shapes must fit exactly, values must be finite."""
        own = self.module.state_dict()
        for name, tensor in own.items():
            if name not in weights:
                raise InputError(f"weights lacks {name!r} of shape {tuple(tensor.shape)}.")
            _check(name, weights[name], tuple(tensor.shape))
        for name in weights:
            if name not in own:
                raise UnknownName(f"weights has {name!r}, which this network does not. {did_you_mean(name, own)}")
        self.module.load_state_dict({name: torch.from_numpy(np.array(weights[name])) for name in own})

    def state(self) -> dict[str, np.ndarray]:
        """Return weights, Adam's moments and counters: everything training goes on from, bit for bit."""
        out = {f"weights.{name}": array for name, array in self.weights().items()}
        for moment, key in _MOMENTS.items():
            for name, p in self._named():
                held = self._adam.state[p].get(key) if p in self._adam.state else None
                out[f"{moment}.{name}"] = _array(torch.zeros_like(p) if held is None else held)
        return out | {"step": np.array([self.steps_done]), "epoch": np.array([self.epochs_done])}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from `state()`."""
        own = self.state()
        for name, array in own.items():
            if name not in state:
                raise InputError(f"state lacks {name!r}.")
            _check(name, state[name], array.shape)
        self.set_weights({n.removeprefix("weights."): a for n, a in state.items() if n.startswith("weights.")})
        self.steps_done, self.epochs_done = int(state["step"][0]), int(state["epoch"][0])
        self._adam.state.clear()
        if self.steps_done:
            for name, p in self._named():
                moments = {key: _like(p, state[f"{moment}.{name}"]) for moment, key in _MOMENTS.items()}
                self._adam.state[p] = {"step": torch.tensor(float(self.steps_done)), **moments}

    def _named(self) -> Iterator[tuple[str, nn.Parameter]]:
        return ((name, p) for name, p in self.module.named_parameters() if p.requires_grad)


def torch_engine(model: Any, n_inputs: int, seed: int, options: Mapping[str, Any]) -> TorchEngine:
    """Build the torch engine for an estimator's arguments; `options` are its loss's name and arguments."""
    return TorchEngine(
        _module_of(model, n_inputs, seed),
        lookback=model.lookback,
        loss=options["loss"],
        loss_options={name: value for name, value in options.items() if name != "loss"},
        lr=model.lr,
        eps=model.eps,
        weight_decay=model.weight_decay,
        clip=model.clip,
        batch_size=model.batch_size,
        seed=seed,
        device=model.device,
        precision="fp32" if model.precision == "mixed" else model.precision,
        mixed_precision=model.precision == "mixed",
    )


def require_network(network: Any) -> None:
    """Raise `UnknownName` unless `network` is a function or the word of a network."""
    if not callable(network) and network not in NETWORKS:
        raise UnknownName(f"network was {network!r}. {did_you_mean(str(network), NETWORKS)}")


def _module_of(model: Any, n_inputs: int, seed: int) -> nn.Module:
    if callable(model.network):
        with seeded(seed):
            made = model.network(n_inputs, model.n_outputs, model.lookback)
        if not isinstance(made, nn.Module):
            raise InputError(
                f"network(n_inputs, n_outputs, lookback) must return an nn.Module, was {type(made).__name__}."
            )
        return made
    shape = {
        "n_outputs": model.n_outputs,
        "hidden": [int(w) for w in model.hidden],
        "head": [int(w) for w in model.head],
        "dropout": model.dropouts(),
        "lookback": model.lookback,
        "head_activation": model.head_activation,
    }
    if model.symbol_embedding:
        shape |= {"n_symbols": len(model.symbols_), "embedding": int(model.symbol_embedding)}
    net = make_network(model.network, n_inputs, **shape, **(model.network_options or {}))
    return (net.double() if model.precision == "fp64" else net).initialise(seed, model.init)


_MOMENTS = {"first_moment": "exp_avg", "second_moment": "exp_avg_sq"}


def choose_device(device: str) -> torch.device:
    """Return the device by its name; ``"auto"`` is CUDA where there is a GPU, else the processor.

    Examples
    --------
    >>> choose_device("cpu")
    device(type='cpu')
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise InputError(
            f"device must be 'auto' or a device of torch such as 'cpu' or 'cuda:0', was {device!r}."
        ) from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device={device!r}, but this machine or this build of torch has no CUDA. Pass device='auto'.")
    return chosen


@cache
def keep_memory_between_steps() -> None:
    """Let glibc keep a step's megabytes of work space instead of giving them back to the system and faulting again."""
    if platform.system() == "Linux" and platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD


def _members(blocks: np.ndarray) -> list[np.ndarray]:
    order = np.argsort(blocks, kind="stable")
    return np.split(order, np.cumsum(np.bincount(blocks))[:-1])


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().copy()


def _like(p: torch.Tensor, array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(array)).to(device=p.device, dtype=p.dtype)


def _check(name: str, array: Any, shape: tuple[int, ...]) -> None:
    found = np.asarray(array)
    if found.shape != shape:
        raise InputError(f"{name} must have shape {shape}, was {found.shape}.")
    if found.dtype.kind not in "fiub" or not np.isfinite(found).all():
        raise InputError(f"{name} must hold finite numbers only.")
