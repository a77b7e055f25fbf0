"""The detector's file: cached by its hash, or an error that says every way to one."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgeface.errors import InputError
from edgeface.runtime import download
from edgeface.runtime.detector import FaceDetector


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("EDGEFACE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def pooch_that(retrieve) -> SimpleNamespace:
    return SimpleNamespace(
        HTTPDownloader=lambda timeout: f"{timeout} s",
        get_logger=lambda: SimpleNamespace(setLevel=lambda level: None),
        retrieve=retrieve,
    )


def says_every_way(message: str, cache: Path) -> bool:
    ways = ('pip install "edgeface[detector]"', str(cache / download.YUNET_NAME), "--detector PATH", "--full-frame")
    return all(way in message for way in ways)


def test_without_pooch_every_way_out_is_said(cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(InputError, match="must be downloaded once or be given") as caught:
        FaceDetector()
    assert says_every_way(str(caught.value), cache) and "no package 'pooch'" in str(caught.value)


@pytest.mark.parametrize("error", [ConnectionError("no route"), TimeoutError("slow"), ValueError("other hash")])
def test_without_a_network_every_way_out_is_said(cache, monkeypatch, error):
    def retrieve(*_, **__):
        raise error

    monkeypatch.setitem(sys.modules, "pooch", pooch_that(retrieve))
    with pytest.raises(InputError) as caught:
        FaceDetector()
    assert says_every_way(str(caught.value), cache) and type(error).__name__ in str(caught.value)


def test_it_is_downloaded_by_its_hash_into_the_cache(cache, monkeypatch):
    asked = []

    def retrieve(url, known_hash, fname, path, downloader):
        asked.append((url, known_hash, Path(path) / fname))

    monkeypatch.setitem(sys.modules, "pooch", pooch_that(retrieve))
    assert download.yunet_file() == cache / download.YUNET_NAME
    assert asked == [(download.YUNET_URL, f"sha256:{download.YUNET_SHA256}", cache / download.YUNET_NAME)]
    assert download.YUNET_URL.startswith("https://github.com/opencv/opencv_zoo/")


def test_what_is_cached_is_used_only_with_its_hash(cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
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
