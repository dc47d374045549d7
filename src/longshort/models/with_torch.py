"""torch, for the modules that cannot do without it; where it is missing, the error names the extra to install."""

from ..errors import SetupError

try:
    import torch
    from torch import Tensor, nn
except ImportError as error:
    raise SetupError("Networks and the torch engine need torch: pip install 'longshort[torch]'.") from error

__all__ = ["Tensor", "nn", "torch"]
