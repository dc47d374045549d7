"""A fit of a `JointLSTM`, taken apart into epochs: what is fixed first, then a training per seed."""

from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from ..bars import Bars, require_bars
from ..errors import NotEnoughData, NotFitted
from ..features.windows import Scaling, Windows, refuse_unexplained_nan
from .covariances import Outcomes
from .joint_state import Base, Panel, n_outputs_of
from .network import row_of
from .training import Samples, Training


@dataclass(frozen=True, eq=False)
class _Stage:
    """Networks that learn from the same rows: one training a seed, and what is fixed for all of them."""

    trainings: list[Training]
    base: Base


@dataclass(frozen=True, eq=False)
class _Scale:
    mean: np.ndarray
    scale: np.ndarray


class JointFitting:
    """A fit of a `JointLSTM` in two stages, as `LSTMFitting`: the search for the number of epochs, then the refit."""

    def __init__(self, model: Any, bars: "Bars", start: Any = None):
        model.check()
        require_bars(bars, "fit")
        self.model, self.bars, self.first = model.with_params(), bars, row_of(bars, start)
        self.model.symbols_ = tuple(sorted(bars.symbols))
        if len(bars.symbols) < 2:
            raise NotEnoughData(f"JointLSTM needs at least 2 symbols, but bars has {len(bars.symbols)}. Use LSTM.")
        self._refuse_nan()
        n = len(bars.symbols)
        panel = Panel(self.model, bars, self.model.symbols_, _Scale(np.zeros(n), np.ones(n)), self._reads)
        rows = panel.windows(self.first).rows
        self.rows = rows[np.isin(rows, panel.outcomes.rows)]
        self.train, self.held_out = self._split()
        self.refits = model.refit and model.validation > 0 and model.patience is not None
        self.search = self._stage(self.train, self.held_out, model.epochs)
        self.final = None if self.refits else self.search

    @property
    def _reads(self) -> int:
        return max(0, self.first - self.model.lookback + 1)

    def _refuse_nan(self) -> None:
        program = self.model.program_
        if program is not None:
            values = np.asarray(program.compute(self.bars))
            refuse_unexplained_nan(values, program.names, self.bars, program.warmup, self.first)

    def _split(self) -> tuple[np.ndarray, np.ndarray]:
        """Return training and validation rows; training labels end before the first validation decision."""
        rows, share = self.rows, self.model.validation
        n_validation = round(share * len(rows))
        n_needed = 2 * len(self.model.symbols_)
        train = rows[: len(rows) - n_validation]
        if n_validation:
            ends = np.asarray(self.model.target_.label_end(self.bars))
            train = train[ends[train] < self.bars.time[rows[len(rows) - n_validation]]]
        if len(train) < n_needed or (share > 0 and not n_validation):
            raise NotEnoughData(
                f"JointLSTM of {len(self.model.symbols_)} symbols needs at least {n_needed} training rows at which all "
                f"of them have a window and an outcome, but found {len(train)} and {n_validation} for validation. A "
                f"row needs {self.model.warmup} bars before it. Load more bars, or drop symbols with gaps."
            )
        return train, rows[len(rows) - n_validation :]

    def _stage(self, train: np.ndarray, held_out: np.ndarray, epochs: int) -> _Stage:
        from .joint_likelihood import JointLikelihood

        model = self.model
        panel = Panel(model, self.bars, model.symbols_, self._scale_of(train), self._reads)
        windows = panel.windows(self.first)
        learn, check = (windows.take(np.isin(windows.rows, part)) for part in (train, held_out))
        cells = windows.take(np.isin(windows.rows, train)).cells()
        inputs = Scaling.fit("standard", list(panel.inputs[cells].T), panel.names)
        likelihood = JointLikelihood(panel.means, model.factors)
        targets = panel.targets(learn.rows)
        logits, level = likelihood.fit_shares(targets)
        hold_out = Samples(check.starts, panel.targets(check.rows)) if len(held_out) else None
        patience = model.patience if len(held_out) else None
        trainings = [
            Training(
                self._engine(s, windows, inputs, likelihood), Samples(learn.starts, targets), hold_out, epochs, patience
            )
            for s in range(model.seeds)
        ]
        scale = self._scale_of(train)
        return _Stage(trainings, Base(scale.mean, scale.scale, logits, level, inputs))

    def _scale_of(self, train: np.ndarray) -> _Scale:
        """Return mean and deviation of the outcomes of the training rows."""
        outcomes = Outcomes(self.model.target_, self.bars, self.model.symbols_)
        values = outcomes.values[np.isin(outcomes.rows, train)]
        fitted = Scaling.fit("standard", list(values.T), [f"the return of {s}" for s in self.model.symbols_])
        return _Scale(fitted.center, fitted.scale)

    def _engine(self, number: int, windows: Windows, inputs: Scaling, likelihood: Any) -> Any:
        from .joint_likelihood import quiet_head
        from .nets import make_network
        from .torch_engine import TorchEngine

        model, n = self.model, len(self.model.symbols_)
        net = make_network(
            "lstm",
            len(inputs.center),
            n_outputs=n_outputs_of(model, n),
            hidden=[int(units) for units in model.hidden],
            dropout=float(model.dropout),
            lookback=model.lookback,
            seed=model.seed + number,
        ).double()
        net.initialise(model.seed + number)
        quiet_head(net, n + len(model.memories) + 3)
        engine = TorchEngine(
            net,
            lookback=model.lookback,
            loss=likelihood,
            lr=model.lr,
            weight_decay=model.weight_decay,
            clip=model.clip,
            batch_size=model.batch_size,
            seed=model.seed + number,
            device="cpu",
            precision="fp64",
        )
        engine.bind(windows.features, windows.time_stride, inputs.center, inputs.scale)
        return engine

    def parts(self) -> list[Training]:
        """Return trainings that are independent and not done; none when the fit is done."""
        open_ = [t for t in self.search.trainings if not t.done]
        if open_ or self.final is self.search:
            return open_
        if self.final is None:
            self.final = self._refit()
        return [t for t in self.final.trainings if not t.done]

    def _refit(self) -> _Stage:
        """Train on all rows for as many optimiser steps as the median seed took to its best epoch."""
        size = self.model.batch_size
        best = median(t.history.best_epoch for t in self.search.trainings)
        steps = best * self.search.trainings[0].batches(size)
        for training in self.search.trainings:
            training.forget_samples()
        return self._stage(self.rows, self.rows[:0], max(1, round(steps / -(-len(self.rows) // size))))

    @property
    def fraction(self) -> float:
        """How far along, from 0 to 1; the refit counts for half."""
        share = float(np.mean([t.fraction for t in self.search.trainings]))
        if not self.refits:
            return share
        return 0.5 * share + (
            0.0 if self.final is None else 0.5 * float(np.mean([t.fraction for t in self.final.trainings]))
        )

    def step(self) -> bool:
        """Run one epoch of one network; return True when the fit is done."""
        stage = self.parts()
        if stage:
            stage[0].step()
        return not self.parts()

    @property
    def result(self) -> Any:
        """The fitted model."""
        if self.final is None or self.parts():
            raise NotFitted("This fit is not done: call step() until it returns True.")
        model = self.model
        model.base_ = self.final.base
        model.nets_ = [t.engine.weights() for t in self.final.trainings]
        model.histories_ = [t.history for t in self.search.trainings]
        for history, training in zip(model.histories_, self.final.trainings, strict=True):
            if self.refits:
                history.refit_loss = list(training.history.train_loss)
        model.history_ = model.histories_[0]
        first, last = int(self.bars.time[self.rows[0]]), int(self.bars.time[self.rows[-1]])
        model.trained_ = {"bars": self.bars.digest, "first": first, "last": last, "rows": len(self.rows)}
        return model
