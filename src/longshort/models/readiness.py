"""Which bars a forecaster can speak at: where the windows it reads are full."""

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from ..features.windows import Windows, broken_cells

if TYPE_CHECKING:
    from ..bars import Bars


@runtime_checkable
class KnowsRows(Protocol):
    """A forecaster that says itself where it can speak, as one made of others does."""

    def ready(self, bars: "Bars") -> np.ndarray:
        """Return where there is a forecast, bool (n_bars, n_symbols)."""
        ...


def ready_cells(forecaster: Any, bars: "Bars") -> np.ndarray:
    """Return where a forecaster, fitted or not, has all it needs to speak, bool (n_bars, n_symbols).

    A forecaster that reads features (`program_`, `lookback`) is asked for its windows; another may say how many bars it
    needs before its first forecast (`warmup`).

    Examples
    --------
    >>> import longshort as ls
    >>> from longshort.data import synthetic
    >>> bars = synthetic.random_walk(30, seed=1)
    >>> int(ready_cells(ls.LSTM([ls.features.log_return()], lookback=10), bars).sum())
    20
    """
    if isinstance(forecaster, KnowsRows):
        return forecaster.ready(bars)
    cells = np.ones((len(bars), len(bars.symbols)), bool)
    program = getattr(forecaster, "program_", None)
    if program is not None:
        features = np.ascontiguousarray(program.compute(bars), dtype=np.float64)
        windows = Windows.over(features, int(getattr(forecaster, "lookback", 1)), broken_cells(bars))
        cells[:] = False
        cells[windows.rows, windows.columns] = True
    cells[: int(getattr(forecaster, "warmup", 0))] = False
    return cells
