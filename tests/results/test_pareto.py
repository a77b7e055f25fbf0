"""The candidates of studies/pareto/study.py and the mixtures of studies/training_sets/study.py are what their names say."""

from dataclasses import replace

import pytest

from edgeface.datasets.profile_views.views import NOD_DEG, YAW_DEG
from edgeface.errors import InputError
from edgeface.files import write_json
from edgeface.training.config import load_config
from studies import tables as studies
from studies.pareto import study as pareto
from studies.training_sets import study as sources
from studies.trials import CONFIGS


def test_every_candidate_is_a_config_of_its_own():
    made = {pareto.config_of(name) for name in pareto.CANDIDATES}
    assert len(made) == len(pareto.CANDIDATES)
    assert len(pareto.config_of("s, maps of 32 x 32, width 48").stem) == 1
    assert set(pareto.PRICED_ALONE) < set(pareto.CANDIDATES)


def test_packed_pictures_are_as_large_as_every_candidates_input_needs():
    config = load_config(CONFIGS / "acdc_s_300w.toml")
    side = max(pareto.config_of(name).side for name in pareto.CANDIDATES)
    assert config.pack_size >= side * config.pack_scale / config.augment.crop_scale


def test_prices_of_two_candidates_come_from_one_run(tmp_path, monkeypatch):
    shapes = {"side": 32, "stem": (8,), "patch": False, "widths": (8,), "markups_2d": ("mtfl5",)}
    small = {
        "wide": ("acdc_n", shapes | {"stages": 2}),
        "bare": ("acdc_n", shapes | pareto.CANDIDATES["s, no pose"][1]),
    }
    monkeypatch.setattr(pareto, "CANDIDATES", small)
    monkeypatch.setattr("edgeface.convert.convert_all.SYNTHETIC_CROPS", 4)
    rows = {row["candidate"]: row for row in pareto.price(tuple(small), rounds=2)}
    assert rows["wide"]["parameters"] > rows["bare"]["parameters"] and rows["wide"]["macs"] > rows["bare"]["macs"]
    for row in rows.values():
        assert row["int8_bytes"] > 0 and row["int8_ms"] > 0 and row["int8_cpu_ms"] > 0 and row["times_faster"] > 0
    # The table holds what is priced and not trained, and the other way round.
    write_json(tmp_path / "pareto_prices.json", {"rows": [rows["wide"]]})
    poses = {"mean_of_bins": 4.25, "pose": {"mean": None}}
    scores = {"aflw2000_3d/val ibug68_3d": poses, "300w/test ibug68": {"nme": 3.5}}
    write_json(tmp_path / "pareto.json", {"rows": [{"candidate": "bare", "steps": 1500, "stages": [scores]}]})
    monkeypatch.setattr(studies, "HERE", tmp_path)
    wide, bare = studies.pareto().splitlines()[2:]
    assert wide.startswith("| wide |") and wide.endswith("| - | - | - | - |")
    assert bare.endswith("| 1 × 1,500 | 4.25 | - | 3.50 |") and bare.startswith("| bare | - |")


def test_mixtures_differ_by_what_they_are_named_for():
    all_sources = load_config(CONFIGS / "acdc_n_300w.toml").sources
    kept = {arm: sources.mixture(all_sources, arm) for arm in sources.ARMS}
    photographs = kept["photographs"]
    assert not any(s.set == "synthetic" or s.turned for s in photographs) and not sources.trains_3d(photographs)
    # The fitted head's pose, without its 3D points.
    assert any(s.fit_3d and s.markups == ("ibug68",) for s in photographs)
    rendered = [s for s in kept["photographs, rendered"] if s not in photographs]
    assert len(rendered) == 1 and not rendered[0].pose and "ibug68_3d" not in rendered[0].markups
    fitted = kept["photographs, rendered, fitted"]
    assert sources.trains_3d(fitted) and rendered[0] in fitted and not any(s.turned for s in fitted)
    turned = [s for s in kept["photographs, rendered, fitted, turned"] if s not in fitted]
    assert len(turned) == 2 and all(s.turned and (s.turned_yaw, s.turned_nod) == (YAW_DEG, NOD_DEG) for s in turned)
    nodded = kept["photographs, rendered, fitted, turned, nodded"]
    assert any(s.turned_yaw[0] == 0 for s in nodded) and all(s.turned_nod > NOD_DEG for s in nodded if s.turned)
    assert [replace(s, evenness=0.0) for s in all_sources] == list(nodded) != list(all_sources)
    assert kept["photographs, rendered, fitted, turned, nodded, rare"] == all_sources
    assert [s for s in all_sources if s.set != "synthetic"] == list(kept["photographs, fitted, turned, nodded, rare"])
    own = [s for s in kept[sources.OWN] if s not in photographs]
    assert len(own) == 1 and own[0].pose and not own[0].markups and sources.trains_3d(kept[sources.OWN])
    # The poses of the photographs are the same ones everywhere.
    posed = [[(s.set, s.weight) for s in part if s.fit_3d] for part in kept.values()]
    assert all(part == posed[0] for part in posed)


def test_an_unknown_candidate_is_refused():
    with pytest.raises(InputError, match="Received: xl"):
        pareto.main(["xl"])
    with pytest.raises(InputError, match="all are timed together"):
        pareto.main(["s", "--price"])
