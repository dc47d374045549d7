"""What the verdict says where nothing can be known, where something can, and of the best of 200 strategies.

Every data set is judged as a user would have it judged: `walk_forward` and `Study.verdict` with a ledger of its own, or
`referee` for forecasts that are given. A cell of the table is a kind of market, a forecaster and a horizon, or a signal
that was planted; it has a bound, and the exit code is 1 when a cell that was measured is beyond it:

- **noise**: at 5 % no more edges than the 99 % quantile of the binomial distribution (67 of 1,000, 18 of 200), also
  among the best of 20 configurations, also for outcomes that overlap over 5 and 20 bars. Beside it stands what a test
  finds that forgets overlap and selection: the correlation of forecast and outcome, any of the configurations, p < 5 %;
- **power**: the share of data sets in which a planted signal is found;
- **luck**: the best of 200 noise strategies, its Sharpe ratio and what is left of it when the ledger deflates it.

::

    make null                                                 # everything, hours; goes on where it was stopped
    python benchmarks/null.py                                 # at most 10 data sets a cell, minutes
    python benchmarks/null.py --sets all --markets garch --jobs 4
    python benchmarks/null.py --sets 200 --cells LSTM,power
    python benchmarks/null.py --table                         # what has been measured so far

Each cell is kept in a file of its own under ``runs/null``, so that cells can be shared out over terminals and machines.
A cell that other code has begun is measured anew.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from statistics import NormalDist, median
from typing import Any

import numpy as np

import longshort as ls
from longshort import features as f
from longshort import ledger
from longshort.bars import Bars
from longshort.data import synthetic
from longshort.forecast import Forecast
from longshort.models import Ridge
from longshort.models.fleet import cores
from longshort.models.readiness import ready_cells

CV = ls.WalkForward(500, 250)
N = 1_080  # bars: warm-up, 500 rows to learn from, two folds of 250
CONFIGURATIONS, STRATEGIES = 20, 200
SYMBOLS = ("AAPL", "SPY", "IBM", "BAC", "AIG", "GOOG", "QQQ", "IWM")
INPUTS = f.FeatureSet(f.technical())
ALL = 10**9
_kept: dict[str, np.ndarray] = {}


# ------------------------------------------------------------------------------------------------------- forecasters


class RandomLinear:
    """Weights nobody learned on standardised inputs: the cheapest way to try a thousand things."""

    def __init__(self, target: Any, seed: int):
        self.target, self.seed = target, seed

    def fit(self, bars: Bars, start: Any = None) -> RandomLinear:
        """Learn the scales of inputs and outcomes, nothing else."""
        inputs = _inputs(bars)
        self.center, self.scale = np.nanmean(inputs, axis=(0, 1)), np.nanstd(inputs, axis=(0, 1))
        self.size = 0.1 * float(np.nanstd(self.target.compute(bars)))
        return self

    def predict(self, bars: Bars, start: Any = None) -> Forecast:
        """Forecast at every bar from `start` on."""
        weights = np.random.default_rng([7, self.seed]).normal(size=len(INPUTS.names)) * self.size
        return _forecast(self, bars, ((_inputs(bars) - self.center) / self.scale) @ weights, start)

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration."""
        return {"kind": "RandomLinear", "seed": self.seed, "target": self.target.to_dict()}


