"""Yahoo through the unmodified yfinance client, against a small server on this machine that speaks its protocol."""

import datetime
import json
import threading
import time
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from longshort import artifact, clock
from longshort.bars import Bars
from longshort.data import load_bars
from longshort.errors import DataError, HistoryChanged, InputError, SourceError, UnknownName

NEW_YORK = ZoneInfo("America/New_York")
DAYS = [str(day) for day in clock.sessions("XNYS", "2020-08-24", "2020-09-11")]


class Market:
    """What the exchange traded, and how Yahoo tells it: everything before a split divided by it."""

    def __init__(self, days=DAYS):
        self.days = list(days)
        self.close = np.array([500.0 + 2 * k for k in range(len(days))])
        self.volume = np.array([1e6 + 1000 * k for k in range(len(days))])
        self.splits: dict[str, float] = {}
        self.dividends: dict[str, float] = {}

    def split(self, day, ratio):
        row = self.days.index(day)
        self.close[row:] /= ratio
        self.volume[row:] *= ratio
        self.splits[day] = ratio

    def chart(self, symbol, until):
        n = sum(day <= until for day in self.days)
        later = np.ones(n)
        for day, ratio in self.splits.items():
            if day <= until:
                later[: self.days.index(day)] *= ratio
        close = self.close[:n] / later
        stamps = [
            int(datetime.datetime.fromisoformat(f"{day}T09:30").replace(tzinfo=NEW_YORK).timestamp())
            for day in self.days[:n]
        ]
        at = dict(zip(self.days, stamps, strict=False))
        quote = {
            "open": (close * 0.99).tolist(), "high": (close * 1.01).tolist(), "low": (close * 0.98).tolist(),
            "close": close.tolist(), "volume": (self.volume[:n] * later).round().astype(int).tolist(),
        }  # fmt: skip
        events = {
            "dividends": {
                str(at[d]): {"amount": cash / later[self.days.index(d)], "date": at[d]}
                for d, cash in self.dividends.items()
                if d in at
            },
            "splits": {
                str(at[d]): {"date": at[d], "numerator": ratio, "denominator": 1, "splitRatio": f"{ratio:g}:1"}
                for d, ratio in self.splits.items()
                if d in at
            },
        }  # fmt: skip
        meta = {
            "currency": "USD", "symbol": symbol, "exchangeName": "NMS", "instrumentType": "EQUITY",
            "firstTradeDate": stamps[0], "regularMarketTime": stamps[-1], "gmtoffset": -14400, "timezone": "EDT",
            "exchangeTimezoneName": "America/New_York", "regularMarketPrice": close[-1], "priceHint": 2,
            "dataGranularity": "1d", "range": "", "validRanges": ["1d", "5d", "max"],
        }  # fmt: skip
        result = {"meta": meta, "timestamp": stamps, "events": {k: v for k, v in events.items() if v}}
        result["indicators"] = {"quote": [quote], "adjclose": [{"adjclose": close.tolist()}]}
        return {"chart": {"result": [result], "error": None}}


class Server:
    def __init__(self):
        self.market, self.until, self.mode, self.asked = Market(), "2020-09-04", "tell", []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def answer(self, request):
        symbol = request.path.split("/chart/")[-1].split("?")[0]
        status, body = 200, b"a-crumb"
        if "/finance/" in request.path and "/chart/" not in request.path:
            return self.send(request, 404, b'{"quoteSummary": {"result": null, "error": {"code": "Not Found"}}}')
        if "/chart/" not in request.path:
            return self.send(request, 200, body)
        self.asked.append(symbol)
        if self.mode == "hang":
            time.sleep(3)
        if self.mode == "busy":
            status, body = 429, b"Too Many Requests"
        elif self.mode == "page":
            body = b"<html>consent</html>"
        elif symbol == "NONE" or self.mode == "none":
            error = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
            status, body = 404, json.dumps({"chart": {"result": None, "error": error}}).encode()
        else:
            body = json.dumps(self.market.chart(symbol, self.until)).encode()
        return self.send(request, status, body)

    def send(self, request, status, body):
        try:
            request.send_response(status)
            request.send_header("Content-Type", "application/json")
            request.send_header("Content-Length", str(len(body)))
            request.end_headers()
            request.wfile.write(body)
        except OSError:
            pass  # the client gave up


