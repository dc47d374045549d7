"""`set_seed`: one number for NumPy, Python, torch and the forecasters of this package."""

_chosen = 0


def set_seed(seed: int) -> None:
    """Seed Python's and NumPy's global generators, torch where it is installed, and forecasters made without a seed.

    Parameters
    ----------
    seed : int
        From 0 to 2**32 - 1.

    Raises
    ------
    InputError
        Anything else.

    Examples
    --------
    >>> from longshort.interop.puffin import TradingLSTM, set_seed
    >>> set_seed(42)
    >>> TradingLSTM().seed, TradingLSTM(seed=7).seed
    (42, 7)
    >>> set_seed(0)
    """
    import importlib.util
    import random

    import numpy as np

    from ...errors import InputError

    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
        raise InputError(f"seed must be a whole number from 0 to {2**32 - 1}, was {seed!r}.")
    global _chosen
    _chosen = int(seed)
    random.seed(_chosen)
    np.random.seed(_chosen)  # noqa: NPY002  the generator that code written for puffin draws from
    if importlib.util.find_spec("torch") is not None:
        import torch

        torch.manual_seed(_chosen)  # every device, CUDA included
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False


def chosen_seed() -> int:
    """Return the seed last given to `set_seed`, 0 before that."""
    return _chosen
