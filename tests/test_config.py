"""study.toml: what it may say, what it must not, and the folders it leads to."""

import pytest

from longshort import config
from longshort.errors import ArtifactError, InputError, LongshortError, UnknownName


def test_the_template_is_valid_and_builds_what_it_says():
    found = config.parse(config.template("MSFT", "sample"))
    assert found.data["symbols"] == ["MSFT"]
    model = found.forecaster()
    assert model.lookback == 60
    assert model.hidden == (50, 50)
    assert str(model.target_.info) == "log return over the next bar"
    assert found.cv() is not None


def test_every_commented_line_of_the_template_is_valid_too():
    text = "\n".join(
        line.removeprefix("# ") if line.startswith("# ") and " = " in line else line
        for line in config.template().splitlines()
    )
    found = config.parse(text)
    assert found.model["head"] == [32]
    assert found.walk_forward["embargo"] == "5D"
    found.forecaster()
    found.cv()


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ('[data]\nsymbols = ["A"]\n[model]\nlokback = 3', "lookback"),
        ('[data]\nsymbol = ["A"]', "symbols"),
        ('[data]\nsymbols = ["A"]\n[walk_forwards]\ntrain = "5Y"', "walk_forward"),
        ('[data]\nsymbols = ["A"]\n[walk_forward]\nembargoe = "5D"', "embargo"),
        ('[data]\nsymbols = ["A"]\n[model]\nkind = "keras_tutorail"', "keras_tutorial"),
    ],
)
def test_unknown_keys_are_answered_with_the_nearest(text, nearest):
    with pytest.raises(UnknownName, match=f"Did you mean '{nearest}'"):
        config.parse(text)


@pytest.mark.parametrize(
    "text",
    ["not toml at all", "[data]", "[data]\nsymbols = []", "[data]\nsymbols = [1]", 'data = "AAPL"', ""],
)
def test_broken_files_are_refused_with_one_sentence(text):
    with pytest.raises(InputError):
        config.parse(text)


@pytest.mark.parametrize(
    ("features", "names"),
    [
        (["log_return", "rsi(14)"], 2),
        ([{"name": "rsi", "n": 5}], 1),
        ("technical", None),
        (["macd"], 3),
    ],
)
def test_features_by_short_name(features, names):
    model = config.Config("x", {}, {"features": features}).forecaster()
    assert names is None or len(model.program_.names) == names


@pytest.mark.parametrize(
    "feature",
    ["rsy(14)", "__import__('os').system('true')", "rsi(open('x'))", "os.system('x')", "rsi(14)(3)", 7, "rsi(", ""],
)
def test_features_hold_no_code(feature):
    with pytest.raises(LongshortError):
        config.Config("x", {}, {"features": [feature]}).forecaster()


def test_wrong_arguments_of_a_feature_are_explained():
    with pytest.raises(InputError, match="rsi"):
        config.Config("x", {}, {"features": ["rsi(1, 2, 3, 4, 5)"]}).forecaster()


def test_presets_by_name():
    model = config.parse('[data]\nsymbols = ["A"]\n[model]\nkind = "lstm_64_64_32_1"\nepochs = 3').forecaster()
    assert (tuple(model.hidden), tuple(model.head), model.epochs) == ((64, 64), (32,), 3)


def test_init_refuses_to_replace_a_file(tmp_path):
    path = config.init(tmp_path / "study.toml")
    before = path.read_bytes()
    with pytest.raises(InputError, match="--force"):
        config.init(path, "MSFT")
    assert path.read_bytes() == before
    config.init(path, "MSFT", force=True)
    assert config.load_config(path).data["symbols"] == ["MSFT"]


@pytest.mark.parametrize("symbol", ['"]', "", "A" * 70, "A B", "a\nb"])
def test_a_symbol_cannot_break_out_of_the_template(symbol):
    with pytest.raises(InputError):
        config.template(symbol)


def test_a_study_file_becomes_a_run_folder(tmp_path):
    path = config.init(tmp_path / "study.toml")
    run = config.start_run(path, tmp_path / "runs")
    assert run.path == tmp_path / "runs" / "aapl"
    assert run.config().text == path.read_text()
    assert config.open_run("aapl", tmp_path / "runs").path == run.path
    assert config.start_run(run.path, tmp_path / "runs").path == run.path


def test_two_study_files_of_one_name_do_not_share_a_folder(tmp_path):
    first, second = (config.init(tmp_path / name / "study.toml") for name in ("a", "b"))
    config.start_run(first, tmp_path / "runs")
    with pytest.raises(InputError, match="has the same name 'aapl'. Give it another"):
        config.start_run(second, tmp_path / "runs")
    config.start_run(first, tmp_path / "runs")  # changed or not, its own again
    second.write_text(second.read_text().replace('name = "aapl"', 'name = "aapl-b"'))
    assert config.start_run(second, tmp_path / "runs").name == "aapl-b"


