"""The demonstration: from the embedded sample to a forecast, two studies, their verdicts and a report."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..artifact import write_atomic
from .outlook import Outlook, look_ahead

if TYPE_CHECKING:
    from ..evaluation import Study

SYMBOL, START, END = "AAPL", "2010-01-01", "2021-03-31"
LICENCE = "AAPL daily, QuantConnect/Lean, Apache-2.0"


@dataclass(frozen=True)
class Demo:
    """What the demonstration leaves behind."""

    folder: Path
    outlook: Outlook
    studies: "tuple[Study, ...]"
    report: Path
    chart: Path

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a JSON-able mapping."""
        return {
            "next": self.outlook.to_dict(),
            "verdicts": {str(s.target.info): s.verdict().to_dict() for s in self.studies},
            "report": str(self.report),
            "chart": str(self.chart),
        }


def models() -> dict[str, Any]:
    """The forecasters of the demonstration, unfitted: the tutorial's price model, and two for the studies."""
    from .. import features as f
    from ..models import LSTM, presets

    small = {"lookback": 20, "hidden": (32,), "dropout": 0.2, "epochs": 30, "patience": 5, "seed": 0}
    return {
        "price": presets.keras_tutorial(epochs=25, patience=8),
        "log return": LSTM(f.technical(), target=f.forward_log_return(1), **small),
        "volatility": LSTM(f.technical(), target=f.forward_volatility(1), **small),
    }


def demo(
    folder: str | Path = "runs/demo",
    *,
    threads: int | None = None,
    progress: Callable[[str, float], None] | None = None,
    on_outlook: Callable[[Outlook, Path], None] | None = None,
    on_study: "Callable[[Study], None] | None" = None,
) -> Demo:
    """Forecast the next five sessions of AAPL, then walk forward over its log return and its volatility.

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

    Examples
    --------
    >>> found = demo("runs/demo")  # doctest: +SKIP
    >>> [study.verdict().exit_code for study in found.studies]  # doctest: +SKIP
    [3, 0]
    """
    from .. import ledger
    from ..data import load_bars
    from ..evaluation import WalkForward, walk_forward
    from .sheet import tearsheet

    def stage(name: str) -> Callable[[float], None]:
        return lambda fraction: progress(name, fraction) if progress else None

    folder = Path(folder)
    bars = load_bars(SYMBOL, start=START, end=END, source="sample")
    todo = models()
    outlook = look_ahead(todo.pop("price"), bars, threads=threads, progress=stage("price"))
    chart = save_chart(outlook, folder / "chart.png")
    if on_outlook:
        on_outlook(outlook, chart)
    studies = []
    with ledger.project(folder):
        for name, forecaster in todo.items():
            cv = WalkForward(train="5Y", test="1Y")
            study = walk_forward(forecaster, bars, cv, threads=threads, progress=stage(name))
            study.save(folder / name.replace(" ", "-"))
            studies.append(study)
            if on_study:
                on_study(study)
    report = tearsheet(*studies, price=outlook).save(folder / "report.html")
    return Demo(folder, outlook, tuple(studies), report, chart)


def save_chart(outlook: Outlook, path: Path, sentence: str = "") -> Path:
    """Write the outlook's first symbol as a PNG, in one step."""
    import io

    from .figures import overview_png

    buffer = io.BytesIO()
    first = outlook.closes[0]
    lag = f"{first.symbol}: the forecast is nearest to the close {first.lag} session{'s' * (first.lag != 1)} earlier."
    overview_png(buffer, first, outlook.next[0], sentence or lag, f"{LICENCE}. Not investment advice.")
    write_atomic(path, buffer.getvalue())
    return path
