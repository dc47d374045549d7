"""puffin's training utilities: published behaviour, and what is put right."""

import logging
import math

import numpy as np
import pytest

from longshort.errors import DataError, InputError, NotEnoughData, TrainingError, UnknownName
from longshort.interop.puffin import (
    EarlyStopping,
    LRScheduler,
    compute_class_weights,
    create_dataloaders,
    training_loop,
)


class Weights:
    """The two methods of a module early stopping needs."""

    def __init__(self):
        self.value = np.zeros(1)

    def state_dict(self):
        return {}

    def load_state_dict(self, weights):
        self.value[:] = -1


class Optimizer:
    def __init__(self, *rates):
        self.param_groups = [{"lr": rate} for rate in rates or (0.1,)]


def rates(scheduler, epochs):
    out = []
    for _ in range(epochs):
        out += scheduler.get_last_lr()
        scheduler.step()
    return out


# -- early stopping --------------------------------------------------------------------------------------------------


def test_stopping_allows_exactly_patience_epochs_without_a_better_loss():
    stopping = EarlyStopping(patience=2, verbose=False)
    assert stopping.best_loss is None
    said = [stopping(loss, Weights()) for loss in (1.0, 0.9, 0.95, 0.96, 0.97)]
    assert said == [False, False, False, False, True]
    assert (stopping.should_stop, stopping.best_loss, stopping.counter) == (True, 0.9, 3)


def test_a_gain_below_min_delta_is_none():
    stopping = EarlyStopping(patience=2, min_delta=0.1, verbose=False)
    assert [stopping(loss, Weights()) for loss in (1.0, 0.95, 0.94, 0.93)] == [False, False, False, True]
    assert EarlyStopping(patience=2, min_delta=0.1)(1.0, Weights()) is False


def test_a_loss_that_is_not_finite_is_an_error():
    stopping = EarlyStopping()
    stopping(1.0, Weights())
    for loss in (math.nan, math.inf):
        with pytest.raises(TrainingError, match="in epoch 2"):
            stopping(loss, Weights())
    for arguments in ({"patience": -1}, {"patience": 1.5}, {"min_delta": math.nan}):
        with pytest.raises(InputError):
            EarlyStopping(**arguments)


@pytest.mark.full
def test_the_best_weights_come_back_on_stopping_and_only_if_wanted():
    torch = pytest.importorskip("torch")
    for restore in (True, False):
        model = torch.nn.Linear(3, 1)
        stopping = EarlyStopping(patience=1, restore_best_weights=restore, verbose=False)
        best = model.weight.detach().clone()
        stopping(0.5, model)
        with torch.no_grad():
            model.weight.fill_(99.0)  # an optimiser works in place: the kept copy must not follow
        assert not stopping(0.6, model)
        assert stopping(0.7, model)
        assert bool((model.weight == (best if restore else 99.0)).all())


# -- schedules -------------------------------------------------------------------------------------------------------


def test_schedules_follow_their_formulas():
    assert rates(LRScheduler(Optimizer(0.1), "step", step_size=2, gamma=0.5), 5) == [0.1, 0.1, 0.05, 0.05, 0.025]
    cosine = rates(LRScheduler(Optimizer(0.1), "cosine", T_max=4, eta_min=0.02), 7)
    expected = [0.02 + 0.08 * 0.5 * (1 + math.cos(math.pi * min(e, 4) / 4)) for e in range(7)]
    assert cosine == pytest.approx(expected)
    warm = rates(LRScheduler(Optimizer(0.1), "warmup_cosine", warmup_epochs=4, T_max=6), 8)
    assert warm == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.05, 0.0, 0.0])


def test_every_group_keeps_its_own_step_size():
    scheduler = LRScheduler(Optimizer(0.1, 0.01), "step", step_size=1, gamma=0.1)
    scheduler.step()
    assert scheduler.get_last_lr() == pytest.approx([0.01, 0.001])
    assert (scheduler.initial_lr, scheduler.current_epoch) == (0.1, 1)


