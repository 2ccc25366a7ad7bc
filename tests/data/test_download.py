"""Archives: fetched once, verified, unpacked in their folder alone. No network: file URLs."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from p2seg.data.sets.download import SBD, VOC2007, VOC2012, Archive, fetch, md5, unpack
from p2seg.errors import UserError


def tar(path: Path, member: tarfile.TarInfo, content: bytes = b"") -> Archive:
    """An archive with one member, published at a file URL."""
    with tarfile.open(path, "w:gz") as archive:
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return Archive(path.as_uri(), md5(path))


def test_fetch_and_unpack(tmp_path: Path) -> None:
    published = tar(tmp_path / "a.tgz", tarfile.TarInfo("VOCdevkit/x.txt"), b"here")
    told: list[tuple[int, int | None]] = []
    path = fetch(published, tmp_path / "new", lambda done, total: told.append((done, total)))
    assert path == tmp_path / "new" / "a.tgz"
    assert told[-1] == (path.stat().st_size, path.stat().st_size)
    unpack(path, tmp_path / "new")
    assert (tmp_path / "new" / "VOCdevkit" / "x.txt").read_bytes() == b"here"


def test_what_is_there_is_not_fetched_again(tmp_path: Path) -> None:
    published = tar(tmp_path / "a.tgz", tarfile.TarInfo("x"))
    fetch(published, tmp_path / "new")
    (tmp_path / "a.tgz").unlink()
    fetch(published, tmp_path / "new")
    (tmp_path / "new" / "a.tgz").write_bytes(b"cut short")
    with pytest.raises(UserError, match=r"the download of file://.* failed .*by hand to .*a.tgz"):
        fetch(published, tmp_path / "new")


def test_another_checksum_is_refused(tmp_path: Path) -> None:
    published = tar(tmp_path / "a.tgz", tarfile.TarInfo("x"))
    with pytest.raises(UserError, match=f"has the MD5 {published.md5}, .* 0000;"):
        fetch(Archive(published.url, "0000"), tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize("name", ["../out.txt", "/out.txt", "link"])
def test_members_do_not_leave_the_folder(tmp_path: Path, name: str) -> None:
    member = tarfile.TarInfo(name)
    if name == "link":
        member.type, member.linkname = tarfile.SYMTYPE, "../../elsewhere"
    tar(tmp_path / "a.tgz", member)
    if name == "/out.txt":  # the filter takes the slash away
        unpack(tmp_path / "a.tgz", tmp_path / "new" / "deep")
        assert (tmp_path / "new" / "deep" / "out.txt").is_file()
        return
    with pytest.raises(UserError, match="cannot be unpacked"):
        unpack(tmp_path / "a.tgz", tmp_path / "new" / "deep")
    assert not (tmp_path / "new" / "out.txt").exists()


def test_a_broken_archive_is_refused(tmp_path: Path) -> None:
    tar(tmp_path / "a.tgz", tarfile.TarInfo("x"), bytes(range(256)) * 99)
    (tmp_path / "a.tgz").write_bytes((tmp_path / "a.tgz").read_bytes()[:60])
    with pytest.raises(UserError, match="cannot be unpacked"):
        unpack(tmp_path / "a.tgz", tmp_path)


def test_the_official_archives() -> None:
    assert VOC2012.name == "VOCtrainval_11-May-2012.tar"
    assert VOC2012.md5 == "6cd6e144f989b92b3379bac3b3de84fd"
    assert VOC2007.name == "VOCtrainval_06-Nov-2007.tar"
    assert VOC2007.md5 == "c52e279531787c972589f7e41ab4ae64"
    assert SBD.name == "benchmark.tgz"
    assert SBD.md5 == "82b4d87ceb2ed10f6038a1cba92111cb"
