"""Short runs side by side: equal starts, processes of their own, rows, comparisons pair by pair."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from edgeface.errors import InputError
from edgeface.files import write_text
from edgeface.training.config import SourceConfig, TrainConfig
from studies import paired, rows, trials


def test_layers_of_one_name_and_shape_start_alike_in_every_arm():
    from edgeface.models.acdc import AcdcConfig, build_acdc

    small = {"side": 32, "widths": (4, 8), "markups_2d": ("mtfl5",), "stream_slices": ((0, 3), (1, 4))}
    arms = [build_acdc(AcdcConfig(stages=2, **small, **c)) for c in ({}, {"pose_from": "none", "excitation": False})]
    for arm in arms:
        trials.start_by_name(arm, 7)
    weights = [{w.path: w.numpy() for w in arm.weights} for arm in arms]
    shared = weights[0].keys() & weights[1].keys()
    assert shared == weights[1].keys() and any(name.startswith("s1_excite") for name in weights[0])
    assert all(np.array_equal(weights[0][name], weights[1][name]) for name in shared)
    # Each layer has draws of its own, of the width that its initialiser asks for, and another seed has others.
    kernels = [v.ravel()[:4] for name, v in weights[0].items() if "kernel" in name]
    assert len({k.tobytes() for k in kernels}) == len(kernels)
    trials.start_by_name(arms[1], 8)
    assert not np.array_equal(arms[1].get_layer("s1_in_conv").kernel.numpy(), weights[1]["s1_in_conv/kernel"])


def test_a_small_start_stays_small():
    from edgeface.models.presets import build, preset

    network = build(preset("ccr_n"))
    trials.start_by_name(network, 0)
    # Maps start near zero: their layer names its initialiser.
    kernel = network.get_layer("s1_ibug68_maps").kernel.numpy()
    assert 0.5e-3 < kernel.std() < 2e-3
    other = network.get_layer("s1_pose_logits").kernel.numpy()
    assert other.std() == pytest.approx(np.sqrt(2 / sum(other.shape)), rel=0.05)


def test_work_apart_is_another_process_and_its_failure_is_told():
    assert trials.apart(os.getppid) == os.getpid()
    with pytest.raises(InputError, match="invalid literal for int"):
        trials.apart(int, "x")
    with pytest.raises(InputError, match="^width must be positive"):
        trials.apart(_refuse)
    with pytest.raises(InputError, match="Received: exit code 3"):
        trials.apart(os._exit, 3)


def test_a_killed_study_takes_its_trial_with_it(tmp_path):
    told = tmp_path / "pid"
    context = multiprocessing.get_context("spawn")
    study = context.Process(target=_study, args=(str(told),))
    study.start()
    trial = int(_within(60, lambda: told.exists() and told.read_text()))
    os.kill(study.pid, signal.SIGKILL)
    study.join()
    assert _within(20, lambda: not _runs(trial))


def _study(path: str) -> None:
    trials.apart(_tell_and_sleep, path)


def _tell_and_sleep(path: str) -> None:
    write_text(Path(path), str(os.getpid()))
    time.sleep(120)


def _runs(pid: int) -> bool:
    """Whether it lives: one that has ended and that nobody has asked for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _within(seconds: float, look):
    """What ``look()`` gives as soon as it is true, asked until then."""
    end = time.monotonic() + seconds
    while not (found := look()) and time.monotonic() < end:
        time.sleep(0.05)
    assert found
    return found


def _refuse():
    raise InputError("width must be positive. Received: 0")


def test_a_short_trial_is_warmed_up_by_a_tenth_and_named_by_its_steps():
    config = TrainConfig("acdc_n", (SourceConfig("300w"),), init="weights/acdc_n.keras", steps=3000, warmup=300)
    short = trials.trial_config(config, "acdc AC-DC, one stage", 1, 60)
    assert (short.name, short.warmup, short.epoch_steps, short.init) == ("acdc_ac_dc_one_stage_60_1", 6, 60, "")
    assert trials.trial_config(config, "x", 0, 2000).warmup == 200
    assert trials.trial_config(config, "x", 0, 1).warmup == 0


