"""The command line: every verb is a thin call of the function of the same name.

Exit codes: 0 done; 1 `check` found faults, `audit` a leak, `verify` what does not hold; 2 something was wrong, said in
one line; 3 no evidence of an edge, said by `walk-forward`, `backtest` and `referee` only; 130 interrupted.
"""

import json
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .errors import DataWarning, InputError, LongshortError

if TYPE_CHECKING:
    from rich.console import Console

    from .evaluation import Verdict
    from .trading.result import StrategyVerdict

app = typer.Typer(
    name="longshort",
    help="Long Short-Term Memory forecasting for going long and short: market data in, honest evidence out.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help takes half the time
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Not investment advice.",
)

INTERRUPTED = 130
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines, nothing else.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads; all cores by default.")]
Source = Annotated[str, typer.Option(help="yahoo, sample, csv or parquet.")]
Start = Annotated[str | None, typer.Option(help="First date, such as 2015-01-01.")]
End = Annotated[str | None, typer.Option(help="Last date.")]


def main(argv: list[str] | None = None) -> int:
    """Run a command and return its exit code; errors become one line on stderr."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    arguments = [a for a in arguments if a != "--debug"]
    try:
        warnings.showwarning = _show_warning
        command = typer.main.get_command(app)
        code = command.main(arguments, prog_name="longshort", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except typer.Exit as stop:
        code = stop.exit_code
    except LongshortError as error:
        if debug:
            raise
        print(f"longshort: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 0
    except Exception as error:
        show = getattr(error, "show", None)  # a usage error of the parser
        if show is None or debug:
            raise
        show()
        return int(getattr(error, "exit_code", 2))
    if code == INTERRUPTED:
        print("Interrupted. Nothing was left half-written.", file=sys.stderr)
    return int(code or 0)


_show_other_warning = warnings.showwarning


def _show_warning(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
    if issubclass(category, DataWarning):  # meant for whoever typed the command, who does not know our files
        print(f"longshort: {message}", file=sys.stderr)
    else:
        _show_other_warning(message, category, *place, **more)


# ------------------------------------------------------------------------------------------------------------ verbs


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where the results go.")] = Path("runs/demo"),
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Study AAPL from the embedded sample.

    The next five sessions first, then walk-forward studies of close, volatility and log return, a backtest, a report.
    """
    from .report import demo

    console = _console(as_json)
    names = {"outlook": "Next five sessions"}
    names |= {act: f"Walk-forward: {act}" for act in ("close", "volatility", "log return")}
    with _stages(names, as_json) as progress:
        found = demo(
            folder,
            threads=threads,
            progress=progress,
            on_outlook=lambda outlook, chart: _print_outlook(console, outlook, chart),
            on_study=lambda study: _print_verdict(console, study.verdict()),
            on_result=lambda result: _print_verdict(console, result.verdict(), f"{result.name}: "),
        )
    if as_json:
        _print_json(found.to_dict())
    console.print(f"Report: [bold]{found.report}[/]", soft_wrap=True)


