"""What networks with other losses, targets and shapes say: distributions, classes, positions, ranks, horizons."""

import numpy as np
import pytest

import longshort as ls
from longshort import features as f
from longshort.data import synthetic
from longshort.errors import ArtifactError, InputError, NotEnoughData
from longshort.models import losses
from longshort.models.fitting import LSTMFitting

NATIVE = {
    "mae": {"loss": "mae"},
    "huber": {"loss": "huber"},
    "quantile": {"loss": losses.Quantile((0.05, 0.5, 0.95))},
    "gaussian": {"loss": "gaussian"},
    "student_t": {"loss": "student_t"},
    "direction": {"loss": losses.CrossEntropy(focal=1.0), "target": f.forward_direction(1)},
    "barrier": {"loss": losses.CrossEntropy("balanced"), "target": f.forward_barrier(5)},
    "horizons": {"target": [f.forward_return(1), f.forward_return(5)]},
    "cosine": {"schedule": "warmup_cosine"},
}
TORCH = {
    "sharpe": {"loss": "sharpe"},
    "rank": {"loss": "rank"},
    "gru": {"network": "gru", "dropout": 0.2},
    "torch": {"engine": "torch", "loss": "gaussian"},
    "embedding": {"symbol_embedding": 3},
}
ALL = [*NATIVE, *(pytest.param(name, marks=pytest.mark.full) for name in TORCH)]


@pytest.fixture(scope="module")
def walk():
    return synthetic.random_walk(360, 4, seed=1)


def small(name):
    shape = {"lookback": 8, "hidden": (6,), "epochs": 3, "patience": 2, "seeds": 2, "seed": 3}
    return ls.LSTM([f.log_return(), f.volatility(5)], **(shape | (NATIVE | TORCH)[name]))


@pytest.mark.parametrize("name", ALL)
def test_row_t_is_the_last_row_of_predict_until_t(name, walk):
    model = small(name).fit(walk.until(int(walk.time[300])))
    said = model.predict(walk)
    for row in (301, 333, 358):
        until = model.predict(walk.until(int(walk.time[row])))
        assert until.mean[-1].tobytes() == said.mean[row].tobytes()
        for part, values in said.extras().items():
            assert until.extras()[part][-1].tobytes() == values[row].tobytes(), part


@pytest.mark.parametrize("name", ALL)
def test_saved_and_loaded_the_whole_forecast_keeps_its_bits(name, walk, tmp_path):
    model = small(name).fit(walk.until(int(walk.time[300])))
    model.save(tmp_path / "model")
    assert ls.LSTM.load(tmp_path / "model").predict(walk).digest == model.predict(walk).digest


@pytest.mark.parametrize("name", ALL)
def test_described_and_built_again_it_is_the_same_model(name, walk):
    model = small(name)
    again = ls.LSTM.from_dict(model.to_dict())
    assert again.to_dict() == model.to_dict()
    assert again.fit(walk).predict(walk).digest == model.fit(walk).predict(walk).digest


@pytest.mark.parametrize("steps", [1, 4, 8])
@pytest.mark.parametrize("name", ["quantile", "direction", pytest.param("gru", marks=pytest.mark.full)])
def test_a_fit_that_was_stopped_goes_on_to_the_same_bytes(name, steps, walk, tmp_path):
    stopped = LSTMFitting(small(name), walk, checkpoint=tmp_path)
    for _ in range(steps):
        stopped.step()
    resumed = small(name).fit(walk, checkpoint=tmp_path)
    whole = small(name).fit(walk)
    assert resumed.predict(walk).digest == whole.predict(walk).digest
    assert resumed.histories_ == whole.histories_
    went_on = LSTMFitting(small(name), walk, checkpoint=tmp_path)
    went_on.step()
    assert went_on.search[0][0].training.done  # one step finds the finished training, it does not train again


@pytest.mark.parametrize(
    "changes", [{"lr": 0.1}, {"seed": 4}, {"loss": "huber"}, {"features": [f.log_return(), f.volatility(6)]}]
)
def test_the_checkpoint_of_a_fit_with_other_arguments_is_refused(changes, walk, tmp_path):
    small("mae").fit(walk, checkpoint=tmp_path)
    with pytest.raises(ArtifactError, match="on other samples or with other arguments"):
        small("mae").with_params(**changes).fit(walk, checkpoint=tmp_path)


