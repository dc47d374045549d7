"""One self-contained HTML page about a study: what was forecast, what happened, what it is worth."""

import logging
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from .facts import Closes, Facts, Next, closes_of, facts_of, next_of
from .page import MAX_PANELS, Page, render

log = logging.getLogger(__name__)

MAX_ISSUES = 200


@dataclass(frozen=True)
class Outlook:
    """A fitted price model on the rows it was not trained on, and the sessions after the last bar.

    Pass it as `tearsheet(study, price=outlook)` to open the page with it.
    """

    closes: tuple[Closes, ...]
    next: tuple[Next, ...]
    forecaster: Any = None
    note: str = ""


@dataclass(frozen=True)
class Tearsheet:
    """A finished report. `save` writes it; a notebook shows it."""

    html: str = field(repr=False)
    title: str

    def save(self, path) -> Path:
        """Write the page to `path`, in one step: an interrupted save leaves the old file or none."""
        import os
        import tempfile

        path = Path(path)
        if path.suffix.lower() not in (".html", ".htm"):
            raise InputError(
                f"A report is saved as .html, the path was {str(path)!r}. Write {path.with_suffix('.html')}."
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(self.html)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        log.info("report of %d kB saved to %s", len(self.html) // 1024, path)
        return path

    def _repr_html_(self) -> str:
        # an iframe keeps the page's style away from the notebook's
        return (
            f'<iframe srcdoc="{escape(self.html)}" title="{escape(self.title)}" '
            'style="width:100%;height:900px;border:0" loading="lazy"></iframe>'
        )


def tearsheet(study, *others, price=None) -> Tearsheet:
    """Make a report of a study.

    Parameters
    ----------
    study : Study
        The subject of the page: its verdict comes first.
    *others : Study
        Further studies on the same market, each with a section of its own (for example next-day volatility).
    price : Forecast or Outlook, optional
        The coming sessions, as `lstm.predict(bars, steps=5)` gives them, or an `outlook` with the test rows of the same
        model. Without it the page shows no coming sessions.

    Returns
    -------
    Tearsheet
        `.save("report.html")` writes one file that works offline; a notebook shows it in place.
    """
    facts = tuple(facts_of(s) for s in (study, *others))
    main = facts[0]
    closes, following, networks, note = _price(main, price)
    for one in facts:
        networks.append((one.study.forecaster, one.target))
    bars = study.bars
    labels = np.asarray(bars.time).astype("datetime64[ns]").astype("datetime64[D]")
    issues, seen = _issues(bars)
    page = Page(
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
        version=_version(),
        price_note=note,
    )
    return Tearsheet(render(page), f"{main.name} – longshort")


def _price(main: Facts, price) -> tuple[list[Closes], list[Next], list[tuple[Any, Any]], str]:
    if isinstance(price, Outlook):
        from ..forecast import TargetInfo

        networks = [(price.forecaster, TargetInfo("close"))] if price.forecaster is not None else []
        return list(price.closes), list(price.next), networks, price.note
    every = [closes_of(main, j) for j in range(min(len(main.symbols), MAX_PANELS))]
    closes = [c for c in every if c is not None and np.isfinite(c.model).any()]
    following = []
    if price is not None:
        following = [next_of(price, main.study.bars, j) for j in range(min(len(price.symbols), MAX_PANELS))]
    return closes, following, [], ""


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


def _issues(bars):
    from ..data import check

    found = list(check(bars))
    return [_issue_row(i) for i in found[:MAX_ISSUES]], len(found)


def _issue_row(issue) -> tuple[str, ...]:
    rows = getattr(issue, "rows", ())
    n = rows if isinstance(rows, int) else len(rows)
    return str(issue.symbol or "all"), str(issue.kind).replace("_", " "), f"{n:,}", str(issue.message)


def source_line(bars) -> str:
    """Where the bars come from, with the licence when we know it."""
    return str(bars.source)


def _bar_size(size: str) -> str:
    return {"1D": "daily", "1h": "hourly", "1W": "weekly"}.get(size, size)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("longshort")
    except PackageNotFoundError:
        return "(source tree)"
