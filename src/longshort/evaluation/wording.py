"""The verdict in plain words, made from its details."""

from math import isfinite
from typing import Any


def sentence(d: dict[str, Any]) -> str:
    """Return the finding, what the challengers do, and what to keep in mind."""
    return " ".join(p for p in (_finding(d), _challengers(d), _caveats(d)) if p)


def _finding(d: dict[str, Any]) -> str:
    ps = _list([_p(b["clark_west"]["p"], d["level"]) for b in d["benchmarks"].values()])
    ic = f"IC {d['ic']:+.3f}" if isfinite(d["ic"]) else "no IC, forecast or outcome is constant"
    if isfinite(d["ic"]) and not d["edge"] and all(d["passed"].values()):  # what was missing
        ic += f", not shown to be above 0: p {_p(d['ic_p'], d['level'])}"
    where = f"on {d['n_rows']:,} out-of-sample rows" + (f" ({d['first']} to {d['last']})" if d["first"] else "")
    names = [plain(n) for n in d["benchmarks"]]
    if d["edge"]:
        return (
            f"Edge: {where} {d['name']} knew more about the {d['target']['text']} than {_list(names)} "
            f"(Clark-West p {ps}, {ic}); {_size(d)}."
        )
    least = d["power"]["detectable_ic"]
    shows = f"an IC of {least:.2f} would have shown in four cases of five"
    shows = shows if least < 1 else "so few independent rows can hardly show any"
    return (
        f"No evidence: {where} {d['name']} did not show that it knows more about the {d['target']['text']} than "
        f"{_list(names)} (Clark-West p {ps}, {ic}); {_size(d)}, "
        f"and {shows}."
    )


def _size(d: dict[str, Any]) -> str:
    best, skill = plain(d["best_naive"]), d["skill"]
    if not isfinite(skill):
        return f"its squared error cannot be compared with that of {best}"
    if abs(skill) < 0.0005:
        return f"its squared error was that of {best} within 0.05 %"
    if skill < -1:
        return f"its squared error was {1 - skill:.1f} times that of {best}"
    return f"its squared error was {100 * abs(skill):.1f} % {'below' if skill > 0 else 'above'} that of {best}"


def _challengers(d: dict[str, Any]) -> str:
    ways = {"better": "significantly better", "as well": "as well", "worse": "significantly worse"}
    parts = []
    for says, words in ways.items():
        names = [n for n, c in d["challengers"].items() if c["says"] == says]
        if names:
            parts.append(f"{_list([plain(n) for n in names])} {'does' if len(names) == 1 else 'do'} {words}")
    return (_capital("; ".join(parts)) + ".") if parts else ""


def _caveats(d: dict[str, Any]) -> str:
    notes = []
    many = max(d["tried"], d["planned"])
    if many > 1:
        was = "configuration was" if d["tried"] == 1 else "configurations were"
        tried = f"{d['tried']} {was} tried on these rows ({d['trials_where']})"
        tried += f" of {d['planned']} that were planned" if d["planned"] > d["tried"] else ""
        notes.append(f"{tried}, so p must be below {d['level']:.2g}, which is 5 % for all of them together")
    elif d["trials"] > 1:
        notes.append(f"{d['trials']} configurations were tried ({d['trials_where']})")
    if d["reads"] > 1:
        notes.append(f"these test rows were looked at for the {_ordinal(d['reads'])} time")
    if d["failures"]:
        n = len(d["failures"])
        notes.append(f"{n} fold{'s' * (n > 1)} failed and {'are' if n > 1 else 'is'} not judged")
    return (_capital("; ".join(notes)) + ".") if notes else ""


def _ordinal(n: int) -> str:
    ending = "th" if 10 <= n % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"


def remarks(d: dict[str, Any]) -> list[str]:
    """Return, a line each, what else the rows show: comparison, selection, money, order, calibration, seeds, power."""
    lines = [
        _comparison(d.get("comparison"), d["name"]),
        _lag(d.get("lag_copy"), d["name"]),
        _selection(d.get("selection")),
        _money(d.get("money")),
        _order(d.get("cross_section")),
        _coverage(d.get("coverage") or []),
        _calibration(d.get("calibration")),
        _seeds(d.get("seeds") or []),
        _power(d),
    ]
    return [line for line in lines if line]


def _comparison(c: dict[str, Any] | None, name: str) -> str:
    if not c:
        return ""
    n, best = len(c["confidence_set_p"]) - 1, plain(c["best_other"])
    tests = f"superior predictive ability p {_p(c['spa_p'])}, reality check p {_p(c['reality_check_p'])}"
    found = f"{best} beats {name}" if c["spa_p"] < 0.05 else f"none is shown to beat {name}"
    among = "the other forecast" if n == 1 else f"the {n} other forecasts at once"
    kept = _list([plain(one) for one in c["confidence_set_p"] if one in c["confidence_set"]][::-1])
    return f"Against {among}: {found} ({tests}); cannot be told from the best at {c['confidence']:.0%}: {kept}."


def _selection(s: dict[str, Any] | None) -> str:
    if not s:
        return ""
    found = (
        f"Of {s['trials']} configurations scored on these rows the best gained {s['best_gain']:+.2%} over the best "
        f"naive forecast, where luck alone gives {s['expected_gain']:+.2%} (reality check p {_p(s['reality_check_p'])})"
    )
    if s["probability_of_overfitting"] is None:
        return found + "."
    return f"{found}; probability that the best was overfitted {_n(s['probability_of_overfitting'])}."


