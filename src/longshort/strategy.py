"""A strategy: what forecasts, what sizes, what limits, and how long a fit serves.

::

    Bars -> forecaster -> Forecast -> policy -> target weights -> limits -> allowed weights -> orders

A `Strategy` is a value. `backtest` plays it over the forecasts of a study, `train` fits its forecaster on all bars,
`save_strategy` keeps it as one directory. Fitted, it carries a `Contract`: the data it learned from and nothing else it
may be asked about. Everything in it describes itself as data, by short names, so a saved strategy holds no code.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .bars import require_bars
from .clock import Span, local_dates, next_sessions, shifted
from .errors import InputError, NotFitted
from .forecast import FitsInSteps, Forecast, Forecaster, Limit, Streaming
from .models.recent import stream_of
from .portfolio import Limits, LongShort, as_policy

if TYPE_CHECKING:
    from .bars import Bars

NEVER = "never"


@dataclass(frozen=True)
class Contract:
    """What data a fitted strategy may be asked about: what it learned from, by name.

    Parameters
    ----------
    symbols : tuple of str
        All of them, in any order: a policy that ranks five stocks is another one with four.
    bar_size : str
        "1D", "1h", ...
    calendar : str or None
        Exchange.
    fields : tuple of str
        Series that bars must have; more do no harm.
    currency : str, default="USD"
        Of all prices.
    until : int, optional
        The last bar learned from, UTC nanoseconds.
    digest : str, default=""
        SHA-256 of the bars learned from.
    adjustment : str, default="forward"
        Prices are raw, with splits and dividends beside them; features read them adjusted forward, without look-ahead.

    Examples
    --------
    >>> import longshort as ls
    >>> aapl = ls.load_bars("AAPL", start="2019-01-01", end="2019-12-31", source="sample")
    >>> contract = Contract.of(aapl)
    >>> contract.check(aapl)
    >>> contract.check(ls.load_bars("IBM", start="2019-01-01", end="2019-12-31", source="sample"))
    Traceback (most recent call last):
    ...
    longshort.errors.InputError: The strategy was made for other data: symbols must be AAPL, lack AAPL, have IBM \
beside. Load what it was made for, or train it on these bars.
    """

    symbols: tuple[str, ...]
    bar_size: str
    calendar: str | None
    fields: tuple[str, ...]
    currency: str = "USD"
    until: int | None = None
    digest: str = ""
    adjustment: str = "forward"

    def __post_init__(self):
        for name in ("symbols", "fields"):
            given = getattr(self, name)
            value = tuple(given) if isinstance(given, list | tuple) else ()
            if not value or not all(isinstance(one, str) for one in value):
                raise InputError(f"A contract's {name} must be a list of names, at least one, was {given!r}.")
            object.__setattr__(self, name, value)
        kinds = {"bar_size": str, "calendar": str | None, "currency": str, "until": int | None, "digest": str}
        for name, kind in kinds.items():
            if not isinstance(getattr(self, name), kind):
                raise InputError(
                    f"A contract's {name} must be {getattr(kind, '__name__', kind)}, was {getattr(self, name)!r}."
                )
        if self.adjustment != "forward":
            raise InputError(f"Bars are adjusted forward, so adjustment must be 'forward', was {self.adjustment!r}.")

    @classmethod
    def of(cls, bars: "Bars", forecaster: Any = None, currency: str = "USD") -> "Contract":
        """Return the contract of bars: all their fields, or those a forecaster reads beside prices and volume."""
        require_bars(bars, "A contract")
        read = getattr(getattr(forecaster, "program_", None), "inputs", None)
        usual = ("open", "high", "low", "close", "volume")
        fields = [name for name in bars.fields if read is None or name in usual or name in read]
        until = int(bars.time[-1]) if len(bars) else None
        return cls(bars.symbols, bars.bar_size, bars.calendar, tuple(fields), currency, until, bars.digest)

    def check(self, bars: "Bars") -> None:
        """Raise `InputError` naming every difference between `bars` and what was agreed."""
        require_bars(bars, "check")
        wrong = []
        lacking, beside = _apart(self.symbols, bars.symbols)
        if lacking or beside:
            parts = [f"lack {_some(lacking)}"] * bool(lacking) + [f"have {_some(beside)} beside"] * bool(beside)
            wrong.append(f"symbols must be {_some(self.symbols)}, {', '.join(parts)}")
        for name in ("bar_size", "calendar"):
            if (mine := getattr(self, name)) != (theirs := getattr(bars, name)):
                wrong.append(f"{name} must be {mine}, was {theirs}")
        absent = [name for name in self.fields if name not in bars]
        if absent:
            wrong.append(f"fields must hold {_some(self.fields)}, lack {_some(absent)}")
        if wrong:
            raise InputError(
                f"The strategy was made for other data: {'; '.join(wrong)}. Load what it was made for, or train it on "
                "these bars."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the contract as a JSON-able mapping."""
        return {
            "symbols": list(self.symbols),
            "bar_size": self.bar_size,
            "calendar": self.calendar,
            "fields": list(self.fields),
            "currency": self.currency,
            "until": self.until,
            "digest": self.digest,
            "adjustment": self.adjustment,
        }


