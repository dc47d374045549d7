"""The likelihood a `JointLSTM` learns from, in torch: what its outputs mean is said in `models.joint_state`."""

from typing import Any

import numpy as np

from .joint_state import OWN
from .with_torch import torch

_PULL = 1e-3  # of the fixed shares towards equal ones, per outcome: a share nothing asks for stays a number
_AT_ONCE = 256  # covariances worked on together


class _NegativeLogDensity(torch.autograd.Function):
    """Minus the log density of errors (n, width) under normals (n, width, width), without its constant.

    Its gradient is written down, (S^-1 - S^-1 e e' S^-1) / 2: a third of the work of differentiating a Cholesky.
    """

    @staticmethod
    def forward(ctx: Any, covariance: torch.Tensor, errors: torch.Tensor) -> torch.Tensor:
        factor = torch.linalg.cholesky(covariance)
        inverse = torch.cholesky_inverse(factor)
        pull = (inverse @ errors[:, :, None])[:, :, 0]
        ctx.save_for_backward(inverse, pull)
        size = factor.diagonal(dim1=1, dim2=2).log().sum(dim=1)
        return size + 0.5 * (errors * pull).sum(dim=1)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        inverse, pull = ctx.saved_tensors
        each = gradients[0]
        return 0.5 * each[:, None, None] * (inverse - pull[:, :, None] * pull[:, None, :]), each[:, None] * pull


class JointLikelihood:
    """Minus the mean log density of outcomes per symbol, as a loss of raw outputs.

    Parameters
    ----------
    means : float64 array (n_counts, n_memories, n_symbols, n_symbols)
        Exponential means of products of scaled outcomes, by how many outcomes were known.
    factors : int
        Predicted loadings of every symbol.
    shares : float64 array (n_memories + 2,), optional
        Logits of the fixed shares; zeros by default.
    level : float
        Logarithm of the fixed deviation.

    Examples
    --------
    >>> import torch
    >>> means = np.eye(2)[None, None] * np.ones((1, 1, 1, 1))
    >>> loss = JointLikelihood(means, factors=0)
    >>> loss(torch.zeros(1, 6, dtype=torch.float64), torch.tensor([[1.0, -1.0, 0.0]], dtype=torch.float64)).item()
    0.5
    """

    def __init__(self, means: np.ndarray, factors: int, shares: np.ndarray | None = None, level: float = 0.0):
        self.means, self.factors = torch.from_numpy(means), factors
        n_experts, self.width = means.shape[1] + 2, means.shape[2]
        self.shares = torch.zeros(n_experts, dtype=torch.float64) if shares is None else torch.from_numpy(shares)
        self.level = torch.tensor(level, dtype=torch.float64)

    def __call__(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the loss of outputs (n, n_outputs) for targets (n, n_symbols + 1): outcomes, and a row of `means`."""
        n, last = self.width, self.width + len(self.shares)
        errors = targets[:, :n] - outputs[:, :n]
        shares, level = self.shares + outputs[:, n:last], self.level + outputs[:, last]
        covariance = self.mixed(targets[:, n].long(), shares, level)
        if self.factors:
            loadings = outputs[:, last + 1 :].reshape(-1, n, self.factors)
            covariance = covariance + loadings @ loadings.transpose(1, 2)
        return _density(covariance, errors).mean() / n

    def mixed(self, rows: torch.Tensor, shares: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        """Return the mixture of the experts of these rows, (n, n_symbols, n_symbols)."""
        means, weights = self.means[rows], torch.softmax(shares, dim=-1)
        weights = weights * torch.exp(2 * level)[..., None]
        m = means.shape[1]
        blend = (weights[:, :m, None, None] * means).sum(dim=1)
        slow = means[:, -1]
        variance = slow.diagonal(dim1=1, dim2=2)
        deviation = variance.sqrt()
        pairs = deviation[:, :, None] * deviation[:, None, :]
        n = self.width
        mean = (((slow / pairs).sum(dim=(1, 2)) - n) / (n * (n - 1))).clamp(min=-1.0 / n)[:, None, None]
        identity = torch.eye(n, dtype=torch.float64)
        constant = pairs * (mean + (1 - mean) * identity)
        own = (1 - OWN) * blend + OWN * blend.diagonal(dim1=1, dim2=2)[:, :, None] * identity
        return own + weights[:, m, None, None] * constant + (weights[:, m + 1, None] * variance)[:, :, None] * identity

    def fit_shares(self, targets: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the fixed shares and level under which outcomes are likeliest, and keep them; no network is asked."""
        found = torch.zeros(len(self.shares) + 1, dtype=torch.float64, requires_grad=True)
        optimiser = torch.optim.LBFGS([found], max_iter=25, line_search_fn="strong_wolfe")
        parts = [torch.from_numpy(targets[at : at + _AT_ONCE]) for at in range(0, len(targets), _AT_ONCE)]

        def closure() -> torch.Tensor:
            optimiser.zero_grad()
            total = _PULL * len(targets) * found[:-1].square().sum()
            total.backward()
            for part in parts:
                n = len(part)
                covariance = self.mixed(part[:, -1].long(), found[:-1].expand(n, -1), found[-1].expand(n))
                loss = _density(covariance, part[:, :-1]).sum()
                loss.backward()
                total = total + loss.detach()
            return total

        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # matrices this small are slower on several
        try:
            optimiser.step(closure)
        finally:
            torch.set_num_threads(threads)
        self.shares, self.level = found[:-1].detach().clone(), found[-1].detach().clone()
        return self.shares.numpy().copy(), float(self.level)


def _density(covariance: torch.Tensor, errors: torch.Tensor) -> torch.Tensor:
    return _NegativeLogDensity.apply(covariance, errors)  # type: ignore[return-value]


def quiet_head(module: Any, n_means_shares_level: int) -> None:
    """Let a fresh network say nothing: no mean, no other shares and level; small loadings, which need a start."""
    head = module.head[-1]
    with torch.no_grad():
        head.weight[:n_means_shares_level] = 0.0
        head.bias[:n_means_shares_level] = 0.0
        head.weight[n_means_shares_level:] *= 0.1
        head.bias[n_means_shares_level:] *= 0.1
