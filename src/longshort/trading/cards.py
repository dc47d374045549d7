"""Model cards: what a saved strategy is, what it was tried on, what is known about it, and what it is not for.

The sections are those of Mitchell et al. (2019), "Model Cards for Model Reporting", in words for a strategy. A card is
written with every saved strategy from facts alone; a fact that is not known is said to be unknown.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import __version__
from ..bars import Bars
from ..evaluation.wording import plain, remarks
from ..strategy import Strategy

INTENDED = (
    "Research, and forecasts on the data of its contract by somebody who has read this card.",
    "Paper trading before any money: the verdict is about the past.",
)
NOT_FOR = (
    "Other symbols, bar sizes, calendars or currencies than those of its contract: they are refused.",
    "Trading with money that nobody may lose, or without somebody who can halt it.",
    "Advice to others. It knows nothing about their means, aims or taxes.",
    "Judging the people or companies behind the symbols.",
)
_SETTINGS = (
    "hidden", "head", "dropout", "loss", "epochs", "batch_size", "lr", "validation", "patience", "context", "scaler",
    "members", "method", "coverage", "alpha", "spans", "lags",
)  # fmt: skip
_DECIDES = (
    "name", "target", "level", "tried", "planned", "n_rows", "first", "last", "best_naive", "skill", "skill_low",
    "skill_high", "ic", "ic_low", "ic_high", "ic_p", "rank_ic", "hit_rate", "hit_rate_low", "hit_rate_high",
    "always_up", "benchmarks", "challengers", "power", "comparison", "lag_copy", "selection", "money", "cross_section",
    "coverage", "calibration", "seeds",
)  # fmt: skip


def facts_of(
    strategy: Strategy, name: str, bars: Bars, evidence: Mapping[str, Any], tables: Mapping[str, Any], deaf: str = ""
) -> dict[str, Any]:
    """Return the facts of a strategy's card as a JSON-able mapping; `deaf` says why its policy cannot act, if so."""
    contract = strategy.contract
    assert contract is not None
    until = contract.until
    learned = bars if until is None else bars.until(until)
    first, last = (None, None) if not len(learned) else (_day(learned.time[0]), _day(learned.time[-1]))
    facts = {
        "name": name,
        "longshort": __version__,
        "model": _model(strategy.forecaster),
        "training": {
            **contract.to_dict(),
            "first": first,
            "last": last,
            "bars": len(learned),
            "source": bars.source,
            "same_bars": contract.digest == learned.digest,
        },
        "refit": strategy.refit,
        "due": strategy.due,
        "policy": tables["policy"],
        "deaf": deaf,
        "limits": tables["limits"],
        "costs": tables.get("costs"),
        **{key: evidence[key] for key in ("study", "backtest", "ledger")},
        "verdict": None,
        "intended_use": list(INTENDED),
        "not_for": list(NOT_FOR),
    }
    if evidence["verdict"] is not None:
        found = evidence["verdict"]
        details = {key: found["details"].get(key) for key in _DECIDES}
        facts["verdict"] = {"exit_code": found["exit_code"], "sentence": found["sentence"], **details}
        facts["seeds"] = details["seeds"] or []
    return facts | {"caveats": _caveats(facts)}


def text_of(facts: Mapping[str, Any]) -> str:
    """Return a card as Markdown."""
    sections = {
        "Model": _told_model(facts),
        "Intended use": facts["intended_use"],
        "What it is not for": facts["not_for"],
        "Training data": _told_data(facts["training"]),
        "Evaluation": _told_study(facts),
        "Verdict": _told_verdict(facts["verdict"]),
        "Policy, limits, costs": [
            f"policy: {_pairs(facts['policy'])}",
            f"limits: {_pairs(facts['limits'])}",
            f"costs: {_pairs(facts['costs']) if facts['costs'] else 'none were declared'}",
        ],
        "Backtest": _told_backtest(facts["backtest"]),
        "Caveats": facts["caveats"],
    }
    lines = [f"# Model card: {facts['name']}"]
    for title, said in sections.items():
        lines += ["", f"## {title}", "", *([said] if isinstance(said, str) else [f"- {line}" for line in said])]
    return "\n".join(lines) + "\n"


