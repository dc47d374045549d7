"""Bars: frozen, validated, cut and joined without ever showing the future."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longshort import clock
from longshort.bars import Bars, State
from longshort.data.synthetic import random_walk
from longshort.errors import (
    HistoryChanged,
    InputError,
    NotEnoughData,
    PriceError,
    TimeError,
    UnknownName,
)

DAY = clock.DAY
T0 = int(np.datetime64("2020-01-01T21:00", "ns").astype(np.int64))


def bars_of(close, *, symbols="X", step=DAY, **more):
    close = np.asarray(close, float)
    return Bars.from_arrays(T0 + step * np.arange(len(close)), symbols, {"close": close}, **more)


def nyse(first="2020-11-02", last="2020-12-31", symbols=("A", "B"), seed=0):
    days = clock.sessions("XNYS", first, last)
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(0.01 * rng.standard_normal((len(days), len(symbols))), axis=0))
    fields = {"open": close * 0.99, "high": close * 1.02, "low": close * 0.98, "close": close, "volume": close * 1e4}
    return Bars(clock.session_closes("XNYS", days), symbols, fields, calendar="XNYS")


# -- frozen ------------------------------------------------------------------------------------------------------------


def test_nothing_can_be_changed():
    bars = nyse()
    with pytest.raises(AttributeError, match="frozen"):
        bars.calendar = "XLON"
    with pytest.raises(AttributeError, match="frozen"):
        del bars.time
    arrays = [
        bars.time,
        bars.split,
        bars.dividend,
        bars.state,
        bars.factor,
        bars.dates,
        bars["close"],
        bars.adjusted("close"),
    ]
    for array in [*arrays, bars.until("2020-12-01")["close"], bars.select("A")["close"], bars.split_factor]:
        with pytest.raises(ValueError, match="read-only"):
            array[0] = array[0]


def test_changing_what_they_were_made_from_changes_nothing():
    close = np.array([1.0, 2.0])
    bars = bars_of(close)
    close[0] = 9
    assert bars["close"][0, 0] == 1.0


def test_arrays_are_float64_in_c_order():
    close = np.asfortranarray(np.arange(1, 7, dtype=np.int32).reshape(3, 2))
    bars = Bars.from_arrays(T0 + DAY * np.arange(3), ["A", "B"], {"close": close, "volume": close[::1]})
    for name in bars.fields:
        assert bars[name].dtype == np.float64
        assert bars[name].flags.c_contiguous
    assert bars.select(["B"])["close"].flags.c_contiguous


def test_digest_tells_content_from_content():
    one, other = nyse(seed=1), nyse(seed=1)
    assert one.digest == other.digest
    assert one == other
    assert hash(one) == hash(other)
    close = np.array(one["close"])
    close[3, 1] = np.nextafter(close[3, 1], 0)
    fields = {name: one[name] for name in one.fields}
    assert Bars(one.time, one.symbols, {**fields, "close": close}, calendar="XNYS").digest != one.digest
    assert one.until("2020-12-01").digest != one.digest
    assert one != "bars"


def test_a_copy_is_equal():
    bars = nyse()
    assert copy.deepcopy(bars) == bars
    assert bars in {bars}


# -- refused -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.inf, -np.inf, 0.0, -1.0])
def test_prices_that_are_none_are_refused_with_their_place(value):
    with pytest.raises(PriceError, match=r"for B in row 1 \(2020-01-02T21:00:00Z\), 1 in all"):
        bars_of([[1, 2], [3, value]], symbols=["A", "B"])


def test_negative_volume_is_refused():
    with pytest.raises(PriceError, match="Volume should not be negative, but it was -5 for X in row 0"):
        Bars.from_arrays([T0], "X", {"close": [1.0], "volume": [-5]})


def test_low_above_high_is_refused():
    with pytest.raises(PriceError, match="low should not be above high, but they were 3 and 2"):
        Bars.from_arrays([T0], "X", {"close": [2.0], "high": [2.0], "low": [3.0]})


@pytest.mark.parametrize(
    "array", [np.array(["1.0", "2.0"]), np.array([True, False]), np.array([1, 2], np.float16), np.array([1j, 2j])]
)
def test_what_is_no_number_is_refused(array):
    with pytest.raises(PriceError, match="should hold numbers"):
        Bars.from_arrays(T0 + DAY * np.arange(2), "X", {"close": array})


def test_a_minus_zero_price_is_refused_and_denormals_are_not():
    with pytest.raises(PriceError, match="above zero"):
        bars_of([1.0, -0.0])
    assert bars_of([5e-324, 1e12])["close"].shape == (2, 1)


@pytest.mark.parametrize(
    ("time", "message"),
    [
        ([T0, T0], r"row 1 .* repeats the one before it; 1 rows in all.*drop_duplicates"),
        ([T0 + DAY, T0], "row 1 .* comes after 2020-01-02T21:00:00Z.*'sort'"),
        ([1577836800, 1577923200], "looks like seconds: multiply by 1_000_000_000"),
        ([1577836800_000, 1577923200_000], "looks like milliseconds"),
        ([1577836800_000_000, 1577923200_000_000], "looks like microseconds"),
        (np.array(["2020-01-01", "NaT"], "datetime64[s]"), "row 1 is NaT"),
        (np.array(["0001-01-01", "2020-01-01"], "datetime64[s]"), "year 1"),
        (np.array(["2020-01-01", "9999-01-01"], "datetime64[s]"), "row 1 is in the year 9999"),
        ([1.5, 2.5], "float64"),
        (["2020-01-01", "2020-01-02"], "bare date"),
        ([[T0, T0 + 1]], "shape"),
    ],
)
def test_stamps_that_are_none_are_refused(time, message):
    with pytest.raises(TimeError, match=message):
        Bars.from_arrays(time, "X", {"close": [1.0, 2.0]})


@pytest.mark.parametrize("symbol", ["", "../../x", "a/b", "A" * 65, "ÄPL", "A B", "A\x00", "..", "\u0410APL"])
def test_symbols_that_are_none_are_refused(symbol):
    with pytest.raises(InputError, match="A symbol should be"):
        bars_of([1.0], symbols=[symbol])


@pytest.mark.parametrize("symbol", ["BRK-B", "BF.B", "^VIX", "ES=F", "BTC-USD", "600519.SS", "EURUSD=X"])
def test_symbols_as_exchanges_write_them_are_taken(symbol):
    assert bars_of([1.0], symbols=symbol).symbols == (symbol,)


def test_shapes_and_names_are_checked():
    with pytest.raises(InputError, match=r"should have shape \(2, 1\).*was \(3, 1\)"):
        Bars.from_arrays(T0 + DAY * np.arange(2), "X", {"close": [1.0, 2, 3]})
    with pytest.raises(InputError, match="at least one field"):
        Bars.from_arrays([T0], "X", {})
    with pytest.raises(InputError, match="named 2 times"):
        bars_of([[1.0, 2.0]], symbols=["A", "A"])
    with pytest.raises(InputError, match="at least one symbol"):
        Bars.from_arrays([T0], [], {"close": [[]]})
    with pytest.raises(InputError, match="bar size"):
        bars_of([1.0], bar_size="5min")
    with pytest.raises(UnknownName, match="Did you mean 'close'"):
        bars_of([1.0])["Close"]
    with pytest.raises(UnknownName, match="Did you mean 'AAPL'"):
        bars_of([1.0], symbols="AAPL").select("APPL")
    with pytest.raises(InputError, match="State values"):
        bars_of([1.0], state=[9])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"split": [1, 0.0]}, "positive ratio"),
        ({"split": [1, -2.0]}, "positive ratio"),
        ({"split": [1, np.nan]}, "positive ratio"),
        ({"dividend": [0, -1.0]}, "zero or more"),
        ({"dividend": [0, 10.0]}, "A dividend should be less than the price before it, but X has 10 on 2020-01-02"),
        ({"split": [1, 2], "dividend": [0, 5.0]}, "less than the price"),
    ],
)
def test_actions_that_cannot_be_are_refused(more, message):
    with pytest.raises(PriceError, match=message):
        bars_of([10.0, 9.0], **more)


def test_days_name_sessions():
    days = np.array(["2020-11-25", "2020-11-27"], "datetime64[D]")
    bars = Bars.from_arrays(days, "X", {"close": [1.0, 2.0]}, calendar="XNYS")
    assert clock.show(bars.time[1]) == "2020-11-27T18:00:00Z"
    assert Bars.from_arrays(days, "X", {"close": [1.0, 2.0]}).dates.tolist() == days.tolist()
    with pytest.raises(TimeError, match="2020-11-26"):
        Bars.from_arrays(days - [0, 1], "X", {"close": [1.0, 2.0]}, calendar="XNYS")
    with pytest.raises(TimeError, match="repeats"):
        Bars.from_arrays(days[[0, 0]], "X", {"close": [1.0, 2.0]})


def test_other_mistakes_are_named():
    with pytest.raises(InputError, match="fields should be a mapping"):
        Bars.from_arrays([T0], "X", [1.0])
    empty = Bars.from_arrays([], "X", {"close": []}, calendar="XNYS")
    assert len(empty) == len(empty.resample("1W")) == len(empty.dates) == 0


# -- states ------------------------------------------------------------------------------------------------------------


def test_cells_without_a_price_are_unlisted_before_and_missing_after_the_first():
    bars = bars_of([[1, np.nan], [np.nan, np.nan], [2, 5], [3, np.nan]], symbols=["A", "B"])
    ok, missing, unlisted = State.OK, State.MISSING, State.UNLISTED
    assert bars.state.tolist() == [[ok, unlisted], [missing, unlisted], [ok, ok], [ok, missing]]
    assert "2 missing" in repr(bars)
    assert "2 unlisted" in repr(bars)


@given(st.lists(st.booleans(), min_size=1, max_size=12), st.integers(0, 11))
def test_the_state_of_a_row_does_not_depend_on_later_rows(there, cut):
    close = np.where(there, 1.0, np.nan)
    whole, part = bars_of(close), bars_of(close[: cut + 1])
    assert whole.state[: len(part)].tolist() == part.state.tolist()


# -- adjustment --------------------------------------------------------------------------------------------------------


def test_forward_adjusted_returns_are_what_a_holder_got():
    """One share at 100, a dividend of 2, a split 2:1: the holder has 2 shares at 49.98 and 2 in cash, reinvested."""
    bars = bars_of([100.0, 98.0, 49.0], dividend=[0, 2.0, 0], split=[1, 1, 2])
    returns = np.diff(bars.adjusted("close")[:, 0]) / bars.adjusted("close")[:-1, 0]
    assert returns == pytest.approx([98 / (100 - 2) - 1, 0.0], abs=1e-15)


def test_split_and_dividend_on_the_same_day_count_in_new_shares():
    bars = bars_of([100.0, 24.0], split=[1, 4], dividend=[0, 1.0])
    assert bars.adjusted("close")[1, 0] / 100 == pytest.approx(24 / (100 / 4 - 1))


def test_volume_is_counted_in_shares_of_the_first_bar():
    bars = Bars.from_arrays(T0 + DAY * np.arange(2), "X", {"close": [100.0, 50], "volume": [10.0, 20]}, split=[1, 2])
    assert bars.adjusted("volume").ravel().tolist() == [10, 10]


def test_actions_before_the_first_close_and_on_missing_rows():
    bars = bars_of([np.nan, 10.0, np.nan, 5.0], split=[3, 1, 2, 1])
    assert bars.factor.ravel().tolist() == [1, 1, 2, 2]


def test_later_actions_change_nothing_earlier():
    bars = nyse()
    split = np.ones(bars.shape)
    split[-1] = 4
    fields = {name: bars[name] for name in bars.fields}
    later = Bars(bars.time, bars.symbols, fields, split=split, calendar="XNYS")
    for name in bars.fields:
        assert np.array_equal(later.adjusted(name)[:-1], bars.adjusted(name)[:-1])


def test_back_adjusted_views_end_at_the_traded_price():
    bars = bars_of([100.0, 98.0, 49.0], dividend=[0, 2.0, 0], split=[1, 1, 2])
    total, split = bars.to_pandas(adjust="total")["close"], bars.to_pandas(adjust="split")["close"]
    assert total.tolist() == pytest.approx([49.0, 49.0, 49.0])
    assert split.tolist() == [50.0, 49.0, 49.0]
    assert bars.to_pandas(adjust="forward")["close"].tolist() == bars.adjusted("close").ravel().tolist()
    with pytest.raises(InputError, match="adjust"):
        bars.to_pandas(adjust="back")


def test_features_read_the_same_adjusted_prices_bit_for_bit():
    """The compiled interpreter has its own recursion for the factor; the definition is the same."""
    features = pytest.importorskip("longshort.features")
    from longshort.data import load_bars

    bars = load_bars(["AAPL", "AIG", "QQQ"], source="sample")
    assert np.array_equal(features.field("close").compute(bars), bars.adjusted("close"), equal_nan=True)


# -- cutting -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("t", "rows"),
    [
        ("2020-11-01", 0),
        ("2020-11-02", 1),
        (np.datetime64("2020-11-27"), 19),
        ("2020-11-27T18:00Z", 19),  # the half day is over
        ("2020-11-27T17:59:59Z", 18),
        ("2020-11-27T13:00-05:00", 19),
        ("2030-01-01", 42),
    ],
)
def test_until_shows_what_was_known(t, rows):
    assert len(nyse().until(t)) == rows


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 60), st.sampled_from(["scale", "nan", "permute", "cut"]))
def test_until_cannot_tell_what_comes_later(cut, how):
    bars = random_walk(60, ["A", "B"], seed=3)
    fields = {name: np.array(bars[name]) for name in bars.fields}
    rows = np.arange(cut, 60)
    for name, values in fields.items():
        if how == "scale":
            values[rows] *= 7
        elif how == "nan":
            values[rows] = np.nan
        elif how == "permute":
            values[rows] = values[rows[::-1]]
        fields[name] = values
    stop = cut if how == "cut" else 60
    split = np.ones((60, 2))
    split[cut:] = 2.0
    other = Bars(
        bars.time[:stop],
        bars.symbols,
        {n: v[:stop] for n, v in fields.items()},
        split=split[:stop],
        calendar="24/5",
        bar_size="1D",
    )
    if cut:
        t = int(bars.time[cut - 1])
        one, two = bars.until(t), other.until(t)
        assert one == two
        for name in bars.fields:
            assert one.adjusted(name).tobytes() == two.adjusted(name).tobytes()
            assert one.adjusted(name).tobytes() == bars.adjusted(name)[:cut].tobytes()


def test_since_is_the_rest_and_starts_its_factor_again():
    bars = bars_of([100.0, 50, 51], split=[1, 2, 1])
    rest = bars.since("2020-01-02")
    assert len(rest) == 2
    assert rest.factor.ravel().tolist() == [1, 1]
    assert bars.factor.ravel().tolist() == [1, 2, 2]


@given(st.integers(0, 20), st.integers(0, 20))
def test_until_and_since_split_the_rows(a, b):
    bars = random_walk(20, seed=1)
    t = int(bars.time[0]) + a * DAY + b
    assert len(bars.until(t - 1)) + len(bars.since(t)) == 20


# -- appending ---------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 30), st.integers(0, 30))
def test_pieces_appended_are_the_whole(cut, overlap):
    bars = random_walk(30, ["A", "B"], seed=5)
    old = bars.until(int(bars.time[cut - 1]))
    new = bars.since(int(bars.time[max(cut - overlap, 0)])) if cut - overlap < 30 else bars.until(0)
    joined = old.append(new)
    assert joined == bars
    assert joined.factor.tobytes() == bars.factor.tobytes()


def test_history_that_changed_is_refused_with_its_first_cell():
    bars = nyse()
    close = np.array(bars["close"])
    close[30, 1] *= 1.01
    fields = {name: bars[name] for name in bars.fields} | {"close": close}
    changed = Bars(bars.time, bars.symbols, fields, calendar="XNYS")
    with pytest.raises(HistoryChanged, match=rf"close of B on {bars.dates[30]} was .* and is now"):
        bars.append(changed)
    with pytest.raises(HistoryChanged, match="row that the new ones lack"):
        bars.append(
            Bars(
                np.delete(bars.time, 40),
                bars.symbols,
                {n: np.delete(bars[n], 40, 0) for n in bars.fields},
                calendar="XNYS",
            ).since("2020-12-01")
        )


def test_sessions_between_two_pieces_are_missing_bars(caplog):
    whole = nyse()
    old, new = whole.until("2020-11-20"), whole.since("2020-12-01")
    joined = old.append(new)
    np.testing.assert_array_equal(joined.time, whole.time)  # half a day after Thanksgiving, no session on it
    gap = (whole.dates > old.dates[-1]) & (whole.dates < new.dates[0])
    assert (joined.state[gap] == State.MISSING).all()
    assert (joined.state[~gap] == State.OK).all()
    assert np.isnan(joined["close"][gap]).all()
    assert (joined.split == 1).all()
    assert (joined.dividend == 0).all()
    assert f"{gap.sum()} sessions without a row became MISSING bars" in caplog.text
    assert len(old.append(new, gaps="keep")) == len(old) + len(new)
    with pytest.raises(UnknownName, match="gaps was 'no'"):
        old.append(new, gaps="no")


def test_a_weekend_or_a_holiday_between_two_pieces_is_no_gap(caplog):
    whole = nyse()
    for last in ("2020-11-20", "2020-11-25", "2020-12-24"):
        old = whole.until(last)
        assert old.append(whole.since(int(old.time[-1]) + 1)) == whole
    assert not caplog.records


def test_a_gap_before_the_first_bar_of_a_symbol_is_not_its_own():
    whole = nyse()
    values = {name: np.array(whole[name]) for name in whole.fields}
    for array in values.values():
        array[:, 1] = np.nan
    young = Bars(whole.time, whole.symbols, values, calendar="XNYS")
    joined = young.until("2020-11-20").append(young.since("2020-12-01"))
    assert set(joined.state[:, 1].tolist()) == {State.UNLISTED}


def test_bars_of_another_kind_are_not_appended():
    bars = nyse()
    with pytest.raises(InputError, match="symbols agree"):
        bars.append(bars.select("A"))
    with pytest.raises(InputError, match="calendar agree"):
        Bars(bars.time, bars.symbols, {"close": bars["close"]}).append(
            Bars(bars.time, bars.symbols, {"close": bars["close"]}, calendar="XNYS")
        )


def test_a_symbol_that_pauses_at_the_seam_is_missing_not_unlisted():
    bars = bars_of([1.0, np.nan, np.nan, 2.0])
    assert bars.until("2020-01-02").append(bars.since("2020-01-03")) == bars


# -- resampling --------------------------------------------------------------------------------------------------------


def test_weeks_are_known_at_the_close_of_their_last_session():
    bars = nyse("2020-11-02", "2020-12-30")
    weeks = bars.resample("1W")
    assert [str(day) for day in weeks.dates[:4]] == ["2020-11-06", "2020-11-13", "2020-11-20", "2020-11-27"]
    assert clock.show(weeks.time[3]) == "2020-11-27T18:00:00Z"  # half day
    assert str(weeks.dates[-1]) == "2020-12-24"  # Christmas was a Friday; the week of the 30th is not over
    first = bars.until("2020-11-06")
    assert weeks["open"][0].tolist() == first["open"][0].tolist()
    assert weeks["high"][0].tolist() == first["high"].max(axis=0).tolist()
    assert weeks["low"][0].tolist() == first["low"].min(axis=0).tolist()
    assert weeks["close"][0].tolist() == first["close"][-1].tolist()
    assert weeks["volume"][0].tolist() == first["volume"].sum(axis=0).tolist()
    assert [str(day) for day in bars.resample("1M").dates] == ["2020-11-30"]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 42), st.sampled_from(["1W", "1M"]), st.integers(0, 3))
def test_a_bar_that_is_forming_is_never_shown(cut, size, hole):
    """Resampling what was known at t gives the beginning of resampling everything, also with sessions missing."""
    bars = nyse()
    keep = np.setdiff1d(np.arange(len(bars)), [9, 18, 19][:hole])
    bars = Bars(bars.time[keep], bars.symbols, {n: bars[n][keep] for n in bars.fields}, calendar="XNYS")
    cut = min(cut, len(bars))
    whole = bars.resample(size)
    try:
        part = bars.until(int(bars.time[cut - 1])).resample(size)
    except NotEnoughData:
        part = None
    n = 0 if part is None else len(part)
    assert n == (whole.time <= bars.time[cut - 1]).sum()
    if part is not None:
        assert part == whole.until(int(part.time[-1]))


def test_minutes_become_five_minutes_counted_from_the_open_and_cut_at_the_close():
    opened = int(clock.session_opens("XNYS", np.array(["2020-11-27"], "datetime64[D]"))[0])
    minutes = 3 * 60 + 30  # a half day
    time = opened + clock.MINUTE * np.arange(1, minutes + 1)
    close = 1.0 + np.arange(minutes)
    bars = Bars(time, "X", {"open": close, "high": close, "low": close, "close": close}, calendar="XNYS")
    fives = bars.resample("5m")
    assert len(fives) == minutes // 5
    assert fives["close"].ravel().tolist() == close[4::5].tolist()
    assert fives["open"].ravel().tolist() == close[::5].tolist()
    hours = bars.resample("1h")
    assert [clock.show(t)[11:16] for t in hours.time] == ["15:30", "16:30", "17:30", "18:00"]
    day = bars.resample("1D")
    assert day.time[0] == time[-1]
    assert len(bars.until(int(time[-2])).resample("5m")) == minutes // 5 - 1
    with pytest.raises(NotEnoughData, match="before it is over"):
        bars.until(int(time[-2])).resample("1D")


def test_a_split_inside_a_week_puts_its_prices_into_the_shares_of_its_end():
    days = clock.sessions("XNYS", "2020-08-31", "2020-09-04")
    fields = {"open": [100.0, 100, 25, 25, 25], "high": [110.0, 100, 30, 25, 25], "low": [90.0, 99, 20, 25, 24]}
    fields |= {"close": [100.0, 100, 25, 25, 26], "volume": [1.0, 1, 4, 4, 4]}
    bars = Bars(
        clock.session_closes("XNYS", days),
        "X",
        fields,
        split=[1, 1, 4, 1, 1],
        dividend=[0, 2, 0, 0, 0],
        calendar="XNYS",
    )
    week = bars.resample("1W").row(0)
    expected = {"open": 25, "high": 30, "low": 20, "close": 26, "volume": 4 + 4 + 12, "split": 4, "dividend": 0.5}
    assert {name: week[name][0] for name in expected} == expected


def test_resampling_needs_to_know_the_sessions_and_a_longer_bar():
    with pytest.raises(InputError, match="calendar='XNYS'"):
        bars_of([1.0, 2.0]).resample("1W")
    with pytest.raises(InputError, match="longer bars"):
        nyse().resample("1h")
    with pytest.raises(InputError, match="multiple of 7m"):
        bars_of([1.0, 2, 3], step=7 * clock.MINUTE).resample("10m")
    assert nyse().resample("1D") == nyse()


# -- rows --------------------------------------------------------------------------------------------------------------


def test_a_row_is_what_a_feed_delivers():
    bars = nyse()
    row = bars.row(3)
    assert set(row) == {*bars.fields, "split", "dividend", "state", "time"}
    assert row["close"].tolist() == bars["close"][3].tolist()
    assert row["time"] == bars.time[3]
    assert "close" in bars
    assert "vix" not in bars
    assert bars.shape == (42, 2)


def test_they_show_themselves():
    bars = nyse()
    assert repr(bars).startswith("Bars(42 x 1D bars, 2020-11-02 .. 2020-12-31, 2 symbols: A, B; fields: open, high")
    page = bars._repr_html_()
    assert page.count("<tr>") >= 12
    assert "2020-12-31" in page
    assert repr(bars.until(0)).startswith("Bars(0 x 1D bars, 2 symbols")
    assert len(repr(random_walk(3, 500))) < 300


# ---------------------------------------------------------------------------------------------- actions of other bars


def hours(symbols, closes, **more):
    stamps = [f"{day}T{hour}:00" for day in ("2020-08-28", "2020-08-31", "2020-09-01") for hour in (15, 20)]
    return Bars.from_arrays(stamps, symbols, {"close": closes}, calendar="XNYS", bar_size="1h", **more)


def test_actions_of_daily_bars_take_effect_with_the_first_bar_of_their_session():
    days = ["2020-08-26T20:00", "2020-08-27T20:00", "2020-08-28T20:00", "2020-08-31T20:00", "2020-09-02T20:00"]
    daily = Bars.from_arrays(
        days,
        ["Y", "X"],
        {"close": [[50.0, 800.0], [50.0, 400.0], [50.0, 400.0], [49.0, 100.0], [49.0, 100.0]]},
        split=[[1, 1], [1, 2], [1, 1], [1, 4], [2, 1]],  # one before the intraday bars and one after them
        dividend=[[0, 0], [0, 0], [0, 0], [1, 0], [0, 0]],
        calendar="XNYS",
    )
    bars = hours(["X", "Y"], [[400, 50], [400, 50], [100, 49], [102, 49], [101, 49], [101, 49]]).with_actions(daily)
    assert bars.split[:, 0].tolist() == [1, 1, 4, 1, 1, 1]
    assert bars.dividend[:, 1].tolist() == [0, 0, 1, 0, 0, 0]
    np.testing.assert_allclose(bars.adjusted("close")[:, 0], [400, 400, 400, 408, 404, 404])
    np.testing.assert_allclose(bars.adjusted("close")[:, 1], 50.0)
    assert bars.until("2020-08-28").factor.tolist() == [[1, 1], [1, 1]]


def test_an_action_on_a_session_without_bars_takes_effect_with_the_next_one():
    daily = Bars.from_arrays(
        ["2020-08-28T20:00", "2020-08-31T20:00"], "X", {"close": [400.0, 100.0]}, split=[1, 4], calendar="XNYS"
    )
    bars = Bars.from_arrays(
        ["2020-08-28T20:00", "2020-09-01T14:00"], "X", {"close": [400.0, 101.0]}, calendar="XNYS", bar_size="1h"
    )
    assert bars.with_actions(daily).split.ravel().tolist() == [1, 4]


def test_actions_are_neither_counted_twice_nor_taken_from_strangers():
    own = hours("X", [4.0, 4, 2, 2, 2, 2], split=[1, 1, 2, 1, 1, 1])
    with pytest.raises(InputError, match="would count twice"):
        own.with_actions(own)
    with pytest.raises(UnknownName, match="no symbol 'Z'"):
        hours("Z", [4.0, 4, 2, 2, 2, 2]).with_actions(own)
    with pytest.raises(InputError, match="with_actions needs Bars"):
        hours("X", [4.0, 4, 2, 2, 2, 2]).with_actions({})
