"""What a backtest adds to the page: the result's own numbers, its verdict first, nothing that a name can break."""

import re
from dataclasses import replace
from html import unescape

import numpy as np
import pytest

import longshort as ls
from longshort.portfolio import Limits, LongShort, TopK
from longshort.report import money, tearsheet
from longshort.report.figures import percent
from longshort.trading import backtest

EVIL = "<script>alert(1)</script>"


def rule(view):
    return np.where(np.nan_to_num(view.returns) > 0, 0.5, -0.3) / len(view.symbols)


def played(n=500, symbols=("AAPL",), policy=rule, limits=None, **more):
    bars = ls.data.synthetic.random_walk(n, symbols, seed=1)
    strategy = policy if limits is None else ls.Strategy(policy=policy, limits=limits)
    return backtest(strategy, None, bars, **more)


def text_of(html: str) -> str:
    return unescape(re.sub(r"<[^>]+>", "|", re.sub(r"<(script|style).*?</\1>", "", html, flags=re.DOTALL)))


def test_a_study_and_its_backtest_share_a_page(make_study):
    study = make_study("log_return")
    result = backtest(ls.Strategy(policy=LongShort(), limits=Limits(stop_loss=0.05)), study)
    html = tearsheet(study, result, price=None).html
    text = text_of(html)
    assert html.index("<h1>No evidence that the ") < html.index(f"<h2>{money.minus(result.verdict().sentence)}</h2>")
    for title in (
        "Equity",
        "Exposure",
        "Turnover",
        "Costs so far",
        "Return by month",
        "Rolling Sharpe ratio",
        "Trades",
    ):
        assert f"<b>{title}</b>" in html
    for title in ("Profit by exit", "Profit by symbol", "Refused, by limit", "Capacity", "Rules"):
        assert f"<b>{title}</b>" in html
    assert str(Limits(stop_loss=0.05)) in text
    assert "forecasts of rows nobody trained on" in text


def test_a_backtest_alone_opens_with_its_verdict():
    result = played()
    html = tearsheet(result).html
    first = re.search(r"<h1>(.*?)</h1>", html)
    assert first is not None
    assert unescape(first.group(1)) == result.verdict().sentence.replace("-", "−")
    assert 'class="mark"' in html
    assert 'class="mark edge"' not in html
    assert "<h2>Skill</h2>" not in html
    assert "a rule without forecasts" in html


def test_noise_does_not_look_like_a_success():
    lucky = max((played(300, policy=_coin(seed)) for seed in range(4)), key=lambda one: one.equity[-1])
    html = tearsheet(lucky).html
    assert re.search(r"<h1>No evidence", html)
    assert 'aria-label="No evidence of an edge"' in html
    if lucky.capacity().edge > 0:
        assert "There is no evidence that this edge is more than luck" in html


def test_the_best_of_many_is_not_told_as_likely_skill():
    """A deflated probability of 0.63 is what luck reaches in a fifth of cases."""
    result = replace(played(300, policy=_coin(0)), trials=200, trial_sharpes=(0.1, -0.1) * 100)
    assert result.verdict().details["deflated_probability"] < 0.95
    text = money._chance(result)
    assert "The best of 200 trials shows a Sharpe ratio of" in text
    assert "this one is not shown to be above it (confidence " in text
    assert "where 95 % would show it)" in text


def _coin(seed):
    rng = np.random.default_rng(seed)
    return lambda view: rng.choice([-0.5, 0.5], size=1)


def test_the_numbers_are_the_results_own():
    result = played(700, ("A", "B", "C"))
    text, s = text_of(tearsheet(result).html), result.scores()
    assert f"return {percent(s['annual_return'], 1, True)} a year after costs of {percent(s['costs'], 2)}" in text
    assert f"worst drawdown {percent(s['max_drawdown'])}" in text
    assert f"{len(result.fills):,} fills" in text
    details = result.verdict().details
    assert f"above zero with {money._sure(details['excess_probability'])} confidence" in text
    assert f"at least as much in {money._sure(details['random_entries_p'])} of cases" in text
    assert f"|{len(result.trades()):,}|" in text
    for name in ("commission", "spread", "borrow"):
        paid = float(result.costs[name].sum())
        assert f"|{name}||{money._money(paid)}||{percent(s[name], 2)}|" in text
    assert f"|account||||||||||||{money._money(result.equity[-1] - result.equity[0])}|" in text
    for share in result.by_symbol():
        assert f"|{money._money(share.long)}||{money._money(share.short)}||{money._money(share.profit)}|" in text
    assert f"{abs(result.gap().bp):.2f}"[:3] in text
    years, months = result.by_month()
    assert f"{100 * months[-1][np.isfinite(months[-1])][-1]:.1f}".replace("-", "−") in text
    assert str(years[-1]) in text


