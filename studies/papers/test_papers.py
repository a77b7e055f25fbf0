"""The measures of the short training runs on values whose answer is known, and the papers' arms."""

import numpy as np
import pytest

from edgeface.errors import InputError
from studies import rows, scoring, trials
from studies.papers import study as papers
from studies.papers import tables as papers_tables


def test_arg_max_is_the_centre_of_the_highest_cell():
    maps = np.zeros((2, 4, 8, 3), np.float32)
    maps[0, 1, 6, 0] = maps[1, 3, 0, 2] = 1
    points = scoring.arg_max(maps)
    assert points.shape == (2, 3, 2)
    assert points[0, 0].tolist() == [6.5 / 8, 1.5 / 4]
    assert points[1, 2].tolist() == [0.5 / 8, 3.5 / 4]


def test_arg_max_leans_to_the_higher_neighbour_and_not_over_the_border():
    maps = np.zeros((1, 4, 8, 2), np.float32)
    maps[0, 1, 5, 0] = maps[0, 0, 7, 1] = 1
    maps[0, 1, 6, 0] = maps[0, 0, 5, 0] = maps[0, 1, 7, 1] = maps[0, 0, 6, 1] = 0.5
    points = scoring.arg_max(maps, scoring.QUARTER)
    assert points[0, 0].tolist() == [5.75 / 8, 1.25 / 4]
    # In the corner neither axis has two neighbours.
    assert points[0, 1].tolist() == [7.5 / 8, 0.5 / 4]


def test_a_gaussian_map_is_read_better_with_the_offset_and_the_floor_is_reached():
    rng = np.random.default_rng(0)
    points = rng.uniform(0.2, 0.8, (20, 5, 2))
    x, y = np.meshgrid(np.arange(16), np.arange(16))
    cells = points * 16 - 0.5
    gap = (x[None, :, :, None] - cells[:, None, None, :, 0]) ** 2 + (
        y[None, :, :, None] - cells[:, None, None, :, 1]
    ) ** 2
    maps = np.exp(-gap / 2)
    for offset in (0.0, scoring.QUARTER):
        np.testing.assert_allclose(scoring.arg_max(maps, offset), scoring.rounded(points, (16, 16), offset))
    errors = [np.abs(scoring.arg_max(maps, offset) - points).mean() for offset in (0.0, scoring.QUARTER)]
    assert errors[1] == pytest.approx(errors[0] / 2, rel=0.15)


def test_confidence_sees_visible_points_alone_and_tells_order_from_noise():
    rng = np.random.default_rng(1)
    error = rng.uniform(0.01, 0.1, (40, 5))
    visible = rng.random((40, 5)) < 0.8
    visible[:, 0] = True
    nme = np.where(visible, error, 0).sum(axis=1) / visible.sum(axis=1)
    spread = np.where(visible, error / 2, 9.0)
    young = np.arange(40) < 20
    sure = scoring.confidence(spread, error, visible, nme, {"0-30": young})
    assert sure["rank_correlation"] == sure["by_yaw"]["0-30"] == pytest.approx(1)
    assert sure["points"] == visible.sum() == sum(b[2] for b in sure["bins"]) and len(sure["bins"]) == 10
    assert all(b[1] == pytest.approx(2 * b[0]) for b in sure["bins"])
    # The widest faces are the worst: as good as the oracle.
    assert sure["kept_nme"] == pytest.approx(sure["kept_nme_oracle"]) and sure["kept_nme"] < nme.mean()
    backwards = scoring.confidence(1 - spread, error, visible, nme, {})
    assert backwards["rank_correlation"] == pytest.approx(-1) and backwards["kept_nme"] > nme.mean()


def test_signed_means_keep_both_sides_apart():
    truth, errors = np.array([[40.0, 0, 0], [-40.0, 0, 0]]), np.array([[-5.0, 2, np.nan], [5.0, 4, np.nan]])
    assert scoring.signed_means(errors, truth) == {"yaw": 0.0, "pitch": 3.0, "roll": None, "yaw_outwards": -5.0}


def configs(experiment):
    from dataclasses import asdict

    from edgeface.models.presets import config_from_dict
    from edgeface.training.config_file import load_config
    from edgeface.training.train import network_config_of

    config = load_config(trials.CONFIGS / f"papers_{experiment}.toml")
    base = asdict(network_config_of(config))
    return {arm: config_from_dict(experiment, base | changes) for arm, changes in papers.ARMS[experiment].items()}


def test_every_arm_is_a_network_that_builds_or_a_loss_and_no_two_are_the_same():
    from edgeface.models.presets import build
    from edgeface.training.losses import loss_for

    for experiment in papers.ARMS:
        arms = configs(experiment)
        assert len({(network, str(papers.LOSSES.get(arm))) for arm, network in arms.items()}) == len(arms)
        for arm in papers.LOSSES.keys() & arms.keys():
            assert loss_for(build(arms[arm]), papers.LOSSES[arm]) != loss_for(build(arms[arm]))
    assert papers.LOSSES.keys() <= {arm for arms in papers.ARMS.values() for arm in arms}


