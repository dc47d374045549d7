"""quantstats, fed with the returns of a backtest, finds the figures that the result prints."""

import warnings

import pytest

import longshort as ls
from longshort import portfolio
from longshort.trading import backtest

qs = pytest.importorskip("quantstats")
pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def result():
    bars = ls.load_bars(["AAPL", "SPY", "IBM"], start="2012-01-01", end="2016-12-31", source="sample")
    return backtest(portfolio.EqualWeight(), None, bars)


def test_quantstats_agrees_on_sharpe_return_and_drawdown(result):
    scores, returns = result.scores(), result.returns_pandas()
    assert qs.stats.sharpe(returns, periods=result.bars_per_year) == pytest.approx(scores["sharpe"], rel=1e-3)
    assert qs.stats.comp(returns) == pytest.approx(result.equity[-1] / result.equity[0] - 1.0, rel=1e-9)
    assert -qs.stats.max_drawdown(returns) == pytest.approx(scores["max_drawdown"], abs=1e-9)


def test_quantstats_writes_its_report_beside_buy_and_hold(result, tmp_path):
    page = tmp_path / "report.html"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own, about pandas and fonts
        qs.reports.html(result.returns_pandas(), result.returns_pandas("buy_and_hold"), output=str(page))
    assert "Cumulative Return" in page.read_text(encoding="utf-8")
