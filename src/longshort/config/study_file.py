"""What a `study.toml` says, read key by key and turned into objects."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..artifact import write_atomic
from ..errors import InputError, SetupError
from .tables import check_model, choices, known, model_of

if TYPE_CHECKING:
    from ..bars import Bars
    from ..evaluation import WalkForward
    from ..orders import Costs
    from ..strategy import Strategy

STUDY_FILE = "study.toml"
RUNNING = ("seeds", "threads", "parallel", "baselines")
_KEYS = {  # of the tables whose keys are not those of one class
    "data": ("symbols", "start", "end", "source", "path", "calendar"),
    "walk_forward": ("train", "test", "embargo", "expanding", *RUNNING),
    "tune": ("space", "trials", "sampler", "cv", "score", "prune", "batch", "seed", "storage", "threads", "parallel"),
    "strategy": ("refit", "currency"),
    "backtest": ("cash", "participation", "latency_seconds"),
}
_TABLES = ("data", "model", "tune", "walk_forward", "strategy", "policy", "limits", "costs", "backtest")


@dataclass(frozen=True)
class Config:
    """What a `study.toml` says.

    Parameters
    ----------
    name : str
        Name of the study, and of its run folder.
    data : mapping
        Arguments of `load_bars`.
    model : mapping
        ``kind`` (a forecaster of `longshort.models`, "LSTM" by default, or a preset) and its arguments.
    walk_forward : mapping
        Arguments of `WalkForward`, and ``seeds`` and ``threads``.
    tune : mapping
        Arguments of `tune`; ``space`` maps names to lists of choices or tables ``{low, high, log, step}``.
    strategy, policy, limits, costs, backtest : mapping
        ``refit`` and ``currency``; ``kind`` (a policy of `longshort.portfolio`, "LongShort" by default) and its
        arguments; arguments of `Limits` and of `Costs`; ``cash``, ``participation`` and ``latency_seconds``.

    Examples
    --------
    >>> from longshort.config import parse, template
    >>> config = parse(template())
    >>> config.name, config.data["symbols"], config.walk_forward["train"]
    ('aapl', ['AAPL'], '5Y')
    """

    name: str
    data: Mapping[str, Any]
    model: Mapping[str, Any] = field(default_factory=dict)
    walk_forward: Mapping[str, Any] = field(default_factory=dict)
    tune: Mapping[str, Any] = field(default_factory=dict)
    strategy: Mapping[str, Any] = field(default_factory=dict)
    policy: Mapping[str, Any] = field(default_factory=dict)
    limits: Mapping[str, Any] = field(default_factory=dict)
    costs: Mapping[str, Any] = field(default_factory=dict)
    backtest: Mapping[str, Any] = field(default_factory=dict)
    text: str = field(default="", repr=False)
    base: Path = field(default=Path(), repr=False)

    def bars(self) -> "Bars":
        """Load the data."""
        from ..data import load_bars

        given = dict(self.data)
        symbols = given.pop("symbols")
        return load_bars(symbols, **given)

    def forecaster(self) -> Any:
        """Build the model, unfitted; with a [tune] table it chooses its arguments before it learns."""
        if not self.tune:
            return model_of(self.model)
        from ..evaluation import tune

        given = dict(self.tune)
        space = {name: choices(name, values) for name, values in given.pop("space", {}).items()}
        return tune(model_of(self.model), space, **given)

    def cv(self) -> "WalkForward":
        """Build the walk-forward."""
        from ..evaluation import WalkForward

        given = {k: v for k, v in self.walk_forward.items() if k not in RUNNING}
        return WalkForward(**{"train": "5Y", "test": "1Y", **given})

    def build_strategy(self, forecaster: Any) -> "Strategy":
        """Build the strategy around a forecaster."""
        from ..trading.tables import strategy_of

        return strategy_of({"policy": self.policy, "limits": self.limits, **self.strategy}, forecaster)

    @property
    def seeds(self) -> int:
        """Networks whose mean is judged, and trained in the end; 3 where nothing else is said, as in `walk_forward`."""
        return int(self.walk_forward.get("seeds", 3))

    @property
    def currency(self) -> str:
        """Of the prices; dollars where nothing else is said."""
        return str(self.strategy.get("currency", "USD"))

    def account(self) -> dict[str, Any]:
        """Build the arguments of `backtest` beside strategy and study: cash, costs, execution, instruments."""
        from ..orders import Instrument, Money
        from ..trading import Execution

        given = dict(self.backtest)
        cash = Money.of(given.pop("cash", 100_000), self.currency)
        listed = {symbol: Instrument(symbol, currency=self.currency) for symbol in self.data["symbols"]}
        return {"cash": cash, "costs": self.build_costs(), "execution": Execution(**given), "instruments": listed}

    def build_costs(self) -> "Costs":
        """Build the costs."""
        from ..trading.tables import costs_of

        return costs_of(self.costs)


def parse(text: str, where: str = STUDY_FILE) -> Config:
    """Read the text of a `study.toml` and check every key.

    Examples
    --------
    >>> parse('[data]\\nsymbols = ["AAPL"]\\n[model]\\nlokback = 20\\n')
    Traceback (most recent call last):
    ...
    longshort.errors.UnknownName: [model] in study.toml has no key 'lokback'. Did you mean 'lookback'?
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{where} is not valid TOML: {error}. `longshort init` writes one to start from.") from error
    known(raw, ("name", *_TABLES), f"{where}")
    tables: dict[str, Any] = {}
    for name in _TABLES:
        tables[name] = raw.get(name, {})
        if not isinstance(tables[name], dict):
            raise InputError(f"{name} in {where} must be a table, written [{name}], was {tables[name]!r}.")
        if name in _KEYS:
            known(tables[name], _KEYS[name], f"[{name}] in {where}")
    symbols = tables["data"].get("symbols")
    if isinstance(symbols, str):
        symbols = [symbols]
    if not isinstance(symbols, list) or not symbols or not all(isinstance(s, str) and s for s in symbols):
        raise InputError(f'[data] in {where} needs symbols, such as ["AAPL"], was {tables["data"].get("symbols")!r}.')
    tables["data"] = {**tables["data"], "symbols": symbols}
    check_model(tables["model"], f"[model] in {where}")
    _check_strategy(tables, where)
    name = str(raw.get("name") or "-".join(symbols[:3])).lower()
    return Config(_folder_name(name), **tables, text=text)


