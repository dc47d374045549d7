"""What a backtest adds to a report: its verdict, the account over time, and what it consists of.

Every number is the result's own: `BacktestResult` computes, this page arranges.
"""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import metrics
from .facts import plural, some
from .figures import percent
from .money_figures import (
    STYLES,
    beside,
    can_log,
    capacity_figure,
    costs_figure,
    equity_figures,
    lines_figure,
    rolling_figure,
    short,
    spans_wide,
    turnover_figure,
    window_of,
)
from .page import figure, fixed, marked, minus, table
from .svg import MONTHS

if TYPE_CHECKING:
    from ..trading import BacktestResult
    from ..trading.breakdown import Share

MOST_SYMBOLS = 20  # listed one by one; of more, the ten best and the ten worst


def verdict(result: "BacktestResult", tag: str) -> str:
    """The strategy's verdict, with a mark that is filled for an edge only, and what it earned."""
    found, s = result.verdict(), result.scores()
    earned = f"{percent(s['annual_return'], 1, True)} a year after costs, worst drawdown {percent(s['max_drawdown'])}"
    return marked(found.exit_code == 0, minus(found.sentence), [f"{result.name}: {earned}"], tag)


def numbers(result: "BacktestResult") -> str:
    """The account in one line."""
    s, dates = result.scores(), result.bars.dates
    parts = [
        f"return {percent(s['annual_return'], 1, True)} a year after costs of {percent(s['costs'], 2)}",
        f"volatility {percent(s['annual_volatility'])}",
        f"worst drawdown {percent(s['max_drawdown'])}",
        plural(len(result.fills), "fill"),
        plural(int(s["trades"]), "round trip"),
        f"{plural(len(result.time), 'row')}, {dates[0]} – {dates[-1]}",
        plural(result.trials, "trial"),
    ]
    return " · ".join(parts)


def section(result: "BacktestResult", key: str) -> str:
    """The sections of one backtest; `key` keeps its charts apart from others on the page."""
    forecasts = result.configuration.get("forecasts")
    played = "forecasts of rows nobody trained on" if forecasts else "a rule without forecasts, on all rows"
    lead = f"{some(result.symbols)}, {played}. {_still(result)}".strip()
    parts = [
        f'<section><h2>Strategy: {escape(result.name)}</h2><p class="sub">{escape(minus(lead))}</p>',
        f'<p class="sub">{escape(numbers(result))}</p>',
        _equity(result, key),
        _beside(result),
        f'<div class="pair">{_exposure(result, key)}{_turnover(result, key)}{_costs(result, key)}</div>',
        _months(result),
        f'<div class="pair"><div>{_rolling(result, key)}{_exits(result)}</div>{_trades(result)}</div>',
        _symbols(result),
        _limits(result),
        _capacity(result),
        _rules(result),
        "</section>",
    ]
    return "".join(parts)


# -------------------------------------------------------------------------------------------------------- over time


def _equity(result: "BacktestResult", key: str) -> str:
    wide, both = spans_wide(result), can_log(result)
    head = f"{result.account.currency}, benchmarks before costs; drawdown below on its own scale"
    styles = [("s-model", "strategy"), *((STYLES.get(n, "s-soft"), n) for n in beside(result))]
    names = _key(styles)
    if not both:
        return figure("Equity", head, f"{names}{''.join(equity_figures(result, key + 'e', (False,)))}")
    order = (True, False) if wide else (False, True)
    options = "".join(
        f'<option value="{i}">{"logarithmic" if log else "linear"}</option>' for i, log in enumerate(order)
    )
    drawings = equity_figures(result, key + "e", order)
    drawn = drawings[0] + "".join(
        f'<div data-panel="{key}:{i}"{" hidden" * (i > 0)}>{drawing}</div>' for i, drawing in enumerate(drawings[1:])
    )
    choice = f'<select data-panels="{key}" aria-label="Scale of equity" hidden>{options}</select>'
    note = f"{head}{'; logarithmic' if wide else ''}"
    return figure("Equity", note, names + choice + drawn)


def _key(names: Sequence[tuple[str, str]]) -> str:
    """The names of lines, for narrow pages; where there is room they stand at the lines' ends."""
    items = "".join(f'<span><i class="{style}"></i>{escape(name)}</span>' for style, name in names)
    return f'<p class="key">{items}</p>'


