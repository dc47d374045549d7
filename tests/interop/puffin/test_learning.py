"""Windows and outcomes of a plain array: paired by row, taught only what was known before validation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshort.errors import NotEnoughData
from longshort.interop.puffin.learning import Split


@given(
    n_rows=st.integers(2, 60),
    lookback=st.integers(1, 12),
    share=st.sampled_from([0.0, 0.1, 0.2, 0.5, 0.9]),
    known_after=st.integers(1, 6),
    unknown=st.integers(0, 6),
)
def test_outcomes_belong_to_the_last_row_and_are_known_before_validation_begins(
    n_rows, lookback, share, known_after, unknown
):
    features = np.arange(2.0 * n_rows).reshape(n_rows, 2)  # row r holds 2r and 2r + 1
    outcome = np.where(np.arange(n_rows) < n_rows - unknown, np.arange(n_rows, dtype=float), np.nan)
    n_windows = max(0, min(n_rows, n_rows - unknown) - lookback + 1)
    n_judges = n_windows - int(n_windows * (1 - share)) if share else 0
    n_learns = max(0, n_windows - n_judges - known_after) if share else n_windows
    if not n_learns or (share and not n_judges):
        with pytest.raises(NotEnoughData, match=f"give {n_windows} windows"):
            Split.of(features, outcome, lookback, share, known_after)
        return
    split = Split.of(features, outcome, lookback, share, known_after)
    assert len(split.windows) == n_windows
    for i, row in enumerate(split.windows.rows):
        assert split.windows[i][-1, 0] == 2 * row
        assert split.windows[i].shape == (lookback, 2)
        assert split.outcome[i] == row
    assert (split.learns.sum(), split.judges.sum()) == (n_learns, n_judges)
    assert not (split.learns & split.judges).any()
    if share:
        first = split.windows.rows[split.judges].min()
        assert (split.windows.rows[split.learns] + known_after < first).all()
        assert split.windows.rows[split.learns].max() < first


def test_a_gap_in_the_features_breaks_its_windows():
    features = np.arange(20.0)[:, None]
    features[10] = np.nan
    split = Split.of(features, np.arange(20.0), 3, 0.0, 1)
    assert split.windows.rows.tolist() == [*range(2, 10), *range(13, 20)]


def test_what_cannot_be_split_says_with_how_much():
    with pytest.raises(NotEnoughData, match="10 rows give 1 windows of 10"):
        Split.of(np.zeros((10, 1)), np.zeros(10), 10, 0.2, 1)
