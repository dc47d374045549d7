"""Tables as people have them: yfinance's shapes, stamps of every kind, actions that must not be applied twice."""

import datetime

import numpy as np
import pandas as pd
import pytest

from longshort import clock, features
from longshort.bars import Bars, State
from longshort.errors import DataError, InputError, NotEnoughData, PriceError, TimeError, UnknownName
from longshort.features.windows import Windows, broken_cells

OHLCV = ["Open", "High", "Low", "Close", "Volume"]


def table(dates, close=None, **columns):
    close = np.linspace(10, 11, len(dates)) if close is None else np.asarray(close, float)
    data = {
        "Open": close,
        "High": close * 1.01,
        "Low": close * 0.99,
        "Close": close,
        "Volume": np.full(len(close), 1000),
    }
    return pd.DataFrame(data | columns, index=dates)


SESSIONS = pd.DatetimeIndex(["2020-11-24", "2020-11-25", "2020-11-27", "2020-11-30"])
CLOSES = ["2020-11-24T21:00:00Z", "2020-11-25T21:00:00Z", "2020-11-27T18:00:00Z", "2020-11-30T21:00:00Z"]


def shown(bars):
    return [clock.show(t) for t in bars.time]


# -- stamps ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "index",
    [
        SESSIONS.tz_localize("America/New_York"),
        SESSIONS.tz_localize("America/New_York").tz_convert("UTC"),  # midnights all the same
        SESSIONS.as_unit("s").tz_localize("US/Eastern"),
        pd.Index([f"{day:%Y-%m-%d} 00:00:00-05:00" for day in SESSIONS]),
    ],
)
def test_new_york_midnights_are_sessions_of_new_york(index):
    bars = Bars.from_pandas(table(index), "A")
    assert shown(bars) == CLOSES
    assert bars.calendar == "XNYS"
    assert [str(d) for d in bars.dates] == [f"{d:%Y-%m-%d}" for d in SESSIONS]


@pytest.mark.parametrize(
    "index",
    [
        SESSIONS,
        pd.Index([f"{d:%Y-%m-%d}" for d in SESSIONS]),
        pd.Index([d.date() for d in SESSIONS]),
        SESSIONS.as_unit("ns"),
    ],
)
def test_naive_dates_are_sessions_of_the_named_calendar(index):
    assert shown(Bars.from_pandas(table(index), "A", calendar="XNYS")) == CLOSES
    assert shown(Bars.from_pandas(table(SESSIONS), "A", tz="America/New_York")) == CLOSES
    with pytest.raises(TimeError, match=r"calendar='XNYS'.*tz="):
        Bars.from_pandas(table(index), "A")


def test_a_single_new_york_midnight_is_a_session_too():
    assert shown(Bars.from_pandas(table(SESSIONS[:1].tz_localize("America/New_York")), "A")) == CLOSES[:1]
    five = pd.DatetimeIndex(["2020-11-24 05:00"], tz="UTC")  # one row in UTC could be anything: taken literally
    assert shown(Bars.from_pandas(table(five), "A")) == ["2020-11-24T05:00:00Z"]


def test_midnights_over_a_change_of_the_clocks():
    """Text with the offsets of winter and summer, as pandas writes it to csv."""
    index = pd.Index(["2021-03-11 00:00:00-05:00", "2021-03-12 00:00:00-05:00", "2021-03-15 00:00:00-04:00"])
    assert shown(Bars.from_pandas(table(index), "A"))[1:] == ["2021-03-12T21:00:00Z", "2021-03-15T20:00:00Z"]


def test_other_stamps_with_a_zone_are_taken_literally():
    index = pd.DatetimeIndex(["2020-11-24 15:30", "2020-11-24 15:35"], tz="America/New_York")
    bars = Bars.from_pandas(table(index), "A", calendar="XNYS")
    assert shown(bars) == ["2020-11-24T20:30:00Z", "2020-11-24T20:35:00Z"]
    assert bars.bar_size == "5m"
    assert Bars.from_pandas(table(index), "A").calendar is None


