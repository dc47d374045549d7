"""The verdict: does the model know anything the past alone does not say? One sentence, and an exit code.

**Edge** (exit code 0) needs all of this on out-of-sample rows, otherwise there is no evidence (exit code 3):

- Clark and West's test against every information-free forecast, one-sided at 5 %, errors robust to autocorrelation
  and to overlapping outcomes; the forecasts are those of `target.naive()`, for prices also the last close plus its
  mean change, for directions also the share of rises; very persistent forecasts must also pass a sign test, because
  Clark and West's would be too kind to them (`statistics.knows_more`);
- an information coefficient above 0, tested the same way. A forecast that is merely higher than the past average beats
  it when the average rises (a market that rises on 54 % of days after one that rose on 50 %): such luck with a level
  passes the first test in half of all cases, this one, which knows only deviations from both means, in one of twenty.

The 5 % are shared among all configurations tried on these rows (Sidak): the best of twenty useless ones passes a 5 %
test in 64 % of cases, so each of twenty is tested at 0.26 %.

The units that are judged: returns, directions and volatilities as they are; **prices as the change they imply**, a
fraction of the last close, because squared errors of price levels would let the dearest stock and the last years
decide. With several symbols, differences of squared errors are averaged per date before any test. The information
coefficient is the correlation over time of forecast and outcome in these units, per symbol, averaged over symbols by
their rows.

Diebold-Mariano is always shown. It asks a harder question, whether the squared error is smaller *including* the noise
of estimation. Challengers (ridge, autoregression) are judged on the same rows and change the sentence, never the exit
code. Hansen's test of superior predictive ability and White's reality check ask whether any of all these forecasts is
better than the model, and the model confidence set holds those that cannot be told from the best.

What decides is cheap and done at once; bootstraps run when `Verdict.details` are first looked at.
"""

from collections.abc import Mapping
from math import isfinite, nan, sqrt
from typing import Any

import numpy as np

from .. import metrics
from ..errors import InputError, NotEnoughData
from . import selection
from . import statistics as st
from .earnings import bars_per_year, cross_section, judged_earnings, money
from .evidence import EDGE, NO_EVIDENCE, Evidence, Verdict
from .scores import Scores, together
from .wording import sentence

LEVEL = 0.05
CONFIDENCE = 0.9  # of the model confidence set
HUGE = 1e70  # of an outcome or a forecast: products of four are still numbers
FEWEST_TRIALS = 4  # for a probability of overfitting
_YEAR = "datetime64[Y]"


# ------------------------------------------------------------------------------------------------------------ judging


def judge(evidence: Evidence) -> Verdict:
    """Weigh the evidence.

    Examples
    --------
    >>> from longshort.evaluation import Evidence
    >>> from longshort.forecast import TargetInfo
    >>> rng = np.random.default_rng(1)
    >>> noise, outcome = rng.normal(size=(2, 500, 1))
    >>> naive = {"zero": np.zeros((500, 1))}
    >>> target, time = TargetInfo("return"), np.arange(500)
    >>> judge(Evidence("noise", target, time, outcome, noise, naive)).exit_code
    3
    """
    case = _Case(evidence)
    found = case.decision()
    exit_code = EDGE if found["edge"] else NO_EVIDENCE
    return Verdict(exit_code, sentence(found), found, case.more)


def scored(evidence: Evidence) -> tuple[Scores, dict[str, float]]:
    """Return what the forecasts were worth date by date, and the Sharpe ratio per bar it comes to, where it has one.

    Examples
    --------
    >>> from longshort.forecast import TargetInfo
    >>> rng = np.random.default_rng(1)
    >>> outcome, time = rng.normal(size=(500, 1)), np.arange(500)
    >>> naive = {"zero": np.zeros((500, 1))}
    >>> series, _ = scored(Evidence("half", TargetInfo("return"), time, outcome, outcome / 2, naive))
    >>> round(series.gain.mean(), 3)                   # a quarter of the squared error is left
    np.float64(0.75)
    """
    return _Case(evidence).scored()


