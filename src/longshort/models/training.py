"""The training loop, once, for every engine.

An engine knows how to take one pass over samples; everything that makes a training of it (at which rate, when to stop,
which weights to keep, what to remember, how to go on after a crash) is here. A `Training` advances one epoch per
`step`, so that a fleet of them can share the cores, and none of them knows about the others. `fit_net` is the door for
plain arrays and any torch module.
"""

import hashlib
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from .. import artifact
from ..errors import ArtifactError, InputError, NotEnoughData, TrainingError
from . import fleet
from .fits import remember_choice
from .schedules import schedule_of

KIND, VERSION = "training", 1


class Engine(Protocol):
    """What trains: the native kernel, the torch engine, or anything that behaves like them."""

    @property
    def lr(self) -> float:
        """Step size of the optimiser."""
        ...

    @lr.setter
    def lr(self, rate: float) -> None: ...

    def bind(self, data: np.ndarray, time_stride: int, center: np.ndarray, scale: np.ndarray) -> None:
        """Cut windows from this float64 C-contiguous array from now on, scaled by ``(x - center) / scale``."""
        ...

    def epoch(self, starts: np.ndarray, targets: np.ndarray) -> float:
        """Take one shuffled pass of optimiser steps; return the sample-weighted mean loss as seen."""
        ...

    def loss(self, starts: np.ndarray, targets: np.ndarray) -> float:
        """Return the sample-weighted mean loss, without dropout and without learning."""
        ...

    def predict(self, starts: np.ndarray) -> np.ndarray:
        """Return the raw outputs, float64 (n_samples, n_outputs), without dropout."""
        ...

    def weights(self) -> dict[str, np.ndarray]:
        """Return copies of all weights by name."""
        ...

    def set_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        """Replace all weights."""
        ...

    def state(self) -> dict[str, np.ndarray]:
        """Return everything training goes on from."""
        ...

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from `state()`, bit for bit."""
        ...


@dataclass(frozen=True)
class Samples:
    """Where windows start and what they should predict.

    Parameters
    ----------
    starts : int64 array (n_samples,)
        Element offsets, as in `features.windows.Windows`.
    targets : float64 array (n_samples, n_targets)
        Scaled outcomes, finite. Of sequences: (n_samples, n_steps, n_targets), NaN where a step has none.
    blocks : int64 array (n_samples,), optional
        For losses of whole blocks (a date, a run of one symbol): the block of each sample. They share a batch.
    weights : float64 array (n_samples,), optional
        How much each sample's loss counts, 1 on average.
    """

    starts: np.ndarray
    targets: np.ndarray
    blocks: np.ndarray | None = None
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def options(self) -> dict[str, np.ndarray]:
        """What an engine's `epoch` and `loss` take beside starts and targets."""
        found = {"blocks": self.blocks, "sample_weight": self.weights}
        return {name: array for name, array in found.items() if array is not None}

    @property
    def digest(self) -> str:
        """SHA-256 over all of it."""
        found = hashlib.sha256()
        for array in (self.starts, self.targets, *self.options.values()):
            found.update(f"{array.dtype.str} {array.shape} ".encode() + np.ascontiguousarray(array).tobytes())
        return found.hexdigest()


@dataclass(frozen=True)
class StopRule:
    """Early stopping as a value: `update` returns the rule after one more validation loss.

    Parameters
    ----------
    patience : int or None
        Epochs without a better validation loss after which to stop; None never stops.
    min_delta : float, default=0.0
        By how much a loss must be below the best one to be better.

    Examples
    --------
    >>> rule = StopRule(patience=2)
    >>> for loss in [1.0, 0.8, 0.9, 0.85]:
    ...     rule = rule.update(loss)
    >>> rule.best_epoch, rule.stop
    (2, True)
    """

    patience: int | None
    best: float = math.inf
    best_epoch: int = 0
    epoch: int = 0
    min_delta: float = 0.0

    def update(self, loss: float) -> "StopRule":
        """Return the rule after an epoch that ended with this validation loss."""
        epoch = self.epoch + 1
        if loss < self.best - self.min_delta:
            return replace(self, best=loss, best_epoch=epoch, epoch=epoch)
        return replace(self, epoch=epoch)

    @property
    def improved(self) -> bool:
        """Whether the last epoch was the best so far."""
        return self.epoch > 0 and self.best_epoch == self.epoch

    @property
    def stop(self) -> bool:
        """Whether patience has run out."""
        return self.patience is not None and self.epoch - self.best_epoch >= self.patience


