"""Where bars come from: `load_bars` and one class per source.

A source is anything with `load(symbols, start, end, calendar) -> Bars`. `Sample` is in the package, `CsvFiles` and
`ParquetFiles` read tables, `Yahoo` (in `yahoo.py`) asks the web once and keeps what it was told.
"""

import json
import logging
import warnings
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from .. import clock
from ..bars import Bars, State
from ..errors import DataWarning, InputError, NotEnoughData, SourceError, UnknownName, did_you_mean
from .merging import merge

logger = logging.getLogger(__name__)

_SAMPLES = Path(__file__).parent / "samples"
_SAMPLE = "us_daily_1998_2021"


@runtime_checkable
class Source(Protocol):
    """What `load_bars` asks for data.

    `load` returns all rows it has from `start` to `end` (dates, both included, or None), at most; fewer when it has
    fewer.
    """

    def load(
        self, symbols: tuple[str, ...], start: np.datetime64 | None, end: np.datetime64 | None, calendar: str
    ) -> Bars:
        """Return the bars of the symbols, in this order."""
        ...


def load_bars(
    symbols: str | Sequence[str],
    start: Any = None,
    end: Any = None,
    source: "str | Source" = "yahoo",
    *,
    calendar: str = "XNYS",
    path: str | Path | None = None,
    cache: str | Path | None = None,
    **options: Any,
) -> Bars:
    """Load daily bars of one or more symbols.

    Parameters
    ----------
    symbols : str or sequence of str
        "AAPL", or ["AAPL", "SPY"]. Symbols with different histories are put on the union of their sessions.
    start, end : date or str, optional
        First and last session, both included. None: as far as the source goes.
    source : {"yahoo", "csv", "parquet", "sample"} or Source, default="yahoo"
        "sample" ships with the package: AAPL, SPY, IBM, BAC, AIG, GOOG, QQQ and IWM, 1998 to 2021-03-31.
    calendar : str, default="XNYS"
        Exchange whose sessions the dates are.
    path : str or Path, optional
        For "csv" and "parquet": a file, or a folder with one file per symbol (AAPL.csv).
    cache : str or Path, optional
        For "yahoo": folder for what was downloaded; the user's cache folder when left out.
    **options
        Passed to the source, for example ``refresh=True`` (Yahoo) or ``tz="UTC"`` (csv).

    Returns
    -------
    Bars
        Raw prices with splits and dividends beside them.

    Warns
    -----
    DataWarning
        When the source begins later or ends earlier than asked for.

    Examples
    --------
    >>> bars = load_bars("AAPL", start="2014-06-05", end="2014-06-10", source="sample")
    >>> bars["close"].ravel().tolist()  # as traded
    [647.35, 645.57, 93.7, 94.25]
    >>> bars.split.ravel().tolist(), bars.adjusted("close").ravel().round(2).tolist()  # as models read them
    ([1.0, 1.0, 7.0, 1.0], [647.35, 645.57, 655.9, 659.75])
    """
    if not isinstance(symbols, Iterable):
        raise InputError(f"symbols should be 'AAPL' or a list of such names; it was {symbols!r}.")
    names = (symbols,) if isinstance(symbols, str) else tuple(symbols)
    if not names:
        raise InputError("load_bars needs at least one symbol; there was none.")
    first = None if start is None else clock.as_date(start)
    last = None if end is None else clock.as_date(end)
    if first is not None and last is not None and first > last:
        raise InputError(f"start should not be after end; they were {first} and {last}.")
    origin = _source(source, path, cache, options)
    bars = _trimmed(origin.load(names, first, last, calendar))
    if not len(bars):
        raise NotEnoughData(
            f"There should be bars of {', '.join(names)} from {first or 'the beginning'} to {last or 'the end'}, but "
            "the "
            f"source {source if isinstance(source, str) else type(source).__name__} has none. Ask for other dates."
        )
    _warn_if_short(bars, first, last, calendar)
    return bars


def _source(source: "str | Source", path: Any, cache: Any, options: dict[str, Any]) -> "Source":
    if not isinstance(source, str):
        if options or path is not None or cache is not None:
            raise InputError("Options belong to the source object: give them to its constructor.")
        return source
    known = ("yahoo", "csv", "parquet", "sample")
    if source not in known:
        raise UnknownName(f"There is no source {source!r}. {did_you_mean(source, known)}")
    if source in ("csv", "parquet"):
        if path is None:
            raise InputError(f"source={source!r} needs path=, a file or a folder with one file per symbol.")
        options = {"path": path, **options}
    elif path is not None:
        raise InputError(f"path= is for source='csv' and 'parquet'; source was {source!r}.")
    if source == "yahoo":
        options = {"cache": cache, **options}
    elif cache is not None:
        raise InputError(f"cache= is for source='yahoo'; source was {source!r}.")
    try:
        if source == "sample":
            return Sample(**options)
        if source == "yahoo":
            from .yahoo import Yahoo

            return Yahoo(**options)
        return (CsvFiles if source == "csv" else ParquetFiles)(**options)
    except TypeError as error:
        raise InputError(f"source={source!r} does not take these options: {error}.") from error


