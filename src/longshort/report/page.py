"""Lay a report out: facts in, one self-contained HTML page out.

Every text that comes from outside (symbols, names, paths, messages) passes `escape`. The style sheet and the script are
two files beside this one and travel inside the page; the page asks for nothing from outside.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files

import numpy as np

from ..evaluation.wording import plain
from .diagram import Network, network_figure
from .facts import Closes, Facts, Next, Skill, plain_name, plural
from .figures import (
    calibration_figure,
    closes_figure,
    empty,
    money,
    next_figure,
    percent,
    series_figure,
    skill_figure,
    training_figure,
    turn_figure,
)

METRICS = {
    "rmse": "RMSE",
    "mae": "MAE",
    "ic": "correlation",
    "r2": "R²",
    "clark_west_p": "Clark-West p",
    "diebold_mariano": "Diebold-Mariano",
    "diebold_mariano_p": "its p",
    "confidence_set_p": "p in the confidence set",
}
MAX_PANELS = 8  # symbols drawn one by one; all of them are in the table


@dataclass(frozen=True)
class Page:
    """What goes on the page, in order."""

    name: str
    symbols: Sequence[str]
    facts: Sequence[Facts]  # the first is the subject
    closes: Sequence[Closes]  # one a symbol
    next: Sequence[Next]
    networks: Sequence[tuple[str, Network]]
    issues: Sequence[tuple[str, str, str, str]]  # symbol, kind, bars, what
    issues_seen: int
    span: tuple[str, str]
    source: str
    bar_size: str
    digest: str
    version: str
    price_note: str = ""
    verdicts: Sequence[str] = ()  # of strategies, HTML
    strategies: Sequence[str] = ()  # their sections, HTML


@cache
def _part(name: str) -> str:
    return (files("longshort.report") / name).read_text(encoding="utf-8")


def render(page: Page) -> str:
    """The whole page as HTML."""
    title = f"{page.name} – longshort"
    body = [_first(page), *page.strategies, *(_other(f, f"o{i}") for i, f in enumerate(page.facts[1:]))]
    if page.facts:
        body += [_skill(page.facts[0], page), _training(page.facts), _networks(page.networks), _scores(page.facts)]
        body += [_folds(page.facts)]
    body += [_data(page)]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{_part('page.css')}</style></head><body>"
        f"{_header(page)}<main>{''.join(body)}</main>{_footer(page)}"
        f'<div id="tip" role="status"></div><script>{_part("page.js")}</script></body></html>\n'
    )


def _header(page: Page) -> str:
    symbols = ", ".join(page.symbols[:6]) + (" …" if len(page.symbols) > 6 else "")
    return (
        '<header class="top"><span><b>longshort</b></span>'
        f"<span>{escape(symbols)}, {page.span[0]} – {page.span[1]}, {escape(page.bar_size)} bars</span>"
        "<span>Not investment advice</span></header>"
    )


def verdict_block(facts: Facts, tag: str = "h1") -> str:
    """The verdict: its first clause as the headline, a filled or hollow mark before it, the whole sentence below."""
    verdict = facts.verdict
    return marked(verdict.exit_code == 0, headline(facts), (verdict.sentence, numbers_line(facts)), tag)


def marked(edge: bool, head: str, lines: Sequence[str], tag: str) -> str:
    """A verdict: a filled or hollow mark, a headline and what stands below it."""
    word = "Edge" if edge else "No evidence of an edge"
    return (
        f'<div class="verdict"><span class="mark{" edge" if edge else ""}" role="img" aria-label="{word}"></span>'
        f"<{tag}>{escape(head)}</{tag}>{''.join(f'<p>{escape(line)}</p>' for line in lines)}</div>"
    )


def headline(facts: Facts) -> str:
    """The verdict in one line; the whole sentence stands below it."""
    names = [plain(n) for n in facts.details["benchmarks"]]
    free = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    start = "Edge: the" if facts.verdict.exit_code == 0 else "No evidence that the"
    return f"{start} {facts.details['name']} knows more about the {facts.target} than {free}."


def numbers_line(facts: Facts) -> str:
    """The numbers of a study in a line: skill, hit rate, correlation, and what they rest on."""
    d = facts.details
    parts = [f"skill {_interval(facts.overall, 1)} against {facts.reference_name}"]
    if d.get("hit_rate") is not None and facts.target.kind != "volatility":
        parts.append(f"hit rate {percent(d['hit_rate'])}")
    if d.get("ic") is not None:
        parts.append(f"correlation {fixed(d['ic'], 2)}")
    return " · ".join([*parts, facts.counts])


def _first(page: Page) -> str:
    if not page.facts:
        return f'<section class="first">{"".join(page.verdicts)}</section>'
    main = page.facts[0]
    parts = ['<section class="first">', verdict_block(main), *page.verdicts]
    if not page.closes:
        parts += [f"<figure><figcaption><b>{escape(main.name)}</b> · rows nobody trained on</figcaption>"]
        parts += [_key("actual", main.model_name, main.reference_name), series_figure(main, "m0"), "</figure>"]
        parts += [_next_block(n, f"n{i}") for i, n in enumerate(page.next[:1])]
        return "".join([*parts, "</section>"])
    shown = page.closes[:MAX_PANELS]
    if len(shown) > 1:
        options = "".join(f'<option value="{i}">{escape(c.symbol)}</option>' for i, c in enumerate(shown))
        parts.append(f'<select data-panels="price" aria-label="Symbol" hidden>{options}</select>')
    by_symbol = {n.symbol: n for n in page.next}
    for i, closes in enumerate(shown):
        hidden = " hidden" if i else ""
        parts.append(
            f'<div data-panel="price:{i}"{hidden}>{_price(closes, by_symbol.get(closes.symbol), i, page)}</div>'
        )
    return "".join([*parts, "</section>"])


def _price(closes: Closes, nxt: Next | None, i: int, page: Page) -> str:
    note = page.price_note or closes.caption
    first, last = (_date(t) for t in closes.time[[0, -1]])
    head = f"<b>{escape(closes.symbol)} close</b>, today's price units · {first} – {last}, rows nobody trained on"
    key = _key("actual", closes.model_name, "last close")
    drawing = closes_figure(closes, f"c{i}")
    right = _next_block(nxt, f"n{i}") if nxt else ""
    return (
        f"<figure><figcaption>{head} · {escape(note)}</figcaption>{key}{drawing}</figure>"
        f'<div class="pair">{_turn_block(closes, f"t{i}")}{right or _lag_block(closes)}</div>'
        + (f'<div class="pair">{_lag_block(closes)}{_next_table(nxt)}</div>' if nxt else "")
    )


def _turn_block(closes: Closes, key: str) -> str:
    head = f"<b>60 {closes.word} enlarged</b>, the deepest fall with a recovery"
    return f'<figure class="gap"><figcaption>{head}</figcaption>{turn_figure(closes, key)}</figure>'


def _next_block(nxt: Next, key: str) -> str:
    sessions = plural(len(nxt.mean), "session")
    head = f"<b>Next {sessions}</b>, {escape(nxt.model_name)}, {_claim(nxt)} from its errors on validation rows"
    return f'<figure class="gap"><figcaption>{head}</figcaption>{next_figure(nxt, key)}</figure>'


def _next_table(nxt: Next) -> str:
    rows = [[r["date"], money(r["mean"]), f"{money(r['low'])} – {money(r['high'])}"] for r in nxt.rows()]
    return f'<figure class="gap">{table(["session", "close", _claim(nxt)], rows, ours=1)}</figure>'


def _claim(nxt: Next) -> str:
    return f"{100 * nxt.level:.0f} % interval"


def _lag_block(closes: Closes) -> str:
    """How far the forecast lies from the close of its own day and of earlier ones: smallest at the lag."""
    ours, naive = closes.fit_by_lag, closes.naive_by_lag
    one = "session" if closes.word == "days" else "bar"
    names = [f"of the same {one}", f"1 {one} earlier", *(f"{k} {one}s earlier" for k in range(2, 6))]
    rows = [[names[k], money(ours[k]), money(naive[k])] for k in range(5) if np.isfinite(ours[k])]
    head = ["typical distance to the close", closes.model_name, "last close"]
    return f'<figure class="gap">{table(head, rows, ours=1)}</figure>'


def _other(facts: Facts, key: str) -> str:
    name = str(facts.target).capitalize()
    parts = [
        f"<section><h2>{escape(name)}</h2>",
        verdict_block(facts, "h3"),
        f'<figure class="gap"><figcaption><b>{escape(facts.name)}</b> · rows nobody trained on</figcaption>',
        _key("actual", facts.model_name, facts.reference_name),
        series_figure(facts, key),
        "</figure>",
        '<div class="pair">',
        figure("Skill by year", _reference(facts), skill_figure((facts.overall, *facts.by_year), "Skill by year")),
        _calibration(facts),
        "</div>",
        _tests(facts),
        "</section>",
    ]
    return "".join(parts)


def _skill(facts: Facts, page: Page) -> str:
    folds = (facts.overall, *facts.by_fold) if len(facts.by_fold) <= 40 else (facts.overall,)
    parts = [
        f'<section><h2>Skill</h2><p class="sub">{escape(facts.name)}. {escape(_reference(facts))}: 0 is as good as '
        "knowing nothing. Bars are 95 % intervals. "
        f"{escape(facts.counts)}.</p>",
        '<div class="pair">',
        figure("By fold", "", skill_figure(folds, "Skill by fold")),
        figure("By year", "", skill_figure((facts.overall, *facts.by_year), "Skill by year")),
        "<div>",
        figure("Other forecasts", "same rows, same reference", skill_figure(facts.rivals, "Skill of other forecasts"))
        if facts.rivals
        else "",
        _by_symbol(facts),
        "</div>",
        _calibration(facts),
        "</div>",
    ]
    return "".join([*parts, _tests(facts), "</section>"])


def _by_symbol(facts: Facts) -> str:
    if len(facts.symbols) < 2:
        return ""
    if not facts.by_symbol:
        return figure("By symbol", "", empty(f"Not judged one by one: {len(facts.symbols)} symbols are too many."))
    best = sorted(facts.by_symbol, key=lambda s: -(s.value if np.isfinite(s.value) else -np.inf))
    shown = best if len(best) <= 40 else [*best[:20], *best[-20:]]
    note = "" if len(best) <= 40 else f"20 best and 20 worst of {len(best)}"
    return figure("By symbol", note, skill_figure(shown, "Skill by symbol"))


def _calibration(facts: Facts) -> str:
    if facts.calibration is None:
        return figure("Calibration", "", empty("Fewer than 40 forecasts with an outcome."))
    cal = facts.calibration
    note = f"slope {cal.slope:.2f} (dashed: 1), {cal.rows:,} forecasts in {len(cal.forecast)} bins"
    for claimed, seen in cal.coverage:
        note += f"; the {100 * claimed:.0f} % interval held {percent(seen)}"
    return figure("Calibration", note.replace("-", "−"), calibration_figure(cal, facts.unit, facts.target.kind))


def _training(every: Sequence[Facts]) -> str:
    blocks = []
    for facts in every:
        if not facts.curves:
            continue
        labels = {int(f.number): label.label for f, label in zip(facts.study.folds, facts.by_fold, strict=True)}
        gaps = np.array(
            [c.validation[c.best] / c.train[c.best] for c in facts.curves if c.best is not None and c.train[c.best] > 0]
        )
        stops = np.array([c.best + 1 for c in facts.curves if c.best is not None])
        text = f"{plural(len(facts.curves), 'fit')}."
        if len(gaps):
            text += (
                f" Gap: validation loss at its lowest is {np.median(gaps):.2f} times the training loss "
                f"(median; {gaps.min():.2f} to {gaps.max():.2f}), reached at epoch {np.median(stops):.0f} "
                f"({stops.min()} to {stops.max()})."
            )
        blocks.append(
            f'<figure class="gap"><figcaption><b>{escape(facts.name)}</b> · {escape(text)}</figcaption>'
            f"{_key('training', 'validation', always=True)}{training_figure(facts.curves, labels)}</figure>"
        )
    inside = "".join(blocks) or empty("No loss curves were recorded.")
    lead = (
        "Loss by epoch, one panel a fold, one line a seed. Training loss is met while learning, with dropout; "
        "validation loss after each epoch, without."
    )
    return f'<section><h2>Training</h2><p class="sub">{lead}</p>{inside}</section>'


def _networks(networks: Sequence[tuple[str, Network]]) -> str:
    if not networks:
        return ""
    blocks = []
    for name, network in networks:
        listed = ", ".join(network.features)
        blocks.append(
            f'<figure class="gap"><figcaption><b>{escape(name)}</b> · {network.parameters:,} parameters · '
            f"reads {escape(listed)}</figcaption>{network_figure(network)}</figure>"
        )
    return f"<section><h2>Network</h2>{''.join(blocks)}</section>"


def _tests(facts: Facts) -> str:
    """Every test of the model against a forecast that knows nothing."""
    rows = []
    for name, found in facts.details["benchmarks"].items():
        west, mariano = found["clark_west"], found["diebold_mariano"]
        skill = Skill(name, int(west["n"]), _nan(found["skill"]), _nan(found["skill_low"]), _nan(found["skill_high"]))
        row = [plain_name(name), _interval(skill), _score("diebold_mariano", west["statistic"]), _p(west["p"])]
        rows.append([*row, _score("diebold_mariano", mariano["statistic"]), _p(mariano["p"]), f"{west['n']:,}"])
    head = ["against", "skill, 95 % interval", "Clark-West", "p, one-sided", "Diebold-Mariano", "p, two-sided", "dates"]
    return f'<figure class="gap"><figcaption><b>Tests</b></figcaption>{table(head, rows)}</figure>'


def _nan(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _p(value: float | None) -> str:
    return "–" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _scores(every: Sequence[Facts]) -> str:
    parts = ["<section><h2>Scores</h2>"]
    for facts in every:
        scores = facts.study.scores()
        scale, units = _price_scale(facts)
        metrics = list(dict.fromkeys(m for one in scores.values() for m, value in one.items() if value is not None))
        rows = [
            [plain_name(str(name)), *(_score(m, one.get(m), scale) for m in metrics)] for name, one in scores.items()
        ]
        seeds = [v["skill"] for v in facts.details["seeds"] if v["skill"] is not None]
        spread = f" Skill of single seeds: {', '.join(percent(v, 2, True) for v in seeds)}." if len(seeds) > 1 else ""
        note = f"{facts.counts}.{spread}{units} Trials counted in {facts.details['trials_where']}."
        head = ["", *(METRICS.get(m, m.replace("_", " ")) for m in metrics)]
        remarks = "".join(f'<p class="sub">{escape(minus(line))}</p>' for line in facts.verdict.remarks)
        parts.append(figure(facts.name, note, table(head, rows, mark=0) + remarks))
    return "".join([*parts, "</section>"])


def _score(metric: str, value: float | None, scale: float = 1.0) -> str:
    if value is None or not np.isfinite(value):
        return "–"
    if metric in ("skill", "hit_rate"):
        return percent(value, 1 if metric == "hit_rate" else 2)
    if metric == "r2":
        return fixed(value, 4)
    if metric.endswith("_p"):
        return _p(value)
    if metric in ("rmse", "mae"):
        return _number(value * scale)
    return fixed(value, 3 if metric == "ic" else 2)


def _price_scale(facts: Facts) -> tuple[float, str]:
    """What turns errors of forward-adjusted closes into today's price units, and the words for it."""
    if facts.target.kind != "close":
        return 1.0, ""
    if len(facts.symbols) > 1:
        return 1.0, " RMSE and MAE are in forward-adjusted units."
    return 1.0 / float(np.asarray(facts.study.bars.factor)[-1, 0]), " RMSE and MAE are in today's price units."


