"""Learning rates: against torch's schedulers and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from longshort.errors import InputError, UnknownName
from longshort.models.schedules import (
    SCHEDULES,
    CosineDecay,
    ReduceOnPlateau,
    Schedule,
    StepDecay,
    WarmupCosine,
    schedule_of,
)

LOSSES = np.abs(np.random.default_rng(4).normal(1.0, 0.2, 60)).tolist()


def rates_of_torch(make, epochs):
    torch = pytest.importorskip("torch")
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler, rates = make(torch.optim.lr_scheduler, optimiser), []
    for epoch in range(epochs):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        if "metrics" in scheduler.step.__code__.co_varnames:
            scheduler.step(LOSSES[epoch])
        else:
            scheduler.step()
    return rates


@pytest.mark.full
@pytest.mark.parametrize(
    ("ours", "theirs", "epochs"),
    [
        (StepDecay(every=7, factor=0.3), lambda s, o: s.StepLR(o, 7, 0.3), 30),
        (CosineDecay(epochs=20, floor=0.1), lambda s, o: s.CosineAnnealingLR(o, 20, eta_min=0.1), 20),
        (  # torch waits one epoch longer than Keras for the same patience
            ReduceOnPlateau(factor=0.4, patience=4, min_delta=0.01),
            lambda s, o: s.ReduceLROnPlateau(o, factor=0.4, patience=3, threshold=0.01, threshold_mode="abs"),
            60,
        ),
    ],
    ids=["step", "cosine", "plateau"],
)
def test_rates_are_those_of_torch(ours, theirs, epochs):
    rates = [ours.rate(epoch, LOSSES) for epoch in range(1, epochs + 1)]
    np.testing.assert_allclose(rates, rates_of_torch(theirs, epochs), rtol=1e-9)


def test_warm_up_rises_in_a_line_and_then_follows_the_cosine():
    schedule = WarmupCosine(epochs=30, warmup=10)
    assert [schedule.rate(e) for e in (1, 5, 10)] == [0.1, 0.5, 1.0]
    assert [schedule.rate(10 + e) for e in (1, 7, 20)] == [CosineDecay(epochs=20).rate(e) for e in (1, 7, 20)]


@given(some.sampled_from(sorted(SCHEDULES)), some.integers(1, 80), some.integers(1, 60))
def test_a_rate_lies_between_zero_and_one_and_knows_nothing_of_later_losses(name, epoch, epochs):
    schedule = schedule_of(name, epochs)
    rate = schedule.rate(epoch, LOSSES)
    assert 0 <= rate <= 1
    assert rate == schedule.rate(epoch, LOSSES[: epoch - 1]) == schedule.rate(epoch, LOSSES)


@pytest.mark.parametrize("schedule", [Schedule(), StepDecay(3), CosineDecay(9), WarmupCosine(9), ReduceOnPlateau()])
def test_a_schedule_survives_as_data(schedule):
    assert schedule_of(schedule.to_dict(), epochs=50) == schedule
    assert schedule_of(schedule, epochs=50) is schedule


def test_a_length_left_open_is_that_of_the_training():
    assert schedule_of("warmup_cosine", 40) == WarmupCosine(epochs=40)
    assert schedule_of(CosineDecay(floor=0.2), 40) == CosineDecay(epochs=40, floor=0.2)
    assert schedule_of(None, 40) == Schedule()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: StepDecay(every=0), "every must be a whole number of at least 1, was 0"),
        (lambda: StepDecay(factor=2.0), r"factor must lie in \[0, 1\], was 2.0"),
        (lambda: CosineDecay().rate(1), r"Write CosineDecay\(epochs=50\)"),
        (lambda: WarmupCosine().rate(6), "WarmupCosine needs to know its epochs"),
        (lambda: ReduceOnPlateau(min_delta=float("nan")), "min_delta must be a finite number"),
        (lambda: schedule_of({"name": "step", "evry": 3}, 5), "no such argument"),
    ],
)
def test_wrong_arguments_are_told(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_an_unknown_schedule_gets_the_nearest():
    with pytest.raises(UnknownName, match="Did you mean 'plateau'"):
        schedule_of("platau", 5)
