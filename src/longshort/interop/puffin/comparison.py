"""Where results differ from puffin's published recipe, measured: the recipe rebuilt from its behaviour, beside ours.

Both sides run on the same engine with the same network, seeds and data; one thing at a time is done as the recipe does
it. Nothing is quoted: every number is computed when `compare_with_original` is called.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InputError, NotEnoughData, PriceError
from ...features.windows import Scaling, Windows
from ...models.lstm import LSTM
from ...models.network import bind, make_engine
from .forecasters import MultivariateLSTM
from .frames import frame_values, require_frame, target_values
from .learning import Learned, Split, train
from .utilities import LRScheduler

if TYPE_CHECKING:
    import pandas as pd

SHARE, TEST = 0.2, 0.25  # validation_split; rows kept from both, to judge them on


@dataclass(frozen=True)
class Difference:
    """One thing done differently, and what comes of it.

    Parameters
    ----------
    key : str
        A word to look it up by.
    what : str
        What was measured.
    original, ours : float or None
        The numbers; None where there is none because the input is refused.
    why : str
        The reason.

    Examples
    --------
    >>> Difference("scaling", "move of an earlier forecast", 0.4, 0.0, "scaled on all rows").ours
    0.0
    """

    key: str
    what: str
    original: float | None
    ours: float | None
    why: str


@dataclass(frozen=True)
class Comparison:
    """What `compare_with_original` measured; prints as a table, answers by key.

    Parameters
    ----------
    rows : tuple of Difference
        One per thing done differently.
    data : str
        What it was measured on.

    Examples
    --------
    >>> print(Comparison((Difference("seed", "spread of two fits", 0.25, 0.0, "No seed is set."),), "a sine"))
    On a sine                                                         original      here
    1. spread of two fits                                               0.2500    0.0000
       No seed is set.
    """

    rows: tuple[Difference, ...]
    data: str

    def __getitem__(self, key: str) -> Difference:
        for row in self.rows:
            if row.key == key:
                return row
        raise KeyError(key)

    def __str__(self) -> str:
        lines = [f"{'On ' + self.data:64}{'original':>10}{'here':>10}"]
        for number, row in enumerate(self.rows, start=1):
            lines.append(f"{f'{number}. {row.what}':64}{_shown(row.original):>10}{_shown(row.ours):>10}")
            lines.append(f"   {row.why}")
        return "\n".join(lines)

    __repr__ = __str__


def _shown(value: float | None) -> str:
    return "refused" if value is None else f"{value:.4f}"


def compare_with_original(
    features_df: "pd.DataFrame | None" = None,
    target_col: str = "target",
    *,
    lookback: int = 20,
    epochs: int = 30,
    hidden_dims: Sequence[int] = (32, 16),
    seeds: int = 3,
) -> Comparison:
    """Measure where and why `MultivariateLSTM` and the utilities differ from puffin's published recipe.

    Parameters
    ----------
    features_df : DataFrame, optional
        Features and target as for `MultivariateLSTM.fit`. By default a market with a planted signal: the next return
        correlates 0.70 with a column of the present row, and nothing that only knows the past can do better.
    target_col : str, default="target"
        The outcome after each row.
    lookback, epochs, hidden_dims
        As in `MultivariateLSTM.fit`.
    seeds : int, default=3
        Fits per side of the first line, which shows their median.

    Returns
    -------
    Comparison
        Lines `alignment`, `scaling`, `loss`, `split`, `warmup`, `seed` and `infinity`.

    Raises
    ------
    NotEnoughData
        Too few rows to learn from three quarters and judge on the rest.

    Examples
    --------
    >>> found = compare_with_original(seeds=1, epochs=15)
    >>> found["alignment"].ours > 0.60, abs(found["alignment"].original) < 0.25
    (True, True)
    >>> found["scaling"].original > 0, found["scaling"].ours, found["infinity"].ours
    (True, 0.0, None)
    """
    if isinstance(seeds, bool) or not isinstance(seeds, int | np.integer) or seeds < 1:
        raise InputError(f"seeds must be a whole number of at least 1, was {seeds!r}.")
    data = "your frame" if features_df is not None else "a planted signal (nothing can correlate better than 0.70)"
    frame = _planted() if features_df is None else features_df
    require_frame(frame, "features_df")
    names = [name for name in frame.columns if name != target_col]
    features, target = frame_values(frame, names), target_values(frame, target_col)
    known = int(np.isfinite(target).sum())
    n_fit = known - int(known * TEST)
    if known - n_fit < lookback + 3:
        raise NotEnoughData(
            f"{known} rows with a known target leave {known - n_fit} to judge on; lookback={lookback} needs "
            f"{lookback + 3}. Pass at least {round((lookback + 4) / TEST)} rows."
        )
    job = _Job(frame, features, target, n_fit, known, target_col, lookback, epochs, tuple(hidden_dims))
    return Comparison(
        (
            _alignment(job, int(seeds)),
            _scaling(job),
            _loss(job),
            _split(job),
            _warmup(),
            _seed(job),
            _infinity(job),
        ),
        data,
    )


def _planted() -> "pd.DataFrame":
    import pandas as pd

    from ...data import synthetic

    bars = synthetic.planted_signal(1600, seed=1)
    returns = np.append(np.nan, np.diff(np.log(bars["close"][:, 0])))
    frame = pd.DataFrame({"returns": returns, "log_volume": np.log(bars["volume"][:, 0])})
    return frame.assign(target=frame["returns"].shift(-1)).iloc[1:]


@dataclass(frozen=True, eq=False)
class _Job:
    frame: Any
    features: np.ndarray
    target: np.ndarray
    n_fit: int
    known: int
    target_col: str
    lookback: int
    epochs: int
    hidden: tuple[int, ...]

    def settings(self, seed: int) -> dict[str, Any]:
        dropout = [0.2] * (len(self.hidden) - 1) + [0.0]
        shape = {"lookback": self.lookback, "hidden": list(self.hidden), "dropout": dropout}
        return {**shape, "epochs": self.epochs, "patience": None, "seed": seed, "validation": SHARE}

    def ours(self, seed: int, frame: Any = None) -> MultivariateLSTM:
        model = MultivariateLSTM(seed=seed)
        rows = (self.frame if frame is None else frame).iloc[: self.n_fit]
        model.fit(rows, self.target_col, self.lookback, self.epochs, validation_split=SHARE, hidden_dims=self.hidden)
        return model

    def original(self, seed: int, features: np.ndarray | None = None) -> tuple[Learned, Split]:
        """Fit as the recipe does: windows end a row before their target's, one scaling over all rows given."""
        rows, outcome = (self.features if features is None else features)[: self.n_fit], self.target[: self.n_fit]
        windows = Windows.over(rows[:, None, :].copy(), self.lookback)
        windows = windows.take(windows.rows < self.n_fit - 1)
        learns = np.arange(len(windows)) < int(len(windows) * (1 - SHARE))
        split = Split(windows, outcome[windows.rows + 1], learns, ~learns)
        inputs = Scaling.fit("standard", list(rows.T), [str(k) for k in range(rows.shape[1])])
        output = Scaling.fit("standard", [outcome], [self.target_col])
        return train(self.settings(seed), split, inputs, output), split


