import numpy as np
import pytest

from edgeface.datasets.load import load_set
from edgeface.errors import InputError
from tests.datasets.conftest import record


def test_packs_by_name(make_pack):
    root = make_pack([record(), record(file="b.png"), record(file="c.png", split="test")])
    assert [s.id for s in load_set("aflw", "train", root=root)] == ["a", "b"]
    assert [s.id for s in load_set("aflw", "train", limit=1, root=root)] == ["a"]
    assert len(load_set("aflw", None, limit=99, root=root)) == 3


def test_rendered_faces_need_no_files():
    train, val = load_set("synthetic", "train", limit=2), load_set("synthetic", "val", limit=2)
    assert [s.split for s in train + val] == ["train", "train", "val", "val"]
    assert len({s.id for s in train + val}) == 4
    images = [s.load() for s in train + val]
    assert all(i.dtype == np.uint8 and i.shape == images[0].shape for i in images)
    assert not any((images[0] == other).all() for other in images[1:])
    again = load_set("synthetic", "train", limit=2)
    assert (again[1].load() == images[1]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("300v", "train"), "set must be one of 300w, .*synthetic.* Received: '300v'. Did you mean '300w'"),
        (("synthetic", "validate"), "split must be one of train, val, test. Received: 'validate'"),
        (("synthetic", "train", 0), "limit must be >= 1. Received: 0"),
    ],
)
def test_unknown_names(arguments, message):
    with pytest.raises(InputError, match=message):
        load_set(*arguments)
