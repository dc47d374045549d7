"""What an evaluation writes into the ledger and asks of it: trials with their scores, looks at test rows, and seals.

Test rows are sealed once a study has judged on them. Looking again is counted and said. *Choosing* on them, a search
over arguments whose inner test rows are among them, raises `SealedRows`, because whatever is judged on them afterwards
would be judged on what it was chosen by. Searching inside a walk-forward is free: there every choice is made on rows
before the test, and that is also how a search on all bars becomes the last refit of a procedure that was judged.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import ledger
from ..errors import SealedRows
from .scores import Scores

if TYPE_CHECKING:
    from ..bars import Bars

SEALING = ("walk_forward", "lookback_sweep")
Books = Sequence[ledger.Ledger]


def remember_trial(
    what: str,
    configuration: Mapping[str, Any],
    bars: "Bars",
    time: np.ndarray,
    target: str,
    scores: Scores | None = None,
    **facts: Any,
) -> int:
    """Record that a configuration was tried on test rows of bars; return how many different ones there are now.

    Parameters
    ----------
    what : str
        The kind of evaluation, such as "walk_forward".
    configuration : mapping
        All that was chosen. The same on longer bars of the same symbols is the same trial.
    bars : Bars
        What was seen.
    time : int64 array (n,)
        Decisions it was scored on.
    target : str
        Kind of what was forecast.
    scores : Scores, optional
        What it was worth on each.
    **facts
        Anything else worth keeping.
    """
    book = ledger.current()
    market = {"symbols": list(bars.symbols), "bar_size": str(bars.bar_size), "first_bar": int(bars.time[0])}
    kept = {} if scores is None else {"scores": book.keep(scores.to_bytes())}
    return book.record_trial(
        ledger.digest_of({"configuration": configuration, **market}),
        what=what,
        configuration=configuration,
        config=ledger.digest_of(configuration),
        bars=bars.digest,
        first=int(time[0]),
        last=int(time[-1]),
        rows=len(time),
        target=target,
        **market,
        **kept,
        **facts,
    )


def tried(
    symbols: Iterable[str], first: int, last: int, configuration: Mapping[str, Any], books: Books | None = None
) -> int:
    """Return how many configurations were scored on these rows, this one included.

    Parameters
    ----------
    symbols : iterable of str
        Of the test rows.
    first, last : int
        Their span in nanoseconds.
    configuration : mapping
        Of the study that asks. The trials of a search it makes itself do not count against it, also where the same
        search was made on all rows.
    books : sequence of Ledger, optional
        Where to look; in the ledger in force by default.
    """
    own, searches = ledger.digest_of(configuration), {_digest_of_search(s) for s in _searches(configuration)}
    facts = [f for f in _scored_on(symbols, first, last, books) if f.get("search") not in searches]
    return 1 + len({f.get("config", f["trial"]) for f in facts} - {own})


def counted(books: Books) -> tuple[int, str]:
    """Return how many configurations these ledgers hold together, and where they are."""
    where = [book.where for book in books if book.trials()] or [books[-1].where]
    return len({facts["trial"] for facts in _trials(books)}), " and ".join(where)


def sharpes(bars_per_year: float, books: Books | None = None) -> tuple[float, ...]:
    """Return the Sharpe ratios that all trials left, per bar of a market with so many bars a year.

    Hourly and daily ones are made comparable through the year. Of a configuration tried again on longer bars the last
    one counts.
    """
    found = {}
    for facts in _trials(books):
        sharpe, per_year = facts.get("sharpe"), facts.get("bars_per_year", bars_per_year)
        if _number(sharpe) and _number(per_year) and per_year > 0:
            ratio = per_year / bars_per_year
            found[facts["trial"]] = sharpe if 0.9 < ratio < 1.1 else sharpe * ratio**0.5  # holidays are no bar size
    return tuple(found.values())


def others(symbols: Iterable[str], time: np.ndarray, target: str, own: str, books: Books | None = None) -> list[Scores]:
    """Return the score series of the other configurations tried on these rows, each from its latest bars.

    Volatilities are compared with volatilities only: their gains are of another size than those of prices and returns.

    Parameters
    ----------
    symbols : iterable of str
        Of the test rows.
    time : int64 array (n,)
        Decisions; a series that is silent on a tenth of them cannot be compared.
    target : str
        Kind of what is forecast.
    own : str
        Digest of the configuration that asks.
    books : sequence of Ledger, optional
        Where to look; in the ledger in force by default.
    """
    found = {}
    for book in books or [ledger.current()]:
        facts = _scored_on(symbols, int(time[0]), int(time[-1]), [book])
        alike = [f for f in facts if (f.get("target") == "volatility") == (target == "volatility")]
        found |= {one.config: one for one in series_of(alike, own, book)}
    return [one for one in found.values() if one.covers(time)]


def series_of(trials: Iterable[Mapping[str, Any]], own: str, book: ledger.Ledger) -> list[Scores]:
    """Return the score series that these trials left in `book`, but for those of the configuration that asks."""
    found = {}
    for facts in trials:
        config = str(facts.get("config", facts["trial"]))
        if config != own and ledger.is_digest(facts.get("scores")):
            found[config] = facts["scores"]
    kept = ((config, book.kept(digest)) for config, digest in found.items())
    return [Scores.from_bytes(data, config) for config, data in kept if data is not None]


def look(
    what: str, symbols: Sequence[str], spans: Sequence[tuple[int, int]], forecaster: Any = None, **facts: Any
) -> int:
    """Record a look at test rows; return how often the part seen most often has been seen, this time included.

    Parameters
    ----------
    what : str
        The kind of evaluation.
    symbols : sequence of str
        Of the test rows.
    spans : sequence of (first, last)
        The test folds, in nanoseconds.
    forecaster : mapping, optional
        Configuration of what was judged on them: searches inside it may go on to all rows.
    """
    book = ledger.current()
    searches = sorted({_digest_of_search(s) for s in _searches(forecaster)})
    book.record("read", what=what, symbols=list(symbols), spans=[list(s) for s in spans], searches=searches, **facts)
    seen = [other for record in book.records("read") for other in [_spans_of(record.facts, symbols)] if other]
    return max((sum(any(_meet(span, o) for o in other) for other in seen) for span in spans), default=1)


def require_unsealed(bars: "Bars", spans: Sequence[tuple[int, int]], search: Mapping[str, Any]) -> bool:
    """Return whether a study judged this very search; raise `SealedRows` where it would choose on another's test rows.

    Parameters
    ----------
    bars : Bars
        What the choice may see.
    spans : sequence of (first, last)
        The rows that would decide, in nanoseconds.
    search : mapping
        The configuration of the tuned forecaster. One that was judged may choose on all rows: that is how it goes on
        after the study.
    """
    book, own = ledger.current(), _digest_of_search(search)
    if book.is_inside:
        return False
    sealed = []
    for record in book.records("read"):
        facts = record.facts
        met = [s for s in _spans_of(facts, bars.symbols) if any(_meet(s, span) for span in spans)]
        if facts.get("what") in SEALING and met and _same_prices(facts.get("closes"), bars):
            if own in facts.get("searches", ()):
                return True
            began = min(s[0] for s in _spans_of(facts, bars.symbols))
            sealed.append((record.index, min(s[0] for s in met), max(s[1] for s in met), began))
    if sealed and not book.is_unsealed:
        index, *span = sealed[-1]
        first, last, began = (str(np.datetime64(stamp, "ns").astype("datetime64[D]")) for stamp in span)
        raise SealedRows(
            f"This search would choose on rows from {first} to {last}, which a study has judged on (record {index} of "
            f"{book.where}): whatever it chose would have seen its own test. Search inside the walk-forward, "
            "walk_forward(tune(...), bars, cv), or on bars that end before the first test row of that study, "
            f"bars.until(...) earlier than {began}. If no verdict will rest on these rows again, say so: with "
            "longshort.ledger.unsealed('why'): ..."
        )
    return False


def search_fact(search: Mapping[str, Any]) -> dict[str, str]:
    """Return the fact by which the trials of a search are known to the study that makes it."""
    return {"search": _digest_of_search(search)}


# -------------------------------------------------------------------------------------------------------------- helpers


def _trials(books: Books | None = None) -> list[Mapping[str, Any]]:
    return [record.facts for book in books or [ledger.current()] for record in book.records(ledger.TRIAL)]


def _scored_on(symbols: Iterable[str], first: int, last: int, books: Books | None = None) -> list[Mapping[str, Any]]:
    """The trials whose forecasts were scored on rows of these symbols in this span; nothing written by hand.

    A backtest says what was done with forecasts; the study that made them counts already.
    """
    wanted, found = set(symbols), []
    for facts in (f for f in _trials(books) if f.get("what") != "backtest"):
        begin, end, names = facts.get("first"), facts.get("last"), facts.get("symbols")
        if not (isinstance(begin, int) and isinstance(end, int) and isinstance(names, list)):
            continue
        if begin <= last and end >= first and not wanted.isdisjoint(map(str, names)):
            found.append(facts)
    return found


def _spans_of(facts: Mapping[str, Any], symbols: Iterable[str]) -> list[tuple[int, int]]:
    """The test folds of a look at some of these symbols."""
    names, spans = facts.get("symbols"), facts.get("spans")
    if not isinstance(names, list) or not isinstance(spans, list) or set(symbols).isdisjoint(map(str, names)):
        return []
    return [(s[0], s[1]) for s in spans if isinstance(s, list) and len(s) == 2 and all(isinstance(x, int) for x in s)]


def closes_at(bars: "Bars", time: int) -> dict[str, Any]:
    """Return raw closes at a bar, by which the same market is known again: other data may have the same names."""
    row = int(np.searchsorted(bars.time, time))
    closes = np.asarray(bars["close"])[row]
    return {"time": int(bars.time[row]), **{s: float(c) for s, c in zip(bars.symbols, closes, strict=True) if c == c}}


def _same_prices(closes: Any, bars: "Bars") -> bool:
    """Whether bars agree with closes noted before, to a thousandth; where they do not hold that bar nobody can tell."""
    if not isinstance(closes, Mapping) or closes.get("time") not in bars.time:
        return True
    here = closes_at(bars, int(closes["time"]))
    both = [(closes[s], here[s]) for s in bars.symbols if _number(closes.get(s)) and s in here]
    return not both or any(abs(a - b) <= 1e-3 * abs(a) for a, b in both)


def _meet(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return a[0] <= b[1] and b[0] <= a[1]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


def _searches(configuration: Any) -> list[Mapping[str, Any]]:
    """Every tuned forecaster inside a configuration."""
    if isinstance(configuration, Mapping):
        inner = [one for value in configuration.values() for one in _searches(value)]
        return [configuration, *inner] if configuration.get("kind") == "Tuned" else inner
    if isinstance(configuration, list | tuple):
        return [one for value in configuration for one in _searches(value)]
    return []


def _digest_of_search(search: Mapping[str, Any]) -> str:
    return ledger.digest_of(_essence(search))


def _essence(value: Any) -> Any:
    """A configuration without what makes it no other procedure: seeds, threads, and the number of trials."""
    if isinstance(value, Mapping):
        return {k: _essence(v) for k, v in value.items() if k not in ("seed", "seeds", "threads", "trials")}
    return [_essence(v) for v in value] if isinstance(value, list | tuple) else value