def _folds(every: Sequence[Facts]) -> str:
    parts = ["<section><h2>Folds</h2>"]
    for facts in every:
        rows = []
        for fold, result in zip(facts.study.folds, facts.by_fold, strict=True):
            train = f"{_date(fold.train_start)} – {_date(fold.train_end)}"
            test = f"{_date(fold.test_start)} – {_date(fold.test_end)}"
            words = result.note if getattr(fold, "failure", None) else _interval(result)
            rows.append([str(fold.number), train, f"{fold.n_train:,}", test, f"{fold.n_test:,}", words])
        head = ["fold", "training", "rows", "test", "rows", "skill, 95 % interval"]
        parts.append(
            f'<figure class="gap"><figcaption><b>{escape(facts.name)}</b></figcaption>{table(head, rows)}</figure>'
        )
    return "".join([*parts, "</section>"])


def _data(page: Page) -> str:
    parts = [f'<section><h2>Data</h2><p class="sub">{escape(page.source)}</p>']
    if not page.issues:
        parts.append(empty("The checks found no issue in these bars."))
    else:
        note = "" if page.issues_seen <= len(page.issues) else f", the first {len(page.issues)} are shown"
        parts.append(f'<p class="sub">The checks found {plural(page.issues_seen, "issue")}{note}.</p>')
        parts.append(table(["symbol", "kind", "bars", "what"], page.issues, words=(1, 3)))
    return "".join([*parts, "</section>"])