def test_a_study_file_may_move(tmp_path):
    path = config.init(tmp_path / "study.toml")
    config.start_run(path, tmp_path / "runs")
    (tmp_path / "kept").mkdir()
    moved = path.rename(tmp_path / "kept" / "aapl.toml")
    assert config.start_run(moved, tmp_path / "runs").name == "aapl"


def test_a_mistake_leaves_the_text_of_an_earlier_run(tmp_path):
    path = config.init(tmp_path / "study.toml")
    run = config.start_run(path, tmp_path / "runs")
    for wrong in (('"technical" ', '["rsy(14)"]'), ("[50, 50]", "[]"), ('"5Y"', '"5Q"')):
        path.write_text(run.config().text.replace(*wrong))
        with pytest.raises(InputError):
            config.start_run(path, tmp_path / "runs")
    assert "technical" in run.config().text


def test_an_unknown_run_is_answered_with_the_nearest(tmp_path):
    config.start_run(config.init(tmp_path / "study.toml"), tmp_path / "runs")
    with pytest.raises(UnknownName, match="Did you mean 'aapl'"):
        config.open_run("appl", tmp_path / "runs")


def test_a_run_without_results_says_how_to_get_them(tmp_path):
    run = config.start_run(config.init(tmp_path / "study.toml"), tmp_path / "runs")
    with pytest.raises(ArtifactError, match="longshort walk-forward"):
        run.study()


def test_a_missing_file_says_how_to_get_one(tmp_path):
    with pytest.raises(InputError, match="longshort init"):
        config.load_config(tmp_path / "none.toml")


# ---------------------------------------------------------------------------------------------------- kinds of models

HEAD = '[data]\nsymbols = ["A"]\n'


def test_intervals_around_a_named_model():
    model = config.parse(
        HEAD + '[model]\nkind = "Conformal"\ncoverage = 0.8\nmethod = "adaptive"\n'
        '[model.forecaster]\nkind = "Ridge"\nfeatures = ["rsi(14)"]\nlookback = 3\n'
    ).forecaster()
    assert (model.coverage, model.method) == (0.8, "adaptive")
    assert (type(model.forecaster).__name__, model.forecaster.lookback) == ("Ridge", 3)
    assert str(model.target.info) == "log return over the next bar"


def test_an_ensemble_of_several_of_one_copied_and_of_named_members():
    several = HEAD + (
        '[model]\nkind = "Ensemble"\ncombine = "stacking"\n[[model.forecasters]]\nhidden = [4]\nlookback = 5\n'
        '[[model.forecasters]]\nkind = "AutoRegression"\nspans = [1, 5]\n'
    )
    model = config.parse(several).forecaster()
    assert list(model.inside()) == ["lstm", "ar"]
    assert model.inside()["ar"].spans == (1, 5)
    copied = config.parse(HEAD + '[model]\nkind = "Ensemble"\nmembers = 3\n[model.forecasters]\nhidden = [4]\n')
    assert copied.forecaster().members == 3
    named = config.parse(
        HEAD + '[model]\nkind = "Ensemble"\n[model.forecasters.quick]\nkind = "Drift"\n'
        '[model.forecasters.slow]\nkind = "AutoRegression"\n'
    )
    assert list(named.forecaster().inside()) == ["quick", "slow"]


@pytest.mark.parametrize("kind", ["Ridge", "AutoRegression", "Persistence", "Drift", "HistoricalMean", "LSTM"])
def test_every_kind_stands_on_its_own(kind):
    model = config.parse(HEAD + f'[model]\nkind = "{kind}"\n').forecaster()
    assert type(model).__name__ == kind


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (
            'kind = "Conformal"\n[model.forecaster]\nlokback = 5',
            r"\[model\] in study.toml forecaster has no key 'lokback'",
        ),
        ('kind = "Ensemble"\n[[model.forecasters]]\nkind = "Rigde"', r"forecasters\[0\] kind was 'Rigde'.*'Ridge'"),
        ('kind = "Ridge"\nhidden = [4]', "no key 'hidden'"),
        ('kind = "Conformal"\nforecaster = 3', "forecaster must be a table, was 3"),
        ('kind = "Ensemble"\nforecasters = [3]', r"forecasters\[0\] must be a table"),
    ],
)
def test_mistakes_inside_a_model_are_found_where_they_are(model, says):
    with pytest.raises(InputError, match=says):
        config.parse(HEAD + "[model]\n" + model)


