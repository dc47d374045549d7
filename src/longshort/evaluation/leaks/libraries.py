"""Other people's objects as subjects: torch modules, NeuralForecast and darts models.

None of these libraries is imported unless the object that was handed over comes from it.
"""

import copy
from typing import Any

import numpy as np

from ...bars import Bars
from ...errors import InputError
from .subjects import Output, Usage, feature_array, input_subjects, split_row, windows_of

SAME_LENGTH = ("redraw", "shuffle", "scale")


def subject_of(obj: Any, bars: Bars, usage: Usage) -> list[Any] | None:
    """Return the subjects of an object of another library, None for everything else."""
    homes = {base.__module__.split(".")[0] for base in type(obj).__mro__}
    bases = {f"{base.__module__}.{base.__qualname__}" for base in type(obj).__mro__}
    if "torch.nn.modules.module.Module" in bases and "darts" not in homes:
        if "neuralforecast" in homes:
            raise InputError(
                "A single model of neuralforecast says nothing about how it is trained and scaled. Pass "
                "NeuralForecast(models=[model], freq=1, ...), which does."
            )
        return [*input_subjects(usage.features, bars, usage), TorchSubject(obj, usage)]
    if "neuralforecast.core.NeuralForecast" in bases:
        return [NeuralForecastSubject(obj, usage)]
    if "darts" in homes and hasattr(obj, "historical_forecasts"):
        return [DartsSubject(obj, bars, usage)]
    return None


class TorchSubject:
    """A torch module as it is, behind its features: (batch, lookback, n_features) in, (batch, n_outputs) out."""

    exact, rounds, output = False, True, "values"

    def __init__(self, module: Any, usage: Usage):
        if usage.lookback is None:
            raise InputError("A torch module needs lookback=, the rows of a window, and features=, what is in a row.")
        self.module, self.usage, self.target = module, usage, usage.target
        self.name = type(module).__name__

    def run(self, bars: Bars) -> Output:
        """Forecast at every bar with a full window; the module's mode (train or eval) stays as it is."""
        windows = windows_of(feature_array(self.usage.features, bars, self.usage), bars, int(self.usage.lookback or 1))
        values = np.full(bars.shape, np.nan)
        if len(windows):
            values[windows.rows, windows.columns] = self._said(np.stack([windows[i] for i in range(len(windows))]))
        known = np.repeat(np.asarray(bars.time)[:, None], len(bars.symbols), axis=1)
        return Output(np.asarray(bars.time), values, known, tuple((symbol, "output") for symbol in bars.symbols))

    def boundaries(self, bars: Bars) -> list[int]:
        """Return the first row after a declared training part."""
        return [] if self.usage.train is None else [split_row(bars, self.usage.train)]

    def _said(self, windows: np.ndarray) -> np.ndarray:
        """Return the first output for each window, from a copy that nothing can be learned by; on one thread."""
        import torch

        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # for batches this small several only wait for each other
        try:
            with torch.no_grad():
                said = copy.deepcopy(self.module)(torch.from_numpy(windows.astype(np.float32)))
        finally:
            torch.set_num_threads(threads)
        said = said[0] if isinstance(said, tuple) else said
        return said.reshape(len(windows), -1)[:, 0].double().numpy()