def test_stamps_of_starts_are_moved_to_the_ends_of_their_bars(caplog):
    index = pd.DatetimeIndex([f"2020-11-27 {t}" for t in ("09:30", "10:30", "11:30", "12:30")], tz="America/New_York")
    bars = Bars.from_pandas(table(index), "A", calendar="XNYS", stamps="start")
    assert [t[11:16] for t in shown(bars)] == ["15:30", "16:30", "17:30", "18:00"]  # a half day
    assert not caplog.records
    assert shown(Bars.from_pandas(table(index), "A", calendar="XNYS"))[0][11:16] == "14:30"
    assert "pass stamps='start'" in caplog.text
    assert shown(Bars.from_pandas(table(index), "A", stamps="start"))[-1][11:16] == "18:30"
    with pytest.raises(InputError, match="'start' or 'end'"):
        Bars.from_pandas(table(index), "A", stamps="left")


def test_naive_instants_need_a_zone():
    index = pd.DatetimeIndex(["2020-11-24 15:30", "2020-11-24 15:35"])
    with pytest.raises(TimeError, match="which time zone they are in"):
        Bars.from_pandas(table(index), "A")
    assert shown(Bars.from_pandas(table(index), "A", tz="UTC"))[0] == "2020-11-24T15:30:00Z"
    assert shown(Bars.from_pandas(table(index), "A", calendar="XNYS"))[0] == "2020-11-24T20:30:00Z"
    with pytest.raises(InputError, match="no time zone 'Neu York'"):
        Bars.from_pandas(table(index), "A", tz="Neu York")
    with pytest.raises(InputError, match="already have the zone"):
        Bars.from_pandas(table(index.tz_localize("UTC")), "A", tz="UTC")


def test_midnights_of_other_zones_need_the_exchange():
    days = pd.DatetimeIndex(["2020-11-24", "2020-11-25"])
    for zone, calendar, close in [
        ("UTC", "24/7", "2020-11-25T00:00:00Z"),
        ("Europe/London", "XLON", "2020-11-24T16:30:00Z"),
    ]:
        with pytest.raises(TimeError, match="depends on the exchange"):
            Bars.from_pandas(table(days.tz_localize(zone)), "A")
        assert shown(Bars.from_pandas(table(days.tz_localize(zone)), "A", calendar=calendar))[0] == close


@pytest.mark.parametrize(("stamp", "what"), [("2021-03-14 02:30", "2021-03-14"), ("2021-11-07 01:30", "2021-11-07")])
def test_local_times_that_do_not_exist_or_exist_twice_are_refused(stamp, what):
    index = pd.DatetimeIndex([f"{stamp[:10]} 00:30", stamp])
    with pytest.raises(TimeError, match=f"should exist exactly once.*{what}"):
        Bars.from_pandas(table(index), "A", tz="America/New_York")


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (pd.DatetimeIndex(["2020-11-24", "2020-11-24"]), "row 1 .* repeats"),
        (pd.DatetimeIndex(["2020-11-25", "2020-11-24"]), "row 1 .* comes after 2020-11-25"),
        (pd.DatetimeIndex(["2020-11-26", "2020-11-27"]), "2020-11-26 .a holiday"),
        (pd.DatetimeIndex(["2020-11-27", "2020-11-28"]), "2020-11-28 .a weekend"),
        (pd.DatetimeIndex(["2020-11-24", None]), "row 1 has none"),
        (pd.Index(["2020-11-24", "24/11/2020"]), "row 1 is '24/11/2020'.*which is day and which|row 1 is '24/11/2020'"),
        (pd.Index(["01/02/2020", "13/02/2020"]), "row 0 is '01/02/2020'"),
        (pd.Index(["2020-11-24T10:00Z", "2020-11-24T11:00"]), "row 0 is .* and row 1 is"),
        (pd.Index(["2019-02-29", "2019-03-01"]), "dates that exist"),
        (pd.Index([44159.0, 44160.0]), "they were numbers such as 44159"),
        (pd.Index([1606176000, 1606262400]), "looks like seconds"),
        (pd.PeriodIndex(["2020-11-24", "2020-11-25"], freq="D"), "to_timestamp"),
        (pd.DatetimeIndex(["2400-01-03", "2400-01-04"], dtype="datetime64[s]"), "year 2400"),
        (pd.RangeIndex(2), "index is 0 .. 1 and no column"),
    ],
)
def test_stamps_that_are_none_are_refused(index, message):
    with pytest.raises(TimeError, match=message):
        Bars.from_pandas(table(index), "A", calendar="XNYS")