@pytest.fixture
def yahoo(monkeypatch, tmp_path):
    """A server that gets every request of yfinance, whatever host it is meant for: cookie, crumb and chart."""
    monkeypatch.setenv("YF_DISABLE_CURL_CFFI", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yfinance = pytest.importorskip("yfinance")
        from yfinance.data import YfData
    import requests

    server = Server()

    class ToHere(requests.adapters.HTTPAdapter):
        def send(self, request, **more):
            parts = urlsplit(request.url)
            request.url = f"{server.url}{parts.path}?{parts.query}"
            return super().send(request, **more)

    session = requests.Session()
    session.mount("https://", ToHere())
    session.mount("http://", ToHere())
    yfinance.set_tz_cache_location(str(tmp_path / "zones"))
    server.session = session
    client = YfData(session=session)
    client._cookie = client._crumb = None
    monkeypatch.setattr(clock, "now_ns", lambda: int(np.datetime64(server.until + "T22:00", "ns").astype(np.int64)))
    yield server
    server.http.shutdown()
    server.http.server_close()


@pytest.fixture
def load(yahoo, tmp_path):
    def load(symbols="KO", **options):
        return load_bars(symbols, cache=tmp_path / "cache", **options)

    return load


def test_prices_come_back_as_they_were_traded(yahoo, load):
    yahoo.market.split("2020-08-31", 4.0)
    yahoo.market.dividends["2020-08-28"] = 2.0
    bars = load()
    assert [str(day) for day in bars.dates] == DAYS[:10]
    assert clock.show(bars.time[0]) == "2020-08-24T20:00:00Z"
    assert bars["close"][:, 0] == pytest.approx(yahoo.market.close[:10], rel=1e-12)
    assert bars["volume"][:, 0] == pytest.approx(yahoo.market.volume[:10], rel=1e-6)
    assert bars.split[:, 0].tolist() == [1, 1, 1, 1, 1, 4, 1, 1, 1, 1]
    assert bars.dividend[4, 0] == pytest.approx(2.0)
    held = np.diff(np.log(bars.adjusted("close")[:, 0]))
    assert np.abs(held).max() < 0.01, "neither split nor dividend shows in what a holder got"


def test_what_is_in_the_cache_is_not_asked_again(yahoo, load):
    first = load(end="2020-09-04")
    asked = len(yahoo.asked)
    again = load(start="2020-08-26", end="2020-09-02")
    assert len(yahoo.asked) == asked
    assert len(again) == 6
    assert load() == first
    yahoo.mode = "busy"
    assert load() == first
    yahoo.mode = "tell"
    assert load(refresh=True) == first
    assert len(yahoo.asked) > asked


def test_new_sessions_are_added_and_old_ones_keep_their_bits(yahoo, load):
    yahoo.until = "2020-08-28"
    old = load()
    yahoo.until = "2020-09-04"
    yahoo.market.split("2020-08-31", 4.0)  # Yahoo now divides all of the past by four
    new = load()
    assert len(new) == len(old) + 5
    assert new.until("2020-08-28") == old
    assert new.split[5, 0] == 4


def test_a_bar_that_is_still_forming_is_left_out(yahoo, load, monkeypatch):
    noon = int(np.datetime64("2020-09-04T16:00", "ns").astype(np.int64))
    monkeypatch.setattr(clock, "now_ns", lambda: noon)
    assert str(load().dates[-1]) == "2020-09-03"


def test_another_past_is_refused_with_a_diff_and_the_old_one_kept(yahoo, load, tmp_path):
    old = load()
    yahoo.until = "2020-09-08"
    yahoo.market.close[3:5] *= 1.01
    with pytest.raises(HistoryChanged, match=r"close: 2 rows, first 2020-08-27: was 506, now 511.06.*refresh=True"):
        load()
    yahoo.mode = "busy"
    assert load(end="2020-09-04") == old
    yahoo.mode = "tell"
    assert load(refresh=True)["close"][3, 0] == pytest.approx(511.06)
    assert len(load()) == 11


def test_a_corrected_volume_is_no_other_past_but_another_one_is(yahoo, load):
    old = load()
    yahoo.until = "2020-09-08"
    yahoo.market.volume[9] *= 1.03
    assert load().until("2020-09-04") == old, "what was told first is kept"
    yahoo.until = "2020-09-09"
    yahoo.market.volume[2] *= 2
    with pytest.raises(HistoryChanged, match="volume: 1 rows, first 2020-08-26"):
        load()


def test_a_bar_is_believed_half_an_hour_after_the_close(yahoo, load, monkeypatch):
    at = {"t": "2020-09-04T20:29"}
    monkeypatch.setattr(clock, "now_ns", lambda: int(np.datetime64(at["t"], "ns").astype(np.int64)))
    assert str(load().dates[-1]) == "2020-09-03"
    asked = len(yahoo.asked)
    load()
    assert len(yahoo.asked) == asked
    at["t"] = "2020-09-04T20:30"
    assert str(load().dates[-1]) == "2020-09-04"


def test_sessions_that_vanish_or_appear_are_another_past(yahoo, load):
    load()
    yahoo.until = "2020-09-08"
    market = yahoo.market
    yahoo.market = Market([day for day in market.days if day != "2020-08-27"])
    with pytest.raises(HistoryChanged, match="1 sessions are gone, first 2020-08-27"):
        load()


def test_symbols_of_different_length_share_their_sessions(yahoo, load):
    long, short = yahoo.market, Market(DAYS[4:])

    def answer(symbol, until):
        return Market.chart(long if symbol == "KO" else short, symbol, until)

    long.chart = answer
    bars = load(["KO", "PEP"])
    assert bars.shape == (10, 2)
    assert np.isnan(bars["close"][:4, 1]).all()
    assert bars.symbols == ("KO", "PEP")


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("busy", r"refuses to answer for 'KO' for now \(429, too many requests\).*source='sample'"),
        ("page", "cannot be reached for 'KO'"),
        ("hang", "cannot be reached for 'KO'.*(?i:timed? ?out).*Check the connection"),
    ],
)
def test_what_goes_wrong_is_one_clear_error_with_a_way_out(yahoo, load, mode, message):
    yahoo.mode = mode
    with pytest.raises(SourceError, match=message):
        load(timeout=0.5)


