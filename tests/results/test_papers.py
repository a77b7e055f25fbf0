"""The measures of the short training runs on values whose answer is known, and the papers' arms."""

import numpy as np
import pytest

from edgeface.errors import InputError
from results import papers, trials


def test_arg_max_is_the_centre_of_the_highest_cell():
    maps = np.zeros((2, 4, 8, 3), np.float32)
    maps[0, 1, 6, 0] = maps[1, 3, 0, 2] = 1
    points = trials.arg_max(maps)
    assert points.shape == (2, 3, 2)
    assert points[0, 0].tolist() == [6.5 / 8, 1.5 / 4]
    assert points[1, 2].tolist() == [0.5 / 8, 3.5 / 4]


def test_ranking_tells_order_from_noise():
    nme = np.array([3.0, 1.0, 2.0, 5.0, 4.0])
    perfect, backwards = trials.ranking(nme**2, nme), trials.ranking(-nme, nme)
    assert perfect["rank_correlation"] == pytest.approx(1) and backwards["rank_correlation"] == pytest.approx(-1)
    assert [g[1] for g in perfect["groups"]] == [1, 2, 3, 4, 5]
    # Without the fifth of widest spread the worst face is gone.
    assert perfect["kept_nme"]["0.8"] == pytest.approx(2.5) and backwards["kept_nme"]["0.8"] == pytest.approx(3.5)


def test_equal_spreads_share_their_rank():
    assert trials._ranks(np.array([2.0, 1.0, 2.0, 3.0])).tolist() == [2.5, 1.0, 2.5, 4.0]


def test_every_arm_is_a_network_that_builds_and_differs():
    from dataclasses import asdict

    from edgeface.models.presets import config_from_dict
    from edgeface.training.config import load_config
    from edgeface.training.train import network_config_of

    for experiment, arms in papers.ARMS.items():
        config = load_config(trials.CONFIGS / f"papers_{experiment}.toml")
        base = network_config_of(config)
        made = {config_from_dict(experiment, asdict(base) | changes) for changes in arms.values()}
        assert len(made) == len(arms) and base in made


def test_an_unknown_experiment_is_refused():
    with pytest.raises(InputError, match="must be among acdc, ccr. Received: hourglass"):
        papers.main(["hourglass"])