def test_a_bar_that_is_still_forming_is_refused(monkeypatch):
    now = int(np.datetime64("2020-11-27T17:58", "ns").astype(np.int64))
    monkeypatch.setattr(clock, "now_ns", lambda: now)
    with pytest.raises(
        TimeError, match=r"2 of 4 are known only in the future: row 2 at 2020-11-27T18:00:00Z.*iloc\[:2\]"
    ):
        Bars.from_pandas(table(SESSIONS), "A", calendar="XNYS")
    assert len(Bars.from_pandas(table(SESSIONS[:2]), "A", calendar="XNYS")) == 2


def test_epoch_nanoseconds_are_utc():
    stamps = SESSIONS.tz_localize("UTC").as_unit("ns").asi8 + 21 * clock.HOUR
    assert shown(Bars.from_pandas(table(pd.Index(stamps)), "A"))[0] == CLOSES[0]


# -- columns and symbols -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names", [OHLCV, [n.lower() for n in OHLCV], [n.upper() for n in OHLCV], [f" {n} " for n in OHLCV]]
)
def test_names_of_columns_in_any_case(names):
    bars = Bars.from_pandas(table(SESSIONS).set_axis(names, axis=1), "A", calendar="XNYS")
    assert bars.fields == ("open", "high", "low", "close", "volume")


@pytest.mark.parametrize("order", [["Price", "Ticker"], ["Ticker", "Price"]])
def test_the_two_column_orders_of_yfinance(order):
    parts = {name: table(SESSIONS.tz_localize("America/New_York"), [k, 2, 3, 4]) for k, name in [(1, "KO"), (9, "PEP")]}
    frame = pd.concat(parts, axis=1, names=["Ticker", "Price"]).reorder_levels(order, axis=1)
    bars = Bars.from_pandas(frame)
    assert bars.symbols == ("KO", "PEP")
    assert bars["close"][0].tolist() == [1, 9]
    assert Bars.from_pandas(frame[[c for c in frame.columns if "KO" in c]]).symbols == ("KO",)


def test_a_long_table_becomes_a_panel_on_the_union_of_its_dates():
    ko, pep = table(SESSIONS[:3]).assign(symbol="KO"), table(SESSIONS[1:]).assign(symbol="PEP")
    frame = pd.concat([ko, pep]).rename_axis("Date").reset_index()
    bars = Bars.from_pandas(frame, calendar="XNYS")
    assert bars.shape == (4, 2)
    assert np.isnan(bars["close"]).tolist() == [[False, True], [False, False], [False, False], [True, False]]
    assert Bars.from_pandas(frame, "PEP", calendar="XNYS").symbols == ("PEP",)
    assert Bars.from_pandas(frame[frame["symbol"] == "PEP"], calendar="XNYS").shape == (3, 1)
    frame["symbol"] = frame["symbol"].astype("category")
    assert Bars.from_pandas(frame, calendar="XNYS") == bars
    assert Bars.from_pandas(frame.set_index(["symbol", "Date"]), calendar="XNYS") == bars
    with pytest.raises(InputError, match="Did you mean 'PEP'"):
        Bars.from_pandas(frame, "PEPP", calendar="XNYS")