def _told_model(facts: Mapping[str, Any]) -> list[str]:
    model = facts["model"]
    again = f"to be fitted anew: {_refit(facts)}"
    if model is None:
        return ["no forecaster: the policy goes by prices alone", again]
    known = [key for key in ("lookback", "parameters", "seeds", "seed") if model[key] is not None]
    lines = [f"{model['kind']}, forecasting: {model['target']}", *(f"{key}: {model[key]}" for key in known)]
    if settings := {k: v for k, v in model["configuration"].items() if k in _SETTINGS}:
        lines.append(f"settings: {_pairs(settings)}")
    if model["features"]:
        lines.append(f"features ({len(model['features'])}): {', '.join(model['features'])}")
    return [*lines, again, f"made with longshort {facts['longshort']}"]


def _told_data(data: Mapping[str, Any]) -> list[str]:
    symbols = data["symbols"]
    shown = ", ".join(symbols[:20]) + ", ..." * (len(symbols) > 20)
    return [
        f"{len(symbols)} symbol{'s' * (len(symbols) != 1)}: {shown}",
        f"{data['bars']:,} bars of {data['bar_size']}, {data['first']} to {data['last']}, calendar {data['calendar']}",
        f"fields {', '.join(data['fields'])}; prices in {data['currency']}, adjusted {data['adjustment']}",
        f"source {data['source'] or 'unknown'}, SHA-256 {data['digest'] or 'unknown'}",
    ]


def _told_study(facts: Mapping[str, Any]) -> list[str] | str:
    study, chain = facts["study"], facts["ledger"]
    if study is None:
        return "No study was saved with it: nothing is known about its skill."
    return [
        f"{study['cv']}: {study['folds']} folds, {study['rows']:,} out-of-sample rows",
        f"{_day(study['first'])} to {_day(study['last'])}, seeds: {study['seeds']}",
        f"configurations tried: {study['trials']} in {study['trials_where']}; on these rows: {study['tried']}",
        f"times the test rows were read: {study['reads']}",
        "ledger: none was kept in a folder"
        if chain is None
        else f"ledger: {chain['records']:,} records, the last of them SHA-256 {chain['head']}",
        "judged were models fitted in the same way on earlier bars, not the one that is kept",
    ]


def _told_verdict(v: Mapping[str, Any] | None) -> list[str] | str:
    if v is None:
        return "None."
    tests = [
        f"against {plain(name)}: skill {_n(b['skill'], '+.2%')} ({_n(b['skill_low'], '+.2%')} to "
        f"{_n(b['skill_high'], '+.2%')}), Clark-West p {_n(b['clark_west']['p'], '.2g')}, Diebold-Mariano p "
        f"{_n(b['diebold_mariano']['p'], '.2g')} (two-sided)"
        for name, b in v["benchmarks"].items()
    ]
    rivals = [
        f"{plain(name)}: skill {_n(c['skill'], '+.2%')}, IC {_n(c['ic'], '+.3f')}, does {c['says']}"
        for name, c in v["challengers"].items()
    ]
    return [
        v["sentence"],
        f"IC {_n(v['ic'], '+.3f')} (95 % interval {_n(v['ic_low'], '+.3f')} to {_n(v['ic_high'], '+.3f')}, one-sided p "
        f"{_n(v['ic_p'], '.2g')}); every p that decides had to be below {v['level']:.2g}",
        f"hit rate {_n(v['hit_rate'], '.1%')} ({_n(v['hit_rate_low'], '.1%')} to {_n(v['hit_rate_high'], '.1%')}), "
        f'where always saying "up" has {_n(v["always_up"], ".1%")}',
        *tests,
        *rivals,
        *remarks(dict(v)),
    ]


