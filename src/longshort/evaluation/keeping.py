"""Saving and loading studies: every number bit for bit, the bars with them, no pickle."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import artifact, ledger
from ..errors import ArtifactError, InputError
from ..forecast import Forecast, TargetInfo
from .scores import Scores
from .splits import Fold, WalkForward

if TYPE_CHECKING:
    from ..bars import Bars

KIND, VERSION = "study", 1
_WITH_GAPS = ("forecasts", "bars", "tried")  # missing bars, failed folds and returns of volatilities are NaN


@dataclass(frozen=True)
class Described:
    """A forecaster of which only the configuration was kept."""

    described: str
    configuration: dict[str, Any]
    target: Any

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration."""
        return self.configuration


def save(study: Any, directory: str | os.PathLike) -> str:
    """Write a study into one directory, atomically, and return the artifact's digest."""
    bars, forecast = study.bars, study.forecast
    numbers = {
        "time": forecast.time,
        "for_time": forecast.for_time,
        "mean": forecast.mean,
        "seeds": study.seeds,
        "actual": study.actual,
        "fold": study.fold,
        "reference": study.reference,
    }
    numbers |= {f"extra.{name}": v for name, v in forecast.extras().items()}
    numbers |= {f"baseline.{i}": v for i, v in enumerate(study.baselines.values())}
    numbers |= {f"challenger.{i}": v for i, v in enumerate(study.challengers.values())}
    panel = arrays_of(bars)
    records, verdict, counts, others = study.records(), study.verdict(), study.counts(), study.tried_scores()
    series = {f"{i}.{name}": getattr(one, name) for i, one in enumerate(others) for name in ("time", "gain", "net")}
    about = {
        "name": study.name,
        "symbols": list(study.symbols),
        "target": study.target.to_dict(),
        "info": study.target.info.to_dict(),
        "cv": study.cv.to_dict(),
        "configuration": study.configuration,
        "folds": [asdict(f) for f in study.folds],
        "baselines": list(study.baselines),
        "challengers": list(study.challengers),
        "histories": [[_history_to_dict(h) for h in seeds] for seeds in study.histories],
        "choices": study.choices,
        **counts,
        "trial_sharpes": list(counts["trial_sharpes"]),
        "others": [one.config for one in others],
        "ledger": _ledger_now(),
        "reads": study.reads,
        "records": {"n": len(records), "digest": records[-1]["digest"] if records else None},
        "bars": {
            "symbols": list(bars.symbols),
            "fields": list(bars.fields),
            "calendar": bars.calendar,
            "bar_size": bars.bar_size,
            "source": bars.source,
            "digest": bars.digest,
        },
    }
    return artifact.save(
        directory,
        KIND,
        tensors={
            "forecasts": {n: np.ascontiguousarray(v) for n, v in numbers.items() if v is not None},
            "bars": {n: np.ascontiguousarray(v) for n, v in panel.items()},
            **({"tried": {n: np.ascontiguousarray(v) for n, v in series.items()}} if series else {}),
        },
        documents={"study": about, "verdict": verdict.to_dict()},
        version=VERSION,
        allow_nan=_WITH_GAPS,
    )


def _ledger_now() -> dict[str, Any] | None:
    """How long the chain of the project in force is, and its last digest: what `Ledger.confirm` takes."""
    book = ledger.current()
    records = book.records() if book.path is not None else ()
    return {"records": len(records), "head": records[-1].digest} if records else None


def _read(directory: str | os.PathLike) -> artifact.Artifact:
    return artifact.load(directory, KIND, version=VERSION, allow_nan=_WITH_GAPS)


def ledger_of(directory: str | os.PathLike) -> dict[str, Any] | None:
    """Return what a saved study notes of the ledger it was made in: ``records`` and ``head``; None in no project."""
    return _read(directory).documents["study"].get("ledger")


