import numpy as np
import pytest

import longshort as ls
from longshort import artifact
from longshort import features as f
from longshort.data import synthetic
from longshort.errors import ArtifactError, InputError, NotEnoughData, NotFitted, TrainingError, UnknownName
from longshort.models import AutoRegression, Ensemble, HistoricalMean, Persistence, Ridge, fleet
from longshort.models.combining import COMBINE
from longshort.models.readiness import ready_cells

RETURN = f.forward_log_return()
SMALL = {"target": RETURN, "hidden": (6,), "epochs": 4, "patience": 2}


@pytest.fixture(scope="module")
def bars():
    return synthetic.planted_signal(500, ("A", "B"), seed=3)


def short(**changes):
    return ls.LSTM([f.field("volume").log(), f.log_return()], **{**SMALL, "lookback": 4, **changes})


def long(**changes):
    return ls.LSTM([f.field("volume").log(), f.volatility(5)], **{**SMALL, "lookback": 20, "hidden": (8, 4), **changes})


def net_bits(model):
    return [a.tobytes() for group in model.nets_ for net in group for a in net.weights.values()]


@pytest.mark.parametrize("combine", COMBINE)
@pytest.mark.parametrize("threads", [1, 3])
def test_members_of_other_shapes_and_lookbacks_equal_their_solo_fits(bars, combine, threads):
    given = {"short": short(seeds=2), "long": long(), "ridge": Ridge([f.log_return()], RETURN)}
    ensemble = Ensemble(given, combine, threads=threads).fit(bars)
    for name in ("short", "long"):
        assert net_bits(ensemble.members_[name]) == net_bits(given[name].with_params().fit(bars))
        assert ensemble.members_[name].histories_[0].val_loss == given[name].with_params().fit(bars).history_.val_loss
    alone = given["ridge"].fit(bars).predict(bars).mean
    assert ensemble.predict_members(bars)["ridge"].mean.tobytes() == alone.tobytes()


def test_members_stop_each_at_its_own_epoch(bars):
    ensemble = Ensemble(short(epochs=40, patience=2), members=4).fit(bars)
    assert len({len(m.history_.val_loss) for m in ensemble.members_.values()}) > 1


@pytest.mark.parametrize("combine", COMBINE)
def test_mean_is_the_rule_over_the_members(bars, combine):
    ensemble = Ensemble([short(), long(), Persistence(RETURN)], combine).fit(bars)
    a, b, c = (said.mean for said in ensemble.predict_members(bars).values())
    u, v, w = ensemble.combination_.weights
    wanted = {
        "mean": (a + b + c) / 3,
        "median": np.median([a, b, c], axis=0),
        "weighted": u * a + v * b + w * c,
        "stacking": u * a + v * b + w * c,
    }[combine]
    said = ensemble.predict(bars)
    np.testing.assert_allclose(said.mean, wanted, rtol=0, atol=1e-15)
    missing = np.isnan(a) | np.isnan(b)
    np.testing.assert_array_equal(np.isnan(said.mean), missing)
    np.testing.assert_array_equal(~missing, ensemble.ready(bars))
    assert said.target == RETURN.info
    assert said.std is None
    np.testing.assert_array_equal(said.for_time[:-1], bars.time[1:])


@pytest.mark.parametrize("combine", COMBINE)
@pytest.mark.parametrize("target", [RETURN, f.forward_close()])
def test_a_row_equals_the_last_row_of_bars_until_it_and_what_the_stream_says(bars, combine, target):
    past = bars.until(int(bars.time[399]))
    ensemble = Ensemble([short(target=target), long(target=target)], combine).fit(past)
    whole = ensemble.predict(bars)
    stream = ensemble.stream(past)
    for t in range(400, 420):
        assert ensemble.predict(bars.until(int(bars.time[t]))).mean[-1].tobytes() == whole.mean[t].tobytes()
        assert stream.step(bars.row(t)).tobytes() == whole.mean[t].tobytes()
        stream.settle()
    again = ensemble.stream().restore(stream.snapshot())
    for t in range(420, 425):
        assert again.step(bars.row(t)).tobytes() == whole.mean[t].tobytes()
    with pytest.raises(InputError, match="snapshot lacks"):
        again.restore({})


