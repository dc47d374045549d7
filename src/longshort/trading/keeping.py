"""How a strategy is kept: one directory of data, hashed, that can be opened, checked and read, and runs nothing.

::

    strategy.toml          policy, limits, costs and refit rule, by short names
    forecaster/            the fitted forecaster: weights, scalings, feature program; an artifact of its own
    contract.json          the data it may be asked about, the last bar it learned from and the digest of them all
    golden.safetensors     the last windows it saw, and everything it said about them
    golden.json            which build said so, and what the policy and the limits made of it
    evidence.json          verdict, study, scores of the backtest, ledger's last record
    card.json model-card.md    the same for people
    manifest.json          size and SHA-256 of every file, and a digest of its own

Saving stands here, below evaluation, because the evidence is part of the artifact: a strategy is kept together with
what is known about it, or with the statement that nothing is. `load_strategy` refuses what was changed, is foreign,
newer or not finite, and what no longer says about the golden windows what it said when it was saved.
"""

import os
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import artifact, ledger
from ..errors import ArtifactError, InputError, LongshortError
from ..models.nesting import CLASSES, class_of
from ..strategy import NEVER, Contract, Strategy
from . import golden
from .cards import facts_of, text_of
from .played import finite, summary_of
from .tables import check_table, costs_of, strategy_of, to_toml

if TYPE_CHECKING:
    from ..bars import Bars

KIND, VERSION, PART = "strategy", 1, "forecaster"
TABLES, CARD = "strategy.toml", "model-card.md"
_HEAD = "# A strategy of longshort. Read it with longshort.load_strategy, check it with `longshort verify`."
_RUN_ONLY = ("seeds", "seed", "threads")  # arguments in which the fitted copy may differ from the one that was judged


def save_strategy(
    path: str | os.PathLike[str],
    strategy: Strategy,
    study: Any = None,
    result: Any = None,
    bars: "Bars | None" = None,
    costs: Any = None,
    name: str = "",
) -> str:
    """Write a fitted strategy into one directory, atomically, with all that is known about it; no code, no pickle.

    Parameters
    ----------
    path : path-like
        The directory to create; a strategy that stands there is replaced as a whole.
    strategy : Strategy
        Fitted, as ``strategy.fitted(bars)`` returns it. One with a plain function for a policy is refused: code is
        never saved.
    study : Study, optional
        The walk-forward that judged the same forecaster; its verdict is kept.
    result : BacktestResult, optional
        Its scores, verdict and order hash are kept.
    bars : Bars, optional
        Where the golden windows are taken from; the study's by default.
    costs : Costs, optional
        What trading is expected to cost, kept as data.
    name : str, optional
        What the model card calls it; the directory's name by default.

    Returns
    -------
    str
        The artifact's digest.

    Examples
    --------
    >>> import os, tempfile, longshort as ls
    >>> from longshort import features as f, models as m
    >>> bars = ls.load_bars("AAPL", start="2015-01-01", end="2019-12-31", source="sample")
    >>> strategy = ls.Strategy(m.AutoRegression(f.forward_return()), refit="6M").fitted(bars)
    >>> folder = os.path.join(tempfile.mkdtemp(), "aapl")
    >>> digest = save_strategy(folder, strategy, bars=bars)
    >>> ls.load_strategy(folder).predict(bars).digest == strategy.predict(bars).digest
    True
    """
    if not isinstance(strategy, Strategy):
        raise InputError(f"strategy must be a Strategy, was {type(strategy).__name__}. Wrap it: Strategy(forecaster).")
    _refuse_code(strategy)
    bars = bars if bars is not None else getattr(study, "bars", None)
    if bars is None:
        raise InputError("save_strategy needs bars for the golden windows. Pass bars=..., or the study.")
    strategy = _complete(strategy, study, bars)
    described = strategy.to_dict()
    tables = {"refit": strategy.refit, "policy": described["policy"], "limits": described["limits"]}
    if costs is not None:
        tables["costs"] = costs.to_dict()
    for kind, table in tables.items():
        if kind != "refit":  # what could not be read again is not written
            check_table(kind, table, f"[{kind}]")
    evidence = _evidence(study, result)
    if evidence["backtest"] is not None:
        refuse_other_play(evidence["backtest"]["configuration"], strategy, study, costs)
    numbers, seen = golden.taken(strategy, bars)
    facts = facts_of(strategy, name or Path(os.path.abspath(path)).name, bars, evidence, tables, seen["deaf"])
    with tempfile.TemporaryDirectory() as scratch:
        parts = {}
        if strategy.forecaster is not None:
            strategy.forecaster.save(Path(scratch) / PART)
            parts = {PART: Path(scratch) / PART}
        return artifact.save(
            path,
            KIND,
            tensors={"golden": numbers},
            documents={"contract": _contract(strategy), "golden": seen, "evidence": evidence, "card": facts},
            texts={TABLES: to_toml(tables, _HEAD), CARD: text_of(facts)},
            parts=parts,
            version=VERSION,
            allow_nan={"golden"},
        )


