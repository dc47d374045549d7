"""The report as a whole: what is on the page, for every shape of study, and that it is self-contained."""

import re

import numpy as np
import pytest

import longshort as ls
from longshort.errors import InputError
from longshort.forecast import Forecast, TargetInfo
from longshort.report import tearsheet
from longshort.report.facts import facts_of, next_of

EVIL = "A&B"


def coming(bars, steps=5) -> Forecast:
    day = 86_400 * 10**9
    times = int(bars.time[-1]) + day * np.arange(1, steps + 1)
    close = np.asarray(bars["close"])[-1]
    mean = np.repeat(close[None], steps, axis=0) * 1.01
    spread = {0.05: mean * 0.97, 0.95: mean * 1.03}
    return Forecast(times, bars.symbols, mean, target=TargetInfo("close"), for_time=times, quantiles=spread)


@pytest.mark.parametrize("kind", ["close", "return", "log_return", "direction", "volatility"])
def test_every_kind_of_target_makes_a_page(make_study, kind):
    html = tearsheet(make_study(kind)).html
    assert html.count("<svg") > 10
    assert "NaN" not in html
    assert ">nan" not in html


@pytest.mark.parametrize("kind", ["close", "return", "log_return"])
def test_closes_are_in_the_price_units_of_the_last_bar(make_study, kind):
    from longshort.report.facts import closes_of

    study = make_study(kind)
    closes = closes_of(facts_of(study))
    bars = study.bars
    at = np.searchsorted(bars.time, closes.time)
    expected = np.asarray(bars.adjusted("close"))[at, 0] / bars.factor[-1, 0]
    np.testing.assert_allclose(closes.actual, expected, rtol=1e-12)
    np.testing.assert_allclose(closes.naive[1:], closes.actual[:-1], rtol=1e-12)


def test_a_repeated_close_has_lag_one(make_study):
    study = make_study("close", seeds=1)
    closes = facts_of(study)
    from dataclasses import replace

    from longshort.report.facts import closes_of

    lines = closes_of(closes)
    assert replace(lines, model=lines.naive).lag == 1
    assert replace(lines, model=lines.actual).lag == 0


def test_the_page_agrees_with_the_verdict(make_study):
    study = make_study(skill=0.4)
    facts, details = facts_of(study), study.verdict().details
    assert study.verdict().exit_code == 0
    assert facts.overall.value == details["skill"]
    assert [s.value for s in facts.by_fold] == [one["skill"] for one in details["skill_by_fold"]]
    html = tearsheet(study).html
    assert "Edge: the" in html
    assert 'class="mark edge"' in html


def test_no_evidence_is_said_first(make_study):
    html = tearsheet(make_study()).html
    assert re.search(r"<h1>No evidence that the ", html)


def test_many_symbols_get_a_choice_and_a_chart_of_their_skill(make_study):
    html = tearsheet(make_study(symbols=("AAPL", "MSFT", EVIL))).html
    assert "By symbol" in html
    assert 'data-panel="price:2" hidden' in html
    assert f">{EVIL}<" not in html
    assert ">A&amp;B<" in html


def test_a_failed_fold_is_named_with_its_reason(make_study):
    html = tearsheet(make_study(failed=(1,))).html
    assert "failed: TrainingError: the loss was &lt;nan&gt; in epoch 3" in html
    assert "3 of 4 folds" in html


def test_other_studies_get_their_own_sections(make_study):
    html = tearsheet(make_study(), make_study("volatility")).html
    assert html.count("<h3>") == 1
    assert "Volatility over" in html


def test_the_coming_sessions_are_drawn_and_listed(make_study):
    study = make_study("close")
    ahead = coming(study.bars)
    html = tearsheet(study, price=ahead).html
    assert "Next 5 sessions" in html
    nxt = next_of(ahead, study.bars)
    assert nxt.history[-1] == pytest.approx(float(study.bars["close"][-1, 0]), rel=1e-12)
    assert nxt.rows()[0]["date"] in html


