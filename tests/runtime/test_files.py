"""Files written whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import pytest

from p2seg.errors import UserError
from p2seg.runtime.files import (
    atomic_path,
    fingerprint,
    read_json,
    sha256,
    write_bytes,
    write_json,
    write_text,
)
from p2seg.runtime.json_streams import write_json_list, write_json_object
from p2seg.runtime.links import write_link, write_second_name


def names(folder):
    return [path.name for path in folder.iterdir()]


def test_a_file_appears_whole_in_folders_that_are_made(tmp_path):
    path = tmp_path / "a" / "b" / "c.txt"
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        assert temporary.parent == path.parent
        assert temporary.suffix == ".txt"
        temporary.write_text("whole")
    assert path.read_text() == "whole"
    assert names(path.parent) == ["c.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failing_write_leaves_the_old_file_and_no_debris(tmp_path, error):
    path = tmp_path / "c.txt"
    path.write_text("old")

    def failing():
        with atomic_path(path) as temporary:
            temporary.write_text("new, half")
            raise error

    with pytest.raises(error):
        failing()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["c.txt"]


def test_content_that_is_no_json_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    for content in (float("nan"), object(), {1, 2}):
        with pytest.raises((ValueError, TypeError)):
            write_json(path, content)
    assert read_json(path, "file") == {"a": 1}
    assert names(tmp_path) == ["a.json"]


def test_an_object_of_long_lists_has_the_same_bytes(tmp_path):
    plain = {"info": {"ä": None}, "some": [{"a": [1, 2.5]}, "ü", []], "none": [], "e": {}}
    write_json(tmp_path / "a.json", plain)
    lazy = {**plain, "some": iter(plain["some"]), "none": iter(())}
    write_json_object(tmp_path / "b.json", lazy)
    assert (tmp_path / "b.json").read_bytes() == (tmp_path / "a.json").read_bytes()
    for broken in ({"a": iter([1, float("nan")])}, {"a": (1 // k for k in (1, 0))}):
        with pytest.raises((ValueError, ZeroDivisionError)):
            write_json_object(tmp_path / "b.json", broken)
    assert read_json(tmp_path / "b.json", "file") == plain
    assert sorted(names(tmp_path)) == ["a.json", "b.json"]


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """Flushed, then renamed: after a power cut the name stands for the old or the new file."""
    order = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (order.append("fsync"), fsync(handle))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append("replace"), replace(a, b))[1])
    write_bytes(tmp_path / "a", b"x")
    assert order == ["fsync", "replace", "fsync"]  # the file, then the folder that names it


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("target", ["data/a.json", "data/none.json", "link.json"])
def test_a_link_is_replaced_and_not_the_file_behind_it(tmp_path, target):
    """Two folders of results may share files by links."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.json").write_text("somebody's")
    (tmp_path / "link.json").symlink_to(target)
    write_text(tmp_path / "link.json", "new")
    assert not (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "link.json").read_text() == "new"
    assert (tmp_path / "data" / "a.json").read_text() == "somebody's"
    assert names(tmp_path / "data") == ["a.json"]


def test_a_second_name_of_a_link_is_of_the_file_behind_it(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "last.pt").write_text("step 1")
    (tmp_path / "last.pt").symlink_to("other/last.pt")
    write_second_name(tmp_path / "earlier" / "step_1.pt", tmp_path / "last.pt")
    write_text(tmp_path / "last.pt", "step 2")
    assert (tmp_path / "earlier" / "step_1.pt").read_text() == "step 1"
    assert (tmp_path / "other" / "last.pt").read_text() == "step 1"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may")
def test_a_file_keeps_its_owner(tmp_path):
    path = tmp_path / "a"
    path.touch(mode=0o640)
    path.chmod(0o640)
    os.chown(path, 65534, 65534)
    write_text(path, "new")
    found = path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (65534, 65534, 0o640)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
def test_a_file_keeps_its_permissions_while_it_is_written_too(tmp_path, mode):
    path = tmp_path / "a"
    path.touch(mode=mode)
    path.chmod(mode)
    with atomic_path(path) as temporary:
        assert stat.S_IMODE(temporary.stat().st_mode) & ~stat.S_IWUSR == mode & ~stat.S_IWUSR
        temporary.write_text("new")
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert path.read_text() == "new"


