"""The demonstration: from the embedded sample to a forecast, studies, a backtest, their verdicts and a report."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..artifact import write_atomic
from .facts import Closes
from .outlook import Outlook, look_ahead

if TYPE_CHECKING:
    from ..evaluation import Study
    from ..trading import BacktestResult

SYMBOL, START, END = "AAPL", "2010-02-01", "2021-03-31"
LICENCE = "AAPL daily, QuantConnect/Lean, Apache-2.0"


@dataclass(frozen=True)
class Demo:
    """What the demonstration leaves behind."""

    folder: Path
    outlook: Outlook
    studies: "tuple[Study, ...]"
    result: "BacktestResult"
    report: Path
    chart: Path

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a JSON-able mapping."""
        from ..trading.played import summary_of

        return {
            "next": self.outlook.to_dict(),
            "verdicts": {str(s.target.info): s.verdict().to_dict() for s in self.studies},
            "backtest": summary_of(self.result),
            "report": str(self.report),
            "chart": str(self.chart),
        }


@dataclass(frozen=True)
class Act:
    """One study of the demonstration."""

    name: str
    forecaster: Any
    seeds: int


def acts() -> tuple[Act, ...]:
    """The studies: the tutorial's network on the close, then small networks on the volatility and the log return."""
    from .. import features as f
    from ..models import LSTM, presets

    small = {"lookback": 20, "hidden": (32,), "dropout": 0.2, "epochs": 30, "patience": 5}
    return (
        Act("close", presets.keras_tutorial(epochs=25, patience=25), 2),
        Act("volatility", LSTM(f.technical(), target=f.forward_volatility(1), **small), 3),
        Act("log return", LSTM(f.technical(), target=f.forward_log_return(1), **small), 3),
    )


def demo(
    folder: str | Path = "runs/demo",
    *,
    threads: int | None = None,
    progress: Callable[[str, float], None] | None = None,
    on_outlook: Callable[[Outlook, Path], None] | None = None,
    on_study: "Callable[[Study], None] | None" = None,
    on_result: "Callable[[BacktestResult], None] | None" = None,
) -> Demo:
    """Forecast the next five sessions of AAPL, walk forward over its close, volatility and log return, trade the last.

    Parameters
    ----------
    folder : path-like, default="runs/demo"
        Where the chart, the studies, the ledger and the report go.
    threads : int, optional
        All cores by default.
    progress : callable, optional
        Called with the name of the stage and the fraction of it that is done.
    on_outlook : callable, optional
        Called with the price forecast and the path of its chart as soon as both are there.
    on_study : callable, optional
        Called with each finished study.
    on_result : callable, optional
        Called with the backtest of the last study's forecasts.

    Examples
    --------
    >>> found = demo("runs/demo")  # doctest: +SKIP
    >>> [study.verdict().exit_code for study in found.studies]  # doctest: +SKIP
    [3, 0, 3]
    """
    from .. import ledger
    from ..data import load_bars
    from ..evaluation import WalkForward, walk_forward
    from ..models import presets
    from ..portfolio import LongShort
    from ..strategy import Strategy
    from ..trading import backtest
    from .sheet import tearsheet

    def stage(name: str) -> Callable[[float], None]:
        return lambda fraction: progress(name, fraction) if progress else None

    folder = Path(folder)
    bars = load_bars(SYMBOL, start=START, end=END, source="sample")
    programme = acts()
    tutorial = programme[0].forecaster
    outlook = look_ahead(tutorial, bars, threads=threads, progress=stage("outlook"), ahead=presets.returns(seeds=3))
    chart = save_chart(outlook, folder / "chart.png")
    if on_outlook:
        on_outlook(outlook, chart)
    studies = []
    with ledger.project(folder):
        for act in programme:
            cv, tell = WalkForward(train="5Y", test="1Y"), stage(act.name)
            study = walk_forward(act.forecaster, bars, cv, seeds=act.seeds, threads=threads, progress=tell)
            study.save(folder / act.name.replace(" ", "-"))
            studies.append(study)
            if on_study:
                on_study(study)
        result = backtest(Strategy(policy=LongShort(target_vol=0.10)), studies[-1], name="LongShort on log returns")
        if on_result:
            on_result(result)
        page = tearsheet(*studies, result, price=outlook)  # here the first knows of the last
    return Demo(folder, outlook, tuple(studies), result, page.save(folder / "report.html"), chart)


def save_chart(outlook: Outlook, path: Path, source: str = LICENCE) -> Path:
    """Write the outlook's first symbol as a PNG, in one step."""
    return _save_png(path, outlook.closes[0], outlook, outlook.sentence(), source)


def save_overview(study: "Study", outlook: Outlook, path: Path, source: str = LICENCE) -> Path:
    """Write the first screen of a report as a PNG: a price study's closes and verdict, the coming sessions."""
    from .facts import closes_of, facts_of
    from .page import headline

    facts = facts_of(study)
    return _save_png(path, closes_of(facts) or outlook.closes[0], outlook, headline(facts), source)


def _save_png(path: Path, closes: Closes, outlook: Outlook, sentence: str, source: str) -> Path:
    import io

    from .figures import overview_png

    buffer = io.BytesIO()
    overview_png(buffer, closes, outlook.next[0], sentence, f"{source}. Not investment advice.")
    write_atomic(path, buffer.getvalue())
    return path
