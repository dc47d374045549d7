"""The operators and methods of features: what turns one expression into the next.

Each returns a new node of the graph and computes nothing. `Feature` (`expressions.py`) inherits them.
"""

from typing import Any, Self

import numpy as np

from ..errors import InputError


def whole(value: Any, what: str, least: int) -> int:
    """Return a whole number of bars, or raise `InputError` naming what was wrong.

    Examples
    --------
    >>> whole(20, "rolling_mean", 1)
    20
    """
    number = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not number or value < least or value > 1_000_000:
        raise InputError(f"{what} must be a whole number of bars, at least {least}, was {value!r}.")
    return int(value)


class Operators:
    """Arithmetic, windows in time, gaps and cross-sections of a feature."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """Take numpy's functions for the operations of the same name: ``np.log(field("close"))``."""
        ours = _UFUNCS.get(ufunc.__name__)
        if ours is None or method != "__call__" or options:
            written = ufunc.__name__ + ("" if method == "__call__" else "." + method)
            raise InputError(
                f"numpy.{written} cannot be written as a feature. Known: {', '.join(sorted(_UFUNCS))}. "
                "For a function of your own see causal(fn, lookback)."
            )
        return getattr(self._operand(inputs[0]), ours)(*inputs[1:])

    def _make(self, op: str, inputs: tuple = (), params: tuple[tuple[str, Any], ...] = ()) -> Self:
        return type(self)(op, inputs, params)  # type: ignore[call-arg]

    def _operand(self, value: Any) -> Self:
        """Return a feature as it is and a finite number as a constant."""
        if isinstance(value, type(self)):
            return value
        if isinstance(value, np.ndarray) and value.ndim == 0:  # what numpy makes of a number before it asks us
            value = value.item()
        if isinstance(value, int | float | np.number) and np.isfinite(value):
            return self._make("const", (), (("value", float(value)),))
        advice = f" Use field({value!r}) for a column." if isinstance(value, str) else ""
        raise InputError(f"A feature or a finite number was expected here, was {value!r}.{advice}")

    # --------------------------------------------------------------------------------------------------- arithmetic
    def __add__(self, other):
        return self._make("add", (self, self._operand(other)))

    def __radd__(self, other):
        return self._make("add", (self._operand(other), self))

    def __sub__(self, other):
        return self._make("subtract", (self, self._operand(other)))

    def __rsub__(self, other):
        return self._make("subtract", (self._operand(other), self))

    def __mul__(self, other):
        return self._make("multiply", (self, self._operand(other)))

    def __rmul__(self, other):
        return self._make("multiply", (self._operand(other), self))

    def __truediv__(self, other):
        return self.divided_by(other)

    def __rtruediv__(self, other):
        return self._operand(other).divided_by(self)

    def __pow__(self, power):
        if isinstance(power, float) and power == 0.5:
            return self.sqrt()
        if isinstance(power, bool) or not isinstance(power, int | np.integer) or not 1 <= power <= 16:
            raise InputError(
                f"A feature can be raised to a whole power from 1 to 16, or to 0.5, was {power!r}. "
                "Of positive numbers any power p is (feature.log() * p).exp()."
            )
        if power == 1:
            return self
        half = self ** (int(power) // 2)
        return half * half if power % 2 == 0 else half * half * self

    def __rpow__(self, base):
        raise InputError(f"A number to the power of a feature is (feature * log({base!r})).exp().")

    def __lt__(self, other):
        return self._make("less", (self, self._operand(other)))

    def __le__(self, other):
        return self._make("less_equal", (self, self._operand(other)))

    def __gt__(self, other):
        return self._make("less", (self._operand(other), self))

    def __ge__(self, other):
        return self._make("less_equal", (self._operand(other), self))

    def __neg__(self):
        return self._make("negate", (self,))

    def __abs__(self):
        return self.abs()

    def equals(self, other: Any) -> Self:
        """Return 1 where both are equal, 0 elsewhere."""
        return self._make("equal", (self, self._operand(other)))

    def divided_by(self, other: Any, otherwise: float = float("nan")) -> Self:
        """Return the quotient, and `otherwise` where the divisor is 0 (NaN unless told)."""
        return self._make("divide", (self, self._operand(other)), (("otherwise", float(otherwise)),))

    def minimum(self, other: Any) -> Self:
        """Return the smaller of the two, bar by bar."""
        return self._make("minimum", (self, self._operand(other)))

    def maximum(self, other: Any) -> Self:
        """Return the larger of the two, bar by bar."""
        return self._make("maximum", (self, self._operand(other)))

    def clip(self, low: float, high: float) -> Self:
        """Return the values held between `low` and `high`."""
        if not low <= high:
            raise InputError(f"clip needs low <= high, was {low} and {high}.")
        return self.maximum(low).minimum(high)

    def abs(self) -> Self:
        """Return the absolute value."""
        return self._make("absolute", (self,))

    def log(self) -> Self:
        """Return the natural logarithm; NaN for what is not positive."""
        return self._make("log", (self,))

    def exp(self) -> Self:
        """Return e to the power of this; NaN above 709."""
        return self._make("exp", (self,))

    def sqrt(self) -> Self:
        """Return the square root; NaN for what is negative."""
        return self._make("sqrt", (self,))

    def sign(self) -> Self:
        """Return -1, 0 or 1."""
        return self._make("sign", (self,))

    # --------------------------------------------------------------------------------------------------------- time
    def lag(self, n: int = 1) -> Self:
        """Return the value `n` bars ago."""
        if isinstance(n, int | np.integer) and not isinstance(n, bool) and n < 0:
            raise InputError(
                f"lag must be 0 or more bars, was {n}: a negative lag reads the future, which features cannot. "
                "What happens next is a target: see forward_return, forward_close, forward_volatility."
            )
        return self._make("lag", (self,), (("n", whole(n, "lag", 0)),))

    def diff(self, n: int = 1) -> Self:
        """Return the change over `n` bars."""
        whole(n, "diff", 1)
        return self - self.lag(n)

    def rolling_mean(self, n: int) -> Self:
        """Return the mean of the last `n` values."""
        return self._make("rolling_mean", (self,), (("n", whole(n, "rolling_mean", 1)),))

    def rolling_sum(self, n: int) -> Self:
        """Return the sum of the last `n` values."""
        return self._make("rolling_sum", (self,), (("n", whole(n, "rolling_sum", 1)),))

    def rolling_min(self, n: int) -> Self:
        """Return the smallest of the last `n` values."""
        return self._make("rolling_min", (self,), (("n", whole(n, "rolling_min", 1)),))

    def rolling_max(self, n: int) -> Self:
        """Return the largest of the last `n` values."""
        return self._make("rolling_max", (self,), (("n", whole(n, "rolling_max", 1)),))

    def rolling_std(self, n: int, ddof: int = 1) -> Self:
        """Return the standard deviation of the last `n` values (divisor n - ddof); exactly 0 when they are equal."""
        params = (("n", whole(n, "rolling_std", ddof + 1)), ("ddof", whole(ddof, "ddof", 0)))
        return self._make("rolling_std", (self,), params)

    def rolling_cov(self, other: Any, n: int, ddof: int = 1) -> Self:
        """Return the covariance with another feature over the last `n` bars."""
        params = (("n", whole(n, "rolling_cov", ddof + 1)), ("ddof", whole(ddof, "ddof", 0)))
        return self._make("rolling_cov", (self, self._operand(other)), params)

    def rolling_corr(self, other: Any, n: int) -> Self:
        """Return the correlation with another feature over the last `n` bars; 0 when one of them is constant."""
        return self._make("rolling_corr", (self, self._operand(other)), (("n", whole(n, "rolling_corr", 2)),))

    def rolling_beta(self, other: Any, n: int) -> Self:
        """Return the slope of this on another feature over the last `n` bars; 0 when the other is constant."""
        return self._make("rolling_beta", (self, self._operand(other)), (("n", whole(n, "rolling_beta", 2)),))

    def ema(self, n: int) -> Self:
        """Return the exponential mean: weight 2 / (n + 1) on the newest value, seeded by the mean of the first n."""
        whole(n, "ema", 1)
        return self.exponential_mean(2.0 / (n + 1), seed=n)

    def wilder(self, n: int) -> Self:
        """Return Wilder's exponential mean: weight 1 / n on the newest value, seeded by the mean of the first n."""
        whole(n, "wilder", 1)
        return self.exponential_mean(1.0 / n, seed=n)

    def exponential_mean(self, alpha: float, seed: int = 1, skip: int = 0) -> Self:
        """Return the exponential mean ``v += alpha * (x - v)``.

        Parameters
        ----------
        alpha : float
            Weight of the newest value, in (0, 1]. Smaller remembers longer and needs a longer warm-up.
        seed : int, default=1
            The first v is the mean of this many values.
        skip : int, default=0
            Values passed over before the seed.
        """
        if not isinstance(alpha, int | float | np.number) or not 1e-6 <= alpha <= 1:
            raise InputError(f"alpha must be in [1e-6, 1], was {alpha!r}. For a span n it is 2 / (n + 1).")
        params = (("alpha", float(alpha)), ("seed", whole(seed, "seed", 1)), ("skip", whole(skip, "skip", 0)))
        return self._make("exponential_mean", (self,), params)

    # --------------------------------------------------------------------------------------- gaps and cross-sections
    def ffill(self, limit: int) -> Self:
        """Return the values with gaps of at most `limit` bars filled by the last value before them."""
        return self._make("ffill", (self,), (("limit", whole(limit, "ffill's limit", 1)),))

    def missing(self) -> Self:
        """Return 1 where there is no value, 0 elsewhere: the companion of `ffill`."""
        return self._make("missing", (self,))

    def rank(self) -> Self:
        """Return the rank among the symbols of the bar, in (0, 1) with mean 0.5; ties share the mean rank."""
        return self._make("rank", (self,))

    def zscore(self) -> Self:
        """Return the distance from the mean of the symbols of the bar in standard deviations; 0 when all are equal."""
        return self._make("zscore", (self,))


_UFUNCS = {
    "add": "__add__", "subtract": "__sub__", "multiply": "__mul__", "divide": "__truediv__", "power": "__pow__",
    "true_divide": "__truediv__", "negative": "__neg__", "absolute": "abs", "fabs": "abs", "log": "log", "exp": "exp",
    "sqrt": "sqrt", "sign": "sign", "minimum": "minimum", "maximum": "maximum", "less": "__lt__", "greater": "__gt__",
    "less_equal": "__le__", "greater_equal": "__ge__",
}  # fmt: skip
