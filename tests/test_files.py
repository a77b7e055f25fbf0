import errno
import os
import stat

import pytest

from edgeface.errors import InputError
from edgeface.files import (
    atomic_write,
    check_outputs,
    files_of,
    read_json,
    remove_partial,
    write_bytes,
    write_json,
    write_text,
)


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_writes_whole_files_and_makes_folders(tmp_path):
    write_text(tmp_path / "new" / "a.txt", "grüß")
    assert (tmp_path / "new" / "a.txt").read_bytes() == "grüß".encode()
    assert names(tmp_path / "new") == ["a.txt"]


def test_files_get_the_usual_rights(tmp_path):
    old = os.umask(0o022)
    try:
        write_bytes(tmp_path / "a", b"x")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644


def test_the_temporary_file_keeps_folder_and_suffix(tmp_path):
    with atomic_write(tmp_path / "a.npz") as aside:
        assert aside.parent == tmp_path and aside.suffix == ".npz" and not (tmp_path / "a.npz").exists()


def test_a_failure_keeps_the_old_file_and_leaves_nothing(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="stop"), atomic_write(path) as aside:
        aside.write_text("half")
        raise RuntimeError("stop")
    assert path.read_text() == "old" and names(tmp_path) == ["a.txt"]


def test_a_kill_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as aside:
        aside.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and names(tmp_path) == ["a.txt"]


def test_a_link_stays_and_its_file_is_replaced(tmp_path):
    (tmp_path / "data").mkdir()
    link = tmp_path / "link.txt"
    link.symlink_to(tmp_path / "data" / "file.txt")
    for text in ("new", "newer"):
        write_text(link, text)
        assert link.is_symlink() and (tmp_path / "data" / "file.txt").read_text() == text
    assert names(tmp_path / "data") == ["file.txt"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are a POSIX matter")
def test_what_is_no_file_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path / "link"):
        with pytest.raises(InputError, match=r"must be a file\. Received: a device, a pipe or a socket"):
            write_text(path, "x")
    assert (tmp_path / "pipe").is_fifo() and names(tmp_path) == ["link", "pipe"]


def test_a_full_disk_names_the_final_file(tmp_path, monkeypatch):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"a\.bin must be writable\. Received: No space left"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old" and names(tmp_path) == ["a.bin"]


def test_a_file_in_the_way_of_the_folder(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(InputError, match="must be writable"):
        write_text(tmp_path / "a" / "b.txt", "x")


def test_json_round_trip(tmp_path):
    write_json(tmp_path / "a.json", {"n": [1, 2.5, None]})
    assert read_json(tmp_path / "a.json") == {"n": [1, 2.5, None]}


def test_json_refuses_nan_and_leaves_nothing(tmp_path):
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"score": float("nan")})
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"", "must be a JSON file"),
        (b'{"a": ', "must be a JSON file"),
        (b"\xff\xfe", "JSON file"),
        (b"[" * 100_000, "nested too deeply"),
        (b"9" * 5000, "must be a JSON file"),
    ],
)
def test_unreadable_json(tmp_path, content, message):
    if content is not None:
        (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_json(tmp_path / "a.json")


def test_a_byte_order_mark_is_no_part_of_json(tmp_path):
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"name": "gr\xc3\xbc\xc3\x9f"}')
    assert read_json(tmp_path / "a.json") == {"name": "grüß"}


def test_a_folder_is_not_json(tmp_path):
    with pytest.raises(InputError, match="must be a JSON file"):
        read_json(tmp_path)


def test_no_output_may_be_an_input_or_another_output(tmp_path):
    read, link, hard = (tmp_path / name for name in ("read.png", "link.png", "hard.png"))
    read.write_bytes(b"x")
    link.symlink_to(read)
    os.link(read, hard)
    for path in (read, str(read), link, hard, tmp_path / "no" / ".." / "read.png"):
        with pytest.raises(InputError, match=r"--csv must not replace a file that is read\. Received: "):
            check_outputs({"--out": None, "--csv": path}, [read])
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(InputError, match="--csv must not replace a file that is read"):
        check_outputs({"--csv": loop}, [loop])
    with pytest.raises(InputError, match="--csv must be another file than --out"):
        check_outputs({"--out": [tmp_path / "a", tmp_path / "b"], "--csv": tmp_path / "b"}, [])
    with pytest.raises(InputError, match="--out must be another file than --out"):
        check_outputs({"--out": [tmp_path / "a", tmp_path / "a"]}, [])
    check_outputs({"--out": tmp_path / "new", "--csv": tmp_path / "other", "--json": None}, [read, tmp_path / "none"])


def test_no_file_of_a_folder_that_is_read_may_be_replaced(tmp_path):
    inside = tmp_path / "set" / "images" / "a.png"
    inside.parent.mkdir(parents=True)
    inside.write_bytes(b"x")
    with pytest.raises(InputError, match="--out must not replace a file that is read"):
        check_outputs({"--out": inside}, [tmp_path / "set"])
    check_outputs({"--out": inside.with_name("new.png")}, [tmp_path / "set"])
    check_outputs({"--out": inside}, [tmp_path / "set" / "other"])


def test_what_a_kill_has_left_is_not_listed_and_is_removed(tmp_path):
    names_of = ("a.tflite", "a_b.tflite", "a.json", ".note.tflite")
    for name in names_of:
        (tmp_path / name).write_bytes(b"x")
    killed = atomic_write(tmp_path / "a.tflite")
    aside = killed.__enter__()
    assert [path.name for path in files_of(tmp_path, ".tflite")] == ["a.tflite", "a_b.tflite"]
    assert files_of(tmp_path / "none", ".tflite") == []
    remove_partial(tmp_path / "a_b.tflite")
    assert aside.is_file()
    remove_partial(tmp_path / "a.tflite")
    remove_partial(tmp_path / "none" / "a.tflite")
    assert names(tmp_path) == sorted(names_of)
