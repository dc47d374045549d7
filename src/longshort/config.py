"""A study as a text file, and the folder its results live in.

::

    runs/aapl/
        study.toml        what was asked: data, model, walk-forward
        origin            the file it was copied from, which alone may replace it
        study/            what came out (an artifact: hashed, no pickle)
        model/            the model fitted on all bars, where one was trained
        tuned/            the same with arguments chosen by `tune`, tuning.html its trials
        ledger.jsonl      every configuration tried in this folder; study/ names its last record
        report.html       the page to look at

`study.toml` names public things by their short names and passes keywords; it holds no code and no import paths. A key
nobody knows is refused with the nearest name.
"""

import ast
import inspect
import logging
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .artifact import write_atomic
from .errors import ArtifactError, InputError, UnknownName, did_you_mean

if TYPE_CHECKING:
    from .bars import Bars
    from .evaluation import Study, Verdict, WalkForward

log = logging.getLogger(__name__)

STUDY_FILE, STUDY, MODEL, REPORT, ORIGIN = "study.toml", "study", "model", "report.html", "origin"
TUNED = "tuned"
KINDS = ("LSTM", "returns", "keras_tutorial", "lstm_64_64_32_1")
_DATA = ("symbols", "start", "end", "source", "path", "calendar")
_RUNNING = ("seeds", "threads", "parallel")
_STUDY = ("train", "test", "embargo", "expanding", *_RUNNING)
_TUNE = ("space", "trials", "sampler", "cv", "score", "prune", "batch", "seed", "storage", "threads", "parallel")


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
        ``kind`` ("LSTM" or a preset) and arguments of `LSTM`.
    tune : mapping
        Arguments of `tune`; ``space`` maps names to lists of choices or tables ``{low, high, log, step}``.
    walk_forward : mapping
        Arguments of `WalkForward`, and ``seeds`` and ``threads``.

    Examples
    --------
    >>> config = parse(template())
    >>> config.name, config.data["symbols"], config.walk_forward["train"]
    ('aapl', ['AAPL'], '5Y')
    """

    name: str
    data: Mapping[str, Any]
    model: Mapping[str, Any] = field(default_factory=dict)
    walk_forward: Mapping[str, Any] = field(default_factory=dict)
    tune: Mapping[str, Any] = field(default_factory=dict)
    text: str = field(default="", repr=False)
    base: Path = field(default=Path(), repr=False)

    def bars(self) -> "Bars":
        """Load the data."""
        from .data import load_bars

        given = dict(self.data)
        symbols = given.pop("symbols")
        return load_bars(symbols, **given)

    def forecaster(self) -> Any:
        """Build the model, unfitted; with a [tune] table it chooses its arguments before it learns."""
        if not self.tune:
            return self._model()
        from .evaluation import tune

        given = dict(self.tune)
        space = {name: _choices(name, values) for name, values in given.pop("space", {}).items()}
        return tune(self._model(), space, **given)

    def _model(self) -> Any:
        given = dict(self.model)
        kind = given.pop("kind", "LSTM")
        if "features" in given:
            given["features"] = _features(given["features"])
        if "target" in given:
            given["target"] = _named(given["target"], "target")
        for name in ("hidden", "head"):
            if name in given:
                given[name] = tuple(given[name]) if isinstance(given[name], list) else given[name]
        if kind == "LSTM":
            from .models import LSTM

            return LSTM(**given)
        return preset(kind)(**given)

    def cv(self) -> "WalkForward":
        """Build the walk-forward."""
        from .evaluation import WalkForward

        given = {k: v for k, v in self.walk_forward.items() if k not in _RUNNING}
        return WalkForward(**{"train": "5Y", "test": "1Y", **given})


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
    _known(raw, ("name", "data", "model", "tune", "walk_forward"), f"{where}")
    sections = {}
    for section in ("data", "model", "tune", "walk_forward"):
        value = raw.get(section, {})
        if not isinstance(value, dict):
            raise InputError(f"{section} in {where} must be a table, written [{section}], was {value!r}.")
        sections[section] = value
    data, model, walk = sections["data"], sections["model"], sections["walk_forward"]
    _known(data, _DATA, f"[data] in {where}")
    _known(model, ("kind", *_model_keys()), f"[model] in {where}")
    _known(walk, _STUDY, f"[walk_forward] in {where}")
    _known(sections["tune"], _TUNE, f"[tune] in {where}")
    symbols = data.get("symbols")
    if isinstance(symbols, str):
        symbols = [symbols]
    if not isinstance(symbols, list) or not symbols or not all(isinstance(s, str) and s for s in symbols):
        raise InputError(f'[data] in {where} needs symbols, such as ["AAPL"], was {data.get("symbols")!r}.')
    kind = model.get("kind", "LSTM")
    if kind not in KINDS:
        raise UnknownName(f"[model] kind in {where} was {kind!r}. {did_you_mean(str(kind), KINDS)}")
    name = str(raw.get("name") or "-".join(symbols[:3])).lower()
    return Config(_folder_name(name), {**data, "symbols": symbols}, model, walk, sections["tune"], text)


def preset(name: str) -> Callable[..., Any]:
    """Return the function of `models.presets` with this name."""
    from .models import presets

    if name not in KINDS[1:]:
        raise UnknownName(f"There is no preset {name!r}. {did_you_mean(str(name), KINDS[1:])}")
    return getattr(presets, name)


def load_config(path: str | Path) -> Config:
    """Read a `study.toml`; `path` may be the file or the folder that holds it."""
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
    """The text of a commented `study.toml` to start from."""
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
kind = "LSTM"                     # or a preset: "returns", "keras_tutorial", "lstm_64_64_32_1"
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
# parallel = "ray"                # spread folds over a Ray cluster
"""


