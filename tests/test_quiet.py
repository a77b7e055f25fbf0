"""Native code's lines on stderr."""

import os
import re

import pytest

from edgeface.quiet import held_stderr


def test_nothing_is_shown_where_all_goes_well(capfd):
    with held_stderr():
        os.write(2, b"chatter\n")
    assert capfd.readouterr().err == ""


def test_all_is_shown_where_something_fails(capfd):
    with pytest.raises(ZeroDivisionError), held_stderr():
        os.write(2, b"the reason\n")
        1 / 0  # noqa: B018
    assert capfd.readouterr().err == "the reason\n"


def test_only_what_matches_is_dropped(capfd):
    with held_stderr(drop=re.compile(rb"I0000")):
        os.write(2, b"I0000 loading\na warning\n")
    assert capfd.readouterr().err == "a warning\n"
