"""What happens between the steps of `fit`: progress, validation, metrics.csv, checkpoints, and the stop on NaN."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from edgeface.errors import InputError
from edgeface.evaluation.evaluate import PreparedFaces, Scores, score
from edgeface.evaluation.networks import KerasNetwork
from edgeface.training.checkpoint import append_row, read_rows, save_checkpoint
from edgeface.training.config import TrainConfig
from edgeface.training.distribution import undistributed

log = logging.getLogger("edgeface")


@dataclass(frozen=True)
class Validation:
    """Faces to score at every line of progress."""

    network: KerasNetwork
    faces: PreparedFaces
    name: str
    trained: keras.Model
    copy: keras.Model | None = None
    """One device's copy of a distributed model, of which ``network`` then is a part."""

    def score(self) -> Scores:
        if self.copy is None:
            return self._score()
        with undistributed():
            self.copy.set_weights(self.trained.get_weights())
            return self._score()

    def _score(self) -> Scores:
        return score(self.network.infer_batch(self.faces.crops), self.faces, self.network.markup)


class Monitor(keras.callbacks.Callback):
    """After every epoch it validates, writes the row, then the checkpoint. A context: it owns the progress bar.

    The row comes first: a kill in between leaves one row too many, which a resumed run drops, never one too few.

    Args:
        config: the run's.
        network: what is trained, inside the trainer that `fit` drives.
        start: the step that `fit` begins with.
        files: metrics.csv and checkpoint.npz; None on a process that writes none.
        fingerprint: of the config, for the checkpoint.
        validation: faces to score; None for none.
    """

    def __init__(
        self,
        config: TrainConfig,
        network: keras.Model,
        start: int,
        files: tuple[Path, Path] | None,
        fingerprint: str,
        validation: Validation | None,
    ):
        super().__init__()
        self.config, self.network, self.step = config, network, start
        self.files, self.fingerprint = files, fingerprint
        self.validation = validation
        self.saved_step = start
        rows = read_rows(files[0]) if files else []
        self._seconds = float(rows[-1]["seconds"]) if rows else 0.0
        self._bar = None

    def __enter__(self):
        self._bar = _bar(self.config.steps, self.step) if self.files else None
        return self

    def __exit__(self, *_):
        if self._bar:
            self._bar.stop()

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch_start = time.perf_counter()
        self._first_done, self._epoch_steps = 0.0, 0

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        self._epoch_steps += 1
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            raise InputError(
                f"loss must be finite. Received: {loss} at step {self.step}, batch {self.step - 1} of the input with "
                f"seed {self.config.seed}; the last good state is that of step {self.saved_step}. A lower "
                f"learning_rate or clip=1 may help"
            )
        if self._epoch_steps == 1:
            self._first_done = time.perf_counter()  # the first step may compile: not counted in the step time
        if self._bar:
            self._bar.update(self._bar.task_ids[0], completed=self.step, loss=f"{loss:.4f}")
        if self.step >= self.config.steps:
            self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        now = time.perf_counter()
        step_seconds = (now - self._first_done) / max(self._epoch_steps - 1, 1)
        trainer = self.model
        row = {
            "step": self.step,
            "loss": float(logs["loss"]),
            "landmarks": float(logs["landmarks"]),
            "pose": float(logs["pose"]),
            "learning_rate": float(keras.ops.convert_to_numpy(trainer.optimizer.learning_rate)),
        }
        scores = None
        if self.validation:
            with averaged_weights(trainer):
                scores = self.validation.score()
        row["val_nme"] = scores.nme if scores else math.nan
        row["val_pose_mae"] = scores.pose.mean if scores and scores.pose.n else math.nan
        row["step_seconds"] = round(step_seconds, 4)
        self._seconds += time.perf_counter() - self._epoch_start
        row["seconds"] = round(self._seconds, 2)
        self._write(row)
        self._print(self._line(row, step_seconds))

    def _write(self, row: dict) -> None:
        if not self.files:
            return
        metrics, checkpoint = self.files
        try:
            append_row(metrics, row)
            save_checkpoint(checkpoint, self.network, self.model.optimizer, self.step, self.fingerprint)
        except InputError as error:
            raise InputError(
                f"{error}. The last good state is that of step {self.saved_step}: the same command goes on from it"
            ) from error
        self.saved_step = self.step

    def _line(self, row: dict, step_seconds: float) -> str:
        parts = [f"step {self.step}/{self.config.steps}", f"loss {row['loss']:.4f}"]
        parts.append(f"landmarks {row['landmarks']:.2f} % of the crop")
        parts.append(f"pose {row['pose']:.2f} deg")
        if self.validation:
            name = self.validation.name
            parts.append(f"{name} NME {row['val_nme']:.2f} %")
            if math.isfinite(row["val_pose_mae"]):
                parts.append(f"{name} pose MAE {row['val_pose_mae']:.2f} deg")
        left = (self.config.steps - self.step) * step_seconds
        parts.append(f"{1000 * step_seconds:.0f} ms a step, {self.config.batch_size / step_seconds:.0f} faces/s")
        parts.append(f"{left / 60:.1f} min left")
        return ", ".join(parts)

    def _print(self, line: str) -> None:
        # A live bar owns the terminal's last line; what is said goes above it.
        if self._bar:
            self._bar.console.print(line, highlight=False)
        else:
            log.info(line)


@contextmanager
def averaged_weights(trainer: keras.Model) -> Iterator[None]:
    """Within it the network has the optimiser's averaged weights, where it keeps them."""
    optimizer, variables = trainer.optimizer, trainer.trainable_variables
    if not optimizer.use_ema:
        yield
        return
    raw = [_copy(v) for v in variables]
    optimizer.finalize_variable_values(variables)
    for variable in variables:
        # JAX: unshare from the optimiser, whose array would die when predict donates the network's.
        variable.assign(_copy(variable))
    try:
        yield
    finally:
        for variable, value in zip(variables, raw, strict=True):
            variable.assign(value)


def _copy(variable) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(variable))


def _bar(steps: int, done: int):
    """A live progress bar on a terminal, None elsewhere (lines say enough in a log)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console()
    if not console.is_terminal:
        return None
    columns = (
        "training",
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}"),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=console, transient=True)
    bar.add_task("training", total=steps, completed=done, loss="")
    bar.start()
    return bar
