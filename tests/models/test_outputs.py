import pytest

from edgeface.errors import InputError
from edgeface.models.outputs import StageOutputs, split_stage, stage_name
from edgeface.models.presets import build


def test_names_are_read_as_they_are_written():
    for network in (build("acdc_n"), build("ccr_n")):
        names = StageOutputs.of(network)
        stages = range(1, names.stages + 1)
        parts = [names.landmarks, names.spread, *([names.maps] if names.has_bins else [])]
        expected = {part(stage, markup) for part in parts for stage in stages for markup in names.markups}
        expected |= {
            part(stage) for part in [names.pose, *([names.bins] if names.has_bins else [])] for stage in stages
        }
        assert set(names.names) == expected == set(network.output)
        assert {name for stage in stages for name in names.of_stage(stage)} == expected
        assert names.has_pose and bool(names.with_maps) == names.has_bins


def test_markups_come_in_the_models_order_and_may_have_an_underscore():
    names = StageOutputs.of(["s1_ibug68_3d", "s1_ibug68", "s1_ibug68_spread", "s1_pose", "s12_ibug68", "s2_mtfl5"])
    assert (names.stages, names.markups) == (12, ("ibug68_3d", "ibug68", "mtfl5"))
    assert not names.has_pose and not names.has_bins and names.with_maps == ()
    assert StageOutputs.of(["s1_ibug68", "s1_pose"]).deployed(1, "ibug68") == {
        "landmarks": "s1_ibug68",
        "pose": "s1_pose",
    }


@pytest.mark.parametrize("other", (["landmarks"], ["s1_pose", "s1_bins"], [], ["s0_ibug68"]))
def test_outputs_of_another_model_are_refused(other):
    with pytest.raises(InputError, match="s1_<markup>"):
        StageOutputs.of(other)


def test_kinds_and_stages():
    kinds = {"landmarks": "s1_ibug68_3d", "spread": "s1_ibug68_spread", "maps": "s2_aflw21_maps"}
    kinds |= {"pose": "s1_pose", "bins": "s1_bins"}
    assert {StageOutputs.kind(name): name for name in kinds.values()} == kinds
    assert split_stage(stage_name(3, "enc1a")) == (3, "enc1a")
    assert [split_stage(name) for name in ("stem_1", "gtn_pose", "s1", "s_1")] == [None] * 4