def test_acdc_is_trained_by_the_papers_mechanism_and_the_edge_arm_by_its_presets():
    from edgeface.models.presets import preset

    arms, edge = configs("acdc"), preset("acdc_n")
    for name in papers.EDGE:
        assert getattr(arms["AC-DC, edge"], name) == getattr(edge, name) != getattr(arms["AC-DC"], name)
    width = arms["AC-DC"].widths[0]
    two, three = arms["AC-DC"].stream_slices
    assert two[0] == 0 and three[1] == width and two[1] - two[0] == three[1] - three[0] == 3 * width // 4


def test_the_tables_claims_are_about_arms_that_there_are():
    for experiment, claims in papers_tables.CLAIMS.items():
        assert {arm for claim in claims for arm in claim[1:]} <= set(papers.ARMS[experiment])
        keys = {f"{name}/{split} {head}" for name, split, head in papers.SCORED[experiment]}
        assert {m.key for m in papers_tables.MEASURES[experiment]} <= keys


def test_tables_are_drawn_from_rows_and_faces(tmp_path, monkeypatch):
    path = tmp_path / "papers.json"
    monkeypatch.setattr(papers_tables, "OUT", path)
    assert papers_tables.claims() == papers_tables.acdc() == papers_tables.stages() == papers_tables.NOT_YET
    rng = np.random.default_rng(0)
    yaw = rng.uniform(-90, 90, 60)
    sure = {"points": 60, "rank_correlation": 0.5, "rank_correlation_of_faces": 0.4, "by_yaw": {"0-30": 0.25}}
    sure |= {"bins": [[0.01, 0.02, 6]] * 10, "kept_nme": 3.0, "kept_nme_oracle": 2.5}
    for seed in (0, 1, 2):
        base = rng.uniform(3, 9, 60)
        for arm, better in (("AC", 0.0), ("AC+Pose", 0.2)):
            nme = base - better + rng.normal(0, 0.05, 60)
            at = {"nme": float(nme.mean()), "mean_of_bins": 5.0, "confidence": sure}
            at["pose"] = {"mean": None, "yaw": None} if arm == "AC" else {"mean": 4.0, "yaw": 3.0}
            stages = [{papers_tables.W300: at, papers_tables.POSES_3D: at}]
            faces = {f"{key}|nme": nme for key in stages[0]} | {f"{papers_tables.POSES_3D}|yaw": yaw}
            if arm != "AC":
                faces[f"{papers_tables.POSES_3D}|pose"] = rng.normal(0, 3, (60, 3))
            row = {"experiment": "acdc", "arm": arm, "seed": seed, "steps": 20, "parameters": 1234, "macs": 5_600_000}
            rows.keep(path, row | {"stages": stages, "faces": faces}, papers_tables.SAME, "here")
    first, second = papers_tables.acdc().splitlines()[2:]
    assert first.startswith("| AC | 3 | 20 | 1,234 | 5.6 | ") and first.endswith(" | - | - |")
    assert second.endswith(" | 4.00 ± 0.00 | 3.00 ± 0.00 |")
    # AC has no pose: NME alone is compared, and nothing with arms that are not there.
    lines = papers_tables.claims().splitlines()[2:]
    assert [line.split(" | ")[2] for line in lines] == [m.name for m in papers_tables.MEASURES["acdc"][:2]]
    assert all("AC+Pose − AC" in line and line.endswith("| helps |") for line in lines)
    monkeypatch.setattr(papers_tables, "SHOWN", {"acdc": ("AC+Pose",)})
    assert papers_tables.stages().splitlines()[2].startswith("| AC+Pose | 1 | 3 | ")
    assert "0-30: 0.25 | 0.40 ± 0.00" in papers_tables.confidence() and "3.00 | 2.50 |" in papers_tables.confidence()
    assert papers_tables.calibration().count("1.00 / 2.00") == 20


def test_an_unknown_experiment_is_refused():
    with pytest.raises(InputError, match="must be among acdc, ccr. Received: hourglass"):
        papers.main(["hourglass"])


def test_a_constant_spread_ranks_nothing_and_equal_ones_share_their_rank():
    assert scoring.rank_correlation(np.ones(5), np.arange(5.0)) is None
    # Ranks 2.5, 1, 2.5, 4 against 1, 2, 3, 4: a covariance of 3 over sqrt(4.5 * 5).
    assert scoring.rank_correlation(np.array([2.0, 1, 2, 3]), np.arange(4.0)) == pytest.approx(0.632, abs=1e-3)