def test_copies_draw_other_numbers_and_no_seed_twice(bars):
    ensemble = Ensemble(short(seeds=2, seed=5), members=3)
    assert [m.seed for m in ensemble.unfitted.values()] == [5, 7, 9]
    assert [m.seed for m in ensemble.with_seeds(4).unfitted.values()] == [5, 9, 13]
    assert [m.seed for m in ensemble.with_seed(1).unfitted.values()] == [1, 3, 5]
    outer = Ensemble(ensemble, members=2)
    assert [m.seed for m in outer.unfitted.values()] == [5, 11]
    names = list(ensemble.fit(bars).members_)
    assert names == ["lstm_1", "lstm_2", "lstm_3"]
    assert len({tuple(net_bits(m)) for m in ensemble.members_.values()}) == 3


@pytest.mark.parametrize("combine", COMBINE)
def test_seeds_are_ensembles_of_their_own_and_their_mean_is_the_forecast(bars, combine):
    ensemble = Ensemble([short(), HistoricalMean(RETURN)], combine).with_seeds(3).fit(bars)
    seeds = ensemble.predict_seeds(bars)
    assert seeds.shape == (3, len(bars), 2)
    np.testing.assert_allclose(seeds.mean(axis=0), ensemble.predict(bars).mean, rtol=0, atol=1e-15)
    lstm, mean = ensemble.members_["lstm"].predict_seeds(bars), ensemble.members_["mean"].predict(bars).mean
    np.testing.assert_array_equal(seeds[1], ensemble.combination_([lstm[1], mean]))


def test_weights_are_learned_on_rows_the_early_members_never_saw(bars):
    fitting = Ensemble([short(), Ridge([f.log_return()], RETURN)], "weighted").fitting(bars)
    first = fitting.first_held
    cells = fitting.model.ready(bars) & np.isfinite(RETURN.compute(bars))
    rows = np.flatnonzero(cells.any(axis=1))
    assert (rows >= first).sum() == round(0.2 * len(rows))
    assert all(fit.bars.time[-1] < bars.time[first] for fit in fitting.early.values())
    fleet.run([fitting])
    members = [m.fit(bars.until(int(bars.time[first - 1]))) for m in fitting.model.unfitted.values()]
    said = np.stack([m.predict(bars, start=int(bars.time[first])).mean for m in members])
    errors = np.nanmean((said - RETURN.compute(bars)[first:]) ** 2, axis=(1, 2))
    wanted = 0.5 * 0.5 + 0.5 * errors[::-1] / errors.sum()
    np.testing.assert_allclose(fitting.result.combination_.weights, wanted, rtol=1e-12)


def test_stacking_finds_the_member_that_knows_and_scales_the_one_that_shouts(bars):
    volume = [f.field("volume").log()]

    class Shouting(Ridge):
        name = "shouting"

        def predict(self, bars, start=None):
            said = super().predict(bars, start)
            return ls.Forecast(said.time, said.symbols, 4 * said.mean, target=said.target, for_time=said.for_time)

    ensemble = Ensemble([Shouting(volume, RETURN), HistoricalMean(RETURN)], "stacking", shrinkage=0.0).fit(bars)
    loud, mean = ensemble.combination_.weights
    assert loud == pytest.approx(0.25, rel=0.15)
    assert ensemble.diversity_.error < 0.6 * ensemble.diversity_.errors.min()
    assert mean >= 0