def _alignment(job: _Job, seeds: int) -> Difference:
    """Judge both on rows no fit has seen, asked as `predict` is asked: with the window up to the row itself."""
    first = job.n_fit - job.lookback + 1
    rows, happened = slice(first, job.known), job.target[job.n_fit : job.known]

    def score(said: np.ndarray) -> float:
        return float(np.corrcoef(said, happened)[0, 1])

    original = [score(job.original(s)[0].forecast(job.features[rows])) for s in range(seeds)]
    ours = [score(job.ours(s).predict(job.frame.iloc[rows], every_row=True)) for s in range(seeds)]
    return Difference(
        "alignment",
        "correlation of forecast and outcome on rows kept from both",
        float(np.median(original)),
        float(np.median(ours)),
        "Its training windows end one row before the row of their target, its forecasts' windows on that row.",
    )


def _scaling(job: _Job) -> Difference:
    """Change nothing but late validation rows; ask both about a window of training rows."""
    changed = job.features.copy()
    late = job.n_fit - int(job.n_fit * SHARE * 0.5)
    changed[late : job.n_fit] *= 1.5
    names = [name for name in job.frame.columns if name != job.target_col]
    other = job.frame.copy()
    other[names] = changed
    window = slice(late // 2 - job.lookback + 1, late // 2 + 1)
    spread = float(job.target[: job.n_fit].std())

    def move(before: Any, after: Any) -> float:
        return abs(float(after[0] - before[0])) / spread

    rows = job.frame.iloc[window]
    return Difference(
        "scaling",
        "move of an early forecast when late rows change, in std of target",
        move(*(job.original(0, f)[0].forecast(job.features[window]) for f in (job.features, changed))),
        move(*(job.ours(0, frame).predict(rows) for frame in (job.frame, other))),
        "It learns means and deviations from all rows, validation rows included; here training rows alone teach.",
    )


def _loss(job: _Job) -> Difference:
    """Add up the same batch losses both ways."""
    learned, split = job.original(0)
    size, windows = 32, split.windows.take(split.learns)
    size = size if len(windows) % size else size - 1
    model = LSTM(**learned.settings)
    engine = make_engine(model, len(learned.net.inputs.center), seed=0)
    engine.set_weights(learned.net.weights)
    bind(engine, windows, learned.net.inputs)
    scaled = learned.net.output.transform(split.outcome[split.learns][:, None])
    parts = [slice(i, i + size) for i in range(0, len(windows), size)]
    losses = [engine.loss(windows.starts[part], scaled[part]) for part in parts]
    true = engine.loss(windows.starts, scaled)
    return Difference(
        "loss",
        "reported training loss over the mean over samples",
        sum(losses) / (len(windows) / size) / true,
        float(np.average(losses, weights=[len(windows.starts[part]) for part in parts])) / true,
        "A last, smaller batch counts whole in its sum and in part in its divisor; here samples weigh the same.",
    )


def _split(job: _Job) -> Difference:
    """Count validation outcomes whose row stands in some training window: random samples, and the latest ones."""
    n = job.n_fit - job.lookback
    rows = np.arange(n) + job.lookback
    n_judge = int(n * SHARE)
    random = np.random.default_rng(0).permutation(n)

    def shown(learn: np.ndarray, judge: np.ndarray) -> float:
        covered = np.unique(rows[learn][:, None] - 1 - np.arange(job.lookback))
        return float(np.isin(rows[judge], covered).mean())

    return Difference(
        "split",
        "share of validation outcomes that training windows contain",
        shown(random[: n - n_judge], random[n - n_judge :]),
        shown(np.arange(n - n_judge), np.arange(n - n_judge, n)),
        "Its create_dataloaders draws them at random among overlapping windows; here they are the latest samples.",
    )


def _warmup() -> Difference:
    """Step sizes before the first call of `step`: the recipe counts calls, here epochs count."""
    optimizer = SimpleNamespace(param_groups=[{"lr": 1.0}])
    scheduler = LRScheduler(optimizer, "warmup_cosine", warmup_epochs=5, T_max=20)
    return Difference(
        "warmup",
        "step size of the first of 5 warm-up epochs, full size 1",
        0 / 5,
        scheduler.get_last_lr()[0],
        "Its scheduler starts at zero, so that the first epoch learns nothing.",
    )


def _seed(job: _Job) -> Difference:
    """Fit twice as each is fitted when nobody mentions a seed."""
    window = slice(job.n_fit - job.lookback, job.n_fit)
    spread = float(job.target[: job.n_fit].std())
    original = [job.original(seed)[0].forecast(job.features[window])[0] for seed in (0, 1)]
    ours = [job.ours(0).predict(job.frame.iloc[window])[0] for _ in range(2)]
    return Difference(
        "seed",
        "difference of two fits' forecasts, in std of target",
        float(abs(original[0] - original[1])) / spread,
        float(abs(ours[0] - ours[1])) / spread,
        "Each of its fits draws new weights; here the same seed gives the same bytes, and 0 is the default.",
    )


def _infinity(job: _Job) -> Difference:
    """Put an infinity into the newest row of a window."""
    learned, split = job.original(0)
    engine = make_engine(LSTM(**learned.settings), len(learned.net.inputs.center), seed=0)
    engine.set_weights(learned.net.weights)
    broken = split.windows.features.copy()
    broken[-1, 0, 0] = np.inf
    bind(engine, Windows(broken, job.lookback, split.windows.rows, split.windows.columns), learned.net.inputs)
    said = engine.predict(split.windows.starts[-1:] + broken.shape[2])
    frame = job.frame.iloc[job.n_fit - job.lookback : job.n_fit].astype(float)
    name = next(name for name in frame.columns if name != job.target_col)
    frame.iloc[-1, frame.columns.get_loc(name)] = np.inf
    try:
        ours: float | None = float(job.ours(0).predict(frame)[0])
    except PriceError:
        ours = None
    return Difference(
        "infinity",
        "forecast from a window with an infinite number in it",
        float(learned.net.output.inverse(said)[0, 0]),
        ours,
        "Gates saturate, so an infinite input makes a finite forecast; here it is refused by row and column.",
    )
