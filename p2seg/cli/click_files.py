"""Settings and reports of the commands that import and export points of other tools."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig
from rich.table import Table
from rich.text import Text

from p2seg.cli.inputs import tell_skipped
from p2seg.data.points import SAMPLERS, PointSet
from p2seg.errors import UserError, check_choice, shown, when_skipped
from p2seg.formats.points import FORMATS, Found, Reading, Report, Rules, Writing, recognized
from p2seg.formats.points.match_images import check_upright
from p2seg.runtime.files import fingerprint, sha256
from p2seg.runtime.progress import console
from p2seg.runtime.terminal import printable

SHOWN = 8
"""Maximum number of printed messages of one kind; `info` of the points file has the counts."""


def format_of(cfg: DictConfig, source: Path) -> str:
    """The format that is set, or recognized from the files."""
    check_choice("format", cfg.format, ("auto", *FORMATS))
    return recognized(source) if cfg.format == "auto" else str(cfg.format)


def rules_of(cfg: DictConfig, name: str) -> Rules:
    """The rules for converting annotations of a format to points."""
    check_choice("sampler", cfg.sampler, tuple(SAMPLERS))
    return Rules(
        edges=FORMATS[name].edges if cfg.pixels == "auto" else cfg.pixels == "edge",
        sampler=cfg.sampler,
        seed=cfg.seed,
        classes=_classes(cfg),
        skip=cfg.data.on_error == "skip",
        keep_empty=cfg.empty == "keep",
    )


def found_at(cfg: DictConfig, name: str, source: Path) -> Found:
    """The content of the files."""
    texts = {key: None if cfg[key] is None else str(cfg[key]) for key in ("keypoint", "attribute")}
    return FORMATS[name].read(source, Reading(_classes(cfg), **texts, first_class=cfg.first_class))


def _classes(cfg: DictConfig) -> list[str] | None:
    if cfg.classes is None:
        return None
    if not isinstance(cfg.classes, ListConfig) or not cfg.classes:
        raise UserError(f"classes={cfg.classes} is not a list; write classes=[{cfg.classes}]")
    return [str(name) for name in cfg.classes]


def source_of(name: str, source: Path, rules: Rules, report: Report) -> dict[str, Any]:
    """The source of the points and the counts of an import, for `info` of the points file."""
    files = sorted(each for each in source.rglob("*") if each.is_file()) if source.is_dir() else []
    hashes = [[each.relative_to(source).as_posix(), sha256(each)] for each in files]
    return {
        "format": name,
        "source": str(source),
        "source_sha256": fingerprint(hashes) if source.is_dir() else sha256(source),
        **({"sampler": rules.sampler, "seed": rules.seed} if report.derived else {}),
        "points": sum(report.counts.values()),
        "derived": dict(report.derived),
        "left_out": dict(report.left_out),
        "problems": len(report.problems),
    }


def summary_of(report: Report, title: str) -> Table:
    """A table of imported and omitted annotations, for the terminal."""
    table = Table(title=Text(printable(title)), title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column()

    def row(what: str, count: int, more: str = "") -> None:
        table.add_row(Text(printable(what)), str(count), Text(printable(more)))

    row("images", report.images, _named(report.empty, "without points"))
    row("points", sum(report.counts.values()), _counted(report.derived, "made of"))
    table.add_section()
    for name, count in report.counts.items():
        row(name, count, "" if count else "no point")
    if report.left_out or report.dropped or report.unnamed or report.problems:
        table.add_section()
    for kind, count in report.left_out.most_common():
        row("left out", count, kind)
    if report.dropped:
        row("left out", report.dropped, "images without points (empty=drop)")
    if report.unnamed:
        row(
            "left out",
            len(report.unnamed),
            _named(report.unnamed, "images that no file names", counted=False),
        )
    for kind, count in report.unusable.most_common():
        row("left out", count, f"{kind}, named above")
    return table


def tell_some(sentences: Sequence[str]) -> None:
    """Prints at most `SHOWN` messages about skipped images."""
    tell_skipped(sentences[:SHOWN])
    if len(sentences) > SHOWN:
        console.print(f"skipped: {len(sentences) - SHOWN} more of these")


def _named(names: list[str], what: str, *, counted: bool = True) -> str:
    if not names:
        return ""
    more = ", .." if len(names) > 2 else ""
    count = f"{len(names)} " if counted else ""
    return f"{count}{what}: {', '.join(names[:2])}{more}"


def _counted(kinds: Counter[str], what: str) -> str:
    return f"{what} " + ", ".join(f"{n} {kind}" for kind, n in kinds.most_common()) if kinds else ""


def target_of(cfg: DictConfig) -> tuple[Callable[[Writing], str], Path]:
    """The function that writes the format, and the path of the output."""
    known = {name: each for name, each in FORMATS.items() if each.write is not None}
    check_choice("format", cfg.format, tuple(known))
    target = known[cfg.format]
    where = f"FILE{target.ending}" if target.ending else "DIR"
    if not cfg.out:
        raise UserError(f"out is not set; add out={where}")
    out = Path(cfg.out).expanduser()
    if target.ending and (out.is_dir() or out.suffix.lower() != target.ending):
        raise UserError(f"out={out} is not a {target.ending} file; set out={where}")
    if not target.ending and out.is_file():
        raise UserError(f"out={out} is a file, but a folder is needed; set out={where}")
    assert target.write is not None
    return target.write, out


def order_of(cfg: DictConfig, points: PointSet) -> str:
    """A hint on the order of the classes, if the format does not keep it."""
    names = [category.name for category in points.categories]
    used = {names[label - 1] for each in points.points for label in each.labels.tolist()}
    if FORMATS[cfg.format].classes or names == sorted(used):
        return ""
    listed = ",".join(name if name.isidentifier() else repr(name) for name in names)
    return f"; it does not keep the order of the classes: import it with classes=[{listed}]"


def check_images(points: PointSet, images: Path, on_error: str) -> tuple[PointSet, Counter[str]]:
    """The points of images that exist, have the annotated size, and are not rotated by EXIF.

    Returns:
        The points of these images, and the number of other images by reason.
    """
    if not images.is_dir():
        raise UserError(f"no image folder at {images}; set images=DIR")
    kept, skipped, left_out = [], [], Counter[str]()
    for place, record in enumerate(points.images):
        path = images / record.file_name
        try:
            check_upright(path, (record.height, record.width), "points")
        except UserError as error:
            if on_error == "raise":
                raise
            skipped.append(when_skipped(error))
            changed = "images that are not as annotated, or that other tools turn"
            left_out[changed if path.exists() else "images that are not in the folder"] += 1
            continue
        kept.append(place)
    tell_some(skipped)
    if not kept:
        raise UserError(f"none of the images of {shown(str(images))} can be used; check images=")
    return points if len(kept) == len(points.images) else points.subset(kept), left_out