def test_offline_is_said(yahoo, load):
    yahoo.http.shutdown()
    yahoo.http.server_close()
    with pytest.raises(SourceError, match="cannot be reached.*Meanwhile source='sample' works offline"):
        load(timeout=0.5)


def test_what_the_cache_still_has_is_said_when_the_rest_is_out_of_reach(yahoo, load):
    load()
    yahoo.until, yahoo.mode = "2020-09-11", "busy"
    with pytest.raises(SourceError, match="The cache has KO until 2020-09-04: ask for end='2020-09-04'"):
        load()


def test_a_symbol_nobody_knows_is_refused(yahoo, load):
    with pytest.raises(UnknownName, match="knows no prices for 'NONE'.*Check the ticker"):
        load("NONE")
    with pytest.raises(InputError, match="A symbol should be"):
        load("../etc")


def test_a_damaged_snapshot_is_refused(yahoo, load, tmp_path):
    load()
    (file,) = tmp_path.glob("cache/*/bars.safetensors")
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.write_bytes(data)
    with pytest.raises(DataError, match="snapshot in the cache is damaged.*refresh=True"):
        load()
    assert len(load(refresh=True)) == 10


def test_snapshots_are_artifacts_with_the_digest_of_their_content(yahoo, load, tmp_path):
    bars = load("BRK-B")
    (folder,) = (tmp_path / "cache").glob("s-*")
    assert folder.name == "s-.42.52.4b.2d.42"
    about = artifact.load(folder, "bars-snapshot", allow_nan=("bars",)).documents["about"]
    assert about["content"] == bars.digest
    assert about["symbol"] == "BRK-B"
    with pytest.raises(DataError, match="follows the calendar 'XNYS'"):
        load("BRK-B", calendar="XLON")


def test_yfinances_own_frames_are_read(yahoo):
    """What `download` and `history` return, in both shapes of auto_adjust, gives the same returns."""
    import yfinance

    yahoo.market.split("2020-08-31", 4.0)
    got = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for adjust in (True, False):
            how = {"period": "max", "auto_adjust": adjust}
            got[adjust] = yfinance.Ticker("KO").history(**how)
            got["download", adjust] = yfinance.download("KO", progress=False, session=yahoo.session, **how)
    expected = np.diff(np.log(yahoo.market.close[:10])) + np.log(np.where(np.arange(1, 10) == 5, 4, 1))
    for name, frame in got.items():
        bars = Bars.from_pandas(frame, None if isinstance(name, tuple) else "KO", calendar="XNYS")
        assert bars.symbols == ("KO",)
        assert clock.show(bars.time[0]) == "2020-08-24T20:00:00Z"
        assert np.diff(np.log(bars.adjusted("close")[:, 0])) == pytest.approx(expected, abs=1e-9), name
