"""The demonstration and the outlook, with networks small enough for a test."""

import json

import numpy as np
import pytest

import longshort as ls
from longshort import cli
from longshort.errors import InputError
from longshort.report import look_ahead, showcase
from longshort.report.showcase import Act


def small_acts():
    f, tiny = ls.features, {"lookback": 5, "hidden": (4,), "epochs": 2}
    inputs = [f.log_return(), f.volatility(5)]
    return (
        Act("close", ls.models.presets.keras_tutorial(lookback=10, hidden=(4,), epochs=2), 1),
        Act("volatility", ls.LSTM(inputs, target=f.forward_volatility(1), **tiny), 2),
        Act("log return", ls.LSTM(inputs, target=f.forward_log_return(1), **tiny), 2),
    )


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(showcase, "acts", small_acts)
    monkeypatch.setattr(showcase, "START", "2014-06-01")


def test_the_demonstration_ends_with_a_report_and_exit_code_zero(quick, tmp_path, capsys):
    assert cli.main(["demo", "--folder", str(tmp_path / "demo"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["next"]["AAPL"]["sessions"]) == 5
    assert len(found["verdicts"]) == 3
    assert {verdict["details"]["tried"] for verdict in found["verdicts"].values()} == {3}
    page = (tmp_path / "demo" / "report.html").read_text(encoding="utf-8")
    assert "Next 5 sessions" in page
    assert "Volatility over the next bar" in page
    assert "<h2>Strategy: LongShort on log returns</h2>" in page
    assert found["backtest"]["verdict"]["sentence"].replace("-", "−") in page
    assert (tmp_path / "demo" / "chart.png").read_bytes().startswith(b"\x89PNG")


def test_the_forecast_comes_before_the_studies(quick, tmp_path):
    order = []
    showcase.demo(
        tmp_path,
        progress=lambda name, fraction: order.append(name),
        on_outlook=lambda outlook, chart: order.append(f"chart {chart.exists()}"),
        on_study=lambda study: order.append(str(study.target.info)),
    )
    seen = list(dict.fromkeys(order))
    assert seen[:3] == ["outlook", "chart True", "close"]
    assert seen[-1] == "log return over the next bar"


def test_people_see_the_table_and_the_verdicts(quick, tmp_path, capsys):
    assert cli.main(["demo", "--folder", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "2021-04-01" in shown
    assert "On rows it never saw" in shown
    assert shown.count("out-of-sample rows") == 3
    assert "LongShort on log returns: " in shown
    assert "report.html" in shown


def test_the_real_programme_is_the_tutorial_and_two_targets():
    names = [act.name for act in showcase.acts()]
    assert names == ["close", "volatility", "log return"]
    assert sum(layer["parameters"] for layer in showcase.acts()[0].forecaster.layers()) == 30_651


@pytest.mark.parametrize("kind", ["close", "return", "log_return"])
def test_an_outlook_speaks_in_todays_prices(kind):
    bars = ls.load_bars("AAPL", start="2018-01-01", end="2020-12-31", source="sample")  # a 4:1 split inside
    f = ls.features
    inputs = [f.field("close")] if kind == "close" else [f.log_return()]
    scaler = "minmax" if kind == "close" else "standard"
    target = getattr(f, f"forward_{kind}")(1)
    model = ls.LSTM(inputs, target=target, lookback=10, hidden=(8,), epochs=20, lr=1e-2, scaler=scaler)
    outlook = look_ahead(model, bars, steps=3)
    closes, ahead = outlook.closes[0], outlook.next[0]
    last = float(bars["close"][-1, 0])
    assert closes.actual[-1] == pytest.approx(last)
    assert ahead.history[-1] == pytest.approx(last)
    assert 0.6 * last < ahead.mean[0] < 1.4 * last
    assert len(closes.time) == len(closes.model) == round(0.2 * len(bars)) - 1
    assert np.isfinite(closes.model).all()
    assert (ahead.low < ahead.high).all()


def test_an_outlook_needs_a_price():
    bars = ls.load_bars("AAPL", start="2019-01-01", end="2020-12-31", source="sample")
    model = ls.LSTM([ls.features.log_return()], target=ls.features.forward_volatility(1))
    with pytest.raises(InputError, match="volatility"):
        look_ahead(model, bars)