def _n(value: float | None, form: str) -> str:
    return "n/a" if value is None else format(value, form)


def _told_backtest(backtest: Mapping[str, Any] | None) -> list[str] | str:
    if backtest is None:
        return "None was saved with it."
    numbers = {k: v for k, v in backtest["scores"].items() if isinstance(v, int | float)}
    return [
        backtest["verdict"]["sentence"],
        f"{backtest['rows']:,} rows, {backtest['first']} to {backtest['last']}",
        *(f"{key.replace('_', ' ')}: {value:.4g}" for key, value in numbers.items()),
        f"{backtest['n_orders']:,} orders, {backtest['n_fills']:,} fills, {backtest['n_refusals']:,} refusals",
        f"order list: SHA-256 {backtest['order_hash']}",
    ]


def _model(forecaster: Any) -> dict[str, Any] | None:
    if forecaster is None:
        return None
    told = forecaster.to_dict()
    program: Any = getattr(forecaster, "program_", None)
    target = getattr(forecaster, "target_", None) or forecaster.target
    layers: Callable[[], list[dict[str, Any]]] | None = getattr(forecaster, "layers", None)
    return {
        "kind": told.get("kind", type(forecaster).__name__),
        "target": str(target.info),
        "features": [] if program is None else list(program.names),
        "lookback": getattr(forecaster, "lookback", None),
        "parameters": None if layers is None else sum(layer["parameters"] for layer in layers()),
        "seeds": told.get("seeds"),
        "seed": told.get("seed"),
        "configuration": told,
    }


def _caveats(facts: Mapping[str, Any]) -> list[str]:
    """Return what the facts themselves warn of."""
    study, verdict, found = facts["study"], facts["verdict"], []
    if verdict is None:
        found.append("Its skill was never judged.")
    elif verdict["exit_code"] != 0:
        found.append("There is no evidence that its forecasts are better than naive ones.")
    if study is not None:
        if study["failed"]:
            found.append(f"{len(study['failed'])} of {study['folds']} folds failed.")
        if study["seeds"] < 3 and facts["model"] is not None and facts["model"]["seed"] is not None:
            found.append(f"It was judged with {study['seeds']} seed: how much is luck of the start is not known.")
        mine = None if facts["model"] is None else facts["model"]["seeds"]
        if mine is not None and mine != study["seeds"]:
            found.append(f"What was judged is the mean over {study['seeds']} seeds; what is kept, over {mine}.")
        if study["reads"] > 1:
            found.append(f"The test rows were read {study['reads']} times; what was learned from them is not counted.")
    if facts["deaf"]:
        found.append(f"It cannot trade: {facts['deaf']}")
    if facts["backtest"] is None:
        found.append("Its policy and limits were never played over a history.")
    if facts["costs"] is None:
        found.append("No costs were declared.")
    if not facts["training"]["same_bars"]:
        found.append("The bars at hand when it was saved are not the ones it was fitted on.")
    if len(facts["training"]["symbols"]) > 1:
        found.append("Whether its symbols were chosen knowing which would last cannot be seen in their bars.")
    if study is not None and facts["ledger"] is None:
        found.append("What was tried is known of this process only: no ledger was kept in a folder.")
    found.append("Markets change: what held in the data above may not hold after.")
    return found


def _refit(facts: Mapping[str, Any]) -> str:
    return "never" if facts["due"] is None else f"after {facts['due']} (every {facts['refit']})"


def _pairs(values: Mapping[str, Any]) -> str:
    shown = {k: v for k, v in values.items() if v not in (None, {}, [], ())}
    return ", ".join(f"{k} {'{' + _pairs(v) + '}' if isinstance(v, Mapping) else v}" for k, v in shown.items())


def _day(stamp: Any) -> str:
    return str(np.datetime64(int(stamp), "ns").astype("datetime64[D]"))
