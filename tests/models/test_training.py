import numpy as np
import pytest

from longshort.errors import TrainingError
from longshort.models.training import Samples, StopRule, Training


class Scripted:
    """An engine whose losses are written down beforehand; its weight counts its epochs."""

    def __init__(self, train, val=()):
        self.train, self.val, self.epochs = list(train), list(val), 0

    def epoch(self, starts, targets):
        self.epochs += 1
        return self.train[self.epochs - 1]

    def loss(self, starts, targets):
        return self.val[self.epochs - 1]

    def weights(self):
        return {"w": np.array([float(self.epochs)])}

    def set_weights(self, weights):
        self.kept = weights["w"][0]


SAMPLES = Samples(np.arange(4), np.zeros((4, 1)))


def finish(training):
    while not training.step():
        pass
    return training


def test_best_weights_come_back_after_patience_runs_out():
    engine = Scripted([5, 4, 3, 2, 1], [1.0, 0.5, 0.6, 0.7, 0.4])
    training = finish(Training(engine, SAMPLES, SAMPLES, epochs=5, patience=2))
    assert engine.kept == 2
    assert training.history.best_epoch == 2
    assert training.history.val_loss == [1.0, 0.5, 0.6, 0.7]


def test_no_patience_runs_all_epochs_and_keeps_the_last_weights():
    engine = Scripted([5, 4, 3], [1.0, 0.5, 0.9])
    training = finish(Training(engine, SAMPLES, SAMPLES, epochs=3, patience=None))
    assert not hasattr(engine, "kept")
    assert training.history.best_epoch == 3
    assert training.history["loss"] == [5, 4, 3]


def test_without_validation_patience_means_nothing():
    training = finish(Training(Scripted([1, 1, 1, 1]), SAMPLES, None, epochs=4, patience=1))
    assert len(training.history.train_loss) == 4
    assert training.history.val_loss == []


@pytest.mark.parametrize("loss", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_stops_at_once(loss):
    engine = Scripted([1.0, loss, 1.0], [1.0, 1.0, 1.0])
    training = Training(engine, SAMPLES, SAMPLES, epochs=3, patience=None)
    training.step()
    with pytest.raises(TrainingError, match="epoch 2"):
        training.step()


def test_stop_rule_is_a_value():
    rule = StopRule(patience=1)
    better = rule.update(1.0)
    assert rule.epoch == 0
    assert better.improved
    assert better.update(1.0).stop