def _check_strategy(tables: Mapping[str, Any], where: str) -> None:
    """Build the policy, the limits and the costs once, where a file has any: a mistake shows when it is read."""
    asked = [name for name in ("policy", "limits", "costs") if tables[name]]
    if asked:
        from ..trading.tables import check_table

        for name in asked:
            built = check_table(name, tables[name], f"[{name}] in {where}")
            if name != "costs":
                _check_symbols(built, tables["data"]["symbols"], f"[{name}] in {where}")
    for name, value in tables["backtest"].items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise InputError(f"[backtest] {name} in {where} must be a number of at least 0, was {value!r}.")
    for name, kind in (("cash", "an amount of money"), ("participation", "a share of the volume")):
        if tables["backtest"].get(name) == 0:
            raise InputError(f"[backtest] {name} in {where} must be {kind} above 0, was 0.")
    if tables["backtest"].get("participation", 0) > 1:
        value = tables["backtest"]["participation"]
        raise InputError(f"[backtest] participation in {where} must be at most 1, all of the volume, was {value}.")
    currency = tables["strategy"].get("currency", "USD")
    if not isinstance(currency, str) or not re.fullmatch(r"[A-Z]{3,5}", currency):
        raise InputError(f'[strategy] currency in {where} must be a code such as "USD" or "EUR", was {currency!r}.')


def _check_symbols(built: Any, symbols: list[str], where: str) -> None:
    """Start a policy or limits for the symbols of the file once: a sector or a budget may be missing."""
    try:
        built.stepper(tuple(symbols))
    except SetupError:
        pass  # said where it is needed
    except InputError as error:
        raise InputError(f"{where} does not fit the symbols of [data]: {error}") from error


def load_config(path: str | Path) -> Config:
    """Read a `study.toml`; `path` may be the file or the folder that holds it.

    Examples
    --------
    >>> from longshort.config import init
    >>> load_config(init("aapl.toml", "IBM")).data["symbols"]
    ['IBM']
    """
    path = Path(path)
    path = path / STUDY_FILE if path.is_dir() else path
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(f"There is no {path}. Write one with `longshort init {path}`.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as text: {error}.") from error
    return replace(parse(text, path.name), base=path.parent)