def test_a_row_takes_its_own_place_and_its_faces_lie_beside(tmp_path):
    path, runs = tmp_path / "rows.json", []

    def one(arm, seed, steps):
        runs.append(arm)
        return {"score": len(runs), "faces": {"set head|nme": np.float32([len(runs)])}}

    jobs = [{"arm": arm, "seed": 0, "steps": 5} for arm in ("a", "b")]
    trials.sweep(path, jobs, one, "here")
    trials.sweep(path, jobs, one, "here")
    assert runs == ["a", "b"]
    trials.sweep(path, jobs[:1], one, "here", again=True)
    kept = {r["arm"]: r for r in rows.stored(path)}
    assert kept["a"]["score"] == 3 and kept["b"]["score"] == 2 and "faces" not in kept["a"]
    assert {"command", "commit", "machine", "versions"} <= set(kept["a"])
    assert {k: v.tolist() for k, v in rows.stored_faces(path).items()} == {
        "a|0|5|set head|nme": [3],
        "b|0|5|set head|nme": [2],
    }


def test_tables_compare_rows_of_the_most_steps_that_all_arms_have():
    given = [{"arm": a, "steps": s} for a, s in (("x", 100), ("y", 100), ("x", 200), ("y", 200), ("x", 300))]
    assert {r["steps"] for r in rows.comparable(given, "arm")} == {200}
    assert rows.comparable([], "arm") == []


def test_a_difference_is_taken_pair_by_pair():
    rng = np.random.default_rng(0)
    faces = rng.uniform(2, 9, 300)
    base = [faces + rng.normal(0, 0.1, 300) for _ in range(3)]
    better = [b - 0.1 + rng.normal(0, 0.1, 300) for b in base]
    found = paired.difference(better, base)
    assert found.mean == pytest.approx(-0.1, abs=0.03) and found.low < found.mean < found.high < 0
    assert found.verdict == "helps" and paired.difference(base, better).verdict == "hurts"
    # One seed does not tell, nor do seeds that disagree, nor equal arms.
    assert paired.difference(better[:1], base[:1]).verdict == "not resolved"
    apart = [b + d for b, d in zip(base, (-0.3, -0.1, 0.1), strict=True)]
    assert paired.difference(apart, base).verdict == "not resolved"
    assert paired.difference(base[::-1], base).verdict == "not resolved"


def test_a_mean_of_bins_weighs_each_bin_alike_and_skips_what_is_unknown():
    base, arm = np.zeros(10), np.r_[np.zeros(8), 3.0, np.nan]
    bins = np.r_[np.zeros(8, int), 1, 1]
    found = paired.difference([arm], [base], bins)
    assert found.mean == pytest.approx(1.5) and found.faces == 9
    with pytest.raises(InputError, match="same seeds and faces"):
        paired.difference([arm], [base, base])


def test_arms_are_compared_by_their_rows_values():
    pose = np.float32([[3, 4, -5], [np.nan] * 3])
    faces = {
        "a|0|aflw2000_3d/val head|nme": np.float32([1, 4]),
        "b|0|aflw2000_3d/val head|nme": np.float32([2, 2]),
        "a|0|aflw2000_3d/val head|yaw": np.float32([-30, 80]),
        "a|0|aflw2000_3d/val head|pose": pose,
        "b|0|aflw2000_3d/val head|pose": -2 * pose,
    }

    def mean(what):
        return paired.compare(faces, ["a|0"], ["b|0"], paired.Measure("", "aflw2000_3d/val head", what))

    assert mean("nme").mean == pytest.approx(0.5) and mean("nme of bins").mean == pytest.approx(0.5)
    assert mean("pose").mean == pytest.approx(-4) and mean("yaw").mean == pytest.approx(-3)
    assert paired.compare(faces, ["a|0"], ["c|0"], paired.Measure("", "aflw2000_3d/val head", "nme")) is None
