"""Every code block of the LSTM tutorial, read from its file, with only the import lines changed."""

import os
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import longshort as ls

NAME = "3-puffin-lstm-fundamentals.md"


def tutorial() -> str:
    data = os.environ.get("LONGSHORT_SHARED_DATA")
    folder = Path(data).parent if data else Path(__file__).parents[4] / "shared"
    if not (folder / "tutorials" / NAME).exists():
        pytest.skip(f"needs tutorials/{NAME} beside the folder LONGSHORT_SHARED_DATA")
    return (folder / "tutorials" / NAME).read_text()


def blocks(text: str) -> list[str]:
    found = re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    lines = re.compile(r"^from puffin\.deep\.\w+ import", flags=re.MULTILINE)
    return [lines.sub("from longshort.interop.puffin import", block) for block in found]


class Ticker:
    """The sample's bars as `yfinance.Ticker` hands them out."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol

    def history(self, period: str):
        import pandas as pd

        assert period == "2y"
        frame = ls.load_bars(self.symbol, source="sample").to_pandas(adjust="total")
        frame = frame[frame.index > frame.index[-1] - pd.DateOffset(years=2)].rename(columns=str.capitalize)
        days = frame.index.tz_convert("America/New_York").normalize()
        frame.index = pd.DatetimeIndex(days, name="Date")
        return frame.astype({"Volume": "int64"}).assign(Dividends=0.0, **{"Stock Splits": 0.0})


@pytest.mark.full
@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")
def test_every_block_runs_with_only_its_import_lines_changed(monkeypatch, capsys):
    code = blocks(tutorial())
    pytest.importorskip("torch")
    import matplotlib

    matplotlib.use("Agg")
    yfinance = types.ModuleType("yfinance")
    yfinance.Ticker = Ticker  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "yfinance", yfinance)
    names: dict = {"__name__": "__main__"}
    at: list[dict] = []
    for number, block in enumerate(code):
        exec(compile(block, f"{NAME}, block {number}", "exec"), names)
        at.append(dict(names))
    import matplotlib.pyplot as plt

    axes = plt.gcf().axes[0]
    assert [line.get_label() for line in axes.get_lines()] == ["Training Loss", "Validation Loss"]
    assert all(len(line.get_ydata()) == 50 for line in axes.get_lines())
    plt.close("all")

    printed = capsys.readouterr().out
    assert "torch.Size([16, 1])" in printed
    assert names["best_lookback"] in (10, 20, 30, 50)
    assert all(np.isfinite(loss) for loss in names["results"].values())
    univariate, multivariate = at[1], at[4]
    assert univariate["predictions"].shape == (5,)
    assert set(univariate["history"]) == {"train_loss", "val_loss"}
    assert len(univariate["history"]["val_loss"]) == 50
    assert univariate["history"]["train_loss"][-1] < 0.1 * univariate["history"]["train_loss"][0]
    assert multivariate["prediction"].shape == (1,)
    assert abs(multivariate["prediction"][0]) < 0.1
    own = ls.interop.puffin.create_trading_features(names["df"])
    theirs = names["create_trading_features"](names["df"])
    assert list(own.columns) == list(theirs.columns)
    assert own.index.equals(theirs.index)
    np.testing.assert_allclose(own, theirs, rtol=1e-9, atol=1e-12)


def test_the_source_answers_as_yfinance_does():
    frame = Ticker("AAPL").history(period="2y")
    assert list(frame.columns) == ["Open", "High", "Low", "Close", "Volume", "Dividends", "Stock Splits"]
    assert str(frame.index.tz) == "America/New_York"
    assert frame.index.name == "Date"
    assert (frame.index == frame.index.normalize()).all()
    assert 500 <= len(frame) <= 506