def test_schedules_that_make_no_sense_are_refused():
    with pytest.raises(UnknownName, match="Did you mean 'cosine'"):
        LRScheduler(Optimizer(), "cosin")
    for arguments in (
        {"schedule_type": "cosine"},
        {"schedule_type": "warmup_cosine", "warmup_epochs": 5, "T_max": 5},
        {"step_size": 0},
        {"gamma": 1.5},
        {"schedule_type": "cosine", "T_max": 5, "eta_min": math.nan},
        {"schedule_type": "cosine", "T_max": 5, "eta_min": 0.2},
        {"schedule_type": "warmup_cosine", "T_max": 5, "warmup_epochs": -1},
    ):
        with pytest.raises(InputError):
            LRScheduler(Optimizer(), **arguments)


@pytest.mark.full
def test_schedules_agree_with_torchs():
    torch = pytest.importorskip("torch")

    def adam():
        return torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=0.1)

    for ours, theirs in (
        (LRScheduler(adam(), "step", step_size=3), lambda o: torch.optim.lr_scheduler.StepLR(o, 3)),
        (LRScheduler(adam(), "cosine", T_max=9), lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 9)),
    ):
        optimizer = adam()
        scheduler = theirs(optimizer)
        for _ in range(9):
            assert ours.get_last_lr() == pytest.approx(scheduler.get_last_lr(), abs=1e-12)
            ours.step()
            optimizer.step()
            scheduler.step()


# -- loaders, weights of classes -------------------------------------------------------------------------------------


@pytest.mark.full
def test_loaders_split_by_time_and_shuffle_by_seed():
    torch = pytest.importorskip("torch")
    X, y = np.arange(300.0).reshape(100, 3), np.arange(100)
    learn, judge = create_dataloaders(X, y, batch_size=32, val_split=0.2, random_seed=5)
    again, _ = create_dataloaders(X, y, batch_size=32, val_split=0.2, random_seed=5)
    batches, judged = list(learn), torch.cat([b[1] for b in judge])
    assert [len(b[0]) for b in batches] == [32, 32, 16]
    assert batches[0][0].shape == (32, 3)
    assert batches[0][1].shape == (32, 1)
    assert batches[0][0].dtype == torch.float32
    assert judged[:, 0].tolist() == list(range(80, 100))
    order = torch.cat([b[1] for b in batches])[:, 0].tolist()
    assert sorted(order) == list(range(80))
    assert order != list(range(80))
    assert order == torch.cat([b[1] for b in again])[:, 0].tolist()
    plain, none = create_dataloaders(X, np.stack([y, y], axis=1), shuffle=False, val_split=0)
    assert next(iter(plain))[1].shape == (64, 2)
    assert len(none) == 0


def test_samples_that_do_not_fit_are_refused():
    X, y = np.ones((10, 3)), np.ones(10)
    for a, b, more, error in (
        (X, y[:9], {}, InputError),
        (X, np.ones((10, 1, 1)), {}, InputError),
        (np.where(np.eye(10, 3), np.nan, X), y, {}, InputError),
        (X, y, {"val_split": 1.0}, InputError),
        (X, y, {"batch_size": 0}, InputError),
        (X[:0], y[:0], {}, NotEnoughData),
        ([["a"]] * 10, y, {}, InputError),
    ):
        with pytest.raises(error):
            create_dataloaders(a, b, **more)


@pytest.mark.full
def test_classes_weigh_the_same_together():
    torch = pytest.importorskip("torch")
    assert compute_class_weights(np.array([0, 0, 1, 1, 2, 2])).tolist() == [1.0, 1.0, 1.0]
    weights = compute_class_weights([0, 0, 0, 0, 1, 2])
    assert weights.dtype == torch.float32
    assert weights.tolist() == [0.5, 2.0, 2.0]
    assert compute_class_weights([-1, -1, 1]).tolist() == [0.75, 1.5]


def test_labels_without_an_own_place_are_refused():
    with pytest.raises(DataError, match="no sample of class 1"):
        compute_class_weights([0, 2, 2])
    for labels in ([], [[0, 1]], [0.0, np.nan]):
        with pytest.raises(InputError):
            compute_class_weights(labels)


# -- the loop --------------------------------------------------------------------------------------------------------


