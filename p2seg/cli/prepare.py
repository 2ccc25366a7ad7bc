"""Functions shared by the commands that prepare data sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

from p2seg.cli.arguments import CONSOLE
from p2seg.data.coco import ImageRecord, InstanceSet
from p2seg.data.sets.download import Archive, fetch
from p2seg.errors import UserError
from p2seg.runtime.links import write_symlink


def fetched(archive: Archive, folder: Path) -> Path:
    """Downloads an archive with a progress bar; see `p2seg.data.sets.download.fetch`."""
    columns = ("{task.description}", BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=CONSOLE) as bar:
        task = bar.add_task(archive.name, total=None)
        return fetch(
            archive, folder, lambda done, total: bar.update(task, completed=done, total=total)
        )


def link(folder: Path, target: Path, images: Sequence[ImageRecord]) -> None:
    """Creates the link `folder` to the folder of images, so that images are not copied.

    An existing link is replaced. An existing folder is used as it is, for systems without links.

    Args:
        folder: path of the link, which the configs use.
        target: folder of the images.
        images: images that must exist.

    Raises:
        UserError: links are not supported, or an image is missing.
    """
    if folder.is_symlink() or not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            write_symlink(folder, target)
        except OSError as error:
            raise UserError(
                f"cannot create a link from {folder} to {target} ({error.strerror}); "
                "copy the folder to {folder} and run the command again"
            ) from error
    missing = [image.file_name for image in images if not (folder / image.file_name).is_file()]
    if missing:
        raise UserError(
            f"{len(missing)} of {len(images)} images are missing in {target}, such as "
            f"{missing[0]}; add them, or remove them from the annotations"
        )


def every_nth(instances: InstanceSet, every: int) -> InstanceSet:
    """The first image of a set and every n-th image after it.

    Raises:
        UserError: `every` is below 1.
    """
    if every < 1:
        raise UserError(f"--every {every}: must be at least 1")
    if every == 1:
        return instances
    kept = range(0, len(instances.images), every)
    return replace(
        instances,
        images=[instances.images[k] for k in kept],
        instances=[instances.instances[k] for k in kept],
        info={**instances.info, "every": every},
    )


def summary(path: Path, instances: InstanceSet) -> None:
    """Prints the written file and its numbers."""
    found = [instance for group in instances.instances for instance in group]
    crowds = sum(instance.crowd for instance in found)
    CONSOLE.print(
        f"{path}: {len(instances.images)} images, {len(found) - crowds} instances of "
        f"{len(instances.categories)} classes" + (f", {crowds} crowd regions" if crowds else "")
    )