def _footer(page: Page) -> str:
    made = f"bars {page.digest[:16]} · made with longshort {page.version}"
    return (
        "<footer><p>Not investment advice. Past forecasts say little about future ones.</p>"
        f"<p>Data: {escape(page.source)} · {escape(made)}</p></footer>"
    )


def figure(title: str, note: str, drawing: str) -> str:
    tail = f" · {escape(note)}" if note else ""
    return f'<figure class="gap"><figcaption><b>{escape(title)}</b>{tail}</figcaption>{drawing}</figure>'


def _key(actual: str, model: str, naive: str = "", always: bool = False) -> str:
    # lines carry their names where there is room; the key is for narrow pages and for small panels
    items = [("s-actual", actual), ("s-model", model), ("s-naive", naive)]
    return (
        f'<p class="key{" always" if always else ""}">'
        + "".join(f'<span><i class="{c}"></i>{escape(n)}</span>' for c, n in items if n)
        + "</p>"
    )


def _reference(facts: Facts) -> str:
    return f"1 − MSE / MSE of {facts.reference_name}"


def _interval(s: Skill, digits: int = 2) -> str:
    if not np.isfinite(s.value):
        return s.note or "–"
    if not np.isfinite(s.low):
        return percent(s.value, digits, True)
    return f"{percent(s.value, digits, True)} ({percent(s.low, digits, True)} to {percent(s.high, digits, True)})"


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    ours: int | None = None,
    mark: int | None = None,
    words: Sequence[int] = (),
) -> str:
    """A table of texts; `ours` colours a column, `mark` a row, `words` are columns of prose."""

    def cell(tag: str, j: int, text: str) -> str:
        cls = "words" if j in words else "ours" if tag == "td" and j == ours else ""
        return f"<{tag}{f' class={cls!r}' if cls else ''}>{escape(text)}</{tag}>"

    top = "".join(cell("th", j, h) for j, h in enumerate(head))
    body = "".join(
        f"<tr{' class=ours' if i == mark else ''}>{''.join(cell('td', j, v) for j, v in enumerate(row))}</tr>"
        for i, row in enumerate(rows)
    )
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def fixed(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    return (text.lstrip("-") if float(text) == 0 else text).replace("-", "−")


def _number(value: float) -> str:
    if not np.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    size = abs(value)
    text = f"{value:,.1f}" if size >= 1000 else f"{value:.4g}" if size >= 1e-4 else f"{value:.2e}"
    return text.replace("-", "−")


def minus(text: str) -> str:
    """Return the text with minus signs before numbers that have a hyphen."""
    return re.sub(r"(?<!\w)-(?=\d)", "−", text)


def _date(stamp: int) -> str:
    return str(np.datetime64(int(stamp), "ns").astype("datetime64[D]"))