def test_coming_sessions_without_an_interval(make_study):
    study = make_study("close")
    bare = coming(study.bars)
    html = tearsheet(study, price=Forecast(bare.time, bare.symbols, bare.mean, for_time=bare.for_time)).html
    assert "Next 5 sessions" in html
    assert "NaN" not in html


def test_coverage_of_intervals_is_stated(make_study):
    assert "90 % interval held" in tearsheet(make_study(quantiles=True)).html


def test_the_page_asks_for_nothing_outside(make_study):
    html = tearsheet(make_study(), make_study("volatility")).html
    outside = [u for u in re.findall(r"""(?:src|href)=["']?([^"' >]+)""", html) if not u.startswith("data:")]
    assert outside == []
    assert "@import" not in html
    assert "url(" not in html
    assert len(html) < 2_000_000


def test_the_same_study_gives_the_same_page(make_study):
    assert tearsheet(make_study()).html == tearsheet(make_study()).html


def test_every_number_line_has_folds_seeds_and_trials(make_study):
    assert "4 folds · mean of 3 seeds · 2 trials" in tearsheet(make_study()).html


def test_a_long_study_stays_small(make_study):
    assert len(tearsheet(make_study("close", n=12_000)).html) < 2_000_000


def test_saving_is_atomic_and_wants_html(make_study, tmp_path):
    page = tearsheet(make_study())
    path = page.save(tmp_path / "deep" / "report.html")
    assert path.read_text(encoding="utf-8") == page.html
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
    with pytest.raises(InputError, match=r"\.html"):
        page.save(tmp_path / "report.pdf")


def test_what_is_no_study_is_refused():
    with pytest.raises(InputError, match="needs a Study.*was a int"):
        tearsheet(3)


def test_a_notebook_shows_the_page_in_a_frame(make_study):
    page = ls.tearsheet(make_study())
    assert page._repr_html_().startswith("<iframe srcdoc=")
    assert "<!doctype" not in page._repr_html_()


def test_a_study_reports_the_same_after_loading(make_study, tmp_path):
    study = make_study()
    study.save(tmp_path / "study")
    assert tearsheet(ls.Study.load(tmp_path / "study")).html == tearsheet(study).html


def test_a_model_that_is_no_network_has_a_page_too(make_study):
    from dataclasses import replace

    study = make_study("close")
    ridge = ls.models.Ridge([ls.features.log_return()], target=study.target)
    none = [[None] for _ in study.folds]
    html = tearsheet(replace(study, forecaster=ridge, histories=none, configuration={"name": "Ridge"})).html
    assert "No loss curves were recorded" in html
    assert "<h2>Network</h2>" not in html
    assert "that the Ridge knows" in html


def test_very_many_symbols_are_not_judged_one_by_one(make_study):
    html = tearsheet(make_study(symbols=tuple(f"S{i:02}" for i in range(61)), n=600)).html
    assert "61 symbols are too many" in html
    assert html.count('data-panel="price:') == 8


def test_rows_without_outcome_or_forecast_are_left_out(make_study):
    from dataclasses import replace

    study = make_study()
    actual, values = np.array(study.actual), np.array(study.forecast.mean)
    actual[-3:], values[10:40] = np.nan, np.nan
    changed = replace(study, actual=actual, forecast=replace(study.forecast, mean=values, digest=""))
    assert f"{len(actual) - 33:,} forecasts" in tearsheet(changed).html


def test_the_coming_sessions_stand_on_the_page_unless_left_out():
    bars = ls.load_bars("AAPL", start="2012-01-01", end="2015-12-31", source="sample")
    model = ls.LSTM([ls.features.log_return()], lookback=10, hidden=(4,), epochs=2)
    study = ls.walk_forward(model, bars, ls.WalkForward(train="2Y", test="1Y"), seeds=1)
    assert "LSTM on returns" in tearsheet(study).html
    assert "2016-01-04" in tearsheet(study).html
    assert "LSTM on returns" not in tearsheet(study, price=None).html
    with pytest.raises(InputError, match="price must be"):
        tearsheet(study, price="yes")
