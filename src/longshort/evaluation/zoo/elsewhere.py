"""Entries whose leak happened before the code ran: nothing that is run shows it, only what is told about it.

Each comes as a pair: without facts a good audit answers "not observable" and says what to supply, with facts "leak".
"""

from typing import Any

import numpy as np

from .forecasts import SETTLED, TRAIN, inputs_of, out_of_sample, outcome_of, ridge, told
from .register import Frame, leak, market, twin

UNSEEN = {"observable": False, "expected": "not observable", "output": "forecast"}
ADMITTED = {"observable": False, "expected": "leak", "output": "forecast"}


def without(name: str) -> dict[str, str]:
    """Return the facts of somebody who says everything but one thing."""
    return {key: value for key, value in SETTLED.items() if key != name}


def _honest(frame: Frame) -> np.ndarray:
    X, y = inputs_of(frame), outcome_of(frame)
    return out_of_sample(told(X, ridge(X[: TRAIN - 1], y[: TRAIN - 1])))


@leak(facts=without("universe"), **UNSEEN)
def survivor_universe(frame: Frame) -> np.ndarray:
    """An honest forecast on symbols that somebody picked from today's index."""
    return _honest(frame)


@leak(facts=SETTLED | {"universe": "2015-12-31"}, **ADMITTED)
def survivor_universe_admitted(frame: Frame) -> np.ndarray:
    """The same, with the date of the index."""
    return _honest(frame)


@twin("survivor_universe", output="forecast", facts=SETTLED | {"universe": "2012-12-31"})
def universe_of_its_time(frame: Frame) -> np.ndarray:
    """The same on symbols picked before the first forecast."""
    return _honest(frame)


@leak(facts=without("features"), **UNSEEN)
def features_chosen_elsewhere(frame: Frame) -> np.ndarray:
    """An honest forecast from inputs that were chosen on all data, in another notebook."""
    return _honest(frame)


@leak(facts=SETTLED | {"features": "2015-06-30"}, **ADMITTED)
def features_chosen_elsewhere_admitted(frame: Frame) -> np.ndarray:
    """The same, with the last date of the data they were chosen on."""
    return _honest(frame)


@leak(facts=without("tuning"), **UNSEEN)
def tuned_elsewhere(frame: Frame) -> np.ndarray:
    """An honest forecast whose penalty is the best of many backtests on the same rows."""
    return _honest(frame)


@leak(facts=SETTLED | {"tuning": "2015-12-31"}, **ADMITTED)
def tuned_elsewhere_admitted(frame: Frame) -> np.ndarray:
    """The same, with the last date of those backtests."""
    return _honest(frame)


@leak(market="reports", observable=False, expected="not observable")
def revised_series(frame: Frame) -> Frame:
    """A joined series of figures as they were last revised, stamped with the day of their first release."""
    return frame["earnings"] / frame["close"]


@leak(market="reports", observable=False, facts={"vintage": "revised"})
def revised_series_admitted(frame: Frame) -> Frame:
    """The same, said to be revised."""
    return frame["earnings"] / frame["close"]


@leak(observable=False, expected="not observable")
def dates_of_crashes(frame: Frame) -> np.ndarray:
    """Days before known falls, written into the code."""
    falls = np.array(["2012-11-08", "2013-01-24", "2014-01-27", "2015-08-24"], "datetime64[D]")
    days = frame.index.tz_localize(None).to_numpy().astype("datetime64[D]")
    return np.isin(days + 1, falls).astype(float)


@leak(observable=False, facts={"dates": "2015-12-31"})
def dates_of_crashes_admitted(frame: Frame) -> np.ndarray:
    """The same, with the date they were written down."""
    return dates_of_crashes(frame)


@leak(observable=False, expected="not observable")
def levels_from_the_chart(frame: Frame) -> Frame:
    """Bought below a price that later turned out to be low."""
    return ((frame["close"] < 97.0) & (frame["close"] > 75.0)).astype(float)


@leak(makes=True, observable=False, expected="not observable")
def reads_another_table() -> Any:
    """A feature that ignores what it is given and looks its dates up in a table of all data."""
    table = market("daily").to_pandas()["close"].pct_change().shift(-1)

    def looked_up(frame: Frame) -> Frame:
        return table.reindex(frame.index)

    return looked_up


@leak(makes=True, needs="torch", observable=False, expected="not observable", lookback=10, facts=SETTLED)
def network_trained_elsewhere() -> Any:
    """A torch module with its weights, and no word on what it learned from."""
    return _network()


@leak(makes=True, needs="torch", observable=False, lookback=10, facts=SETTLED | {"training": "2015-12-31"})
def network_trained_on_the_test() -> Any:
    """A torch module whose weights learned from the rows it is judged on, said so."""
    return _network()


@twin("network_trained_elsewhere", makes=True, needs="torch", lookback=10, train="2014-06-30", facts=SETTLED)
def network_trained_before() -> Any:
    """A torch module judged after its training data."""
    return _network()


def _network() -> Any:
    import torch

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = torch.nn.LSTM(12, 4, batch_first=True)
            self.head = torch.nn.Linear(4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.lstm(x)[0][:, -1])

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Net().eval()
