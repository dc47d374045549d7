"""Walk-forward splits: nothing of the test is ever in the training, and more bars only add."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from longshort.errors import InputError, NotEnoughData
from longshort.evaluation.splits import NEVER, Span, WalkForward

SECOND = 10**9
ALL_DAYS = np.arange("2000-01-03", "2024-01-01", dtype="datetime64[D]")
WEEKDAYS = ALL_DAYS[np.is_busday(ALL_DAYS)]


def closes(days):
    return days.astype("datetime64[ns]").astype(np.int64) + 21 * 3600 * SECOND


def labels(time, horizon):
    ends = np.full(len(time), NEVER)
    ends[: max(0, len(time) - horizon)] = time[horizon:]
    return ends


SPANS = some.one_of(
    some.integers(5, 400),
    some.sampled_from(["1Y", "2Y", "3M", "6M", "18M", "10W", "26W", "20D", "90D", "250D"]),
)


@some.composite
def situations(draw):
    n = draw(some.integers(300, 2500))
    days = WEEKDAYS[:n]
    holes = draw(some.lists(some.integers(0, n - 1), max_size=40))
    keep = np.ones(n, bool)
    keep[holes] = False
    for _ in range(draw(some.integers(0, 2))):  # long gaps
        at = draw(some.integers(0, n - 1))
        keep[at : at + draw(some.integers(1, 200))] = False
    bars_a_day = draw(some.sampled_from([1, 1, 1, 3]))
    days = np.repeat(days[keep], bars_a_day)
    time = closes(days) + np.tile(np.arange(bars_a_day), len(days) // bars_a_day) * 3600 * SECOND
    cv = WalkForward(
        draw(SPANS), draw(SPANS), draw(some.sampled_from([None, 0, 1, 5, "1D", "5D", "20D"])), draw(some.booleans())
    )
    horizon = draw(some.sampled_from([1, 1, 5, 21]))
    ends = labels(time, horizon)
    decisions = ends != NEVER
    decisions[: draw(some.integers(0, 100))] = False
    return cv, time, days, decisions, ends, horizon


def split(case, n=None):
    cv, time, days, decisions, ends, horizon = case
    if n is not None:
        time, days = time[:n], days[:n]
        ends = labels(time, horizon)
        decisions = decisions[:n] & (ends != NEVER)
    return cv.split(time, days, decisions, ends)


@settings(max_examples=400, deadline=None)
@given(situations())
def test_no_training_label_ends_at_or_after_the_first_test_decision(case):
    cv, time, days, decisions, ends, _ = case
    try:
        folds = split(case)
    except NotEnoughData:
        return
    last = -1
    for fold, rows in zip(folds, folds.rows, strict=True):
        cut = np.searchsorted(time, fold.train_end, side="right")
        seen = time[:cut]
        known = decisions[:cut] & (ends[:cut] <= fold.train_end) & (seen >= fold.train_start)
        assert known.sum() == fold.n_train > 0
        assert ends[:cut][known].max() <= fold.train_end < fold.test_start
        embargo = Span.parse(cv.embargo or 0, least=0)
        between = np.flatnonzero((time > fold.train_end) & (time < fold.test_start))
        first = int(rows[0])
        if embargo.unit == "D":
            skipped = np.unique(days[between][days[between] < days[first]])
            assert len(skipped) >= embargo.count
        else:
            assert len(between) == embargo.count
        assert decisions[rows].all()
        assert rows[0] > last  # tests follow each other and never overlap
        assert fold.n_test == len(rows)
        assert (fold.test_start, fold.test_end) == (time[rows[0]], time[rows[-1]])
        last = rows[-1]


def random_configuration(rng):
    """Draw bars with holes and sessions of several bars, labels of any length and folds of any kind."""
    n, horizon = int(rng.integers(40, 260)), int(rng.choice([1, 1, 2, 5, 10, 21]))
    days = np.repeat(WEEKDAYS[: n // 2 + 1], int(rng.integers(1, 4)))[:n]
    days = days[np.sort(rng.permutation(len(days))[: int(len(days) * rng.uniform(0.7, 1.0))])]
    first_of_day = np.flatnonzero(np.r_[True, days[1:] != days[:-1]])
    number = np.arange(len(days)) - np.repeat(first_of_day, np.diff(np.r_[first_of_day, len(days)]))
    time = closes(days) + number * 3600 * SECOND
    ends = labels(time, horizon)
    decisions = (ends != NEVER) & (rng.random(len(time)) > rng.choice([0.0, 0.0, 0.3]))
    spans = [int(rng.integers(3, 60)), int(rng.integers(2, 40)), "2W", "1M", "20D", "3M", "8D"]
    cv = WalkForward(
        spans[rng.integers(len(spans))],
        spans[rng.integers(len(spans))],
        [None, 0, 3, "1D", "5D"][rng.integers(5)],
        bool(rng.integers(2)),
    )
    return cv, time, days, decisions, ends, horizon


def test_the_test_parts_of_ten_thousand_random_walk_forwards_are_sealed():
    """No training label ends, and no training bar lies, at or after the first test decision ."""
    rng, folds_seen, refused = np.random.default_rng(2026), 0, 0
    for _ in range(10_000):
        case = random_configuration(rng)
        _, time, _, decisions, ends, _ = case
        try:
            folds = split(case)
        except NotEnoughData:
            refused += 1
            continue
        for fold, rows in zip(folds, folds.rows, strict=True):
            learned = decisions & (time >= fold.train_start) & (ends <= fold.train_end)
            assert learned.sum() == fold.n_train > 0, case
            assert ends[learned].max() <= fold.train_end < fold.test_start == time[rows[0]], case
            assert time[learned].max() < fold.test_start, case
            assert not learned[rows].any(), case
            folds_seen += 1
    assert refused < 5_000
    assert folds_seen > 20_000


@settings(max_examples=200, deadline=None)
@given(situations(), some.floats(0.5, 1.0))
def test_more_bars_add_rows_and_folds_and_change_none(case, share):
    n = int(share * len(case[1]))
    try:
        before = split(case, n)
    except NotEnoughData:
        return
    after = split(case)
    assert len(after) >= len(before)
    for k, (a, b) in enumerate(zip(before, after, strict=False)):
        assert (a.train_start, a.train_end, a.test_start, a.n_train) == (
            b.train_start,
            b.train_end,
            b.test_start,
            b.n_train,
        )
        np.testing.assert_array_equal(before.rows[k], after.rows[k][: len(before.rows[k])])
        if a.complete or k < len(before) - 1:
            assert replace(a, complete=True) == replace(b, complete=True)
    rows_before, rows_after = np.concatenate(before.rows), np.concatenate(after.rows)
    np.testing.assert_array_equal(rows_before, rows_after[: len(rows_before)])


@settings(max_examples=100, deadline=None)
@given(situations())
def test_every_decision_after_the_first_training_span_is_tested_once(case):
    cv, _, _, decisions, _, _ = case
    try:
        folds = split(case)
    except NotEnoughData:
        return
    tested = np.concatenate(folds.rows)
    assert len(np.unique(tested)) == len(tested)
    if cv.embargo is None:
        after_first = np.flatnonzero(decisions)
        np.testing.assert_array_equal(tested, after_first[after_first >= folds.rows[0][0]])


def test_calendar_spans_follow_the_calendar():
    days = WEEKDAYS[(np.datetime64("2010-01-04") <= WEEKDAYS) & (np.datetime64("2015-07-01") > WEEKDAYS)]
    folds = WalkForward("2Y", "6M").split(closes(days), days)
    starts = [str(np.datetime64(f.test_start, "ns").astype("datetime64[D]")) for f in folds]
    assert starts == ["2012-01-04", "2012-07-04", "2013-01-04", "2013-07-04", "2014-01-06", "2014-07-04", "2015-01-05"]
    assert [f.complete for f in folds] == [True] * 6 + [False]


def test_month_ends_do_not_drift():
    days = ALL_DAYS[(np.datetime64("2010-01-31") <= ALL_DAYS) & (np.datetime64("2010-08-01") > ALL_DAYS)]
    folds = WalkForward("1M", "1M").split(closes(days), days)
    starts = [str(np.datetime64(f.test_start, "ns").astype("datetime64[D]")) for f in folds]
    assert starts == ["2010-02-28", "2010-03-31", "2010-04-30", "2010-05-31", "2010-06-30", "2010-07-31"]


def test_rows_and_sessions_count_decision_rows():
    days = np.repeat(WEEKDAYS[:30], 4)  # four bars a session
    time = closes(days) + np.tile(np.arange(4), 30) * SECOND
    by_rows = WalkForward(40, 8).split(time, days)
    by_sessions = WalkForward("10D", "2D").split(time, days)
    assert list(by_rows) == list(by_sessions)
    assert [f.n_test for f in by_rows] == [8] * 10


def test_expanding_keeps_the_first_row():
    folds = WalkForward(100, 50, expanding=True).split(closes(WEEKDAYS[:400]))
    assert {f.train_start for f in folds} == {closes(WEEKDAYS)[0]}
    assert [f.n_train for f in folds] == [100, 150, 200, 250, 300, 350]
    rolling = WalkForward(100, 50).split(closes(WEEKDAYS[:400]))
    assert [f.n_train for f in rolling] == [100] * 6


def test_an_embargo_in_sessions_counts_sessions_not_bars():
    days = np.repeat(WEEKDAYS[:60], 7)
    time = closes(days) + np.tile(np.arange(7), 60) * SECOND
    fold = WalkForward("30D", "10D", embargo="5D").split(time, days)[0]
    ends = days[np.searchsorted(time, [fold.train_end, fold.test_start])]
    assert np.searchsorted(WEEKDAYS, ends[1]) - np.searchsorted(WEEKDAYS, ends[0]) == 6


def test_folds_print_one_line_each():
    folds = WalkForward("1Y", "1Y").split(closes(WEEKDAYS[:700]))
    text = repr(folds)
    assert len(text.splitlines()) == 2
    assert "fold 0: train 2000-01-03 .. 2001-01-02 (262 rows), test 2001-01-03 .. 2002-01-02 (261 rows)" in text
    assert text.endswith("(so far)")
    assert "FAILED: no luck" in str(folds[0].failed("no luck"))


def test_too_little_history_says_what_is_there_and_what_to_do():
    with pytest.raises(NotEnoughData, match=r"needs 5 years .* 300 rows from 2000-01-03 to 2001-02-23 \(1.1 years\).*"):
        WalkForward("5Y", "1Y").split(closes(WEEKDAYS[:300]))
    with pytest.raises(NotEnoughData, match="found no decision row in 300 bars"):
        WalkForward("5Y", "1Y").split(closes(WEEKDAYS[:300]), decisions=np.zeros(300, bool))
    with pytest.raises(NotEnoughData, match="leaves no training row"):
        WalkForward(10, 10, embargo=10).split(closes(WEEKDAYS[:300]))
    with pytest.raises(NotEnoughData):
        WalkForward(10, 10).split(np.array([], np.int64))


@pytest.mark.parametrize("span", ["5", "Y", "5 moons", "-5D", 0, -3, 2.5, True, None, "", "1.5Y", "0D"])
def test_bad_spans_are_refused_at_construction(span):
    with pytest.raises(InputError, match=r"A span (is rows|counts)"):
        WalkForward(span, "1Y")
    with pytest.raises(InputError, match=r"A span (is rows|counts)"):
        WalkForward("1Y", span)


def test_an_embargo_by_the_calendar_is_refused():
    with pytest.raises(InputError, match=r"sessions .'5D'. or bars .5., was '1M'"):
        WalkForward("1Y", "1Y", embargo="1M")


def test_lengths_must_agree():
    with pytest.raises(InputError, match="300, 299"):
        WalkForward(10, 10).split(closes(WEEKDAYS[:300]), WEEKDAYS[:299])