def test_numbers_beside_the_prices_are_fields_and_text_is_not():
    bars = Bars.from_pandas(table(SESSIONS, VIX=[1.0, 2, 3, 4], note="x"), "A", calendar="XNYS")
    assert bars.fields[-1] == "vix"
    assert "note" not in bars


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda f: f.drop(columns="Close"), InputError, "need a column 'close'"),
        (lambda f: f.rename(columns={"Close": "Clse"}), InputError, "Did you mean 'clse'"),
        (lambda f: f.rename(columns={"Open": "CLOSE"}), InputError, "'close' appears 2 times"),
        (lambda f: f.iloc[:0], NotEnoughData, "at least one row"),
        (lambda f: f.astype({"Close": bool}), PriceError, "should hold numbers.*bool"),
        (lambda f: f.astype({"Close": np.float16}), PriceError, "float16"),
        (lambda f: f.astype({"Close": str}), PriceError, "row 0 .* is '10.0'"),
        (
            lambda f: f.assign(Close=pd.Series([10.0, "11", 12.0, 13.0], f.index, object)),
            PriceError,
            "row 1 .* is '11'",
        ),
        (lambda f: f.assign(Close=[10.0, np.inf, 12.0, 13.0]), PriceError, "close was inf"),
        (lambda f: f.assign(Close=[10.0, -1, 12.0, 13.0]), PriceError, "close was -1"),
        (lambda f: f.assign(Volume=-1), PriceError, "Volume"),
        (lambda f: f.assign(Low=100.0), PriceError, "low should not be above high"),
        (lambda f: f.assign(symbol=["A", None, "A", "A"]), InputError, "1 are empty"),
        (lambda f: pd.concat({"x": pd.concat({"y": f}, axis=1)}, axis=1), InputError, "3 levels"),
        (lambda f: pd.concat({"A": f[["Open"]]}, axis=1), InputError, "need a column 'close'"),
    ],
)
def test_tables_that_are_none_are_refused(change, error, message):
    with pytest.raises(error, match=message):
        Bars.from_pandas(change(table(SESSIONS)), calendar="XNYS")


def test_other_things_are_refused():
    with pytest.raises(InputError, match="DataFrame; it was list"):
        Bars.from_pandas([1, 2])
    with pytest.raises(InputError, match="adjusted should be"):
        Bars.from_pandas(table(SESSIONS), adjusted="both")


def test_missing_numbers_of_nullable_columns_stay_missing():
    frame = table(SESSIONS).astype("Float64")
    frame.iloc[1] = pd.NA
    bars = Bars.from_pandas(frame, "A", calendar="XNYS")
    assert bars.state.ravel().tolist() == [0, 1, 0, 0]


def test_what_was_written_is_read_back():
    bars = Bars.from_pandas(table(SESSIONS, split=[1, 2, 1, 1], dividend=[0, 0, 0.5, 0]), "A", calendar="XNYS")
    back = Bars.from_pandas(bars.to_pandas(), calendar="XNYS")
    assert back == bars
    two = Bars.from_pandas(pd.concat({"A": table(SESSIONS), "B": table(SESSIONS)}, axis=1), calendar="XNYS")
    assert Bars.from_pandas(two.to_pandas(), calendar="XNYS") == two


# -- actions -----------------------------------------------------------------------------------------------------------
# One market, five ways of writing it down: 100, then 98 ex 2, then 49 after a split 2:1, then 49.98. A holder gets
# 0 %, 0 % and 2 %.

TRUE = [0.0, 0.0, 0.02]
RAW = [100.0, 98.0, 49.0, 49.98]


def returns(bars):
    adjusted = bars.adjusted("close")[:, 0]
    return (adjusted[1:] / adjusted[:-1] - 1).round(9).tolist()


