"""The audit: run a thing on bars, on the same bars with another future, and on markets that hold nothing to know."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from ... import ledger
from ...bars import Bars, require_bars
from ...errors import InputError, LongshortError, NotEnoughData, UnknownName, did_you_mean
from ...features import Target
from . import markets, questions, relations
from .findings import Audit, Finding, Question
from .kinds import subjects_of
from .relations import Session
from .subjects import GIVEN, OUTPUTS, CallableSubject, FittedSubject, ForecasterSubject, Output, Subject, Usage

FEWEST_BARS = 20
HOLE_SHARE = 0.25  # of the runs, on bars with holes
SWEEP = 4  # times the runs, for functions that train and forecast


def audit(
    obj: Any,
    bars: Bars,
    *,
    features: Any = None,
    target: Target | None = None,
    cv: Any = None,
    lookback: int | None = None,
    given: str = "auto",
    output: str = "values",
    labels: Mapping[str, int] | None = None,
    train: Any = None,
    facts: Mapping[str, Any] | None = None,
    how: Mapping[str, Any] | None = None,
    runs: int = 120,
    budget: float = 20.0,
    seed: int = 0,
    tolerance: float = 0.0,
) -> Audit:
    """Find out whether anything uses what was not known yet, and prove it.

    The thing is run on the bars, then again and again on bars whose rows from some date on were made different:
    redrawn, cut off, shuffled, emptied, scaled, moved in time. Whatever was decided before that date must stay as it
    was. The dates are those at which leaks like to hide: edges of gaps, sessions, months, splits, training parts. Then
    it is run on a market whose rows are in an order drawn by lot, where nothing can be forecast or earned, and on one
    that announces its returns, where a forecast must fit its own row.

    Parameters
    ----------
    obj : object
        - `Feature`, `FeatureSet` or nested lists of features; a `Target`;
        - a forecaster (`fit`, `predict`, `target`), such as `LSTM`; it is copied, and a network trains two epochs;
        - a function of a DataFrame or of Bars that returns a Series, DataFrame, array (one row a bar), `Forecast`, or
          a pair (inputs, labels);
        - a scikit-learn estimator or Pipeline (with `features`, `target`, `cv`);
        - a torch module (with `features`, `lookback`);
        - a ``NeuralForecast`` (by its `cross_validation`) or a darts model (by its `historical_forecasts`).

    bars : Bars
        Some hundred to some thousand bars; those the thing was made for.
    features : Feature, sequence of Features, or function of a DataFrame, optional
        Inputs of an estimator or a torch module; `features.technical()` by default.
    target : Target, optional
        What an estimator forecasts; the next log return by default.
    cv : WalkForward or scikit-learn splitter, optional
        Folds; by default one cut after 70 % of the rows.
    lookback : int, optional
        Rows in a window of a torch module.
    given : {"auto", "frame", "panel", "long", "bars"}, default="auto"
        What a function gets: one symbol's DataFrame, after the other; a wide table of all; a long one sorted by symbol,
        with a column "symbol"; or Bars (when its first argument is called ``bars``). Columns are "open", "close", ...,
        or "Open", "Close", ... when it asks for those.
    output : {"values", "forecast", "returns"}, default="values"
        What a function returns: anything; forecasts of the next return or close; or the returns a strategy earned in
        each bar, before costs.
    labels : mapping of str to int, optional
        Columns that are outcomes, and how many rows they may look ahead.
    train : float, int or date, optional
        Share, number of rows, or last date of the part that only trains: rows in it may depend on all of it.
    facts : mapping, optional
        Answers to what cannot be observed: "universe", "features", "tuning", "training", "dates", "levels": a date, or
        "nothing"; "vintage": "point in time" or "revised".
    how : mapping, optional
        Arguments for ``cross_validation`` or ``historical_forecasts``.
    runs : int, default=120
        Runs on other futures, at most.
    budget : float, default=20.0
        Seconds, at most; an audit of something slow tries the telling cuts first and says how many it tried.
    seed : int, default=0
        Of the invented futures. The same seed gives the same audit, as long as the budget lasts.
    tolerance : float, default=0.0
        Relative difference that counts as rounding. Results of the same length must otherwise agree in every bit,
        shorter ones of code that is not ours to 1e-9 (1e-5 for single precision).

    Returns
    -------
    Audit
        `.ok`, `.findings` with their proofs, `.questions` left open, `.answer`, `.exit_code`.

    Raises
    ------
    InputError
        The thing cannot be audited, does not run on these bars, or returns rows without dates.

    Notes
    -----
    A leak that happened before the code ran (a universe of survivors, features or settings chosen on all data, revised
    figures) changes nothing here. Such questions are listed, answered by `facts`, and never called clean.

    Runs of an audit are no trials: the ledger in force does not see them.

    Examples
    --------
    >>> import longshort as ls
    >>> bars = ls.load_bars("AAPL", start="2013-01-01", end="2015-06-30", source="sample")
    >>> def z_score(frame):
    ...     return (frame["close"] - frame["close"].mean()) / frame["close"].std()
    >>> found = audit(z_score, bars)
    >>> found.ok, found.findings[0].relation
    (False, 'future perturbation')
    >>> print(audit(ls.features.rsi(14), bars).sentence)
    rsi_14: no leak in 153 runs.
    """
    require_bars(bars, "audit")
    if len(bars) < FEWEST_BARS:
        raise NotEnoughData(
            f"An audit needs at least {FEWEST_BARS} bars, but there are {len(bars)}. Load a longer span."
        )
    _check(given, output, runs, budget)
    facts = {} if facts is None else facts
    questions.check_facts(facts)
    usage = Usage(features, target, cv, lookback, given, output, dict(labels or {}), train, dict(how or {}))
    began = time.monotonic()
    with ledger.aside():
        sessions = []
        subjects = subjects_of(obj, bars, usage)
        for k, subject in enumerate(subjects):
            left = budget - (time.monotonic() - began)
            deadline = time.monotonic() + max(left, 0.0) / (len(subjects) - k)
            session = Session(subject, bars, _first_run(subject, bars), deadline, seed, tolerance)
            _tried(session, runs)
            relations.enough_ran(session)
            if time.monotonic() > deadline:
                session.notes.append(f"{subject.name} was stopped when its share of the budget was spent")
            sessions.append(session)
        return _summary(sessions, bars, facts, usage, time.monotonic() - began)


def _check(given: str, output: str, runs: int, budget: float) -> None:
    for name, value, known in (("given", given, GIVEN), ("output", output, OUTPUTS)):
        if value not in known:
            raise UnknownName(f"{name} was {value!r}. {did_you_mean(str(value), known)}")
    if isinstance(runs, bool) or not isinstance(runs, int | np.integer) or runs < 1:
        raise InputError(f"runs must be a whole number of at least 1, was {runs!r}.")
    if not budget > 0:
        raise InputError(f"budget must be seconds above 0, was {budget!r}.")


def _first_run(subject: Subject, bars: Bars) -> Output:
    """Run on the bars as they are; whatever the audited code raises is told as bad input."""
    try:
        with np.errstate(all="ignore"):
            base = subject.run(bars)
    except LongshortError:
        raise
    except (Exception, SystemExit) as error:
        raise InputError(
            f"{subject.name} must run on the bars as they are, but it raised {type(error).__name__}: {error}."
        ) from error
    relations.refuse_nothing(base, subject.name)
    return base


def _tried(session: Session, runs: int) -> None:
    """Try every relation that fits the subject, cheap and telling ones first."""
    subject, bars = session.subject, session.bars
    if not relations.determinism(session):
        return
    horizon = getattr(subject.target, "horizon", 1)
    cuts = markets.cut_points(bars, session.base, subject.boundaries(bars), horizon, max(runs // 2, 4), session.seed)
    by_itself = hasattr(subject, "ways")  # cross-validates by its own rules: other markets say nothing about it
    if isinstance(subject, ForecasterSubject):
        relations.fold_seal(session)
        cuts, runs = [cut for cut in cuts if bars.time[cut.row] > subject.train_end], max(runs // 20, 4)
    if isinstance(subject, FittedSubject):
        relations.undisturbed_by_forecasting(session)
    if subject.output in ("forecast", "returns") and not by_itself:
        relations.skill_without_memory(session)
    if subject.output == "forecast" and not by_itself:
        relations.forecast_in_its_place(session)
    if not subject.exact and not by_itself:  # others' code
        if subject.output == "values":
            relations.skill_without_memory(session)
        relations.labels_are_unknown(session)
        relations.numbers_from_elsewhere(session)
        relations.symbol_order(session)
    relations.other_futures(session, cuts, runs)
    if not isinstance(subject, ForecasterSubject):
        relations.longer_history(session)
    if isinstance(subject, CallableSubject) and subject.output == "forecast":
        relations.every_row(session, SWEEP * runs)
    if not isinstance(subject, ForecasterSubject) and not by_itself:
        holes, edges = markets.punctured(bars, session.seed)
        relations.other_futures(session, edges, max(int(HOLE_SHARE * runs), 4), holes)


def _summary(sessions: list[Session], bars: Bars, facts: Mapping[str, Any], usage: Usage, seconds: float) -> Audit:
    last = sessions[-1]
    asked: dict[str, Question] = {}
    for session in sessions:
        pretrained = _learned_elsewhere(session.subject, usage)
        asked |= questions.asked_of(session.subject.output, pretrained) | session.questions
        if questions.extra_fields(bars) and _reads_extra(session):
            asked[questions.VINTAGE.name] = questions.VINTAGE
    admitted, open_ = questions.answered(asked, facts, bars, _first_judged(last))
    checks: dict[str, list[Any]] = {}
    for check in (check for session in sessions for check in session.done()):
        checks.setdefault(check.relation, []).append(check)
    merged = tuple(
        type(group[0])(name, sum(c.runs for c in group), sum(c.failed for c in group)) for name, group in checks.items()
    )
    findings: list[Finding] = [finding for session in sessions for finding in session.findings] + admitted
    notes = list(dict.fromkeys(note for session in sessions for note in session.notes))
    silent = [c.relation for c in merged if c.runs and c.failed == c.runs]
    if silent:
        notes.append(f"it raised on every other market of: {', '.join(silent)}")
    return Audit(last.subject.name, tuple(findings), tuple(open_), merged, seconds, tuple(notes))


def _learned_elsewhere(subject: Any, usage: Usage) -> bool:
    """Whether it came with weights, and nobody said from which rows."""
    if type(subject).__name__ == "TorchSubject":
        return usage.train is None
    return bool(getattr(subject, "fitted_elsewhere", False))


def _first_judged(session: Session) -> int:
    """Return the first row whose decision counts."""
    boundaries = session.subject.boundaries(session.bars)
    rows = np.flatnonzero(np.isfinite(session.base.values).any(axis=1))
    first = int(np.searchsorted(session.bars.time, session.base.time[rows[0]]))
    return max(first, min(boundaries)) if boundaries else first


def _reads_extra(session: Session) -> bool:
    """Whether other values of the joined series change what it says."""
    bars = session.bars
    fields = {name: np.array(bars[name]) for name in bars.fields}
    for name in questions.extra_fields(bars):
        fields[name] = fields[name][::-1] + 1.0
    other = session.attempt("joined series", markets.with_fields(bars, fields))
    return other is None or relations.compare(session.base, other, relations.NEVER, 1e-12) is not None