def test_a_model_without_the_model_inside_it_says_what_to_write():
    with pytest.raises(InputError, match=r"needs a table \[model.forecaster\]"):
        config.parse(HEAD + '[model]\nkind = "Conformal"\n').forecaster()


# -------------------------------------------------------------------------------------- from forecasts to a strategy

WHOLE = (
    HEAD
    + """
[strategy]
refit = "3M"
currency = "EUR"
[policy]
kind = "VolatilityTarget"
target = 0.1
[policy.policy]
kind = "TopK"
k = 2
[limits]
stop_loss = 0.05
take_profit = "none"
[costs]
half_spread_bp = 1.5
commission = {kind = "basis points", bp = 3.0}
[backtest]
cash = 5000
participation = 0.05
"""
)


def test_a_study_file_describes_a_whole_strategy():
    from longshort import portfolio as p
    from longshort.orders import BasisPoints, Costs, Instrument, Money

    found = config.parse(WHOLE)
    strategy = found.build_strategy(found.forecaster())
    assert strategy.refit == "3M"
    assert strategy.policy == p.VolatilityTarget(p.TopK(2), 0.1)
    assert strategy.limits == p.Limits(stop_loss=0.05)
    assert found.build_costs() == Costs(BasisPoints(3.0), half_spread_bp=1.5)
    given = found.account()
    assert given["cash"] == Money.of(5000, "EUR")
    assert given["costs"] == found.build_costs()
    assert given["execution"].participation == 0.05
    assert given["instruments"] == {"A": Instrument("A", currency="EUR")}


def test_a_study_file_without_a_word_about_money_has_the_defaults():
    from longshort import portfolio as p
    from longshort.orders import Costs

    found = config.parse(HEAD)
    assert found.build_strategy(None).policy == p.LongShort()
    assert found.build_strategy(None).limits == p.Limits()
    assert found.build_costs() == Costs()


@pytest.mark.parametrize(
    ("table", "nearest"),
    [
        ('[polcy]\nkind = "Sign"', "policy"),
        ('[policy]\nkind = "Sing"', "Sign"),
        ("[policy]\ntarget_volume = 0.1", "target_vol"),
        ('[policy]\nkind = "VolatilityTarget"\ntarget = 0.1\npolicy = {kind = "TopK", kk = 1}', "k"),
        ("[limits]\nstop_los = 0.05", "stop_loss"),
        ("[costs]\nhalf_spread = 1.0", "half_spread_bp"),
        ('[costs]\ncommission = {kind = "per shares"}', "per share"),
        ("[backtest]\ncsh = 1", "cash"),
        ('[strategy]\nrefitt = "6M"', "refit"),
    ],
)
def test_unknown_keys_of_a_strategy_are_answered_with_the_nearest(table, nearest):
    with pytest.raises(UnknownName, match=f"Did you mean '{nearest}'"):
        config.parse(HEAD + table)


@pytest.mark.parametrize(
    "table",
    [
        '[policy]\nkind = "Rule"\nfunction = "os.system"',
        '[policy]\nkind = "os.system"',
        "[policy]\nkind = 3",
        "[policy]\ngross = 7",
        "[policy]\ngross = {a = 1}",
        '[limits]\nstop_loss = "a lot"',
        "[limits]\nstop_loss = nan",
        "[costs]\nhalf_spread_bp = -1",
        "[costs]\ncommission = 3",
        "[backtest]\ncash = 0",
        '[backtest]\ncash = "all"',
        "[backtest]\ncash = inf",
        "[backtest]\nparticipation = true",
        "[backtest]\nparticipation = 0",
        "[backtest]\nparticipation = 1.5",
        "[backtest]\nlatency_seconds = -1",
        '[policy]\nkind = "LongShort"\nshort = "false"',
        "[limits]\nsectors = {IBM = 'tech'}",
        '[policy]\nkind = "RiskParity"\nbudgets = {IBM = 1.0}',
        '[strategy]\ncurrency = "dollars"',
        "policy = 3",
    ],
)
def test_what_makes_no_sense_is_refused_when_the_file_is_read(table):
    with pytest.raises(InputError):
        config.parse(table + "\n" + HEAD if table.startswith("policy =") else HEAD + table)


def test_a_wrong_refit_rule_is_refused_before_an_earlier_run_is_touched(tmp_path):
    path = config.init(tmp_path / "study.toml")
    run = config.start_run(path, tmp_path / "runs")
    path.write_text(path.read_text().replace('# refit = "6M"', 'refit = "soon"'))
    with pytest.raises(InputError, match="'soon'"):
        config.start_run(path, tmp_path / "runs")
    assert "soon" not in run.config().text