def _lag(lag: dict[str, Any] | None, name: str) -> str:
    if not lag or not lag["alarm"]:
        return ""
    return (
        f"Lag copy: {name} stays nearer to the last close (distance {lag['distance_to_last']:.2%}) than to the close "
        f"it is for ({lag['distance_to_outcome']:.2%})."
    )


def _money(m: dict[str, Any] | None) -> str:
    if not m:
        return ""
    needs = ""
    if m["trials"] > 1 and m["minimum_years"] is not None and isfinite(m["minimum_years"]):
        needs = f"; that many trials show such a Sharpe ratio by luck in less than {m['minimum_years']:.1f} years"
        needs += f", and these are {m['years']:.1f}"
    even = f"breaks even at {m['break_even_bp']:.1f} bp" if m["break_even_bp"] > 0 else "loses even at no cost"
    return (
        f"Following the signs at {m['cost_bp']:g} bp a trade: Sharpe {_n(m['sharpe'])} ({_n(m['sharpe_low'])} to "
        f"{_n(m['sharpe_high'])}), above zero with probability {_n(m['probability'])}{_luck(m)}; "
        f"deepest fall {_n(m['max_drawdown'], '.0%')} "
        f"({_n(m['max_drawdown_low'], '.0%')} to {_n(m['max_drawdown_high'], '.0%')}); "
        f"{even}; the same positions at random moments did as well in "
        f"{100 * m['random_entries_p']:.0f} % of draws; buy and hold {_n(m['buy_and_hold']['sharpe'])}{needs}."
    )


def _luck(m: dict[str, Any]) -> str:
    """What the trials leave of a Sharpe ratio: the best of many useless ones often has a probability above a half."""
    if m["trials"] < 2:
        return ""
    left, best = m["deflated_probability"], f"what luck gives the best of {m['trials']} trials"
    if left is not None and left >= 0.95:
        return f" and above {best} with probability {_n(left)}"
    return f" but not shown to be above {best} (deflated probability {_n(left)}, where 0.95 would show it)"


def _order(c: dict[str, Any] | None) -> str:
    if not c:
        return ""
    return (
        f"Order of the symbols on {c['dates']:,} dates: rank IC {_n(c['rank_ic'], '+.3f')} (error "
        f"{_n(c['rank_ic_error'], '.3f')}, p {_p(c['rank_ic_p'])}), ICIR {_n(c['icir'])}, best fifth minus worst "
        f"{_n(c['top_minus_bottom'], '+.3g')} (error {_n(c['top_minus_bottom_error'], '.2g')}), "
        f"{100 * (c['turnover'] or 0):.0f} % of them replaced from date to date."
    )


def _coverage(found: list[dict[str, Any]]) -> str:
    parts = [
        f"{100 * c['promised']:.0f} % intervals held {100 * c['held']:.1f} % of {c['n']:,} outcomes" for c in found
    ]
    return _capital("; ".join(parts)) + "." if parts else ""


def _calibration(c: dict[str, Any] | None) -> str:
    if not c or c["slope"] is None or not isfinite(c["slope"]):
        return ""
    moves = f"{c['slope']:.2f} (error {_n(c['slope_error'])})"
    return f"Calibration: where the forecast moves by 1, the outcome moves by {moves}."


def _seeds(seeds: list[dict[str, Any]]) -> str:
    """When single seeds differ as much as the effect, there is no effect."""
    parts = []
    for name, word, form in (("skill", "skill", "+.2%"), ("ic", "IC", "+.3f")):
        known = [s[name] for s in seeds if s[name] is not None]
        if known:
            parts.append(f"{word} {min(known):{form}} to {max(known):{form}}")
    return f"Single seeds, {len(seeds)} of them: {', '.join(parts)}." if parts else ""


def _power(d: dict[str, Any]) -> str:
    p = d["power"]
    return (
        f"Power: {p['independent_rows']:,} independent rows show an IC of 0.05 in {100 * p['power_at_0.05']:.0f} % of "
        f"cases and one of 0.02 in {100 * p['power_at_0.02']:.0f} %."
    )


def _n(value: float | None, form: str = ".2f") -> str:
    return "n/a" if value is None else format(value, form)


_PLAIN = {
    "last": "the last known value",
    "last_close": "the last close",
    "last_realised": "the last realised value",
    "persistence": "persistence",
    "drift": "the drift",
    "zero": "zero",
    "mean": "the mean",
    "expanding_mean": "the mean so far",
    "majority": "the majority so far",
    "share": "the share of rises so far",
    "ridge": "a ridge on the same features",
    "ar": "an autoregression",
    "har": "HAR",
}


def plain(name: str) -> str:
    """Return what a forecast is called in a sentence."""
    return _PLAIN.get(name, name.replace("_", " "))


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _p(p: float | None, level: float = 0.05) -> str:
    """A p-value, with as many digits as it takes to compare it with the level."""
    if p is None:
        return "n/a"
    if p < 0.001:
        return "< 0.001" if level >= 0.001 else f"{p:.2g}"
    return f"{p:.3f}"