def _trimmed(bars: Bars) -> Bars:
    """Cut rows without any bar off both ends."""
    rows = np.flatnonzero((bars.state == State.OK).any(axis=1))
    if not len(rows):
        return bars.until(0) if len(bars) else bars
    if rows[0] == 0 and rows[-1] == len(bars) - 1:
        return bars
    return bars.since(int(bars.time[rows[0]])).until(int(bars.time[rows[-1]]))


def _warn_if_short(bars: Bars, first: np.datetime64 | None, last: np.datetime64 | None, calendar: str) -> None:
    """Say once where the source has less than asked for."""
    short = []
    for j, symbol in enumerate(bars.symbols):
        days = bars.dates[bars.state[:, j] == State.OK]
        if not len(days):
            short.append(f"{symbol} has no bars at all")
            continue
        if first is not None and _any_session(calendar, first, days[0] - 1):
            short.append(f"{symbol} begins on {days[0]} (asked for {first})")
        if last is not None and _any_session(calendar, days[-1] + 1, min(last, _yesterday())):
            short.append(f"{symbol} ends on {days[-1]} (asked for {last})")
    if short:
        more = f" and {len(short) - 4} more" if len(short) > 4 else ""
        text = "; ".join(short[:4]) + more
        warnings.warn(
            f"The source has less than asked for: {text}. What exists is returned.", DataWarning, stacklevel=3
        )


def _yesterday() -> np.datetime64:
    return np.datetime64(clock.now_ns(), "ns").astype("datetime64[D]") - 1


def _any_session(calendar: str, first: np.datetime64, last: np.datetime64) -> bool:
    if last < first:
        return False
    days = np.arange(first, min(last, first + 60) + 1)
    weekdays = sum(str(day)[5:] not in ("01-01", "12-25") for day in days[np.is_busday(days)])
    if calendar == "24/7" or weekdays > 6:  # no exchange is closed for that long, so the calendar need not be built
        return True
    return weekdays > 0 and len(clock.sessions(calendar, first, last)) > 0


# ---------------------------------------------------------------------------------------------------------------------
# The sample


class Sample:
    """The data in the package: eight US symbols, daily, 1998-01-02 to 2021-03-31, raw with splits and dividends.

    From QuantConnect/Lean (Apache-2.0), unchanged but for the form; `samples/us_daily_1998_2021.json` lists its known
    defects, and `check` finds them.

    Examples
    --------
    >>> Sample().load(("QQQ",), None, np.datetime64("2004-12-02")).select("QQQ")["close"][-3:].ravel().tolist()
    [39.13, nan, nan]
    """

    def load(
        self, symbols: tuple[str, ...], start: np.datetime64 | None, end: np.datetime64 | None, calendar: str = "XNYS"
    ) -> Bars:
        """Return the bars of the symbols on all sessions of the sample that lie in the span."""
        about, arrays = _read_sample()
        for symbol in symbols:
            if symbol not in about["symbols"]:
                raise UnknownName(
                    f"The sample has no {symbol!r}, only {', '.join(about['symbols'])}. "
                    "Load others with source='yahoo' or from files."
                )
        if calendar != about["calendar"]:
            raise InputError(f"The sample follows the calendar {about['calendar']!r}; calendar was {calendar!r}.")
        columns = [about["symbols"].index(symbol) for symbol in symbols]
        time = arrays["time"]
        dates = clock.local_dates(time, about["calendar"])
        rows = slice(
            0 if start is None else int(np.searchsorted(dates, start)),
            len(dates) if end is None else int(np.searchsorted(dates, end, side="right")),
        )
        fields: dict[str, np.ndarray] = {}
        for field in ("open", "high", "low", "close", "volume"):
            stored = arrays[field][rows][:, columns]
            values = stored / about["price_scale"] if field != "volume" else stored.astype(np.float64)
            fields[field] = np.where(arrays["close"][rows][:, columns] == 0, np.nan, values)
        split, dividend = np.ones((len(time), len(about["symbols"]))), np.zeros((len(time), len(about["symbols"])))
        cells = arrays["action_cell"].T
        split[cells[0], cells[1]] = arrays["action_split"]
        dividend[cells[0], cells[1]] = arrays["action_dividend"]
        return Bars(
            time[rows],
            symbols,
            fields,
            split=split[rows][:, columns],
            dividend=dividend[rows][:, columns],
            calendar=about["calendar"],
            bar_size=about["bar_size"],
            source=f"sample {about['name']}",
        )