def test_the_refit_follows_the_rates_that_the_search_followed(walk):
    model = ls.LSTM([f.log_return()], lookback=5, hidden=(4,), epochs=30, patience=3, schedule="cosine")
    fitting = LSTMFitting(model, walk)
    while not fitting.step():
        pass
    assert fitting.final is not None
    searched, refitted = (group[0][0].training.history.lr for group in (fitting.search, fitting.final))
    assert len(refitted) < 30
    assert refitted == searched[: len(refitted)]


def test_quantiles_follow_the_volatility_and_hold_what_they_promise():
    bars = synthetic.garch(4000, seed=2, alpha=0.12, beta=0.85)
    model = ls.LSTM(
        [f.log_return(), f.volatility(5)],
        loss="quantile",
        lookback=20,
        hidden=(16,),
        epochs=15,
        patience=4,
        seed=1,
    ).fit(bars.until(int(bars.time[2999])))
    said = model.predict(bars, start=int(bars.time[3001]))
    actual = f.forward_log_return(1).compute(bars)[3001:, 0]
    assert said.quantiles is not None
    low, high = said.quantiles[0.05][:, 0], said.quantiles[0.95][:, 0]
    known = np.isfinite(actual)
    assert 0.87 < ls.metrics.coverage(actual[known], low[known], high[known]) < 0.93
    recent = f.volatility(20).compute(bars)[3001:, 0]
    assert np.corrcoef(high - low, recent)[0, 1] > 0.6


@pytest.mark.parametrize("loss", ["gaussian", "student_t"])
def test_predicted_deviations_are_those_of_the_next_return(loss):
    bars = synthetic.garch(4000, seed=3, alpha=0.12, beta=0.85)
    inputs = [f.log_return(), f.volatility(5), f.volatility(20)]
    model = ls.LSTM(inputs, loss=loss, lookback=10, hidden=(16,), epochs=15, patience=4)
    said = model.fit(bars.until(int(bars.time[2999]))).predict(bars, start=int(bars.time[3001]))
    actual = f.forward_log_return(1).compute(bars)[3001:]
    assert said.std is not None
    z = ((actual - said.mean) / said.std)[np.isfinite(actual)]
    assert 0.85 < np.sqrt(np.mean(z**2)) < 1.15
    constant = np.nanstd(actual)
    assert -np.log(said.std).mean() - (z**2).mean() / 2 > -np.log(constant) - 0.5  # likelier than one deviation for all


def test_probabilities_of_a_planted_direction_are_informed_and_calibrated():
    bars = synthetic.planted_signal(3000, ceiling_correlation=0.6, seed=4)
    model = ls.LSTM(
        [f.field("volume").log()], f.forward_direction(1), loss="cross_entropy", lookback=5, hidden=(12,), epochs=25
    )
    said = model.fit(bars.until(int(bars.time[2199]))).predict(bars, start=int(bars.time[2201]))
    up = f.forward_direction(1).compute(bars)[2201:, 0]
    known = np.isfinite(up)
    p, up = said.mean[known, 0], up[known]
    assert np.mean((p > 0.5) == up) > 0.64
    assert np.mean((p - up) ** 2) < 0.225
    for low, high in ((0.0, 0.35), (0.35, 0.65), (0.65, 1.0)):
        part = (p >= low) & (p < high)
        assert abs(p[part].mean() - up[part].mean()) < 0.1


def test_three_classes_learn_that_volume_moves_prices():
    bars = synthetic.planted_signal(2600, ceiling_correlation=0.7, seed=6)
    model = ls.LSTM(
        [f.field("volume").log()], f.forward_move(1, 0.5), loss="cross_entropy", lookback=5, hidden=(12,), epochs=25
    )
    said = model.fit(bars.until(int(bars.time[1999]))).predict(bars, start=int(bars.time[2001]))
    moved = f.forward_move(1, 0.5).compute(bars)[2001:, 0]
    known = np.isfinite(moved)
    assert said.probabilities is not None
    assert np.corrcoef(said.mean[known, 0], moved[known])[0, 1] > 0.5
    assert sorted(said.probabilities) == [-1.0, 0.0, 1.0]
    np.testing.assert_allclose(sum(said.probabilities.values())[:, 0], 1.0)


