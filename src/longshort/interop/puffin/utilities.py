"""puffin's training utilities for torch modules, with the published signatures, over the one training loop.

What is put right: losses are weighted by samples, a loss that is not finite stops the training, the validation part is
the latest samples instead of random ones, and a warm-up starts above zero. Nothing prints; `verbose` logs.
"""

import logging
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ...errors import InputError, NotEnoughData, SetupError, TrainingError, UnknownName, did_you_mean
from ...models.schedules import CosineDecay, Schedule, StepDecay, WarmupCosine
from ...models.training import Samples, StopRule, Training

if TYPE_CHECKING:
    import torch
    from torch.utils.data import DataLoader

SCHEDULES = ("step", "cosine", "warmup_cosine")
logger = logging.getLogger(__name__)


class EarlyStopping:
    """Stop when the validation loss has not become better for more than `patience` epochs.

    Parameters
    ----------
    patience : int, default=10
        Epochs without a better loss that are allowed.
    min_delta : float, default=0.0
        By how much a loss must be below the best one to be better.
    restore_best_weights : bool, default=True
        Load the weights of the best epoch into the model when stopping.
    verbose : bool, default=True
        Log what happens, at level INFO.

    Attributes
    ----------
    counter : int
        Epochs since the best one.
    best_loss : float or None
        The lowest loss so far.
    best_weights : dict of str to Tensor or None
        Copies of the weights of that epoch.
    should_stop : bool
        Whether patience has run out.

    Examples
    --------
    >>> class Model:  # an nn.Module has both methods
    ...     def state_dict(self): return {}
    ...     def load_state_dict(self, weights): pass
    >>> stopping = EarlyStopping(patience=1)
    >>> [stopping(loss, Model()) for loss in (1.0, 0.8, 0.9, 0.85)]
    [False, False, False, True]
    >>> stopping.best_loss, stopping.counter
    (0.8, 2)
    """

    def __init__(
        self, patience: int = 10, min_delta: float = 0.0, restore_best_weights: bool = True, verbose: bool = True
    ) -> None:
        if isinstance(patience, bool) or not isinstance(patience, int | np.integer) or patience < 0:
            raise InputError(f"patience must be a whole number of at least 0, was {patience!r}.")
        if not 0 <= min_delta < math.inf:
            raise InputError(f"min_delta must be finite and at least 0, was {min_delta!r}.")
        self.patience, self.min_delta = patience, min_delta
        self.restore_best_weights, self.verbose = restore_best_weights, verbose
        self.best_weights: dict[str, Any] | None = None
        self._rule = StopRule(int(patience) + 1, min_delta=float(min_delta))

    def __call__(self, val_loss: float, model: Any) -> bool:
        """Take in an epoch's validation loss; return True when training should stop.

        Raises
        ------
        TrainingError
            The loss is not finite.
        """
        if not math.isfinite(val_loss):
            raise TrainingError(
                f"The validation loss must be finite, but was {val_loss} in epoch {self._rule.epoch + 1}. "
                "Pass validation data, lower the step size, or look for outliers."
            )
        self._rule = self._rule.update(float(val_loss))
        if self._rule.improved:
            self.best_weights = {name: _copy(weight) for name, weight in model.state_dict().items()}
        elif self.verbose:
            logger.info("no better validation loss for %d of %d epochs", self.counter, self.patience)
        if self.should_stop and self.restore_best_weights:
            model.load_state_dict(self.best_weights)
            if self.verbose:
                logger.info("stopped with the weights of epoch %d, loss %.6g", self._rule.best_epoch, self._rule.best)
        return self.should_stop

    @property
    def counter(self) -> int:
        """Epochs since the best one."""
        return self._rule.epoch - self._rule.best_epoch

    @property
    def best_loss(self) -> float | None:
        """The lowest loss so far."""
        return self._rule.best if self._rule.epoch else None

    @property
    def should_stop(self) -> bool:
        """Whether patience has run out."""
        return self._rule.stop


def _copy(weight: Any) -> Any:
    return weight.detach().clone()


