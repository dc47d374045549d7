"""Yahoo Finance through yfinance, asked once: what it told is kept, and it may not tell another past later.

Yahoo scales old prices, volumes and dividends down at every split. Here they are put back to what was traded, so that
the stored history stays true when the next split comes, and the split stands in `split` where it belongs.

Every symbol has its snapshot, a folder of the cache: ``bars.safetensors`` and ``about.json`` under a manifest with
hashes. A request that a snapshot covers needs no network. Otherwise the history is downloaded again and must agree with
the snapshot; then the new rows are added to it.
"""

import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from .. import artifact, clock
from .._panel.arrays import check_symbol
from ..bars import Bars, State
from ..errors import ArtifactError, DataError, HistoryChanged, SetupError, SourceError, UnknownName

logger = logging.getLogger(__name__)

_KIND = "bars-snapshot"
_FIELDS = ("open", "high", "low", "close", "volume")
_TOLERANCE = 1e-6  # relative; Yahoo's numbers are float32
_VOLUME_TOLERANCE = 0.05  # volumes are corrected in the days after; what was told first is kept
_GRACE = 30 * clock.MINUTE  # after the close until a bar is believed to be final
_INSTEAD = "Meanwhile source='sample' works offline, and source='csv' reads files."


class Yahoo:
    """Daily bars from Yahoo Finance.

    Parameters
    ----------
    cache : str or Path, optional
        Folder of the snapshots; left out, a folder of the user's (LONGSHORT_CACHE moves it).
    refresh : bool, default=False
        Download again and accept whatever history is told now.
    timeout : float, default=10
        Seconds to wait for an answer.

    Examples
    --------
    >>> Yahoo(cache="downloads").cache.name
    'downloads'
    """

    def __init__(self, cache: str | Path | None = None, refresh: bool = False, timeout: float = 10.0):
        self.cache = cache_folder() / "yahoo" if cache is None else Path(cache)
        self.refresh, self.timeout = refresh, timeout

    def load(
        self, symbols: tuple[str, ...], start: np.datetime64 | None, end: np.datetime64 | None, calendar: str = "XNYS"
    ) -> Bars:
        """Return the bars of the symbols, from their snapshots where these cover the span."""
        from .merging import merge

        parts = {symbol: self._one(symbol, end, calendar) for symbol in symbols}
        bars = merge(parts)
        bars = bars if start is None else bars.since(start)
        return bars if end is None else bars.until(end)

    def _one(self, symbol: str, end: np.datetime64 | None, calendar: str) -> Bars:
        check_symbol(symbol)
        folder = self.cache / _folder_name(symbol)
        old = None if self.refresh else _read(folder, calendar)
        if old is not None and _covers(old, end, calendar):
            return old
        try:
            told = self._download(symbol, calendar)
        except SourceError as error:
            if old is None:
                raise
            last = old.dates[-1]
            raise SourceError(f"{error} The cache has {symbol} until {last}: ask for end='{last}'.") from error
        new = told if old is None else _continued(old, told, symbol)
        digest = _write(folder, new, symbol)
        logger.info("%s: %d bars until %s, snapshot %s", symbol, len(new), new.dates[-1], digest[:12])
        return new

    def _download(self, symbol: str, calendar: str) -> Bars:
        frame = _ask(symbol, self.timeout)
        frame = frame.rename(columns=lambda name: str(name).lower())
        if not len(frame) or "close" not in frame:
            raise SourceError(f"Yahoo has no prices for {symbol!r}. Check the ticker. {_INSTEAD}")
        labels = frame.index.tz_localize(None).to_numpy().astype("datetime64[D]")
        closes = clock.session_closes(calendar, labels)
        over = closes + _GRACE <= clock.now_ns()
        if not over.all():
            logger.info("%s: the bar of %s is still forming and is left out", symbol, labels[~over][0])
        if not over.any():
            raise SourceError(f"Yahoo has no finished bar for {symbol!r} yet. Try after the close.")
        raw = _as_traded(frame[list(_FIELDS)][over], frame["stock splits"][over], frame["dividends"][over])
        return Bars.from_pandas(raw, symbol, calendar=calendar, bar_size="1D", source="yahoo")