def test_several_horizons_are_forecast_at_once():
    bars = synthetic.planted_signal(2000, ceiling_correlation=0.7, seed=7)
    targets = [f.forward_log_return(h) for h in (1, 2, 5)]
    model = ls.LSTM([f.field("volume").log()], targets, lookback=5, hidden=(12,), epochs=20)
    said = model.fit(bars.until(int(bars.time[1499]))).predict(bars, start=int(bars.time[1505]))
    assert said.horizons is not None
    assert list(said.horizons) == [1, 2, 5]
    assert np.array_equal(said.horizons[1], said.mean)
    for target in targets:
        actual = target.compute(bars)[1505:, 0]
        known = np.isfinite(actual)
        ceiling = 0.7 / np.sqrt(target.horizon)
        assert np.corrcoef(said.horizons[target.horizon][known, 0], actual[known])[0, 1] > 0.7 * ceiling


def momentum(n, strength, seed):
    """Returns that go on: each is `strength` times the last one's sign plus noise."""
    rng = np.random.default_rng(seed)
    returns = rng.normal(0, 0.01, size=(n, 4))
    for t in range(1, n):
        returns[t] += strength * 0.01 * np.sign(returns[t - 1])
    return synthetic.from_log_returns(returns, 4, seed=seed)


@pytest.mark.full
def test_positions_earn_on_planted_momentum_and_nothing_on_noise():
    sharpes = {}
    for name, strength in (("noise", 0.0), ("momentum", 0.25)):
        bars = momentum(1600, strength, seed=8)
        model = ls.LSTM([f.log_return()], loss="sharpe", lookback=5, hidden=(8,), epochs=15, lr=5e-3, patience=5)
        said = model.fit(bars.until(int(bars.time[1099]))).predict(bars, start=int(bars.time[1101]))
        assert said.position is not None
        earned = said.position[:-1] * f.forward_return(1).compute(bars)[1101:-1]
        sharpes[name] = ls.metrics.sharpe(earned.mean(axis=1))
    assert abs(sharpes["noise"]) < 2.0
    assert sharpes["momentum"] > 4.0


@pytest.mark.full
def test_ranks_order_a_cross_section_whatever_the_market_does():
    rng = np.random.default_rng(9)
    quality = rng.normal(size=(900, 10))
    market = rng.normal(0, 0.03, size=(900, 1))
    returns = np.zeros((900, 10))
    returns[1:] = market[1:] + 0.005 * quality[:-1] + rng.normal(0, 0.01, size=(899, 10))
    bars = synthetic.from_log_returns(returns, 10, seed=9, volume=np.exp(10 + quality))
    model = ls.LSTM([f.field("volume").log()], loss="rank", lookback=3, hidden=(8,), epochs=10, lr=5e-3)
    said = model.fit(bars.until(int(bars.time[649]))).predict(bars, start=int(bars.time[651]))
    actual = f.forward_log_return(1).compute(bars)[651:]
    ics = ls.metrics.information_coefficients(actual[:-1], said.mean[:-1])
    assert np.nanmean(ics) > 0.3


@pytest.mark.full
def test_an_embedding_lets_one_network_tell_symbols_apart():
    """The same signal means a rise for one symbol and a fall for the other; without knowing which it means nothing."""
    rng = np.random.default_rng(10)
    signal = rng.normal(size=(1500, 1))
    returns = np.zeros((1500, 2))
    returns[1:] = 0.01 * (0.7 * signal[:-1] * [1.0, -1.0] + 0.7 * rng.normal(size=(1499, 2)))
    bars = synthetic.from_log_returns(returns, ("UP", "DOWN"), seed=10, volume=np.exp(10 + np.tile(signal, 2)))
    found = {}
    for width in (0, 4):
        model = ls.LSTM(
            [f.field("volume").log()],
            lookback=3,
            hidden=(8,),
            epochs=15,
            lr=5e-3,
            engine="torch",
            symbol_embedding=width,
        ).fit(bars.until(int(bars.time[1099])))
        said = model.predict(bars, start=int(bars.time[1101]))
        actual = f.forward_log_return(1).compute(bars)[1101:]
        found[width] = np.corrcoef(said.mean[:-1].ravel(), actual[:-1].ravel())[0, 1]
        swapped = model.predict(bars.select(["DOWN", "UP"]), start=int(bars.time[1101]))
        assert np.array_equal(swapped.mean[:, ::-1], said.mean)
    assert found[0] < 0.2
    assert found[4] > 0.55


