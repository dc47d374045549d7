"""One self-contained HTML page about a study: what was forecast, what happened, what was earned, what it is worth."""

import logging
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..artifact import write_atomic
from ..errors import InputError
from . import money
from .facts import Closes, Facts, Next, closes_of, facts_of, next_of, some
from .outlook import Outlook, coming_sessions
from .page import MAX_PANELS, Page, render

log = logging.getLogger(__name__)

MAX_ISSUES = 200


@dataclass(frozen=True)
class Tearsheet:
    """A finished report. `save` writes it; a notebook shows it.

    Examples
    --------
    >>> import tempfile
    >>> page = Tearsheet("<!doctype html><title>AAPL</title>", "AAPL")
    >>> page.save(tempfile.mkdtemp() + "/aapl.html").name
    'aapl.html'
    """

    html: str = field(repr=False)
    title: str

    def save(self, path) -> Path:
        """Write the page to `path`, in one step: an interrupted save leaves the old file or none."""
        path = Path(path)
        if path.suffix.lower() not in (".html", ".htm"):
            advice = f"Write {path.with_suffix('.html')}."
            raise InputError(f"A report is saved as .html, the path was {str(path)!r}. {advice}")
        write_atomic(path, self.html)
        log.info("report of %d kB saved to %s", len(self.html) // 1024, path)
        return path

    def _repr_html_(self) -> str:
        # an iframe keeps the page's style away from the notebook's
        return (
            f'<iframe srcdoc="{escape(self.html)}" title="{escape(self.title)}" '
            'style="width:100%;height:900px;border:0" loading="lazy"></iframe>'
        )


def tearsheet(study, *others, price: Any = "auto") -> Tearsheet:
    """Make a report of a study, of what was earned with its forecasts, or of a backtest alone.

    Parameters
    ----------
    study : Study or BacktestResult
        The subject of the page: its verdict comes first.
    *others : BacktestResult or Study
        Backtests of the study's forecasts: equity and drawdown beside the benchmarks, exposure, costs, months, trades,
        what each symbol and limit did, capacity. Further studies on the same market (for example next-day volatility)
        have a section of their own each.
    price : Forecast, Outlook, "auto" or None, default="auto"
        The coming sessions: a path, as `lstm.predict(bars, steps=5)` gives it; or what `look_ahead` made, which has
        the test rows of the same model too; or "auto": `models.presets.returns` is fitted on the study's daily bars, a
        second or two a symbol, and looks five sessions ahead. None leaves them out.

    Returns
    -------
    Tearsheet
        `.save("report.html")` writes one file that works offline; a notebook shows it in place.

    Examples
    --------
    >>> import longshort as ls
    >>> bars = ls.load_bars("AAPL", start="2012-01-01", end="2015-12-31", source="sample")
    >>> lstm = ls.LSTM([ls.features.log_return()], lookback=10, hidden=(4,), epochs=2)
    >>> study = ls.walk_forward(lstm, bars, ls.WalkForward(train="2Y", test="1Y"), seeds=1)
    >>> page = tearsheet(study)
    >>> page.title, page.html.count("<svg") > 10
    ('AAPL: log return over the next bar – longshort', True)

    With a backtest:

    >>> result = ls.backtest(ls.LongShort(), study)
    >>> "Profit by symbol" in tearsheet(study, result, price=None).html
    True
    >>> tearsheet(result).title
    'LongShort on AAPL – longshort'
    """
    every = (study, *others)
    for one in every:
        if not hasattr(one, "verdict"):
            raise InputError(
                "tearsheet needs a Study, as walk_forward returns it, or a BacktestResult, as backtest does, was a "
                f"{type(one).__name__}."
            )
    results = [one for one in every if hasattr(one, "equity")]
    facts = tuple(facts_of(one) for one in every if not hasattr(one, "equity"))
    closes, following, networks, note = _price(facts[0], price) if facts else ([], [], [], "")
    for one in facts:
        networks.append((one.study.forecaster, one.target))
    bars = facts[0].study.bars if facts else results[0].bars
    name = facts[0].name if facts else f"{results[0].name} on {some(results[0].symbols)}"
    labels = np.asarray(bars.time).astype("datetime64[ns]").astype("datetime64[D]")
    issues, seen = _issues(bars)
    page = Page(
        name=name,
        symbols=bars.symbols,
        facts=facts,
        closes=closes,
        next=following,
        networks=_distinct(networks),
        issues=issues,
        issues_seen=seen,
        span=(str(labels[0]), str(labels[-1])),
        source=source_line(bars),
        bar_size=_bar_size(bars.bar_size),
        digest=str(bars.digest),
        version=__version__,
        price_note=note,
        verdicts=[money.verdict(one, "h2" if facts or i else "h1") for i, one in enumerate(results)],
        strategies=[money.section(one, f"s{i}") for i, one in enumerate(results)],
    )
    return Tearsheet(render(page), f"{name} – longshort")


def _price(main: Facts, price) -> tuple[list[Closes], list[Next], list[tuple[Any, Any]], str]:
    every = [closes_of(main, j) for j in range(min(len(main.symbols), MAX_PANELS))]
    closes = [c for c in every if c is not None and np.isfinite(c.model).any()]
    if isinstance(price, Outlook):
        networks = [(price.forecaster, price.forecaster.target_.info)]
        return closes or list(price.closes), list(price.next), networks, "" if closes else price.note
    name = "LSTM"
    if isinstance(price, str):
        if price != "auto":
            raise InputError(f"price must be a Forecast, an Outlook, 'auto' or None, was {price!r}.")
        price, name = coming_sessions(main.study.bars), "LSTM on returns"
    if price is None:
        return closes, [], [], ""
    count = min(len(price.symbols), MAX_PANELS)
    return closes, [next_of(price, main.study.bars, j, model_name=name) for j in range(count)], [], ""


def _distinct(networks):
    """One drawing for models of one shape, named after everything they forecast."""
    from .diagram import network_of

    found: dict[Any, list[str]] = {}
    for forecaster, target in networks:
        network = network_of(forecaster)
        names = found.setdefault(network, []) if network is not None else []
        if str(target) not in names:
            names.append(str(target))
    return [(" · ".join(names).capitalize(), replace(n, output=", ".join(names))) for n, names in found.items()]


def _issues(bars) -> tuple[list[tuple[str, str, str, str]], int]:
    from ..data import check

    found = check(bars).issues
    return [issue_row(one) for one in found[:MAX_ISSUES]], len(found)


def issue_row(issue) -> tuple[str, str, str, str]:
    """One finding of `check` as words: symbol, kind, how many bars, what was seen first."""
    return issue.symbol or "all", issue.kind.replace("_", " "), f"{issue.count:,}", issue.text


def source_line(bars) -> str:
    """Where the bars come from, with the licence where we know it.

    >>> import longshort as ls
    >>> source_line(ls.load_bars("AAPL", start="2020-01-01", end="2020-01-31", source="sample"))
    'QuantConnect/Lean, Data/equity/usa/daily and Data/equity/usa/factor_files (licence Apache-2.0)'
    """
    kind, _, name = str(bars.source).partition(" ")
    if kind == "sample":
        import json
        from importlib.resources import files

        about = json.loads((files("longshort.data") / "samples" / f"{name}.json").read_text(encoding="utf-8"))
        return f"{about['source']} (licence {about['licence']})"
    if kind == "yahoo":
        return "Yahoo Finance; its terms of use apply"
    return str(bars.source) or "not stated"


def _bar_size(size: str) -> str:
    return {"1D": "daily", "1h": "hourly", "1W": "weekly"}.get(size, size)