def cache_folder() -> Path:
    """Return the folder for things that can be downloaded again.

    Examples
    --------
    >>> os.environ["LONGSHORT_CACHE"] = "elsewhere"
    >>> cache_folder().name
    'elsewhere'
    >>> del os.environ["LONGSHORT_CACHE"]
    """
    if os.environ.get("LONGSHORT_CACHE"):
        return Path(os.environ["LONGSHORT_CACHE"])
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "longshort" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "longshort"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "longshort"


def _ask(symbol: str, timeout: float) -> Any:
    """Ask yfinance for the whole history and turn its many ways to fail into three errors."""
    try:
        import yfinance
        from yfinance.config import YfConfig
        from yfinance.exceptions import YFPricesMissingError, YFRateLimitError, YFTzMissingError
    except ImportError as error:
        raise SetupError(
            "source='yahoo' needs yfinance: pip install yfinance. source='sample' needs nothing."
        ) from error

    debug = YfConfig.debug
    hidden, debug.hide_exceptions = debug.hide_exceptions, False
    chatter = logging.getLogger("yfinance")  # what matters is raised, in one sentence
    level = chatter.level
    chatter.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():  # yfinance's own use of deprecated pandas calls
            warnings.simplefilter("ignore")
            return yfinance.Ticker(symbol).history(
                period="max", interval="1d", auto_adjust=False, actions=True, timeout=timeout
            )
    except YFRateLimitError as error:
        raise SourceError(
            f"Yahoo refuses to answer for {symbol!r} for now (429, too many requests). Wait an hour. {_INSTEAD}"
        ) from error
    except (YFPricesMissingError, YFTzMissingError) as error:
        raise UnknownName(f"Yahoo knows no prices for {symbol!r}: {error}. Check the ticker. {_INSTEAD}") from error
    except Exception as error:  # requests, curl_cffi and json each have their own; none of them is ours to know
        if getattr(getattr(error, "response", None), "status_code", None) == 404:
            raise UnknownName(f"Yahoo knows no prices for {symbol!r} (404). Check the ticker. {_INSTEAD}") from error
        kind = type(error).__name__
        raise SourceError(
            f"Yahoo cannot be reached for {symbol!r} ({kind}: {str(error)[:160]}). Check the connection. {_INSTEAD}"
        ) from error
    finally:
        debug.hide_exceptions = hidden
        chatter.setLevel(level)


def _as_traded(prices: Any, splits: Any, dividends: Any) -> Any:
    """Undo Yahoo's split adjustment: each row is multiplied by the splits that came after it."""
    ratio = np.where(splits.to_numpy(float) > 0, splits.to_numpy(float), 1.0)
    later = np.cumprod(ratio[::-1])[::-1] / ratio
    raw = prices.astype(np.float64)
    for name in ("open", "high", "low", "close"):
        raw[name] = raw[name] * later
    raw["volume"] = raw["volume"] / later
    raw["split"] = ratio
    raw["dividend"] = np.nan_to_num(dividends.to_numpy(float)) * later
    return raw