def _beside(result: "BacktestResult") -> str:
    years = result.bars_per_year
    low, high = (result.verdict().details.get(f"sharpe_{end}", np.nan) for end in ("low", "high"))
    names = [n.replace(" ", "_") for n in beside(result)]
    rows = []
    for name, returns in (("strategy", result.returns), *((n, result.benchmarks[n]) for n in names)):
        r = returns[1:]
        ratio = metrics.sharpe(r, bars_per_year=years)
        rows.append(
            [
                name.replace("_", " ") + ("" if name == "strategy" else " (before costs)"),
                percent(metrics.total_return(r), 1, True),
                percent(metrics.annual_return(r, years), 1, True),
                percent(metrics.annual_volatility(r, years)),
                f"{_real(ratio)} ({_real(low)} to {_real(high)})" if name == "strategy" else _real(ratio),
                _real(metrics.sortino(r, bars_per_year=years)),
                percent(metrics.max_drawdown(r)),
            ]
        )
    head = ["", "total", "a year", "volatility", "Sharpe ratio, 95 % interval", "Sortino", "worst drawdown"]
    note = (
        "equal exposure: all symbols alike, scaled to the strategy's mean net exposure. Interval: stationary bootstrap"
    )
    words = f'<p class="sub">{escape(minus(_chance(result)))}</p>'
    return figure("Beside what needs no strategy", note, table(head, rows, mark=0) + words)


def _chance(result: "BacktestResult") -> str:
    """How sure it is that the strategy chose well."""
    details = result.verdict().details
    if not details:
        return "Too little was played to be judged."
    parts = [
        f"Over equal exposure: Sharpe ratio {_real(details['excess_sharpe'])}, "
        f"above zero with {_sure(details['excess_probability'])} confidence."
    ]
    if np.isfinite(details["random_entries_p"]):
        parts.append(
            "The same positions, moved as a whole to other moments, earned at least as much in "
            f"{_sure(details['random_entries_p'])} of cases."
        )
    if details["trials"] > 1:
        sure = details["deflated_probability"]
        said = f"is above it with {_sure(sure)} confidence."
        if not sure >= 0.95:
            said = f"is not shown to be above it (confidence {_sure(sure)}, where 95 % would show it)."
        parts.append(
            f"The best of {details['trials']:,} trials shows a Sharpe ratio of {_real(details['deflated_benchmark'])} "
            f"by luck; this one {said}"
        )
    return " ".join(parts)


def _sure(probability: float) -> str:
    """A probability that never claims to be certain.

    >>> _sure(0.9999), _sure(0.42), _sure(0.0)
    ('more than 99 %', '42 %', 'less than 1 %')
    """
    if probability > 0.99:
        return "more than 99 %"
    return "less than 1 %" if probability < 0.01 else percent(probability, 0)


def _exposure(result: "BacktestResult", key: str) -> str:
    s = result.scores()
    note = f"over equity; mean gross {_real(s['gross_exposure'])}, net {_real(s['net_exposure'])}"
    lines = [("gross", "s-actual pale", result.gross), ("net", "s-model", result.net)]
    drawing = lines_figure(result, key + "x", "exposure", lines)
    return figure("Exposure", note, _key([("s-actual", "gross"), ("s-model", "net")]) + drawing)


def _turnover(result: "BacktestResult", key: str) -> str:
    note = f"value traded over equity, a year; mean {_real(result.scores()['turnover'], 1)}"
    return figure("Turnover", note, turnover_figure(result, key + "t"))


def _costs(result: "BacktestResult", key: str) -> str:
    s, paid, traded = result.scores(), result.costs, float(result.traded.sum())
    sums = {name: float(rows.sum()) for name, rows in paid.items()}
    rows = [
        [name, _money(value), percent(s[name], 2), _real(value / traded * 1e4, 1) if traded else "–"]
        for name, value in {**sums, "costs": sum(sums.values())}.items()
    ]
    rows[-1][0] = "all"
    gap = result.gap()
    moved = f"{_real(abs(gap.bp), 1)} bp {'against' if gap.money > 0 else 'for'} it, {_money(abs(gap.money))} in all"
    text = [
        _even(s["cost_bp"], s["break_even_bp"]) if traded else "Nothing was traded.",
        f"From the close of the decision to the fill prices moved {moved}. This gap is in the returns, not the costs."
        if gap.fills
        else "",
    ]
    head = ["", result.account.currency, "of equity a year", "bp of traded value"]
    words = f'<p class="sub">{escape(minus(" ".join(text)))}</p>'
    shown = [name for name, values in paid.items() if values.any()]
    drawing = _key([(f"k k{i}", name) for i, name in enumerate(shown)]) + costs_figure(result, key + "c", paid)
    note = "what was paid" if traded else ""
    return figure("Costs so far", "by kind", drawing) + figure(
        "Costs", note, table(head, rows, mark=len(rows) - 1) + words
    )


