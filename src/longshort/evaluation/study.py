"""Walk-forward studies: refit at every fold, forecast what came next, keep every forecast ever made.

`walk_forward` is the loop, `Study` what it leaves. The forecast of record is the mean over seeds; the single seeds show
how much is luck. Forecasts are append-only: `Study.records` chains them by digest, and a study on longer bars begins
with exactly the records of the study on shorter ones.
"""

import copy
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import ledger
from ..errors import ArtifactError, InputError
from ..forecast import Forecast, Forecaster, target_of
from .challengers import Given, challengers, check_forecaster
from .earnings import bars_per_year
from .evidence import Evidence, Verdict
from .fitting import Job, collect, copies, frozen, load_calendar, rival_values
from .judged import decision_rows, information_free, next_returns
from .remembering import closes_at, counted, look, others, remember_trial, sharpes
from .remembering import tried as tried_on
from .scale import check_parallel, run_jobs
from .scores import Scores
from .splits import NEVER, Fold, WalkForward
from .verdict import judge, scored

if TYPE_CHECKING:
    from ..bars import Bars


def walk_forward(
    forecaster: Forecaster,
    bars: "Bars",
    cv: WalkForward,
    baselines: Given = None,
    seeds: int = 3,
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
    parallel: str | None = None,
) -> "Study":
    """Judge a forecaster the way it would have been used: refit, forecast, wait, compare.

    Parameters
    ----------
    forecaster : Forecaster
        Unfitted; it is left untouched.
    bars : Bars
        The whole history. Each fold's model is given ``bars.until(cut)`` and nothing else.
    cv : WalkForward
        The folds.
    baselines : "ladder", sequence of str or Forecaster, or mapping of str to Forecaster, optional
        Challengers, refitted at every fold on the same rows. By default a ridge on the forecaster's own features and an
        autoregression, of volatility `HAR`. "ladder" adds gradient boosting and support vectors (extra ``sklearn``); a
        sequence takes the names "ridge", "ar", "har", "gradient boosting", "support vectors", and forecasters; ``[]``
        is for none. The information-free forecasts of the target are always there.
    seeds : int, default=3
        Copies with different random numbers (where the forecaster has any); the forecast of record is their mean.
    threads : int, optional
        Threads shared by all folds; all cores by default. Results do not depend on it.
    progress : callable, optional
        Called with the fraction done, 0 to 1.
    parallel : {None, "threads", "ray"}
        Where folds and models run: on threads of this process, or on the workers of Ray (extra ``ray``), where
        `threads` is the cores a task takes, one by default. The forecasts have the same bytes.

    Returns
    -------
    Study
        A fold whose fit fails is kept with its reason and has no forecasts. When every fold fails, the first error is
        raised.

    Notes
    -----
    The run counts as one trial in the ledger, however many folds and seeds; the same configuration on the same bars is
    not counted again.

    Examples
    --------
    The next week's volatility of AAPL, by a regression on its past, refitted every year:

    >>> import longshort as ls
    >>> from longshort import features as f, models as m
    >>> bars = ls.load_bars("AAPL", start="2005-01-01", end="2014-12-31", source="sample")
    >>> study = walk_forward(m.AutoRegression(f.forward_volatility(5)), bars, ls.WalkForward("5Y", "1Y"), baselines=[])
    >>> len(study.folds), study.verdict().exit_code
    (5, 0)
    """
    check_arguments(forecaster, bars, cv, seeds)
    check_parallel(parallel)
    target = target_of(forecaster)
    actual, label_end = np.asarray(target.compute(bars)), np.asarray(target.label_end(bars))
    decisions = decision_rows(forecaster, bars, actual, label_end)
    folds = cv.split(bars.time, bars.dates, decisions, label_end)
    naive = information_free(target, bars)
    rivals = challengers(forecaster, target, baselines, {*naive, _called(forecaster)})
    pairs = list(zip(folds, folds.rows, strict=True))
    jobs = [[Job(bars, f, rows, one) for one in copies(forecaster, seeds)] for f, rows in pairs]
    extra = {n: [Job(bars, f, rows, copy.deepcopy(rival)) for f, rows in pairs] for n, rival in rivals.items()}
    tasks = [job for group in (*jobs, *extra.values()) for job in group]
    load_calendar(bars, target.info.horizon)
    with ledger.current().inside():
        errors = dict(zip(map(id, tasks), run_jobs(tasks, threads, progress, parallel), strict=True))
    folds_done, values, extras, histories = collect(folds, jobs, errors)
    rows = np.concatenate(folds.rows)
    configuration = {"forecaster": forecaster.to_dict(), "cv": cv.to_dict(), "seeds": int(seeds)}
    study = Study(
        forecaster=forecaster,
        bars=bars,
        cv=cv,
        target=target,
        folds=folds_done,
        forecast=Forecast(
            bars.time[rows], bars.symbols, values.mean(axis=0), target=target.info, for_time=label_end[rows]
        ).with_extras(extras),
        seeds=values,
        actual=frozen(actual[rows]),
        fold=frozen(np.repeat(np.arange(len(folds)), [len(r) for r in folds.rows])),
        reference=frozen(np.asarray(bars.adjusted("close"))[rows]),
        baselines={n: frozen(np.asarray(b)[rows]) for n, b in naive.items()},
        challengers={n: rival_values(n, group, errors) for n, group in extra.items()},
        histories=histories,
        configuration=configuration,
        choices=[group[0].choice for group in jobs],
    )
    return _remember(study)