@pytest.mark.parametrize("combine", ["mean", "weighted"])
def test_diversity_out_of_sample(bars, combine):
    ensemble = Ensemble(short(), combine, members=3).fit(bars.until(int(bars.time[399])))
    found = ensemble.diversity(bars, start=int(bars.time[400]))
    assert found.n == 2 * 99
    assert found.error == pytest.approx(found.mean_error - found.ambiguity, rel=1e-9)
    assert found.ambiguity > 0
    said = [s.mean for s in ensemble.predict_members(bars, start=int(bars.time[400])).values()]
    if combine == "mean":
        np.testing.assert_allclose(ensemble.spread(bars, start=int(bars.time[400])), np.std(said, axis=0), atol=1e-15)
    assert "disagreement" in repr(found)


class Telling(HistoricalMean):
    """Says one number, and other things with it."""

    def __init__(self, number, **extras):
        super().__init__(RETURN)
        self.number, self.told = number, extras

    def predict(self, bars, start=None):
        said = super().predict(bars, start)
        mean = np.full(said.mean.shape, self.number)
        extras = {name.replace("_", "/", 1): np.full(mean.shape, value) for name, value in self.told.items()}
        said = ls.Forecast(said.time, said.symbols, mean, target=said.target, for_time=said.for_time)
        return said.with_extras(extras)


@pytest.mark.parametrize("combine", COMBINE)
def test_what_all_members_say_is_combined_and_nothing_else(bars, combine):
    common = {"quantiles_0.1": -2.0, "quantiles_0.9": 2.0, "probabilities_-1.0": 0.3, "probabilities_1.0": 0.7}
    other = {"quantiles_0.1": -2.0, "quantiles_0.9": 3.0, "probabilities_-1.0": 0.5, "probabilities_1.0": 0.5}
    members = [
        Telling(0.0, std=2.0, position=1.0, horizons_5=0.0, **common),
        Telling(0.004, std=1.0, position=0.0, **other),
    ]
    ensemble = Ensemble(members, combine).fit(bars)
    said, (u, v) = ensemble.predict(bars), ensemble.combination_.shares
    assert set(said.extras()) == {"std", "position", *(name.replace("_", "/", 1) for name in common)}
    row = {name: value[-1, 0] for name, value in said.extras().items()}
    mean = u * 0.0 + v * 0.004
    assert row["std"] ** 2 == pytest.approx(u * (4 + mean**2) + v * (1 + (0.004 - mean) ** 2))
    assert row["position"] == pytest.approx(u)
    assert row["probabilities/-1.0"] == pytest.approx(0.3 * u + 0.5 * v)
    assert sum(value for name, value in row.items() if name.startswith("probabilities")) == pytest.approx(1.0)
    a, b = ensemble.combination_.weights
    assert row["quantiles/0.9"] == pytest.approx(2 * a + 3 * b)
    assert row["quantiles/0.1"] == pytest.approx(-2 * (a + b))


def test_walk_forward_trains_all_members_of_all_folds_and_seeds(bars):
    ensemble = Ensemble([short(), long(), HistoricalMean(RETURN)], "weighted")
    cv = ls.WalkForward(train=250, test=100)
    one = ls.walk_forward(ensemble, bars, cv, seeds=2, threads=1)
    two = ls.walk_forward(ensemble, bars, cv, seeds=2, threads=3)
    assert one.seeds.shape[0] == 2
    assert one.seeds.tobytes() == two.seeds.tobytes()
    assert np.isfinite(one.forecast.mean).all()
    assert "ridge" in one.challengers
    assert len(one.histories[0]) == 4  # two nets of two seeds
    alone = ensemble.with_seeds(2).fit(bars.until(one.folds[0].train_end), start=one.folds[0].train_start)
    rows = one.fold == 0
    said = alone.predict_seeds(bars)[:, np.searchsorted(bars.time, one.time[rows])]
    assert said.tobytes() == one.seeds[:, rows].tobytes()


