"""Why gates matter: remember one number for a while, with a plain RNN, a GRU and an LSTM side by side.

The first bar of a window carries a number and a mark; noise follows; at the last bar the network must say the number.
The gates of GRU and LSTM start nearly closed for forgetting, as one would set them for this lag (Gers et al., 2000;
Tallec and Ollivier, 2018). A plain RNN has nothing to set: what a bar contributes is multiplied by the same matrix and
squashed once per bar, and so is the gradient on its way back (Hochreiter, 1991; Bengio et al., 1994).

    python examples/why_gates.py                     prints the table
    python examples/why_gates.py why-gates.png       and draws the figure
"""

import argparse
import math

import numpy as np
import torch

from longshort.models.nets import Network, gradient_by_lag, make_network
from longshort.models.training import fit_net

KINDS = {"rnn": "plain RNN", "gru": "GRU", "lstm": "LSTM"}


def recall_task(lag: int, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return windows (n, lag + 1, 2) of a number and a mark each, and the marked numbers (n,)."""
    windows = np.zeros((n, lag + 1, 2))
    windows[:, :, 0] = np.random.default_rng(seed).normal(size=(n, lag + 1))
    windows[:, 0, 1] = 1.0
    return windows, windows[:, 0, 0].copy()


def hold_on(net: Network, lag: int) -> Network:
    """Set the gates that keep the state so that about a third of it is left after `lag` bars."""
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, torch.nn.LSTM | torch.nn.GRU):  # LSTM: forget gate; GRU: update gate
                keep = slice(layer.hidden_size, 2 * layer.hidden_size)
                layer.bias_ih_l0[keep] = math.log(lag)
                layer.bias_hh_l0[keep] = 0.0
    return net


def compare(lag: int = 60, n: int = 1500, epochs: int = 10, hidden: int = 16, seed: int = 0) -> dict[str, dict]:
    """Train the three networks; return for each the gradient by lag before and after, and the validation losses."""
    windows, numbers = recall_task(lag, n, seed)
    probe = torch.from_numpy(windows[:200]).float()
    found = {}
    for kind in KINDS:
        net = hold_on(make_network(kind, 2, hidden=(hidden,), seed=seed), lag)
        before = gradient_by_lag(net, probe)
        history = fit_net(net, windows, numbers, epochs, patience=None, lr=0.01, clip=1.0, device="cpu")
        found[kind] = {"before": before, "after": gradient_by_lag(net, probe), "losses": history.val_loss}
    return found


def draw(found: dict[str, dict], path: str) -> None:
    """Write the figure: gradients by lag before training on the left, learning on the right."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for kind, color in zip(KINDS, ("#b3503c", "#8a8a3a", "#2f6f9f"), strict=True):
        left.semilogy(found[kind]["before"], color=color, label=KINDS[kind])
        right.plot(range(1, len(found[kind]["losses"]) + 1), found[kind]["losses"], color=color, label=KINDS[kind])
    left.set(xlabel="lag in bars", ylabel="norm of the gradient", title="What a new network feels of the past")
    right.set(xlabel="epoch", ylabel="validation loss", title="Recalling the first bar of the window")
    right.axhline(1.0, color="#999999", linewidth=0.8, linestyle=":")  # of a network that knows nothing
    right.set_ylim(bottom=0)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    """Print the table; draw the figure where asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("figure", nargs="?", help="file to draw to")
    parser.add_argument("--lag", type=int, default=60)
    options = parser.parse_args()
    found = compare(options.lag)
    print(f"{'':10}  gradient at lag 0   at lag {options.lag} (new)   at lag {options.lag} (trained)   validation loss")
    for kind, result in found.items():
        before, after = result["before"], result["after"]
        print(
            f"{KINDS[kind]:10}  {before[0]:17.1e}  {before[-1]:14.1e}  {after[-1]:18.1e}  {result['losses'][-1]:16.4f}"
        )
    if options.figure:
        draw(found, options.figure)


if __name__ == "__main__":
    main()
