"""The constructor's arguments as data: `get_params`, `set_params` and unfitted copies, as scikit-learn has them."""

import copy
import inspect
from typing import Any, Self

from ..errors import UnknownName, did_you_mean


class Parameters:
    """Base of estimators whose constructor stores its arguments under their names and calls `check`.

    Forecasters an estimator is made of (`inside`) have their arguments reached as ``name__argument``.

    Examples
    --------
    >>> class Constant(Parameters):
    ...     def __init__(self, value=1.0): self.value = value
    >>> Constant().with_params(value=2.0).get_params()
    {'value': 2.0}
    >>> Constant().set_params(vlaue=2.0)
    Traceback (most recent call last):
    ...
    longshort.errors.UnknownName: Constant has no parameter 'vlaue'. Did you mean 'value'?
    """

    @classmethod
    def _parameters(cls) -> list[str]:
        return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]

    def inside(self) -> dict[str, Any]:
        """Return the forecasters this one is made of, by name."""
        return {}

    def put_inside(self, forecasters: dict[str, Any]) -> None:
        """Replace the forecasters this one is made of."""
        for name, forecaster in forecasters.items():
            setattr(self, name, forecaster)

    def check(self) -> None:
        """Raise `InputError` where the arguments make no sense."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's arguments by name; with `deep` also those inside, as ``name__argument``."""
        own = {name: getattr(self, name) for name in self._parameters()}
        for name, forecaster in self.inside().items() if deep else ():
            if hasattr(forecaster, "get_params"):
                own |= {f"{name}__{key}": value for key, value in forecaster.get_params().items()}
        return own

    def set_params(self, **params: Any) -> Self:
        """Change arguments, those inside as ``name__argument``; unknown names raise `UnknownName`."""
        inner: dict[str, dict[str, Any]] = {}
        for key, value in params.items():
            name, _, rest = key.partition("__")
            if key in self._parameters():
                setattr(self, key, value)
            elif rest and name in self.inside():
                inner.setdefault(name, {})[rest] = value
            else:
                raise UnknownName(
                    f"{type(self).__name__} has no parameter {key!r}. {did_you_mean(key, self.get_params())}"
                )
        if inner:
            inside = self.inside()
            changed = {name: copy.deepcopy(inside[name]).set_params(**values) for name, values in inner.items()}
            self.put_inside(inside | changed)
        self.check()
        return self

    def with_params(self, **params: Any) -> Self:
        """Return an unfitted copy with some arguments changed."""
        return type(self)(**self.get_params(deep=False)).set_params(**params)