def test_a_new_file_has_the_usual_permissions(tmp_path):
    (tmp_path / "a").touch()
    write_text(tmp_path / "b", "x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_a_second_name_shares_the_file_and_replaces_what_was_there(tmp_path, monkeypatch):
    path, target = tmp_path / "best.pt", tmp_path / "last.pt"
    target.write_text("new")
    for before in (None, "old"):
        if before:
            path.unlink()
            path.write_text(before)
        write_second_name(path, target)
        assert path.samefile(target)
    write_second_name(path, target)  # once more changes nothing
    target.unlink()
    target.write_text("newer")

    def refuse(self, target):
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    write_second_name(path, target)
    assert (path.read_text(), path.samefile(target)) == ("newer", False)
    assert sorted(names(tmp_path)) == ["best.pt", "last.pt"]


def test_two_writers_do_not_share_a_temporary_file(tmp_path):
    path = tmp_path / "a"
    with atomic_path(path) as one, atomic_path(path) as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"  # the outer block ends last


@pytest.mark.parametrize("name", ["ü € 'quoted'.json", "a" * 250, "-dash", "no ending", ".hidden"])
def test_names_of_any_kind(tmp_path, name):
    write_text(tmp_path / name, "é")
    assert (tmp_path / name).read_bytes() == "é".encode()
    assert names(tmp_path) == [name]


def test_json_keeps_letters_as_they_are(tmp_path):
    write_json(tmp_path / "a.json", {"name": "Bär"}, indent=2)
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "name": "Bär"\n}\n'


def test_a_byte_order_mark_is_no_hindrance(tmp_path):
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf[1]")
    assert read_json(tmp_path / "a.json", "file") == [1]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_other_encodings_of_unicode_are_read(tmp_path, encoding):
    (tmp_path / "a.json").write_bytes('{"a": "\u68a8"}'.encode(encoding))
    assert read_json(tmp_path / "a.json", "file") == {"a": "\u68a8"}


def test_another_encoding_is_to_be_saved_as_utf_8(tmp_path):
    (tmp_path / "a.json").write_bytes('{"a": "\u68a8"}'.encode("gb2312"))
    with pytest.raises(UserError, match=r"a\.json is not a readable points file.*save it as UTF-8"):
        read_json(tmp_path / "a.json", "points file")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"[1,]", b"[" * 100_000, b"\x00", b"{'a': 1}"]
)
def test_what_is_no_json_is_one_sentence(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(
        UserError, match=r"a\.json is not a readable points file: .*must be JSON"
    ) as e:
        read_json(path, "points file")
    assert "\n" not in str(e.value)


def test_a_missing_json_is_one_sentence(tmp_path):
    for path in (tmp_path / "a.json", tmp_path):
        with pytest.raises(UserError, match="no points file at"):
            read_json(path, "points file")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read anything")
def test_a_file_that_may_not_be_read_is_the_systems_error(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("[]")
    path.chmod(0)
    with pytest.raises(PermissionError):
        read_json(path, "file")
    path.chmod(stat.S_IRWXU)


def test_hashes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256(tmp_path / "a") == known
    (tmp_path / "large").write_bytes(b"x" * (3 << 20))
    (tmp_path / "other").write_bytes(b"x" * (3 << 20) + b"y")
    assert sha256(tmp_path / "large") != sha256(tmp_path / "other")


def test_fingerprints_know_content_and_not_the_order_of_keys():
    one = fingerprint({"a": 1, "b": [1, 2]})
    assert one == fingerprint(json.loads('{"b": [1, 2], "a": 1}'))
    assert one != fingerprint({"a": 1, "b": [2, 1]})
    assert fingerprint(1) != fingerprint("1")
    assert fingerprint(None) != fingerprint("None")


def test_a_json_list_is_written_item_by_item(tmp_path):
    for items in ([], [1], [{"a": "é"}, [2.5], None]):
        write_json_list(tmp_path / "b/a.json", iter(items))
        assert json.loads((tmp_path / "b/a.json").read_text(encoding="utf-8")) == items


def test_a_json_list_whose_items_fail_leaves_the_old_one(tmp_path):
    write_json_list(tmp_path / "a.json", [1])

    def items():
        yield 2
        raise KeyError

    with pytest.raises(KeyError):
        write_json_list(tmp_path / "a.json", items())
    assert json.loads((tmp_path / "a.json").read_text()) == [1]
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_link_is_made_anew_or_is_a_copy(tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
        write_link(tmp_path / "links/l.txt", tmp_path / name)
        assert (tmp_path / "links/l.txt").samefile(tmp_path / name)
    write_link(tmp_path / "b", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "b"

    def refuse(*_, **__):
        raise OSError("no links here")

    monkeypatch.setattr("pathlib.Path.symlink_to", refuse)
    write_link(tmp_path / "links/l.txt", tmp_path / "a")
    assert not (tmp_path / "links/l.txt").is_symlink()
    assert (tmp_path / "links/l.txt").read_text() == "a"
    assert [path.name for path in (tmp_path / "links").iterdir()] == ["l.txt"]
