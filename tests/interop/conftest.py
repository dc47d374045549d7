"""What tests of interop share."""

import os
import sys
import warnings

import pytest


@pytest.fixture(scope="module")
def keras():
    """Keras, on torch where nobody has chosen another backend before."""
    if "keras" not in sys.modules:
        pytest.importorskip("torch")
        os.environ.setdefault("KERAS_BACKEND", "torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("keras")