def load_strategy(path: str | os.PathLike[str]) -> Strategy:
    """Read a saved strategy, or refuse it: every byte is checked, and the golden windows are forecast again.

    Parameters
    ----------
    path : path-like
        The directory, or a run folder that holds one.

    Raises
    ------
    ArtifactError
        It was changed, cut, is foreign or newer; or it no longer says what it said: not the same bits on the build
        and instruction set it was saved with, not within 1e-6 on another.

    Examples
    --------
    >>> load_strategy("runs/nothing")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    longshort.errors.ArtifactError: There is nothing at .../runs/nothing. Check the path, or save there first.
    """
    kept = read(path)
    try:
        replay = golden.replayed(kept.strategy, *kept.golden)
    except (LongshortError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise ArtifactError(f"{kept.path}: its golden windows cannot be replayed: {error}. Train it again.") from error
    if not replay.ok:
        raise ArtifactError(f"{kept.path} does not say what it said when it was saved: {replay}. Train it again.")
    return kept.strategy


@dataclass(frozen=True, eq=False)
class Kept:
    """What a directory holds, every byte checked, nothing replayed yet."""

    path: Path
    digest: str
    written_by: str
    n_files: int
    strategy: Strategy
    costs: Any
    evidence: Mapping[str, Any]
    card: Mapping[str, Any]
    golden: tuple[Mapping[str, Any], Mapping[str, Any]]


def read(path: str | os.PathLike[str]) -> Kept:
    """Read a saved strategy without replaying its golden windows."""
    path = folder_of(path)
    found = artifact.load(path, KIND, version=VERSION, allow_nan={"golden"})
    try:
        tables = tomllib.loads(found.texts[TABLES])
        contract = Contract(**found.documents["contract"])
        described = found.documents["golden"]["forecaster"]
        forecaster = None if described is None else class_of(described["kind"]).load(found.parts[PART])
        strategy = strategy_of(tables, forecaster, contract)
        costs = costs_of(tables["costs"]) if "costs" in tables else None
        kept = Kept(
            path, found.digest, found.written_by, _n_files(path), strategy, costs, found.documents["evidence"],
            found.documents["card"], (found.tensors["golden"], found.documents["golden"]),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, LookupError, AttributeError) as error:
        if isinstance(error, ArtifactError):
            raise
        raise ArtifactError(
            f"{path} does not fit its own description, or describes a strategy this version cannot build: "
            f"{type(error).__name__}: {error}. Train it again."
        ) from error
    if forecaster is not None and forecaster.to_dict() != described:
        raise ArtifactError(f"{path} holds another forecaster than it describes. Train it again.")
    if artifact.load(path, KIND, version=VERSION, allow_nan={"golden"}).digest != found.digest:
        raise ArtifactError(f"{path} was replaced while it was read. Load it again.")
    return kept


def folder_of(path: str | os.PathLike[str]) -> Path:
    """Return the directory of a strategy: `path` itself, or ``strategy`` in a run folder."""
    path = Path(path)
    inside = path / KIND
    return inside if not (path / artifact.MANIFEST).exists() and inside.is_dir() else path


def _n_files(path: Path) -> int:
    return sum(file.is_file() for file in path.rglob("*"))


def _refuse_code(strategy: Strategy) -> None:
    policy = strategy.policy.to_dict()
    if policy.get("kind") == "Rule":
        raise InputError(
            f"The policy is the function {policy['function']}, and code is never saved. Use a policy of "
            "longshort.portfolio, such as LongShort(), for a strategy to keep."
        )
    forecaster = strategy.forecaster
    if forecaster is not None and forecaster.to_dict().get("network_is_code"):
        raise InputError(
            f"The network is made by the function {forecaster.to_dict()['network']}, and code is never saved. Use a "
            "network by its word, such as network='gru', for a strategy to keep."
        )


def _complete(strategy: Strategy, study: Any, bars: "Bars") -> Strategy:
    """Return what is kept: with the chosen forecaster of a tuned one, a contract, and a refit rule."""
    if study is not None:
        refuse_other(strategy, study)
    forecaster = strategy.forecaster
    if type(forecaster).__name__ == "Tuned":
        forecaster = getattr(forecaster, "best_", forecaster)
    if forecaster is not None and (type(forecaster).__name__ not in CLASSES or not hasattr(forecaster, "save")):
        raise InputError(
            f"A {type(forecaster).__name__} cannot be kept in a strategy. Use one of {', '.join(CLASSES)}."
        )
    refit = strategy.refit
    if refit is None:
        refit = study.cv.test if study is not None and isinstance(study.cv.test, str) else NEVER
    strategy.check(bars)
    contract = strategy.contract or Contract.of(bars, forecaster)
    return replace(strategy, forecaster=forecaster, refit=refit, contract=contract)


def refuse_other(strategy: Strategy, study: Any) -> None:
    """Raise `InputError` for the study of another forecaster, or on other symbols: its verdict would be a false one."""

    def essence(told: Any) -> Any:
        if isinstance(told, Mapping):
            return {k: essence(v) for k, v in told.items() if k not in _RUN_ONLY}
        return [essence(v) for v in told] if isinstance(told, list | tuple) else told

    mine = None if strategy.forecaster is None else essence(strategy.forecaster.to_dict())
    judged = essence(study.configuration.get("forecaster"))
    if mine != judged:
        told = mine or {}
        other = next((k for k in {*told, *(judged or {})} if told.get(k) != (judged or {}).get(k)), "kind")
        raise InputError(
            f"The study judged another forecaster than the strategy has: their {other!r} differ. Pass the study of "
            "this one, or none."
        )
    if strategy.contract is not None and set(study.symbols) != set(strategy.contract.symbols):
        raise InputError("The study judged other symbols than the strategy was fitted on. Pass its own study, or none.")


def refuse_other_play(played: Mapping[str, Any], strategy: Strategy, study: Any, costs: Any) -> None:
    """Raise `InputError` for the backtest of another policy, other limits, forecasts or costs."""
    told = strategy.to_dict()
    mine = {"policy": told["policy"], "limits": told["limits"]}
    theirs = {name: played["strategy"].get(name) for name in mine}
    if study is not None:
        mine["forecasts"], theirs["forecasts"] = study.forecast.digest, played["forecasts"]
    if costs is not None:
        mine["costs"], theirs["costs"] = costs.to_dict(), played["costs"]
    for name, value in mine.items():
        if ledger.canonical(finite({name: value})) != ledger.canonical(finite({name: theirs[name]})):
            raise InputError(f"The backtest played other {name} than these. Play it again, or pass none.")


def _evidence(study: Any, result: Any) -> dict[str, Any]:
    """Return what is known about a strategy as JSON."""
    book = ledger.current()
    records = book.records() if book.path is not None else ()
    found: dict[str, Any] = {
        "ledger": {"records": len(records), "head": records[-1].digest} if records else None,
        "study": None,
        "verdict": None,
        "backtest": None,
    }
    if study is not None:
        failed = [f.number for f in study.folds if f.failure]
        first, last = study.time[[0, -1]].tolist()
        found["study"] = {"name": study.name, "rows": len(study), "first": first, "last": last, "cv": str(study.cv)}
        found["study"] |= {"folds": len(study.folds), "failed": failed, "seeds": len(study.seeds)}
        found["study"] |= {**study.counts(), "reads": study.reads, "forecasts": study.forecast.digest}
        found["study"]["trial_sharpes"] = list(found["study"]["trial_sharpes"])
        found["verdict"] = study.verdict().to_dict()
    if result is not None:
        found["backtest"] = summary_of(result)
    return found


def _contract(strategy: Strategy) -> dict[str, Any]:
    assert strategy.contract is not None
    return strategy.contract.to_dict()