def problem(n=100, seed=0):
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(seed)
    X = random.standard_normal((n, 4))
    y = X @ [1.0, -2.0, 0.5, 0.0] + 0.1 * random.standard_normal(n)
    torch.manual_seed(seed)
    model = torch.nn.Linear(4, 1)
    return model, create_dataloaders(X, y, batch_size=32, random_seed=1), torch.optim.Adam(model.parameters(), lr=0.05)


@pytest.mark.full
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_losses_are_means_over_samples_whatever_the_batches(reduction):
    torch = pytest.importorskip("torch")
    model, (learn, judge), optimizer = problem(n=115)  # 92 = 32 + 32 + 28 and 23 samples
    criterion = torch.nn.MSELoss(reduction=reduction)
    history = training_loop(model, learn, judge, 3, optimizer, criterion, verbose=False, device=torch.device("cpu"))
    X, y = (torch.cat(parts) for parts in zip(*judge, strict=True))
    assert list(history) == ["train_loss", "val_loss"]
    assert [len(losses) for losses in history.values()] == [3, 3]
    with torch.no_grad():
        assert history["val_loss"][-1] == pytest.approx(float(((model(X) - y) ** 2).mean()), rel=1e-5)
    frozen = torch.optim.SGD(model.parameters(), lr=0.0)
    before = training_loop(model, learn, judge, 1, frozen, criterion, verbose=False, device=torch.device("cpu"))
    X, y = learn.dataset.tensors
    with torch.no_grad():
        assert before["train_loss"][0] == pytest.approx(float(((model(X) - y) ** 2).mean()), rel=1e-5)


@pytest.mark.full
def test_it_learns_calls_back_and_stops(caplog):
    torch = pytest.importorskip("torch")
    model, (learn, judge), optimizer = problem()
    seen, stopping = [], EarlyStopping(patience=3, verbose=False)

    def note(epoch, train_loss, val_loss, model):
        seen.append((epoch, train_loss, val_loss))

    with caplog.at_level(logging.INFO):
        history = training_loop(
            model, learn, judge, epochs=500, optimizer=optimizer, criterion=torch.nn.MSELoss(),
            callbacks=[lambda e, t, v, m: stopping(v, m), note], device=torch.device("cpu"),
        )  # fmt: skip
    n = len(history["val_loss"])
    assert 5 < n < 500
    assert [epoch for epoch, _, _ in seen] == list(range(n))
    assert [loss for _, _, loss in seen] == history["val_loss"]
    assert min(history["val_loss"]) < 0.05
    assert "epoch 1 of 500" in caplog.text
    with torch.no_grad():
        X, y = (torch.cat(parts) for parts in zip(*judge, strict=True))
        assert float(((model(X) - y) ** 2).mean()) == pytest.approx(min(history["val_loss"]), rel=1e-5)


@pytest.mark.full
def test_a_loop_that_cannot_be_right_is_refused():
    torch = pytest.importorskip("torch")
    model, (learn, judge), optimizer = problem()

    def run(model, learn, judge=judge, optimizer=optimizer):
        return training_loop(model, learn, judge, 2, optimizer, torch.nn.MSELoss(), verbose=False)

    class Flat(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, x):
            return self.inner(x)[:, 0]

    with pytest.raises(InputError, match="broadcast"):
        run(Flat(), learn)
    with pytest.raises(InputError, match="no batch"):
        run(model, [])
    with torch.no_grad():
        model.weight.fill_(math.inf)
    with pytest.raises(TrainingError, match="epoch 1"):
        run(model, learn)


@pytest.mark.full
def test_without_validation_data_callbacks_get_nan_and_stopping_says_so():
    torch = pytest.importorskip("torch")
    model, (learn, _), optimizer = problem()
    args = {"epochs": 2, "optimizer": optimizer, "criterion": torch.nn.MSELoss(), "verbose": False}
    assert training_loop(model, learn, [], **args)["val_loss"] == []
    with pytest.raises(TrainingError, match="Pass validation data"):
        training_loop(model, learn, [], callbacks=[lambda e, t, v, m: EarlyStopping()(v, m)], **args)
