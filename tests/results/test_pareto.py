"""The candidates of results/pareto.py and the mixtures of results/sources.py are what their names say."""

from dataclasses import asdict

import pytest

from edgeface.errors import InputError
from edgeface.models.presets import config_from_dict, preset
from edgeface.training.config import load_config
from results import pareto, sources
from results.trials import CONFIGS


def test_every_candidate_is_a_config_of_its_own():
    made = {config_from_dict("acdc", asdict(preset(base)) | changes) for base, changes in pareto.CANDIDATES.values()}
    assert len(made) == len(pareto.CANDIDATES)


def test_a_mixture_holds_what_it_is_named_for():
    all_sources = load_config(CONFIGS / "acdc_n_300w.toml").sources
    kept = {arm: sources.mixture(all_sources, arm) for arm in sources.ARMS}
    assert not any(s.set == "synthetic" or s.turned or s.fit_3d for s in kept["photographs"])
    assert any(s.set == "synthetic" and s.pose for s in kept["rendered"])
    assert any(s.fit_3d for s in kept["rendered, fitted"]) and not any(s.turned for s in kept["rendered, fitted"])
    assert kept["rendered, fitted, turned"] == all_sources
    assert {s.set for s in kept["fitted, turned"]} == {s.set for s in kept["photographs"]}


def test_an_unknown_candidate_is_refused():
    with pytest.raises(InputError, match="Received: xl"):
        pareto.main(["xl"])