WAYS = {
    "raw with our own columns": (table(SESSIONS, RAW, split=[1, 1, 2, 1], dividend=[0, 2.0, 0, 0]), None),
    "raw with yfinance's columns, said so": (
        table(SESSIONS, RAW, **{"Stock Splits": [0, 0, 2.0, 0], "Dividends": [0, 2.0, 0, 0]}),
        "raw",
    ),
    "raw with adjusted close": (table(SESSIONS, RAW, **{"Adj Close": [49.0, 49.0, 49.0, 49.98]}), None),
    "yfinance auto_adjust=False": (
        table(SESSIONS, [50.0, 49, 49, 49.98], **{"Adj Close": [49.0, 49.0, 49.0, 49.98]}),
        None,
    ),
    "yfinance auto_adjust=False with actions": (
        table(
            SESSIONS,
            [50.0, 49, 49, 49.98],
            **{"Adj Close": [49.0, 49, 49, 49.98], "Dividends": [0, 1.0, 0, 0], "Stock Splits": [0, 0, 2.0, 0]},
        ),
        None,
    ),
    "yfinance auto_adjust=True": (table(SESSIONS, [49.0, 49, 49, 49.98]), None),
    "yfinance auto_adjust=True with actions": (
        table(SESSIONS, [49.0, 49, 49, 49.98], **{"Dividends": [0, 1.0, 0, 0], "Stock Splits": [0, 0, 2.0, 0]}),
        None,
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_holders_return_is_the_same_however_it_is_written_down(way):
    frame, adjusted = WAYS[way]
    bars = Bars.from_pandas(frame, "A", calendar="XNYS", adjusted=adjusted)
    assert returns(bars) == pytest.approx(TRUE, abs=1e-8)


def test_raw_prices_with_an_adjusted_close_show_split_and_dividend():
    bars = Bars.from_pandas(WAYS["raw with adjusted close"][0], "A", calendar="XNYS")
    assert bars.split.ravel().tolist() == [1, 1, 2, 1]
    assert bars.dividend.ravel() == pytest.approx([0, 2.0, 0, 0])


def test_a_special_dividend_of_a_tenth_is_no_split():
    """MSFT 2004-11-15: 3 USD on 29.97, adjusted by Yahoo to 0.9."""
    frame = table(SESSIONS, [29.97, 27.39, 27.1, 27.2], **{"Adj Close": [26.97, 27.39, 27.1, 27.2]})
    bars = Bars.from_pandas(frame, "MSFT", calendar="XNYS")
    assert (bars.split == 1).all()
    assert bars.dividend[1, 0] == pytest.approx(3.0)


def test_rounded_adjusted_prices_are_no_dividends():
    """A price in cents and an adjusted close rounded to cents: the ratio trembles, nothing is paid."""
    days = clock.sessions("XNYS", "2019-01-01", "2019-12-31")
    close = np.round(20 + np.sin(np.arange(len(days)) / 5), 2)
    adj = np.round(close * np.where(np.arange(len(days)) < 100, 0.95, 1.0), 2)
    bars = Bars.from_pandas(table(pd.DatetimeIndex(days), close, **{"Adj Close": adj}), "A", calendar="XNYS")
    assert np.flatnonzero(bars.dividend[:, 0]).tolist() == [100]
    assert bars.dividend[100, 0] == pytest.approx(0.05 * close[99], rel=0.02)


def test_an_adjusted_close_that_falls_behind_is_refused():
    frame = table(SESSIONS, [10.0, 10, 10, 10], **{"Adj Close": [10.0, 10, 9.5, 9.5]})
    with pytest.raises(PriceError, match=r"should only rise at dividends, but for A it falls by 5.000% on 2020-11-27"):
        Bars.from_pandas(frame, "A", calendar="XNYS")
    assert (Bars.from_pandas(frame, "A", calendar="XNYS", adjusted=True).dividend == 0).all()


# -- joining -----------------------------------------------------------------------------------------------------------


def market():
    return Bars.from_pandas(table(SESSIONS), "A", calendar="XNYS")


def test_a_value_is_known_from_the_moment_it_was_available():
    bars = market()
    at = pd.DatetimeIndex(CLOSES[1:3])
    series = pd.Series([1.0, 2.0], index=at, name="rate")
    assert bars.join(series, available_at="index")["rate"].ravel().tolist()[1:] == [1, 2, 2]
    late = bars.join(series, available_at=at + pd.Timedelta("1ns"))["rate"].ravel()
    assert np.isnan(late[:2]).all()
    assert late[2:].tolist() == [1, 2]
    assert np.isnan(bars.join(series, available_at="index + 1D")["rate"].ravel()[:2]).all()


def test_a_revision_replaces_when_it_is_published():
    frame = pd.DataFrame(
        {"gdp": [1.0, 1.5, 2.0], "published": pd.DatetimeIndex(["2020-11-24", "2020-11-30", "2020-11-26"], tz="UTC")}
    )
    assert market().join(frame, available_at="published", name="gdp")["gdp"].ravel().tolist() == [1.0, 1.0, 2.0, 1.5]


@pytest.mark.parametrize(
    ("series", "at", "error", "message"),
    [
        (pd.Series([1.0], [pd.Timestamp("2020-11-24")], name="x"), "index", TimeError, "which time zone"),
        (pd.Series([1.0], name="x"), None, TimeError, "became known"),
        (pd.Series([1.0], name="x"), ["2020-11-24T10:00Z", "2020-11-25T10:00Z"], InputError, "1 values, 2 stamps"),
        (pd.Series([1.0]), ["2020-11-24T10:00Z"], InputError, "needs a name"),
        (pd.Series(["a"], name="x"), ["2020-11-24T10:00Z"], PriceError, "should hold numbers"),
        (pd.Series([np.inf], name="x"), ["2020-11-24T10:00Z"], PriceError, "infinities"),
        (pd.Series([1.0], name="close"), ["2020-11-24T10:00Z"], InputError, "already have a field"),
        (pd.Series([1.0], name="x"), "published", InputError, "'index', 'index"),
        (
            pd.DataFrame({"a": [1.0], "b": [1.0]}),
            ["2020-11-24T10:00Z"],
            InputError,
            "one column of values, or one per symbol",
        ),
    ],
)
def test_series_that_cannot_be_joined_are_refused(series, at, error, message):
    with pytest.raises(error, match=message):
        market().join(series, available_at=at)


def test_other_bars_are_joined_by_their_own_stamps():
    bars, other = market(), Bars.from_pandas(table(SESSIONS, [5.0, 6, 7, 8]), "^VIX", calendar="XNYS")
    assert bars.join(other)["vix"].ravel().tolist() == [5, 6, 7, 8]
    with pytest.raises(InputError, match=r"select\(symbol\)"):
        bars.join(Bars.from_pandas(pd.concat({"P": table(SESSIONS), "Q": table(SESSIONS)}, axis=1), calendar="XNYS"))


def test_a_column_per_symbol_goes_to_its_symbol():
    bars = Bars.from_pandas(pd.concat({"A": table(SESSIONS), "B": table(SESSIONS)}, axis=1), calendar="XNYS")
    frame = pd.DataFrame({"B": [2.0], "A": [1.0]}, index=pd.DatetimeIndex(["2020-11-24T10:00Z"]))
    assert bars.join(frame, available_at="index", name="score")["score"][0].tolist() == [1, 2]


def test_joining_changes_nothing_earlier_when_later_values_come():
    bars = market()
    series = pd.Series([1.0, 2.0, 3.0], index=pd.DatetimeIndex(CLOSES[:3]), name="x")
    whole, part = bars.join(series, available_at="index"), bars.join(series.iloc[:2], available_at="index")
    assert whole.until(CLOSES[1]) == part.until(CLOSES[1])
    assert isinstance(DataError(), ValueError)
    assert datetime.date(2020, 11, 24) == bars.dates[0].item()


@pytest.mark.parametrize(
    ("index", "says"),
    [
        ([pd.Timestamp("2020-11-24", tz="UTC"), pd.Timestamp("2020-11-25")], "a time zone or none"),
        ([pd.Timestamp("2020-11-24"), pd.Timestamp("2020-11-25", tz="UTC")], "a time zone or none"),
        ([pd.Timestamp("2020-11-24", tz="UTC"), pd.Timestamp("2020-11-25", tz="Asia/Tokyo")], "the same time zone"),
        ([pd.Timestamp("2020-11-24", tz="Europe/Paris"), pd.Timestamp("2020-11-25", tz="UTC")], "the same time zone"),
        (["2020-11-24T16:00-05:00", "2020-11-25T16:00+09:00"], "the same time zone"),
    ],
)
def test_stamps_of_several_zones_are_refused(index, says):
    frame = table(pd.Index(index, dtype=object))
    with pytest.raises(TimeError, match=says):
        Bars.from_pandas(frame, "A", calendar="XNYS")


def test_offsets_of_summer_and_winter_are_one_zone():
    stamps = ["2020-10-30T16:00-04:00", "2020-11-02T16:00-05:00"]
    assert shown(Bars.from_pandas(table(pd.Index(stamps)), "A"))[1] == "2020-11-02T21:00:00Z"


DAYS = pd.DatetimeIndex(clock.sessions("XNYS", "2020-01-02", "2020-03-31"))


def test_sessions_without_a_row_are_missing_bars_and_told(caplog):
    bars = Bars.from_pandas(table(DAYS.delete(slice(20, 30))), "A", calendar="XNYS")
    assert bars.dates.tolist() == DAYS.date.tolist()
    np.testing.assert_array_equal(bars.time, clock.session_closes("XNYS", bars.dates))
    assert np.flatnonzero(bars.state[:, 0] == State.MISSING).tolist() == list(range(20, 30))
    assert np.isnan(bars["close"][20:30]).all()
    assert (bars.split == 1).all()
    assert (bars.dividend == 0).all()
    assert "10 sessions without a row became MISSING bars of XNYS, first 2020-01-31" in caplog.text


def test_sessions_without_a_row_can_be_left_out(caplog):
    bars = Bars.from_pandas(table(DAYS.delete(slice(20, 30))), "A", calendar="XNYS", gaps="keep")
    assert len(bars) == len(DAYS) - 10
    assert (bars.state == State.OK).all()
    assert not caplog.records
    with pytest.raises(UnknownName, match="gaps was 'fill'"):
        Bars.from_pandas(table(DAYS), "A", calendar="XNYS", gaps="fill")


def test_a_gap_longer_than_the_rest_is_a_gap_all_the_same():
    bars = Bars.from_pandas(table(DAYS.delete(slice(10, 55))), "A", calendar="XNYS")
    assert len(bars) == len(DAYS)
    assert (bars.state == State.MISSING).sum() == 45


@pytest.mark.parametrize(
    ("rows", "how"),
    [
        (DAYS, {}),
        (DAYS[DAYS.day_of_week == 4], {}),  # weekly
        (DAYS[::2], {}),  # every other day
        (DAYS[::21], {}),  # monthly, more or less
        (DAYS[DAYS.day_of_week < 3], {"bar_size": "1W"}),  # as the caller says
        (DAYS[[0, 9]], {}),  # two bars tell nothing
    ],
)
def test_rows_that_are_not_daily_are_kept_as_they_are(rows, how, caplog):
    assert len(Bars.from_pandas(table(rows), "A", calendar="XNYS", **how)) == len(rows)
    assert not caplog.records


def test_rows_outside_the_sessions_say_that_the_calendar_is_another():
    days = pd.date_range("2020-01-02T21:00Z", "2020-03-31T21:00Z").delete(range(40, 45))  # a coin never sleeps
    assert len(Bars.from_pandas(table(days), "BTC", calendar="XNYS")) == len(days)
    assert len(Bars.from_pandas(table(days), "BTC")) == len(days)  # no calendar: nobody knows
    assert len(Bars.from_pandas(table(days.normalize()), "BTC", calendar="24/7")) == len(days) + 5


def test_intraday_tables_keep_their_gaps():
    stamps = pd.date_range("2020-01-02T15:30Z", "2020-01-02T21:00Z", freq="30min").append(
        pd.date_range("2020-01-06T15:30Z", "2020-01-06T21:00Z", freq="30min")
    )
    assert len(Bars.from_pandas(table(stamps), "A", calendar="XNYS")) == len(stamps)


def test_a_session_that_no_symbol_has_is_missing_for_all_that_are_listed():
    one, two = table(DAYS.delete([4, 30])), table(DAYS[10:].delete([20]))
    long = pd.concat([one.assign(symbol="A"), two.assign(symbol="B")])
    bars = Bars.from_pandas(long, calendar="XNYS")
    assert len(bars) == len(DAYS)
    assert bars.state[[4, 30]].tolist() == [[State.MISSING, State.UNLISTED], [State.MISSING, State.MISSING]]


def test_no_window_and_no_return_reaches_over_an_absent_session():
    whole, holed = (Bars.from_pandas(table(rows), "A", calendar="XNYS") for rows in (DAYS, DAYS.delete([30])))
    feature = features.log_return()
    assert np.isnan(feature.compute(holed)[30:32]).all()
    windows = Windows.over(feature.compute(holed)[:, :, None].copy(), 5, broken_cells(holed))
    assert not set(range(30, 36)) & set(windows.rows.tolist())
    assert {29, 36} <= set(windows.rows.tolist())
    outcome = features.forward_log_return(1).compute(holed)
    assert np.isnan(outcome[[29, 30]]).all()
    assert np.isfinite(outcome[31])
    assert len(whole) == len(holed)