def test_names_are_escaped():
    html = tearsheet(played(symbols=("A&B", "C"), name=EVIL)).html
    assert EVIL not in html
    assert "&lt;script&gt;" in html
    assert ">A&B<" not in html
    assert ">A&amp;B<" in html


def test_the_page_asks_for_nothing_outside_and_stays_small():
    html = tearsheet(played(4_000, ("A", "B"))).html
    outside = [u for u in re.findall(r"""(?:src|href)=["']?([^"' >]+)""", html) if not u.startswith("data:")]
    assert outside == []
    assert "url(" not in html
    assert len(html) < 700_000


@pytest.mark.parametrize("rows", [1, 2, 25])
@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_a_short_or_idle_backtest_has_a_page(rows, weight):
    result = played(rows, policy=lambda view: np.array([weight]))
    html = tearsheet(result).html
    assert ">nan" not in html.lower()
    assert "NaN" not in html
    assert "No evidence" in html
    if not result.fills:
        assert "Nothing was traded" in html
        assert "No position was opened" in html


def test_an_account_that_lost_everything_has_a_page():
    bars = ls.data.synthetic.random_walk(60, ("A",), seed=1)
    close = np.array(bars["close"])
    close[30:] *= 0.0001
    crash = ls.Bars.from_arrays(bars.time, bars.symbols, dict.fromkeys(("open", "high", "low", "close"), close))
    result = backtest(lambda view: np.array([1.0]), None, crash)
    html = tearsheet(result).html
    assert result.equity[-1] < 0.01 * result.equity[0]
    assert "NaN" not in html


def test_five_hundred_symbols_stay_readable():
    symbols = tuple(f"S{i:03}" for i in range(500))
    result = played(40, symbols, policy=lambda view: np.full(500, 1 / 500), cash=1e7)
    html = tearsheet(result).html
    table = html[html.index("<b>Profit by symbol</b>") : html.index("<b>Refused, by limit</b>")]
    assert table.count("<tr") <= 10 + 1 + 10 + 5
    assert f"{len(result.by_symbol()) - 20} others" in table
    assert result.by_symbol()[0].name in table
    assert result.by_symbol()[-1].name in table
    assert len(html) < 900_000


def test_a_breaker_that_ended_trading_is_said():
    bars = ls.data.synthetic.random_walk(400, ("A",), seed=2)
    result = backtest(ls.Strategy(policy=lambda view: np.array([1.0]), limits=Limits(max_drawdown=0.02)), None, bars)
    assert "max_drawdown" in result.refused()
    html = tearsheet(result).html
    assert "The drawdown breaker opened on" in html
    out = np.count_nonzero((result.gross == 0) & (result.time > result.by_limit()[0].first))
    assert out > 100
    assert f"at {out / 399:.0%}".replace("%", " %") in html.replace("\u202f", " ").replace("\xa0", " ")


def test_strategies_can_stand_beside_each_other(make_study):
    study = make_study("log_return", symbols=("A", "B", "C"))
    first, second = (backtest(policy, study, name=name) for policy, name in ((LongShort(), "one"), (TopK(1), "two")))
    html = tearsheet(study, first, second, price=None).html
    assert "<h2>Strategy: one</h2>" in html
    assert "<h2>Strategy: two</h2>" in html
    keys = re.findall(r'<script type="application/json" id="([^"]+)"', html)
    assert len(keys) == len(set(keys))


def test_both_scales_of_equity_are_offered_where_money_stays_above_zero():
    html = tearsheet(played()).html
    assert 'aria-label="Scale of equity"' in html
    assert html.count(">logarithmic</option>") == 1


def test_limits_nobody_set_are_said_to_be_none():
    assert "none: whatever the policy asks for is ordered" in tearsheet(played(60)).html


def test_the_same_backtest_gives_the_same_page():
    one = played(200)
    assert tearsheet(one).html == tearsheet(one).html