class LRScheduler:
    """Set an optimiser's step sizes epoch by epoch.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Its step sizes at this moment are the ones the schedule starts from.
    schedule_type : {"step", "cosine", "warmup_cosine"}, default="step"
        Times `gamma` every `step_size` epochs; half a cosine down to `eta_min` at epoch `T_max`; a straight line up
        over `warmup_epochs`, then half a cosine.
    step_size, gamma, warmup_epochs, T_max, eta_min
        Of the schedule. The cosines need `T_max`, and stay at `eta_min` after it.

    Notes
    -----
    Call `step` after each epoch. With a warm-up the first epoch runs at 1 / `warmup_epochs` of the full step size.

    Raises
    ------
    InputError
        An unknown schedule or a number that makes none.

    Examples
    --------
    >>> class Optimizer:  # as any of torch.optim
    ...     param_groups = [{"lr": 0.1}]
    >>> scheduler = LRScheduler(Optimizer(), "warmup_cosine", warmup_epochs=2, T_max=4)
    >>> rates = []
    >>> for epoch in range(5):
    ...     rates += scheduler.get_last_lr()
    ...     scheduler.step()
    >>> [round(rate, 3) for rate in rates]
    [0.05, 0.1, 0.1, 0.05, 0.0]
    """

    def __init__(
        self,
        optimizer: Any,
        schedule_type: str = "step",
        step_size: int = 30,
        gamma: float = 0.1,
        warmup_epochs: int = 0,
        T_max: int | None = None,
        eta_min: float = 0.0,
    ) -> None:
        if schedule_type not in SCHEDULES:
            raise UnknownName(f"schedule_type was {schedule_type!r}. {did_you_mean(str(schedule_type), SCHEDULES)}")
        first = warmup_epochs if schedule_type == "warmup_cosine" else 0
        if schedule_type != "step" and (T_max is None or not T_max > first):
            raise InputError(f"{schedule_type} needs T_max, a number of epochs above {first}, was {T_max!r}.")
        self.optimizer, self.schedule_type, self.step_size, self.gamma = optimizer, schedule_type, step_size, gamma
        self.warmup_epochs, self.T_max, self.eta_min = warmup_epochs, T_max, eta_min
        self._initial = [float(group["lr"]) for group in optimizer.param_groups]
        self._schedules = [self._schedule_from(lr) for lr in self._initial]
        self.initial_lr = self._initial[0]
        self.current_epoch = 0
        self._apply()

    def _schedule_from(self, lr: float) -> Schedule:
        if self.schedule_type == "step":
            return StepDecay(every=self.step_size, factor=self.gamma)
        if not 0 <= self.eta_min <= lr or not lr > 0:
            raise InputError(f"eta_min must lie between 0 and the optimiser's step size {lr:g}, was {self.eta_min!r}.")
        arguments = {"epochs": self.T_max, "floor": self.eta_min / lr}
        if self.schedule_type == "warmup_cosine" and self.warmup_epochs:
            return WarmupCosine(**arguments, warmup=self.warmup_epochs)
        return CosineDecay(**arguments)

    def step(self) -> None:
        """Set the step sizes of the next epoch."""
        self.current_epoch += 1
        self._apply()

    def get_last_lr(self) -> list[float]:
        """Return the step size of each parameter group."""
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def _apply(self) -> None:
        for group, lr, schedule in zip(self.optimizer.param_groups, self._initial, self._schedules, strict=True):
            group["lr"] = lr * schedule.rate(self.current_epoch + 1)


