"""The interface of puffin's `puffin.deep.rnn` and `puffin.deep.training` over this package's engines.

Code written for them runs with only its import lines changed::

    from longshort.interop.puffin import LSTMNet, MultivariateLSTM, TradingLSTM

Signatures, shapes and history keys are the published ones; what is computed differs where the original looks ahead or
misses its target, and `compare_with_original` measures by how much. Names of torch modules need the extra `torch`;
`TradingLSTM` and `MultivariateLSTM` train natively and do not.
"""

from ..._lazy import attach

_EXPORTS: dict[str, str | None] = {  # public name -> where it is defined
    "Comparison": "comparison",
    "Difference": "comparison",
    "EarlyStopping": "utilities",
    "GRUNet": "networks",
    "LRScheduler": "utilities",
    "LSTMNet": "networks",
    "MultivariateLSTM": "forecasters",
    "StackedLSTM": "networks",
    "TradingGRU": "forecasters",
    "TradingLSTM": "forecasters",
    "compare_with_original": "comparison",
    "compute_class_weights": "utilities",
    "create_dataloaders": "utilities",
    "create_trading_features": "frames",
    "set_seed": "seeding",
    "training_loop": "utilities",
}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
