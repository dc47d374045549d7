"""clean: does what it is told, says what it did, never looks ahead."""

import json
import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longshort.bars import Bars, State
from longshort.data import check, clean, load_bars
from longshort.data.cleaning import _BARS, _TABLE
from longshort.data.synthetic import random_walk
from longshort.errors import InputError, TimeError, UnknownName

pd = pytest.importorskip("pandas")

TABLE = pd.DataFrame(
    {"close": [10.0, 11, 12, 13], "volume": [1.0, 2, 3, 4]},
    index=pd.DatetimeIndex(["2020-11-24", "2020-11-25", "2020-11-27", "2020-11-30"]),
)


def damaged(n=80, seed=1):
    bars = random_walk(n, ["A", "B"], seed=seed)
    fields = {name: np.array(bars[name]) for name in bars.fields}
    for name in ("open", "high", "low", "close"):
        fields[name][40, 0] *= 3  # a bad tick that is gone the next day
        fields[name][60:, 1] *= 3  # a new level that stays
    fields["volume"][50, 0] *= 1e6
    fields["high"][30, 1] = fields["close"][30, 1] * 0.9999
    fields["low"][30, 1] = np.minimum(fields["low"][30, 1], fields["high"][30, 1])
    fields["open"][20, 0] = np.nan
    return Bars(bars.time, bars.symbols, fields, calendar="24/5", bar_size="1D")


def test_nothing_is_done_unasked():
    with pytest.raises(InputError, match="does what it is told: name a repair. Known: .*mask_ohlc"):
        clean(damaged())
    with pytest.raises(UnknownName, match="no repair 'mask_ohcl' for bars. Did you mean 'mask_ohlc'"):
        clean(damaged(), "mask_ohcl")
    with pytest.raises(UnknownName, match="for a table"):
        clean(TABLE, "interpolate")
    good = random_walk(50, seed=0)
    for repair in ("drop_nan", "mask_ohlc", "mask_outliers", "mask_volume", "mask"):
        fixed, repairs = clean(good, repair)
        assert fixed == good
        assert repairs == ()


def test_every_repair_is_recorded_and_nothing_else_changes(caplog):
    bars = damaged()
    with caplog.at_level(logging.INFO, "longshort.data.cleaning"):
        fixed, repairs = clean(bars, "drop_nan", "mask_ohlc", "mask_outliers", "mask_volume")
    done = [(r.kind, r.symbol, r.row, r.field) for r in repairs]
    assert done == [
        ("drop_nan", "A", 20, "bar"),
        ("mask_ohlc", "B", 30, "bar"),
        ("mask_outliers", "A", 40, "bar"),
        ("mask_outliers", "B", 60, "bar"),
        ("mask_outliers", "B", 61, "bar"),
        ("mask_volume", "A", 50, "volume"),
    ]
    assert repairs[2].was == bars["close"][40, 0]
    assert repairs[2].date == str(bars.dates[40])
    assert json.loads(json.dumps(repairs[2].to_dict()))["now"] is None
    touched = {(r.row, bars.symbols.index(r.symbol)) for r in repairs}
    for i in range(len(bars)):
        for j in range(2):
            for name in bars.fields:
                if (i, j) not in touched:
                    assert fixed[name][i, j] == bars[name][i, j]
    assert fixed.state[40, 0] == State.MISSING
    assert fixed["close"][62, 1] == bars["close"][62, 1], "the new level is believed once three bars agree"
    assert np.isnan(fixed["volume"][50, 0])
    assert fixed["close"][50, 0] == bars["close"][50, 0]
    assert fixed.source.endswith("cleaned")
    assert "repaired" in caplog.text


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 80))
def test_a_longer_history_changes_no_repair(cut):
    bars = damaged()
    names = ("drop_nan", "mask_ohlc", "mask_outliers", "mask_volume")
    t = int(bars.time[cut - 1])
    whole, _ = clean(bars, *names)
    part, _ = clean(bars.until(t), *names)
    assert part == whole.until(t)


def test_nothing_is_filled_in():
    fixed, _ = clean(damaged(), "drop_nan", "mask_ohlc", "mask_outliers")
    assert np.isnan(fixed["close"][40, 0])
    assert not {"interpolate", "fill", "bfill", "ffill"} & ({*_BARS} | {*_TABLE})


