"""Tables on disk, read strictly: what is no table of bars is refused with line and column of the first fault."""

import csv
import io
import logging
import math
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError, InputError, NotEnoughData, PriceError, SetupError, SourceError, TimeError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

MAX_BYTES = 2**31
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_DAY = re.compile(r"\d{4}-\d\d-\d\d([T ].*)?", re.ASCII)
_TIMES = ("date", "datetime", "timestamp", "time")
_SYMBOLS = ("symbol", "ticker")
_PRICES = ("open", "high", "low", "close")
_KNOWN = (*_PRICES, "volume", "adj_close", "dividends", "stock_splits", "split", "dividend")
_MAGIC = {
    b"PAR1": "a parquet file: use source='parquet'",
    b"PK\x03\x04": "a zip or Excel file: save the sheet as CSV",
    b"\x1f\x8b": "a gzip file: unpack it first",
    b"\x89HDF": "an HDF5 file: save the table as CSV",
    b"\x80\x04": "a pickle, which may run code: save the table as CSV",
    b"\x80\x05": "a pickle, which may run code: save the table as CSV",
    b"ARROW1": "a feather file: save it as parquet",
    b"\xff\xfe": "UTF-16 text: save it as UTF-8",
    b"\xfe\xff": "UTF-16 text: save it as UTF-8",
}


def read_csv(
    path: str | Path, *, separator: str = ",", missing: str = "refuse", max_bytes: int = MAX_BYTES
) -> "pd.DataFrame":
    """Read a CSV file of bars strictly.

    Parameters
    ----------
    path : str or Path
        UTF-8 text with a header: a date or time column first, open, high, low, close, and what else there is. Names may
        differ in case and spaces ("Adj Close").
    separator : str, default=","
        Between the cells.
    missing : {"refuse", "keep"}, default="refuse"
        Whether an empty cell is an error or NaN.
    max_bytes : int
        Larger files are refused.

    Returns
    -------
    DataFrame
        Numbers as float64, indexed by the stamps as text, in the order of the file.

    Raises
    ------
    DataError
        With line and column of the first fault.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "ko.csv"
    >>> _ = file.write_text("Date,Open,High,Low,Close\\n2020-01-02,54,55,53,54.9\\n2020-01-03,54,55,53,1e400\\n")
    >>> read_csv(file)
    Traceback (most recent call last):
    longshort.errors.PriceError: ko.csv line 3, column 'Close': numbers should be finite, but '1e400' is too large.
    Correct the cell.
    """
    import pandas as pd

    file = Path(path)
    text = _text_of(_bytes_of(file, max_bytes), file.name)
    rows = _rows(text, separator, file.name)
    header = rows[0][1]
    names = _header(header, file.name, separator)
    time = next((names.index(name) for name in _TIMES if name in names), None)
    if time is None:
        raise InputError(
            f"{file.name} should have a column 'date', 'datetime', 'timestamp' or 'time'; its columns are "
            f"{', '.join(map(repr, header))}. Rename the one that holds the stamps."
        )
    if len(rows) < 3:
        raise NotEnoughData(f"{file.name} should have at least two rows of bars; it has {len(rows) - 1}.")
    for line, cells in rows[1:]:
        _check_row(line, cells, header, names, time, file.name)
    columns: dict[str, Any] = {}
    ignored = []
    for k, name in enumerate(names):
        if k == time:
            continue
        if name in _SYMBOLS:
            columns[name] = [cells[k].strip() for _, cells in rows[1:]]
        elif name in _KNOWN or _all_numbers(rows, k):
            columns[name] = _column(rows, k, header[k], file.name, missing)
        else:
            ignored.append(header[k])
    if ignored:
        logger.info("%s: columns without numbers are ignored: %s", file.name, ", ".join(map(repr, ignored)))
    index = pd.Index([cells[time].strip() for _, cells in rows[1:]], name="date", dtype=object)
    return pd.DataFrame(columns, index=index)


