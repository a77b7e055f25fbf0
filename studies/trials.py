"""Short training runs side by side: what `studies.papers.study`, `studies.training_sets.study` and `studies.pareto.study` have in common.

A trial is a training config that is trained in a folder of its own (and goes on where it was) and scored on real
faces, in a process of its own, whose memory ends with it. Its row goes into a JSON file beside this one as soon as it
is there, its errors face by face into an .npz of the same name.
"""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import multiprocessing.connection
import os
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeface.errors import InputError
from studies.rows import Row, keep, plain, stored
from studies.scoring import Decode, Scored, score_stage

if TYPE_CHECKING:
    from edgeface.training.config import TrainConfig

HERE = Path(__file__).parent
RUNS, CONFIGS = Path("runs/trials"), HERE.parent / "configs"
WARMUP, EPOCH = 200, 500
SHORT = {"learning_rate": 2e-3, "ema": 0.997, "precision": "mixed_bfloat16"}
"""What a short run from nothing has in place of a released network's. Bfloat16 saves time where the processor has it,
and all arms bear it alike."""


def trial_config(config: TrainConfig, name: str, seed: int, steps: int, **changes: Any) -> TrainConfig:
    """A run from random weights, its folder named by arm, steps and seed; a tenth of the steps at most warm it up."""
    slug = "_".join("".join(c if c.isalnum() else " " for c in name.lower()).split())
    changes |= {"warmup": min(WARMUP, steps // 10), "epoch_steps": min(EPOCH, steps)}
    return replace(config, name=f"{slug}_{steps}_{seed}", seed=seed, steps=steps, init="", **changes)


def trial(config: TrainConfig, scored: Scored, every_stage: bool = False, decode: Decode = "expectation") -> Row:
    """Trains the config in runs/trials/NAME and scores its last stage (or each), in a process of its own.

    The row: the run's facts, ``stages`` with the scores, and ``faces`` with the last stage's errors face by face.
    """
    return apart(_trial, config, scored, every_stage, decode)


def _trial(config: TrainConfig, scored: Scored, every_stage: bool, decode: Decode) -> Row:
    import keras

    from edgeface.models.io import load_model
    from edgeface.models.outputs import StageOutputs
    from edgeface.models.presets import build
    from edgeface.training.backend import override_setting
    from edgeface.training.train import network_config_of, train

    logging.basicConfig(format="%(message)s")
    logging.getLogger("edgeface").setLevel(logging.INFO)
    with override_setting(keras.config.dtype_policy, keras.config.set_dtype_policy, config.precision):
        fresh = build(network_config_of(config))
    start_by_name(fresh, config.seed)
    network, info = load_model(train(config, RUNS / config.name, model=fresh))
    last = StageOutputs.of(network).stages
    stages = []
    for stage in range(1 if every_stage else last, last + 1):
        figures, faces = score_stage(network, scored, stage, decode, whole=stage == last)
        stages.append(figures)
    return {
        "steps": config.steps,
        "seed": config.seed,
        "precision": config.precision,
        **size(network, scored[0][2]),
        "last_loss": info["training"]["last"]["loss"],
        "minutes": info["training"]["seconds"] / 60,
        "stages": plain(stages),
        "faces": faces,
    }


def size(network, markup: str) -> dict[str, int]:
    """Parameters and MACs of what a device would run: one head of the last stage."""
    from edgeface.evaluation.networks import deployed
    from edgeface.models.summary import count_macs, count_parameters

    graph = deployed(network, network.name, markup).model
    return {"parameters": count_parameters(graph), "macs": count_macs(graph)}


def start_by_name(network, seed: int) -> None:
    """Draws every kernel anew from a seed made of ``seed`` and its layer's name.

    Keras draws in the order of building, so that a layer more in one arm starts all that follow elsewhere. By name, two
    arms of one seed start each layer that they share with the same weights, and their difference is the arm's alone.
    Biases and batch norm start at constants, as they do in Keras.
    """
    import keras

    for layer in network.layers:
        for weight in layer.weights:
            if len(weight.shape) < 2:
                continue
            given = getattr(layer, "depthwise_initializer", None) or getattr(layer, "kernel_initializer", None)
            # Layers of edgeface's own with a kernel (the pose's) name none: theirs is Glorot's.
            given = given or keras.initializers.GlorotUniform()
            digest = hashlib.sha256(f"{seed} {layer.name} {weight.name}".encode()).digest()
            drawn = {**given.get_config(), "seed": int.from_bytes(digest[:4], "big") % 2**31}
            weight.assign(type(given).from_config(drawn)(weight.shape))


def apart(work: Callable[..., Any], *args: Any) -> Any:
    """What ``work(*args)`` returns, worked out in a fresh process that ends with it. InputError where it fails.

    A process that is killed takes the fresh one with it.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=_answer, args=(there, work, args))
    child.start()
    there.close()
    try:
        kind, answer = here.recv()
    except EOFError:
        child.join()
        raise InputError(f"a trial must end with its scores. Received: exit code {child.exitcode}") from None
    child.join()
    if kind == "error":
        raise InputError(f"a trial must end with its scores. Received:\n{answer}")
    if kind == "refused":
        raise InputError(answer)
    return answer


def _answer(there, work: Callable[..., Any], args: tuple) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        there.send(("row", work(*args)))
    except InputError as error:
        there.send(("refused", str(error)))
    except Exception:
        there.send(("error", traceback.format_exc()))


def _end_with_parent() -> None:
    """A study that is killed leaves no training behind that would write where the next one does."""
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def sweep(path: Path, jobs: Sequence[Row], run_one: Callable[..., Row], command: str, again: bool = False) -> None:
    """Runs every job that has no row yet (all of them with ``again``: finished runs are scored anew, not trained).

    jobs: what distinguishes a row from all others, steps and seed among it; the arguments of ``run_one``.
    """
    for i, job in enumerate(jobs, 1):
        if again or not any(all(row.get(k) == v for k, v in job.items()) for row in stored(path)):
            print(f"{i} of {len(jobs)}: {', '.join(f'{k} {v}' for k, v in job.items())}", flush=True)
            keep(path, job | run_one(**job), tuple(job), command)