def create_dataloaders(
    X: np.ndarray,
    y: np.ndarray,
    batch_size: int = 64,
    val_split: float = 0.2,
    shuffle: bool = True,
    random_seed: int | None = None,
) -> "tuple[DataLoader, DataLoader]":
    """Return loaders of the earlier samples for training and of the latest ones for validation.

    Parameters
    ----------
    X : array-like (n_samples, ...)
        Finite, in order of time.
    y : array-like (n_samples,) or (n_samples, n_outputs)
        Finite; one dimension becomes (n_samples, 1).
    batch_size : int, default=64
        Samples per batch.
    val_split : float, default=0.2
        Share of the samples, the latest ones. Random samples would overlap the training windows around them.
    shuffle : bool, default=True
        Whether every epoch visits the training samples in another order.
    random_seed : int, optional
        Of that order; torch's own generator by default.

    Returns
    -------
    (DataLoader, DataLoader)
        Of float32 pairs. The second is empty with ``val_split=0``.

    Examples
    --------
    >>> import numpy as np
    >>> from longshort.errors import InputError
    >>> try:
    ...     create_dataloaders(np.zeros((10, 3)), np.zeros(9))
    ... except InputError as error:
    ...     print(error)
    X and y must have the same number of samples, had 10 and 9.
    """
    X, y = _finite("X", X), _finite("y", y)
    if len(X) != len(y):
        raise InputError(f"X and y must have the same number of samples, had {len(X)} and {len(y)}.")
    if y.ndim not in (1, 2):
        raise InputError(f"y must have shape (n_samples,) or (n_samples, n_outputs), had {y.shape}.")
    if not 0 <= val_split < 1:
        raise InputError(f"val_split must be a share in [0, 1), was {val_split!r}.")
    if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer) or batch_size < 1:
        raise InputError(f"batch_size must be a whole number of at least 1, was {batch_size!r}.")
    n_train = len(X) - int(len(X) * val_split)
    if not n_train:
        raise NotEnoughData("X must have at least one sample to learn from, was empty.")
    torch = _torch("create_dataloaders")
    from torch.utils.data import DataLoader, TensorDataset

    pairs = [torch.from_numpy(a.astype(np.float32)) for a in (X, y[:, None] if y.ndim == 1 else y)]
    order = None if random_seed is None else torch.Generator().manual_seed(int(random_seed))
    learn = TensorDataset(*(part[:n_train] for part in pairs))
    judge = TensorDataset(*(part[n_train:] for part in pairs))
    return (
        DataLoader(learn, batch_size=int(batch_size), shuffle=shuffle, generator=order),
        DataLoader(judge, batch_size=int(batch_size), shuffle=False),
    )


def _finite(name: str, values: Any) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in "biuf" or array.ndim < 1:
        raise InputError(f"{name} must be an array of numbers, was {array.dtype} with {array.ndim} dimensions.")
    if not np.isfinite(array).all():
        first = np.argwhere(~np.isfinite(array))[0].tolist()
        raise InputError(f"{name} must be finite, but is not at {first}. Drop these samples, or fill from the past.")
    return array


def training_loop(
    model: "torch.nn.Module",
    train_loader: "DataLoader",
    val_loader: "DataLoader",
    epochs: int,
    optimizer: "torch.optim.Optimizer",
    criterion: Callable[..., Any],
    callbacks: Sequence[Callable[..., Any]] | None = None,
    device: "torch.device | None" = None,
    verbose: bool = True,
) -> dict[str, list[float]]:
    """Train a torch module on batches from loaders, with an optimiser and a loss of your own.

    Parameters
    ----------
    model : nn.Module
        Learns in place and stays on `device`.
    train_loader, val_loader : DataLoader
        Of (inputs, targets). An empty `val_loader` leaves `val_loss` empty and gives callbacks NaN for it.
    epochs : int
        At most so many.
    optimizer : torch.optim.Optimizer
        Of the model's parameters.
    criterion : callable
        ``criterion(outputs, targets)``, a mean over the batch (or, with ``reduction="sum"``, a sum).
    callbacks : sequence of callable, optional
        Called after each epoch as ``(epoch, train_loss, val_loss, model)``, epochs counted from 0. Training stops after
        an epoch in which one of them returns True.
    device : torch.device, optional
        CUDA where there is a GPU, the processor otherwise.
    verbose : bool, default=True
        Log each epoch, at level INFO.

    Returns
    -------
    dict of str to list of float
        `train_loss` and `val_loss`: means over samples, whatever the size of the last batch.

    Raises
    ------
    InputError
        No training batch, or outputs and targets that would be broadcast against each other.
    TrainingError
        A loss left the finite numbers.

    Examples
    --------
    A model, its loaders, an optimiser and early stopping together::

        stopping = EarlyStopping(patience=5)
        history = training_loop(
            model, *create_dataloaders(X, y), epochs=100, optimizer=torch.optim.Adam(model.parameters()),
            criterion=torch.nn.MSELoss(), callbacks=[lambda epoch, train, val, model: stopping(val, model)],
        )

    >>> from longshort.errors import InputError
    >>> try:
    ...     training_loop(None, [], [], epochs=1, optimizer=None, criterion=None)
    ... except InputError as error:
    ...     print(error)
    train_loader has no batch to learn from. Pass more samples, or drop_last=False.
    """
    if not len(train_loader):
        raise InputError("train_loader has no batch to learn from. Pass more samples, or drop_last=False.")
    torch = _torch("training_loop")
    place = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    engine = _LoaderEngine(model.to(place), train_loader, val_loader, optimizer, criterion, place)
    held = Samples(np.zeros(0, np.int64), np.zeros((0, 1)))  # by the loaders
    training = Training(cast(Any, engine), held, held if len(val_loader) else None, epochs, patience=None)
    history = {"train_loss": training.history.train_loss, "val_loss": training.history.val_loss}
    while not training.done:
        training.step()
        epoch, learned = len(history["train_loss"]) - 1, history["train_loss"][-1]
        judged = history["val_loss"][-1] if history["val_loss"] else math.nan
        if verbose:
            logger.info("epoch %d of %d: train_loss %.6g, val_loss %.6g", epoch + 1, epochs, learned, judged)
        answers = [callback(epoch, learned, judged, model) for callback in callbacks or ()]
        if any(answer is True for answer in answers):
            break
    return history


