"""What tests of models share."""

import pytest


@pytest.fixture(scope="module")
def one_thread():
    """torch on one thread: two of them on tiny products wait for each other more than they work."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