def init(path: str | Path = STUDY_FILE, symbol: str = "AAPL", source: str = "sample", force: bool = False) -> Path:
    """Write a commented `study.toml`; an existing file stays unless `force`."""
    path = Path(path)
    path = path / STUDY_FILE if path.is_dir() or path.suffix != ".toml" else path
    if path.exists() and not force:
        raise InputError(f"{path} is there already. Choose another path, or pass --force to replace it.")
    text = template(symbol, source)
    parse(text)
    write_atomic(path, text)
    return path


# ------------------------------------------------------------------------------------------------------ run folders


@dataclass(frozen=True)
class Run:
    """A folder with one study: what was asked, what came out, what was tried."""

    path: Path

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    def config(self) -> Config:
        """What was asked."""
        return load_config(self.path)

    def study(self) -> "Study":
        """What came out of the last walk-forward."""
        from .evaluation import Study

        if not (self.path / STUDY).exists():
            raise ArtifactError(f"{self.path} holds no study yet. Run `longshort walk-forward {self.path}` first.")
        self.check_ledger()
        return Study.load(self.path / STUDY)

    def check_ledger(self) -> None:
        """Raise `LedgerError` when records that the folder's study was made after are gone."""
        from .evaluation.keeping import ledger_of
        from .ledger import Ledger

        if (self.path / STUDY).exists() and (noted := ledger_of(self.path / STUDY)):
            Ledger(self.path).confirm(**noted)


def open_run(name: str | Path, root: str | Path = "runs") -> Run:
    """Find a run folder by its path or by its name below `root`."""
    for path in (Path(name), Path(root) / str(name)):
        if path.is_dir() and (path / STUDY_FILE).exists():
            return Run(path)
    there = sorted(p.parent.name for p in Path(root).glob(f"*/{STUDY_FILE}"))
    advice = did_you_mean(str(name), there) if there else "Make one with `longshort init` and `longshort walk-forward`."
    raise UnknownName(f"There is no run {str(name)!r}. {advice}")


