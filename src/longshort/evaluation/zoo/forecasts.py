"""Entries that train and forecast, or trade: leaks through scaling, splitting, choosing and paying, and their twins.

All of them learn by ridge regression, because a leak does not depend on the model and a regression takes no time. The
first `TRAIN` rows train; forecasts are for the next return and begin after them.
"""

from typing import Any

import numpy as np

from ...bars import Bars
from ...forecast import Forecast
from .register import Frame, leak, twin

TRAIN = 600
LOOKBACK = 5
SETTLED = {"universe": "nothing", "features": "nothing", "tuning": "nothing"}
FORECASTS = {"output": "forecast", "facts": SETTLED}


def inputs_of(frame: Frame) -> np.ndarray:
    """Return five causal inputs, (n_rows, 5)."""
    close, volume = frame["close"], frame["volume"]
    change = close.pct_change(fill_method=None)
    columns = [change, change.shift(1), change.rolling(5).mean(), change.rolling(20).std(), volume.pct_change()]
    return np.nan_to_num(np.column_stack(columns), posinf=0.0, neginf=0.0)


def outcome_of(frame: Frame, horizon: int = 1) -> np.ndarray:
    """Return the return over the next rows, NaN where it is not over."""
    close = frame["close"].to_numpy()
    out = np.full(len(close), np.nan)
    out[:-horizon] = close[horizon:] / close[:-horizon] - 1
    return out


def ridge(X: np.ndarray, y: np.ndarray, penalty: float = 1e-3) -> np.ndarray:
    """Return the coefficients of a ridge regression, the constant first; rows without an outcome do not count."""
    known = np.isfinite(y) & np.isfinite(X).all(axis=1)
    A = np.column_stack([np.ones(known.sum()), X[known]])
    return np.linalg.solve(A.T @ A + penalty * np.eye(A.shape[1]), A.T @ y[known])