def load(directory: str | os.PathLike) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arguments of the study written by `save`, and how many records it had with which last digest."""
    found = _read(directory)
    about, numbers = found.documents["study"], found.tensors["forecasts"]
    target = _target(about)
    kept = {
        "forecaster": _forecaster(about, target),
        "bars": _bars(found.tensors["bars"], about["bars"]),
        "cv": WalkForward(**about["cv"]),
        "target": target,
        "folds": tuple(Fold(**f) for f in about["folds"]),
        "forecast": Forecast(
            numbers["time"],
            tuple(about["symbols"]),
            numbers["mean"],
            target=TargetInfo(**about["info"]),
            for_time=numbers["for_time"],
        ).with_extras({n.removeprefix("extra."): v for n, v in numbers.items() if n.startswith("extra.")}),
        "baselines": {n: _frozen(numbers[f"baseline.{i}"]) for i, n in enumerate(about["baselines"])},
        "challengers": {n: _frozen(numbers[f"challenger.{i}"]) for i, n in enumerate(about["challengers"])},
        "histories": [[_history(h) for h in seeds] for seeds in about["histories"]],
        "configuration": about["configuration"],
        "choices": about.get("choices", []),
        "trials": about["trials"],
        "trials_where": about["trials_where"],
        "trial_sharpes": tuple(about.get("trial_sharpes", ())),
        "tried": about.get("tried", 1),
        "planned": about.get("planned", 0),
        "others": _others(about.get("others", []), found.tensors.get("tried", {})),
        "reads": about.get("reads", 1),
    }
    kept |= {name: _frozen(numbers[name]) for name in ("seeds", "actual", "fold", "reference")}
    return kept, about["records"]


def _others(configs: list[str], series: Any) -> tuple[Scores, ...]:
    return tuple(
        Scores(*(series[f"{i}.{name}"] for name in ("time", "gain", "net")), config=config)
        for i, config in enumerate(configs)
    )


def _history_to_dict(history: Any) -> dict[str, Any] | None:
    if history is None:
        return None
    values: dict[str, Any] = {f.name: getattr(history, f.name) for f in fields(history)}
    return {k: [_finite(x) for x in v] if isinstance(v, list | tuple) else v for k, v in values.items()}


def _finite(x: Any) -> float | None:
    return float(x) if np.isfinite(x) else None


def _history(values: dict[str, Any] | None) -> Any:
    if values is None:
        return None
    from ..models.training import History

    nan = float("nan")
    read: dict[str, Any] = {
        k: [nan if x is None else x for x in v] if isinstance(v, list) else v for k, v in values.items()
    }
    return History(**{f.name: read[f.name] for f in fields(History) if f.name in read})


def arrays_of(bars: "Bars") -> dict[str, np.ndarray]:
    """Return the arrays of bars by name, as artifacts hold them."""
    panel = {"time": bars.time, "split": bars.split, "dividend": bars.dividend, "state": bars.state}
    return panel | {f"field.{i}": np.asarray(bars[name]) for i, name in enumerate(bars.fields)}


def bars_of(panel: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> "Bars":
    """Return the bars of `arrays_of`; `about` says symbols, fields, calendar, bar size and source."""
    from ..bars import Bars

    return Bars.from_arrays(
        panel["time"],
        tuple(about["symbols"]),
        {name: panel[f"field.{i}"] for i, name in enumerate(about["fields"])},
        split=panel["split"],
        dividend=panel["dividend"],
        state=panel["state"],
        calendar=about["calendar"],
        bar_size=about["bar_size"],
        source=about.get("source", ""),
    )


def _bars(panel: dict[str, np.ndarray], about: dict[str, Any]) -> "Bars":
    bars = bars_of(panel, about)
    if bars.digest != about["digest"]:
        raise ArtifactError("The bars of this study do not have the digest it was made from. Restore it from a backup.")
    return bars


def _target(about: dict[str, Any]) -> Any:
    from ..features.targets import Target

    return Target.from_dict(about["target"])


def _forecaster(about: dict[str, Any], target: Any) -> Any:
    """Rebuild an unfitted network, or what is made of networks; of others the description is kept."""
    from ..models.nesting import forecaster_of

    configuration = dict(about["configuration"]["forecaster"])
    if configuration.get("kind") in ("LSTM", "Ensemble", "Conformal", "Tuned"):
        try:
            if configuration["kind"] == "Tuned":
                from .tuning import Tuned

                return Tuned.from_dict(configuration)
            return forecaster_of(configuration)
        except InputError:  # it holds code of the caller's: a network or a forecaster of their own
            pass
    return Described(about["name"], configuration, target)


def _frozen(array: np.ndarray) -> np.ndarray:
    array = np.array(array)
    array.setflags(write=False)
    return array
