"""The data part of the first Keras tutorial, unchanged, over the local source; `make tutorials` runs the rest."""

import importlib.util
import os
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tools(monkeypatch):
    """Return `tools/tutorials/blocks.py` as a module, with its local yfinance on the path for as long as the test."""
    folder = os.environ.get("LONGSHORT_SHARED_DATA")
    data = Path(folder) if folder else ROOT.parent / "shared" / "data"
    text = data.parent / "tutorials" / "1-keras-guide.md"
    if not text.exists():
        pytest.skip("needs tutorials/1-keras-guide.md beside the folder LONGSHORT_SHARED_DATA")
    monkeypatch.setenv("LONGSHORT_SHARED_DATA", str(data))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "yfinance", raising=False)
    spec = importlib.util.spec_from_file_location("tutorial_blocks", ROOT / "tools" / "tutorials" / "blocks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module, text
    sys.modules.pop("yfinance", None)  # the local one


@pytest.mark.full
def test_the_first_tutorial_gets_its_window_and_its_training_rows(tools):
    from sklearn.preprocessing import MinMaxScaler

    module, text = tools
    blocks = module.blocks_of(text)
    assert [language for language, _ in blocks] == ["bash", "python", "python", "python", "python"]
    names: dict = {"np": np, "MinMaxScaler": MinMaxScaler, "yf": importlib.import_module("yfinance")}
    for _, code in blocks[2:4]:
        exec(code, names)
    assert names["data"].columns.names == ["Price", "Ticker"]
    assert str(names["df"].index[-1].date()) == "2024-12-30"  # `end` is exclusive
    assert names["X_train"].shape == (1952, 60, 1)
    assert names["training_data_len"] == 2012


@pytest.mark.full
def test_a_block_that_fails_is_named_with_its_error(tools, capsys):
    module, _ = tools
    with pytest.raises(SystemExit, match="FAILED after .* s: ZeroDivisionError"):
        module.run_block(7, "# first\nx = 1 / 0\n", {}, "text.md")
    assert "block 7: x = 1 / 0" in capsys.readouterr().out
