"""The example of gates, on a small scale: what has a gate learns, what has none does not feel the past."""

import pytest

from .conftest import ROOT, loaded

pytest.importorskip("torch")
pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def example():
    return loaded(ROOT / "examples" / "why_gates.py")


@pytest.fixture(scope="module")
def found(example):
    return example.compare(lag=40, n=1200, epochs=10)


def test_the_gradient_of_a_plain_rnn_has_vanished_where_that_of_gates_has_not(found):
    share = {kind: result["before"][-1] / result["before"][0] for kind, result in found.items()}
    assert share["rnn"] < 1e-7
    assert share["gru"] > 1e-2
    assert share["lstm"] > 1e-2


def test_gates_learn_to_recall_and_a_plain_rnn_does_not(found):
    assert found["rnn"]["losses"][-1] > 0.8
    assert found["gru"]["losses"][-1] < 0.1
    assert found["lstm"]["losses"][-1] < 0.1


def test_the_task_cannot_be_solved_without_the_first_bar(example):
    windows, numbers = example.recall_task(lag=5, n=400)
    assert windows.shape == (400, 6, 2)
    assert (windows[:, 0, 0] == numbers).all()
    assert abs((windows[:, 1:, 0] * numbers[:, None]).mean()) < 0.1


def test_the_figure_can_be_drawn(example, found, tmp_path):
    example.draw(found, str(tmp_path / "gates.png"))
    assert (tmp_path / "gates.png").stat().st_size > 10_000