def start_run(source: str | Path, root: str | Path = "runs") -> Run:
    """Open a run folder, or make one from a `study.toml`.

    A `study.toml` inside a run folder means that run; any other is copied into ``root/<name>/``.
    """
    path = Path(source)
    if path.suffix != ".toml":
        return open_run(source, root)
    config = load_config(path)
    if any((path.parent / part).exists() for part in (STUDY, "ledger.jsonl")):
        return Run(path.parent)
    for build in (config.forecaster, config.cv):  # a mistake shows now, before an earlier run's text is replaced
        build()
    folder = Path(root) / config.name
    _claim(folder, path)
    write_atomic(folder / STUDY_FILE, config.text)
    return Run(folder)


def _claim(folder: Path, study_file: Path) -> None:
    """Refuse a run folder that another `study.toml` of the same name fills already."""
    try:
        mine = os.path.relpath(study_file, folder)
    except ValueError:  # another drive
        mine = os.path.abspath(study_file)
    note = folder / ORIGIN
    if note.exists():
        other = folder / note.read_text(encoding="utf-8").strip()
        if other.is_file() and not other.samefile(study_file):
            raise InputError(
                f"{folder} holds the study of {os.path.normpath(other)}, and {study_file} has the same name "
                f'{folder.name!r}. Give it another: name = "..." at its top.'
            )
    write_atomic(note, mine + "\n")


def run_walk_forward(run: Run, progress: Callable[..., None] | None = None) -> "Study":
    """Do what the run's `study.toml` asks: walk forward, keep the study, write the report."""
    from . import ledger
    from .evaluation import walk_forward
    from .report import tearsheet

    run.check_ledger()
    config = run.config()
    options = {k: config.walk_forward[k] for k in _RUNNING if k in config.walk_forward}
    with ledger.project(run.path):
        study = walk_forward(config.forecaster(), config.bars(), config.cv(), progress=progress, **options)
        study.save(run.path / STUDY)
    tearsheet(study).save(run.path / REPORT)
    return study


def run_train(run: Run, progress: Callable[[float], None] | None = None) -> Any:
    """Fit the run's model on all of its bars and keep it in the run folder."""
    from . import ledger

    run.check_ledger()
    config = run.config()
    with ledger.project(run.path):
        model = config.forecaster().fit(config.bars(), progress=progress)
    model.save(run.path / MODEL)
    return model


def run_tune(run: Run, trials: int | None = None, progress: Callable[[float], None] | None = None) -> Any:
    """Tune the run's model on all of its bars; keep the result and its plots in the run folder."""
    from . import ledger
    from .report import importance_plot, tuning_history

    run.check_ledger()
    config = run.config()
    if not config.tune.get("space"):
        raise InputError(
            f"{run.path / STUDY_FILE} names nothing to tune. Add a table, for example:\n[tune.space]\n"
            "lookback = [20, 60, 120]\nlr = {low = 0.0001, high = 0.01, log = true}"
        )
    tuned = config.forecaster()
    if trials is not None:
        tuned.set_params(trials=trials)
    with ledger.project(run.path):
        tuned.fit(config.bars(), progress=progress)
    tuned.save(run.path / TUNED)
    tuning_history(tuned).save(run.path / "tuning.html")
    if tuned.importance_:
        importance_plot(tuned).save(run.path / "importance.html")
    return tuned


_COLUMNS = {
    "actual": ("actual", "y_true", "true", "outcome"),
    "forecast": ("forecast", "y_pred", "pred", "prediction", "predicted"),
    "price": ("price", "last", "last_close", "reference"),
    "time": ("time", "date", "datetime", "timestamp"),
}