@dataclass
class History:
    """What happened, epoch by epoch.

    Answers as an object and, for code written for Keras or a plain dict, by key.

    Parameters
    ----------
    train_loss, val_loss : list of float
        Sample-weighted mean losses in scaled units. The training loss is the one met while learning (dropout on,
        weights moving); the validation loss is evaluated after the epoch. `val_loss` is empty without validation.
    best_epoch : int
        The epoch whose weights were kept, or whose number was chosen, counted from 1.
    refit_loss : list of float
        Training losses of the refit on all rows, when there was one.
    lr : list of float
        Learning rate of each epoch, where it followed a schedule.

    Examples
    --------
    >>> h = History([0.9, 0.7], [1.0, 0.8], best_epoch=2)
    >>> h["val_loss"][-1], "loss" in h, sorted(h)
    (0.8, True, ['loss', 'train_loss', 'val_loss'])
    """

    train_loss: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    best_epoch: int = 0
    refit_loss: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)

    def keys(self) -> list[str]:
        """Return the names `history[name]` understands."""
        return ["loss", "train_loss", "val_loss"]

    def __getitem__(self, name: str) -> list[float]:
        if name not in self.keys():
            raise KeyError(name)
        return self.train_loss if name == "loss" else getattr(self, name)

    def __contains__(self, name: object) -> bool:
        return name in self.keys()

    def __iter__(self):
        return iter(self.keys())

    @property
    def history(self) -> dict[str, list[float]]:
        """The losses as Keras names them."""
        return {name: self[name] for name in self.keys()}

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a JSON-able mapping."""
        return {
            "train_loss": self.train_loss,
            "val_loss": self.val_loss,
            "best_epoch": self.best_epoch,
            "refit_loss": self.refit_loss,
        } | ({"lr": self.lr} if self.lr else {})


class Training:
    """One net's training as a sequence of epochs.

    Parameters
    ----------
    engine : Engine
        Bound to its data.
    train : Samples
        What it learns from.
    validation : Samples or None
        What decides when to stop. Never learned from: with other values here, the weights after each epoch both runs
        reach are the same bits.
    epochs : int
        At most this many.
    patience : int or None
        Epochs without improvement before stopping; None runs all epochs.
    schedule : str, mapping or Schedule, optional
        How the learning rate changes over the epochs, as in `schedules.schedule_of`; it stays the engine's by default.
    checkpoint : path-like, optional
        Directory to save to after every epoch. If it holds the checkpoint of a training on the same samples, the first
        step goes on from there, and all that follows has the bits of a training that was never stopped.
    identity : str, optional
        What else makes this training, such as a digest of its settings: a checkpoint of another is refused.

    Notes
    -----
    With validation and a patience, the weights of the best epoch are restored at the end; otherwise the last ones stay.
    """

    def __init__(
        self,
        engine: Engine,
        train: Samples,
        validation: Samples | None,
        epochs: int,
        patience: int | None,
        schedule: Any = None,
        checkpoint: str | os.PathLike[str] | None = None,
        identity: str = "",
    ) -> None:
        self.engine, self.train, self.validation, self.epochs = engine, train, validation, epochs
        self.schedule = None if schedule is None else schedule_of(schedule, epochs)
        self.checkpoint, self.identity = checkpoint, identity
        self._n_train = len(train)
        self.rule = StopRule(patience if validation is not None else None)
        self.history = History()
        self.done = epochs < 1
        self._best: dict[str, np.ndarray] | None = None
        self._lr = None if self.schedule is None else engine.lr

    @property
    def fraction(self) -> float:
        """How far along, from 0 to 1."""
        return 1.0 if self.done else len(self.history.train_loss) / self.epochs

    def batches(self, size: int) -> int:
        """Return the optimiser steps in an epoch."""
        return -(-self._n_train // size)

    def forget_samples(self) -> None:
        """Let go of the samples once training is over; the weights and the history stay."""
        self.done, self.train, self.validation = True, Samples(np.zeros(0, np.int64), np.zeros((0, 1))), None

    def step(self) -> bool:
        """Run one epoch; return True when training is over."""
        if not self.done and not self.history.train_loss and self.checkpoint is not None:
            self._resume()
        if self.done:
            return True
        self._set_rate()
        self.history.train_loss.append(
            self._finite(self.engine.epoch(self.train.starts, self.train.targets, **self.train.options))
        )
        epoch = len(self.history.train_loss)
        if self.validation is None:
            self.history.best_epoch = epoch
        else:
            held_out = self.validation
            loss = self._finite(self.engine.loss(held_out.starts, held_out.targets, **held_out.options))
            self.history.val_loss.append(loss)
            self.rule = self.rule.update(loss)
            if self.rule.patience is None:
                self.history.best_epoch = epoch
            elif self.rule.improved:
                self.history.best_epoch = epoch
                self._best = self.engine.weights()
        if self.checkpoint is not None:
            self.save(self.checkpoint)
        self._finish()
        return self.done

    def _set_rate(self) -> None:
        if self.schedule is None or self._lr is None:
            return
        epoch = len(self.history.train_loss) + 1
        self.engine.lr = self._lr * self.schedule.rate(epoch, self.history.val_loss or self.history.train_loss)
        self.history.lr.append(self.engine.lr)

    def _finish(self) -> None:
        """Be done when it is time, with the best weights and the first learning rate."""
        self.done = len(self.history.train_loss) >= self.epochs or self.rule.stop
        if not self.done:
            return
        if self._best is not None:
            self.engine.set_weights(self._best)
            self._best = None
        if self._lr is not None:
            self.engine.lr = self._lr

    # -- keeping -------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return everything `set_state` goes on from: engine, best weights, history, stop rule."""
        rule = {"best": self.rule.best, "best_epoch": self.rule.best_epoch, "epoch": self.rule.epoch}
        return {
            "engine": self.engine.state(),
            "best": self._best,
            "history": {name: list(v) if isinstance(v, list) else v for name, v in asdict(self.history).items()},
            "rule": rule,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from `state()` of a training on the same samples, bit for bit; more epochs or patience are welcome."""
        self.engine.set_state(state["engine"])
        self._best = state["best"]
        self.history = History(**state["history"])
        self.rule = replace(self.rule, **state["rule"])
        self._finish()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `state()` into one directory, atomically; no pickle."""
        state = self.state()
        best = math.isfinite(state["rule"]["best"])
        document = {
            "history": state["history"],
            "rule": state["rule"] | {"best": state["rule"]["best"] if best else None},
            "samples": self._digests(),
        }
        tensors = {"engine": state["engine"]} | ({} if state["best"] is None else {"best": state["best"]})
        artifact.save(path, KIND, tensors=tensors, documents={"training": document}, version=VERSION)

    def load(self, path: str | os.PathLike[str]) -> None:
        """Go on from what `save` wrote; damaged, foreign or other samples' directories raise `ArtifactError`."""
        found = artifact.load(path, KIND, version=VERSION)
        try:
            document, engine = found.documents["training"], found.tensors["engine"]
            if document["samples"] != self._digests():
                raise ArtifactError(
                    f"{found.path} is the checkpoint of a training on other samples or with other arguments. Give this "
                    "training another path, or remove that directory."
                )
            rule = dict(document["rule"])
            rule["best"] = math.inf if rule["best"] is None else rule["best"]
            best = found.tensors.get("best")
            self.set_state({"engine": engine, "best": best, "history": document["history"], "rule": rule})
        except (KeyError, TypeError, InputError) as error:
            raise ArtifactError(
                f"{found.path} does not fit this training: {error}. Give it another path, or remove that directory."
            ) from error

    def _resume(self) -> None:
        """Go on from the checkpoint, if there is one (or one that a crash left between two names)."""
        assert self.checkpoint is not None
        try:
            self.load(self.checkpoint)
        except ArtifactError:
            if os.path.lexists(self.checkpoint):
                raise

    def _digests(self) -> list[str]:
        own = [self.identity] if self.identity else []
        return own + [part.digest for part in (self.train, self.validation) if part is not None]

    def _finite(self, loss: float) -> float:
        if not math.isfinite(loss):
            raise TrainingError(
                f"The loss must stay finite, but was {loss} in epoch {len(self.history.train_loss) + 1}. "
                "Lower lr, clip gradients (clip=1.0), or look for outliers in the features."
            )
        return loss


def fit_net(
    net: Any,
    X: Any,
    y: Any,
    epochs: int = 50,
    *,
    validation: Any = 0.2,
    gap: int = 0,
    patience: int | None = 10,
    batch_size: int = 32,
    lr: float = 1e-3,
    loss: Any = "mse",
    loss_options: Mapping[str, Any] | None = None,
    schedule: Any = None,
    clip: float = 0.0,
    weight_decay: float = 0.0,
    seed: int = 0,
    device: str = "auto",
    precision: str = "fp32",
    mixed_precision: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Callable[[float], None] | None = None,
) -> History:
    """Train any torch module on plain arrays.

    Parameters
    ----------
    net : nn.Module
        Maps (batch, lookback, n_features) to (batch, n_outputs) or (batch,). It learns in place, moves to the device,
        and ends in evaluation mode with the weights of the best validation epoch.
    X : array (n, lookback, n_features) or (n, lookback)
        Windows in the order of time, scaled by you on training rows only.
    y : array (n,) or (n, n_targets)
        Outcomes, one row a window.
    epochs : int, default=50
        Passes over the training windows, at most.
    validation : float or (X, y), default=0.2
        Share of the windows, the last ones, that decides when to stop; or such windows given apart; 0 for none.
    gap : int, default=0
        Windows left out before the validation part, so that no training outcome lies in it: horizon - 1 for outcomes
        that reach over several bars.
    patience : int or None, default=10
        Epochs without a better validation loss before stopping; None runs all epochs.
    loss, loss_options
        As in `torch_losses.torch_loss`, a function such as ``nn.MSELoss()`` included.
    schedule : str, mapping or Schedule, optional
        As in `schedules.schedule_of`.
    checkpoint : path-like, optional
        Directory to go on from after a crash.
    progress : callable, optional
        Called with the fraction done.
    batch_size, lr, clip, weight_decay, seed, device, precision, mixed_precision
        As in `torch_engine.TorchEngine`.

    Returns
    -------
    History
        ``train_loss``, ``val_loss``, ``best_epoch``.

    Examples
    --------
    >>> import numpy as np
    >>> from longshort.models import nets
    >>> series = np.sin(np.arange(400) / 5)
    >>> X = np.lib.stride_tricks.sliding_window_view(series[:-1], 20)[..., None]
    >>> history = fit_net(nets.make_network("gru", 1, hidden=(8,)), X, series[20:], epochs=5, lr=0.01, device="cpu")
    >>> history["val_loss"][-1] < history["val_loss"][0]
    True
    """
    from .torch_engine import TorchEngine

    windows, outcomes = _arrays(X, y, "X", "y")
    held_out = validation if isinstance(validation, tuple | list) else None
    n_train, last = _split(len(windows), 0.0 if held_out is not None else validation, gap)
    if held_out is not None:
        more, wanted = _arrays(held_out[0], held_out[1], "validation[0]", "validation[1]")
        if more.shape[1:] != windows.shape[1:] or wanted.shape[1:] != outcomes.shape[1:]:
            raise InputError(f"validation must have windows {windows.shape[1:]} as X has, was {more.shape[1:]}.")
        last, windows, outcomes = len(windows), np.concatenate([windows, more]), np.concatenate([outcomes, wanted])
    n, lookback, n_features = windows.shape
    engine = TorchEngine(
        net,
        lookback=lookback,
        loss=loss,
        loss_options=loss_options,
        lr=lr,
        weight_decay=weight_decay,
        clip=clip,
        batch_size=batch_size,
        seed=seed,
        device=device,
        precision=precision,
        mixed_precision=mixed_precision,
    )
    engine.bind(windows, n_features, np.zeros(n_features), np.ones(n_features))
    if last < n and patience is not None:
        remember_choice(outcomes[last:])
    starts = np.arange(n, dtype=np.int64) * (lookback * n_features)
    hold_out = Samples(starts[last:], outcomes[last:]) if last < n else None
    train = Samples(starts[:n_train], outcomes[:n_train])
    training = Training(engine, train, hold_out, epochs, patience, schedule, checkpoint)
    fleet.finish([training], 1, progress)
    net.eval()
    return training.history


def _arrays(X: Any, y: Any, called: str, outcomes_called: str) -> tuple[np.ndarray, np.ndarray]:
    windows, outcomes = np.ascontiguousarray(X, np.float64), np.array(y, np.float64)
    windows = windows[..., None] if windows.ndim == 2 else windows
    outcomes = outcomes[:, None] if outcomes.ndim == 1 else outcomes
    if windows.ndim != 3 or outcomes.ndim != 2 or len(windows) != len(outcomes):
        raise InputError(
            f"{called} must have shape (n, lookback, n_features) and {outcomes_called} (n,) or (n, n_targets), "
            f"were {np.shape(X)} and {np.shape(y)}."
        )
    for name, array in ((called, windows), (outcomes_called, outcomes)):
        bad = ~np.isfinite(array).reshape(len(array), -1).all(axis=1)
        if bad.any():
            raise InputError(f"{name} must be finite, but {bad.sum()} rows are not, the first of them {bad.argmax()}.")
    return windows, outcomes


def _split(n: int, share: Any, gap: int) -> tuple[int, int]:
    """Return how many windows train, and where validation begins."""
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < 1:
        raise InputError(f"validation must be a share in [0, 1) or (X, y), was {share!r}.")
    if isinstance(gap, bool) or not isinstance(gap, int | np.integer) or gap < 0:
        raise InputError(f"gap must be a whole number of at least 0, was {gap!r}.")
    n_validation = round(share * n)
    n_train = n - n_validation - (gap if n_validation else 0)
    if n_train < 1 or (share > 0 and n_validation < 1):
        raise NotEnoughData(
            f"{n} windows with validation={share:g} and gap={gap} leave {max(n_train, 0)} to train and {n_validation} "
            "to validate. Pass more windows, or validation=0."
        )
    return n_train, n - n_validation
