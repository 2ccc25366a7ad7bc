"""Matching of image names in the files of other tools to the images of a folder.

The name can be a path of another machine, a URL, prefixed, or in another Unicode normal form. A
name matches an image if one of the two paths ends in the other. An ambiguous name is an error.
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
"""EXIF orientations that swap width and height."""


class Images:
    """The images below a folder, searchable by the names of other tools.

    Raises:
        UserError: the folder does not exist, or has no image.
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
        """The image with one of the names, as its path below the folder, with `/`.

        Args:
            names: candidate names, most reliable first. Messages show the last one.

        Raises:
            UserError: no image matches, or several match equally well.
        """
        names = list(names)
        for name in names:
            if "\0" in name or not storable(name):
                raise UserError(f"{shown(name)} is not a file name; use the name of the image")
        candidates = [parts for name in names for parts in self._candidates(name)]
        for level in self._levels:
            for parts in candidates:
                matches = level.best(parts)
                if len(matches) == 1:
                    return matches[0]
                if matches:
                    raise UserError(
                        f"{shown(names[-1])} may be {matches[0]} or {matches[1]} in {self.folder}; "
                        "add the image's folder to its name in the file, or give images= a folder "
                        "with only one of them"
                    )
        for name in names:
            if "/upload/" in name:
                base = _UPLOADED.sub("", _parts(unquote(name))[-1])
                matches = self._uploads.best((base,))
                if len(matches) == 1:
                    return matches[0]
        raise UserError(
            f"no image in {self.folder} matches {shown(names[-1])}; copy it there, "
            "or skip it with data.on_error=skip"
        )

    def _candidates(self, name: str) -> list[Parts]:
        """The paths that a name can stand for, most likely first."""
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
        candidates = [_parts(form) for form in forms]
        candidates += [
            (*parts[:-1], _UPLOADED.sub("", parts[-1]))
            for parts in candidates
            if parts and _UPLOADED.match(parts[-1])
        ]
        return list(dict.fromkeys(filter(None, candidates)))


class _Level:
    """An index of the images by the normalized last part of their paths."""

    def __init__(self, names: list[str], form: Callable[[str], str]) -> None:
        self.form = form
        self.known: dict[str, list[tuple[Parts, str]]] = {}
        for name in names:
            parts = self._formed(_parts(name))
            self.known.setdefault(parts[-1], []).append((parts, name))

    def _formed(self, parts: Parts) -> Parts:
        if self.form in (_stem, _folded_stem):  # folders have no suffix
            other = _composed if self.form is _stem else _folded
            return (*map(other, parts[:-1]), self.form(parts[-1]))
        return tuple(map(self.form, parts))

    def best(self, parts: Parts) -> list[str]:
        """The best matching images, at most two."""
        if self.form in (_stem, _folded_stem) and _has_suffix(parts[-1]):
            return []  # another suffix is another file
        wanted = self._formed(parts)
        matches = []
        for own, name in self.known.get(wanted[-1], ()):
            shared = min(len(own), len(wanted))
            if own[-shared:] == wanted[-shared:]:
                # A match of the whole path ranks above every partial match.
                matches.append((own == wanted, shared, name))
        if not matches:
            return []
        top = max(matches)[:2]
        return [name for *rank, name in matches if tuple(rank) == top][:2]


def _parts(name: str) -> Parts:
    """The parts of a POSIX or Windows path without drive, `.` and `..`."""
    plain = _DRIVE.sub("", name).replace("\\", "/")
    return tuple(part for part in plain.split("/") if part not in ("", ".", ".."))


def _has_suffix(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122 - a name, no file


def _composed(part: str) -> str:
    """The name with composed accents. macOS stores them decomposed."""
    return unicodedata.normalize("NFC", part)


def _folded(part: str) -> str:
    return _composed(part).casefold()


def _stem(part: str) -> str:
    composed = _composed(part)
    return os.path.splitext(composed)[0] if _has_suffix(composed) else composed  # noqa: PTH122


def _folded_stem(part: str) -> str:
    return _stem(part).casefold()


def _uploaded(part: str) -> str:
    """The name that Label Studio gives an upload: `_` for spaces, without most punctuation."""
    return re.sub(r"[^-\w.]", "", _composed(part).strip().replace(" ", "_"))


def size_of(path: Path, annotated: tuple[int, int] | None) -> tuple[int, int]:
    """(height, width) of an image as it was annotated, read from the file's header.

    Args:
        path: the image.
        annotated: size in the annotation file; None: as a viewer shows it, rotated by its EXIF.

    Raises:
        UserError: the file is not an image, or has a different size.
    """
    check_image(path, annotated)
    if annotated is not None:
        return annotated
    with opened_image(path) as image:
        try:
            turned = int(image.getexif().get(EXIF_ORIENTATION, 1)) in _TURNED
        except Exception:  # Pillow raises many types for broken EXIF, which rotates nothing
            turned = False
        return (image.width, image.height) if turned else (image.height, image.width)


def check_upright(path: Path, size: tuple[int, int], what: str) -> None:
    """Raises a `UserError` if other tools show the image with a different size.

    Args:
        path: the image.
        size: (height, width) of its annotation.
        what: the annotations, for the message: points or masks.

    Raises:
        UserError: the file is not an image, has a different size, or is rotated by its EXIF.
    """
    size_of(path, size)
    height, width = size_of(path, None)
    if (height, width) != size:
        raise UserError(
            f"image {path} is rotated by its EXIF: other tools show it as {width}x{height}, but "
            f"its {what} are for {size[1]}x{size[0]}; save it without EXIF, or skip it with "
            "data.on_error=skip"
        )
