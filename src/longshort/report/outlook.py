"""A price model on rows it never saw, and the sessions after the last bar."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, LongshortError
from ..models import fleet, presets
from .facts import Closes, Next, next_of

if TYPE_CHECKING:
    from ..bars import Bars
    from ..forecast import Forecast


log = logging.getLogger(__name__)

MOST_SYMBOLS = 8  # a page draws no more, and each costs a fit


@dataclass(frozen=True)
class Outlook:
    """Closes over the test rows beside the forecasts made for them, and the coming sessions.

    `tearsheet(study, price=outlook)` opens its page with it.

    Examples
    --------
    >>> import numpy as np
    >>> time, closes = np.array([1, 2, 3]) * 86_400 * 10**9, np.array([10.0, 11.0, 12.0])
    >>> seen = Closes("X", time, closes, closes - 1, closes - 1)
    >>> ahead = Next("X", time[-1:] + 1, closes[-1:], closes[-1:] - 1, closes[-1:] + 1, 0.9, time, closes)
    >>> Outlook((seen,), (ahead,), None, "").to_dict()["X"]["last_close"]
    12.0
    """

    closes: tuple[Closes, ...]
    next: tuple[Next, ...]
    forecaster: Any
    note: str

    def sentence(self, column: int = 0) -> str:
        """How the model did on rows it never saw, beside repeating the last close."""
        one = self.closes[column]
        ours, naive = one.fit_by_lag[0], one.naive_by_lag[0]
        who = "LSTM" if self._one_model(column) else "LSTM on prices"
        return f"{one.symbol}: the {who}'s typical error is {ours:,.2f}, that of repeating the last close {naive:,.2f}."

    def account(self, column: int = 0) -> str:
        """The same in full: whose coming sessions these are, and on which rows the errors were made."""
        who = "" if self._one_model(column) else f"The sessions are those of the {self.next[column].model_name}. "
        return f"{who}On rows it never saw ({self.note}): {self.sentence(column)}"

    def _one_model(self, column: int) -> bool:
        return self.next[column].model_name == self.closes[column].model_name

    def to_dict(self) -> dict[str, Any]:
        """Return the coming sessions as a JSON-able mapping of symbols."""
        return {n.symbol: {"last_close": float(n.history[-1]), "sessions": n.rows()} for n in self.next}


def look_ahead(
    forecaster: Any,
    bars: "Bars",
    steps: int = 5,
    test: float = 0.2,
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
    ahead: Any = None,
) -> Outlook:
    """Fit a price forecaster without the last rows, to see how it does on them, and one with them, to look ahead.

    Parameters
    ----------
    forecaster : LSTM
        Unfitted, with a close or return target one bar ahead; it is left untouched.
    bars : Bars
        All history.
    steps : int, default=5
        Sessions after the last bar.
    test : float, default=0.2
        Share of the bars held back from the first fit.
    threads : int, optional
        The two fits run side by side; all cores by default.
    progress : callable, optional
        Called with the fraction done.
    ahead : LSTM, optional
        Who forecasts the coming sessions; `forecaster` by default. A network on price levels saturates when prices
        leave the range it was trained on, so a rising market wants one on returns here.

    Examples
    --------
    >>> import longshort as ls
    >>> bars = ls.load_bars("AAPL", start="2016-01-01", end="2018-12-31", source="sample")
    >>> model = ls.models.presets.keras_tutorial(lookback=20, hidden=(8,), epochs=3)
    >>> found = look_ahead(model, bars, steps=2)
    >>> [row["date"] for row in found.next[0].rows()]
    ['2019-01-02', '2019-01-03']
    """
    kind = forecaster.target_.info.kind
    if kind not in ("close", "return", "log_return") or forecaster.target_.info.horizon != 1:
        raise InputError(
            f"look_ahead needs a close or return one bar ahead, the target was the {forecaster.target_.info}."
        )
    cut = round(len(bars) * (1 - test))
    seen = bars.until(int(bars.time[cut - 1]))
    ahead = forecaster if ahead is None else ahead
    fittings = [forecaster.fitting(seen), ahead.fitting(bars)]
    fleet.finish(fittings, threads, progress)
    tested, final = (one.result for one in fittings)
    said = tested.predict(bars, start=int(bars.time[cut]))
    path = final.predict(bars, steps=steps)
    name = "LSTM" if ahead is forecaster else "LSTM on returns"
    note = f"trained once, on {bars.dates[0]} to {bars.dates[cut - 1]}"
    closes = tuple(_closes(said, bars, j, kind, cut, note) for j in range(len(bars.symbols)))
    return Outlook(
        closes, tuple(next_of(path, bars, j, model_name=name) for j in range(len(bars.symbols))), final, note
    )


def coming_sessions(bars: "Bars", steps: int = 5) -> "Forecast | None":
    """Fit the network on returns on daily bars and look ahead; None where it cannot."""
    if bars.bar_size != "1D" or len(bars.symbols) > MOST_SYMBOLS:
        return None
    model = presets.returns(per_symbol=True, threads=fleet.cores())
    try:
        return model.fit(bars).predict(bars, steps=steps)
    except LongshortError as error:  # too short, a gap at the end: the report does without
        log.info("no coming sessions: %s", error)
        return None


def _closes(said, bars: "Bars", column: int, kind: str, cut: int, note: str) -> Closes:
    """The test rows whose outcome is known: the last forecast is for a session still to come."""
    close = np.asarray(bars.adjusted("close"))[cut:, column] / float(np.asarray(bars.factor)[-1, column])
    mean = said.mean[:, column]
    if kind == "close":
        model = mean / float(np.asarray(bars.factor)[-1, column])
    else:
        model = close * (1 + mean if kind == "return" else np.exp(mean))
    time = np.asarray(bars.time)[cut + 1 :]
    return Closes(bars.symbols[column], time, close[1:], model[:-1], close[:-1], caption=note)
