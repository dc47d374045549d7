"""A forecaster of forecasters: members of any kind, shape and lookback, trained as one fleet, speaking as one.

Every member learns from the same bars and ends with the bytes of its solo fit; each stops early on its own. Rules that
learn weights hold back the last part of the decision rows: members fitted on the bars before it forecast it, the
weights are learned there, and all members are then fitted on everything. A forecast exists where every member has one.
"""

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..bars import require_bars
from ..errors import InputError, LongshortError, NotEnoughData, NotFitted, TrainingError, UnknownName, did_you_mean
from ..forecast import FitsInSteps, Forecast, Forecaster, ForecastRow, Seeded, row_of_parts, target_of
from . import fleet
from .combining import COMBINE, LEARNED, Combination, Diversity, learn, origin_of, relative
from .fits import part_of_a_fit, remember_fit
from .network import mean_of_seeds, row_of
from .parameters import Parameters
from .readiness import ready_cells

if TYPE_CHECKING:
    from ..bars import Bars


class Ensemble(Parameters):
    """Several forecasters as one.

    Parameters
    ----------
    forecasters : Forecaster, or sequence or mapping of them
        Members; a mapping names them. They may differ in everything but the target. One forecaster with `members` is
        copied, each copy with random numbers of its own.
    combine : {"mean", "median", "weighted", "stacking"}, default="mean"
        How forecasts are joined. "weighted" weighs by the inverse of the squared error on held-back rows (Bates and
        Granger, 1969), "stacking" solves non-negative least squares there (Breiman, 1996); both cost a second fit of
        every member.
    members : int, optional
        Copies of a single forecaster.
    validation : float, default=0.2
        Share of the decision rows, the latest, on which weights are learned.
    shrinkage : float, default=0.5
        How far learned weights are drawn towards equal ones: 0 not at all, 1 entirely.
    seeds : int, optional
        Networks every member trains (where it has any); None leaves them as they are.
    threads : int, optional
        Threads shared by all members; all cores by default. Results do not depend on it.

    Attributes
    ----------
    members_ : dict of str to Forecaster
        Fitted.
    combination_ : Combination
        The rule and its weights, in the order of the members.
    diversity_ : Diversity or None
        How the members differed on the held-back rows, for rules that learn weights. See also `diversity`.

    Notes
    -----
    Look-ahead: rows used for weights lie inside the bars given to `fit`; the members that forecast them were fitted on
    bars that end before the first of them, so no outcome they learned from overlaps.

    `Forecast.std` is that of the mixture of the members' distributions, where all of them say one. How far members
    stand apart (`spread`) is no such deviation: it says what training leaves open, not what the market does.

    Examples
    --------
    >>> import longshort as ls
    >>> from longshort import features as f, models as m
    >>> bars = ls.load_bars("AAPL", start="2012-01-01", end="2015-12-31", source="sample")
    >>> week = f.forward_volatility(5)
    >>> small = ls.LSTM([f.log_return().abs()], week, lookback=10, hidden=(8,), epochs=3)
    >>> ensemble = m.Ensemble([small, m.AutoRegression(week)], combine="weighted").fit(bars.until("2014-12-31"))
    >>> list(ensemble.members_)
    ['lstm', 'ar']
    >>> said = ensemble.predict(bars, start="2015-01-01")
    >>> len(said), ensemble.diversity(bars, start="2015-01-01").n
    (252, 247)
    """

    members_: dict[str, Any]
    combination_: Combination
    diversity_: Diversity | None

    def __init__(
        self,
        forecasters: "Forecaster | Sequence[Forecaster] | Mapping[str, Forecaster]",
        combine: str = "mean",
        members: int | None = None,
        *,
        validation: float = 0.2,
        shrinkage: float = 0.5,
        seeds: int | None = None,
        threads: int | None = None,
    ):
        self.forecasters, self.combine, self.members = forecasters, combine, members
        self.validation, self.shrinkage, self.seeds, self.threads = validation, shrinkage, seeds, threads
        self.check()

    # -- configuration -------------------------------------------------------------------------------------------

    def inside(self) -> dict[str, Any]:
        """Return the members as given, by name."""
        return self._given()

    def put_inside(self, forecasters: dict[str, Any]) -> None:
        """Replace the members as given."""
        self.forecasters = forecasters if self.members is None else next(iter(forecasters.values()))

    def with_seeds(self, seeds: int) -> "Ensemble":
        """Return an unfitted copy whose members train `seeds` networks each; those that draw nothing stay alone."""
        return self.with_params(seeds=seeds)

    @property
    def seed(self) -> int:
        """Where the members' random numbers begin; 0 where nobody draws any."""
        return min((m.seed for m in self._given().values() if isinstance(m, Seeded)), default=0)

    def with_seed(self, seed: int) -> "Ensemble":
        """Return an unfitted copy whose members' seeds are moved so that the first is `seed`."""
        by = seed - self.seed
        moved = {n: m.with_seed(m.seed + by) if isinstance(m, Seeded) else m for n, m in self._given().items()}
        return self.with_params(forecasters=moved if self.members is None else next(iter(moved.values())))

    def check(self) -> None:
        """Raise `InputError` where the arguments do not fit together."""
        if self.combine not in COMBINE:
            raise UnknownName(f"combine was {self.combine!r}. {did_you_mean(str(self.combine), COMBINE)}")
        given = self._given()
        for name, member in given.items():
            if isinstance(member, type) or not isinstance(member, Forecaster):
                found = f"the class {member.__name__}" if isinstance(member, type) else repr(member)
                raise InputError(f"Member {name!r} must be a forecaster such as LSTM(...), was {found}.")
        single = isinstance(self.forecasters, Forecaster)
        for name in ("members", "seeds", "threads"):
            value, low = getattr(self, name), 2 if name == "members" else 1
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < low):
                raise InputError(f"{name} must be None or a whole number of at least {low}, was {value!r}.")
        if single != (self.members is not None):
            raise InputError(
                f"members counts copies of one forecaster, but forecasters was {'one' if single else len(given)} and "
                f"members {self.members!r}. Write Ensemble(lstm, members=10) or Ensemble([lstm, ridge])."
            )
        first = next(iter(given.values()), None)
        if single and not isinstance(first, Seeded):
            raise InputError(
                f"{type(first).__name__} draws no random numbers, so {self.members} copies of it say the same. "
                "Pass different forecasters."
            )
        if not single and len(given) < 2:
            raise InputError(f"An ensemble needs at least 2 members, was {len(given)}.")
        targets = {name: target_of(member) for name, member in given.items()}
        if any(target != self.target for target in targets.values()):
            told = ", ".join(f"{name} {target!r}" for name, target in targets.items())
            raise InputError(f"All members must predict the same, but they predict: {told}.")
        if not 0 < self.validation < 1:
            raise InputError(f"validation must be a share between 0 and 1, was {self.validation!r}.")
        if not 0 <= self.shrinkage <= 1:
            raise InputError(f"shrinkage must lie between 0 and 1, was {self.shrinkage!r}.")

    def _given(self) -> dict[str, Any]:
        """The members as passed, by name."""
        if isinstance(self.forecasters, Mapping):
            return dict(self.forecasters)
        if isinstance(self.forecasters, Forecaster):
            return {_short(self.forecasters): self.forecasters}
        if isinstance(self.forecasters, str) or not isinstance(self.forecasters, Sequence):
            raise InputError(f"forecasters must be a forecaster or several, was {self.forecasters!r}.")
        named: dict[str, Any] = {}
        for member in self.forecasters:
            short, n = _short(member), 2
            while (name := short if short not in named else f"{short}_{n}") in named:
                n += 1
            named[name] = member
        return named

    @property
    def unfitted(self) -> dict[str, Any]:
        """The members that `fit` trains, by name: copies with seeds of their own, and as many seeds as asked for."""
        given = {name: self._seeded(member) for name, member in self._given().items()}
        if self.members is None:
            return given
        ((name, one),) = given.items()
        return {f"{name}_{i + 1}": one.with_seed(one.seed + i * _span(one)) for i in range(self.members)}

    def _seeded(self, member: Any) -> Any:
        if self.seeds is None or not isinstance(member, FitsInSteps):
            return copy.deepcopy(member)
        return member.with_seeds(self.seeds)

    @property
    def target(self) -> Any:
        """What all members predict."""
        return target_of(next(iter(self._given().values())))

    @property
    def program_(self) -> Any:
        """All features the members read as one program; None when nobody reads any, or names mean different things."""
        from ..features import FeatureSet

        programs = [getattr(member, "program_", None) for member in self._given().values()]
        features = [feature for program in programs if program is not None for feature in program]
        try:
            return FeatureSet(features) if features else None
        except InputError:
            return None

    @property
    def lookback(self) -> int:
        """Bars in the longest member's window."""
        return max(int(getattr(member, "lookback", 1)) for member in self._given().values())

    def ready(self, bars: "Bars") -> np.ndarray:
        """Return where every member has a full window, bool (n_bars, n_symbols)."""
        return np.logical_and.reduce([ready_cells(member, bars) for member in self._given().values()])

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as a JSON-able mapping."""
        own = {name: getattr(self, name) for name in self._parameters() if name not in ("forecasters", "threads")}
        return {"kind": "Ensemble", **own, "forecasters": [[n, m.to_dict()] for n, m in self._given().items()]}

    @classmethod
    def from_dict(cls, configuration: Mapping[str, Any]) -> "Ensemble":
        """Return the unfitted ensemble that `to_dict` described."""
        from .nesting import forecaster_of

        given = {name: forecaster_of(described) for name, described in configuration["forecasters"]}
        params = {name: value for name, value in configuration.items() if name not in ("kind", "forecasters")}
        return cls(given if configuration["members"] is None else next(iter(given.values())), **params)

    def __repr__(self) -> str:
        if self.members is not None:
            return f"Ensemble({self.forecasters!r}, combine={self.combine!r}, members={self.members})"
        inside = ", ".join(f"{name}: {member!r}" for name, member in self._given().items())
        return f"Ensemble({{{inside}}}, combine={self.combine!r})"

    # -- learning ------------------------------------------------------------------------------------------------

    def fit(self, bars: "Bars", start: Any = None, progress: Callable[[float], None] | None = None) -> "Ensemble":
        """Train all members on `bars` as one fleet.

        Parameters
        ----------
        bars : Bars
            All that may be known.
        start : date-like or int, optional
            First decision row; earlier bars only warm features and windows up.
        progress : callable, optional
            Called with the fraction done.

        Raises
        ------
        LongshortError
            What stopped the first member that failed, with its name.
        """
        fitting = self.fitting(bars, start)
        for failure in fleet.run([fitting], self.threads, progress):
            if failure is not None:
                raise failure
        self.__dict__.update(fitting.result.__dict__)
        remember_fit(self, bars)
        return self

    def fitting(self, bars: "Bars", start: Any = None) -> "EnsembleFitting":
        """Prepare a fit that advances by steps, for a fleet; self is left untouched."""
        return EnsembleFitting(self.with_params(), bars, start)

    # -- forecasting ---------------------------------------------------------------------------------------------

    def predict(self, bars: "Bars", start: Any = None) -> Forecast:
        """Forecast at every bar from `start` on; NaN where a member has no full window.

        What all members say beside the point forecast (deviations, quantiles, probabilities, positions, horizons) is
        combined too.
        """
        said = self.predict_members(bars, start)
        first = next(iter(said.values()))
        mean, extras = self.joined(list(said.values()), self._origin(bars, start))
        if self.combine == "median" and self._n_seeds() > 1:
            mean = mean_of_seeds(self.predict_seeds(bars, start))
        ends = [forecast.for_time for forecast in said.values() if forecast.for_time is not None]
        for_time = np.minimum.reduce(ends) if ends else None
        forecast = Forecast(first.time, first.symbols, mean, target=first.target, for_time=for_time)
        return forecast.with_extras(extras)

    def predict_members(self, bars: "Bars", start: Any = None) -> dict[str, Forecast]:
        """Return what every member says, by name."""
        self._check_fitted()
        require_bars(bars, "predict")
        return {name: member.predict(bars, start) for name, member in self.members_.items()}

    def predict_seeds(self, bars: "Bars", start: Any = None) -> np.ndarray:
        """Return one ensemble's forecasts per seed, (n_seeds, n_rows, n_symbols); their mean is what `predict` says.

        Seed s of the ensemble joins seed s of every member; a member without seeds says the same in all of them.
        Without `seeds` there is one, made of the members' own means.
        """
        self._check_fitted()
        require_bars(bars, "predict")
        origin = self._origin(bars, start)
        if self.seeds is None:
            return self._join([m.predict(bars, start).mean for m in self.members_.values()], origin)[None]
        said = [_every_seed(member, bars, start) for member in self.members_.values()]
        n = max(len(values) for values in said)
        return self._join([np.repeat(v, n, axis=0) if len(v) == 1 else v for v in said], origin)

    def spread(self, bars: "Bars", start: Any = None) -> np.ndarray:
        """Return how far the members stand apart at every bar, (n_rows, n_symbols): their weighted deviation."""
        said = self.predict_members(bars, start)
        return self.combination_.spread([forecast.mean for forecast in said.values()])

    def diversity(self, bars: "Bars", start: Any = None) -> Diversity:
        """Return how the members' errors differ on the rows from `start` on; give it rows nobody learned from."""
        said = self.predict_members(bars, start)
        means = [forecast.mean for forecast in said.values()]
        first = row_of(bars, start)
        outcome, origin = self.target.compute(bars)[first:], self._origin(bars, start)
        return _diversity(list(said), self.combination_, self.target, outcome, means, origin)

    def stream(self, bars: "Bars | None" = None) -> "EnsembleStream":
        """Return a stream that answers row by row what `predict` would; all members must stream."""
        self._check_fitted()
        return EnsembleStream(self, bars)

    def joined(self, said: "Sequence[Forecast | ForecastRow]", origin: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return point forecasts and everything beside them of what members say, combined."""
        parts, means = [one.extras() for one in said], [one.mean for one in said]
        extras = {}
        for name in [n for n in parts[0] if all(n in part for part in parts)]:
            values = [part[name] for part in parts]
            if name == "std":
                extras[name] = self.combination_.deviation(means, values)
            elif name.startswith("probabilities/") or name == "position":
                extras[name] = self.combination_.pool(values)
            elif name != "covariance":
                extras[name] = self._join(values, origin)
        return self._join(means, origin), extras

    def _join(self, values: Sequence[np.ndarray], origin: np.ndarray | float) -> np.ndarray:
        return self.combination_(values, origin)

    def _origin(self, bars: "Bars", start: Any) -> np.ndarray | float:
        origin = origin_of(self.target, bars)
        return origin[row_of(bars, start) :] if isinstance(origin, np.ndarray) else origin

    def _n_seeds(self) -> int:
        return 1 if self.seeds is None else self.seeds

    def _check_fitted(self) -> None:
        if not hasattr(self, "members_"):
            raise NotFitted("This Ensemble has not learned anything yet. Call fit(bars) first.")

    # -- keeping -------------------------------------------------------------------------------------------------

    def save(self, directory: Any) -> None:
        """Write everything `load` needs into one directory, members in folders of their own; no pickle."""
        from .nesting import save_ensemble

        self._check_fitted()
        save_ensemble(self, directory)

    @classmethod
    def load(cls, directory: Any) -> "Ensemble":
        """Read what `save` wrote; damaged, foreign or newer directories raise `ArtifactError`."""
        from .nesting import load_ensemble

        return load_ensemble(cls, directory)


class EnsembleFitting:
    """The fits of all members, and of their early copies where weights are learned; all may run at the same time."""

    def __init__(self, model: Ensemble, bars: "Bars", start: Any = None):
        require_bars(bars, "fit")
        self.model, self.bars, self.start = model, bars, start
        self.final = {n: MemberFit(n, m, bars, start) for n, m in model.unfitted.items()}
        self.early: dict[str, MemberFit] = {}
        self.first_held = 0
        if model.combine in LEARNED:
            self.first_held = self._first_held_row()
            early = bars.until(int(bars.time[self.first_held - 1]))
            self.early = {n: MemberFit(n, m, early, start) for n, m in model.unfitted.items()}

    def _first_held_row(self) -> int:
        """The first of the latest decision rows, on which weights are learned."""
        model, bars = self.model, self.bars
        cells = model.ready(bars) & np.isfinite(model.target.compute(bars))
        cells[: row_of(bars, self.start)] = False
        rows = np.flatnonzero(cells.any(axis=1))
        n_held = round(model.validation * len(rows))
        if n_held < 10 or n_held >= len(rows):
            raise NotEnoughData(
                f"validation={model.validation} of {len(rows)} decision rows leaves {n_held} to learn weights on; at "
                "least 10 are needed, and some to train before them. Load more bars, or use combine='mean'."
            )
        return int(rows[len(rows) - n_held])

    def parts(self) -> "list[MemberFit]":
        """Return the fits that are not done."""
        return [fit for fit in (*self.early.values(), *self.final.values()) if not fit.done]

    def step(self) -> bool:
        """Do one unit of work of one member; return True when all are done."""
        waiting = self.parts()
        if waiting:
            waiting[0].step()
        return not self.parts()

    @property
    def fraction(self) -> float:
        """How far along, from 0 to 1."""
        fits = [*self.early.values(), *self.final.values()]
        return sum(fit.fraction for fit in fits) / len(fits)

    @property
    def result(self) -> Ensemble:
        """The fitted ensemble."""
        if self.parts():
            raise NotFitted("This fit is not done: call step() until it returns True.")
        model = self.model
        model.members_ = {name: fit.result for name, fit in self.final.items()}
        model.combination_, model.diversity_ = Combination.equal(model.combine, len(self.final)), None
        if self.early:
            self._learn_weights()
        histories = [h for m in model.members_.values() for h in getattr(m, "histories_", ())]
        if histories:
            model.histories_, model.history_ = histories, histories[0]  # type: ignore[attr-defined]
        return model

    def _learn_weights(self) -> None:
        model, bars, first = self.model, self.bars, self.first_held
        held = int(bars.time[first])
        said = []
        for name, fit in self.early.items():
            with _blaming(name):
                said.append(fit.result.predict(bars, start=held).mean)
        outcome, origin = model.target.compute(bars)[first:], model._origin(bars, held)
        samples = _samples(model.target, outcome, said, origin)
        if len(samples[0]) < 10:
            raise NotEnoughData(
                f"Weights need at least 10 outcomes that all members forecast, but only {len(samples[0])} of the "
                f"{len(outcome)} held-back rows have them. Load more bars, or use combine='mean'."
            )
        model.combination_ = learn(model.combine, *samples, model.shrinkage)
        model.diversity_ = _diversity(list(self.early), model.combination_, model.target, outcome, said, origin)


class MemberFit:
    """The fit of one member, in its steps or in one; a failure names the member."""

    def __init__(self, name: str, forecaster: Any, bars: "Bars", start: Any):
        self.name, self.forecaster, self.bars, self.start = name, forecaster, bars, start
        self.fitting: Any = None
        self.done = False
        self.result: Any = None

    @property
    def fraction(self) -> float:
        """How far along, from 0 to 1."""
        return 1.0 if self.done else float(getattr(self.fitting, "fraction", 0.0))

    def parts(self) -> "list[NamedPart]":
        """Return the trainings that may run at the same time before the next `step`."""
        parts = self.fitting.parts() if isinstance(self.fitting, fleet.Parted) else ()
        return [NamedPart(self.name, part) for part in parts]

    def step(self) -> bool:
        """Do one unit of work; return True when the member is fitted."""
        with _blaming(self.name):
            if not isinstance(self.forecaster, FitsInSteps):
                with part_of_a_fit():
                    self.result = self.forecaster.fit(self.bars, start=self.start)
            elif self.fitting is None:
                self.fitting = self.forecaster.fitting(self.bars, self.start)
                return False
            elif not self.fitting.step():
                return False
            else:
                self.result = self.fitting.result
        self.done, self.fitting = True, None
        return True


class NamedPart:
    """A part of a member's fit."""

    def __init__(self, name: str, task: Any):
        self.name, self.task = name, task

    def parts(self) -> "list[NamedPart]":
        """Return the part's own parts."""
        parts = self.task.parts() if isinstance(self.task, fleet.Parted) else ()
        return [NamedPart(self.name, part) for part in parts]

    def step(self) -> bool:
        """Advance; return True when done."""
        with _blaming(self.name):
            return self.task.step()


class EnsembleStream:
    """A fitted `Ensemble`, fed row by row: the members' streams, combined.

    Parameters
    ----------
    model : Ensemble
        Fitted; every member must have `stream`.
    bars : Bars, optional
        History to warm up with.
    """

    def __init__(self, model: Ensemble, bars: "Bars | None" = None):
        for name, member in model.members_.items():
            if not hasattr(member, "stream"):
                raise InputError(
                    f"Member {name!r} ({type(member).__name__}) has no stream. Call predict(bars) instead."
                )
        if model.combine == "median" and model._n_seeds() > 1:
            raise InputError("A median over several seeds cannot be streamed. Fit with seeds=None.")
        self._model, self._streams = model, [member.stream(bars) for member in model.members_.values()]
        self.symbols = self._streams[0].symbols
        self._close = None
        if model.combine == "stacking" and model.target.kind == "close":
            from ..features import FeatureSet, field

            self._close = FeatureSet([field("close")]).stepper(self.symbols)
            for i in range(0 if bars is None else len(bars)):
                self._close.step(bars.row(i))  # type: ignore[union-attr]

    def step(self, row: Mapping[str, np.ndarray]) -> np.ndarray:
        """Take one closed row (as `Bars.row` gives it) and return the forecasts, (n_symbols,)."""
        origin = self._origin(row)
        return self._model._join([stream.step(row) for stream in self._streams], origin)

    def forecast(self, row: Mapping[str, np.ndarray]) -> ForecastRow:
        """Take one closed row and return everything that `predict` says of it."""
        origin = self._origin(row)
        mean, extras = self._model.joined([stream.forecast(row) for stream in self._streams], origin)
        return row_of_parts(self._model.target.info, {"mean": mean, **extras})

    def _origin(self, row: Mapping[str, np.ndarray]) -> Any:
        if self._close is not None:
            return np.array(self._close.step(row))[:, 0]
        return 0.5 if self._model.target.kind == "direction" else 0.0

    def settle(self) -> None:
        """Do now, between two rows, what the next forecast would otherwise have to wait for."""
        for stream in self._streams:
            stream.settle()

    def snapshot(self) -> dict[str, np.ndarray]:
        """Return everything the next forecasts depend on, as named arrays; see `Stream.snapshot`."""
        out = {} if self._close is None else {"close": np.frombuffer(self._close.snapshot()["state"], np.uint8)}
        for name, stream in self._members():
            out |= {f"{name}.{key}": array for key, array in stream.snapshot().items()}
        return out

    def restore(self, snapshot: Mapping[str, np.ndarray]) -> "EnsembleStream":
        """Continue from a snapshot of a stream of the same ensemble and symbols, with the same bits; return self."""
        if self._close is not None and "close" not in snapshot:
            raise InputError("The snapshot lacks 'close': it was taken from another ensemble. Take it again.")
        for name, stream in self._members():
            own = {key.removeprefix(f"{name}."): array for key, array in snapshot.items() if key.startswith(f"{name}.")}
            stream.restore(own)
        if self._close is not None:
            self._close.restore(self._close.snapshot() | {"state": np.asarray(snapshot["close"], np.uint8).tobytes()})
        return self

    def _members(self) -> list[tuple[str, Any]]:
        """Return the members' streams by name."""
        members = list(zip(self._model.members_, self._streams, strict=True))
        for name, stream in members:
            if not hasattr(stream, "snapshot"):
                raise InputError(f"The stream of member {name!r} cannot be kept ({type(stream).__name__}). Warm it up.")
        return members


@contextlib.contextmanager
def _blaming(name: str) -> Iterator[None]:
    """Say which member failed, in an error of the same class where it is one of ours; nothing where it has no name."""
    try:
        yield
    except Exception as error:
        if not name:
            raise
        kind = type(error) if isinstance(error, LongshortError) else TrainingError
        raise kind(f"Member {name!r} of the ensemble failed: {error}") from error


def _samples(
    target: Any, outcome: np.ndarray, said: Sequence[np.ndarray], origin: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Return outcomes (n,) and forecasts (n, n_members) as changes from the origin, where all are known."""
    values = np.stack([relative(target, v, origin) for v in said], axis=-1)
    came = relative(target, outcome, origin)
    known = np.isfinite(values).all(axis=-1) & np.isfinite(came)
    return came[known], values[known]


def _diversity(
    names: list[str], rule: Combination, target: Any, outcome: np.ndarray, said: list, origin: Any
) -> Diversity:
    came, values = _samples(target, outcome, said, origin)
    if not len(came):
        raise NotEnoughData(
            "No row has both an outcome and a forecast of every member. Pass bars that go on after start, "
            "long enough for the longest window."
        )
    joined = rule(list(values.T))
    return Diversity.of(names, rule, came, values, joined)


def _every_seed(member: Any, bars: "Bars", start: Any) -> np.ndarray:
    if isinstance(member, FitsInSteps):
        return np.asarray(member.predict_seeds(bars, start))
    return np.asarray(member.predict(bars, start).mean)[None]


def _short(forecaster: Any) -> str:
    return str(getattr(forecaster, "name", "") or type(forecaster).__name__.lower())


def _span(forecaster: Any) -> int:
    """How many seeds a forecaster uses, from its own on."""
    if isinstance(forecaster, Ensemble):
        members = [m for m in forecaster.unfitted.values() if isinstance(m, Seeded)]
        return max((m.seed - forecaster.seed + _span(m) for m in members), default=1)
    inside = getattr(forecaster, "forecaster", None)  # of one that is made around another
    return int(getattr(forecaster, "seeds", None) or (1 if inside is None else _span(inside)))