def shared_level(tried: int, level: float = LEVEL) -> float:
    """Return the level each of `tried` tests may have so that any of them errs with probability `level` at most.

    So it is for tests that are independent or positively dependent (Sidak, 1967), all asked when the last was tried.
    Who asks after every try and stops at the first edge errs more often: 17 % of the time within twenty.

    Examples
    --------
    >>> round(shared_level(20), 5), shared_level(1)
    (0.00256, 0.05)
    """
    return level if tried <= 1 else 1.0 - (1.0 - level) ** (1.0 / tried)


def is_edge(
    actual: np.ndarray,
    forecast: np.ndarray,
    baselines: Mapping[str, np.ndarray],
    horizon: int = 1,
    level: float = LEVEL,
) -> bool:
    """Apply the rule at the top of this module to values in judged units, (n_rows,) or (n_rows, n_symbols).

    Examples
    --------
    >>> rng = np.random.default_rng(2)
    >>> forecast = rng.normal(size=1000)
    >>> outcome = 0.1 * forecast + rng.normal(size=1000)
    >>> naive = {"zero": np.zeros(1000)}
    >>> is_edge(outcome, forecast, naive), is_edge(outcome, -forecast, naive)
    (True, False)
    """
    actual, forecast = (np.asarray(v, np.float64).reshape(len(actual), -1) for v in (actual, forecast))
    known = np.isfinite(actual) & np.isfinite(forecast)
    for b in baselines.values():
        known &= np.isfinite(np.asarray(b).reshape(known.shape))
    actual, forecast = np.where(known, actual, nan), np.where(known, forecast, nan)
    ps = [st.knows_more(actual, forecast, np.reshape(b, known.shape), horizon)[0] for b in baselines.values()]
    timing = _ic_test(actual, forecast, horizon).p_greater
    return bool(ps) and all(p < level for p in (*ps, timing)) and _correlation(actual, forecast) > 0


