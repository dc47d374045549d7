"""Where results differ from the original, measured."""

import numpy as np
import pytest

from longshort.data import synthetic
from longshort.errors import InputError, NotEnoughData
from longshort.interop.puffin import compare_with_original

pd = pytest.importorskip("pandas")
KEYS = ["alignment", "scaling", "loss", "split", "warmup", "seed", "infinity"]


@pytest.fixture(scope="module")
def found():
    return compare_with_original()


def test_the_original_misses_a_planted_signal_that_is_found_here(found):
    assert abs(found["alignment"].original) < 0.25
    assert 0.60 <= found["alignment"].ours <= 0.75


def test_late_rows_move_early_forecasts_of_the_original_only(found):
    assert found["scaling"].original > 0.01
    assert found["scaling"].ours == 0.0


def test_the_other_lines(found):
    assert [row.key for row in found.rows] == KEYS
    assert found["loss"].original > 1.001
    assert found["loss"].ours == pytest.approx(1.0, rel=1e-5)
    assert found["split"].original > 0.95
    assert found["split"].ours == 0.0
    assert (found["warmup"].original, found["warmup"].ours) == (0.0, 0.2)
    assert found["seed"].original > 0.0
    assert found["seed"].ours == 0.0
    assert np.isfinite(found["infinity"].original)
    assert found["infinity"].ours is None
    with pytest.raises(KeyError):
        found["colour"]


def test_it_prints_a_table(found):
    lines = str(found).splitlines()
    assert len(lines) == 1 + 2 * len(KEYS)
    assert lines[0].split()[-2:] == ["original", "here"]
    assert lines[-2].endswith("refused")


def test_without_a_signal_neither_finds_one():
    bars = synthetic.random_walk(1000, seed=7)
    returns = np.append(np.nan, np.diff(np.log(bars["close"][:, 0])))
    frame = pd.DataFrame({"returns": returns, "volume": np.log(bars["volume"][:, 0])})
    frame["next"] = frame["returns"].shift(-1)
    found = compare_with_original(frame.iloc[1:], "next", seeds=1, epochs=5, hidden_dims=[8])
    assert abs(found["alignment"].original) < 0.2
    assert abs(found["alignment"].ours) < 0.2
    assert "your frame" in str(found)


def test_too_few_rows_are_refused():
    frame = pd.DataFrame({"x": np.arange(60.0), "target": np.arange(60.0)})
    with pytest.raises(NotEnoughData, match="Pass at least 96 rows"):
        compare_with_original(frame)
    with pytest.raises(InputError, match="seeds"):
        compare_with_original(seeds=0)
