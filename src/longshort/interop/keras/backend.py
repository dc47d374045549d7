"""Keras itself: finding it, drawing its random numbers without moving anyone else's, copying its models."""

import contextlib
import random
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from ...errors import InputError, SetupError

KERAS = threading.RLock()  # Keras keeps state that all its models share


def keras_module() -> Any:
    """Import Keras 3, or say what to install."""
    try:
        import keras
    except ImportError as error:
        raise SetupError(
            f"KerasForecaster needs Keras 3 and a backend ({error}): pip install keras torch, and set "
            "KERAS_BACKEND=torch; or tensorflow, or jax."
        ) from error
    if not keras.__version__.startswith("3."):
        raise SetupError(f"KerasForecaster needs Keras 3, found {keras.__version__}: pip install 'keras>=3'.")
    return keras


def fresh_copy(pattern: Any) -> Any:
    """Return a copy of a compiled model with new weights and its own optimizer."""
    keras = keras_module()
    try:
        model = keras.models.clone_model(pattern)
        optimizer = type(pattern.optimizer).from_config(pattern.optimizer.get_config())
    except (TypeError, ValueError, NotImplementedError) as error:
        raise InputError(
            f"This Keras model cannot be copied ({error}). Pass a function (lookback, n_features) that builds it."
        ) from error
    model.compile(
        optimizer=optimizer, loss=pattern.loss, run_eagerly=pattern.run_eagerly, jit_compile=pattern.jit_compile
    )
    return model


@contextlib.contextmanager
def seeded(seed: int, epoch: int | None = None) -> Iterator[None]:
    """Draw what Keras draws from `seed` (and `epoch`), and leave the random states of everyone else as they were.

    Building a network resets Keras itself, too. In an epoch that would be wrong: its layers carry their own states. But
    the dropout of the torch backend draws from PyTorch's global state, which therefore starts anew for each epoch.
    """
    keras = keras_module()
    with KERAS:
        python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 - Keras draws from the legacy one
        torch = sys.modules.get("torch")
        ours = None if torch is None else torch.random.get_rng_state()
        try:
            if epoch is None:
                keras.utils.set_random_seed(int(seed))
            else:
                drawn = int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
                random.seed(drawn)
                np.random.seed(drawn)  # noqa: NPY002
                if torch is not None:
                    torch.manual_seed(drawn)
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)  # noqa: NPY002
            if torch is not None:
                torch.random.set_rng_state(ours)
