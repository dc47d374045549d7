"""load_bars and the sample in the package, against a second source of the same prices."""

import csv
import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from longshort.bars import Bars, State
from longshort.data import Source, check, load_bars
from longshort.errors import DataWarning, InputError, NotEnoughData, UnknownName

FILES = Path(__file__).parent / "files"
SYMBOLS = ["AAPL", "SPY", "IBM", "BAC", "AIG", "GOOG", "QQQ", "IWM"]


@pytest.fixture(scope="module")
def sample():
    return load_bars(SYMBOLS, source="sample")


def test_the_sample_is_what_it_says(sample):
    assert sample.shape == (5849, 8)
    assert [str(sample.dates[k]) for k in (0, -1)] == ["1998-01-02", "2021-03-31"]
    rows = {s: int((sample.state[:, j] == State.OK).sum()) for j, s in enumerate(sample.symbols)}
    assert rows == {
        "AAPL": 5849,
        "SPY": 5849,
        "IBM": 5849,
        "BAC": 5849,
        "AIG": 5849,
        "GOOG": 4183,
        "QQQ": 3964,
        "IWM": 5244,
    }
    assert sample["close"][0, 0] == 16.25  # the first row of the source file
    assert sample["volume"][0, 0] == 6315000


@pytest.mark.parametrize(("day", "ratio"), [("2000-06-21", 2), ("2005-02-28", 2), ("2014-06-09", 7), ("2020-08-31", 4)])
def test_the_splits_of_apple_take_effect_on_the_right_day(sample, day, ratio):
    splits = dict(zip(map(str, sample.dates), sample.split[:, 0], strict=True))
    assert splits[day] == ratio
    assert sum(value != 1 for value in splits.values()) == 4


def test_adjusted_returns_around_the_splits_are_those_of_another_source(sample):
    """us20: AAPL closes adjusted for splits and dividends, rounded to 0.001 USD, from skfolio's S&P 500 data set."""
    with open(FILES / "us20_aapl_split_days.csv", newline="") as file:
        rows = [(row["date"][:10], float(row["AAPL"])) for row in csv.DictReader(file)]
    adjusted = dict(zip(map(str, sample.dates), sample.adjusted("close")[:, 0], strict=True))
    compared = []
    for (before, old), (day, new) in zip(rows, rows[1:], strict=False):
        if np.datetime64(day) - np.datetime64(before) < np.timedelta64(5, "D"):
            allowed = (
                1e-2 if day < "2006" else 5e-4
            )  # in the early years the two sources close on different last trades
            assert adjusted[day] / adjusted[before] - 1 == pytest.approx(new / old - 1, abs=allowed), day
            compared.append(day)
    assert {"2000-06-21", "2005-02-28", "2014-06-09", "2020-08-31"} <= set(compared)
    assert len(compared) == 32


def test_a_dividend_of_apple_is_the_cash_that_was_paid(sample):
    """0.63 USD a share, ex on 2017-11-10, as Apple announced on 2017-11-02; 0.205 ex 2020-11-06."""
    paid = dict(zip(map(str, sample.dates), sample.dividend[:, 0], strict=True))
    assert paid["2017-11-10"] == pytest.approx(0.63, abs=0.002)
    assert paid["2020-11-06"] == pytest.approx(0.205, abs=0.002)


def test_check_sees_what_is_known_to_be_wrong_with_the_sample(sample):
    report = check(sample)
    (gap,) = report.of("gap")
    assert (gap.symbol, gap.count, gap.dates[0], gap.dates[-1]) == ("QQQ", 1588, "2004-12-01", "2011-03-22")
    (split,) = report.of("unadjusted_split")
    assert (split.symbol, split.dates) == ("GOOG", ("2014-04-03",))
    bad_ticks = {(issue.symbol, day) for issue in report.of("spike") for day in issue.dates}
    assert {("AAPL", "2009-09-21"), ("IBM", "2002-12-23"), ("IWM", "2008-09-19")} <= bad_ticks
    assert not {("SPY", "2020-03-12"), ("BAC", "2009-01-20"), ("AIG", "2008-09-16")} & bad_ticks, "the crises were real"
    assert {issue.symbol for issue in report.of("starts_late")} == {"GOOG", "QQQ", "IWM"}
    assert not report.ok
    assert "1,588 sessions without a bar" in repr(report)


def test_symbols_begin_with_their_first_bar_and_keep_their_gaps():
    goog = load_bars("GOOG", source="sample")
    assert str(goog.dates[0]) == "2004-08-19"
    assert (goog.state == State.OK).all()
    qqq = load_bars("QQQ", source="sample")
    assert (qqq.state == State.MISSING).sum() == 1588
    assert load_bars(["QQQ", "GOOG"], source="sample").symbols == ("QQQ", "GOOG")


def test_a_span_has_both_its_ends():
    bars = load_bars("AAPL", start="2014-06-06", end="2014-06-09", source="sample")
    assert [str(day) for day in bars.dates] == ["2014-06-06", "2014-06-09"]
    assert bars.split.ravel().tolist() == [1, 7]