@dataclass(frozen=True, eq=False, repr=False)
class Strategy:
    """A forecaster, a policy, limits, and how long a fit serves.

    Parameters
    ----------
    forecaster : Forecaster, optional
        What forecasts. Without one, views carry no forecast, and the policy goes by prices alone.
    policy : Policy or function, default=LongShort()
        What sizes positions. A plain function ``view -> weights`` serves in research; a strategy with one cannot be
        saved, because code is never saved.
    limits : Limits, default=Limits()
        What cuts them.
    refit : str, optional
        How long a fitted forecaster serves: "6M", "1Y", "20D" (sessions), or "never". None: as long as the folds of
        the study it is saved with, without a study "never".
    contract : Contract, optional
        The data the forecaster was fitted on; `fitted` and `load_strategy` fill it in.

    Examples
    --------
    >>> import longshort as ls
    >>> from longshort import features as f, models as m
    >>> bars = ls.load_bars("AAPL", start="2015-01-01", end="2019-12-31", source="sample")
    >>> strategy = Strategy(m.AutoRegression(f.forward_return()), refit="6M").fitted(bars)
    >>> strategy.contract.symbols, strategy.due
    (('AAPL',), '2020-06-30')
    >>> len(strategy.predict(bars, start="2019-12-31"))
    1
    """

    forecaster: Any = None
    policy: Any = field(default_factory=LongShort)
    limits: Any = field(default_factory=Limits)
    refit: str | None = None
    contract: Contract | None = None

    def __post_init__(self):
        forecaster, policy, limits = self.forecaster, self.policy, self.limits
        if forecaster is not None and (isinstance(forecaster, type) or not isinstance(forecaster, Forecaster)):
            raise InputError(f"forecaster must be a forecaster such as LSTM(...) or None, was {_shown(forecaster)}.")
        object.__setattr__(self, "policy", as_policy(policy))
        if isinstance(limits, type) or not isinstance(limits, Limit):
            raise InputError(f"limits must be Limits(...), was {_shown(limits)}.")
        if not isinstance(self.contract, Contract | None):
            raise InputError(f"contract must be a Contract or None, was {_shown(self.contract)}.")
        if self.refit is not None and self.refit != NEVER:
            span = Span.parse(self.refit)
            object.__setattr__(self, "refit", str(span.value) if span.unit else f"{span.count}D")

    # -- at work -------------------------------------------------------------------------------------------------

    def fitted(
        self,
        bars: "Bars",
        start: Any = None,
        progress: Callable[[float], None] | None = None,
        currency: str = "USD",
        seeds: int | None = None,
    ) -> "Strategy":
        """Return the same strategy with its forecaster fitted on all of `bars`; self is left untouched.

        Parameters
        ----------
        bars : Bars
            All that may be known.
        start : date-like or int, optional
            First decision row; earlier bars only warm up.
        progress : callable, optional
            Called with the fraction done, by forecasters that tell.
        currency : str, default="USD"
            Of the prices, for the contract.
        seeds : int, optional
            Networks whose mean is the forecast, as many as the study had that judged it: `walk_forward` takes 3 by
            default. None: as the forecaster says itself.
        """
        require_bars(bars, "fitted")
        if self.forecaster is None:
            return replace(self, contract=Contract.of(bars, currency=currency))
        from copy import deepcopy

        forecaster = deepcopy(self.forecaster)
        if seeds is not None and isinstance(forecaster, FitsInSteps):
            forecaster = forecaster.with_seeds(seeds)
        tells = progress is not None and "progress" in inspect.signature(forecaster.fit).parameters
        forecaster = forecaster.fit(bars, start, **({"progress": progress} if tells else {}))
        return replace(self, forecaster=forecaster, contract=Contract.of(bars, forecaster, currency))

    def check(self, bars: "Bars") -> None:
        """Raise `InputError` where `bars` are not what the strategy was fitted on."""
        if self.contract is not None:
            self.contract.check(bars)

    def predict(self, bars: "Bars", start: Any = None) -> Forecast:
        """Forecast at every bar from `start` on, of bars that the contract allows."""
        self.check(bars)
        return self._forecaster("predict").predict(bars, start)

    def stream(self, bars: "Bars") -> Streaming:
        """Return a stream that answers row by row what `predict` would, of bars that the contract allows.

        A forecaster without a stream of its own is asked about the whole history at every row: exact, and slow.
        """
        self.check(bars)
        return stream_of(self._forecaster("stream"), bars)

    def _forecaster(self, verb: str) -> Any:
        if self.forecaster is None:
            raise NotFitted(f"This strategy has no forecaster to {verb} with; its policy goes by prices alone.")
        return self.forecaster

    @property
    def due(self) -> str | None:
        """The date after which the forecaster is to be fitted anew; None for never, or where it is not fitted."""
        kept = self.contract
        if self.refit is None or self.refit == NEVER or kept is None or kept.until is None:
            return None
        span = Span.parse(self.refit)
        if not span.by_calendar:
            return str(next_sessions(kept.calendar or "24/7", kept.until, span.count)[-1])
        return str(shifted(local_dates(np.array([kept.until]), kept.calendar)[0], (span, 1)))

    # -- describing ----------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return the strategy as a JSON-able mapping; a plain function appears by its name only."""
        return {
            "forecaster": None if self.forecaster is None else self.forecaster.to_dict(),
            "policy": self.policy.to_dict(),
            "limits": self.limits.to_dict(),
            "refit": self.refit,
            "contract": None if self.contract is None else self.contract.to_dict(),
        }

    def summary(self) -> str:
        """Return what the strategy is made of, as text.

        Examples
        --------
        >>> import longshort as ls
        >>> print(ls.Strategy(refit="1Y").summary().splitlines()[0])
        Strategy
        """
        told = self.to_dict()
        described: Callable[[], str] | None = getattr(self.forecaster, "summary", None)
        who = "none" if self.forecaster is None else type(self.forecaster).__name__
        lines = [
            "Strategy",
            f"  forecaster  {who if described is None else described().splitlines()[0]}",
            f"  policy      {_call(self.policy, told['policy'])}",
            f"  limits      {_call(self.limits, told['limits'])}",
            f"  refit       {self.refit or 'as the study'}",
        ]
        if self.contract is not None:
            kept = self.contract
            lines.append(f"  data        {_some(kept.symbols)}; {kept.bar_size}, {kept.calendar}, {kept.currency}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        who = "None" if self.forecaster is None else type(self.forecaster).__name__
        told = self.to_dict()
        refit = "" if self.refit is None else f", refit={self.refit!r}"
        return f"Strategy({who}, {_call(self.policy, told['policy'])}, {_call(self.limits, told['limits'])}{refit})"


def _apart(mine: tuple[str, ...], theirs: tuple[str, ...]) -> tuple[list[str], list[str]]:
    return [name for name in mine if name not in theirs], [name for name in theirs if name not in mine]


def _some(names: Any) -> str:
    return ", ".join(list(names)[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _shown(value: Any) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else repr(value)


def _call(value: Any, told: Mapping[str, Any]) -> str:
    """Return an object as it would be typed, without what stands at its default."""
    known = inspect.signature(type(value)).parameters
    shown = {k: v for k, v in told.items() if k != "kind" and (k not in known or v != known[k].default)}
    inner = {k: getattr(value, k, None) for k, v in shown.items() if isinstance(v, Mapping) and "kind" in v}
    texts = {k: repr(v) if k not in inner else _call(inner[k], v) for k, v in shown.items()}
    arguments = [f"{k}={text}" for k, text in texts.items() if shown[k] not in (None, [], {}, ())]
    return f"{type(value).__name__}({', '.join(arguments)})"
