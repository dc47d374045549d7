"""Sessions against the published NYSE calendar, daylight saving against the calendar year, clocks."""

import datetime
import subprocess
import sys

import numpy as np
import pytest

from longshort import clock
from longshort.errors import InputError, TimeError, UnknownName


def days(*texts):
    return np.array(texts, "datetime64[D]")


def test_holidays_and_half_days_of_2020():
    """NYSE holidays and early closings 2020, as the exchange published them."""
    year = clock.sessions("XNYS", "2020-01-01", "2020-12-31")
    weekdays = np.arange("2020-01-01", "2021-01-01", dtype="datetime64[D]")
    weekdays = weekdays[np.is_busday(weekdays)]
    holidays = np.setdiff1d(weekdays, year)
    assert [str(day) for day in holidays] == [
        "2020-01-01", "2020-01-20", "2020-02-17", "2020-04-10", "2020-05-25", "2020-07-03", "2020-09-07", "2020-11-26",
        "2020-12-25",
    ]  # fmt: skip
    assert [str(day) for day in clock.half_days("XNYS", "2020-01-01", "2020-12-31")] == ["2020-11-27", "2020-12-24"]
    assert len(year) == 253


def test_half_day_closes_at_one_in_new_york():
    closes = clock.session_closes("XNYS", days("2020-11-25", "2020-11-27", "2020-07-02"))
    assert [clock.show(t)[11:16] for t in closes] == ["21:00", "18:00", "20:00"]
    opens = clock.session_opens("XNYS", days("2020-11-27"))
    assert clock.show(opens[0]) == "2020-11-27T14:30:00Z"


@pytest.mark.parametrize(("day", "kind"), [("2020-12-25", "holiday"), ("2020-12-26", "weekend")])
def test_a_day_without_a_session_is_refused(day, kind):
    with pytest.raises(TimeError, match=rf"1 of 2 are not, the first is {day} \(a {kind}\)"):
        clock.session_closes("XNYS", days("2020-12-24", day))


def test_unknown_calendar_is_refused_with_the_nearest():
    with pytest.raises(UnknownName, match="XNYS"):
        clock.sessions("NYSEX", "2020-01-01", "2020-02-01")


@pytest.mark.parametrize("calendar", ["24/7", "24/5"])
def test_calendars_that_never_close_need_no_package(calendar):
    code = (
        "import sys, numpy as np; from longshort import clock;"
        f"d = clock.next_sessions({calendar!r}, '2021-01-01', 3); clock.session_closes({calendar!r}, d);"
        "assert 'exchange_calendars' not in sys.modules and 'pandas' not in sys.modules; print(*d)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert out == (
        ["2021-01-02", "2021-01-03", "2021-01-04"] if calendar == "24/7" else ["2021-01-04", "2021-01-05", "2021-01-06"]
    )


def test_next_sessions_begin_after_the_instant():
    close = int(clock.session_closes("XNYS", days("2021-03-31"))[0])
    assert str(clock.next_sessions("XNYS", close, 1)[0]) == "2021-04-01"
    assert str(clock.next_sessions("XNYS", close - 1, 1)[0]) == "2021-03-31"
    assert str(clock.next_sessions("XNYS", "2021-03-31", 1)[0]) == "2021-04-01"
    assert len(clock.next_sessions("XNYS", "2021-03-31", 300)) == 300
    assert len(clock.next_sessions("XNYS", "2021-03-31", 0)) == 0


def test_next_sessions_beyond_today_are_known():
    ahead = clock.next_sessions("XNYS", clock.now_ns(), 5)
    assert (np.diff(ahead) > np.timedelta64(0)).all()


@pytest.mark.parametrize(
    ("zone", "stamp", "hours"),
    [
        ("America/New_York", "2021-03-14T06:59", -5),  # the clocks go forward at 07:00 UTC
        ("America/New_York", "2021-03-14T07:00", -4),
        ("America/New_York", "2021-11-07T05:59", -4),
        ("America/New_York", "2021-11-07T06:00", -5),
        ("Europe/London", "2021-03-28T01:00", 1),
        ("Australia/Sydney", "2021-01-01T00:00", 11),
        ("Asia/Kolkata", "2021-06-01T00:00", 5.5),
        ("Pacific/Apia", "2011-12-29T00:00", -10),
        ("Pacific/Apia", "2011-12-31T00:00", 14),  # Samoa skipped the day between
        ("America/Sao_Paulo", "2018-12-01T00:00", -2),
    ],
)
def test_offsets_where_the_clocks_change(zone, stamp, hours):
    time = np.array([np.datetime64(stamp, "ns")]).astype(np.int64)
    assert clock.utc_offsets(time, zone)[0] == hours * clock.HOUR