@pytest.mark.parametrize(
    ("symbols", "start", "end", "message"),
    [
        ("AAPL", "2020-01-01", "2024-12-31", r"AAPL ends on 2021-03-31 \(asked for 2024-12-31\)"),
        ("AAPL", "1990-01-01", "2020-12-31", r"AAPL begins on 1998-01-02 \(asked for 1990-01-01\)"),
        ("GOOG", "2004-01-01", "2004-12-31", r"GOOG begins on 2004-08-19"),
        (["AAPL", "GOOG"], "2004-01-01", "2030-12-31", r"AAPL ends .*; GOOG begins .*; GOOG ends"),
    ],
)
def test_asking_for_more_than_there_is_gives_what_exists_and_one_warning(symbols, start, end, message):
    with pytest.warns(DataWarning, match=message) as caught:
        bars = load_bars(symbols, start=start, end=end, source="sample")
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert len(bars) > 50


@pytest.mark.parametrize(
    ("start", "end"), [("2010-01-01", "2020-12-31"), ("2011-01-01", "2021-03-31"), ("2020-12-25", "2021-01-03")]
)
def test_holidays_at_the_ends_are_no_reason_to_warn(start, end):
    assert len(load_bars("AAPL", start=start, end=end, source="sample"))


def test_the_sample_needs_neither_pandas_nor_a_calendar():
    code = (
        "import sys, longshort as ls; bars = ls.load_bars('AAPL', start='2010-01-01', end='2021-03-31', "
        "source='sample');"
        "bars.adjusted('close'); bars.dates; bars.digest; repr(bars);"
        "print([m for m in ('pandas', 'exchange_calendars', 'torch', 'matplotlib', 'scipy') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_wrong_requests_are_refused():
    with pytest.raises(UnknownName, match="only AAPL, SPY.*source='yahoo'"):
        load_bars("MSFT", source="sample")
    with pytest.raises(UnknownName, match="Did you mean 'yahoo'"):
        load_bars("AAPL", source="yahho")
    with pytest.raises(NotEnoughData, match="has none"):
        load_bars("AAPL", start="2021-05-01", end="2021-06-01", source="sample")
    with pytest.raises(NotEnoughData, match="has none"):
        load_bars("GOOG", end="2001-01-01", source="sample")
    with pytest.raises(InputError, match="start should not be after end"):
        load_bars("AAPL", start="2020-01-02", end="2020-01-01", source="sample")
    with pytest.raises(InputError, match="at least one symbol"):
        load_bars([], source="sample")
    with pytest.raises(InputError, match="it was None"):
        load_bars(None, source="sample")
    with pytest.raises(InputError, match="needs path="):
        load_bars("AAPL", source="csv")
    with pytest.raises(InputError, match="path= is for"):
        load_bars("AAPL", source="sample", path="x")
    with pytest.raises(InputError, match="cache= is for"):
        load_bars("AAPL", source="sample", cache="x")
    with pytest.raises(InputError, match="source='sample' does not take these options"):
        load_bars("AAPL", source="sample", tz="UTC")
    with pytest.raises(InputError, match="follows the calendar 'XNYS'"):
        load_bars("AAPL", source="sample", calendar="XLON")


def test_a_source_of_ones_own():
    class Flat:
        def load(self, symbols, start, end, calendar):
            return Bars(
                ["2020-01-02T21:00", "2020-01-03T21:00"], symbols, {"close": np.ones((2, 1))}, calendar=calendar
            )

    assert isinstance(Flat(), Source)
    assert load_bars("A", source=Flat())["close"].ravel().tolist() == [1, 1]
    with pytest.raises(InputError, match="belong to the source object"):
        load_bars("A", source=Flat(), path="x")


def test_the_sample_is_what_its_script_makes(tmp_path, monkeypatch):
    folder = os.environ.get("LONGSHORT_SHARED_DATA")
    data = Path(folder) if folder else Path(__file__).parents[3] / "shared" / "data"
    if not (data / "us_daily_raw_1998_2021.parquet").exists():
        pytest.skip("needs us_daily_raw_1998_2021.parquet in the folder LONGSHORT_SHARED_DATA")
    pytest.importorskip("pyarrow")
    spec = importlib.util.spec_from_file_location("make_sample", Path(__file__).parents[2] / "tools" / "make_sample.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    shipped = tool.TARGET
    monkeypatch.setattr(tool, "TARGET", tmp_path)
    tool.main(data)
    for file in tmp_path.iterdir():
        assert file.read_bytes() == (shipped / file.name).read_bytes(), file.name
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 1_100_000


def test_the_machines_time_zone_does_not_matter(monkeypatch):
    """Daily and intraday stamps over both changes of the clocks, on machines in four zones."""
    pd = pytest.importorskip("pandas")
    index = pd.date_range("2021-03-12 10:00", "2021-03-16", freq="h", tz="America/New_York")
    index = index.append(pd.date_range("2021-11-05 10:00", "2021-11-09", freq="h", tz="America/New_York"))
    frame = pd.DataFrame({"close": np.arange(1.0, len(index) + 1)}, index=index)
    digests = set()
    for zone in ("UTC", "America/New_York", "Asia/Kolkata", "Pacific/Apia"):
        monkeypatch.setenv("TZ", zone)
        if hasattr(time, "tzset"):
            time.tzset()
        bars = Bars.from_pandas(frame, "A", calendar="XNYS")
        daily = load_bars("AAPL", start="2021-03-01", end="2021-03-31", source="sample")
        digests.add((bars.digest, tuple(map(str, bars.dates)), daily.digest, tuple(map(str, daily.dates))))
    monkeypatch.undo()
    if hasattr(time, "tzset"):
        time.tzset()
    assert len(digests) == 1
