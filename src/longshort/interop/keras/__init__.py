"""Keras 3: its `.keras` files in and out without Keras, and any of its models as a forecaster.

=====================  ================================================================================================
`read`                 the layers and weights of a `.keras` file, in native terms
`load`                 a fitted `LSTM` with those weights, given what the file cannot know: features, target, scaling
`save`                 a fitted `LSTM` as a `.keras` file that Keras 3 loads and that forecasts the same
`KerasForecaster`      any compiled Keras 3 model as a forecaster
=====================  ================================================================================================

Files need h5py and nothing else (``pip install 'longshort[keras]'``); only `KerasForecaster` needs Keras itself.
"""

from ..._lazy import attach

_EXPORTS: dict[str, str | None] = {  # public name -> where it is defined
    "KerasForecaster": "forecaster",
    "Stack": "files",
    "load": "exchange",
    "read": "exchange",
    "save": "exchange",
}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
