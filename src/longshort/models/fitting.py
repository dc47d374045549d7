"""A fit of an `LSTM`, taken apart into epochs: windows and scalings once, then a training per network."""

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from ..bars import Bars, State, require_bars
from ..errors import NotEnoughData, NotFitted
from ..features.windows import Scaling, Windows, broken_cells, fit_scaling, refuse_unexplained_nan
from .network import Net, bind, make_engine, row_of, symbol_numbers
from .paths import remember_validation
from .schedules import schedule_of
from .sequences import Chunks, outputs, without
from .training import History, Samples, Training


class LSTMFitting:
    """A fit of an `LSTM`, in stages of independent trainings: search, then refit.

    In the search every network trains on the early rows and is stopped by the late ones. When the model refits, a
    second stage trains fresh networks on all rows for as many optimiser steps as the median seed wanted.
    """

    def __init__(self, model: Any, bars: "Bars", start: Any = None, checkpoint: Any = None):
        model.check()
        require_bars(bars, "fit")
        self.model, self.bars, self.checkpoint = model.with_params(), bars, checkpoint
        self.model.symbols_ = tuple(bars.symbols)
        self.program, self.target, self.loss = model.program_, model.target_, model.loss_
        first = row_of(bars, start)
        self.features, broken = self.program.compute(bars), broken_cells(bars)
        refuse_unexplained_nan(self.features, self.program.names, bars, self.program.warmup, first)
        if model.context == "carry":
            self.features = without(self.features, broken)
        windows = Windows.over(self.features, model.rows_before + 1, broken, first)
        outcome = np.stack([t.compute(bars)[windows.rows, windows.columns] for t in model.targets_], axis=1)
        finite = np.asarray(np.isfinite(outcome).all(axis=1))
        self._refuse_too_few(int(finite.sum()), first)
        n_cells = (len(bars) - first) * len(bars.symbols)
        self.dropped = {"no full window": n_cells - len(windows), "no outcome yet": int((~finite).sum())}
        self.windows, self.outcome = windows.take(finite), outcome[finite]
        del windows, outcome  # not beside the samples that are made below
        self.is_train, self.is_validation = self._split()
        groups = [np.array([j]) for j in range(len(bars.symbols))] if model.per_symbol else [None]
        self.groups = [np.ones(len(self.windows), bool) if g is None else self.windows.columns == g[0] for g in groups]
        self._refuse_what_teaches_nothing()
        self.refits = model.refit and model.validation > 0 and model.patience is not None
        self.search = [
            self._trainings(f"search-{i}", g & self.is_train, g & self.is_validation) for i, g in enumerate(self.groups)
        ]
        self.final: list[list[_Member]] | None = None if self.refits else self.search
        self.calibrated = not self.loss.calibrated

    @cached_property
    def _identity(self) -> str:
        """What a checkpoint belongs to: everything the weights depend on."""
        settings = {name: value for name, value in self.model.to_dict().items() if name != "threads"}
        text = json.dumps([settings, self.bars.digest], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    def _refuse_too_few(self, n: int, first: int) -> None:
        model, bars = self.model, self.bars
        horizon = model.targets_[-1].horizon
        needed = model.rows_before + 1 + self.program.warmup + horizon
        if n < 1:
            late = first >= len(bars)
            good = 0 if late else int((bars.state == State.OK).sum(axis=0).max())
            found = (
                f"bars has {len(bars)}, {len(bars) - first} of them from start on, and no symbol has more than {good} "
                "good ones. Load an earlier start, or lower lookback"
            )
            if late:
                found = f"no bar is at or after start; the last is of {bars.dates[-1]}. Pass an earlier start"
            raise NotEnoughData(
                f"LSTM needs {needed} bars before it can learn anything (lookback {model.rows_before + 1} + warm-up "
                f"{self.program.warmup} + horizon {horizon}), in a row and without gaps, but {found}."
            )

    def _refuse_what_teaches_nothing(self) -> None:
        """A loss of whole dates needs dates with several symbols; calibration needs validation rows."""
        if self.loss.grouped == "date":
            for part, which in (("training", self.is_train), ("validation", self.is_validation)):
                if np.bincount(self.windows.rows[which], minlength=1).max() < 2:
                    raise NotEnoughData(
                        f"The {self.loss.name} loss compares symbols of one date, but no {part} date has rows of more "
                        f"than one, and bars has {len(self.bars.symbols)}. Load more symbols."
                    )
        if self.loss.grouped is not None:
            for i, group in enumerate(self.groups):
                if not (group & self.is_validation).any():
                    raise NotEnoughData(
                        f"{self.bars.symbols[i]} has no validation row, from which the {self.loss.name} loss learns "
                        "what its scores are worth. Drop it, or train pooled (per_symbol=False)."
                    )

    def _split(self) -> tuple[np.ndarray, np.ndarray]:
        """Split by date, the same for all symbols; training labels end before the first validation decision."""
        rows = self.windows.rows
        if self.model.validation == 0:
            return np.ones(len(rows), bool), np.zeros(len(rows), bool)
        dates = np.unique(rows)
        n_validation = round(self.model.validation * len(dates))
        if n_validation < 1 or n_validation >= len(dates):
            raise NotEnoughData(
                f"validation={self.model.validation} of {len(dates)} decision rows leaves nothing to train or to "
                "validate on. Load more bars, or pass validation=0."
            )
        first = dates[len(dates) - n_validation]
        label_end = np.asarray(self.model.targets_[-1].label_end(self.bars))
        train = label_end[rows] < self.bars.time[first]
        if not train.any():
            raise NotEnoughData(
                f"No training row's outcome is known before validation begins on {self.bars.dates[first]}. "
                "Load more bars, or lower validation or the horizon."
            )
        return train, rows >= first

    def _trainings(
        self, name: str, train: np.ndarray, validation: np.ndarray, epochs: int | None = None
    ) -> "list[_Member]":
        """One member per seed, scaled by the training rows alone; checkpoints are named after `name` and the seed."""
        model, windows = self.model, self.windows.take(train)
        if not len(windows):
            raise NotEnoughData("A symbol has no training row. Drop it, or train pooled (per_symbol=False).")
        flags = [feature.op == "missing" for feature in self.program]
        inputs = fit_scaling(model.scaler, windows, self.program.names, flags)
        names = [f"the target ({target.info})" for target in model.targets_]
        output = self.loss.scaling(model.scaler, self.outcome[train], names, self.target)

        learn, hold_out, lengths = self._samples(train, validation, output)
        schedule = None if model.schedule is None else schedule_of(model.schedule, model.epochs)  # the search's, too
        members = []
        for s in range(model.seeds):
            threads = model.threads if model.seeds * len(self.groups) == 1 else 1
            options = self.loss.engine_options(output.transform(self.outcome[train]), output, self.target) | lengths
            engine = self.engine(len(inputs.center), model.seed + s, threads, options)
            bind(engine, self.windows, inputs, symbol_numbers(model, self.bars.symbols))
            patience = model.patience if epochs is None else None
            kept = None if self.checkpoint is None else Path(self.checkpoint) / f"{name}-{s}"
            whose = "" if kept is None else self._identity
            training = Training(engine, learn, hold_out, epochs or model.epochs, patience, schedule, kept, whose)
            members.append(_Member(training, inputs, output))
        return members

    def engine(self, n_inputs: int, seed: int, threads: int, options: dict[str, Any]) -> Any:
        """Build what trains one network."""
        return make_engine(self.model, n_inputs, seed, threads, options)

    def _samples(
        self, train: np.ndarray, validation: np.ndarray, output: Scaling
    ) -> tuple[Samples, Samples | None, dict[str, int]]:
        """Return what to learn from and what to validate on, and the lengths of an engine's sequences."""
        parts = [(self.windows.take(w), output.transform(self.outcome[w])) for w in (train, validation) if w.any()]
        if self.model.context == "window":
            found = [Samples(windows.starts, targets, self._blocks(windows)) for windows, targets in parts]
            lengths = {}
        else:
            chunks = [Chunks.over(windows, self.model.chunk_) for windows, _ in parts]
            size = max(int(c.counts.max()) for c in chunks)
            found = [c.samples(targets, size) for c, (_, targets) in zip(chunks, parts, strict=True)]
            lengths = {"lookback": self.model.rows_before + size, "targets_per_window": size}
        return found[0], found[1] if len(found) > 1 else None, lengths

    def _count(self, which: np.ndarray) -> int:
        """Return how many samples an engine counts in these decision rows."""
        if self.model.context == "window":
            return int(which.sum())
        return len(Chunks.over(self.windows.take(which), self.model.chunk_))

    def _blocks(self, windows: Windows) -> np.ndarray | None:
        """Return the block each sample belongs to, for losses of whole blocks; None for losses of single rows."""
        if self.loss.grouped is None:
            return None
        if self.loss.grouped == "date":
            return windows.rows.astype(np.int64)
        block = self.loss.block  # type: ignore[attr-defined]
        return windows.columns.astype(np.int64) * (len(self.bars) // block + 1) + windows.rows // block

    def _calibrate(self) -> None:
        """Put what each network says on the scale of the outcomes, by the validation rows it never learned from."""
        self.calibrated = True
        for group, members in zip(self.groups, self.search, strict=True):
            held_out = group & self.is_validation
            if not held_out.any():
                continue
            windows = self.windows.take(held_out)
            for s, member in enumerate(members):
                raw = outputs(member.training.engine, windows, self.model.context)
                known = member.output.transform(self.outcome[held_out])
                members[s] = replace(member, calibration=self.loss.calibrate(raw, known, windows.rows))

    def stage(self) -> list[Training]:
        """Return trainings that are independent and not done; none when the fit is done."""
        open_ = [m.training for group in self.search for m in group if not m.training.done]
        if open_:
            return open_
        if not self.calibrated:
            self._calibrate()
        if self.final is self.search:
            return open_
        if self.final is None:
            for member in (m for group in self.search for m in group):
                member.training.forget_samples()
            pairs = zip(self.groups, self.search, strict=True)
            self.final = [self._refit(f"refit-{i}", g, members) for i, (g, members) in enumerate(pairs)]
        return [m.training for group in self.final for m in group if not m.training.done]

    def parts(self) -> list[Training]:
        """Return what a fleet may run at the same time before the next `step`."""
        return self.stage()

    def _refit(self, name: str, group: np.ndarray, members: "list[_Member]") -> "list[_Member]":
        """As many optimiser steps on all rows as the median seed took to its best epoch, to the nearest epoch."""
        size = self.model.batch_size
        steps = median(m.training.history.best_epoch for m in members) * members[0].training.batches(size)
        epochs = max(1, round(steps / -(-self._count(group) // size)))
        fresh = self._trainings(name, group, np.zeros_like(group), epochs)
        return [replace(new, calibration=old.calibration) for new, old in zip(fresh, members, strict=True)]

    @property
    def fraction(self) -> float:
        """How far along, from 0 to 1; the refit counts for half."""
        search = [m.training.fraction for group in self.search for m in group]
        share = sum(search) / len(search)
        if not self.refits:
            return share
        if self.final is None:
            return 0.5 * share
        final = [m.training.fraction for group in self.final for m in group]
        return 0.5 + 0.5 * sum(final) / len(final)

    def step(self) -> bool:
        """Run one epoch of one network; return True when the fit is done."""
        stage = self.stage()
        if stage:
            stage[0].step()
        return not self.stage()

    @property
    def result(self) -> Any:
        """The fitted model."""
        if self.final is None or self.stage():
            raise NotFitted("This fit is not done: call step() until it returns True.")
        model = self.model
        model.dropped_ = self.dropped
        model.nets_ = [[m.net() for m in group] for group in self.final]
        model.histories_ = [self._history(g, s) for g in range(len(self.groups)) for s in range(model.seeds)]
        model.history_ = model.histories_[0]
        model.trained_ = {
            "bars": self.bars.digest,
            "first": int(self.bars.time[self.windows.rows[0]]),
            "last": int(self.bars.time[self.windows.rows[-1]]),
            "rows": len(self.windows),
        }
        model.validation_ = remember_validation(self)
        return model

    def _history(self, group: int, seed: int) -> History:
        history = self.search[group][seed].training.history
        if self.refits and self.final is not None:
            history.refit_loss = list(self.final[group][seed].training.history.train_loss)
        return history


@dataclass(frozen=True, eq=False)
class _Member:
    training: Training
    inputs: Scaling
    output: Scaling
    calibration: np.ndarray | None = None

    def net(self) -> Net:
        return Net(self.training.engine.weights(), self.inputs, self.output, self.calibration)
