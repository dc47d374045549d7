"""Files that are no tables of bars: refused with line and column."""

import contextlib
import os
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longshort.bars import Bars, State
from longshort.data import check, load_bars
from longshort.data.tables import read_csv
from longshort.errors import DataError, InputError, LongshortError, NotEnoughData, PriceError, SourceError, TimeError

HEADER = "Date,Open,High,Low,Close,Volume"
ROWS = ["2020-11-24,10,11,9,10.5,100", "2020-11-25,10,11,9,10.6,200", "2020-11-27,10,11,9,10.7,300"]
GOOD = "\n".join([HEADER, *ROWS]) + "\n"


def changed(line, text):
    lines = GOOD.splitlines()
    lines[line - 1] = text
    return "\n".join(lines) + "\n"


def cell(value):
    return changed(3, f"2020-11-25,10,11,9,{value},200")


ACCEPTED = {
    "5 byte order mark": ("﻿" + GOOD).encode(),
    "9 mixed line ends": GOOD.replace("\n", "\r\n", 2).encode(),
    "10 no newline at the end": GOOD.rstrip("\n").encode(),
    "17 extra columns": "\n".join(
        line + ("," + ("note" if k == 0 else "x")) for k, line in enumerate(GOOD.splitlines())
    ).encode(),
    "18 names in another case": GOOD.replace(HEADER, " DATE , open,HIGH,Low , close,VOLUME").encode(),
    "empty lines at the end": (GOOD + "\n\n").encode(),
    "quoted cells": GOOD.replace("10.6", '"10.6"').encode(),
    "75 flat bar": changed(3, "2020-11-25,10,10,10,10,200").encode(),
    "76 no volume": changed(3, "2020-11-25,10,11,9,10.6,0").encode(),
    "78 fractional volume": changed(3, "2020-11-25,10,11,9,10.6,0.25").encode(),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_tables_that_are_well_formed_are_read(tmp_path, name):
    file = tmp_path / "a.csv"
    file.write_bytes(ACCEPTED[name])
    bars = load_bars("A", source="csv", path=file)
    assert len(bars) == 3
    assert bars["close"][[0, 2], 0].tolist() == [10.5, 10.7]


REFUSED = {
    "1 empty file": (b"", NotEnoughData, "it is empty"),
    "2 header only": (HEADER.encode(), NotEnoughData, "at least two rows of bars; it has 0"),
    "3 one row": (f"{HEADER}\n{ROWS[0]}\n".encode(), NotEnoughData, "it has 1"),
    "6 UTF-16": (GOOD.encode("utf-16"), DataError, "UTF-16 text: save it as UTF-8"),
    "7 Latin-1": (cell("10.6").replace("10.6", "10,6£").encode("latin-1"), DataError, "line 3: .*byte 0xa3"),
    "8 NUL": (cell("10\x00.6").encode(), DataError, "line 3: text should have no NUL"),
    "11 cut off": (
        GOOD[:-8].encode(), DataError,
        r"line 4: every row should have 6 cells like the header, but .* has 5 \(too short\)",
    ),
    "13 long row": (changed(3, ROWS[1] + ",7").encode(), DataError, r"line 3: .* has 7 \(too long\)"),
    "14 rows longer than the header": (
        GOOD.replace(HEADER, HEADER[:-7]).encode(), DataError,
        "line 2: .* 5 cells .* has 6",
    ),
    "15 a name twice": (GOOD.replace("High", "Open").encode(), InputError, "'open' appears 2 times"),
    "16 no high": (GOOD.replace("High", "Hi").encode(), InputError, "'high' is missing.*Did you mean 'hi'"),
    "no dates": (GOOD.replace("Date", "Day").encode(), InputError, "should have a column 'date'"),
    "no header": ("\n".join(ROWS).encode(), DataError, "line 1: the first line should name the columns"),
    "19 header again": (changed(3, HEADER).encode(), DataError, "line 3: the header appears again"),
    "20 comment": (changed(3, "# here it comes").encode(), DataError, "line 3: comments"),
    "20 comment first": (("# made by x\n" + GOOD).encode(), DataError, "line 1: the header should come first"),
    "21 quoted newline": (cell('"10\n.6"').encode(), DataError, "a cell should not span lines"),
    "quote not closed": (cell('"10.6').encode(), DataError, "line"),
    "empty line inside": (changed(3, "").encode(), DataError, "line 3: lines should not be empty"),
    "22 semicolons": (GOOD.replace(",", ";").encode(), DataError, "separator=';'"),
    "23 tabs": (GOOD.replace(",", "\t").encode(), DataError, r"separator='\\t'"),
    "25 columns without end": ((",".join(f"c{k}" for k in range(20_000)) + "\n").encode(), DataError, "20,000 columns"),
    "27 gzip": (b"\x1f\x8b\x08" + b"0" * 99, DataError, "a gzip file"),
    "28 zip": (b"PK\x03\x04" + b"0" * 99, DataError, "zip or Excel"),
    "41 pickle": (b"\x80\x04\x95" + b"0" * 99, DataError, "a pickle, which may run code"),
    "41 parquet": (b"PAR1" + b"0" * 99, DataError, "source='parquet'"),
    "46 unsorted": (
        "\n".join([HEADER, ROWS[1], ROWS[0], ROWS[2]]).encode(), TimeError,
        "row 1 .* comes after 2020-11-25",
    ),
    "47 duplicate": (changed(3, ROWS[0]).encode(), TimeError, "row 1 .* repeats"),
    "50 mixed zones": (
        changed(3, "2020-11-25T10:00Z,10,11,9,10.6,200").encode(), TimeError,
        "all have a time zone or none",
    ),
    "51 day or month": (
        changed(3, "11/25/2020,10,11,9,10.6,200").encode(), TimeError,
        "line 3, column 'Date'.*'11/25/2020'",
    ),
    "52 epoch": (changed(3, "1606262400,10,11,9,10.6,200").encode(), TimeError, "line 3, column 'Date'"),
    "55 holiday": (
        changed(4, "2020-11-26,10,11,9,10.7,300").encode(), TimeError,
        r"2020-11-26 \(a holiday\).*drop_closed",
    ),
    "56 weekend": (changed(4, "2020-11-28,10,11,9,10.7,300").encode(), TimeError, r"2020-11-28 \(a weekend\)"),
    "58 future": (changed(4, "2096-11-27,10,11,9,10.7,300").encode(), TimeError, "future|shorter span|not know"),
    "59 year 1": (changed(2, "0001-11-24,10,11,9,10.7,300").encode(), TimeError, "year 1|exist"),
    "61 no leap year": (changed(2, "2019-02-29,10,11,9,10.7,300").encode(), TimeError, "dates that exist"),
    "68 serial dates": (changed(3, "44160,10,11,9,10.6,200").encode(), TimeError, "'44160'"),
    "70 negative": (cell("-10.6").encode(), PriceError, "close was -10.6"),
    "72 zero": (cell("0").encode(), PriceError, "close was 0"),
    "73 low above high": (
        changed(3, "2020-11-25,10,9,11,10.6,200").encode(), PriceError,
        "low should not be above high",
    ),
    "77 negative volume": (
        changed(3, "2020-11-25,10,11,9,10.6,-2").encode(), PriceError,
        "Volume should not be negative",
    ),
    "80 currency": (cell('"$1,234.5"').encode(), PriceError, r"line 3, column 'Close'.*'\$1,234.5'.*without currency"),
    "81 decimal comma": (cell('"1.234,5"').encode(), PriceError, "a point for decimals"),
    "82 parentheses": (cell("(1.5)").encode(), PriceError, "minus sign"),
    "83 too large": (cell("1e400").encode(), PriceError, "line 3, column 'Close': .*'1e400' is too large"),
    "85 empty": (
        cell("").encode(), PriceError,
        "line 3, column 'Close': cells should not be empty, but 1 are.*missing='keep'",
    ),
    "85 N/A": (cell("N/A").encode(), PriceError, "Leave the cell empty"),
    "85 nan": (cell("NaN").encode(), PriceError, "Leave the cell empty"),
    "88 inf": (cell("inf").encode(), PriceError, "infinite"),
    "hexadecimal": (cell("0x1p3").encode(), PriceError, "Write the plain number"),
    "underscores": (cell("1_0").encode(), PriceError, "Write the plain number"),
    "other digits": (cell("१०").encode(), PriceError, "Write the plain number"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_files_that_are_no_tables_of_bars_are_refused(tmp_path, name):
    data, error, message = REFUSED[name]
    file = tmp_path / "a.csv"
    file.write_bytes(data)
    with pytest.raises(error, match=f"(?s){message}") as caught:
        load_bars("A", source="csv", path=file)
    assert str(tmp_path) not in str(caught.value), "messages name the file, not the machine's folders"
    report = check(file, calendar="XNYS")
    assert not report.ok, "check should see it too, without raising"


def test_empty_cells_are_missing_bars_when_told_so(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text(changed(3, "2020-11-25,,,,,"))
    bars = load_bars("A", source="csv", path=file, missing="keep")
    assert bars.state.ravel().tolist() == [0, 1, 0]


def test_declared_separators_are_used(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text(GOOD.replace(",", ";"))
    assert len(load_bars("A", source="csv", path=file, separator=";")) == 3


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX files")
def test_what_is_no_regular_file_is_refused(tmp_path):
    with pytest.raises(SourceError, match="There is no file"):
        read_csv(tmp_path / "none.csv")
    with pytest.raises(SourceError, match="it is a folder"):
        read_csv(tmp_path)
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(SourceError, match="no regular file"):
        read_csv(tmp_path / "pipe.csv")
    (tmp_path / "big.csv").write_text(GOOD)
    with pytest.raises(SourceError, match="at most 10 bytes, but it has"):
        read_csv(tmp_path / "big.csv", max_bytes=10)
    if os.geteuid():
        (tmp_path / "big.csv").chmod(0)
        with pytest.raises(SourceError, match="permissions"):
            read_csv(tmp_path / "big.csv")


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path, monkeypatch):
    from longshort.data import tables

    file = tmp_path / "a.csv"
    file.write_text(GOOD)
    regular = tables._regular

    def grows(*args):
        about = regular(*args)
        file.write_text(GOOD + "2020-11-30,10,11,9,10.7,300\n")
        return about

    monkeypatch.setattr(tables, "_regular", grows)
    with pytest.raises(SourceError, match="changed while it was read"):
        read_csv(file)


def test_a_folder_holds_a_file_per_symbol_and_no_links_out_of_it(tmp_path):
    folder = tmp_path / "prices"
    folder.mkdir()
    (folder / "KO.csv").write_text(GOOD)
    (folder / "PEP.csv").write_text("\n".join([HEADER, *ROWS[:2]]))
    (tmp_path / "secret.csv").write_text(GOOD)
    (folder / "OUT.csv").symlink_to(tmp_path / "secret.csv")
    with pytest.warns(match="PEP ends on 2020-11-25"):
        bars = load_bars(["KO", "PEP"], start="2020-11-24", end="2020-11-27", source="csv", path=folder)
    assert bars.shape == (3, 2)
    assert bars.state[2].tolist() == [0, 1]
    with pytest.raises(InputError, match="a link to somewhere else"):
        load_bars("OUT", source="csv", path=folder)
    with pytest.raises(LongshortError, match="A symbol should be"):
        load_bars("../secret", source="csv", path=folder)
    with pytest.raises(LongshortError, match=r"no KOO.csv. Did you mean 'KO'"):
        load_bars("KOO", source="csv", path=folder)


def test_one_file_with_many_symbols(tmp_path):
    lines = [f"{s},{row}" for s in ("KO", "PEP") for row in ROWS]
    file = tmp_path / "all.csv"
    file.write_text("\n".join(["Symbol," + HEADER, *lines]))
    bars = load_bars(["PEP", "KO"], source="csv", path=file)
    assert bars.symbols == ("PEP", "KO")
    with pytest.raises(LongshortError, match="no symbol 'PEEP'.*Did you mean 'PEP'"):
        load_bars("PEEP", source="csv", path=file)
    file.write_text(GOOD)
    with pytest.raises(InputError, match="should have a column 'symbol'"):
        load_bars(["KO", "PEP"], source="csv", path=file)


def test_parquet_is_read_and_its_faults_are_named(tmp_path):
    pd = pytest.importorskip("pandas")
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    (tmp_path / "a.csv").write_text(GOOD)
    frame = read_csv(tmp_path / "a.csv")
    expected = load_bars("A", source="csv", path=tmp_path / "a.csv")
    frame.to_parquet(tmp_path / "text.parquet")
    frame.set_axis(pd.DatetimeIndex(frame.index, name="date")).to_parquet(tmp_path / "stamps.parquet")
    for name in ("text", "stamps"):
        bars = load_bars("A", source="parquet", path=tmp_path / f"{name}.parquet")
        assert bars == expected
    whole = (tmp_path / "text.parquet").read_bytes()
    for name, data in {"cut": whole[:-10], "head": b"XXXX" + whole[4:-4] + b"XXXX", "empty": b""}.items():
        (tmp_path / f"{name}.parquet").write_bytes(data)
        with pytest.raises(DataError, match=f"{name}.parquet should be a parquet file"):
            load_bars("A", source="parquet", path=tmp_path / f"{name}.parquet")
    pq.write_table(pa.table({"date": ["2020-11-24"], "close": [[1.0]]}), tmp_path / "nested.parquet")
    with pytest.raises(DataError, match="'close' should be plain"):
        load_bars("A", source="parquet", path=tmp_path / "nested.parquet")


def test_csv_and_frame_give_the_same_bits(tmp_path):
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    close = 100 * np.exp(np.cumsum(0.01 * rng.standard_normal(200)))
    days = pd.bdate_range("2019-01-02", periods=200)
    days = days[
        [
            str(d)[:10] not in ("2019-01-21", "2019-02-18", "2019-04-19", "2019-05-27", "2019-07-04", "2019-09-02")
            for d in days
        ]
    ]
    close = close[: len(days)]
    frame = pd.DataFrame({"open": close, "high": close * 1.01, "low": close / 1.01, "close": close}, index=days)
    frame.rename_axis("date").to_csv(tmp_path / "a.csv")
    assert load_bars("A", source="csv", path=tmp_path / "a.csv") == Bars.from_pandas(frame, "A", calendar="XNYS")
    assert re.fullmatch("[0-9a-f]{64}", load_bars("A", source="csv", path=tmp_path / "a.csv").digest)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_are_read_right_or_refused(tmp_path, data):
    """Bytes changed, inserted and cut out at random: bars, or an error of ours; nothing else escapes."""
    text = bytearray(GOOD.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(text) - 1))
        how = data.draw(st.sampled_from(["change", "insert", "cut"]))
        byte = data.draw(st.sampled_from(list(b'0123456789-+.,;:"eE \n\r\t\x00T\xc3\xff#/')))
        if how == "change":
            text[place] = byte
        elif how == "insert":
            text.insert(place, byte)
        else:
            del text[place]
    file = tmp_path / "a.csv"
    file.write_bytes(text)
    with contextlib.suppress(LongshortError):
        bars = load_bars("A", source="csv", path=file)
        assert len(bars) >= 2
        assert np.isfinite(bars["close"][bars.state == State.OK]).all()  # another date may leave a gap
    check(file, calendar="XNYS")