def told(X: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Return the forecasts of a regression."""
    return coefficients[0] + X @ coefficients[1:]


def windows(X: np.ndarray, lookback: int = LOOKBACK) -> np.ndarray:
    """Return the rows t - lookback + 1 .. t of X side by side, (n_rows, lookback * n_columns), NaN at the start."""
    out = np.full((len(X), lookback * X.shape[1]), np.nan)
    for k in range(lookback):
        out[lookback - 1 :, k * X.shape[1] : (k + 1) * X.shape[1]] = X[lookback - 1 - k : len(X) - k]
    return out


def out_of_sample(values: np.ndarray, first: int = TRAIN) -> np.ndarray:
    """Return the forecasts of the test rows, NaN elsewhere."""
    return np.where(np.arange(len(values)) >= first, values, np.nan)


def standardised(X: np.ndarray, rows: slice) -> np.ndarray:
    """Return X scaled with some of its rows."""
    known = X[rows]
    return (X - known.mean(axis=0)) / (known.std(axis=0) + 1e-12)


# ---------------------------------------------------------------------- what tutorials show


@leak(**FORECASTS)
def scaler_before_split(frame: Frame) -> np.ndarray:
    """Closes scaled to 0 .. 1 with all rows, then cut into windows and split at 80 %, as Keras tutorials do."""
    close = frame["close"].to_numpy()
    low, high = np.nanmin(close), np.nanmax(close)
    scaled = (close - low) / (high - low)
    X, y = windows(scaled[:, None]), np.r_[scaled[1:], np.nan]
    first = int(0.8 * len(close))
    values = told(X, ridge(X[: first - 1], y[: first - 1])) * (high - low) + low
    return out_of_sample(values, first)


@twin("scaler_before_split", **FORECASTS)
def scaler_after_split(frame: Frame) -> np.ndarray:
    """The same, scaled with the training rows alone."""
    close = frame["close"].to_numpy()
    first = int(0.8 * len(close))
    low, high = np.nanmin(close[:first]), np.nanmax(close[:first])
    scaled = (close - low) / (high - low)
    X, y = windows(scaled[:, None]), np.r_[scaled[1:], np.nan]
    values = told(X, ridge(X[: first - 1], y[: first - 1])) * (high - low) + low
    return out_of_sample(values, first)


@leak(**FORECASTS)
def scaler_on_train_and_validation(frame: Frame) -> np.ndarray:
    """Scaled with training and validation rows together; forecasts of the validation rows are reported."""
    X = standardised(inputs_of(frame), slice(0, 800))
    values = told(X, ridge(X[: TRAIN - 1], outcome_of(frame)[: TRAIN - 1]))
    return np.where(np.arange(len(values)) < 800, out_of_sample(values), np.nan)


@leak(**FORECASTS)
def window_one_row_short(frame: Frame) -> np.ndarray:
    """Windows that end a row before the decision in training, and with it in use: the planted signal is never found."""
    X, y = inputs_of(frame)[:, :1], outcome_of(frame)
    seen, used = windows(X), windows(X)
    seen[1:] = seen[:-1].copy()  # features[i - lookback : i] for the outcome of row i
    return out_of_sample(told(used, ridge(seen[LOOKBACK : TRAIN - 1], y[LOOKBACK : TRAIN - 1])))


@twin("window_one_row_short", **FORECASTS)
def window_aligned(frame: Frame) -> np.ndarray:
    """One window in training and in use, the decision row last."""
    X, y = windows(inputs_of(frame)[:, :1]), outcome_of(frame)
    return out_of_sample(told(X, ridge(X[: TRAIN - 1], y[: TRAIN - 1])))


@leak(**FORECASTS)
def window_with_outcome(frame: Frame) -> np.ndarray:
    """Windows that end a row after the decision: the outcome's own return is an input."""
    X, y = inputs_of(frame)[:, :1], outcome_of(frame)
    X = windows(np.r_[X[1:], [[0.0]]])
    return out_of_sample(told(X, ridge(X[: TRAIN - 1], y[: TRAIN - 1])))


@leak(**FORECASTS)
def local_scaler_over_folds(frame: Frame) -> np.ndarray:
    """Cross-validation that scales each series once, its test windows included: a local scaler before the folds."""
    change = np.nan_to_num(frame["close"].pct_change().to_numpy())
    scaled = (change - change.mean()) / change.std()
    X, y = windows(scaled[:, None]), np.r_[scaled[1:], np.nan]
    values = told(X, ridge(X[: TRAIN - 1], y[: TRAIN - 1]))
    return out_of_sample(values * change.std() + change.mean())


@twin("local_scaler_over_folds", **FORECASTS)
def scaler_within_folds(frame: Frame) -> np.ndarray:
    """Refitted every 100 rows, scaled with the rows before each fold."""
    change = np.nan_to_num(frame["close"].pct_change().to_numpy())
    out = np.full(len(change), np.nan)
    for first in range(TRAIN, len(change), 100):
        mean, size = change[:first].mean(), change[:first].std()
        scaled = (change - mean) / size
        X, y = windows(scaled[:, None]), np.r_[scaled[1:], np.nan]
        fold = slice(first, first + 100)
        out[fold] = told(X[fold], ridge(X[: first - 1], y[: first - 1])) * size + mean
    return out


# ---------------------------------------------------------------------- splitting


@leak(**FORECASTS)
def no_purge(frame: Frame) -> np.ndarray:
    """Five-row outcomes of the last training rows, which end among the test rows."""
    X, y = inputs_of(frame), outcome_of(frame, 5)
    return out_of_sample(told(X, ridge(X[:TRAIN], y[:TRAIN])))


@twin("no_purge", **FORECASTS)
def purged(frame: Frame) -> np.ndarray:
    """Five-row outcomes that end before the first test row."""
    X, y = inputs_of(frame), outcome_of(frame, 5)
    return out_of_sample(told(X, ridge(X[: TRAIN - 5], y[: TRAIN - 5])))


@leak(**FORECASTS)
def refits_without_purge(frame: Frame) -> np.ndarray:
    """Refitted every 60 rows on all rows before, whose ten-row outcomes are not over."""
    X, y = inputs_of(frame), outcome_of(frame, 10)
    out = np.full(len(y), np.nan)
    for first in range(TRAIN, len(y), 60):
        out[first : first + 60] = told(X[first : first + 60], ridge(X[:first], y[:first]))
    return out


@twin("refits_without_purge", **FORECASTS)
def refits_purged(frame: Frame) -> np.ndarray:
    """Refitted every 60 rows on rows whose ten-row outcomes are over."""
    X, y = inputs_of(frame), outcome_of(frame, 10)
    out = np.full(len(y), np.nan)
    for first in range(TRAIN, len(y), 60):
        out[first : first + 60] = told(X[first : first + 60], ridge(X[: first - 10], y[: first - 10]))
    return out


@leak(**FORECASTS)
def yearly_refits_without_purge(frame: Frame) -> np.ndarray:
    """Refitted every 130 rows on all rows before: of two-row outcomes one is not over, four rows in a thousand know."""
    X, y = inputs_of(frame), outcome_of(frame, 2)
    out = np.full(len(y), np.nan)
    for first in range(333, len(y), 130):
        out[first : first + 130] = told(X[first : first + 130], ridge(X[:first], y[:first]))
    return out


@leak(**FORECASTS)
def random_split_of_windows(frame: Frame) -> np.ndarray:
    """Overlapping windows split at random into training and test: neighbours of every test row train."""
    X, y = windows(inputs_of(frame)), outcome_of(frame)
    ready = np.flatnonzero(np.isfinite(X).all(axis=1))
    order = np.random.default_rng(0).permutation(ready)
    train, test = order[: int(0.8 * len(order))], order[int(0.8 * len(order)) :]
    out = np.full(len(y), np.nan)
    out[test] = told(X[test], ridge(X[train], y[train]))
    return out


@leak(**FORECASTS)
def shuffled_folds(frame: Frame) -> np.ndarray:
    """Out-of-fold forecasts of five shuffled folds."""
    X, y = inputs_of(frame), outcome_of(frame)
    fold = np.random.default_rng(0).integers(0, 5, len(y))
    out = np.full(len(y), np.nan)
    for k in range(5):
        out[fold == k] = told(X[fold == k], ridge(X[fold != k], y[fold != k]))
    return out


@leak(**FORECASTS)
def fitted_on_everything(frame: Frame) -> np.ndarray:
    """Forecasts of the rows it was fitted on."""
    X, y = inputs_of(frame), outcome_of(frame)
    return out_of_sample(told(X, ridge(X, y)))


@leak(**FORECASTS)
def duplicates_across_split(frame: Frame) -> np.ndarray:
    """Big moves drawn again to balance the data, before the split: copies of test rows train."""
    X, y = inputs_of(frame), outcome_of(frame)
    big = np.flatnonzero(np.abs(y) > 0.015)
    rows = np.r_[np.arange(TRAIN - 1), np.random.default_rng(0).choice(big, 200)]
    return out_of_sample(told(X, ridge(X[rows], y[rows])))


@twin("duplicates_across_split", **FORECASTS)
def duplicates_in_training(frame: Frame) -> np.ndarray:
    """Big moves of the training part drawn again."""
    X, y = inputs_of(frame), outcome_of(frame)
    big = np.flatnonzero(np.abs(y[: TRAIN - 1]) > 0.015)
    rows = np.r_[np.arange(TRAIN - 1), np.random.default_rng(0).choice(big, 200)]
    return out_of_sample(told(X, ridge(X[rows], y[rows])))


@leak(**FORECASTS)
def outcome_scaled_with_everything(frame: Frame) -> np.ndarray:
    """Outcomes standardised with all rows, forecasts scaled back with the same numbers."""
    X, y = inputs_of(frame), outcome_of(frame)
    mean, size = np.nanmean(y), np.nanstd(y)
    return out_of_sample(mean + size * told(X, ridge(X[: TRAIN - 1], (y[: TRAIN - 1] - mean) / size, 10.0)))


@leak(**FORECASTS)
def scaled_in_the_batch(frame: Frame) -> np.ndarray:
    """Test inputs standardised with their own mean: batch normalisation left in training mode."""
    X, y = inputs_of(frame), outcome_of(frame)
    coefficients = ridge(standardised(X, slice(0, TRAIN))[: TRAIN - 1], y[: TRAIN - 1])
    return out_of_sample(told(standardised(X, slice(TRAIN, None)), coefficients))


@twin("scaled_in_the_batch", **FORECASTS)
def scaled_as_in_training(frame: Frame) -> np.ndarray:
    """Test inputs standardised with the mean of the training rows."""
    X, y = standardised(inputs_of(frame), slice(0, TRAIN)), outcome_of(frame)
    return out_of_sample(told(X, ridge(X[: TRAIN - 1], y[: TRAIN - 1])))


# ---------------------------------------------------------------------- choosing


PENALTIES = 10.0 ** np.arange(-7, 1)


def _errors(X: np.ndarray, y: np.ndarray, train: slice, judge: slice) -> list[float]:
    return [float(np.nanmean((told(X[judge], ridge(X[train], y[train], p)) - y[judge]) ** 2)) for p in PENALTIES]


@leak(**FORECASTS)
def tuned_on_test(frame: Frame) -> np.ndarray:
    """The penalty with the smallest error on the test rows."""
    X, y = inputs_of(frame), outcome_of(frame)
    train = slice(0, TRAIN - 1)
    best = PENALTIES[int(np.argmin(_errors(X, y, train, slice(TRAIN, None))))]
    return out_of_sample(told(X, ridge(X[train], y[train], best)))


@twin("tuned_on_test", **FORECASTS)
def tuned_on_validation(frame: Frame) -> np.ndarray:
    """The penalty with the smallest error on the last training rows."""
    X, y = inputs_of(frame), outcome_of(frame)
    best = PENALTIES[int(np.argmin(_errors(X, y, slice(0, 450), slice(451, TRAIN - 1))))]
    return out_of_sample(told(X, ridge(X[: TRAIN - 1], y[: TRAIN - 1], best)))


@leak(**FORECASTS)
def threshold_on_test(frame: Frame) -> np.ndarray:
    """Positions from a threshold that earns most on the test rows."""
    X, y = inputs_of(frame), outcome_of(frame)
    values = out_of_sample(told(X, ridge(X[: TRAIN - 1], y[: TRAIN - 1])))
    candidates = np.nanquantile(values, np.linspace(0.05, 0.95, 19))
    earned = [np.nansum(np.where(values > c, y, 0.0)[TRAIN:]) for c in candidates]
    return np.where(np.isfinite(values), (values > candidates[int(np.argmax(earned))]).astype(float), np.nan)


@twin("threshold_on_test", **FORECASTS)
def threshold_on_training(frame: Frame) -> np.ndarray:
    """Positions from a threshold that earns most on the training rows."""
    X, y = inputs_of(frame), outcome_of(frame)
    values = told(X, ridge(X[: TRAIN - 1], y[: TRAIN - 1]))
    candidates = np.quantile(values[: TRAIN - 1], np.linspace(0.05, 0.95, 19))
    earned = [np.nansum(np.where(values > c, y, 0.0)[: TRAIN - 1]) for c in candidates]
    return out_of_sample((values > candidates[int(np.argmax(earned))]).astype(float))


def _descent(X: np.ndarray, y: np.ndarray, train: slice, judge: slice, steps: int = 60) -> np.ndarray:
    """Return the weights of gradient descent at the step with the smallest error on `judge`."""
    weights, best, kept = np.zeros(X.shape[1]), np.inf, np.zeros(X.shape[1])
    for _ in range(steps):
        weights = weights - 0.2 * X[train].T @ (X[train] @ weights - y[train]) / (train.stop - (train.start or 0))
        error = float(np.nanmean((X[judge] @ weights - y[judge]) ** 2))
        if error < best:
            best, kept = error, weights
    return kept


@leak(**FORECASTS)
def early_stopping_on_test(frame: Frame) -> np.ndarray:
    """Training stops at the step with the smallest error on the test rows (validation_data=(X_test, y_test))."""
    X, y = standardised(inputs_of(frame), slice(0, TRAIN)), outcome_of(frame)
    return out_of_sample(X @ _descent(X, y, slice(0, TRAIN - 1), slice(TRAIN, None)))


@twin("early_stopping_on_test", **FORECASTS)
def early_stopping_on_validation(frame: Frame) -> np.ndarray:
    """Training stops at the step with the smallest error on the last training rows."""
    X, y = standardised(inputs_of(frame), slice(0, TRAIN)), outcome_of(frame)
    return out_of_sample(X @ _descent(X, y, slice(0, 450), slice(451, TRAIN - 1)))


def _many_inputs(frame: Frame) -> np.ndarray:
    """Return 40 inputs, most of them noise."""
    noise = np.random.default_rng(0).normal(size=(len(frame), 35))
    return np.column_stack([standardised(inputs_of(frame), slice(0, TRAIN)), noise])


def _strongest(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    known = np.isfinite(y)
    strength = np.abs(np.corrcoef(X[known].T, y[known])[-1, :-1])
    return np.sort(np.argsort(-np.nan_to_num(strength))[:5])


@leak(**FORECASTS)
def selected_on_everything(frame: Frame) -> np.ndarray:
    """The five inputs of forty that correlate most with the outcome over all rows."""
    X, y = _many_inputs(frame), outcome_of(frame)
    X = X[:, _strongest(X, y)]
    return out_of_sample(told(X, ridge(X[: TRAIN - 1], y[: TRAIN - 1])))


@twin("selected_on_everything", **FORECASTS)
def selected_on_training(frame: Frame) -> np.ndarray:
    """The five inputs of forty that correlate most with the outcome over the training rows."""
    X, y = _many_inputs(frame), outcome_of(frame)
    X = X[:, _strongest(X[: TRAIN - 1], y[: TRAIN - 1])]
    return out_of_sample(told(X, ridge(X[: TRAIN - 1], y[: TRAIN - 1])))


@leak(**FORECASTS)
def best_model_of_the_test(frame: Frame) -> np.ndarray:
    """Two models averaged by how well they did on the test rows."""
    X, y = inputs_of(frame), outcome_of(frame)
    models = [out_of_sample(told(X, ridge(X[: TRAIN - 1], y[: TRAIN - 1], p))) for p in (1e-6, 1e-2)]
    weights = [1 / np.nanmean((m - y) ** 2) for m in models]
    return (weights[0] * models[0] + weights[1] * models[1]) / sum(weights)


@leak(**FORECASTS)
def sign_chosen_afterwards(frame: Frame) -> np.ndarray:
    """A momentum signal, turned round if it would have lost money over all rows."""
    signal = frame["close"].pct_change(20).to_numpy()
    earned = np.nansum(np.sign(signal) * outcome_of(frame))
    return signal * (1.0 if earned > 0 else -1.0)


@twin("sign_chosen_afterwards", **FORECASTS)
def sign_chosen_before(frame: Frame) -> np.ndarray:
    """A momentum signal, turned round if it would have lost money on the training rows."""
    signal = frame["close"].pct_change(20).to_numpy()
    earned = np.nansum(np.sign(signal[: TRAIN - 1]) * outcome_of(frame)[: TRAIN - 1])
    return out_of_sample(signal * (1.0 if earned > 0 else -1.0))


@leak(given="panel", market="panel", **FORECASTS)
def pooled_scaler_of_survivors(frame: Frame) -> Frame:
    """Momentum of all symbols, standardised with the deviation of those that still trade in the last row."""
    momentum = frame["close"].pct_change(20, fill_method=None)
    alive = frame["close"].columns[frame["close"].iloc[-1].notna()]
    return momentum / momentum[alive].std().mean()


# ---------------------------------------------------------------------- being paid


TRADES = {"output": "returns", "facts": SETTLED}


@leak(**TRADES)
def same_bar_fill(frame: Frame) -> Frame:
    """Long after a rise: decided on the close, and paid for the rise itself."""
    change = frame["close"].pct_change()
    return (change > 0).astype(float) * change


@twin("same_bar_fill", **TRADES)
def next_bar_fill(frame: Frame) -> Frame:
    """Long after a rise: decided on the close, and paid for what came next."""
    change = frame["close"].pct_change()
    return (change > 0).astype(float).shift(1) * change


@leak(**TRADES)
def filled_at_the_low(frame: Frame) -> Frame:
    """Every day bought at the low and sold at the close."""
    return frame["close"] / frame["low"] - 1


@twin("filled_at_the_low", **TRADES)
def filled_at_the_open(frame: Frame) -> Frame:
    """Bought at the open after a rise, and sold at the close."""
    rose = (frame["close"].pct_change() > 0).shift(1, fill_value=False)
    return rose.astype(float) * (frame["close"] / frame["open"] - 1)


@leak(**TRADES)
def stopped_at_the_level(frame: Frame) -> Frame:
    """Days that touch a loss of 1 % count as exactly -0.2 %: a stop that is filled better than it can be."""
    change = frame["close"].pct_change()
    touched = frame["low"] / frame["close"].shift(1) - 1 < -0.01
    return change.where(~touched, -0.002)


# ---------------------------------------------------------------------- forecasters


class _Momentum:
    """A forecaster of longshort's own kind, so far as it learns one number: how much of a return comes back."""

    name = "momentum"

    def __init__(self, scaled_where: str):
        from ...features import forward_return

        self.scaled_where, self.target = scaled_where, forward_return(1)

    def fit(self, bars: Bars, start: Any = None) -> "_Momentum":
        """Learn the share."""
        change = self._change(bars)
        self.size_ = np.nanstd(change)
        before, after = change[1:-1].ravel(), change[2:].ravel()
        both = np.isfinite(before) & np.isfinite(after)
        self.share_ = float(before[both] @ after[both] / (before[both] @ before[both]))
        return self

    def predict(self, bars: Bars, start: Any = None) -> Forecast:
        """Forecast at every bar."""
        change = self._change(bars)
        size = np.nanstd(change) if self.scaled_where == "predict" else self.size_
        if self.scaled_where == "state":
            self.size_ = np.nanstd(change)
        first = 0 if start is None else int(np.searchsorted(bars.time, start))
        mean = self.share_ * change / size * self.size_
        return Forecast(bars.time[first:], bars.symbols, mean[first:], target=self.target.info)

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration."""
        return {"kind": "momentum", "scaled": self.scaled_where}

    @staticmethod
    def _change(bars: Bars) -> np.ndarray:
        close = bars.adjusted("close")
        out = np.full(close.shape, np.nan)
        out[1:] = close[1:] / close[:-1] - 1
        return out


@leak(makes=True, facts=SETTLED)
def scaled_while_forecasting() -> _Momentum:
    """A forecaster that scales with the deviation of the bars it is asked about."""
    return _Momentum("predict")


@leak(makes=True, facts=SETTLED)
def learns_while_forecasting() -> _Momentum:
    """A forecaster that forecasts with the deviation of the bars it was asked about before."""
    return _Momentum("state")


@twin("scaled_while_forecasting", makes=True, facts=SETTLED)
def scaled_while_fitting() -> _Momentum:
    """A forecaster that scales with the deviation of its training rows."""
    return _Momentum("fit")


@twin("scaler_before_split", makes=True, facts=SETTLED)
def our_ridge() -> Any:
    """longshort's ridge on returns and volatility."""
    from ...features import log_return, volatility
    from ...models.baselines import Ridge

    return Ridge([log_return(), volatility(20)], _next_return())


@twin("scaler_before_split", makes=True, facts=SETTLED)
def our_lstm() -> Any:
    """longshort's LSTM, small."""
    from ...features import log_return, volatility
    from ...models.lstm import LSTM

    return LSTM([log_return(), volatility(20)], lookback=10, hidden=(4,), epochs=2)


@twin("label_as_feature", makes=True)
def our_features() -> Any:
    """longshort's technical features."""
    from ...features import technical

    return technical()


@twin("label_longer_than_said", makes=True)
def our_target() -> Any:
    """longshort's triple barrier."""
    from ...features import forward_barrier

    return forward_barrier(10)


def _next_return() -> Any:
    from ...features import forward_return

    return forward_return(1)


# ---------------------------------------------------------------------- scikit-learn


@leak(makes=True, needs="sklearn", facts=SETTLED)
def sklearn_scaler_in_the_batch() -> Any:
    """A Pipeline whose first step standardises whatever it is given, in training and in use."""
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    return make_pipeline(FunctionTransformer(lambda X: (X - X.mean(axis=0)) / X.std(axis=0)), Ridge())


@twin("sklearn_scaler_in_the_batch", makes=True, needs="sklearn", facts=SETTLED)
def sklearn_pipeline() -> Any:
    """A Pipeline with a StandardScaler."""
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), Ridge())