def test_a_failed_member_is_named(bars):
    class Broken(HistoricalMean):
        name = "broken"

        def fit(self, bars, start=None):
            raise ZeroDivisionError("no luck")

    with pytest.raises(TrainingError, match="Member 'broken' of the ensemble failed: no luck"):
        Ensemble([short(), Broken(RETURN)]).fit(bars)
    with pytest.raises(TrainingError, match="Member 'wild' of the ensemble failed: .*finite"):
        Ensemble({"tame": short(), "wild": short(lr=1e30, clip=0.0)}).fit(bars)
    with pytest.raises(NotEnoughData, match="Member 'lstm_2' of the ensemble failed: LSTM needs"):
        Ensemble([short(), long(lookback=600)]).fit(bars)


@pytest.mark.parametrize("combine", COMBINE)
def test_saved_and_loaded_it_says_the_same(bars, combine, tmp_path):
    inner = Ensemble(short(), members=2)
    ensemble = Ensemble({"pair": inner, "long": long()}, combine).fit(bars)
    ensemble.save(tmp_path / "e")
    ensemble.save(tmp_path / "e")  # replaces itself
    again = Ensemble.load(tmp_path / "e")
    assert again.predict(bars).digest == ensemble.predict(bars).digest
    assert again.to_dict() == ensemble.to_dict()
    assert repr(again.diversity_) == repr(ensemble.diversity_)
    assert list(again.members_["pair"].members_) == ["lstm_1", "lstm_2"]


def test_a_damaged_member_or_a_stray_file_is_refused(bars, tmp_path):
    Ensemble(short(), members=2).fit(bars).save(tmp_path / "e")
    file = tmp_path / "e" / "part-1" / "weights.safetensors"
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ArtifactError, match=r"part-1/weights.safetensors does not match"):
        Ensemble.load(tmp_path / "e")
    file.write_bytes(data)
    (tmp_path / "e" / "part-1" / "more.txt").write_text("x")
    with pytest.raises(ArtifactError, match=r"not listed part-1/more.txt"):
        Ensemble.load(tmp_path / "e")
    with pytest.raises(ArtifactError, match="saving would delete"):
        Ensemble(short(), members=2).fit(bars).save(tmp_path / "e")


def test_only_classes_of_ours_are_opened(bars, tmp_path):
    Ensemble(short(), members=2).fit(bars).save(tmp_path / "e")
    found = artifact.load(tmp_path / "e", "ensemble")
    document = found.documents["model"]
    document["parts"][0][1] = "os"
    artifact.save(tmp_path / "bad", "ensemble", documents={"model": document}, parts=found.parts)
    with pytest.raises(ArtifactError, match="No forecaster is called 'os'"):
        Ensemble.load(tmp_path / "bad")


def test_parameters_reach_into_members():
    ensemble = Ensemble([short(), Persistence(RETURN)])
    assert ensemble.get_params()["lstm__lookback"] == 4
    assert ensemble.set_params(lstm__lookback=7, combine="median").unfitted["lstm"].lookback == 7
    assert Ensemble(short(), members=2).set_params(lstm__lookback=9).unfitted["lstm_2"].lookback == 9
    with pytest.raises(UnknownName, match="combine"):
        ensemble.set_params(combin="mean")
    with pytest.raises(UnknownName, match="lookback"):
        ensemble.set_params(lstm__lookbak=3)


def test_a_set_parameter_leaves_the_member_that_was_passed_alone():
    mine = short()
    Ensemble([mine, Persistence(RETURN)]).set_params(lstm__lookback=7)
    assert mine.lookback == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (lambda: ([short()],), "at least 2 members"),
        (lambda: (short(),), "members counts copies"),
        (lambda: ([short(), long()], "mean", 3), "members counts copies"),
        (lambda: (short(), "mean", 1), "members must be None or a whole number of at least 2"),
        (lambda: (Persistence(RETURN), "mean", 3), "draws no random numbers"),
        (lambda: ([short(), ls.LSTM],), "was the class LSTM"),
        (lambda: ([short(), 3],), "must be a forecaster"),
        (lambda: ("lstm",), "was 'lstm'"),
        (lambda: ([short(), short(target=f.forward_log_return(5))],), "must predict the same"),
        (lambda: ([short(), long()], "average"), "combine was 'average'"),
    ],
)
def test_what_makes_no_ensemble_is_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        Ensemble(*arguments())


