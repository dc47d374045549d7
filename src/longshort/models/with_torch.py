"""torch, for the modules that cannot do without it; where it is missing, the error names the extra to install."""

from ..errors import SetupError

try:
    import torch
    import torch.nn as nn
except ImportError as error:
    raise SetupError("Networks and the torch engine need torch: pip install 'longshort[torch]'.") from error

__all__ = ["nn", "torch"]
