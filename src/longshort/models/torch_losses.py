"""What the torch engine minimises: the losses of the native engine by the same formulas, and two of whole batches.

Outputs are raw, (n, n_outputs); targets are scaled, (n, n_targets). A loss of samples is the mean of one value per
sample. A loss of a batch (`sharpe`, `rank`) is one number for samples that belong together, told by their block.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ..errors import InputError, UnknownName, did_you_mean
from .with_torch import nn, torch

SMALLEST_SIGMA = 1e-6
LEAST_FREEDOM = 2.001  # of Student's t: below 2 there is no variance


@dataclass(frozen=True)
class TorchLoss:
    """A loss with what an engine must know about it.

    Parameters
    ----------
    of_samples : callable or None
        ``(outputs, targets) -> (n,)``; the batch's loss is the mean.
    of_batch : callable or None
        ``(outputs, targets, blocks) -> ()``, where there is no value of a single sample.
    check : callable
        ``(n_outputs, targets) -> None``; raises `InputError` where outputs and targets do not fit the loss.
    prepare : callable or None
        ``(targets, blocks) -> targets``, once per epoch.
    by_block : bool
        Whether batches must hold whole blocks of samples.

    Examples
    --------
    >>> import torch
    >>> loss = torch_loss("huber", huber_delta=1.0)
    >>> loss(torch.tensor([[0.5], [3.0]]), torch.zeros(2, 1))
    tensor(1.3125)
    """

    of_samples: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None
    of_batch: Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None], torch.Tensor] | None = None
    check: Callable[[int, np.ndarray], None] = lambda n_outputs, targets: None
    prepare: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    by_block: bool = False

    def __call__(
        self, outputs: torch.Tensor, targets: torch.Tensor, blocks: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the batch's loss."""
        if self.of_samples is not None:
            return self.of_samples(outputs, targets).mean()
        assert self.of_batch is not None
        return self.of_batch(outputs, targets, blocks)


def torch_loss(loss: Any, **options: Any) -> TorchLoss:
    """Return a loss by name, with its options, or wrap a callable ``(outputs, targets) -> mean``.

    Parameters
    ----------
    loss : str or callable
        ``"mse"``, ``"mae"``, ``"huber"`` (`huber_delta`), ``"quantile"`` (`levels`), ``"gaussian"``, ``"student_t"``,
        ``"cross_entropy"`` (`class_weights`, `focal`), ``"sharpe"`` (`cost`), ``"rank"``; or such as ``nn.MSELoss()``.
    **options
        Of that loss.

    Examples
    --------
    >>> import torch
    >>> loss = torch_loss("quantile", levels=(0.1, 0.9))
    >>> loss(torch.tensor([[0.0, 1.0]]), torch.tensor([[2.0]])).item()     # second quantile: 0 + softplus(1)
    0.4090...
    >>> torch_loss("hubber")
    Traceback (most recent call last):
    ...
    longshort.errors.UnknownName: loss was 'hubber'. Did you mean 'huber'?
    """
    if callable(loss):
        if options:
            raise InputError(f"A loss given as a function takes no options, was given {sorted(options)}.")
        return TorchLoss(None, lambda outputs, targets, _: torch.as_tensor(loss(outputs, targets)))
    if loss not in LOSSES:
        raise UnknownName(f"loss was {loss!r}. {did_you_mean(str(loss), LOSSES)}")
    try:
        return LOSSES[loss](**options)
    except TypeError as error:
        raise InputError(f"loss={loss!r} does not understand its options {sorted(options)}: {error}.") from error


# Errors of a point ----------------------------------------------------------------------------------------------------


def _mse() -> TorchLoss:
    return TorchLoss(lambda o, y: (o - y).square().mean(dim=1), check=_one_output_a_target)


def _mae() -> TorchLoss:
    return TorchLoss(lambda o, y: (o - y).abs().mean(dim=1), check=_one_output_a_target)


