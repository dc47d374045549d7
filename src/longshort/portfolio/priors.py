"""Our forecasts as a prior of skfolio, so that its optimisers, constraints, costs and cross-validation use them.

skfolio asks a prior, fitted on returns up to now, what the next returns will be: `mu`, `covariance`, and scenarios for
risks that need whole distributions. `LSTMPrior` answers with the forecast of a longshort forecaster, fitted on the same
past, or with one made before. Symbols and times are aligned by name and stamp, never by position.
"""

from typing import Any

import numpy as np

from ..bars import Bars
from ..errors import DataError, InputError, NotEnoughData, SetupError, TimeError, UnknownName
from ..forecast import Forecast, TargetInfo
from .optimize import simple_moments

try:
    import pandas as pd
    import sklearn.utils.validation as skv
    from skfolio.prior import BasePrior, ReturnDistribution
except ImportError as error:
    raise SetupError("A prior for skfolio needs skfolio: pip install 'longshort[portfolio]'.") from error

DAY = 86_400 * 10**9


class LSTMPrior(BasePrior):
    """A prior whose moments are predicted by a forecaster.

    Parameters
    ----------
    forecaster : Forecaster, optional
        Of returns, unfitted, such as `models.JointLSTM`, `LSTM` or `EWMA`: every `fit` trains a copy on the returns it
        is given and forecasts from the last of them. Give it or `forecast`.
    bars : Bars, optional
        What the forecaster sees instead of prices made up from the returns: with it, all fields and features work.
        Each fit is given ``bars.until(last return's time)`` and the symbols of the returns, nothing else.
    forecast : Forecast, optional
        Made before, such as ``walk_forward(...).forecast``: every fit looks up the row made at its last return.
    scenarios : "historical" or int, default="historical"
        For risks that need distributions (CVaR, drawdowns): the past returns, moved and scaled so that they have the
        predicted mean and covariance and keep their tails and dependence (filtered historical simulation,
        Barone-Adesi et al., 1999); or so many normal draws.
    seed : int, default=0
        Of the draws.

    Attributes
    ----------
    return_distribution_ : skfolio.prior.ReturnDistribution
        Moments of simple returns a bar; of a longer horizon, its share of one bar.
    forecast_ : Forecast
        The one row they come from.

    Notes
    -----
    A forecaster without covariances gives means, and deviations where it has them; the correlations (and the
    deviations otherwise) are then Ledoit and Wolf's of the returns. Returns are simple ones, a row a bar, with the name
    of every symbol; their index is the time at which they were known, or its date.

    Look-ahead: skfolio's `WalkForward` and ``cross_val_predict`` fit on the past of each test part, and so does this.
    A `forecast` must be out of sample by itself, as that of a study is.

    Examples
    --------
    >>> from skfolio.optimization import MeanRisk
    >>> from longshort import models as m, features as f
    >>> from longshort.data import synthetic
    >>> close = synthetic.garch(300, ["A", "B", "C"], seed=1).to_pandas()["close"]
    >>> returns = close.pct_change().dropna()
    >>> model = MeanRisk(prior_estimator=LSTMPrior(m.EWMA(f.forward_return())))
    >>> weights = model.fit(returns).weights_            # minimum variance, from RiskMetrics' covariance
    >>> weights.shape, bool(weights.min() >= 0)
    ((3,), True)
    """

    n_features_in_: int
    forecast_: Forecast

    def __init__(
        self,
        forecaster: Any = None,
        bars: Bars | None = None,
        forecast: Forecast | None = None,
        scenarios: Any = "historical",
        seed: int = 0,
    ):
        self.forecaster, self.bars, self.forecast = forecaster, bars, forecast
        self.scenarios, self.seed = scenarios, seed

    def fit(self, X: Any, y: Any = None, **fit_params: Any) -> "LSTMPrior":
        """Forecast the return after the last row of X.

        Parameters
        ----------
        X : DataFrame (n_observations, n_assets)
            Simple returns; columns named, index in the order of time.
        y : ignored

        Raises
        ------
        InputError
            Neither or both of `forecaster` and `forecast`, or an unnamed or unordered X.
        UnknownName
            A symbol of X stands in neither `bars` nor `forecast`.
        DataError
            No forecast was made at the last return's time, or it is not finite.
        """
        self._check(X)
        values = np.asarray(skv.validate_data(self, X), np.float64)
        names, stamps = [str(c) for c in X.columns], _stamps(X.index)
        row = self._row(X, values, names, stamps)
        mean, covariance = self._moments(row, names, values)
        horizon = row.target.horizon if row.target is not None else 1
        mean, covariance = mean / horizon, covariance / horizon
        self.forecast_ = row
        self.return_distribution_ = ReturnDistribution(
            mu=mean, covariance=covariance, returns=self._scenarios(values, mean, covariance, names)
        )
        return self

    def _check(self, X: Any) -> None:
        if (self.forecaster is None) == (self.forecast is None):
            raise InputError("LSTMPrior needs a forecaster or a forecast, one of them. Write LSTMPrior(JointLSTM()).")
        if not isinstance(X, pd.DataFrame):
            raise InputError(
                f"X must be a DataFrame of returns, since symbols are aligned by name, was {type(X).__name__}. "
                "Write pd.DataFrame(X, index=times, columns=symbols)."
            )
        if not X.columns.is_unique or not X.index.is_unique or not X.index.is_monotonic_increasing:
            raise InputError("The columns of X must be different, and its index must rise without repeats. Sort it.")
        whole = isinstance(self.scenarios, int | np.integer) and not isinstance(self.scenarios, bool)
        if self.scenarios != "historical" and not (whole and self.scenarios >= 2):
            raise InputError(f"scenarios must be 'historical' or a number of at least 2, was {self.scenarios!r}.")

    # -- the forecast --------------------------------------------------------------------------------------------

    def _row(self, X: Any, values: np.ndarray, names: list[str], stamps: np.ndarray) -> Forecast:
        """Return the one row of forecasts made at the last return, columns in the order of X."""
        if self.forecast is not None:
            said, at = self.forecast, _made_at(self.forecast.time, stamps[-1])
            if at is None:
                raise DataError(
                    f"The forecast has no row made at {X.index[-1]}, the last of X; its rows run from "
                    f"{_date(said.time[:1])} to {_date(said.time[-1:])}. Cut X, or forecast these rows too."
                )
            return _one_row(said, at, names)
        import copy

        bars = self._seen(values, names, stamps)
        fitted = copy.deepcopy(self.forecaster).fit(bars)
        return _one_row(fitted.predict(bars, start=int(bars.time[-1])), -1, names)

    def _seen(self, values: np.ndarray, names: list[str], stamps: np.ndarray) -> Bars:
        """Return the bars up to the last return, columns by name so that their order decides nothing."""
        order = sorted(range(len(names)), key=names.__getitem__)
        if self.bars is not None:
            _known(names, self.bars.symbols, "bars")
            last = _made_at(self.bars.time, stamps[-1])
            if last is None:
                raise DataError(f"bars has no row at {_date(stamps[-1:])}, the last of X. Load bars that have it.")
            return self.bars.until(int(self.bars.time[last])).select([names[i] for i in order])
        if not (values > -1).all():
            raise DataError("Simple returns must be above -1: a price cannot fall by more than all of it.")
        close = np.cumprod(1.0 + values[:, order], axis=0)
        first = stamps[0] - (stamps[1] - stamps[0] if len(stamps) > 1 else DAY)  # where the first return starts from
        close = np.vstack([np.ones(len(names)), close])
        return Bars.from_arrays(np.append(first, stamps), [names[i] for i in order], {"close": close})

    # -- moments and scenarios -----------------------------------------------------------------------------------

    def _moments(self, row: Forecast, names: list[str], values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and covariance of simple returns over the horizon."""
        from dataclasses import replace

        from ..models.covariances import correlation_of, ledoit_wolf

        if row.covariance is None:
            horizon = row.target.horizon if row.target is not None else 1
            own = horizon * ledoit_wolf(values)
            deviation = np.sqrt(np.diagonal(own)) if row.std is None else row.std[0]
            covariance = correlation_of(own) * deviation[:, None] * deviation
            row = replace(row, covariance=covariance[None], digest="")
        mean, covariance = (part[0] for part in simple_moments(row, "LSTMPrior"))
        bad = [s for s, m, v in zip(names, mean, np.diagonal(covariance), strict=True) if not np.isfinite(m + v)]
        if bad:
            raise DataError(
                f"There is no finite forecast for {', '.join(bad[:5])} at {_date(row.time)}. The model may lack "
                "history (see its warmup), or the bars may have gaps."
            )
        return mean, 0.5 * (covariance + covariance.T)

    def _scenarios(self, values: np.ndarray, mean: np.ndarray, covariance: np.ndarray, names: list[str]) -> np.ndarray:
        """Return returns (n_scenarios, n_assets) that have this mean and covariance, in an order of names."""
        order = np.array(sorted(range(len(names)), key=names.__getitem__))
        back, ordered = np.argsort(order), covariance[np.ix_(order, order)]
        try:
            factor = np.linalg.cholesky(ordered)
        except np.linalg.LinAlgError as error:
            raise DataError("The predicted covariance is not positive definite, so it has no scenarios.") from error
        if self.scenarios != "historical":
            draws = np.random.default_rng(self.seed).standard_normal((int(self.scenarios), len(mean)))
            return mean + (draws @ factor.T)[:, back]
        n, width = values.shape
        if n <= width + 1:
            raise NotEnoughData(
                f"Historical scenarios of {width} symbols need more than {width + 1} returns, X has {n}. "
                "Pass more rows, or scenarios=1000."
            )
        centred = values[:, order] - values[:, order].mean(axis=0)
        try:
            past = np.linalg.cholesky(centred.T @ centred / (n - 1))
        except np.linalg.LinAlgError as error:
            raise DataError(
                "Some symbols of X never move, or move as one. Drop them, or pass scenarios=1000."
            ) from error
        return mean + (np.linalg.solve(past, centred.T).T @ factor.T)[:, back]


def _stamps(index: Any) -> np.ndarray:
    """Return the index as UTC nanoseconds; naive stamps are taken as UTC."""
    if not isinstance(index, pd.DatetimeIndex):
        raise TimeError(
            f"The index of X must be dates, was {type(index).__name__}. Write X.index = pd.to_datetime(...)."
        )
    utc = index.tz_localize("UTC") if index.tz is None else index.tz_convert("UTC")
    return utc.as_unit("ns").asi8


def _made_at(times: np.ndarray, stamp: int) -> int | None:
    """Return the row of `times` at a stamp; a stamp that is a bare date finds the one row of that date."""
    at = int(np.searchsorted(times, stamp))
    if at < len(times) and times[at] == stamp:
        return at
    if stamp % DAY:
        return None
    same = np.flatnonzero(times // DAY == stamp // DAY)
    return int(same[0]) if len(same) == 1 else None


def _one_row(said: Forecast, at: int, names: list[str]) -> Forecast:
    _known(names, said.symbols, "forecast")
    columns = [said.symbols.index(name) for name in names]
    at = at % len(said)

    def cut(array: Any) -> Any:
        return None if array is None else array[at : at + 1][:, columns]

    covariance = None if said.covariance is None else said.covariance[at][np.ix_(columns, columns)][None]
    ends = None if said.for_time is None else said.for_time[at : at + 1]
    target: TargetInfo | None = said.target
    return Forecast(
        said.time[at : at + 1], tuple(names), cut(said.mean), cut(said.std), None, covariance, target, for_time=ends
    )


def _known(names: list[str], symbols: tuple[str, ...], where: str) -> None:
    unknown = [name for name in names if name not in symbols]
    if unknown:
        raise UnknownName(
            f"{where} lacks {', '.join(unknown[:5])}, which X has. Drop these columns, or add them there."
        )


def _date(times: np.ndarray) -> str:
    return str(times.astype("datetime64[ns]").astype("datetime64[s]")[0])
