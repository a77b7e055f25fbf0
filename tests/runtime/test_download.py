"""The detector's file: cached by its hash, or an error that says every way to one."""

from __future__ import annotations

import hashlib
import sys
from http.client import HTTPException
from pathlib import Path

import pytest

from edgeface.errors import InputError
from edgeface.runtime import download
from edgeface.runtime.detector import FaceDetector


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("EDGEFACE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Answer:
    """What `urlopen` gives: the data in parts."""

    def __init__(self, parts) -> None:
        self.parts = iter(parts)

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        pass

    def read1(self, size: int) -> bytes:
        return next(self.parts, b"")


def says_every_way(message: str, cache: Path) -> bool:
    ways = ("edgeface zoo fetch detector", str(cache / download.YUNET_NAME), "--detector PATH", "--full-frame")
    return all(way in message for way in ways)


@pytest.mark.parametrize("error", [ConnectionError("no route"), TimeoutError("slow"), HTTPException("half")])
def test_without_a_network_every_way_out_is_said(cache, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(download, "urlopen", fail)
    with pytest.raises(InputError, match="must be downloaded once or be given") as caught:
        FaceDetector()
    assert says_every_way(str(caught.value), cache) and type(error).__name__ in str(caught.value)
    assert not cache.exists()


def test_it_is_downloaded_once_by_its_hash_and_says_so(cache, monkeypatch, capsys):
    asked = []

    def give(url, timeout):
        asked.append(url)
        return Answer([b"who", b"le"])

    monkeypatch.setattr(download, "urlopen", give)
    monkeypatch.setattr(download, "YUNET_SHA256", hashlib.sha256(b"whole").hexdigest())
    assert download.yunet_file().read_bytes() == b"whole"
    assert capsys.readouterr().err.count("\n") == 1
    assert download.yunet_file() == cache / download.YUNET_NAME
    assert asked == [download.YUNET_URL] and asked[0].startswith("https://github.com/opencv/opencv_zoo/")


@pytest.mark.parametrize(
    ("parts", "reason"),
    [([b"other"], "another file than the detector"), ([b"x" * 600_000] * 2, "ValueError")],
)
def test_another_file_is_not_kept(cache, monkeypatch, parts, reason):
    monkeypatch.setattr(download, "urlopen", lambda url, timeout: Answer(parts))
    with pytest.raises(InputError, match=reason):
        download.yunet_file()
    assert not cache.exists()


def test_a_download_that_crawls_ends(cache, monkeypatch):
    clock = iter(range(0, 10_000, 7))
    monkeypatch.setattr(download.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(download, "urlopen", lambda url, timeout: Answer([b"x"] * 1000))
    with pytest.raises(InputError, match="TimeoutError"):
        download.yunet_file()


def test_what_is_cached_is_used_only_with_its_hash(cache, monkeypatch):
    def fail(*_, **__):
        raise ConnectionError

    monkeypatch.setattr(download, "urlopen", fail)
    cache.mkdir()
    (cache / download.YUNET_NAME).write_bytes(b"whole")
    with pytest.raises(InputError):
        download.yunet_file()
    monkeypatch.setattr(download, "YUNET_SHA256", hashlib.sha256(b"whole").hexdigest())
    assert download.yunet_file() == cache / download.YUNET_NAME


@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
def test_every_system_has_its_place(monkeypatch, system):
    monkeypatch.delenv("EDGEFACE_CACHE", raising=False)
    monkeypatch.setattr(sys, "platform", system)
    assert "edgeface" in download.cache_folder().parts


@pytest.mark.parametrize(("argument", "rule"), [({"threshold": 0}, "between 0 and 1"), ({"longest": 5}, "at least 32")])
def test_settings_are_checked(argument, rule):
    with pytest.raises(InputError, match=rule):
        FaceDetector("any.onnx", **argument)