@app.command()
def predict(
    symbol: Annotated[str, typer.Argument(help="A ticker, such as AAPL.")],
    days: Annotated[int, typer.Option(min=1, max=60, help="Sessions ahead.")] = 5,
    source: Source = "yahoo",
    start: Start = None,
    end: End = None,
    model: Annotated[str, typer.Option(help="returns, keras_tutorial or lstm_64_64_32_1.")] = "returns",
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training rows, at most.")] = 25,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    png: Annotated[Path | None, typer.Option(help="Also draw a PNG.")] = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Forecast the next sessions of a symbol.

    A small network on log returns of closes; or one of the tutorials' networks on prices.
    """
    from .config import preset
    from .data import load_bars
    from .report import look_ahead
    from .report.sheet import source_line
    from .report.showcase import save_chart

    console = _console(as_json)
    bars = load_bars(symbol, start=start, end=end, source=source)
    network = preset(model)(epochs=epochs, seed=seed)
    with _stages({"price": f"LSTM, {symbol}"}, as_json) as progress:
        outlook = look_ahead(network, bars, days, threads=threads, progress=lambda done: progress("price", done))
    chart = save_chart(outlook, png, source_line(bars)) if png else None
    if as_json:
        _print_json(outlook.to_dict() | {"chart": str(chart) if chart else None})
    _print_outlook(console, outlook, chart)


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("study.toml"),
    symbol: Annotated[str, typer.Option(help="What to study.")] = "AAPL",
    source: Source = "sample",
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    as_json: Json = False,
) -> None:
    """Write a commented study.toml to start from."""
    from .config import init

    written = init(path, symbol, source, force)
    if as_json:
        _print_json({"study": str(written)})
    _console(as_json).print(f"Wrote [bold]{written}[/]. Run it with: longshort walk-forward {written}")


@app.command()
def check(
    what: Annotated[str, typer.Argument(help="A file (csv, parquet) or a symbol.")],
    source: Source = "yahoo",
    start: Start = None,
    end: End = None,
    calendar: Annotated[
        str | None, typer.Option(help="Exchange whose sessions there should be: XNYS, XLON, 24/7, ...")
    ] = None,
    as_json: Json = False,
) -> None:
    """List what is wrong with market data.

    Gaps, unadjusted splits, spikes, stale prices, impossible bars, holidays, duplicates. Exit code 0: no fault (notes
    are none); 1: faults.
    """
    from .data import check, load_bars

    is_file = Path(what).is_file() or Path(what).suffix.lower() in (".csv", ".parquet", ".gz", ".pq")
    if is_file and not Path(what).exists():
        raise InputError(f"There is no file {what}. Check the path.")
    how = {"calendar": calendar} if calendar else {}
    found = check(what, **how) if is_file else check(load_bars(what, start=start, end=end, source=source, **how))
    if as_json:
        _print_json(found.to_dict())
    _print_issues(_console(as_json), found, what)
    raise typer.Exit(0 if found.ok else 1)


def _print_issues(console: "Console", found: Any, what: str) -> None:
    if not found.issues:
        console.print(f"{what}: no issue found.", markup=False)
        return
    from rich.table import Table
    from rich.text import Text

    from .report.sheet import issue_row

    table = Table("symbol", "kind", "bars", "what", box=None, header_style="dim")
    for issue in found.issues:
        table.add_row(*map(Text, issue_row(issue)))
    console.print(table)
    console.print(f"{len(found.issues)} issue{'s' * (len(found.issues) != 1)} in {what}.", markup=False)


@app.command("walk-forward")
def walk_forward(
    run: Annotated[Path, typer.Argument(help="A study.toml or a run folder.")] = Path("study.toml"),
    root: Annotated[Path, typer.Option(help="Where run folders are kept.")] = Path("runs"),
    as_json: Json = False,
) -> None:
    """Forecast fold by fold, judge, write a report.

    Exit code 0: edge; 3: no evidence.
    """
    from .config.runs import REPORT, run_walk_forward, start_run

    console = _console(as_json)
    folder = start_run(run, root)
    with _stages({"walk": f"Walk-forward: {folder.name}"}, as_json) as progress:
        study = run_walk_forward(folder, progress=lambda done: progress("walk", done))
    verdict = study.verdict()
    if as_json:
        _print_json({"run": str(folder.path), "report": str(folder.path / REPORT)} | verdict.to_dict())
    _print_verdict(console, verdict)
    console.print(f"Report: [bold]{folder.path / REPORT}[/]", soft_wrap=True)
    raise typer.Exit(verdict.exit_code)


@app.command()
def backtest(
    run: Annotated[str, typer.Argument(help="A run folder, or its name below runs/.")],
    root: Annotated[Path, typer.Option(help="Where run folders are kept.")] = Path("runs"),
    as_json: Json = False,
) -> None:
    """Play the policy and the limits over the forecasts of a run's study.

    Decides at every close on what was known, fills at the next open at the earliest, and pays costs. Exit code 0: edge;
    3: no evidence.
    """
    from .config.runs import BACKTEST, open_run, run_backtest

    folder = open_run(run, root)
    result = run_backtest(folder)
    if as_json:
        from .trading.played import summary_of

        _print_json({"backtest": str(folder.path / BACKTEST)} | summary_of(result))
    console = _console(as_json)
    console.print(str(result), highlight=False, markup=False, soft_wrap=True)
    console.print(f"Kept: [bold]{folder.path / BACKTEST}[/]", soft_wrap=True)
    raise typer.Exit(result.verdict().exit_code)


@app.command()
def train(
    run: Annotated[Path, typer.Argument(help="A study.toml or a run folder.")] = Path("study.toml"),
    root: Annotated[Path, typer.Option(help="Where run folders are kept.")] = Path("runs"),
    as_json: Json = False,
) -> None:
    """Fit the model on all bars and keep the strategy.

    With the verdict of the study beside it, the scores of the backtest, and a model card.
    """
    from .config.runs import STRATEGY, run_train, start_run

    console = _console(as_json)
    folder = start_run(run, root)
    with _stages({"train": f"Training: {folder.name}"}, as_json) as progress:
        strategy = run_train(folder, progress=lambda done: progress("train", done))
    path = folder.path / STRATEGY
    if as_json:
        history = getattr(strategy.forecaster, "history_", None)
        found = {"strategy": str(path), "card": str(path / "model-card.md"), "due": strategy.due}
        _print_json(found | {"history": None if history is None else history.to_dict()})
    console.print(strategy.summary(), highlight=False, markup=False, soft_wrap=True)
    console.print(f"Strategy: [bold]{path}[/], model card: [bold]{path / 'model-card.md'}[/]", soft_wrap=True)


@app.command()
def verify(
    run: Annotated[Path, typer.Argument(help="A run folder, its name below runs/, or the folder of a strategy.")],
    root: Annotated[Path, typer.Option(help="Where run folders are kept.")] = Path("runs"),
    data: Annotated[bool, typer.Option("--data", help="Load the run's data, and hold them against it too.")] = False,
    as_json: Json = False,
) -> None:
    """Check a saved strategy: its bytes, what it says, its ledger, its age.

    Replays the golden windows. Exit code 0: every check held; 1: one did not.
    """
    from .config.runs import run_verify

    found = run_verify(run, root, data)
    if as_json:
        _print_json(found.to_dict())
    _console(as_json).print(str(found), highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(0 if found.ok else 1)


@app.command()
def tune(
    run: Annotated[Path, typer.Argument(help="A study.toml or a run folder.")] = Path("study.toml"),
    trials: Annotated[int | None, typer.Option(min=1, help="Configurations to try; as study.toml says.")] = None,
    root: Annotated[Path, typer.Option(help="Where run folders are kept.")] = Path("runs"),
    as_json: Json = False,
) -> None:
    """Choose the arguments named in [tune.space].

    Interrupted, it goes on where it was. `walk-forward` does the same inside every training window.
    """
    from .config.runs import TUNED, run_tune, start_run

    console = _console(as_json)
    folder = start_run(run, root)
    with _stages({"tune": f"Tuning: {folder.name}"}, as_json) as progress:
        tuned = run_tune(folder, trials, progress=lambda done: progress("tune", done))
    if as_json:
        _print_json({"tuned": str(folder.path / TUNED), "trials": len(tuned.trials_)} | tuned.choice_)
    console.print(repr(tuned), highlight=False, markup=False, soft_wrap=True)
    console.print(
        f"Model: [bold]{folder.path / TUNED}[/], trials: [bold]{folder.path / 'tuning.html'}[/]", soft_wrap=True
    )


@app.command()
def tearsheet(
    run: Annotated[str, typer.Argument(help="A run folder, or its name below runs/.")],
    out: Annotated[Path | None, typer.Option(help="Where to write; report.html in the run folder by default.")] = None,
    root: Annotated[Path, typer.Option(help="Where run folders are kept.")] = Path("runs"),
    as_json: Json = False,
) -> None:
    """Write the report of a run's study again."""
    from .config.runs import open_run, run_tearsheet

    path = run_tearsheet(open_run(run, root), out=out)
    if as_json:
        _print_json({"report": str(path)})
    _console(as_json).print(f"Report: [bold]{path}[/]", soft_wrap=True)


@app.command()
def referee(
    file: Annotated[Path, typer.Argument(help="CSV in order of time: actual, forecast, and perhaps time and price.")],
    horizon: Annotated[int, typer.Option(min=1, help="Rows from a forecast to its outcome.")] = 1,
    figure: Annotated[Path | None, typer.Option(help="Where to draw it: .svg, .html or .png.")] = None,
    as_json: Json = False,
) -> None:
    """Judge forecasts made elsewhere.

    Exit code 0: edge; 3: no evidence.
    """
    from .config import referee_file

    verdict, console = referee_file(file, horizon), _console(as_json)
    if figure is not None:
        from .report import verdict_plot

        verdict_plot(verdict).save(figure)
    if as_json:
        _print_json(verdict.to_dict())
    _print_verdict(console, verdict)
    console.print("", verdict.shown, *verdict.remarks, sep="\n", highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(verdict.exit_code)


@app.command()
def audit(
    what: Annotated[str, typer.Argument(help="file.py:name of a function, a forecaster or features.")],
    symbols: Annotated[list[str] | None, typer.Argument(help="Symbols to try it on; AAPL by default.")] = None,
    source: Source = "sample",
    start: Start = None,
    end: End = None,
    path: Annotated[Path | None, typer.Option(help="File or folder of a csv or parquet source.")] = None,
    given: Annotated[str, typer.Option(help="What a function gets: auto, frame, panel, long or bars.")] = "auto",
    output: Annotated[str, typer.Option(help="What it returns: values, forecast or returns.")] = "values",
    train: Annotated[str | None, typer.Option(help="Rows, share or last date of a part that only trains.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="column=rows it looks ahead on purpose.")] = None,
    fact: Annotated[
        list[str] | None, typer.Option(help="name=date of what cannot be observed; again for more.")
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="Other futures to try, at most.")] = 120,
    budget: Annotated[float, typer.Option(min=0.1, help="Seconds, at most.")] = 20.0,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    as_json: Json = False,
) -> None:
    """Find out whether code uses what was not known yet.

    Runs the file. Exit code 0: nothing found; 1: a leak, with its proof; 2: it cannot be judged.
    """
    from .data import load_bars
    from .evaluation.leaks import audit, load_object

    thing = load_object(what)
    bars = load_bars(symbols or ["AAPL"], start=start or "2010-01-01", end=end, source=source, path=path)
    found = audit(
        thing,
        bars,
        given=given,
        output=output,
        train=_number_or_text(train),
        labels={name: int(rows) for name, rows in _pairs("--label", label, str.isdecimal)},
        facts=dict(_pairs("--fact", fact)),
        runs=runs,
        budget=budget,
        seed=seed,
    )
    if as_json:
        _print_json(found.to_dict() | {"bars": repr(bars)})
    _console(as_json).print(str(found), markup=False, soft_wrap=True)
    raise typer.Exit(found.exit_code)


def _pairs(option: str, given: list[str] | None, fits: "Callable[[str], bool]" = bool) -> list[tuple[str, str]]:
    """Take apart name=value."""
    pairs = [(name, value) for name, _, value in (text.partition("=") for text in given or ())]
    for name, value in pairs:
        if not name or not fits(value):
            raise InputError(f"{option} must be given as name=value, was '{name}={value}'.")
    return pairs


def _number_or_text(text: str | None) -> int | float | str | None:
    """Read 600 as rows, 0.7 as a share, everything else as a date."""
    if text is None:
        return None
    if text.isdecimal():
        return int(text) if len(text) < 8 else text  # 20150101 is a date
    try:
        return float(text)
    except ValueError:
        return text


@app.command()
def ledger(
    action: Annotated[str, typer.Argument(help="show: the trials and reads; verify: check the chain.")] = "show",
    folder: Annotated[Path, typer.Argument(help="A run or project folder.")] = Path("."),
    as_json: Json = False,
) -> None:
    """Show what was tried in a project, or verify that nothing was edited or cut."""
    from .ledger import TRIAL, Ledger

    if action not in ("show", "verify"):
        raise InputError(f"The ledger can be shown or verified, was asked to {action!r}. Write show or verify.")
    book = Ledger(folder)
    if book.file is None or not book.file.exists():
        raise InputError(f"There is no ledger.jsonl in {folder}. Name a run folder, such as runs/demo.")
    if action == "verify":
        from .config import Run

        Run(folder).check_ledger()  # a study beside it names its last record
        book.verify()  # the score series beside the chain too
    records, console = book.records(), _console(as_json)
    if as_json:
        found = {"trials": book.trials(), "head": book.head, "n_records": len(records)}
        _print_json(found | ({"records": [r.to_dict() for r in records]} if action == "show" else {}))
    if action == "show":
        for record in records:
            day = datetime.fromtimestamp(record.time / 1e9, UTC).strftime("%Y-%m-%d %H:%M")
            what, sharpe = record.facts.get("what", ""), record.facts.get("sharpe")
            note = "" if sharpe is None else f"  Sharpe per bar {sharpe:+.3f}"
            line = f"{record.index:5}  {day}  {record.kind:8}  {what}{note}  {record.digest[:12]}"
            console.print(line, highlight=False)
    trials = len({record.facts["trial"] for record in records if record.kind == TRIAL})
    console.print(
        f"{len(records)} records, {trials} trials, chain intact up to {book.head[:16]}", highlight=False, soft_wrap=True
    )


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say what this machine offers and lacks."""
    from .report import doctor

    found = doctor()
    if as_json:
        _print_json(found)
    console = _console(as_json)
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in found.items():
        if name in ("problems", "missing"):
            continue
        shown = ", ".join(f"{k} {v or 'missing'}" for k, v in value.items()) if isinstance(value, dict) else str(value)
        table.add_row(name, Text(shown))
    for name, remedy in found["missing"].items():
        table.add_row("not installed", Text(f"{name} ({remedy})"))
    console.print(table, highlight=False)
    for problem in found["problems"]:
        console.print(Text.assemble(("problem ", "red"), problem), highlight=False)
    if found["problems"]:
        raise typer.Exit(2)
    console.print("All is well.")


def _version(value: bool) -> None:
    if value:
        from . import __version__

        print(f"longshort {__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    del version, debug  # read by their callback and by `main`


# --------------------------------------------------------------------------------------------------------- printing


def _console(quiet: bool = False) -> "Console":
    from rich.console import Console

    return Console(quiet=quiet, highlight=False)


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=str))


@contextmanager
def _stages(names: dict[str, str], quiet: bool) -> "Iterator[Callable[[str, float], None]]":
    """One progress bar a stage, shown when it begins; on stderr, so that stdout can be piped."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(28), TaskProgressColumn(), TimeElapsedColumn())
    screen = Console(stderr=True, quiet=quiet)
    with Progress(*columns, console=screen, redirect_stdout=sys.stdout.isatty()) as bars:
        tasks: dict[str, Any] = {}

        def advance(name: str, fraction: float) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(f"{names[name]:<26}", total=1.0)
            bars.update(tasks[name], completed=fraction)

        yield advance


def _print_verdict(console: "Console", verdict: "Verdict | StrategyVerdict", who: str = "") -> None:
    mark = "[bold blue]●[/]" if verdict.exit_code == 0 else "[bold yellow]○[/]"
    from rich.markup import escape

    console.print(f"{mark} {escape(who + verdict.sentence)}")


def _print_outlook(console: "Console", outlook: Any, chart: Path | None) -> None:
    import numpy as np
    from rich.table import Table
    from rich.text import Text

    from .report.figures import money
    from .report.terminal import plot

    for column, nxt in enumerate(outlook.next):
        past, steps = len(nxt.history), len(nxt.mean)
        gap = np.full(past - 1, np.nan)
        lines = [(np.concatenate([gap, nxt.history[-1:], v]), "blue dim") for v in (nxt.low, nxt.high)]
        lines.append((np.concatenate([nxt.history, np.full(steps, np.nan)]), "bold"))
        lines.append((np.concatenate([gap, nxt.history[-1:], nxt.mean]), "bold blue"))
        last = f"last close {money(float(nxt.history[-1]))}"
        console.print(f"[bold]{nxt.symbol}[/], {past} closes, {last}, and the next {steps} sessions")
        for line in plot(lines, width=min(72, console.width - 14), height=12, label=money):
            console.print(Text.assemble(*line))
        table = Table("session", "close", f"{100 * nxt.level:.0f} % interval", box=None, header_style="dim")
        for row in nxt.rows():
            table.add_row(
                row["date"], f"[bold blue]{money(row['mean'])}[/]", f"{money(row['low'])} – {money(row['high'])}"
            )
        console.print(table)
        console.print(outlook.account(column))
    if chart:
        console.print(f"Chart: [bold]{chart}[/]", soft_wrap=True)