class _LoaderEngine:
    """One pass over loaders, as `Training` asks for it."""

    def __init__(
        self, model: Any, train_loader: Any, val_loader: Any, optimizer: Any, criterion: Any, device: Any
    ) -> None:
        self.model, self.train_loader, self.val_loader = model, train_loader, val_loader
        self.optimizer, self.criterion, self.device = optimizer, criterion, device

    def epoch(self, *_: Any) -> float:
        self.model.train()
        total, count = 0.0, 0
        for inputs, targets in self.train_loader:
            self.optimizer.zero_grad()
            loss = self._loss(inputs, targets)
            loss.backward()
            self.optimizer.step()
            total, count = total + self._sum(loss, len(targets)), count + len(targets)
        return total / count

    def loss(self, *_: Any) -> float:
        import torch

        self.model.eval()
        total, count = 0.0, 0
        with torch.no_grad():
            for inputs, targets in self.val_loader:
                total, count = total + self._sum(self._loss(inputs, targets), len(targets)), count + len(targets)
        return total / count

    def _loss(self, inputs: Any, targets: Any) -> Any:
        inputs, targets = inputs.to(self.device), targets.to(self.device)
        outputs = self.model(inputs)
        shapes = tuple(outputs.shape), tuple(targets.shape)
        if len(targets) > 1 and sorted(shapes, key=len) == [(len(targets),), (len(targets), 1)]:
            raise InputError(
                f"Outputs {shapes[0]} and targets {shapes[1]} would be broadcast to every pair of samples. "
                "Give both the same shape."
            )
        return self.criterion(outputs, targets)

    def _sum(self, loss: Any, n: int) -> float:
        return float(loss.detach()) * (1 if getattr(self.criterion, "reduction", "mean") == "sum" else n)


def compute_class_weights(y: np.ndarray) -> "torch.Tensor":
    """Return one weight a class, inverse to its frequency, as a float32 tensor (n_classes,) in order of the labels.

    Parameters
    ----------
    y : array-like (n_samples,)
        Labels. Labels that count from 0 must leave no class out, or the weights would belong to other classes.

    Returns
    -------
    Tensor
        n_samples / (n_classes x count). Their mean over the samples is 1.

    Examples
    --------
    >>> from longshort.errors import DataError
    >>> try:
    ...     compute_class_weights([0, 0, 2])
    ... except DataError as error:
    ...     print(error)
    y has the classes [0, 2] but no sample of class 1, so weights by position would go to the wrong class.
    """
    from ...errors import DataError

    labels = _finite("y", y)
    if labels.ndim != 1 or not len(labels):
        raise InputError(f"y must have shape (n_samples,) and at least one sample, had {labels.shape}.")
    classes, counts = np.unique(labels, return_counts=True)
    skipped = np.flatnonzero(classes != np.arange(len(classes)))
    if len(skipped) and classes[0] >= 0:
        raise DataError(
            f"y has the classes {classes[:9].tolist()} but no sample of class {skipped[0]}, "
            "so weights by position would go to the wrong class."
        )
    torch = _torch("compute_class_weights")
    return torch.from_numpy((len(labels) / (len(classes) * counts)).astype(np.float32))


def _torch(who: str) -> Any:
    try:
        import torch
    except ImportError as error:
        raise SetupError(f"{who} needs torch: pip install 'longshort[torch]'.") from error
    return torch
