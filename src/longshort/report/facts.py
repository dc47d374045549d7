"""The numbers of a report, arranged for drawing: closes in price units, skill, calibration, loss curves.

Everything that judges comes from the study's verdict, so that a report can never disagree with it. Here it is only
arranged, and forecasts are turned into closes in today's price units.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..evaluation.wording import plain
from ..forecast import TargetInfo

UNITS = {
    # kind: (factor for display, unit, decimals)
    "close": (1.0, "", 2),
    "return": (100.0, " %", 3),
    "log_return": (100.0, " %", 3),
    "volatility": (100.0, " %", 3),
    "direction": (100.0, " %", 1),
}


def plain_name(name: str) -> str:
    """A baseline's name as a label.

    >>> plain_name("last_close"), plain_name("my_model")
    ('last close', 'my model')
    """
    text = plain(name).removesuffix(" on the same features")
    return re.sub(r"^(the|an|a) ", "", text).replace("_", " ")


@dataclass(frozen=True)
class Skill:
    """Skill over some rows with its 95 % interval, NaN where there is none."""

    label: str
    rows: int
    value: float
    low: float = float("nan")
    high: float = float("nan")
    note: str = ""


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

    @property
    def word(self) -> str:
        """What a row is called: days, or bars where they are shorter or longer."""
        apart = np.median(np.diff(self.time)) / (86_400 * 10**9) if len(self.time) > 1 else 1.0
        return "days" if 0.9 < apart < 1.5 else "bars"

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
    """Bins of equal size: mean forecast against mean outcome, with a 95 % interval of the latter."""

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
    verdict: Any
    target: TargetInfo
    symbols: tuple[str, ...]
    time: np.ndarray  # int64 ns (n_rows,), when the outcome is known
    model: np.ndarray
    actual: np.ndarray
    reference: str  # the strongest forecast without information, by name
    reference_values: np.ndarray
    overall: Skill
    rivals: tuple[Skill, ...]  # other baselines and challengers against the same reference
    by_fold: tuple[Skill, ...]
    by_year: tuple[Skill, ...]
    by_symbol: tuple[Skill, ...]
    calibration: Calibration | None
    curves: tuple[Curve, ...]
    n_seeds: int
    failed: tuple[tuple[int, str], ...]

    @property
    def details(self) -> Mapping[str, Any]:
        """What the verdict rests on."""
        return self.verdict.details

    @property
    def unit(self) -> tuple[float, str, int]:
        """Factor, unit and decimals that make the target readable."""
        return UNITS.get(self.target.kind, (1.0, "", 4))

    @property
    def name(self) -> str:
        """The study in a few words: symbols, what is predicted."""
        return f"{some(self.symbols)}: {self.target}"

    @property
    def model_name(self) -> str:
        """What the model is called."""
        return str(self.details["name"])

    @property
    def reference_name(self) -> str:
        return plain_name(self.reference)

    @property
    def counts(self) -> str:
        """The line that goes with every number: rows, folds, seeds, trials."""
        folds = len(self.study.folds)
        good = folds - len(self.failed)
        parts = [
            f"{self.details['n_cells']:,} forecasts",
            f"{good} of {folds} folds" if self.failed else plural(folds, "fold"),
            f"mean of {plural(self.n_seeds, 'seed')}" if self.n_seeds > 1 else "1 seed",
            plural(int(self.details["trials"]), "trial"),
        ]
        return " · ".join(parts)


def some(symbols: Sequence[str]) -> str:
    """
    >>> some(("A", "B")), some("ABCDEF")
    ('A, B', 'A, B, C, D and 2 more')
    """
    return ", ".join(symbols[:4]) + (f" and {len(symbols) - 4} more" if len(symbols) > 4 else "")


def plural(n: int, noun: str) -> str:
    """
    >>> plural(1, "fold"), plural(6, "fold")
    ('1 fold', '6 folds')
    """
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def facts_of(study) -> Facts:
    """Arrange the facts of one study."""
    verdict = study.verdict()
    found = verdict.details
    reference = str(found["best_naive"])
    failed = {int(f.number): str(f.failure) for f in study.folds if f.failure}
    by_fold = {int(one["fold"]): one for one in found["skill_by_fold"]}
    table = found["table"]
    rivals = [n for n in table if n not in (found["name"], reference)]
    return Facts(
        study=study,
        verdict=verdict,
        target=study.target.info,
        symbols=tuple(study.symbols),
        time=np.asarray(study.for_time),
        model=np.asarray(study.forecast.mean),
        actual=np.asarray(study.actual),
        reference=reference,
        reference_values=np.asarray(study.baselines[reference]),
        overall=_overall("all", found),
        rivals=tuple(Skill(plain_name(n), int(found["n_rows"]), _float(table[n]["skill"])) for n in rivals),
        by_fold=tuple(
            Skill(fold_label(f), 0, float("nan"), note=f"failed: {failed[f.number]}")
            if f.number in failed
            else _skill(fold_label(f), by_fold.get(int(f.number)))
            for f in study.folds
        ),
        by_year=tuple(_skill(str(one["year"]), one) for one in found["skill_by_year"]),
        by_symbol=_by_symbol(study),
        calibration=_calibration(study, found["calibration"]),
        curves=_curves(study),
        n_seeds=len(study.seeds),
        failed=tuple(failed.items()),
    )


def _float(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _overall(label: str, found: Mapping[str, Any]) -> Skill:
    low, high = _float(found["skill_low"]), _float(found["skill_high"])
    return Skill(label, int(found["n_rows"]), _float(found["skill"]), low, high)


def _skill(label: str, one: Mapping[str, Any] | None) -> Skill:
    if one is None:
        return Skill(label, 0, float("nan"), note="no outcome yet")
    return Skill(label, int(one["n"]), _float(one["skill"]), _float(one["low"]), _float(one["high"]))


MOST_SYMBOLS = 60  # judged one by one


def _by_symbol(study) -> tuple[Skill, ...]:
    """Each symbol judged alone, against its own strongest forecast without information."""
    if not 2 <= len(study.symbols) <= MOST_SYMBOLS:
        return ()
    from ..errors import NotEnoughData
    from ..evaluation import judge

    found = []
    for j, symbol in enumerate(study.symbols):
        try:
            details = judge(_column(study.evidence(), j)).details
            found.append(_overall(symbol, details))
        except NotEnoughData:
            found.append(Skill(symbol, 0, float("nan"), note="no forecast with an outcome"))
    return tuple(found)


def _column(evidence, j: int):
    """The evidence about one symbol."""

    def cut(values):
        return None if values is None else np.asarray(values)[:, [j]]

    return replace(
        evidence,
        symbols=(evidence.symbols[j],),
        actual=cut(evidence.actual),
        forecast=cut(evidence.forecast),
        baselines={n: cut(v) for n, v in evidence.baselines.items()},
        reference=cut(evidence.reference),
        last_value=cut(evidence.last_value),
        challengers={},
        seeds=None,
        returns=None,
        quantiles=None,
        std=None,
    )


def fold_label(fold) -> str:
    """The test span of a fold, from month to month."""
    first, last = (np.datetime64(int(t), "ns").astype("datetime64[M]") for t in (fold.test_start, fold.test_end))
    return f"{first} – {last}" if first != last else str(first)


def _calibration(study, found: Mapping[str, Any]) -> Calibration | None:
    bins = [one for one in found["bins"] if one["error"] is not None]
    if len(bins) < 2:
        return None
    forecast, outcome, error = (np.array([one[k] for one in bins]) for k in ("forecast", "actual", "error"))
    rows = sum(int(one["n"]) for one in bins)
    half = 1.96 * error
    coverage = _coverage(study, np.asarray(study.actual))
    return Calibration(forecast, outcome, outcome - half, outcome + half, _float(found["slope"]), rows, coverage)


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
    for fold, members in zip(study.folds, study.histories, strict=False):
        for history in members:
            if history is None:
                continue
            train = np.asarray(history["train_loss"], dtype=np.float64)
            validation = np.asarray(history["val_loss"], dtype=np.float64)
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
    base = np.asarray(study.reference)[:, column]
    model, actual = facts.model[:, column], facts.actual[:, column]
    if target.kind == "return":
        model, actual = base * (1 + model), base * (1 + actual)
    elif target.kind == "log_return":
        model, actual = base * np.exp(model), base * np.exp(actual)
    return Closes(
        facts.symbols[column],
        facts.time,
        actual / today,
        model / today,
        base / today,
        model_name=facts.model_name,
        caption=f"walk-forward, {target}",
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