def test_local_dates_agree_with_the_standard_library_over_a_year_of_hours():
    time = (
        np.arange(np.datetime64("2021-01-01", "h"), np.datetime64("2022-01-01", "h"))
        .astype("datetime64[ns]")
        .astype(np.int64)
    )
    from zoneinfo import ZoneInfo

    expected = [
        np.datetime64(datetime.datetime.fromtimestamp(int(t) // 10**9 - 1, ZoneInfo("America/New_York")).date())
        for t in time
    ]
    assert (clock.local_dates(time, "XNYS") == np.array(expected)).all()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2020-02-03", {"day": np.datetime64("2020-02-03")}),
        (datetime.date(2020, 2, 3), {"day": np.datetime64("2020-02-03")}),
        (datetime.datetime(2020, 2, 3), {"day": np.datetime64("2020-02-03")}),
        (np.datetime64("2020-02-03"), {"day": np.datetime64("2020-02-03")}),
        (np.datetime64("2020-02-03T21:00"), {"ns": 1580763600 * 10**9}),
        ("2020-02-03T16:00-05:00", {"ns": 1580763600 * 10**9}),
        ("2020-02-03 21:00Z", {"ns": 1580763600 * 10**9}),
        (datetime.datetime(2020, 2, 3, 21, tzinfo=datetime.UTC), {"ns": 1580763600 * 10**9}),
        (1580763600 * 10**9, {"ns": 1580763600 * 10**9}),
    ],
)
def test_moments_are_read_from_what_people_write(given, expected):
    moment = clock.as_moment(given)
    assert {"ns": moment.ns, "day": moment.day} == {"ns": None, "day": None} | expected


def test_a_pandas_timestamp_keeps_its_nanoseconds():
    import pandas as pd

    assert clock.as_moment(pd.Timestamp("2020-02-03T21:00:00.123456789", tz="UTC")).ns == 1580763600123456789


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("2020-02-30", "is not a date"),
        ("03/02/2020", "is not a date"),
        ("2020-02-03 16:00", "no offset"),
        (datetime.datetime(2020, 2, 3, 16), "no time zone"),
        (np.datetime64("NaT"), "NaT"),
        (1580763600, "looks like seconds: multiply by 1_000_000_000"),
        (1580763600000, "looks like milliseconds: multiply by 1_000_000"),
        (True, "was True"),
        (None, "was None"),
        (2020.5, "float"),
    ],
)
def test_moments_that_are_none_are_refused(given, message):
    with pytest.raises(TimeError, match=message):
        clock.as_moment(given)


@pytest.mark.parametrize("size", ["5min", "1 h", "0m", "-1m", "1.5h", "day", "", 5, None])
def test_bar_sizes_that_are_none_are_refused(size):
    with pytest.raises(InputError, match="bar size"):
        clock.bar_size_ns(size)


@pytest.mark.parametrize(
    ("steps", "size"),
    [
        ([1, 1, 3, 1], "1D"),
        ([7, 7, 7], "1W"),
        ([31, 28, 31, 30], "1M"),
        ([1 / 24] * 4, "1h"),
        ([1 / 24 / 12] * 4, "5m"),
    ],
)
def test_bar_size_is_the_most_frequent_spacing(steps, size):
    assert clock.infer_bar_size(np.cumsum([0, *(round(s * clock.DAY) for s in steps)])) == size


def test_simulated_clock_does_not_go_back():
    watch = clock.SimulatedClock(10)
    watch.sleep_until(20)
    watch.sleep_until(15)
    assert watch.now() == 20
    with pytest.raises(TimeError, match="does not go back"):
        watch.advance(19)


def test_system_clock_waits():
    watch = clock.SystemClock()
    goal = watch.now() + 2_000_000
    watch.sleep_until(goal)
    assert watch.now() >= goal