def _huber(huber_delta: float = 1.0) -> TorchLoss:
    delta = huber_delta
    if not 0 < delta < math.inf:
        raise InputError(f"huber_delta must be a finite number above 0, was {delta!r}.")

    def of_samples(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        error = outputs - targets
        size = error.abs()
        return torch.where(size <= delta, 0.5 * error * error, delta * (size - 0.5 * delta)).mean(dim=1)

    return TorchLoss(of_samples, check=_one_output_a_target)


def _one_output_a_target(n_outputs: int, targets: np.ndarray) -> None:
    if targets.shape[1] != n_outputs:
        raise InputError(
            f"targets must have one column per output: shape ({len(targets)}, {n_outputs}), was {targets.shape}."
        )


# Distributions --------------------------------------------------------------------------------------------------------


def _quantile(levels: Sequence[float]) -> TorchLoss:
    """Pinball loss of quantiles that cannot cross: the first as such, each further one by a positive step."""
    if not len(levels) or not all(a < b for a, b in pairwise([0, *levels, 1])):
        raise InputError(f"levels must rise and lie inside (0, 1), was {levels!r}. Write levels=(0.05, 0.5, 0.95).")

    def of_samples(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        steps = torch.cat([outputs[:, :1], nn.functional.softplus(outputs[:, 1:])], dim=1)
        error = targets - steps.cumsum(dim=1)
        level = torch.as_tensor(levels, dtype=outputs.dtype, device=outputs.device)
        return torch.maximum(level * error, (level - 1) * error).mean(dim=1)

    return TorchLoss(of_samples, check=_outputs("quantile", len(levels), "one per level"))


def _gaussian() -> TorchLoss:
    def of_samples(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        sigma = nn.functional.softplus(outputs[:, 1]) + SMALLEST_SIGMA
        z = (targets[:, 0] - outputs[:, 0]) / sigma
        return sigma.log() + 0.5 * z.square() + 0.5 * math.log(2 * math.pi)

    return TorchLoss(of_samples, check=_outputs("gaussian", 2, "mean and scale"))


def _student_t() -> TorchLoss:
    def of_samples(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        sigma = nn.functional.softplus(outputs[:, 1]) + SMALLEST_SIGMA
        freedom = nn.functional.softplus(outputs[:, 2]) + LEAST_FREEDOM
        z = (targets[:, 0] - outputs[:, 0]) / sigma
        half = 0.5 * (freedom + 1)
        normaliser = torch.lgamma(0.5 * freedom) - torch.lgamma(half) + 0.5 * (freedom * math.pi).log()
        return normaliser + sigma.log() + half * torch.log1p(z.square() / freedom)

    return TorchLoss(of_samples, check=_outputs("student_t", 3, "location, scale and tail"))


def _cross_entropy(class_weights: Sequence[float] = (), focal: float = 0.0) -> TorchLoss:
    """Log loss of classes; one output is the logit of class 1. Focal: Lin et al. (2017)."""
    if not 0 <= focal < math.inf:
        raise InputError(f"focal must be a finite number of at least 0, was {focal!r}.")
    if not all(0 < w < math.inf for w in class_weights):
        raise InputError(f"class_weights must be positive and finite, was {class_weights!r}.")

    def of_samples(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        label = targets[:, 0].long()
        if outputs.shape[1] == 1:
            log_p = nn.functional.logsigmoid(torch.where(label == 1, outputs[:, 0], -outputs[:, 0]))
        else:
            log_p = outputs.log_softmax(dim=1).gather(1, label[:, None])[:, 0]
        loss = -log_p
        if focal:
            loss = loss * (-torch.expm1(log_p)) ** focal
        if len(class_weights):
            loss = loss * torch.as_tensor(class_weights, dtype=loss.dtype, device=loss.device)[label]
        return loss

    def check(n_outputs: int, targets: np.ndarray) -> None:
        _outputs("cross_entropy", n_outputs, "")(n_outputs, targets)
        classes = max(n_outputs, 2)
        if len(class_weights) not in (0, classes):
            raise InputError(f"class_weights needs {classes} numbers, one per class, was {class_weights!r}.")
        if not np.isin(targets, np.arange(classes)).all():
            odd = targets[~np.isin(targets, np.arange(classes))][0]
            raise InputError(f"targets of cross_entropy must be classes from 0 to {classes - 1}, was {odd:g}.")

    return TorchLoss(of_samples, check=check)


def _outputs(loss: str, expected: int, meaning: str) -> Callable[[int, np.ndarray], None]:
    def check(n_outputs: int, targets: np.ndarray) -> None:
        if n_outputs != expected:
            raise InputError(f"loss={loss!r} needs {expected} outputs ({meaning}), but the network has {n_outputs}.")
        if targets.shape[1] != 1:
            raise InputError(f"loss={loss!r} takes one target: shape ({len(targets)}, 1), was {targets.shape}.")

    return check


# Whole batches --------------------------------------------------------------------------------------------------------


def _sharpe(cost: float = 0.0) -> TorchLoss:
    """Minus the Sharpe ratio of positions tanh(output), net of costs (Lim, Zohren and Roberts, 2019).

    A block is a run of consecutive rows of one symbol, in order. A change of position costs `cost` in units of the
    target; the first row of a block is not charged, since the position before it is not known.
    """
    if not 0 <= cost < math.inf:
        raise InputError(f"cost must be a finite number of at least 0, was {cost!r}.")

    def of_batch(outputs: torch.Tensor, targets: torch.Tensor, blocks: torch.Tensor | None) -> torch.Tensor:
        assert blocks is not None
        position = torch.tanh(outputs[:, 0])
        earned = position * targets[:, 0]
        turnover = (position[1:] - position[:-1]).abs() * (blocks[1:] == blocks[:-1])
        earned = torch.cat([earned[:1], earned[1:] - cost * turnover])
        return -earned.mean() / earned.std(correction=0)

    return TorchLoss(None, of_batch, _outputs("sharpe", 1, "a position"), by_block=True)


def _rank() -> TorchLoss:
    """Minus the mean correlation, over dates, of the outputs with the ranks of the targets: an information coefficient.

    A block is a date. Dates with fewer than two samples say nothing and are left out.
    """

    def of_batch(outputs: torch.Tensor, targets: torch.Tensor, blocks: torch.Tensor | None) -> torch.Tensor:
        assert blocks is not None
        member = (blocks.unique()[:, None] == blocks).to(outputs.dtype)  # (n_dates, n): sums in a fixed order
        member = member[member.sum(dim=1) > 1]
        if not len(member):
            return 0 * outputs.sum()
        share = member / member.sum(dim=1, keepdim=True)
        said, rank = (v - member.T @ (share @ v) for v in (outputs[:, 0], targets[:, 0]))
        variance = (share @ said.square()) * (share @ rank.square())
        return -((share @ (said * rank)) / (variance + 1e-12).sqrt()).mean()

    return TorchLoss(None, of_batch, _outputs("rank", 1, "a score"), prepare=ranks_in_blocks, by_block=True)


def ranks_in_blocks(targets: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """Return each target's rank within its block, scaled to (-1, 1), ties sharing the middle.

    Examples
    --------
    >>> ranks_in_blocks(np.array([[3.0], [1.0], [2.0], [9.0]]), np.array([0, 0, 0, 1]))[:, 0]
    array([ 0.66666667, -0.66666667,  0.        ,  0.        ])
    """
    values, ids = targets[:, 0], np.unique(blocks, return_inverse=True)[1]
    order = np.lexsort((values, ids))
    sizes = np.bincount(ids)
    new = np.ones(len(values), bool)
    new[1:] = (np.diff(ids[order]) != 0) | (np.diff(values[order]) != 0)
    run = np.cumsum(new) - 1
    place = np.arange(len(values)) - (np.cumsum(sizes) - sizes)[ids[order]]
    middle = np.bincount(run, place) / np.bincount(run)
    ranks = np.empty(len(values))
    ranks[order] = middle[run]
    return ((2 * ranks + 1) / sizes[ids] - 1)[:, None]


LOSSES: dict[str, Callable[..., TorchLoss]] = {
    "mse": _mse,
    "mae": _mae,
    "huber": _huber,
    "quantile": _quantile,
    "gaussian": _gaussian,
    "student_t": _student_t,
    "cross_entropy": _cross_entropy,
    "sharpe": _sharpe,
    "rank": _rank,
}
