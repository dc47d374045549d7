"""When bars open, and what is known when they do."""

import numpy as np
import pytest
from small_markets import bars_of

from longshort import clock
from longshort.bars import Bars
from longshort.errors import InputError
from longshort.trading.history import USUAL, History, open_times, usual

HOUR = 3600 * 10**9


def shown(times):
    return [clock.show(int(t)) for t in times]


def test_a_daily_bar_opens_with_its_session_half_days_and_daylight_saving_included():
    days = np.array(["2020-11-25", "2020-11-27", "2020-11-30"], "datetime64[D]")
    bars = Bars.from_arrays(days, "X", {"open": [1.0, 1, 1], "close": [1.0, 1, 1]}, calendar="XNYS")
    assert shown(open_times(bars)) == ["2020-11-25T14:30:00Z", "2020-11-27T14:30:00Z", "2020-11-30T14:30:00Z"]


def test_a_bar_within_the_day_opens_a_nanosecond_after_the_one_before_and_the_first_with_the_session():
    """The first hourly bar of New York is known at 10:00 and began at 9:30."""
    stamps = np.array(["2020-11-25T15:00", "2020-11-25T16:00", "2020-11-27T15:00"], "datetime64[ns]").astype(np.int64)
    bars = Bars.from_arrays(stamps, "X", {"open": [1.0] * 3, "close": [1.0] * 3}, calendar="XNYS", bar_size="1h")
    first, second, third = open_times(bars).tolist()
    assert shown([first, third]) == ["2020-11-25T14:30:00Z", "2020-11-27T14:30:00Z"]
    assert second == stamps[0] + 1


def test_bars_on_days_that_are_no_session_open_a_day_before():
    days = np.array(["2020-11-28T21:00"], "datetime64[ns]").astype(np.int64)
    bars = Bars.from_arrays(days, "X", {"close": [1.0]}, calendar="XNYS", bar_size="1D")
    assert open_times(bars)[0] == days[0] - 24 * HOUR


def test_every_bar_opens_after_the_one_before_was_known():
    bars = bars_of([(1, 1, 1, 1)] * 5)
    assert (open_times(bars)[1:] > bars.time[:-1]).all()
    assert (open_times(bars) <= bars.time).all()


def test_the_opening_knows_nothing_of_the_bar():
    bars = bars_of([(10, 12, 9, 11, 100), (11, 13, 10, 12, 100)])
    opened = next(e for e in History(bars) if e.kind == "open")
    assert (opened.high, opened.low, opened.close, opened.returns) == (None, None, None, None)


def test_usual_figures_are_those_before_the_bar():
    volume = np.arange(1.0, 31.0)
    rows = np.stack([np.full(30, 10.0)] * 4 + [volume], axis=1)
    closes = [e for e in History(bars_of(rows)) if e.kind == "close"]
    assert np.isnan(closes[0].usual_volume[0])
    assert closes[1].usual_volume[0] == 1.0
    assert closes[29].usual_volume[0] == volume[29 - USUAL : 29].mean()
    part = [e for e in History(bars_of(rows), 25) if e.kind == "close"]
    assert part[0].usual_volume[0] == closes[25].usual_volume[0]


def test_the_usual_volume_is_in_shares_of_today():
    scale = np.array([[1.0], [1.0], [2.0]])
    assert usual(np.array([[100.0], [100.0], [200.0]]), 3, scale).ravel().tolist() == [100.0, 100.0, 200.0]


def test_the_last_bar_of_a_session_says_so():
    stamps = np.array(["2020-11-25T20:00", "2020-11-25T21:00", "2020-11-27T15:00"], "datetime64[ns]").astype(np.int64)
    bars = Bars.from_arrays(stamps, "X", {"close": [1.0] * 3}, calendar="XNYS", bar_size="1h")
    assert [e.last for e in History(bars)] == [False, True, True]


def test_a_history_needs_closes():
    bars = Bars.from_arrays([10**18], "X", {"open": [1.0]})
    with pytest.raises(InputError, match="closing prices"):
        History(bars)
