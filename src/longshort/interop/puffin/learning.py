"""One network learned from a plain array of features: what puffin's forecasters share, over the engines of `models`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import ArtifactError, NotEnoughData
from ...features.windows import Scaling, Windows, fit_scaling
from ...models.lstm import LSTM
from ...models.network import Net, bind, make_engine
from ...models.training import Samples, Training

History = dict[str, list[float]]
Tensors = Mapping[str, Mapping[str, np.ndarray]]


@dataclass(frozen=True, eq=False)
class Split:
    """Windows over one series, what they should predict, and which of them teach.

    Parameters
    ----------
    windows : Windows
        Over features (n_rows, 1, n_features).
    outcome : float64 array (n_windows,)
        Finite.
    learns, judges : bool array (n_windows,)
        Training windows, and the later ones the validation loss is taken over.
    """

    windows: Windows
    outcome: np.ndarray
    learns: np.ndarray
    judges: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray, outcome: np.ndarray, lookback: int, share: float, known_after: int) -> "Split":
        """Pair every window with the outcome of its last row and hold the latest ones back.

        Parameters
        ----------
        features : float64 array (n_rows, n_features)
            Finite.
        outcome : float64 array (n_rows,)
            What follows each row; NaN where it is not known yet.
        lookback : int
            Rows in a window.
        share : float
            Of the windows, for validation.
        known_after : int
            Rows after which an outcome is known. Windows whose outcome is not known before the first validation window
            ends do not teach.
        """
        windows = Windows.over(np.ascontiguousarray(features)[:, None, :], lookback)
        windows = windows.take(np.isfinite(outcome[windows.rows]))
        first = int(len(windows) * (1 - share))
        judges = np.arange(len(windows)) >= first if share > 0 else np.zeros(len(windows), bool)
        learns = ~judges
        if judges.any():
            learns &= windows.rows + known_after < windows.rows[judges].min()
        if not learns.any() or (share > 0 and not judges.any()):
            raise NotEnoughData(
                f"{len(features)} rows give {len(windows)} windows of {lookback} with a known outcome, and "
                f"validation_split={share:g} leaves {int(learns.sum())} of them to learn from and "
                f"{int(judges.sum())} to validate on. Load more rows, lower lookback, or pass validation_split=0."
            )
        return cls(windows, outcome[windows.rows], learns, judges)


@dataclass(frozen=True, eq=False)
class Learned:
    """A trained network with everything needed to ask it again.

    Parameters
    ----------
    settings : dict
        Arguments of the `LSTM` whose engine trained it.
    net : Net
        Weights and scalings.
    history : dict of str to list of float
        `train_loss` and `val_loss` per epoch, sample-weighted, in scaled units; `val_loss` is empty without validation.
    """

    settings: dict[str, Any]
    net: Net
    history: History

    def forecast(self, features: np.ndarray) -> np.ndarray:
        """Return the forecast of every full window of features (n_rows, n_features), oldest first."""
        model = LSTM(**self.settings)
        windows = Windows.over(np.ascontiguousarray(features)[:, None, :], model.lookback)
        return self.net.predict(model, windows, ())

    def tensors(self) -> dict[str, dict[str, np.ndarray]]:
        """Return weights and scalings as an artifact keeps them."""
        parts = {"inputs": self.net.inputs, "output": self.net.output}
        scaling = {f"{k}.{what}": getattr(part, what) for k, part in parts.items() for what in ("center", "scale")}
        return {"weights": self.net.weights, "scaling": scaling}

    @classmethod
    def from_tensors(
        cls,
        settings: dict[str, Any],
        tensors: Tensors,
        n_features: int,
        history: History,
    ) -> "Learned":
        """Undo `tensors`; arrays that do not fit the settings raise `ArtifactError`."""
        weights, scaling = dict(tensors["weights"]), tensors["scaling"]
        try:
            make_engine(LSTM(**settings), n_features, seed=0).set_weights(weights)
            inputs, output = (_scaling(scaling, part, n) for part, n in (("inputs", n_features), ("output", 1)))
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"The saved network does not fit its description: {error}. Save it again.") from error
        return cls(settings, Net(weights, inputs, output), history)


def _scaling(scaling: Mapping[str, np.ndarray], part: str, n: int) -> Scaling:
    center, scale = scaling[f"{part}.center"], scaling[f"{part}.scale"]
    if center.shape != (n,) or scale.shape != (n,) or not (scale > 0).all():
        raise ValueError(f"{part} must hold {n} centers and positive scales, was {center.shape} and {scale.shape}")
    return Scaling("standard", center, scale)


def learn(settings: dict[str, Any], split: Split, names: Sequence[str], target: str | None) -> Learned:
    """Train one network, scaled by its training windows alone.

    Parameters
    ----------
    settings : dict
        Arguments of `LSTM`; everything that shapes the network and its training.
    split : Split
        What it learns from.
    names : sequence of str
        Feature names, for messages.
    target : str or None
        The outcome's name; None when the outcome is the next value of the only feature and shares its scaling.
    """
    inputs = fit_scaling("standard", split.windows.take(split.learns), names)
    output = inputs if target is None else Scaling.fit("standard", [split.outcome[split.learns]], [target])
    return train(settings, split, inputs, output)


def train(settings: dict[str, Any], split: Split, inputs: Scaling, output: Scaling) -> Learned:
    """Train one network with given scalings."""
    model = LSTM(**settings)
    engine = make_engine(model, len(inputs.center), model.seed)
    bind(engine, split.windows, inputs)

    def samples(which: np.ndarray) -> Samples:
        return Samples(split.windows.take(which).starts, output.transform(split.outcome[which][:, None]))

    hold_out = samples(split.judges) if split.judges.any() else None
    training = Training(engine, samples(split.learns), hold_out, model.epochs, patience=None)
    while not training.step():
        pass
    history = {"train_loss": training.history.train_loss, "val_loss": training.history.val_loss}
    return Learned(settings, Net(engine.weights(), inputs, output), history)