def test_cells_of_a_report_can_be_masked():
    bars = load_bars(["AAPL", "IBM"], start="2009-09-01", end="2009-10-30", source="sample")
    report = check(bars)
    fixed, repairs = clean(bars, "mask", cells=report.of("spike"))
    assert [(r.symbol, r.date) for r in repairs] == [("AAPL", day) for day in report.of("spike")[0].dates]
    assert not check(fixed).of("spike")
    again, _ = clean(bars, "mask", cells=[("AAPL", "2009-09-21")])
    assert np.isnan(again["close"]).sum() == 1
    with pytest.raises(UnknownName, match="no symbol 'APPL'"):
        clean(bars, "mask", cells=[("APPL", "2009-09-21")])
    with pytest.raises(TimeError, match="no row on 2009-09-20; they reach from 2009-09-01"):
        clean(bars, "mask", cells=[("AAPL", "2009-09-20")])


def test_a_split_that_was_forgotten_is_added():
    goog = load_bars("GOOG", start="2014-03-03", end="2014-05-30", source="sample")
    assert check(goog).of("unadjusted_split")
    fixed, _ = clean(goog, "add_split", splits={("GOOG", "2014-04-03"): 2.0})
    assert check(fixed).ok
    with pytest.raises(InputError, match="positive ratio"):
        clean(goog, "add_split", splits={("GOOG", "2014-04-03"): 0})


@pytest.mark.parametrize(
    ("repair", "table", "rows"),
    [
        ("sort", TABLE.iloc[[1, 0, 2, 3]], [10, 11, 12, 13]),
        ("drop_duplicates", TABLE.iloc[[0, 1, 1, 2, 3]], [10, 11, 12, 13]),
        ("keep_last", pd.concat([TABLE.iloc[:2], TABLE.iloc[1:].add([0.5, 0])]), [10, 11.5, 12.5, 13.5]),
        ("drop_closed", pd.concat([TABLE, TABLE.iloc[[0]].set_axis([pd.Timestamp("2020-12-25")])]), [10, 11, 12, 13]),
        ("drop_nan", TABLE.assign(close=[10, np.nan, 12, 13]), [10, 12, 13]),
    ],
)
def test_tables_are_repaired(repair, table, rows):
    before = table.copy()
    fixed, repairs = clean(table, repair, calendar="XNYS")
    assert fixed["close"].tolist() == rows
    assert len(repairs) == (2 if repair == "sort" else 1)
    pd.testing.assert_frame_equal(table, before)
    assert len(Bars.from_pandas(fixed, "A", calendar="XNYS", gaps="keep")) == len(rows)


def test_rows_with_other_values_are_no_duplicates():
    table = pd.concat([TABLE, TABLE.iloc[[3]] + 1])
    fixed, repairs = clean(table, "drop_duplicates")
    assert len(fixed) == 5
    assert not repairs


def test_prices_below_zero_become_missing():
    fixed, repairs = clean(TABLE.assign(close=[10, -1.0, 0, 13]), "mask_not_positive", "drop_nan")
    assert fixed["close"].tolist() == [10, 13]
    assert [(r.kind, r.row, r.was) for r in repairs][:2] == [
        ("mask_not_positive", 1, -1.0),
        ("mask_not_positive", 2, 0.0),
    ]


def test_long_tables_are_repaired_symbol_by_symbol():
    long = pd.concat([TABLE.assign(symbol=s) for s in ("KO", "PEP")]).rename_axis("date").reset_index()
    shuffled = long.iloc[[1, 0, 2, 3, 4, 7, 6, 5]]
    fixed, repairs = clean(shuffled, "sort")
    assert fixed["close"].tolist() == long["close"].tolist()
    assert {r.symbol for r in repairs} == {"KO", "PEP"}


def test_wrong_uses_are_refused():
    with pytest.raises(InputError, match="calendar='XNYS'"):
        clean(TABLE, "drop_closed")
    with pytest.raises(InputError, match="Bars or a DataFrame; it was list"):
        clean([1], "sort")
    with pytest.raises(InputError, match="flat and long tables"):
        clean(pd.concat({"A": TABLE}, axis=1), "sort")
    with pytest.raises(InputError, match="limit > 0"):
        clean(damaged(), "mask_outliers", limit=0)
