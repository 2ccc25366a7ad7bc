"""Names in other tools' files, matched to the images of a folder.

A tool names an image as it saw it: by a path of another machine, a URL, with a prefix of its own,
letters composed in another way. A name fits an image if one of the two paths ends in the other;
where two images fit equally well, nobody guesses.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import unquote

from p2seg.data.image_sources import sources_at
from p2seg.data.images import EXIF_ORIENTATION, SUFFIXES, check_image, opened_image
from p2seg.data.schema import storable
from p2seg.errors import UserError, shown

Parts = tuple[str, ...]

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://[^/]*/")
_DRIVE = re.compile(r"[A-Za-z]:(?=[\\/])")
_LOCAL = re.compile(r".*[?&]d=")
_UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")
_TURNED = range(5, 9)
"""EXIF orientations that lay a picture on its side."""


class Images:
    """The images below a folder, found by the names that other tools have for them.

    Args:
        folder: of the images.

    Raises:
        UserError: there is no such folder, or no image in it.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise UserError(f"no image folder at {folder}; give it with images=DIR")
        self.folder = folder
        self._root = os.path.realpath(folder)
        self.names = [each.name for each in sources_at(folder)]
        self._levels = [
            _Level(self.names, each) for each in (_composed, _folded, _stem, _folded_stem)
        ]
        self._uploads = _Level(self.names, _uploaded)

    def match(self, names: Iterable[str]) -> str:
        """The image that a tool means.

        Args:
            names: what it calls the image, the surest name first; sentences show the last one.

        Returns:
            Its path below the folder, with `/`.

        Raises:
            UserError: no image fits, or several do equally well.
        """
        names = list(names)
        for name in names:
            if "\0" in name or not storable(name):
                raise UserError(f"{shown(name)} is no file's name; write the image's")
        asked = [parts for name in names for parts in self._asked(name)]
        for level in self._levels:
            for parts in asked:
                found = level.best(parts)
                if len(found) == 1:
                    return found[0]
                if found:
                    raise UserError(
                        f"{shown(names[-1])} may be {found[0]} or {found[1]} in {self.folder}; "
                        "write its folder into the file, or take images= with one of them"
                    )
        for name in names:
            if "/upload/" in name:
                base = _UPLOADED.sub("", _parts(unquote(name))[-1])
                found = self._uploads.best((base,))
                if len(found) == 1:
                    return found[0]
        raise UserError(
            f"no image in {self.folder} fits {shown(names[-1])}; copy it there, "
            "or go on without it with data.on_error=skip"
        )

    def _asked(self, name: str) -> list[Parts]:
        """The paths that a name may mean, the likeliest first."""
        if Path(name).is_absolute():
            real = os.path.realpath(name)
            if real.startswith(self._root + os.sep) and Path(real).is_file():
                return [_parts(os.path.relpath(real, self._root))]
        forms = [name]
        local = _LOCAL.match(name)
        if local:  # Label Studio's /data/local-files/?d=sub/a.jpg
            forms = [name[local.end() :]]
        elif _SCHEME.match(name):
            path = _SCHEME.sub("", name)
            forms = [path, path.partition("?")[0], path.partition("?")[0].partition("#")[0]]
        plain = [unquote(form) for form in forms]
        address = local or name.startswith("/data/") or _SCHEME.match(name)
        forms = [*plain, *forms] if address else [*forms, *plain]
        asked = [_parts(form) for form in forms]
        asked += [
            (*parts[:-1], _UPLOADED.sub("", parts[-1]))
            for parts in asked
            if parts and _UPLOADED.match(parts[-1])
        ]
        return list(dict.fromkeys(filter(None, asked)))


class _Level:
    """Images by a form of their names, found by the last part of their paths."""

    def __init__(self, names: list[str], form: Callable[[str], str]) -> None:
        self.form = form
        self.known: dict[str, list[tuple[Parts, str]]] = {}
        for name in names:
            parts = self._formed(_parts(name))
            self.known.setdefault(parts[-1], []).append((parts, name))

    def _formed(self, parts: Parts) -> Parts:
        if self.form in (_stem, _folded_stem):  # of the file alone: folders have no endings
            other = _composed if self.form is _stem else _folded
            return (*map(other, parts[:-1]), self.form(parts[-1]))
        return tuple(map(self.form, parts))

    def best(self, parts: Parts) -> list[str]:
        """The images that fit best, at most two."""
        if self.form in (_stem, _folded_stem) and _has_ending(parts[-1]):
            return []  # another ending is another file
        wanted = self._formed(parts)
        fits = []
        for own, name in self.known.get(wanted[-1], ()):
            shared = min(len(own), len(wanted))
            if own[-shared:] == wanted[-shared:]:
                # the whole path beats any part of it
                fits.append((own == wanted, shared, name))
        if not fits:
            return []
        top = max(fits)[:2]
        return [name for *rank, name in fits if tuple(rank) == top][:2]


def _parts(name: str) -> Parts:
    """A path's parts, of Windows too, without those that lead nowhere."""
    plain = _DRIVE.sub("", name).replace("\\", "/")
    return tuple(part for part in plain.split("/") if part not in ("", ".", ".."))


def _has_ending(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122 - a name, no file


def _composed(part: str) -> str:
    """Accents joined with their letters: macOS stores them apart."""
    return unicodedata.normalize("NFC", part)


def _folded(part: str) -> str:
    return _composed(part).casefold()


def _stem(part: str) -> str:
    composed = _composed(part)
    return os.path.splitext(composed)[0] if _has_ending(composed) else composed  # noqa: PTH122


def _folded_stem(part: str) -> str:
    return _stem(part).casefold()


def _uploaded(part: str) -> str:
    """A name as Label Studio stores an upload: blanks become `_`, most signs are dropped."""
    return re.sub(r"[^-\w.]", "", _composed(part).strip().replace(" ", "_"))


def size_of(path: Path, told: tuple[int, int] | None) -> tuple[int, int]:
    """(height, width) of an image as it was annotated, by the head of its file.

    Args:
        path: the image.
        told: what the annotation says; None: as a viewer shows it, turned by its EXIF.

    Raises:
        UserError: it is no image, or of another size.
    """
    check_image(path, told)
    if told is not None:
        return told
    with opened_image(path) as image:
        try:
            turned = int(image.getexif().get(EXIF_ORIENTATION, 1)) in _TURNED
        except Exception:  # whatever Pillow comes to in a broken EXIF block, which turns nothing
            turned = False
        return (image.width, image.height) if turned else (image.height, image.width)


def check_upright(path: Path, size: tuple[int, int], what: str) -> None:
    """Refuses an image that was not annotated as other tools show it.

    Args:
        path: the image.
        size: (height, width) of its annotation.
        what: is annotated: points, masks.

    Raises:
        UserError: it is no image, of another size, or turned by its EXIF.
    """
    size_of(path, size)
    height, width = size_of(path, None)
    if (height, width) != size:
        raise UserError(
            f"image {path} is turned by its EXIF: other tools show it {width}x{height}, but its "
            f"{what} are of {size[1]}x{size[0]}; save it without EXIF, or go on without it with "
            "data.on_error=skip"
        )