def read_parquet(path: str | Path, *, max_bytes: int = MAX_BYTES) -> "pd.DataFrame":
    """Read a parquet file of bars; only plain columns of numbers, text and times are accepted.

    Examples
    --------
    >>> read_parquet("nowhere.parquet")
    Traceback (most recent call last):
    longshort.errors.SourceError: There is no file nowhere.parquet. Check the path.
    """
    file = Path(path)
    _regular(file, max_bytes)
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise SetupError("Reading parquet needs pyarrow: pip install 'longshort[parquet]'.") from error

    try:
        table = pq.read_table(file)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{file.name} should be a parquet file, but it cannot be read: {_first_line(error)}") from error
    for column in table.schema:
        plain = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if pa.types.is_nested(plain) or isinstance(plain, pa.BaseExtensionType) or pa.types.is_binary(plain):
            raise DataError(
                f"{file.name}: column {column.name!r} should be plain, but its type is {column.type}. Drop it."
            )
    frame = table.to_pandas(ignore_metadata=True)
    return frame.rename(columns={"__index_level_0__": "date"})


def _bytes_of(file: Path, max_bytes: int) -> bytes:
    before = _regular(file, max_bytes)
    try:
        with open(file, "rb") as handle:
            data = handle.read(max_bytes + 1)
            after = os.fstat(handle.fileno())
    except OSError as error:
        raise SourceError(f"{file.name} cannot be read: {error.strerror or error}. Check its permissions.") from error
    if len(data) != before.st_size or (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
        raise SourceError(f"{file.name} changed while it was read. Wait until it is written, then read it again.")
    return data


def _regular(file: Path, max_bytes: int) -> os.stat_result:
    try:
        about = os.stat(file)
    except OSError as error:
        raise SourceError(f"There is no file {file.name}. Check the path.") from error
    if not stat.S_ISREG(about.st_mode):
        kind = "a folder" if stat.S_ISDIR(about.st_mode) else "no regular file"
        raise SourceError(f"{file.name} should be a file, but it is {kind}.")
    if about.st_size > max_bytes:
        raise SourceError(
            f"{file.name} should be at most {max_bytes:,} bytes, but it has {about.st_size:,}. Split it, or raise "
            "max_bytes."
        )
    return about


def _text_of(data: bytes, name: str) -> str:
    for magic, what in _MAGIC.items():
        if data.startswith(magic):
            raise DataError(f"{name} should be CSV text, but it is {what}.")
    if b"\x00" in data:
        line = data[: data.index(b"\x00")].count(b"\n") + 1
        raise DataError(f"{name} line {line}: text should have no NUL byte. The file is damaged or not CSV.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(
            f"{name} line {line}: text should be UTF-8, but byte {data[error.start]:#04x} is not. Save the file as "
            "UTF-8."
        ) from error


def _rows(text: str, separator: str, name: str) -> list[tuple[int, list[str]]]:
    """Return (line, cells) of all lines, the header first."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: list[tuple[int, list[str]]] = []
    blank = None
    try:
        for cells in reader:
            line = reader.line_num
            if not cells or (len(cells) == 1 and not cells[0].strip()):
                blank = blank or line
                continue
            if blank is not None and rows:
                raise DataError(f"{name} line {blank}: lines should not be empty between rows. Remove it.")
            if any("\n" in cell or "\r" in cell for cell in cells):
                raise DataError(f"{name} line {line}: a cell should not span lines. Is a quotation mark not closed?")
            rows.append((line, cells))
    except csv.Error as error:
        raise DataError(f"{name} line {reader.line_num}: not CSV: {error}.") from error
    if not rows:
        raise NotEnoughData(f"{name} should have a header and rows of bars; it is empty.")
    if len(rows[0][1]) > 10_000:
        raise DataError(f"{name} should be a table of bars; it has {len(rows[0][1]):,} columns.")
    return rows


def _header(header: list[str], file: str, separator: str) -> list[str]:
    from .._panel.frames import plain_name

    if header[0].lstrip().startswith("#"):
        raise DataError(f"{file} line 1: the header should come first, but the line is a comment. Remove it.")
    if len(header) == 1:
        other = next((mark for mark in (";", "\t", "|") if mark in header[0]), None)
        if other is not None:
            raise DataError(f"{file} seems to be separated by {other!r}. Pass separator={other!r}.")
    if _NUMBER.fullmatch(header[-1].strip()):
        raise DataError(f"{file} line 1: the first line should name the columns, but it holds numbers. Add a header.")
    names = [plain_name(cell) for cell in header]
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                f"{file}: every column should appear once, but {name!r} appears {names.count(name)} times."
            )
    for need in _PRICES:
        if need not in names:
            raise InputError(
                f"{file} should have the columns open, high, low and close, but {need!r} is missing; it has "
                f"{', '.join(map(repr, header[:12]))}. {did_you_mean(need, names)}"
            )
    return names


def _check_row(line: int, cells: list[str], header: list[str], names: list[str], time: int, file: str) -> None:
    if cells[0].lstrip().startswith("#"):
        raise DataError(f"{file} line {line}: comments have no place between bars. Remove the line.")
    if cells == header:
        raise DataError(f"{file} line {line}: the header appears again. Were two files joined? Keep one header.")
    if len(cells) != len(names):
        how = "short" if len(cells) < len(names) else "long"
        raise DataError(
            f"{file} line {line}: every row should have {len(names)} cells like the header, but this one has "
            f"{len(cells)} "
            f"(too {how}). Is the file cut off, or a decimal comma not quoted?"
        )
    stamp = cells[time].strip()
    if not _DAY.fullmatch(stamp):
        raise TimeError(
            f"{file} line {line}, column {header[time]!r}: stamps should look like 2020-02-03 or "
            "2020-02-03T16:00-05:00, but "
            f"it was {stamp!r}. Convert the column first; 03/02 does not say what is day and what is month."
        )


def _all_numbers(rows: list[tuple[int, list[str]]], k: int) -> bool:
    return all(_NUMBER.fullmatch(cells[k].strip()) for _, cells in rows[1:])


def _column(rows: list[tuple[int, list[str]]], k: int, title: str, file: str, missing: str) -> list[float]:
    values = []
    empty = []
    for line, cells in rows[1:]:
        cell = cells[k].strip()
        if not cell:
            empty.append(line)
            values.append(math.nan)
            continue
        if not _NUMBER.fullmatch(cell):
            raise PriceError(
                f"{file} line {line}, column {title!r}: expected a number, but it was {cell!r}. {_advice(cell)}"
            )
        value = float(cell)
        if math.isinf(value):
            raise PriceError(
                f"{file} line {line}, column {title!r}: numbers should be finite, but {cell!r} is too large. Correct "
                "the cell."
            )
        values.append(value)
    if empty and missing != "keep":
        raise PriceError(
            f"{file} line {empty[0]}, column {title!r}: cells should not be empty, but {len(empty)} are. "
            "Correct them, or pass missing='keep' to read them as missing bars."
        )
    return values


def _advice(cell: str) -> str:
    if cell.lower() in ("nan", "na", "n/a", "none", "null", "-", "--", "#n/a"):
        return "Leave the cell empty and pass missing='keep' if the bar is missing."
    if cell.lower().lstrip("+-") in ("inf", "infinity"):
        return "An infinite price is a fault of whoever wrote the file."
    if any(mark in cell for mark in "$€£%"):
        return "Write the plain number, without currency or percent signs."
    if "," in cell:
        return "Write the plain number, with a point for decimals and without separators for thousands."
    if cell.startswith("("):
        return "Write negative numbers with a minus sign; prices have none."
    return "Write the plain number."


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
