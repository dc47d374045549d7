"""The numbers of a report, taken from a study: skill with intervals, lag, calibration, closes in price units.

Nothing here draws. Skill is `1 - MSE(model) / MSE(reference)`, where the reference is the strongest forecast that uses
no information (`Target.naive`): 0 is as good as knowing nothing, negative is worse. Intervals are 90 %, from resampling
blocks of consecutive dates, because neighbouring errors are not independent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..forecast import TargetInfo

LEVEL = 0.90
UNITS = {
    # kind: (factor for display, unit, decimals)
    "close": (1.0, "", 2),
    "return": (100.0, " %", 3),
    "log_return": (100.0, " %", 3),
    "volatility": (100.0, " %", 3),
    "direction": (100.0, " %", 1),
}
BASELINE_NAMES = {
    "last": "last close",
    "last_close": "last close",
    "persistence": "persistence",
    "mean": "expanding mean",
    "expanding_mean": "expanding mean",
    "historical_mean": "historical mean",
    "zero": "zero",
    "majority": "training majority",
    "ridge": "ridge",
    "ar": "autoregression",
    "drift": "drift",
}


def plain_name(name: str) -> str:
    """A baseline's name as words.

    >>> plain_name("expanding_mean"), plain_name("my_model")
    ('expanding mean', 'my model')
    """
    return BASELINE_NAMES.get(name, name.replace("_", " "))


@dataclass(frozen=True)
class Skill:
    """Skill over some rows, with a 90 % interval (NaN where there are too few dates for one)."""

    label: str
    rows: int
    value: float
    low: float = float("nan")
    high: float = float("nan")
    note: str = ""


def skill(label: str, model: np.ndarray, reference: np.ndarray, resamples: int = 600, seed: int = 0) -> Skill:
    """Skill of squared errors `model` against `reference`, both (n_dates, n_symbols), NaN where unknown.

    Parameters
    ----------
    model, reference : float arrays (n_dates, n_symbols)
        Squared errors. Only entries finite in both count.
    resamples : int, default=600
        Bootstrap draws behind the interval.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> s = skill("noise", rng.normal(size=(1000, 1)) ** 2, rng.normal(size=(1000, 1)) ** 2)
    >>> s.rows, s.low < 0 < s.high
    (1000, True)
    """
    both = np.isfinite(model) & np.isfinite(reference)
    rows = int(both.sum())
    ours = np.where(both, model, 0.0).sum(axis=1)
    theirs = np.where(both, reference, 0.0).sum(axis=1)
    dates = both.any(axis=1)
    ours, theirs = ours[dates], theirs[dates]
    n = len(ours)
    if n == 0 or theirs.sum() <= 0:
        return Skill(label, rows, float("nan"), note="no rows" if n == 0 else "reference is exact")
    value = 1.0 - ours.sum() / theirs.sum()
    block = max(1, round(n ** (1 / 3)))
    if n < 4 * block or n < 20:
        return Skill(label, rows, float(value), note="too few rows for an interval")
    edges = np.arange(0, n, block)
    a, b = np.add.reduceat(ours, edges), np.add.reduceat(theirs, edges)
    draws = np.random.default_rng(seed).integers(0, len(edges), size=(resamples, len(edges)))
    total = b[draws].sum(axis=1)
    ratios = 1.0 - a[draws].sum(axis=1) / np.where(total > 0, total, np.nan)
    low, high = np.nanquantile(ratios, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Skill(label, rows, float(value), float(low), float(high))


@dataclass(frozen=True)
class Closes:
    """Closes of one symbol over rows nobody trained on, in today's price units, at the moment each close is known."""

    symbol: str
    time: np.ndarray  # int64 ns (n_rows,)
    actual: np.ndarray
    model: np.ndarray
    naive: np.ndarray
    model_name: str = "LSTM"
    caption: str = ""
    seeds: np.ndarray | None = None  # (n_seeds, n_rows)

    @property
    def fit_by_lag(self) -> np.ndarray:
        """Root mean squared distance between the forecast and the close of k sessions earlier, k = 0 .. 5.

        A forecast that foresees fits best at 0; one that repeats the last close fits best at 1.
        """
        return _fit_by_lag(self.model, self.actual)

    @property
    def naive_by_lag(self) -> np.ndarray:
        """The same for the last close."""
        return _fit_by_lag(self.naive, self.actual)

    @property
    def lag(self) -> int:
        """The lag in sessions at which the forecast fits best."""
        fit = self.fit_by_lag
        return int(np.nanargmin(fit)) if np.isfinite(fit).any() else 0

    def turn(self, width: int = 60) -> slice:
        """The `width` rows around the deepest fall with a recovery: where a lag shows."""
        n = len(self.actual)
        if n <= width:
            return slice(0, n)
        best, where = -1.0, n - width
        logs = np.log(np.where(self.actual > 0, self.actual, np.nan))
        for a in range(0, n - width + 1, max(1, n // 2000)):
            part = logs[a : a + width]
            k = width // 2
            middle = part[width // 4 : 3 * width // 4]
            if not np.isfinite(middle).any():
                continue
            floor = np.nanmin(middle)
            with np.errstate(all="ignore"):
                depth = min(np.nanmax(part[:k], initial=-np.inf), np.nanmax(part[k:], initial=-np.inf)) - floor
            if np.isfinite(depth) and depth > best:
                best, where = depth, a
        return slice(where, where + width)


def _fit_by_lag(forecast: np.ndarray, actual: np.ndarray) -> np.ndarray:
    out = np.full(6, np.nan)
    for k in range(min(6, len(actual))):
        gap = forecast[k:] - actual[: len(actual) - k]
        if np.isfinite(gap).any():
            out[k] = np.sqrt(np.nanmean(gap**2))
    return out


@dataclass(frozen=True)
class Next:
    """The sessions after the last bar: one forecast each, with its interval, in price units."""

    symbol: str
    time: np.ndarray  # int64 ns (steps,)
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    level: float
    history_time: np.ndarray
    history: np.ndarray
    model_name: str = "LSTM"

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a session: date, mean, low, high."""
        labels = self.time.astype("datetime64[ns]").astype("datetime64[D]")
        return [
            {"date": str(d), "mean": float(m), "low": float(lo), "high": float(hi)}
            for d, m, lo, hi in zip(labels, self.mean, self.low, self.high, strict=True)
        ]


@dataclass(frozen=True)
class Curve:
    """One training: loss by epoch."""

    fold: int
    train: np.ndarray
    validation: np.ndarray
    best: int | None  # index into the arrays


@dataclass(frozen=True)
class Calibration:
    """Bins of equal size: mean forecast against mean outcome, with a 90 % interval of the latter."""

    forecast: np.ndarray
    outcome: np.ndarray
    low: np.ndarray
    high: np.ndarray
    slope: float
    rows: int
    coverage: tuple[tuple[float, float], ...] = ()  # (claimed, observed) of central intervals


@dataclass(frozen=True)
class Facts:
    """Everything a report says about one study."""

    study: Any
    target: TargetInfo
    symbols: tuple[str, ...]
    time: np.ndarray  # int64 ns (n_rows,), when the outcome is known
    model: np.ndarray
    actual: np.ndarray
    reference: str
    reference_values: np.ndarray
    overall: Skill
    rivals: tuple[Skill, ...]  # other baselines and challengers against the same reference
    by_fold: tuple[Skill, ...]
    by_year: tuple[Skill, ...]
    by_symbol: tuple[Skill, ...]
    by_seed: tuple[float, ...]
    correlation: float
    hits: float
    calibration: Calibration | None
    curves: tuple[Curve, ...]
    verdict: Any
    n_seeds: int
    trials: int
    trials_where: str
    failed: tuple[tuple[int, str], ...] = field(default=())

    @property
    def unit(self) -> tuple[float, str, int]:
        """Factor, unit and decimals that make the target readable."""
        return UNITS.get(self.target.kind, (1.0, "", 4))

    @property
    def name(self) -> str:
        """The study in a few words: symbols, what is predicted."""
        shown = ", ".join(self.symbols[:4]) + (f" and {len(self.symbols) - 4} more" if len(self.symbols) > 4 else "")
        return f"{shown}: {self.target}"

    @property
    def reference_name(self) -> str:
        return plain_name(self.reference)

    @property
    def rows(self) -> int:
        return int((np.isfinite(self.model) & np.isfinite(self.actual)).sum())

    @property
    def counts(self) -> str:
        """The line that goes with every number: rows, folds, seeds, trials."""
        folds = len(self.study.folds)
        good = folds - len(self.failed)
        parts = [
            f"{self.rows:,} forecasts",
            f"{good} of {folds} folds" if self.failed else plural(folds, "fold"),
            f"mean of {plural(self.n_seeds, 'seed')}" if self.n_seeds > 1 else "1 seed",
            plural(self.trials, "trial"),
        ]
        return " · ".join(parts)


def plural(n: int, noun: str) -> str:
    """
    >>> plural(1, "fold"), plural(6, "fold")
    ('1 fold', '6 folds')
    """
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def facts_of(study) -> Facts:
    """Compute the facts of one study."""
    target = _target_info(study)
    actual = np.asarray(study.actual, dtype=np.float64)
    model = np.asarray(study.forecast.mean, dtype=np.float64)
    time = _outcome_time(study, target)
    naive: Mapping[str, np.ndarray] = study.baselines or {}
    loss = (model - actual) ** 2
    finite = np.isfinite(loss)

    def judged(values):
        return np.where(finite, (np.asarray(values) - actual) ** 2, np.nan)

    losses = {name: judged(values) for name, values in naive.items()}
    reference = min(losses, key=lambda n: _mean(losses[n]), default="")
    against = losses.get(reference, np.full_like(loss, np.nan))
    rivals = {**{n: v for n, v in losses.items() if n != reference}}
    rivals |= {name: judged(values) for name, values in (study.challengers or {}).items()}
    fold = np.asarray(study.fold)
    years = time.astype("datetime64[ns]").astype("datetime64[Y]").astype(int) + 1970
    judged_years = sorted(set(years[finite.any(axis=1)].tolist()))
    failed = tuple((int(f.number), str(f.failure)) for f in study.folds if getattr(f, "failure", None))
    seeds = getattr(study, "seeds", None)
    seeds = np.asarray(seeds) if seeds is not None and np.ndim(seeds) == 3 else model[None]
    good = dict(failed)
    values = np.asarray(naive[reference]) if reference else np.full_like(actual, np.nan)
    return Facts(
        study=study,
        target=target,
        symbols=tuple(study.symbols),
        time=time,
        model=model,
        actual=actual,
        reference=reference,
        reference_values=values,
        overall=skill("all folds", loss, against),
        rivals=tuple(skill(plain_name(name), values, against) for name, values in rivals.items()),
        by_fold=tuple(
            Skill(fold_label(f), 0, float("nan"), note=f"failed: {good[f.number]}")
            if f.number in good
            else skill(fold_label(f), loss[fold == f.number], against[fold == f.number])
            for f in study.folds
        ),
        by_year=tuple(skill(str(y), loss[years == y], against[years == y]) for y in judged_years),
        by_symbol=tuple(skill(s, loss[:, [j]], against[:, [j]]) for j, s in enumerate(study.symbols)),
        by_seed=tuple(
            float(1 - _mean(np.where(finite, (one - actual) ** 2, np.nan)) / _mean(against)) for one in seeds
        ),
        correlation=_correlation(*_signal(study, target, model, actual)),
        hits=_hit_rate(*_signal(study, target, model, actual)),
        calibration=_calibration(study, target, model, actual),
        curves=_curves(study),
        verdict=study.verdict(),
        n_seeds=len(seeds),
        trials=int(study.trials),
        trials_where=str(study.trials_where),
        failed=failed,
    )


def fold_label(fold) -> str:
    """The test span of a fold, from month to month."""
    first, last = (np.datetime64(int(t), "ns").astype("datetime64[M]") for t in (fold.test_start, fold.test_end))
    return f"{first} – {last}" if first != last else str(first)


def _target_info(study) -> TargetInfo:
    for candidate in (getattr(study.forecast, "target", None), study.target, getattr(study.target, "info", None)):
        if isinstance(candidate, TargetInfo):
            return candidate
    return TargetInfo(study.target.kind, study.target.horizon)


def _outcome_time(study, target: TargetInfo) -> np.ndarray:
    known = getattr(study.forecast, "for_time", None)
    if known is not None:
        return np.asarray(known, dtype=np.int64)
    stamps = np.asarray(study.bars.time)
    at = np.searchsorted(stamps, study.time) + target.horizon
    return stamps[np.minimum(at, len(stamps) - 1)]


def _mean(values: np.ndarray) -> float:
    ok = np.isfinite(values)
    return float(values[ok].mean()) if ok.any() else float("inf")


def _base(study) -> np.ndarray:
    """Forward-adjusted closes at the decision rows (n_rows, n_symbols)."""
    at = np.searchsorted(np.asarray(study.bars.time), np.asarray(study.time))
    return np.asarray(study.bars.adjusted("close"))[at]


def _signal(study, target: TargetInfo, model, actual) -> tuple[np.ndarray, np.ndarray]:
    """Forecast and outcome as something whose sign and order matter: changes for prices, levels otherwise."""
    if target.kind == "close":
        base = _base(study)
        return model / base - 1, actual / base - 1
    if target.kind == "direction":
        return model - 0.5, actual - 0.5
    return model, actual


def _correlation(model, actual) -> float:
    ok = np.isfinite(model) & np.isfinite(actual)
    a, b = model[ok], actual[ok]
    if len(a) < 3 or a.std() == 0 or b.std() == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def _hit_rate(model, actual) -> float:
    ok = np.isfinite(model) & np.isfinite(actual) & (actual != 0)
    return float((np.sign(model[ok]) == np.sign(actual[ok])).mean()) if ok.any() else float("nan")


def _calibration(study, target: TargetInfo, model, actual, bins: int = 10) -> Calibration | None:
    x, y = _signal(study, target, model, actual)
    if target.kind == "direction":
        x, y = x + 0.5, y + 0.5
    ok = np.isfinite(x) & np.isfinite(y)
    n = int(ok.sum())
    if n < 40:
        return None
    order = np.argsort(x[ok], kind="stable")
    x, y = x[ok][order], y[ok][order]
    parts = np.array_split(np.arange(n), min(bins, n // 20))
    centre = np.array([x[p].mean() for p in parts])
    outcome = np.array([y[p].mean() for p in parts])
    error = 1.645 * np.array([y[p].std(ddof=1) / np.sqrt(len(p)) for p in parts])
    variance = x.var()
    slope = float(np.mean((x - x.mean()) * (y - y.mean())) / variance) if variance > 0 else float("nan")
    return Calibration(centre, outcome, outcome - error, outcome + error, slope, n, _coverage(study, actual))


def _coverage(study, actual) -> tuple[tuple[float, float], ...]:
    quantiles = getattr(study.forecast, "quantiles", None) or {}
    pairs = []
    for low in sorted(q for q in quantiles if q < 0.5):
        high = next((q for q in quantiles if abs(q - (1 - low)) < 1e-9), None)
        if high is None:
            continue
        a, b = np.asarray(quantiles[low]), np.asarray(quantiles[high])
        ok = np.isfinite(a) & np.isfinite(b) & np.isfinite(actual)
        if ok.any():
            pairs.append((round(high - low, 6), float(((actual >= a) & (actual <= b))[ok].mean())))
    return tuple(pairs)


def _curves(study) -> tuple[Curve, ...]:
    curves = []
    for fold, members in zip(study.folds, study.histories or (), strict=False):
        for history in members or ():
            if history is None:
                continue
            train = np.asarray(history["train_loss"], dtype=np.float64)
            raw = history["val_loss"]
            validation = np.asarray(raw if raw is not None else [], dtype=np.float64)
            if len(validation) != len(train):
                validation = np.full(len(train), np.nan)
            best = int(np.nanargmin(validation)) if np.isfinite(validation).any() else None
            curves.append(Curve(int(fold.number), train, validation, best))
    return tuple(curves)


def closes_of(facts: Facts, column: int = 0) -> Closes | None:
    """The study's forecasts as closes in today's price units; None where the target implies no price."""
    study, target = facts.study, facts.target
    if target.kind not in ("close", "return", "log_return") or target.entry != "close":
        return None
    today = float(np.asarray(study.bars.factor)[-1, column])
    base = _base(study)[:, column]
    model, actual = facts.model[:, column], facts.actual[:, column]
    seeds = getattr(study, "seeds", None)
    single = np.asarray(seeds)[:, :, column] if seeds is not None and np.ndim(seeds) == 3 else None
    if target.kind == "return":
        model, actual = base * (1 + model), base * (1 + actual)
        single = None if single is None else base * (1 + single)
    elif target.kind == "log_return":
        model, actual = base * np.exp(model), base * np.exp(actual)
        single = None if single is None else base * np.exp(single)
    return Closes(
        facts.symbols[column],
        facts.time,
        actual / today,
        model / today,
        base / today,
        caption=f"walk-forward, {target}",
        seeds=None if single is None else single / today,
    )


def next_of(forecast, bars, column: int = 0, history: int = 40, model_name: str = "LSTM") -> Next:
    """The coming sessions of `predict(bars, steps=n)` beside the last `history` closes, in today's price units."""
    quantiles = dict(getattr(forecast, "quantiles", None) or {})
    mean = np.asarray(forecast.mean)[:, column]
    low_key, high_key = (min(quantiles), max(quantiles)) if len(quantiles) > 1 else (0.05, 0.95)
    low = np.asarray(quantiles[low_key])[:, column] if len(quantiles) > 1 else np.full_like(mean, np.nan)
    high = np.asarray(quantiles[high_key])[:, column] if len(quantiles) > 1 else np.full_like(mean, np.nan)
    symbol = forecast.symbols[column]
    j = list(bars.symbols).index(symbol)
    past = np.asarray(bars.adjusted("close"))[-history:, j] / float(np.asarray(bars.factor)[-1, j])
    times = forecast.for_time if forecast.for_time is not None else forecast.time
    stamps = np.asarray(bars.time)[-history:]
    return Next(symbol, np.asarray(times), mean, low, high, high_key - low_key, stamps, past, model_name)