@pytest.mark.parametrize("wrong", [{"validation": 0.0}, {"shrinkage": 1.5}, {"seeds": 0}, {"threads": True}])
def test_wrong_numbers_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Ensemble([short(), long()], **wrong)


def test_too_few_rows_for_weights_and_unfitted_use_are_refused(bars):
    with pytest.raises(NotEnoughData, match="rows leaves 3 to learn weights on"):
        Ensemble([short(), long()], "stacking").fit(bars.until(int(bars.time[41])))
    with pytest.raises(NotFitted, match="fit"):
        Ensemble([short(), long()]).predict(bars)
    with pytest.raises(InputError, match="Member 'mean' .* has no stream"):
        Ensemble([short(), Silent(RETURN)]).fit(bars).stream()


class Silent(HistoricalMean):
    stream = property()


def test_fit_takes_steps_too(bars):
    ensemble = Ensemble([short(), long(), AutoRegression(RETURN)], "stacking")
    fitting = ensemble.fitting(bars)
    with pytest.raises(NotFitted, match="not done"):
        _ = fitting.result
    while not fitting.step():
        assert 0 <= fitting.fraction < 1
    assert not hasattr(ensemble, "members_")
    assert fitting.result.predict(bars).digest == ensemble.fit(bars).predict(bars).digest


def test_rows_every_forecaster_can_speak_at(bars):
    assert ready_cells(Persistence(RETURN), bars).all()
    assert int((~ready_cells(long(), bars)).sum()) == 2 * (19 + 5)
    both = Ensemble([long(), AutoRegression(RETURN)])
    np.testing.assert_array_equal(ready_cells(both, bars), ready_cells(long(), bars))


def test_a_saved_study_knows_its_ensemble_again_and_describes_members_it_cannot_build(bars, tmp_path):
    class Mine(HistoricalMean):
        def to_dict(self):
            return super().to_dict() | {"kind": "Mine"}

    cv = ls.WalkForward(train=250, test=150)
    for i, other in enumerate((long(), Mine(RETURN))):
        ensemble = Ensemble([short(), other])
        study = ls.walk_forward(ensemble, bars, cv, baselines=[], seeds=1)
        study.save(tmp_path / str(i))
        again = ls.Study.load(tmp_path / str(i))
        assert again.forecaster.to_dict() == ensemble.to_dict()
        assert again.seeds.tobytes() == study.seeds.tobytes()
        assert isinstance(again.forecaster, Ensemble) == (i == 0)


def test_copies_of_a_wrapped_forecaster_share_no_seed():
    members = Ensemble(ls.models.Conformal(short(seeds=3)), members=3).unfitted.values()
    assert [member.seed for member in members] == [0, 3, 6]


@pytest.mark.parametrize("combine", ["mean", "median", "weighted", "stacking"])
@pytest.mark.parametrize("target", [RETURN, f.forward_close()], ids=["return", "close"])
def test_a_stream_says_everything_that_predict_says(bars, combine, target):
    members = [short(target=target, loss="gaussian"), long(target=target, loss="gaussian")]
    model = Ensemble(members, combine).fit(bars.until(int(bars.time[399])))
    whole, stream = model.predict(bars), model.stream(bars.until(int(bars.time[419])))
    for t in range(420, 440):
        said, told = whole.row(t), stream.forecast(bars.row(t))
        assert told.mean.tobytes() == said.mean.tobytes()
        assert set(told.extras()) == set(said.extras()) == {"std"}
        assert told.std.tobytes() == said.std.tobytes()