def referee_file(path: str | Path, horizon: int = 1) -> "Verdict":
    """Judge the forecasts in a CSV file: one row a forecast, in order of time.

    Parameters
    ----------
    path : path-like
        Columns ``actual`` and ``forecast`` (also ``y_true`` and ``y_pred``); ``price``, the last price known, where
        they are price levels; ``time``, if there is one.
    horizon : int, default=1
        Rows from a forecast to its outcome.
    """
    import pandas as pd

    from .evaluation import referee

    try:
        frame = pd.read_csv(path)
    except FileNotFoundError as error:
        raise InputError(f"There is no file {path}.") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as CSV: {error}") from error
    lower = {str(name).strip().lower(): name for name in frame.columns}
    found = {key: next((lower[n] for n in names if n in lower), None) for key, names in _COLUMNS.items()}
    for key in ("actual", "forecast"):
        if found[key] is None:
            listed = ", ".join(map(str, frame.columns)) or "none"
            raise InputError(f"{path} needs the columns actual and forecast, its columns are: {listed}.")
    numbers = {}
    for key in ("actual", "forecast", "price"):
        if found[key] is None:
            continue
        values = pd.to_numeric(frame[found[key]], errors="coerce")
        broken = values.isna() & frame[found[key]].notna()
        if broken.any():
            row = int(broken.to_numpy().argmax())
            was = frame[found[key]].iloc[row]
            raise InputError(f"Column {found[key]} of {path} must hold numbers, was {was!r} in line {row + 2}.")
        numbers[key] = values
    if found["time"] is not None:
        stamps = pd.to_datetime(frame[found["time"]], errors="coerce", utc=True)
        if stamps.isna().any() or not stamps.is_monotonic_increasing or stamps.duplicated().any():
            raise InputError(f"Column {found['time']} of {path} must hold dates, each once, in order. Sort the file.")
        for values in numbers.values():
            values.index = pd.DatetimeIndex(stamps)
    price = numbers.get("price")
    return referee(numbers["actual"], numbers["forecast"], None if price is None else price.to_numpy(), horizon)


# ---------------------------------------------------------------------------------------------------------- helpers


def _model_keys() -> tuple[str, ...]:
    from .models import LSTM

    return tuple(name for name in inspect.signature(LSTM.__init__).parameters if name != "self")


def _known(given: Mapping[str, Any], names: tuple[str, ...], where: str) -> None:
    for key in given:
        if key not in names:
            raise UnknownName(f"{where} has no key {key!r}. {did_you_mean(key, names)}")


def _folder_name(name: str) -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", name).strip("-._") or "study"


def _choices(name: str, values: Any) -> Any:
    """Read what a [tune.space] table offers for an argument."""
    if name == "features" and isinstance(values, list):
        return [_features(one) for one in values]
    return [tuple(one) if isinstance(one, list) else one for one in values] if isinstance(values, list) else values


def _features(given: Any) -> Any:
    if isinstance(given, list):
        return [_named(one, "feature") for one in given]
    return _named(given, "feature")


def _named(given: Any, what: str) -> Any:
    """Build a feature or a target from ``"rsi(14)"`` or ``{name = "rsi", period = 14}``."""
    from . import features

    if isinstance(given, Mapping):
        keywords = {k: v for k, v in given.items() if k != "name"}
        name, positional = str(given.get("name", "")), []
    else:
        name, positional, keywords = _call(given, what)
    choices = [n for n in features.__all__ if n[:1].islower() and n.startswith("forward_") == (what == "target")]
    if name not in choices:
        raise UnknownName(f"A {what} was {given!r}. {did_you_mean(name, choices)}")
    try:
        return getattr(features, name)(*positional, **keywords)
    except TypeError as error:
        raise InputError(f"The {what} {given!r} was called wrongly: {error}.") from error


def _call(text: Any, what: str) -> tuple[str, list[Any], dict[str, Any]]:
    """Take ``name`` or ``name(1, key=2)`` apart. Only literal arguments: this is data, not code."""
    wrong = InputError(f'A {what} is written as "rsi", "rsi(14)" or {{name = "rsi", n = 14}}, was {text!r}.')
    if not isinstance(text, str):
        raise wrong
    try:
        node = ast.parse(text.strip(), mode="eval").body
        if isinstance(node, ast.Name):
            return node.id, [], {}
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            raise wrong
        positional = [ast.literal_eval(one) for one in node.args]
        keywords = {str(one.arg): ast.literal_eval(one.value) for one in node.keywords if one.arg}
    except (SyntaxError, ValueError) as error:
        raise wrong from error
    return node.func.id, positional, keywords