class Noise:
    """Positions from a random walk that returns to zero: a strategy that changes its mind every ten days or so."""

    def __init__(self, target: Any, seed: int):
        self.target, self.seed = target, seed

    def fit(self, bars: Bars, start: Any = None) -> Noise:
        """Learn nothing."""
        return self

    def predict(self, bars: Bars, start: Any = None) -> Forecast:
        """Forecast at every bar from `start` on."""
        level, values = 0.0, np.empty((len(bars), 1))
        for t, shock in enumerate(np.random.default_rng([8, self.seed]).normal(size=len(bars))):
            values[t] = level = 0.95 * level + shock
        return _forecast(self, bars, 0.001 * values, start)

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration."""
        return {"kind": "Noise", "seed": self.seed, "target": self.target.to_dict()}


def _inputs(bars: Bars) -> np.ndarray:
    """Return the inputs (n_bars, 1, n_inputs); twenty forecasters of one fold compute them once."""
    if bars.digest not in _kept:
        while len(_kept) >= 8:
            _kept.pop(next(iter(_kept)))
        _kept[bars.digest] = np.asarray(INPUTS.compute(bars))
    return _kept[bars.digest]


def _forecast(model: Any, bars: Bars, values: np.ndarray, start: Any) -> Forecast:
    first = 0 if start is None else int(np.searchsorted(bars.time, start))
    return Forecast(bars.time[first:], bars.symbols, values[first:], target=model.target.info)


def network(target: Any, seed: int, lookback: int = 20) -> ls.LSTM:
    """Return an LSTM of 16 units, quick to train."""
    return ls.LSTM(INPUTS, target, lookback=lookback, hidden=(16,), epochs=8, seed=seed)


# ----------------------------------------------------------------------------------------------------------- markets


def shuffled_blocks(n: int, seed: int, block: int = 20) -> Bars:
    """Return days of a real share in blocks in random order, every day with a random sign.

    Tails and bursts of volatility are the share's. The signs are needed: within a block real returns revert a little,
    which a ridge finds more often than a twentieth of the time, and rightly so.
    """
    moves, rng = _real_moves(SYMBOLS[seed % len(SYMBOLS)]), np.random.default_rng([9, seed])
    starts = rng.integers(0, len(moves) - block, size=n // block + 1)
    chosen = np.concatenate([moves[s : s + block] for s in starts])[:n]
    return synthetic.from_log_returns((chosen * rng.choice([-1.0, 1.0], size=n))[:, None], seed=seed)


@cache
def _real_moves(symbol: str) -> np.ndarray:
    close = np.asarray(ls.load_bars(symbol, source="sample").adjusted("close"))[:, 0]
    moves = np.diff(np.log(close[np.isfinite(close)]))
    return moves - moves.mean()


MARKETS: dict[str, Callable[[int, int], Bars]] = {
    "random walk": lambda n, seed: synthetic.random_walk(n, seed=seed),
    "drifting walk": lambda n, seed: synthetic.random_walk(n, seed=seed, drift=0.0006),
    "garch": lambda n, seed: synthetic.garch(n, seed=seed),
    "student t(3)": lambda n, seed: synthetic.student_t(n, seed=seed),
    "shuffled blocks": shuffled_blocks,
}


# -------------------------------------------------------------------------------------------------------- experiments


def judged(models: Sequence[Any], bars: Bars, cv: ls.WalkForward = CV) -> list[ls.Study]:
    """Walk every model forward in a project of their own, as one who tries them all before he asks for verdicts."""
    return [ls.walk_forward(model, bars, cv, baselines=[], seeds=1, threads=1) for model in models]


def on_noise(market: str, models: Callable[[Any, int], Sequence[Any]], horizon: int, seed: int) -> dict[str, float]:
    """Return whether any of the models is an edge on a market without one, by the verdict and by a naive test."""
    bars = MARKETS[market](N, seed)
    with ledger.aside():
        studies = judged(models(f.forward_log_return(horizon), seed), bars)
        found = any(study.verdict().edge for study in studies)
    return {"edge": found, "naive": any(_naive(study) for study in studies)}


def _naive(study: ls.Study) -> bool:
    """Whether a correlation test that knows nothing of overlap and selection finds something at 5 %."""
    ic = np.corrcoef(study.forecast.mean[:, 0], study.actual[:, 0])[0, 1]
    return bool(ic * np.sqrt(len(study)) > NormalDist().inv_cdf(0.95))


def given_skill(ic: float, n: int, seed: int) -> dict[str, float]:
    """Return whether the referee finds forecasts whose correlation with the outcomes is `ic`."""
    said, noise = np.random.default_rng([10, n, seed]).normal(size=(2, n))
    with ledger.aside():
        return {"edge": ls.referee(0.01 * (ic * said + np.sqrt(1 - ic * ic) * noise), 0.01 * ic * said).edge}


def planted(model: Callable[[Any, int], Any], n_train: int, n_test: int, ceiling: float, seed: int) -> dict[str, float]:
    """Return whether a model that is trained finds a signal in the last row of its window, and the IC it reaches."""
    candidate = model(f.forward_log_return(), seed)
    bars = synthetic.planted_signal(n_train + n_test + 150, seed=seed, ceiling_correlation=ceiling)
    first = int(np.flatnonzero(ready_cells(candidate, bars)[:, 0])[0])
    bars = bars.until(int(bars.time[first + n_train + n_test]))
    with ledger.aside():
        (study,) = judged([candidate], bars, ls.WalkForward(n_train, n_test))
        verdict = study.verdict()
    assert len(study) == n_test
    return {"edge": verdict.edge, "ic": verdict.details["ic"] or 0.0}


def luckiest(seed: int) -> dict[str, float]:
    """Return the best Sharpe ratio of 200 noise strategies over a year, and its deflated probability by the ledger."""
    bars, target = synthetic.random_walk(300, seed=seed), f.forward_log_return()
    with ledger.aside() as book:
        studies = judged(
            [Noise(target, STRATEGIES * seed + k) for k in range(STRATEGIES)], bars, ls.WalkForward(30, 252)
        )
        best = max(studies, key=lambda study: book_sharpe(book, study))
        money = best.verdict().details["money"]
    return {name: money[name] for name in ("sharpe", "deflated_probability", "trials")} | {"edge": best.verdict().edge}


def book_sharpe(book: ledger.Ledger, study: ls.Study) -> float:
    """Return the Sharpe ratio a bar that the ledger noted of a study."""
    notes = (r.facts for r in book.records(ledger.TRIAL))
    return next(facts["sharpe"] for facts in notes if facts["forecasts"] == study.forecast.digest)


# -------------------------------------------------------------------------------------------------------------- cells


@dataclass(frozen=True)
class Cell:
    """One number of the table: what is done with data set k, how often, and what must come out."""

    name: str
    market: str
    sets: int
    measure: Callable[[int], Mapping[str, float]]
    power: float | None = None  # at least this share found; None: at most what noise may give

    @property
    def file(self) -> str:
        """Name of the file that keeps it."""
        return "".join(c if c.isalnum() else "-" for c in self.name) + ".json"


def most(n: int) -> int:
    """Return the 99 % quantile of edges in `n` data sets at 5 %.

    >>> most(1000), most(200), most(100)
    (67, 18, 11)
    """
    from scipy.stats import binom

    return int(binom.ppf(0.99, n, 0.05))


def several(target: Any, seed: int) -> list[ls.LSTM]:
    """Return LSTMs of five seeds and four lookbacks."""
    return [network(target, 100 * seed + k // 4, (5, 10, 15, 20)[k % 4]) for k in range(CONFIGURATIONS)]


def guesses(target: Any, seed: int, n: int = CONFIGURATIONS) -> list[RandomLinear]:
    """Return forecasters with random weights, others for every data set."""
    return [RandomLinear(target, CONFIGURATIONS * seed + k) for k in range(n)]


FAMILIES: dict[str, tuple[int, Callable[[Any, int], Sequence[Any]]]] = {
    "ridge": (1000, lambda target, seed: [Ridge(INPUTS, target)]),
    "linear": (1000, lambda target, seed: guesses(target, seed, 1)),
    "LSTM": (200, lambda target, seed: [network(target, seed)]),
    "best of 20 linear": (1000, guesses),
    "best of 20 LSTMs": (200, several),
}


def cells() -> Iterator[Cell]:
    """Yield all cells, the cheap ones first."""
    for ic, n, share in ((0.05, 2500, 0.70), (0.10, 1000, 0.85)):
        yield Cell(f"power: given IC {ic:.2f} / {n} bars", "", 1000, partial(given_skill, ic, n), share)
    volume = (f.field("volume") / 1e6).log().rename("log_volume")
    for name, model in {
        "LSTM of 16 units": lambda t, s: ls.LSTM([f.log_return(), volume], t, lookback=20, hidden=(16,), seed=s),
        "default LSTM": lambda t, s: ls.LSTM(target=t, seed=s),
    }.items():
        yield Cell(f"power: {name} / ceiling 0.30", "", 200, partial(planted, model, 1500, 1000, 0.30), 0.80)
    yield Cell("luck: best of 200 strategies", "", 20, luckiest)
    for family, (sets, models) in FAMILIES.items():
        for horizon in (1, 5, 20):
            for market in MARKETS:
                bars = "bar" if horizon == 1 else "bars"
                name = f"{family} / {horizon} {bars} / {market}"
                yield Cell(name, market, sets, partial(on_noise, market, models, horizon))


CELLS = {cell.name: cell for cell in cells()}


# ------------------------------------------------------------------------------------------------------------ running


@dataclass
class Kept:
    """What has been measured of a cell: a row a data set, from 0 on, and the seconds of a core it took."""

    rows: list[Mapping[str, float]]
    seconds: float

    def found(self, name: str) -> int:
        """Return in how many data sets it happened."""
        return sum(bool(row[name]) for row in self.rows)

    def told(self, cell: Cell) -> tuple[str, bool]:
        """Return the numbers in words, and whether they are within the bound."""
        n, edges = len(self.rows), self.found("edge")
        if cell.name.startswith("luck"):
            sharpes, left = ([row[name] for row in self.rows] for name in ("sharpe", "deflated_probability"))
            said = (
                f"Sharpe {median(sharpes):.2f} (at least {min(sharpes):.2f}), deflated probability {median(left):.2f} "
            )
            said += f"(at most {max(left):.2f}): medians of {n}; {edges} edges"
            return said, min(sharpes) > 1.5 and median(left) < 0.6 and edges <= most(n)
        if cell.power is not None:
            reached = f", IC {np.mean([row['ic'] for row in self.rows]):.3f}" if "ic" in self.rows[0] else ""
            return f"{edges / n:.1%} of {n:,} found (at least {cell.power:.0%}){reached}", edges >= cell.power * n
        naive = self.found("naive") / n
        return f"{edges:,} of {n:,} (at most {most(n)}), naively {naive:.0%}", edges <= most(n)


@cache
def code() -> str:
    """Return a digest of everything that computes: of all sources of the package and of this file."""
    package = Path(ls.__file__).parent
    sources = [*sorted(package.rglob("*.py")), *sorted(package.rglob("*.?pp")), Path(__file__)]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


def load(folder: Path, cell: Cell, any_code: bool = False) -> Kept:
    """Return what is kept of a cell, nothing where other code has measured it."""
    file = folder / cell.file
    known = json.loads(file.read_text()) if file.exists() else {}
    if not known or not (any_code or known["code"] == code()):
        return Kept([], 0.0)
    return Kept([dict(zip(known["columns"], row, strict=True)) for row in known["rows"]], known["seconds"])


def keep(folder: Path, cell: Cell, kept: Kept) -> None:
    """Write a cell in one piece."""
    folder.mkdir(parents=True, exist_ok=True)
    said, good = kept.told(cell)
    about = {"cell": cell.name, "code": code(), "longshort": ls.__version__, "seconds": round(kept.seconds, 2)}
    columns = list(kept.rows[0])
    rows = [[int(v) if isinstance(v, bool) else v for v in (row[c] for c in columns)] for row in kept.rows]
    text = json.dumps(about | {"sets": len(rows), "said": said, "within": good, "columns": columns, "rows": rows})
    aside = folder / f".{cell.file}.{os.getpid()}"
    aside.write_text(text)
    os.replace(aside, folder / cell.file)


def measured(name: str, k: int) -> tuple[dict[str, float], float]:
    """Measure data set k of a cell, and the seconds of a core that took."""
    begin = time.process_time()
    return dict(CELLS[name].measure(k)), time.process_time() - begin


def complete(cell: Cell, sets: int, folder: Path, each: Callable[..., Any]) -> Kept:
    """Measure the data sets of a cell that are missing, in order by `each` (a map), in pieces that are kept."""
    kept = load(folder, cell)
    wanted = range(len(kept.rows), min(sets, cell.sets))
    last = time.monotonic()
    for row, seconds in each(partial(measured, cell.name), wanted):
        kept.rows.append(row)
        kept.seconds += seconds
        if time.monotonic() - last > 20.0:
            keep(folder, cell, kept)
            last = time.monotonic()
    if wanted:
        keep(folder, cell, kept)
    return kept


def summary(known: Mapping[str, Kept]) -> Iterator[str]:
    """Yield a table of the cells of noise, the fewest and most edges of all markets side by side."""
    yield "| forecaster, horizon | data sets | edges | at most | naively |"
    yield "|---|---|---|---|---|"
    for family in FAMILIES:
        for horizon in ("1 bar", "5 bars", "20 bars"):
            row = [known[name] for market in MARKETS if (name := f"{family} / {horizon} / {market}") in known]
            if not row:
                continue
            n, edges = min(len(k.rows) for k in row), sorted(k.found("edge") / len(k.rows) for k in row)
            naive = sorted(k.found("naive") / len(k.rows) for k in row)
            found = f"{edges[0]:.1%} .. {edges[-1]:.1%} | {most(n) / n:.1%} | {naive[0]:.0%} .. {naive[-1]:.0%}"
            yield f"| {family}, {horizon} | {len(row)} x {n:,} | {found} |"


def chosen(markets: Sequence[str], words: Sequence[str]) -> list[Cell]:
    """Return the cells of some markets (all when none is named) whose names begin with one of these words."""
    unknown = [m for m in markets if m not in MARKETS]
    if unknown:
        sys.exit(f"no market is called {unknown[0]!r}; there are: {', '.join(MARKETS)}")
    found = [c for c in CELLS.values() if not markets or c.market in markets]
    found = [c for c in found if not words or c.name.startswith(tuple(words))]
    if not found:
        sys.exit(f"no cell begins with {', '.join(words)}; there are: {', '.join(CELLS)}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", default="10", help="data sets a cell, at most; 'all' for as many as it should have")
    parser.add_argument("--markets", default="", help=f"comma-separated: {', '.join(MARKETS)}")
    parser.add_argument("--cells", default="", help="comma-separated beginnings of names: ridge, LSTM, power, ...")
    parser.add_argument("--jobs", type=int, default=cores(), help="processes; all cores")
    parser.add_argument("--out", type=Path, default=Path("runs/null"), help="folder of the results")
    parser.add_argument("--table", action="store_true", help="measure nothing, print what there is, of any code")
    options = parser.parse_args()
    sets = ALL if options.sets == "all" else int(options.sets)
    beyond, seconds, begin, known = [], 0.0, time.monotonic(), {}
    with ProcessPoolExecutor(options.jobs) as pool:  # which starts no process before it is asked to
        each = pool.map if options.jobs > 1 else map
        for cell in chosen(_words(options.markets), _words(options.cells)):
            kept = load(options.out, cell, True) if options.table else complete(cell, sets, options.out, each)
            if not kept.rows:
                continue
            said, good = kept.told(cell)
            known[cell.name], seconds = kept, seconds + kept.seconds
            beyond += [] if good else [cell.name]
            print(f"{cell.name:45s} {said}{'' if good else '   BEYOND ITS BOUND'}", flush=True)
    print("\n".join(["", *summary(known), ""]))
    print(f"{seconds / 3600:.2f} hours of a core in all, {(time.monotonic() - begin) / 60:.1f} minutes now")
    print(f"beyond their bounds: {', '.join(beyond)}" if beyond else "all within their bounds")
    return 1 if beyond else 0


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


if __name__ == "__main__":
    sys.exit(main())