def check_arguments(forecaster: Any, bars: Any, cv: Any, seeds: Any) -> None:
    """Raise `InputError` for what cannot be walked forward."""
    from ..bars import Bars

    check_forecaster("forecaster", forecaster)
    if not isinstance(bars, Bars):
        raise InputError(f"bars must be Bars, was {type(bars).__name__}. Use load_bars(...) or Bars.from_pandas(df).")
    if not isinstance(cv, WalkForward):
        raise InputError(f"cv must be a WalkForward such as WalkForward(train='5Y', test='6M'), was {cv!r}.")
    if isinstance(seeds, bool) or not isinstance(seeds, int | np.integer) or seeds < 1:
        raise InputError(f"seeds must be a whole number of at least 1, was {seeds!r}.")


def _called(forecaster: Any) -> str:
    """What the table and the sentence call the model."""
    return str(getattr(forecaster, "described", type(forecaster).__name__))


def _remember(study: "Study") -> "Study":
    """Record the study as a trial, with what it was worth, and return it knowing of all trials so far."""
    series, earned = scored(study.evidence())
    facts = {"forecasts": study.forecast.digest, **earned}
    kind = study.target.info.kind
    trials = remember_trial("walk_forward", study.configuration, study.bars, study.time, kind, series, **facts)
    spans = [(fold.test_start, fold.test_end) for fold in study.folds]
    seen = {"bars": study.bars.digest, "closes": closes_at(study.bars, spans[0][0])}
    reads = look("walk_forward", study.symbols, spans, study.configuration["forecaster"], **seen)
    book = ledger.current()
    study = replace(study, trials=trials, trials_where=book.where, reads=reads, book=book)
    return replace(study, **study.counts())


# -------------------------------------------------------------------------------------------------------------- results