# ---------------------------------------------------------------------- libraries that cross-validate themselves


def _neuralforecast(**options: Any) -> Any:
    from neuralforecast import NeuralForecast
    from neuralforecast.models import MLP

    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False, "accelerator": "cpu"}
    model = MLP(h=1, input_size=8, hidden_size=8, num_layers=1, max_steps=3, scaler_type="identity", **quiet)
    return NeuralForecast(models=[model], freq=1, **options)


NEURALFORECAST = {"needs": "neuralforecast", "makes": True, "facts": SETTLED, "runs": 8}


@leak(**NEURALFORECAST)
def neuralforecast_local_scaler() -> Any:
    """NeuralForecast's default cross-validation with a local scaler, which is fitted on the test windows too."""
    return _neuralforecast(local_scaler_type="standard")


@twin("neuralforecast_local_scaler", how={"refit": True}, **NEURALFORECAST)
def neuralforecast_refitted() -> Any:
    """The same with refit=True, which fits scaler and network before each window."""
    return _neuralforecast(local_scaler_type="standard")


@twin("neuralforecast_local_scaler", **NEURALFORECAST)
def neuralforecast_unscaled() -> Any:
    """NeuralForecast's default cross-validation without a local scaler."""
    return _neuralforecast()


@twin("local_scaler_over_folds", needs="darts", makes=True, facts=SETTLED, runs=8)
def darts_regression() -> Any:
    """A darts model by its own historical forecasts."""
    from darts.models import LinearRegressionModel

    return LinearRegressionModel(lags=5)
