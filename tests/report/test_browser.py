"""The report in a real browser: nothing from outside, no error, no sideways scrolling, everything visible."""

import shutil

import pytest

from longshort.portfolio import Limits
from longshort.report import tearsheet
from longshort.strategy import Strategy
from longshort.trading import backtest

pytestmark = pytest.mark.full
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    with playwright.sync_playwright() as driver:
        one = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield one
        one.close()


@pytest.fixture
def page_file(make_study, tmp_path):
    from .test_sheet import coming

    study, returns = make_study("close", symbols=("AAPL", "MSFT"), failed=(1,)), make_study("log_return")
    result = backtest(Strategy(limits=Limits(stop_loss=0.05)), returns)
    page = tearsheet(study, make_study("volatility"), result, price=coming(study.bars))
    return page.save(tmp_path / "report.html")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1280, 800), (768, 1024), (375, 760)])
def test_the_page_stands_on_its_own(browser, page_file, tmp_path, width, height, scheme):
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith(("file:", "data:")) else wrong.append(r.url))
    page.goto(page_file.as_uri())
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert wrong == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for heading in ("Strategy: LongShort", "Skill", "Training", "Network", "Scores", "Folds", "Data"):
        assert page.get_by_role("heading", name=heading, exact=True).is_visible()
    assert page.locator("h1").is_visible()
    shown = page.locator("svg:visible")
    assert shown.count() >= 10
    first = shown.first.bounding_box()
    assert first is not None
    assert first["y"] < height  # the price chart begins on the first screen
    smallest = page.evaluate(
        "Math.min(...[...document.querySelectorAll('svg text')].map(t => t.getBoundingClientRect())"
        ".filter(b => b.width).map(b => b.height))"
    )
    assert smallest > 9  # pixels: text of drawings stays readable
    page.close()


def test_values_appear_under_the_pointer_and_with_the_keys(browser, page_file):
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(page_file.as_uri())
    chart = page.locator("svg[data-hover]:visible").first
    box = chart.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tip = page.locator("#tip")
    assert tip.is_visible()
    assert "last close" in tip.inner_text()
    before = tip.inner_text()
    chart.focus()
    page.keyboard.press("Home")
    assert tip.inner_text() != before
    page.keyboard.press("Escape")
    assert not tip.is_visible()
    page.close()


def test_another_symbol_can_be_chosen(browser, page_file):
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(page_file.as_uri())
    page.get_by_label("Symbol", exact=True).select_option("1")
    assert page.locator('[data-panel="price:1"]').is_visible()
    assert not page.locator('[data-panel="price:0"]').is_visible()
    page.close()


def test_the_scale_of_equity_can_be_chosen(browser, page_file):
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(page_file.as_uri())
    choice = page.get_by_label("Scale of equity", exact=True)
    first, second = (page.locator(f'[data-panel="s0:{i}"]') for i in (0, 1))
    assert first.is_visible()
    assert not second.is_visible()
    choice.select_option("1")
    assert second.is_visible()
    assert not first.is_visible()
    page.close()


def test_it_reads_without_scripts(browser, page_file):
    context = browser.new_context(java_script_enabled=False, viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.goto(page_file.as_uri())
    assert page.get_by_text("Profit by symbol", exact=True).is_visible()
    assert page.locator('[data-panel="s0:0"] svg:visible').count() == 1
    assert not page.get_by_label("Scale of equity", exact=True).is_visible()
    context.close()


def test_it_prints_on_a_few_pages(browser, page_file):
    page = browser.new_page()
    page.goto(page_file.as_uri())
    document = page.pdf(format="A4")
    assert document.startswith(b"%PDF")
    assert 2 <= document.count(b"/Type /Page\n") <= 12
    page.close()