class NeuralForecastSubject:
    """A `NeuralForecast` object, by its own `cross_validation`; a forecast may use the rows up to its cutoff.

    Rows are numbered (``freq=1``) or dated by the object's own frequency; `how` goes to `cross_validation`, its
    ``"field"`` names what is forecast (the adjusted close).
    """

    exact, rounds, output, target = False, True, "forecast", None
    ways = SAME_LENGTH

    def __init__(self, forecasts: Any, usage: Usage):
        self.object = forecasts
        self.how = {"n_windows": 3, "step_size": max(int(forecasts.h), 1), **usage.how}
        self.field = self.how.pop("field", "close")
        self.name = "NeuralForecast.cross_validation"

    def run(self, bars: Bars) -> Output:
        """Cross-validate a copy and return one row a cutoff, one column a symbol, model and step."""
        import pandas as pd

        stamps = self._stamps(len(bars))
        parts = [
            pd.DataFrame({"unique_id": symbol, "ds": stamps, "y": bars.adjusted(self.field)[:, j]}).dropna()
            for j, symbol in enumerate(bars.symbols)
        ]
        said = copy.deepcopy(self.object).cross_validation(df=pd.concat(parts, ignore_index=True), **self.how)
        place = {stamp: row for row, stamp in enumerate(stamps)}
        said = said.assign(made=[place[s] for s in said["cutoff"]], step=[place[s] for s in said["ds"]])
        said["step"] -= said["made"]
        models = [c for c in said.columns if c not in ("unique_id", "ds", "cutoff", "y", "made", "step")]
        wide = said.pivot_table(index="made", columns=["unique_id", "step"], values=models)
        time = np.asarray(bars.time)[wide.index.to_numpy()]
        columns = tuple((str(symbol), f"{model}[{step}]") for model, symbol, step in wide.columns)
        known = np.repeat(time[:, None], len(columns), axis=1)
        return Output(time, wide.to_numpy(np.float64), known, columns)

    def boundaries(self, bars: Bars) -> list[int]:
        """Return the rows after the cutoffs."""
        steps, windows = int(self.how["step_size"]), int(self.how["n_windows"] or 1)
        first = len(bars) - int(self.object.h) - steps * (windows - 1)
        return [first + steps * k for k in range(windows)][:8]

    def _stamps(self, n: int) -> Any:
        import pandas as pd

        frequency = self.object.freq
        if isinstance(frequency, int):
            return np.arange(n) * frequency
        return pd.date_range("2000-01-03", periods=n, freq=frequency)


class DartsSubject:
    """A darts forecasting model, by its own `historical_forecasts`; a forecast may use the rows before its first.

    `how` goes to `historical_forecasts`, its ``"field"`` names what is forecast (the adjusted close).
    """

    exact, rounds, output, target = False, True, "forecast", None
    ways = SAME_LENGTH

    def __init__(self, model: Any, bars: Bars, usage: Usage):
        self.model, self.name = model, f"{type(model).__name__}.historical_forecasts"
        row = split_row(bars, usage.train)
        stride = max(1, (len(bars) - row) // 6)
        self.how = {"start": row, "stride": stride, "forecast_horizon": 1, "retrain": True, **usage.how}
        self.field = self.how.pop("field", "close")
        self.fitted_elsewhere = bool(getattr(model, "_fit_called", False)) and not self.how["retrain"]

    def run(self, bars: Bars) -> Output:
        """Return one row a forecast, one column a symbol and step."""
        from darts import TimeSeries

        found: dict[tuple[str, str], dict[int, float]] = {}
        for j, symbol in enumerate(bars.symbols):
            series = TimeSeries.from_values(np.ascontiguousarray(bars.adjusted(self.field)[:, j]))
            paths = copy.deepcopy(self.model).historical_forecasts(
                series, last_points_only=False, verbose=False, show_warnings=False, **self.how
            )
            for path in paths:
                made = int(path.start_time()) - 1
                for step, value in enumerate(np.asarray(path.values())[:, 0], start=1):
                    found.setdefault((symbol, f"forecast[{step}]"), {})[made] = float(value)
        rows = np.array(sorted({row for column in found.values() for row in column}), np.int64)
        values = np.array([[column.get(int(row), np.nan) for column in found.values()] for row in rows])
        time = np.asarray(bars.time)[rows]
        return Output(time, values, np.repeat(time[:, None], len(found), axis=1), tuple(found))

    def boundaries(self, bars: Bars) -> list[int]:
        """Return the row of the first forecast."""
        start = self.how["start"]
        return [int(start)] if isinstance(start, int) else []
