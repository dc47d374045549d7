"""A forecaster of forecasters: members of any kind, shape and lookback, trained as one fleet, speaking as one.

Every member learns from the same bars and ends with the bytes of its solo fit; each stops early on its own. Rules that
learn weights hold back the last part of the decision rows: members fitted on the bars before it forecast it, the
weights are learned there, and all members are then fitted on everything. A forecast exists where every member has one.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..bars import require_bars
from ..errors import InputError, NotFitted, UnknownName, did_you_mean
from ..forecast import FitsInSteps, Forecast, Forecaster, ForecastRow, Seeded, target_of
from . import fleet
from .combining import COMBINE, Combination, Diversity, diversity_of, origin_of
from .ensemble_fitting import EnsembleFitting
from .ensemble_streaming import EnsembleStream
from .fits import remember_fit
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
        fleet.finish([fitting], self.threads, progress)
        self.__dict__.update(fitting.result.__dict__)
        remember_fit(self, bars)
        return self

    def fitting(self, bars: "Bars", start: Any = None) -> EnsembleFitting:
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
        mean, extras = self.joined(list(said.values()), origin_of(self.target, bars, row_of(bars, start)))
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
        origin = origin_of(self.target, bars, row_of(bars, start))
        if self.seeds is None:
            return self.combination_([m.predict(bars, start).mean for m in self.members_.values()], origin)[None]
        said = [_every_seed(member, bars, start) for member in self.members_.values()]
        n = max(len(values) for values in said)
        return self.combination_([np.repeat(v, n, axis=0) if len(v) == 1 else v for v in said], origin)

    def spread(self, bars: "Bars", start: Any = None) -> np.ndarray:
        """Return how far the members stand apart at every bar, (n_rows, n_symbols): their weighted deviation."""
        said = self.predict_members(bars, start)
        return self.combination_.spread([forecast.mean for forecast in said.values()])

    def diversity(self, bars: "Bars", start: Any = None) -> Diversity:
        """Return how the members' errors differ on the rows from `start` on; give it rows nobody learned from."""
        said = self.predict_members(bars, start)
        means = [forecast.mean for forecast in said.values()]
        first = row_of(bars, start)
        outcome, origin = self.target.compute(bars)[first:], origin_of(self.target, bars, first)
        return diversity_of(list(said), self.combination_, self.target, outcome, means, origin)

    def stream(self, bars: "Bars | None" = None) -> EnsembleStream:
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
                extras[name] = self.combination_(values, origin)
        return self.combination_(means, origin), extras

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