class _Case:
    """The evidence in judged units, on the cells that count."""

    def __init__(self, evidence: Evidence):
        self.e, self.horizon = evidence, evidence.target.horizon
        self.level = shared_level(max(evidence.tried, evidence.planned))
        self.is_price = evidence.target.kind == "close"
        self.actual, self.forecast = self.judged(evidence.actual), self.judged(evidence.forecast)
        self.baselines = {n: self.judged(b) for n, b in evidence.baselines.items()}
        self.keep = np.isfinite(self.actual) & np.isfinite(self.forecast)
        for b in self.baselines.values():
            self.keep &= np.isfinite(b)
        self.n_rows, self.n_cells = int(self.keep.any(axis=1).sum()), int(self.keep.sum())
        if not self.baselines or self.n_rows < 1:
            raise NotEnoughData(
                f"A verdict needs rows with a forecast, an outcome and a naive forecast, but {len(self.actual):,} rows "
                f"hold none ({'; '.join(evidence.failures) or 'is the test span inside the bars?'})."
            )
        self._refuse_huge()
        self.loss_naive = {n: self.loss(b) for n, b in self.baselines.items()}
        self.best = min(self.loss_naive, key=lambda n: float(np.nanmean(self.loss_naive[n])))
        self.loss_model = self.loss(self.forecast)

    def judged(self, values: np.ndarray) -> np.ndarray:
        """Return values as (n_rows, n_symbols) in judged units."""
        v = np.asarray(values, np.float64)
        v = v[:, None] if v.ndim == 1 else v
        if not self.is_price:
            return v
        ref = np.asarray(self.e.reference, np.float64).reshape(v.shape)
        return np.divide(v - ref, ref, out=np.full(v.shape, nan), where=ref > 0)

    def _refuse_huge(self) -> None:
        for what, values in (("the outcome", self.actual), ("the forecast", self.forecast)):
            huge = self.keep & (np.abs(values) > HUGE)
            if huge.any():
                row, column = np.argwhere(huge)[0].tolist()
                raise InputError(
                    f"In row {row} {what} is {values[row, column]:.3g}, and {huge.sum():,} in all are beyond {HUGE:g}: "
                    "their squares leave the numbers there are. Write NaN where a value is unknown."
                )

    def masked(self, values: np.ndarray) -> np.ndarray:
        return np.where(self.keep, values, nan)

    def loss(self, values: np.ndarray) -> np.ndarray:
        """Squared errors on the cells that count, averaged per date, (n_rows,)."""
        return st.per_date(self.masked((self.actual - values) ** 2))

    # ----------------------------------------------------------------------------------------------------- measures

    def decision(self) -> dict[str, Any]:
        """What the exit code and the sentence rest on."""
        e, (first, last) = self.e, self._dates()
        self.benchmarks = {name: self._benchmark(name) for name in self.baselines}
        self.challengers = {name: self._challenger(c) for name, c in e.challengers.items()}
        ps = {name: b["clark_west"]["p"] for name, b in self.benchmarks.items()}
        passed = {name: p is not None and p < self.level for name, p in ps.items()}
        skill = st.skill_test(self.loss_model, self.loss_naive[self.best], self.horizon)
        low, high = skill.interval()
        ic = self._ic(self.forecast)
        self.edge = all(passed.values()) and ic["ic"] > 0 and ic["ic_p"] is not None and ic["ic_p"] < self.level
        return {
            "edge": self.edge,
            "level": self.level,
            "tried": e.tried,
            "planned": e.planned,
            "name": e.name,
            "target": e.target.to_dict() | {"text": str(e.target)},
            "symbols": list(e.symbols),
            "first": first,
            "last": last,
            "n_rows": self.n_rows,
            "n_cells": self.n_cells,
            "benchmarks": self.benchmarks,
            "passed": passed,
            "best_naive": self.best,
            "skill": skill.mean,
            "skill_low": low,
            "skill_high": high,
            **ic,
            "challengers": self.challengers,
            "power": self._power(),
            "trials": e.trials,
            "trials_where": e.trials_where,
            "reads": e.reads,
            "failures": list(e.failures),
        }

    def more(self) -> dict[str, Any]:
        """The rest of the details."""
        e = self.e
        years = 1970 + e.time.astype("datetime64[ns]").astype(_YEAR).astype(int)
        comparison = self._comparison()
        return {
            "rank_ic": self._rank_ic(),
            **self._hits(self.forecast),
            "r2": self._r2(),
            "skill_by_fold": self._skill_by(e.fold, "fold"),
            "skill_by_year": self._skill_by(years if e.dated else None, "year"),
            "seeds": self._seeds(),
            "calibration": self._calibration(),
            "lag_copy": self._lag_copy(),
            "comparison": comparison,
            "selection": self._selection(),
            "money": self._money(),
            "cross_section": cross_section(self.masked(self.actual), self.masked(self.forecast), self.horizon),
            "coverage": self._coverage(),
            "table": self._table(comparison),
        }

    def _dates(self) -> tuple[str | None, str | None]:
        if not self.e.dated:
            return None, None
        days = self.e.time[self.keep.any(axis=1)][[0, -1]].astype("datetime64[ns]").astype("datetime64[D]")
        return str(days[0]), str(days[1])

    def _benchmark(self, name: str) -> dict[str, Any]:
        values = self.baselines[name]
        p, cw, sign = st.knows_more(self.actual, self.masked(self.forecast), self.masked(values), self.horizon)
        dm = st.diebold_mariano(self.loss_model, self.loss_naive[name], self.horizon)
        skill = st.skill_test(self.loss_model, self.loss_naive[name], self.horizon)
        low, high = skill.interval()
        return {
            "mse": float(np.nanmean(self.loss_naive[name])),
            "skill": skill.mean,
            "skill_low": low,
            "skill_high": high,
            "clark_west": {
                "statistic": cw.statistic,
                "p": _number(p),
                "p_alone": _number(cw.p_greater),
                "sign_p": None if sign is None else _number(sign.p_greater),
                "lags": cw.lags,
                "n": cw.n,
            },
            "diebold_mariano": {
                "statistic": dm.statistic,
                "p": _number(dm.p_two_sided),
                "p_better": _number(dm.p_greater),
                "lags": dm.lags,
                "n": dm.n,
            },
        }

    def _ic(self, forecast: np.ndarray) -> dict[str, Any]:
        a, f = self.actual, np.where(self.keep, forecast, nan)
        test, ic = _ic_test(a, f, self.horizon), _correlation(a, f)
        half = test.error * st.NORMAL.inv_cdf(0.975)
        return {"ic": ic, "ic_low": ic - half, "ic_high": ic + half, "ic_p": _number(test.p_greater)}

    def _rank_ic(self) -> float:
        """Spearman's correlation over time per symbol, averaged by rows."""
        a, f = _paired(self.actual, self.masked(self.forecast))
        total = weight = 0.0
        for j in range(a.shape[1]):
            value = metrics.information_coefficient(a[:, j], f[:, j], rank=True)
            if isfinite(value):
                n = float(np.isfinite(a[:, j]).sum())
                total, weight = total + n * value, weight + n
        return total / weight if weight else nan

    def _hits(self, forecast: np.ndarray) -> dict[str, float]:
        """Hit rate with Wilson's interval for the number of independent rows its autocorrelation leaves."""
        centre = self._centre()
        a, f = self.masked(self.actual) - centre, self.masked(forecast) - centre
        judged = np.isfinite(a) & np.isfinite(f) & (a != 0) & (f != 0)
        hits = np.where(judged, (np.sign(a) == np.sign(f)).astype(float), nan)
        if not judged.any():
            return dict.fromkeys(("hit_rate", "hit_rate_low", "hit_rate_high", "always_up"), nan)
        rate = float(np.nanmean(hits))
        error = st.mean_test(st.per_date(hits), self.horizon).error
        rows = float(judged.any(axis=1).sum())
        n = min(rate * (1 - rate) / error**2, rows) if isfinite(error) and error > 0 else rows
        low, high = metrics._wilson(rate * n, n)
        up = float(np.mean(a[judged] > 0))
        return {"hit_rate": rate, "hit_rate_low": low, "hit_rate_high": high, "always_up": up}

    def _centre(self) -> np.ndarray | float:
        """What "up" is measured from."""
        kind = self.e.target.kind
        if kind == "direction":
            return 0.5 if np.nanmin(self.actual) >= 0 else 0.0
        if kind == "volatility" and self.e.last_value is not None:
            return self.judged(self.e.last_value)
        if kind == "volatility":
            return self.baselines[self.best]
        return 0.0

    def _r2(self) -> dict[str, float]:
        """R2 of the raw target; of prices never without persistence's beside it."""
        raw = {"forecast": self.e.forecast, **self.e.baselines}
        keep = self.keep
        actual = np.asarray(self.e.actual, np.float64).reshape(keep.shape)[keep]
        return {n: metrics.r2(actual, np.asarray(v, np.float64).reshape(keep.shape)[keep]) for n, v in raw.items()}

    def _skill_by(self, groups: np.ndarray | None, word: str) -> list[dict[str, Any]]:
        if groups is None:
            return []
        rows, found = self.keep.any(axis=1), []
        for g in np.unique(groups[rows]):
            part = (groups == g) & rows
            test = st.skill_test(self.loss_model[part], self.loss_naive[self.best][part], self.horizon)
            low, high = test.interval()
            days = self.e.time[part][[0, -1]].astype("datetime64[ns]").astype("datetime64[D]")
            span = {"first": str(days[0]), "last": str(days[1]), "n": int(part.sum())}
            found.append({word: int(g), **span, "skill": test.mean, "low": low, "high": high})
        return found

    def _seeds(self) -> list[dict[str, Any]]:
        if self.e.seeds is None:
            return []
        found = []
        for i, raw in enumerate(self.e.seeds):
            values = self.judged(raw)
            skill = st.skill_test(self.loss(values), self.loss_naive[self.best], self.horizon)
            hits = self._hits(values)["hit_rate"]
            found.append({"seed": i, "skill": skill.mean, "ic": self._ic(values)["ic"], "hit_rate": hits})
        return found

    def _challenger(self, raw: np.ndarray) -> dict[str, Any]:
        values = self.judged(raw)
        loss = self.loss(values)
        dm = st.diebold_mariano(self.loss_model, loss, self.horizon)
        both = np.isfinite(loss) & np.isfinite(self.loss_model)
        if not both.any():
            return {"mse": nan, "skill": nan, "ic": nan, "dm": nan, "dm_p": None, "n": 0, "says": "unknown"}
        says = "as well"
        if dm.p_two_sided < LEVEL:
            says = "worse" if dm.mean > 0 else "better"
        return {
            "mse": float(np.nanmean(loss)),
            "skill": st.skill_test(loss, self.loss_naive[self.best], self.horizon).mean,
            "ic": self._ic(values)["ic"],
            "dm": dm.statistic,
            "dm_p": _number(dm.p_two_sided),
            "n": int(both.sum()),
            "says": says,
        }

    def _calibration(self, n_bins: int = 10) -> dict[str, Any]:
        """Bins of equal size by forecast: mean forecast against mean outcome, and the slope of the regression."""
        a, f = self.actual[self.keep], self.forecast[self.keep]
        bins = []
        for part in np.array_split(np.argsort(f, kind="stable"), min(n_bins, max(1, len(f) // 20))):
            error = float(np.std(a[part], ddof=1) / sqrt(len(part))) if len(part) > 1 else nan
            point = {"forecast": float(f[part].mean()), "actual": float(a[part].mean())}
            bins.append(point | {"error": error, "n": len(part)})
        return {"bins": bins, **self._slope()}

    def _slope(self) -> dict[str, float]:
        """Regress the outcome on the forecast (Mincer and Zarnowitz): slope 1 means its size can be trusted."""
        a, f = self.actual[self.keep], self.forecast[self.keep]
        spread = f - f.mean()
        total = float(spread @ spread)
        if total <= 0 or len(f) < 3:
            return {"slope": nan, "slope_error": nan, "intercept": nan}
        slope = float(spread @ a) / total
        intercept = float(a.mean() - slope * f.mean())
        score = np.full(self.keep.shape, nan)
        score[self.keep] = spread * (a - intercept - slope * f)
        per_row = np.where(self.keep.any(axis=1), np.nansum(score, axis=1), nan)
        rows = per_row[np.isfinite(per_row)]
        variance = st.long_run_variance(rows, st.automatic_lags(len(rows), self.horizon)) * len(rows)
        return {"slope": slope, "slope_error": sqrt(max(variance, 0.0)) / total, "intercept": intercept}

    def _lag_copy(self) -> dict[str, Any]:
        """Do price forecasts stay nearer to the last close than to the close they are for, without knowing more?

        Every good price forecast is near the last close, so the alarm is silent when there is an edge.
        """
        if not self.is_price:
            return {"alarm": False, "distance_to_last": None, "distance_to_outcome": None}
        f, a = self.forecast[self.keep], self.actual[self.keep]
        to_last, to_outcome = sqrt(float(np.mean(f**2))), sqrt(float(np.mean((f - a) ** 2)))
        return {
            "alarm": to_last < to_outcome and not self.edge,
            "distance_to_last": to_last,
            "distance_to_outcome": to_outcome,
        }

    def _money(self) -> dict[str, Any] | None:
        """What following the signs of the forecasts earned; None where returns are not known or not forecast."""
        if (followed := self._followed()) is None:
            return None
        said, returns, horizon = followed
        return money(said, returns, self.e.time, horizon, self.e.trial_sharpes, self.e.trials)

    def _followed(self) -> tuple[np.ndarray, np.ndarray, int] | None:
        """Forecasts measured from "unchanged", the returns after them, and how many bars each is followed."""
        e = self.e
        if e.returns is None or not e.dated or e.target.kind == "volatility":
            return None
        apart = self.masked(self.forecast) - self._centre()
        return apart, np.reshape(e.returns, apart.shape), self.horizon

    def scored(self) -> tuple[Scores, dict[str, float]]:
        """Gain and net return of every date, and the Sharpe ratio of the latter."""
        unit = float(np.nanmean(self.loss_naive[self.best])) or 1.0
        gain = (self.loss_naive[self.best] - self.loss_model) / unit
        net, facts = np.full(len(gain), nan), {}
        followed = self._followed()
        if followed is not None and (earned := judged_earnings(*followed)) is not None:
            known = np.isfinite(followed[1]).any(axis=1)
            net[known] = earned.net
            sharpe = selection.probabilistic_sharpe(earned.net).sharpe
            if isfinite(sharpe):
                facts = {"sharpe": sharpe, "bars_per_year": bars_per_year(self.e.time[known])}
        rows = self.keep.any(axis=1)
        return Scores(self.e.time[rows], gain[rows], net[rows]), facts

    def _selection(self) -> dict[str, Any] | None:
        """What choosing among all that was tried on these rows does, from their score series; None for one alone."""
        others = self.e.others()
        if not others:
            return None
        gain, net = together([self.scored()[0], *others])
        if len(gain) < 60:
            return None
        luck = selection.best_of_many(gain, max(5.0, len(gain) ** (1 / 3), 3.0 * self.horizon))
        found = {"trials": luck.trials, "dates": len(gain), "best_gain": luck.best, "expected_gain": luck.expected}
        found |= {"reality_check_p": luck.p, "probability_of_overfitting": None}
        table = gain if net is None else net
        if luck.trials < FEWEST_TRIALS or len(table) < 60:
            return found
        blocks = 16 if len(table) >= 320 and luck.trials <= 100 else 8
        fit = selection.probability_of_overfitting(table, blocks)
        found |= {"probability_of_overfitting": fit.probability, "loss_probability": fit.loss, "slope": fit.slope}
        return found | {"overfitting_of": "gains" if net is None else "returns", "blocks": blocks}

    def _coverage(self) -> list[dict[str, float]]:
        """Share of outcomes inside each central interval that was forecast, beside the share promised."""
        e, shape = self.e, self.keep.shape
        quantiles = {q: np.reshape(v, shape) for q, v in (e.quantiles or {}).items()}
        if not quantiles and e.std is not None:
            mean, std = np.reshape(e.forecast, shape), np.reshape(e.std, shape)
            quantiles = {q: mean + st.NORMAL.inv_cdf(q) * std for q in (0.05, 0.95)}
        actual, found = np.reshape(np.asarray(e.actual, np.float64), shape), []
        for low in (q for q in quantiles if q < 0.5):
            high = next((q for q in quantiles if abs(q - (1 - low)) < 1e-9), None)
            if high is None:
                continue
            known = self.keep & np.isfinite(quantiles[low]) & np.isfinite(quantiles[high])
            inside = (quantiles[low] <= actual) & (actual <= quantiles[high])
            test = st.mean_test(st.per_date(np.where(known, inside, nan)), self.horizon)
            found.append({"promised": high - low, "held": test.mean, "error": test.error, "n": int(known.sum())})
        return found

    def _power(self) -> dict[str, Any]:
        n = max(1, round(self.n_rows / self.horizon))  # overlapping outcomes count once
        found = {"independent_rows": n, "detectable_ic": st.detectable_ic(n, self.level)}
        return found | {f"power_at_{ic:g}": st.power(ic, n, self.level) for ic in (0.02, 0.05, 0.1)}

    def _comparison(self) -> dict[str, Any] | None:
        """Is any other forecast better than the model, and which cannot be told from the best? None for few dates.

        A challenger that is silent on more than a tenth of the dates, because it failed in a fold, is left out.
        """
        losses = {n: self.loss(self.judged(c)) for n, c in self.e.challengers.items()}
        dates = np.isfinite(self.loss_model)
        losses = {n: v for n, v in losses.items() if np.isfinite(v[dates]).mean() > 0.9}
        others = {n: v for n, v in (self.loss_naive | losses).items() if n != self.e.name}
        common = dates & np.isfinite(np.stack(list(others.values()))).all(axis=0)
        if common.sum() < 30:
            return None
        others, own = {n: v[common] for n, v in others.items()}, self.loss_model[common]
        length = max(5.0, len(own) ** (1 / 3), 3.0 * self.horizon)
        superior = selection.superior_ability(others, own, length)
        kept = selection.confidence_set({self.e.name: own} | others, length)
        return {
            "dates": len(own),
            "spa_p": superior["spa"],
            "reality_check_p": superior["reality_check"],
            "best_other": superior["best"],
            "confidence": CONFIDENCE,
            "confidence_set_p": kept,
            "confidence_set": [name for name, p in kept.items() if p > 1 - CONFIDENCE],
            "block_length": length,
        }

    def _table(self, comparison: Mapping[str, Any] | None) -> dict[str, dict[str, float | None]]:
        """One row a forecast; tests are those of the model against the row."""
        rows = {}
        seen: dict[str, np.ndarray] = {self.e.name: self.e.forecast, **self.e.baselines, **self.e.challengers}
        actual = np.asarray(self.e.actual, np.float64).reshape(self.keep.shape)
        in_set = {} if comparison is None else comparison["confidence_set_p"]
        for name, raw in seen.items():
            raw, judged = np.asarray(raw, np.float64).reshape(self.keep.shape), self.judged(raw)
            a, f = np.where(self.keep, actual, nan), np.where(self.keep, raw, nan)
            west, mariano = (self.benchmarks.get(name, {}).get(test, {}) for test in ("clark_west", "diebold_mariano"))
            rival = self.challengers.get(name, {})
            rows[name] = {
                "rmse": metrics.rmse(a, f),
                "mae": metrics.mae(a, f),
                "skill": st.skill_test(self.loss(judged), self.loss_naive[self.best], self.horizon).mean,
                "ic": self._ic(judged)["ic"],
                "hit_rate": self._hits(judged)["hit_rate"],
                "r2": metrics.r2(a, f),
                "clark_west_p": west.get("p"),
                "diebold_mariano": rival.get("dm", mariano.get("statistic")),
                "diebold_mariano_p": rival.get("dm_p", mariano.get("p")),
                "confidence_set_p": in_set.get(name),
            }
        return rows


# -------------------------------------------------------------------------------------------------------------- helpers


def _number(value: float) -> float | None:
    return value if isfinite(value) else None


def _paired(actual: np.ndarray, forecast: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both, NaN where either is."""
    known = np.isfinite(actual) & np.isfinite(forecast)
    return np.where(known, actual, nan), np.where(known, forecast, nan)


def _correlation(actual: np.ndarray, forecast: np.ndarray) -> float:
    """Correlation over time per symbol, averaged by rows; NaN where either is constant."""
    a, f = _paired(actual, forecast)
    product = _standardised(a) * _standardised(f)
    known = np.isfinite(product)
    return float(product[known].mean()) if known.any() else nan


def _ic_test(actual: np.ndarray, forecast: np.ndarray, horizon: int) -> st.MeanTest:
    """Do forecast and outcome deviate from their means on the same dates?"""
    a, f = _paired(actual, forecast)
    return st.mean_test(st.per_date(_standardised(a) * _standardised(f)), horizon)


def _standardised(values: np.ndarray) -> np.ndarray:
    """Each symbol's deviations from its mean in units of its standard deviation; NaN where it does not vary."""
    known = np.isfinite(values)
    count = np.maximum(known.sum(axis=0), 1)
    low, high = np.where(known, values, np.inf).min(axis=0), np.where(known, values, -np.inf).max(axis=0)
    varies = low < high
    apart = np.where(known, values - np.where(known, values, 0.0).sum(axis=0) / count, 0.0)
    apart /= np.where(varies, np.abs(apart).max(axis=0), 1.0)  # keeps tiny values from vanishing when squared
    spread = np.sqrt((apart * apart).sum(axis=0) / count)
    return np.where(known & varies & (spread > 0), apart / np.where(spread > 0, spread, 1.0), nan)
