"""The networks everyone starts from, as published, minus their mistakes; and one that can look ahead.

Of the published ones the shape, the scaling range, the optimiser's constants and the initial weights are Keras's; the
scaler sees training rows only, and the weights kept are those of the best epoch on the last fifth of the rows. Their
forecasts saturate where prices leave the range of the training rows, which is why `returns` exists.
"""

from typing import Any

from ..features import field, forward_close, log_return, volatility
from .lstm import LSTM

_KERAS = {"scaler": "minmax", "init": "keras", "eps": 1e-7, "head_activation": "linear", "refit": False}


def keras_tutorial(**changes: Any) -> LSTM:
    """Return the two-layer Keras classic: closes, lookback 60, LSTM(50), LSTM(50), dropout 0.2, Dense(1).

    Parameters
    ----------
    **changes
        Arguments of `LSTM` to set otherwise.

    Examples
    --------
    >>> from longshort.models.presets import keras_tutorial
    >>> print(keras_tutorial().summary())
    LSTM: next close, from 1 feature over 60 bars
      lstm.0  LSTM     60 x 1 -> 50     10,400
      lstm.1  LSTM    60 x 50 -> 50     20,200
      head.0  Dense        50 -> 1          51
      total                             30,651  (torch counts 31,051: two biases a gate)
    """
    return _closes(hidden=(50, 50), dropout=0.2).set_params(**changes)


def lstm_64_64_32_1(**changes: Any) -> LSTM:
    """Return the other classic: closes, lookback 60, LSTM(64), LSTM(64), Dense(32), Dense(1), no activations.

    Examples
    --------
    >>> from longshort.models.presets import lstm_64_64_32_1
    >>> sum(layer["parameters"] for layer in lstm_64_64_32_1().layers())
    52033
    """
    return _closes(hidden=(64, 64), head=(32,)).set_params(**changes)


def returns(**changes: Any) -> LSTM:
    """Return a small network on log returns of closes: it has no price range to leave, and can be rolled forward.

    Examples
    --------
    >>> from longshort.models.presets import returns
    >>> print(returns().summary())
    LSTM: log return over the next bar, from 3 features over 20 bars
      lstm.0  LSTM     20 x 3 -> 32      4,608
      head.0  Dense        32 -> 1          33
      total                              4,641  (torch counts 4,769: two biases a gate)
    """
    inputs = [log_return(1), log_return(5), volatility(20)]
    return LSTM(inputs, lookback=20, hidden=(32,), dropout=0.2, epochs=30, patience=5).set_params(**changes)


def _closes(**shape: Any) -> LSTM:
    return LSTM([field("close")], target=forward_close(1), lookback=60, **shape, **_KERAS)