def _even(paid: float, even: float) -> str:
    start = f"{paid:,.1f} bp were paid per traded value"
    if even < 0:
        return f"{start}; without any costs the account would have lost too."
    return f"{start}; nothing of the profit is left at {even:,.1f} bp."


def _rolling(result: "BacktestResult", key: str) -> str:
    note = f"over {plural(window_of(result), 'bar')}, with its 95 % interval (Lo, 2002, with autocorrelation)"
    return figure("Rolling Sharpe ratio", note, rolling_figure(result, key + "r"))


def _months(result: "BacktestResult") -> str:
    years, values = result.by_month()
    whole = np.nanprod(1.0 + values, axis=1) - 1.0
    played = values[np.isfinite(values)]
    moved = np.abs(played[played != 0])
    scale = float(np.quantile(moved, 0.95)) if len(moved) else 0.0

    def cell(value: float, year: bool = False) -> str:
        if not np.isfinite(value):
            return "<td></td>"
        level = min(4, int(np.ceil(4 * abs(value) / scale - 1e-9))) if scale > 0 and not year else 0
        kind = "year" if year else f"{'up' if value > 0 else 'down'}{level}" if level else ""
        text = fixed(100 * value, 1 if abs(value) < 10 else 0)
        return f'<td class="{kind}">{text}</td>' if kind else f"<td>{text}</td>"

    head = "".join(f'<th scope="col">{m}</th>' for m in ("", *MONTHS, "year"))
    rows = "".join(
        f'<tr><th scope="row">{year}</th>{"".join(cell(v) for v in row)}{cell(total, True)}</tr>'
        for year, row, total in zip(years.tolist(), values.tolist(), whole.tolist(), strict=True)
    )
    inside = (
        f'<div class="scroll"><table class="months"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )
    up, down = int((played > 0).sum()), int((played < 0).sum())
    note = f"percent; of {plural(len(played), 'month')} {up} above zero, {down} below"
    return figure("Return by month", note, inside)


# ---------------------------------------------------------------------------------------------- what it was made of


def _trades(result: "BacktestResult") -> str:
    from ..trading.trips import Trades

    every = result.trades()
    columns = [every, *(Trades([t for t in every if t.side == side]) for side in ("long", "short"))]
    closed = [[t for t in one if not t.open] for one in columns]
    rows = [
        ["round trips", *(f"{len(one):,}" for one in columns)],
        ["of them open", *(f"{len(one) - len(done):,}" for one, done in zip(columns, closed, strict=True))],
        ["won", *(percent(one.win_rate) for one in columns)],
        ["profit factor", *(_real(one.profit_factor) for one in columns)],
        ["mean profit", *(_money(one.average) for one in columns)],
        ["mean gain", *(_money(_mean([t.profit for t in done if t.profit > 0])) for done in closed)],
        ["mean loss", *(_money(_mean([t.profit for t in done if t.profit < 0])) for done in closed)],
        ["best", *(_money(max((t.profit for t in done), default=np.nan)) for done in closed)],
        ["worst", *(_money(min((t.profit for t in done), default=np.nan)) for done in closed)],
        ["held, mean days", *(_real(one.holding_days, 1) for one in columns)],
    ]
    note = f"from flat to flat, in {result.account.currency}"
    return figure("Trades", note, table(["", "all", "long", "short"], rows))


def _exits(result: "BacktestResult") -> str:
    shares = result.by_exit()
    if not shares:
        return figure("Profit by exit", "", '<p class="none">No position was opened.</p>')
    rows = [[s.name.replace("_", " "), f"{s.trades:,}", percent(s.win_rate), _money(s.profit)] for s in shares]
    head = ["closed by", "trades", "won", result.account.currency]
    return figure("Profit by exit", "what closed the position", table(head, rows))


def _symbols(result: "BacktestResult") -> str:
    shares = result.by_symbol()
    if not shares:
        return ""
    start = float(result.equity[0])
    if len(shares) > MOST_SYMBOLS:
        half = MOST_SYMBOLS // 2
        middle = [_sum(shares[half:-half], f"{len(shares) - 2 * half:,} others", np.nan)]
        listed, note = [*shares[:half], *middle, *shares[-half:]], f"the {half} best and the {half} worst"
    else:
        listed, note = list(shares), "after commission, spread and impact"
    listed = [*listed, _sum(shares, "all symbols", result.trades().win_rate)] if len(shares) > 1 else listed

    def row(name: str, profit: float, *middle: str) -> list[str]:
        return [name, *middle, _money(profit), percent(profit / start, 2, True) if start else "–"]

    rows = [
        row(s.name, s.profit, f"{s.trades:,}", percent(s.win_rate), _money(s.costs), _money(s.long), _money(s.short))
        for s in listed
    ]
    for kind in ("borrow", "financing", "deposit"):
        value = float(result.totals[kind][-1]) - float(result.totals[kind][0]) if kind in result.totals else 0.0
        if value:
            rows.append(row({"financing": "interest"}.get(kind, kind), value, *[""] * 5))
    rows.append(row("account", float(result.equity[-1]) - start, *[""] * 5))
    head = ["", "trades", "won", "costs", "long", "short", "profit", "of the start"]
    return figure("Profit by symbol", f"{note}, {result.account.currency}", table(head, rows, mark=len(rows) - 1))


def _sum(shares: Sequence["Share"], name: str, win_rate: float) -> "Share":
    from ..trading.breakdown import Share

    long, short, costs = (sum(getattr(s, field) for s in shares) for field in ("long", "short", "costs"))
    return Share(name, long, short, costs, sum(s.trades for s in shares), win_rate)


def _limits(result: "BacktestResult") -> str:
    found = result.by_limit()
    title, note = "Refused, by limit", "what limits and the broker did not allow"
    if not found:
        return figure(title, note, '<p class="none">Nothing was refused.</p>')
    n = max(len(result.time) - 1, 1)
    rows = [
        [
            one.limit.replace("_", " "),
            f"{one.times:,}",
            percent(one.decisions / n),
            _real(one.taken / one.decisions) if np.isfinite(one.taken) else "–",
            f"{_figures(one.worst)} against {_figures(one.bound)}",
            f"{_day(one.first)} – {_day(one.last)}",
        ]
        for one in found
    ]
    head = ["", "times", "of all decisions", "weight taken, each", "farthest beyond", "first – last"]
    return figure(title, note, table(head, rows))


def _still(result: "BacktestResult") -> str:
    """Say it where a breaker or the end of cash kept the strategy from trading: a flat line needs a reason."""
    n = max(len(result.time) - 1, 1)
    for one in result.by_limit():
        kept, last = one.decisions, one.last
        if one.limit == "max_drawdown":  # open for good: silent once nothing is held
            flat = np.flatnonzero((result.gross == 0) & (result.time > one.first))
            if len(flat):
                kept, last = max(kept, len(flat)), max(last, int(result.time[flat[-1]]))
        if one.limit in ("max_drawdown", "max_daily_loss") and kept / n > 0.05:
            name = one.limit.replace("max_", "").replace("_", " ")
            return (
                f"The {name} breaker opened on {_day(one.first)} and kept the strategy out of the market at "
                f"{percent(min(kept / n, 1.0), 0)} of all decisions, the last on {_day(last)}."
            )
    return ""


def _capacity(result: "BacktestResult") -> str:
    one, unit = result.capacity(), result.account.currency
    judged = result.verdict().exit_code == 0
    if not one.edge > 0:
        text = (
            "There is nothing to scale: without impact the strategy earned "
            f"{percent(one.edge, 2, True)} a year over equal exposure."
        )
    elif not one.impact > 0:
        text = "Impact is not known: there are no volumes, or the costs leave it out."
    else:
        text = (
            f"Played with {short(one.played)} {unit} on average: {percent(one.edge, 2, True)} a year over equal "
            f"exposure before impact, which took {percent(one.impact, 2)} a year. Impact grows with the root of the "
            f"account and would eat all of it at {_size_told(one)}; most money is made at four ninths of that."
        )
    if np.isfinite(one.participation):
        text += (
            f" At {short(one.cap_reached)} {unit} one traded bar in twenty needs the {percent(one.cap, 0)} of the "
            "volume that may be ours."
        )
    if one.edge > 0 and not judged:
        text += " There is no evidence that this edge is more than luck."
    drawing = capacity_figure(one, unit)
    words = f'<p class="sub">{escape(minus(text))}</p>'
    head = figure("Capacity", "what is left a year, by the size of the account", drawing + words)
    return f'<div class="pair">{head}{_size(result)}</div>' if drawing else head


def _size_told(one: Any) -> str:
    if one.nothing_left > 1e4 * one.played:
        return "more than ten thousand times what was played"
    return short(one.nothing_left)


def _size(result: "BacktestResult") -> str:
    one, unit = result.capacity(), result.account.currency
    sizes = [one.played * k for k in (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1000.0)]
    sizes = [size for size in sizes if size == one.played or (one.net(size) > 0 and not _volume(one, size) > 1)]
    rows = [
        [short(size), percent(one.net(size), 2, True), short(size * one.net(size)), percent(_volume(one, size), 2)]
        for size in sizes
    ]
    head = [f"equity, {unit}", "edge a year", f"{unit} a year", "of the volume"]
    return figure("Larger accounts", "the same trades, larger", table(head, rows))


def _volume(one: Any, size: float) -> float:
    return one.participation * size / one.played


def _rules(result: "BacktestResult") -> str:
    given = result.configuration
    strategy, execution = given["strategy"], given["execution"]
    rows = [
        ["policy", _told(strategy.get("policy"))],
        ["limits", _limits_told(strategy.get("limits"))],
        ["costs", _told(given["costs"])],
        ["execution", _told(execution)],
        ["cash", f"{_money(given['cash_micro'] / 1e6)} {result.account.currency}"],
        ["trials", f"{result.trials:,}, counted in {result.trials_where}"],
        ["orders", f"{len(result.orders):,}, SHA-256 {result.order_hash[:16]}"],
    ]
    head = ["", "decided at a close, filled at the next opening at the earliest"]
    return figure("Rules", "", table(head, [[a, minus(b)] for a, b in rows], words=(1,)))


def _limits_told(limits: Any) -> str:
    if limits is None:
        return "none: whatever the policy asks for is ordered"
    if isinstance(limits, dict) and limits.get("kind") == "Limits":
        from ..trading.tables import limits_of

        return str(limits_of({name: "none" if v is None else v for name, v in limits.items()}))
    return _told(limits)


def _told(value: Any) -> str:
    """Write a configuration in words: kind, then what it was given.

    >>> _told({"kind": "TopK", "k": 3, "policy": {"kind": "Sign"}, "short": None})
    'TopK (k 3, policy Sign)'
    """
    if not isinstance(value, dict):
        if isinstance(value, bool):
            return "yes" if value else "no"
        return f"{value:g}" if isinstance(value, float) else str(value)
    kind = str(value.get("kind", ""))
    parts = [f"{n.replace('_', ' ')} {_told(v)}" for n, v in value.items() if n != "kind" and v not in (None, {}, ())]
    inside = ", ".join(parts)
    return f"{kind} ({inside})" if kind and inside else kind or inside


# ------------------------------------------------------------------------------------------------------------ in words


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else np.nan


def _money(value: float) -> str:
    if not np.isfinite(value):
        return "–"
    text = f"{value:,.{0 if abs(value) >= 100 else 2}f}"
    return "0" if float(text.replace(",", "")) == 0 else text.replace("-", "−")


def _real(value: float, digits: int = 2) -> str:
    if np.isnan(value):
        return "–"
    return fixed(value, digits) if np.isfinite(value) else ("∞" if value > 0 else "−∞")


def _figures(value: float) -> str:
    return f"{value:,.4g}".replace("-", "−") if np.isfinite(value) else str(value)


def _day(stamp: int) -> str:
    return str(np.datetime64(int(stamp), "ns").astype("datetime64[D]"))