@dataclass(frozen=True, eq=False, repr=False)
class Study:
    """What a walk-forward left: out-of-sample forecasts beside outcomes, and all it takes to judge them.

    Parameters
    ----------
    forecaster, bars, cv, target
        What was studied.
    folds : tuple of Fold
        With the reason where a fit failed.
    forecast : Forecast
        The forecasts of record (mean over seeds), one row a test decision.
    seeds : array (n_seeds, n_rows, n_symbols)
        The forecasts of the single seeds.
    actual : array (n_rows, n_symbols)
        Outcomes in the target's units; prices are forward-adjusted.
    fold : int array (n_rows,)
        Fold of each row.
    reference : array (n_rows, n_symbols)
        Last adjusted close known at each decision.
    baselines : dict of str to array (n_rows, n_symbols)
        Information-free forecasts.
    challengers : dict of str to array (n_rows, n_symbols)
        Simple models fitted on the same rows.
    histories : list (folds) of list (seeds)
        Training histories, None for models without.
    choices : list (folds) of dict
        What a tuned forecaster chose in each fold, with its score and what luck gives; None for others.
    trials, trials_where
        Different configurations tried up to this one, and where that was counted.
    tried, planned, reads, others
        Configurations scored on these rows, as many as a plan named, looks at the rows, score series of the others.
    book : Ledger, optional
        Where it was recorded; asked again with every verdict, whichever ledger is then in force. Not saved.

    Examples
    --------
    >>> import longshort as ls
    >>> from longshort import features as f, models as m
    >>> bars = ls.load_bars("AAPL", start="2010-01-01", end="2014-12-31", source="sample")
    >>> study = ls.walk_forward(m.Drift(f.forward_close()), bars, ls.WalkForward("2Y", "1Y"), baselines=[])
    >>> print(study.folds[0])
    fold 0: train 2010-01-04 .. 2012-01-03 (504 rows), test 2012-01-04 .. 2013-01-03 (251 rows)
    >>> sorted(study.scores()), study.verdict().exit_code
    (['Drift', 'drift', 'persistence'], 3)
    """

    forecaster: Any
    bars: "Bars"
    cv: WalkForward
    target: Any
    folds: tuple[Fold, ...]
    forecast: Forecast
    seeds: np.ndarray
    actual: np.ndarray
    fold: np.ndarray
    reference: np.ndarray
    baselines: dict[str, np.ndarray]
    challengers: dict[str, np.ndarray] = field(default_factory=dict)
    histories: list[list[Any]] = field(default_factory=list)
    configuration: dict[str, Any] = field(default_factory=dict)
    trials: int = 1
    trials_where: str = "this process"
    trial_sharpes: tuple[float, ...] = ()
    tried: int = 1
    planned: int = 0
    others: tuple[Scores, ...] = ()
    reads: int = 1
    choices: list[dict[str, Any] | None] = field(default_factory=list)
    book: ledger.Ledger | None = None

    @property
    def time(self) -> np.ndarray:
        """Decision times, int64 UTC nanoseconds (n_rows,)."""
        return self.forecast.time

    @property
    def for_time(self) -> np.ndarray:
        """When each outcome was known, int64 UTC nanoseconds (n_rows,)."""
        assert self.forecast.for_time is not None
        return self.forecast.for_time

    @property
    def symbols(self) -> tuple[str, ...]:
        """Column names."""
        return self.forecast.symbols

    @property
    def name(self) -> str:
        """What the model is called."""
        return _called(self.forecaster)

    def evidence(self) -> Evidence:
        """Return the study as evidence for `judge`."""
        return Evidence(
            name=self.name,
            target=self.target.info,
            time=self.time,
            actual=self.actual,
            forecast=self.forecast.mean,
            baselines=self.baselines,
            symbols=self.symbols,
            reference=self.reference,
            challengers=self.challengers,
            seeds=self.seeds if len(self.seeds) > 1 else None,
            fold=self.fold,
            last_value=self._last_value(),
            returns=next_returns(self.bars, self.time),
            quantiles=self.forecast.quantiles,
            std=self.forecast.std,
            trials=self.trials,
            trials_where=self.trials_where,
            trial_sharpes=self.trial_sharpes,
            tried=self.tried,
            planned=self.planned,
            others=self.tried_scores,
            reads=self.reads,
            failures=tuple(f"fold {f.number}: {f.failure}" for f in self.folds if f.failure),
        )

    def verdict(self) -> Verdict:
        """Return what the study proves: exit code, sentence, table, details.

        Configurations tried later on the same rows count too: the best of many must pass the test of many. What was
        counted once is not forgotten, whichever ledger is in force.
        """
        counts = self.counts()
        key = counts["tried"], counts["planned"]
        if key not in self._verdicts:
            self._verdicts[key] = judge(replace(self.evidence(), **counts))
        return self._verdicts[key]

    def counts(self) -> dict[str, Any]:
        """Return `tried`, `planned`, `trials`, `trials_where`, `trial_sharpes` as known by now, by the ledgers too."""
        first, last, books = int(self.time[0]), int(self.time[-1]), self._books()
        known = max(((c["tried"], c["planned"]) for c in self._counts.values()), default=(1, 0))
        tried = max(self.tried, known[0], tried_on(self.symbols, first, last, self.configuration, books))
        planned = max(self.planned, known[1], *(book.planned for book in books))
        if (tried, planned) not in self._counts:
            found = {"trials": self.trials, "trials_where": self.trials_where}
            if tried > self.tried:
                n, where = counted(books)
                found = {"trials": max(self.trials, n), "trials_where": where}
            here = sharpes(bars_per_year(self.time), books) if tried > self.tried or not self.trial_sharpes else ()
            found["trial_sharpes"] = max(self.trial_sharpes, here, key=len)
            self._counts[tried, planned] = {"tried": tried, "planned": planned, **found}
        return dict(self._counts[tried, planned])

    def tried_scores(self) -> list[Scores]:
        """Return the score series of the other configurations tried on these rows, as far as anybody kept them."""
        kept, own = {one.config: one for one in self.others}, ledger.digest_of(self.configuration)
        here = others(self.symbols, self.time, self.target.info.kind, own, self._books())
        return list((kept | {one.config: one for one in here}).values())

    def _books(self) -> list[ledger.Ledger]:
        """The ledger in force and the one it was recorded in, where that is another."""
        now = ledger.current()
        return [now] if self.book is None or self.book.is_same(now) else [self.book, now]

    @cached_property
    def _counts(self) -> dict[tuple[int, int], dict[str, Any]]:
        return {}

    @cached_property
    def _verdicts(self) -> dict[tuple[int, int], Verdict]:
        return {}

    def scores(self) -> dict[str, dict[str, float | None]]:
        """Return measures by forecast (the model, baselines, challengers) and name."""
        return self.verdict().details["table"]

    def records(self) -> list[dict[str, Any]]:
        """Return every forecast of record as made_at, for_time, symbol, value and digest, in order.

        Each digest seals its row and the one before, so a list that begins with the same digests has the same past. A
        study of the same configuration on longer bars begins with exactly these records.
        """
        previous = ledger.digest_of({"configuration": self.configuration, "symbols": list(self.symbols)})
        found = []
        values = self.forecast.mean
        for i in range(len(self.time)):
            for j, symbol in enumerate(self.symbols):
                row = {
                    "made_at": int(self.time[i]),
                    "for_time": int(self.for_time[i]),
                    "symbol": symbol,
                    "value": float(values[i, j]) if np.isfinite(values[i, j]) else None,
                }
                previous = hashlib.sha256((previous + ledger.canonical(row)).encode()).hexdigest()
                found.append(row | {"digest": previous})
        return found

    def save(self, directory: str | os.PathLike) -> str:
        """Write the study into one directory, atomically, and return its digest; no pickle."""
        from . import keeping

        return keeping.save(self, directory)

    @classmethod
    def load(cls, directory: str | os.PathLike) -> "Study":
        """Read a saved study; every number is the one that was saved."""
        from . import keeping

        kept, records = keeping.load(directory)
        study = cls(**kept)
        found = study.records()
        if (found[-1]["digest"] if found else None) != records["digest"] or len(found) != records["n"]:
            raise ArtifactError(f"The forecasts in {directory} are not the ones recorded. Restore it from a backup.")
        return study

    def _last_value(self) -> np.ndarray | None:
        """The latest value of the target known at each decision, NaN where there is none."""
        if self.target.info.kind == "close":
            return self.reference
        values, ends = np.asarray(self.target.compute(self.bars)), np.asarray(self.target.label_end(self.bars))
        known = np.flatnonzero(ends != NEVER)
        if not len(known):
            return None
        at = np.searchsorted(ends[known], self.time, side="right") - 1
        return np.where((at >= 0)[:, None], values[known[np.maximum(at, 0)]], np.nan)

    def __len__(self) -> int:
        return len(self.time)

    def __repr__(self) -> str:
        first, last = (str(t.astype("datetime64[ns]").astype("datetime64[D]")) for t in self.time[[0, -1]])
        failed = sum(f.failure is not None for f in self.folds)
        shown = ", ".join(self.symbols[:4]) + (", ..." if len(self.symbols) > 4 else "")
        seeds = len(self.seeds)
        lines = [
            f"Study of {self.name} on {shown}: {self.target.info}",
            f"  {len(self):,} out-of-sample rows, {first} .. {last}",
            f"  {len(self.folds)} folds{f' ({failed} failed)' if failed else ''}, {self.cv}, "
            f"{seeds} seed{'s' * (seeds != 1)}, trial {self.trials} of {self.trials_where}",
            "",
            _text_table(self.scores()),
            "",
            *_chosen(self.choices),
            *_seed_spread(self.verdict().details["seeds"]),
            self.verdict().sentence,
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        import html

        head, rest = repr(self).split("\n", 1)
        return f"<p><b>{html.escape(head)}</b></p><pre>{html.escape(rest.split(chr(10) * 2)[0])}</pre>" + (
            self.verdict()._repr_html_()
        )


_SHOWN = {
    "rmse": "{:.5g}",
    "skill": "{:+.2%}",
    "ic": "{:+.3f}",
    "hit_rate": "{:.1%}",
    "r2": "{:.4f}",
    "clark_west_p": "{:.3f}",
}


def _chosen(choices: Sequence[Mapping[str, Any] | None]) -> list[str]:
    """What a tuned forecaster chose in each fold, as a line an argument: choices that wander were luck."""
    known = [choice["params"] for choice in choices if choice is not None]
    if not known:
        return []
    names = list(known[0])
    shown = [[f"{v:.3g}" if isinstance(v, float) else str(v) for v in (c[name] for c in known)] for name in names]
    lines = [f"  {name} chosen by fold: {', '.join(values)}" for name, values in zip(names, shown, strict=True)]
    return [line if len(line) <= 120 else line[:117] + "..." for line in lines] + [""]


def _seed_spread(seeds: Sequence[Mapping[str, Any]]) -> list[str]:
    """The scores of the single seeds as a line: when they differ as much as the effect, there is no effect."""
    if not seeds:
        return []
    words = []
    for name, form in (("skill", "{:+.2%}"), ("ic", "{:+.3f}"), ("hit_rate", "{:.1%}")):
        known = [s[name] for s in seeds if s[name] is not None]
        if known:
            words.append(f"{name.replace('_', ' ')} {form.format(min(known))} .. {form.format(max(known))}")
    return [f"  single seeds: {', '.join(words)}", ""]


def _text_table(scores: Mapping[str, Mapping[str, float | None]]) -> str:
    """Scores as aligned text, without pandas."""
    heads = ["", *(name.replace("_", " ") for name in _SHOWN)]
    rows = [[n, *("" if s.get(k) is None else f.format(s[k]) for k, f in _SHOWN.items())] for n, s in scores.items()]
    widths = [max(len(r[i]) for r in [heads, *rows]) for i in range(len(heads))]
    return "\n".join(
        "  " + r[0].ljust(widths[0]) + "".join("  " + c.rjust(w) for c, w in zip(r[1:], widths[1:], strict=True))
        for r in [heads, *rows]
    )