@lru_cache(maxsize=1)
def _read_sample() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    import hashlib

    from safetensors.numpy import load

    about = json.loads((_SAMPLES / f"{_SAMPLE}.json").read_text())
    data = (_SAMPLES / f"{_SAMPLE}.safetensors").read_bytes()
    if hashlib.sha256(data).hexdigest() != about["sha256"]:
        raise SourceError(
            "The sample in the package is damaged: its SHA-256 is not the recorded one. Reinstall longshort."
        )
    return about, load(data)


# ---------------------------------------------------------------------------------------------------------------------
# Files


class CsvFiles:
    """Text tables; see `read_csv` for what is accepted.

    Parameters
    ----------
    path : str or Path
        One file, or a folder with a file per symbol, named like AAPL.csv.
    tz, adjusted, bar_size, stamps, gaps
        As in `Bars.from_pandas`.
    **reading
        As in `read_csv`: separator, missing, max_bytes.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "KO.csv"
    >>> _ = file.write_text("date;open;high;low;close\\n2020-01-02;54;55;53;54.5\\n2020-01-03;54;55;53;54.9\\n")
    >>> load_bars("KO", source=CsvFiles(file, separator=";"))["close"].ravel().tolist()
    [54.5, 54.9]
    """

    ending = "csv"

    def __init__(
        self,
        path: str | Path,
        tz: str | None = None,
        adjusted: str | bool | None = None,
        bar_size: str | None = None,
        stamps: str = "end",
        gaps: str = "missing",
        **reading: Any,
    ):
        self.path, self.tz, self.adjusted, self.bar_size = path, tz, adjusted, bar_size
        self.stamps, self.gaps, self.reading = stamps, gaps, reading

    def load(
        self, symbols: tuple[str, ...], start: np.datetime64 | None, end: np.datetime64 | None, calendar: str
    ) -> Bars:
        """Return the bars of the symbols."""
        root = Path(self.path)
        if root.is_dir():
            parts = {
                name: Bars.from_pandas(self._read(_file_of(root, name, self.ending)), name, **self._how(calendar))
                for name in symbols
            }
            bars = merge(parts)
        else:
            frame = self._read(root)
            named = next((c for c in frame.columns if str(c).lower() in ("symbol", "ticker")), None)
            if named is None and len(symbols) > 1:
                raise InputError(
                    f"{root.name} should have a column 'symbol' to hold {len(symbols)} symbols; its columns are "
                    f"{', '.join(map(str, frame.columns))}. Give a folder with one file per symbol."
                )
            if named is not None:
                there = list(dict.fromkeys(frame[named].astype(str)))
                for name in symbols:
                    if name not in there:
                        raise UnknownName(f"{root.name} has no symbol {name!r}. {did_you_mean(name, there)}")
                frame = frame[frame[named].astype(str).isin(symbols)]
            bars = Bars.from_pandas(
                frame, next(iter(symbols)) if named is None else None, **self._how(calendar)
            ).select(symbols)
        bars = bars if start is None else bars.since(start)
        return bars if end is None else bars.until(end)

    def _how(self, calendar: str) -> dict[str, Any]:
        return {
            "tz": self.tz, "calendar": calendar, "adjusted": self.adjusted, "bar_size": self.bar_size,
            "stamps": self.stamps, "gaps": self.gaps, "source": f"{self.ending} {Path(self.path).name}",
        }  # fmt: skip

    def _read(self, path: Path) -> Any:
        from .tables import read_csv

        return read_csv(path, **self.reading)


class ParquetFiles(CsvFiles):
    """Parquet tables (the extra `longshort[parquet]`): one file, or a folder with a file per symbol.

    Examples
    --------
    >>> ParquetFiles("prices").ending
    'parquet'
    """

    ending = "parquet"

    def _read(self, path: Path) -> Any:
        from .tables import read_parquet

        return read_parquet(path, **self.reading)


def _file_of(root: Path, symbol: str, ending: str) -> Path:
    from .._panel.arrays import check_symbol

    check_symbol(symbol)
    path = root / f"{symbol}.{ending}"
    if not path.is_file():
        there = sorted(p.stem for p in root.glob(f"*.{ending}"))
        raise UnknownName(f"The folder {root.name} has no {path.name}. {did_you_mean(symbol, there)}")
    if root.resolve() not in path.resolve().parents:
        raise InputError(f"{path.name} should lie in the folder {root.name}, but it is a link to somewhere else.")
    return path
