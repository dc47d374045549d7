"""The plot of an efficient frontier: what is drawn, by name, in every format."""

import numpy as np
import pytest

from longshort.errors import InputError, UnknownName
from longshort.portfolio.frontier import Frontier
from longshort.report import frontier_plot

MEAN, COVARIANCE = np.array([0.05, 0.15]), np.diag([0.01, 0.04])
WEIGHTS = np.array([[0.8, 0.2], [0.4, 0.6], [0.0, 1.0]])
FRONTIER = Frontier(
    ("A", "B"),
    MEAN,
    np.array([0.1, 0.2]),
    np.sqrt(np.einsum("pi,ij,pj->p", WEIGHTS, COVARIANCE, WEIGHTS)),
    WEIGHTS @ MEAN,
    WEIGHTS,
    COVARIANCE,
    time=int(np.datetime64("2020-03-02T21:00", "ns").astype(np.int64)),
)


def test_symbols_frontier_and_what_was_chosen_are_drawn_where_they_belong():
    plot = frontier_plot(FRONTIER, {"mine": {"B": 1.0}})
    assert plot.title == "Efficient frontier of 2 symbols, 2020-03-02"
    line = next(mark for mark in plot.marks if mark.kind == "line")
    np.testing.assert_allclose(line.x[0], np.sqrt(0.8**2 * 0.01 + 0.2**2 * 0.04))
    mine = next(mark for mark in plot.marks if mark.name == "mine")
    np.testing.assert_allclose([mine.x[0], mine.y[0]], [0.2, 0.15])
    tips = [tip for mark in plot.marks for tip in mark.tips]
    assert "A: risk 10.0%, return +5.0%" in tips
    assert "1/N: risk 11.2%, return +10.0%" in tips


@pytest.mark.parametrize("ending", ["svg", "html", "png"])
def test_it_is_saved_like_every_plot(tmp_path, ending):
    path = frontier_plot(FRONTIER).save(tmp_path / f"frontier.{ending}")
    assert path.stat().st_size > 1000


def test_weights_that_do_not_fit_are_refused():
    with pytest.raises(UnknownName, match="weights for C"):
        frontier_plot(FRONTIER, {"mine": {"C": 1.0}})
    with pytest.raises(InputError, match="one finite weight for each of the 2 symbols"):
        frontier_plot(FRONTIER, {"mine": [1.0]})
