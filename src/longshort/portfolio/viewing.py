"""A view made by hand: to ask a policy or a limit what it would do."""

from typing import Any

import numpy as np

from ..errors import InputError, UnknownName, did_you_mean
from ..forecast import ForecastRow, View

_ARRAYS = ("price", "returns", "high", "low", "volume", "state", "weights", "shares", "entry_price")


def view_of(symbols: tuple[str, ...], forecast: ForecastRow | None = None, **given: Any) -> View:
    """Return what a policy sees of an account without positions, worth 1,000,000, all prices 100.

    Parameters
    ----------
    symbols : tuple of str
        Columns.
    forecast : ForecastRow, optional
        For example ``study.forecast.row(-1)``.
    **given
        Fields of `View` that are otherwise, arrays (n_symbols,) or numbers.

    Examples
    --------
    >>> view = view_of(("AAPL", "MSFT"), weights=[0.4, -0.1])
    >>> view.weights, view.equity
    (array([ 0.4, -0.1]), 1000000.0)
    """
    symbols = tuple(symbols)
    n = len(symbols)
    weights = np.asarray(given.get("weights", np.zeros(n)), dtype=np.float64)
    price = np.asarray(given.get("price", np.full(n, 100.0)), dtype=np.float64)
    equity = float(given.get("equity", 1e6))
    with np.errstate(all="ignore"):
        shares = weights * equity / price
        cash = equity * (1.0 - float(np.nansum(weights)))
    fields: dict[str, Any] = {
        "time": 0,
        "symbols": symbols,
        "forecast": forecast,
        "price": price,
        "returns": np.zeros(n),
        "high": price,
        "low": price,
        "volume": np.full(n, 1e6),
        "state": np.zeros(n, dtype=np.uint8),
        "weights": weights,
        "shares": shares,
        "entry_price": np.where(shares == 0, np.nan, price),
        "equity": equity,
        "cash": cash,
        "session": 0,
        "bars_per_year": 252.0,
    }
    for name, value in given.items():
        if name not in fields:
            raise UnknownName(f"A View has no field {name!r}. {did_you_mean(name, fields)}")
        if name in _ARRAYS:
            value = np.asarray(value, dtype=np.uint8 if name == "state" else np.float64)
            if value.shape != (n,):
                raise InputError(f"{name} must have one number for each of the {n} symbols, had shape {value.shape}.")
        fields[name] = value
    return View(**fields)
