"""What a trial was worth, date by date: the series a ledger keeps so that selection can be judged afterwards.

A deflated Sharpe ratio needs to know how many were tried; the probability of overfitting and the reality check need to
know what each of them scored on every date. So every trial leaves two columns beside its record: the gain over the best
forecast that knows nothing, and the return of following the forecasts, net of costs.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import LedgerError

_ROW = np.dtype([("time", "<i8"), ("gain", "<f8"), ("net", "<f8")])
_COLUMNS = ("gain", "net")
COVERED = 0.9  # share of the rows of a study that another trial has to have scored on to be compared with it


@dataclass(frozen=True, eq=False)
class Scores:
    """The score series of a trial.

    Parameters
    ----------
    time : int64 array (n,)
        Decisions, UTC nanoseconds.
    gain : array (n,)
        How much smaller the loss was than that of the best information-free forecast, in units of the latter's mean.
    net : array (n,)
        Return of following the signs, after costs; NaN where nothing was to be followed (volatility).
    config : str
        Digest of the configuration.

    Examples
    --------
    >>> scores = Scores(np.arange(3), np.array([0.1, -0.2, 0.3]), np.full(3, np.nan), "lookback 60")
    >>> again = Scores.from_bytes(scores.to_bytes(), "lookback 60")
    >>> again.gain.tolist()
    [0.1, -0.2, 0.3]
    """

    time: np.ndarray
    gain: np.ndarray
    net: np.ndarray
    config: str = field(default="", compare=False)

    def to_bytes(self) -> bytes:
        """Return the three columns as a .npy file."""
        table, out = np.empty(len(self.time), _ROW), io.BytesIO()
        table["time"], table["gain"], table["net"] = self.time, self.gain, self.net
        np.save(out, table, allow_pickle=False)
        return out.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes, config: str = "") -> "Scores":
        """Read what `to_bytes` wrote."""
        try:
            table = np.load(io.BytesIO(data), allow_pickle=False)
            if table.dtype != _ROW or table.ndim != 1:
                raise ValueError(f"expected the columns time, gain and net, found {table.dtype}")
        except (ValueError, EOFError) as error:
            raise LedgerError(f"A score series of the ledger cannot be read: {error}. Restore it.") from error
        return cls(table["time"], table["gain"], table["net"], config)

    def covers(self, time: np.ndarray) -> bool:
        """Whether it scored on nearly all of these decisions."""
        return bool(np.isin(time, self.time).mean() > COVERED) if len(time) else False


def together(series: Sequence[Scores]) -> tuple[np.ndarray, np.ndarray | None]:
    """Return gains and net returns of several trials on the rows they share, (n_rows, n_trials) each.

    The net returns are None unless following means something for all of them.

    Examples
    --------
    >>> flat = np.zeros(3)
    >>> a, b = Scores(np.arange(3), flat, flat + 0.01), Scores(np.arange(1, 4), flat + 1, flat * np.nan)
    >>> together([a, b])
    (array([[0., 1.],
           [0., 1.]]), None)
    """
    times = series[0].time
    for one in series[1:]:
        times = np.intersect1d(times, one.time, assume_unique=True)
    gain, net = (np.stack([getattr(one, n)[np.searchsorted(one.time, times)] for one in series], 1) for n in _COLUMNS)
    finite = np.isfinite(net).all(axis=1)
    return gain[np.isfinite(gain).all(axis=1)], net[finite] if len(net) and finite.mean() > COVERED else None