@pytest.mark.full
def test_any_module_is_a_network_and_its_code_is_not_saved(walk, tmp_path):
    import torch

    def average(n_inputs, n_outputs, lookback):
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(n_inputs * lookback, n_outputs))

    model = ls.LSTM([f.log_return()], lookback=8, epochs=2, network=average).fit(walk)
    model.save(tmp_path / "model")
    with pytest.raises(InputError, match=r"LSTM.load\(directory, network=average\)"):
        ls.LSTM.load(tmp_path / "model")
    again = ls.LSTM.load(tmp_path / "model", network=average)
    assert again.predict(walk).digest == model.predict(walk).digest


@pytest.mark.full
@pytest.mark.parametrize("kind", ["gru", "bilstm", "alstm", "cnn_lstm", "layernorm_lstm", "residual_lstm"])
def test_every_network_has_a_summary_and_a_drawing_with_its_counts(kind):
    from longshort.models.nets import make_network
    from longshort.report.diagram import network_figure, network_of

    model = ls.LSTM([f.log_return(k) for k in range(1, 5)], lookback=10, hidden=(6, 3), network=kind)
    net = make_network(kind, 4, hidden=(6, 3), lookback=10)
    layers = model.layers()
    assert [layer["name"] for layer in layers] == [layer["name"] for layer in net.layers()]
    assert f"{sum(layer['parameters'] for layer in layers):,}" in model.summary()
    assert model.summary().startswith(f"{kind}: log return")
    drawn = network_of(model)
    assert drawn is not None
    assert "<svg" in network_figure(drawn)


@pytest.mark.parametrize("name", ["mae", "quantile", "gaussian"])
def test_many_seeds_are_averaged_to_the_same_bits_over_one_row_and_over_many(name):
    """Pairwise summation of a lone row would add the seeds in another order."""
    bars = synthetic.random_walk(120, seed=4)
    model = small(name).with_params(seeds=17, epochs=1, validation=0.0).fit(bars.until(int(bars.time[90])))
    said, stream = model.predict(bars), model.stream(bars.until(int(bars.time[99])))
    for row in range(100, 120):
        alone = model.predict(bars.until(int(bars.time[row])), start=int(bars.time[row]))
        assert alone.mean[0].tobytes() == said.mean[row].tobytes() == stream.step(bars.row(row)).tobytes()
        for part, values in said.extras().items():
            assert alone.extras()[part][0].tobytes() == values[row].tobytes(), part


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"loss": "rank", "per_symbol": True}, "compares symbols of one date, and per_symbol=True"),
        ({"network_options": {"width": 3}}, "the native LSTM has none"),
        ({"validation": "0.2"}, "validation must be a share"),
    ],
)
def test_options_without_effect_or_of_another_type_are_refused(params, message):
    with pytest.raises(InputError, match=message):
        ls.LSTM([f.log_return()], **params)


def test_a_cross_section_of_one_symbol_is_refused(walk):
    with pytest.raises(NotEnoughData, match="no training date has rows of more than one, and bars has 1"):
        small("rank").fit(walk.select([walk.symbols[0]]))


def test_a_symbol_without_validation_rows_has_no_position_to_weigh(walk):
    close = np.array(walk["close"])
    close[200:, 1] = np.nan
    bars = ls.Bars.from_arrays(walk.time, walk.symbols, {"close": close}, bar_size="1D")
    with pytest.raises(NotEnoughData, match=f"{walk.symbols[1]} has no validation row"):
        small("sharpe").with_params(per_symbol=True).fit(bars)


@pytest.mark.full
def test_widths_counted_by_numpy_are_whole_numbers_to_torch_too(walk):
    widths = {"symbol_embedding": np.int64(2), "hidden": np.array([4, 3]), "head": (np.int64(3),)}
    said = ls.LSTM([f.log_return()], lookback=4, epochs=1, **widths).fit(walk).predict(walk)
    plain = {"symbol_embedding": 2, "hidden": (4, 3), "head": (3,)}
    assert said.digest == ls.LSTM([f.log_return()], lookback=4, epochs=1, **plain).fit(walk).predict(walk).digest