def template(symbol: str = "AAPL", source: str = "sample") -> str:
    """Return the text of a commented `study.toml` to start from.

    Examples
    --------
    >>> print(template("IBM").splitlines()[0])
    # A study for longshort. Run it with: longshort walk-forward study.toml
    """
    if not re.fullmatch(r"[A-Za-z0-9.^=&_:+@-]{1,64}", symbol):
        raise InputError(f"A symbol is 1 to 64 of the characters A-Z a-z 0-9 . ^ = & _ : + @ -, was {symbol!r}.")
    return _TEMPLATE.format(symbol=symbol, source=source, name=_folder_name(symbol.lower()))


_TEMPLATE = """\
# A study for longshort. Run it with: longshort walk-forward study.toml

name = "{name}"                     # results go to runs/{name}/

# tune.trials = 40                # choose arguments inside every training window: these two, 40 times (extra "tune")
# tune.space.lookback = [20, 60, 120]
# tune.space.lr = {{low = 0.0001, high = 0.01, log = true}}

[data]
symbols = ["{symbol}"]
source = "{source}"                 # "yahoo", "sample" (8 US symbols, 1998-01-02 to 2021-03-31), "csv", "parquet"
start = "2010-01-01"
# end = "2021-03-31"              # default: everything there is
# path = "prices.csv"             # for "csv" and "parquet": a file, or a folder with one file a symbol

[model]
kind = "LSTM"                     # or another of longshort.models ("Ridge", "Ensemble", "Conformal", ...), or a preset:
                                  # "returns", "keras_tutorial", "lstm_64_64_32_1"
target = "forward_log_return(1)"  # also forward_return, forward_close, forward_direction, forward_volatility
features = "technical"            # or a list: ["log_return", "rsi(14)", "macd", "volume_ratio(20)"]
lookback = 60                     # bars in a window
hidden = [50, 50]                 # units of each LSTM layer
dropout = 0.2
# head = [32]                     # dense layers after the LSTM
# epochs = 50                     # at most; validation chooses how many
# batch_size = 32
# lr = 0.001
# seed = 0                        # the same seed gives the same bytes

[walk_forward]
train = "5Y"                      # every fold learns from the five years before it ...
test = "1Y"                       # ... and forecasts the year after
# embargo = "5D"                  # sessions left out between the two
# expanding = true                # learn from everything before instead
seeds = 3                         # the forecast is the mean over seeds
# baselines = "ladder"            # challengers: adds gradient boosting and support vectors (extra "sklearn")
# parallel = "ray"                # spread folds over a Ray cluster

# What is done with the forecasts: longshort backtest, longshort train.

[strategy]
# refit = "6M"                    # how long a fit serves, or "never"; default: as long as a fold
# currency = "USD"                # of the prices

[policy]
kind = "LongShort"                # or another of longshort.portfolio: "Sign", "TopK", "Kelly", "EqualWeight", ...
# target_vol = 0.10               # annual volatility to scale to

[limits]                          # bounds are always on; exits are off until asked for
# stop_loss = 0.05                # close a position that lost 5 %
# max_position = 0.5              # of equity in one symbol
# max_drawdown = 0.25             # close everything beyond

[costs]                           # above zero by default
# half_spread_bp = 2.0            # half the spread, in hundredths of a percent
# commission = {{kind = "per share", rate = 0.005}}  # or "tiered", or {{kind = "basis points", bp = 5.0}}

[backtest]
cash = 100000
# participation = 0.1             # at most this share of a bar's volume is ours
# latency_seconds = 0.0           # from the decision to the order's arrival
"""


def init(path: str | Path = STUDY_FILE, symbol: str = "AAPL", source: str = "sample", force: bool = False) -> Path:
    """Write a commented `study.toml`; an existing file stays unless `force`.

    Examples
    --------
    >>> str(init("ibm.toml", "IBM"))
    'ibm.toml'
    """
    path = Path(path)
    path = path / STUDY_FILE if path.is_dir() or path.suffix != ".toml" else path
    if path.exists() and not force:
        raise InputError(f"{path} is there already. Choose another path, or pass --force to replace it.")
    text = template(symbol, source)
    parse(text)
    write_atomic(path, text)
    return path


def _folder_name(name: str) -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", name).strip("-._") or "study"