def _continued(old: Bars, told: Bars, symbol: str) -> Bars:
    """Return the snapshot followed by the new rows, or say what changed."""
    n = len(old)
    was_there, is_there = (bars.dates[bars.state[:, 0] == State.OK] for bars in (old, told))
    lacking = np.setdiff1d(was_there, is_there)
    added = np.setdiff1d(is_there[is_there <= old.dates[-1]], was_there)
    if len(lacking) or len(added) or not np.array_equal(told.time[:n], old.time):
        lines = [f"{len(lacking)} sessions are gone, first {lacking[0]}"] if len(lacking) else []
        lines += [f"{len(added)} sessions are new inside, first {added[0]}"] if len(added) else []
        raise HistoryChanged(_change_text(symbol, lines or ["the stamps of its sessions differ"]))
    lines = []
    for name in (*old.fields, "split", "dividend"):
        was = old[name] if name in old.fields else getattr(old, name)
        now = (told[name] if name in told.fields else getattr(told, name))[:n]
        with np.errstate(invalid="ignore"):
            tolerance = _VOLUME_TOLERANCE if name == "volume" else _TOLERANCE
            differ = ~(np.abs(now - was) <= tolerance * np.maximum(np.abs(was), 1e-3)) & ~(
                np.isnan(was) & np.isnan(now)
            )
        rows = np.flatnonzero(differ[:, 0])
        if len(rows):
            i = rows[0]
            lines.append(f"{name}: {len(rows)} rows, first {old.dates[i]}: was {was[i, 0]:.6g}, now {now[i, 0]:.6g}")
    if lines:
        raise HistoryChanged(_change_text(symbol, lines))
    if len(told) == n:
        return old
    more = {name: np.concatenate([old[name], told[name][n:]]) for name in old.fields}
    actions = {name: np.concatenate([getattr(old, name), getattr(told, name)[n:]]) for name in ("split", "dividend")}
    time = np.concatenate([old.time, told.time[n:]])
    return Bars(time, old.symbols, more, **actions, calendar=old.calendar, bar_size="1D", source="yahoo")


def _change_text(symbol: str, lines: list[str]) -> str:
    return (
        f"Yahoo now tells another past of {symbol} than the one in the cache: {'; '.join(lines)}. Results of before "
        "cannot "
        "be repeated with the new one. Keep the old by asking for its dates only, or accept the new with refresh=True."
    )


def _covers(bars: Bars, end: np.datetime64 | None, calendar: str) -> bool:
    """Return whether no finished session up to `end` is lacking after the snapshot's last one."""
    if end is not None and end <= bars.dates[-1]:
        return True
    today = np.datetime64(clock.now_ns(), "ns").astype("datetime64[D]")
    ahead = clock.sessions(calendar, bars.dates[-1] + 1, today if end is None else min(end, today))
    return not len(ahead) or int(clock.session_closes(calendar, ahead[:1])[0]) + _GRACE > clock.now_ns()


def _folder_name(symbol: str) -> str:
    """Return a folder name that no file system confuses with another: lower case, other characters as hex."""
    return "s-" + "".join(c if c.isdigit() or (c.isalpha() and c.islower()) else f".{ord(c):02x}" for c in symbol)


def _read(folder: Path, calendar: str) -> Bars | None:
    if not folder.exists():
        return None
    try:
        found = artifact.load(folder, _KIND, allow_nan=("bars",))
    except ArtifactError as error:
        raise DataError(
            f"A snapshot in the cache is damaged: {error} Delete the folder, or load with refresh=True."
        ) from error
    about, arrays = found.documents["about"], found.tensors["bars"]
    if about["calendar"] != calendar:
        raise DataError(
            f"The snapshot of {about['symbol']} follows the calendar {about['calendar']!r}; calendar was {calendar!r}. "
            "Use another cache folder, or refresh=True."
        )
    fields = {name: arrays[name] for name in _FIELDS}
    actions = {name: arrays[name] for name in ("split", "dividend")}
    time = arrays["time"]
    return Bars(time, about["symbol"], fields, **actions, calendar=calendar, bar_size="1D", source="yahoo")


def _write(folder: Path, bars: Bars, symbol: str) -> str:
    arrays = {name: bars[name] for name in _FIELDS} | {
        "time": bars.time,
        "split": bars.split,
        "dividend": bars.dividend,
    }
    about = {"symbol": symbol, "calendar": bars.calendar, "source": "yahoo", "content": bars.digest, "bars": len(bars)}
    tensors = {"bars": {name: np.array(array) for name, array in arrays.items()}}
    return artifact.save(folder, _KIND, tensors=tensors, documents={"about": about}, allow_nan=("bars",))
