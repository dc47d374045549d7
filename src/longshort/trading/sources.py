"""Where a trader's forecasts come from: stored ones, or a model that streams."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import InputError
from ..forecast import Forecast, ForecastRow, Streaming
from ..orders import MarketEvent

Source = Callable[[MarketEvent], "ForecastRow | None"]


class Recorded:
    """Stored forecasts as a source: those made at the time of the event, None at other times.

    Examples
    --------
    >>> forecast = Forecast(np.array([10, 20]), ("KO",), np.array([[0.1], [0.2]]))
    >>> source = Recorded(forecast)
    >>> source(MarketEvent("close", 20, 0, np.zeros(1, np.uint8))).mean
    array([0.2])
    """

    def __init__(self, forecast: Forecast):
        if not isinstance(forecast, Forecast):
            raise InputError(f"Recorded plays a Forecast, was {forecast!r}. Write Recorded(study.forecast).")
        self.forecast, self.symbols = forecast, forecast.symbols
        self._target, self._mean = forecast.target, forecast.mean
        self._rows = {time: i for i, time in enumerate(forecast.time.tolist())}
        self._plain = not forecast.extras()

    def __call__(self, event: MarketEvent) -> ForecastRow | None:
        """Return the forecasts made at the event."""
        i = self._rows.get(event.time)
        if i is None:
            return None
        return ForecastRow(self._target, self._mean[i]) if self._plain else self.forecast.row(i)


class Streamed:
    """A live model as a source: ``model.stream(bars)``, fed with every closed row.

    Parameters
    ----------
    stream : object with ``step(row, state) -> array (n_symbols,)``
        What `stream` of a fitted forecaster returns.
    target : TargetInfo
        What its numbers mean.

    Examples
    --------
    >>> import longshort as ls
    >>> bars = ls.load_bars("AAPL", start="2017-01-01", end="2019-12-31", source="sample")
    >>> model = ls.LSTM([ls.features.log_return()], lookback=10, hidden=(8,), epochs=1).fit(bars.until("2018-12-31"))
    >>> source = Streamed(model.stream(bars.until("2018-12-31")), model.target_.info)
    """

    def __init__(self, stream: Any, target: Any):
        self.stream, self.target, self.symbols = stream, target, getattr(stream, "symbols", None)

    def __call__(self, event: MarketEvent) -> ForecastRow | None:
        """Take in the row of a closing event and return what it forecasts."""
        ones, zeros = np.ones(len(event.state)), np.zeros(len(event.state))
        row = {name: getattr(event, name) for name in ("open", "high", "low", "close", "volume", "state")}
        row["split"] = ones if event.split is None else event.split
        row["dividend"] = zeros if event.dividend is None else event.dividend
        given = {k: v for k, v in row.items() if v is not None} | {"time": event.time}
        if isinstance(self.stream, Streaming):
            return self.stream.forecast(given)
        return ForecastRow(self.target, np.asarray(self.stream.step(given), np.float64))
