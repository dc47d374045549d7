"""The training loop, once, for every engine.

An engine knows how to take one pass over samples; everything that makes a training of it (when to stop, which weights
to keep, what to remember) is here. A `Training` advances one epoch per `step`, so that a fleet of them can share the
cores, and none of them knows about the others.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from ..errors import TrainingError


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
    targets : float64 array (n_samples, n_outputs)
        Scaled outcomes, finite.
    blocks : int64 array (n_samples,), optional
        For losses of whole blocks (a date, a run of one symbol): the block of each sample. They share a batch.
    """

    starts: np.ndarray
    targets: np.ndarray
    blocks: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def arguments(self) -> tuple[np.ndarray, ...]:
        """What an engine's `epoch` and `loss` take."""
        return (self.starts, self.targets) if self.blocks is None else (self.starts, self.targets, self.blocks)


@dataclass(frozen=True)
class StopRule:
    """Early stopping as a value: `update` returns the rule after one more validation loss.

    Parameters
    ----------
    patience : int or None
        Epochs without a better validation loss after which to stop; None never stops.

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

    def update(self, loss: float) -> "StopRule":
        """Return the rule after an epoch that ended with this validation loss."""
        epoch = self.epoch + 1
        if loss < self.best:
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
        }


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

    Notes
    -----
    With validation and a patience, the weights of the best epoch are restored at the end; otherwise the last ones stay.
    """

    def __init__(
        self, engine: Engine, train: Samples, validation: Samples | None, epochs: int, patience: int | None
    ) -> None:
        self.engine, self.train, self.validation, self.epochs = engine, train, validation, epochs
        self._n_train = len(train)
        self.rule = StopRule(patience if validation is not None else None)
        self.history = History()
        self.done = epochs < 1
        self._best: dict[str, np.ndarray] | None = None

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
        if self.done:
            return True
        self.history.train_loss.append(self._finite(self.engine.epoch(*self.train.arguments)))
        epoch = len(self.history.train_loss)
        if self.validation is None:
            self.history.best_epoch = epoch
        else:
            loss = self._finite(self.engine.loss(*self.validation.arguments))
            self.history.val_loss.append(loss)
            self.rule = self.rule.update(loss)
            if self.rule.patience is None:
                self.history.best_epoch = epoch
            elif self.rule.improved:
                self.history.best_epoch = epoch
                self._best = self.engine.weights()
        self.done = epoch >= self.epochs or self.rule.stop
        if self.done and self._best is not None:
            self.engine.set_weights(self._best)
            self._best = None
        return self.done

    def _finite(self, loss: float) -> float:
        if not math.isfinite(loss):
            raise TrainingError(
                f"The loss must stay finite, but was {loss} in epoch {len(self.history.train_loss) + 1}. "
                "Lower lr, clip gradients (clip=1.0), or look for outliers in the features."
            )
        return loss
