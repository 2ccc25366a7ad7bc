"""What several tools build from the config in the same way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import torch
from _build import build, network_input
from omegaconf import DictConfig, OmegaConf

from p2seg.data.coco import Category
from p2seg.data.dataset import Reader
from p2seg.data.image_notes import notes_on
from p2seg.data.maps import map_path
from p2seg.data.points import PointSet, points_fingerprint, read_points
from p2seg.data.records import ImageRecord
from p2seg.errors import UserError
from p2seg.files import read_json, sha256, stamp_of
from p2seg.models.network import Trunk
from p2seg.progress import console
from p2seg.pseudo.review import Review, moved, read_review
from p2seg.runs.content import cache_folder, content_of
from p2seg.runs.launched import is_first
from p2seg.runs.provenance import versions
from p2seg.runs.settings import deciding, rounding


def path_of(cfg: DictConfig, key: str) -> Path:
    """The path of a config key, `~` expanded."""
    value = OmegaConf.select(cfg, key)
    if value is None or value == "":
        raise UserError(f"{key} is not given; add {key}=PATH to the command")
    return Path(value).expanduser()


def output_folder(cfg: DictConfig, place: str) -> Path:
    """`out` where it is given, else `outputs/<name>/<place>`."""
    return Path(cfg.out).expanduser() if cfg.out else Path("outputs") / str(cfg.name) / place


def maps_folder(cfg: DictConfig) -> Path:
    """Where `gen_semantic` writes: `out` if it is given, else `data.semantic`."""
    return path_of(cfg, "data.semantic" if cfg.out is None else "out")


def plain(node: Any) -> dict[str, Any]:
    """A config node as plain dicts and lists, interpolations resolved."""
    return cast("dict[str, Any]", OmegaConf.to_container(node, resolve=True))


def reader_of(cfg: DictConfig, points: PointSet) -> Reader:
    """The reader of images and first maps, after a look at whether their folders exist."""
    images, semantic = path_of(cfg, "data.images"), path_of(cfg, "data.semantic")
    if not images.is_dir():
        raise UserError(f"no image folder at {images}; give it with data.images=DIR")
    if not semantic.is_dir():
        raise UserError(
            f"no folder of first semantic maps at {semantic}; make it with tools/gen_semantic.py "
            "or give it with data.semantic=DIR"
        )
    names, theirs = [c.name for c in points.categories], _manifest(semantic).get("classes")
    if isinstance(theirs, list) and theirs != names:
        raise UserError(
            f"the maps in {semantic} are of the classes {', '.join(map(str, theirs))} but "
            f"{cfg.data.points} has {', '.join(names)}; make maps of these points"
        )
    return Reader(images, semantic, len(points.categories))


def semantic_source(folder: Path) -> str:
    """What made a folder of maps, by its manifest; "unknown" without one."""
    return str(_manifest(folder).get("source", "unknown"))


def inputs_read(cfg: DictConfig, images: Sequence[ImageRecord]) -> dict[str, Any]:
    """Fingerprints of the points, images and maps that a result is made of."""
    folder, semantic = path_of(cfg, "data.images"), path_of(cfg, "data.semantic")
    return {
        "points": clicks_sha256(cfg),
        "semantic": {
            "source": semantic_source(semantic),
            "maps": folder_content(semantic, maps_in(semantic, images)),
        },
        "images": folder_content(folder, images_in(folder, images)),
    }


def folder_content(folder: Path, files: Iterable[Path]) -> str:
    """A fingerprint of files of a folder by their content; unchanged ones are not read again."""
    return content_of(files, folder, cache_folder())


def images_in(folder: Path, images: Iterable[ImageRecord]) -> list[Path]:
    """The files of images."""
    return [folder / each.file_name for each in images]


def maps_in(folder: Path, images: Iterable[ImageRecord]) -> list[Path]:
    """The files of their initial semantic maps."""
    return [map_path(folder, each.file_name) for each in images]


def _manifest(folder: Path) -> dict[str, Any]:
    """The manifest beside a folder of maps, empty where there is none."""
    path = folder / "manifest.json"
    manifest = read_json(path, "manifest of semantic maps") if path.is_file() else {}
    return manifest if isinstance(manifest, dict) else {}


def points_of(cfg: DictConfig) -> PointSet:
    """The config's clicks, of as many classes as it says."""
    points = clicks_of(cfg)
    set_classes(cfg, points.categories, cfg.data.points)
    return points


def clicks_of(cfg: DictConfig) -> PointSet:
    """The config's clicks, those moved that its review has clicked anew."""
    path, review = path_of(cfg, "data.points"), review_of(cfg)
    points = _points_at(path, stamp_of(path))
    if cfg.data.name == "custom":  # the count of a named set matters to its networks alone
        set_classes(cfg, points.categories, path)
    return points if review is None else moved(points, review)


@lru_cache(maxsize=1)
def _points_at(path: Path, _stamp: str) -> PointSet:
    """The points of a file, read once for as long as its stamp stays the same."""
    return read_points(path)


def clicks_sha256(cfg: DictConfig) -> str:
    """The fingerprint of what `clicks_of` returns."""
    return points_fingerprint(clicks_of(cfg))


def review_of(cfg: DictConfig) -> Review | None:
    """The review of earlier masks that the config names."""
    return None if cfg.review is None else read_review(path_of(cfg, "review"))


def set_classes(cfg: DictConfig, categories: Sequence[Category], source: object) -> None:
    """Takes the class count from a file; one that is given must be that of the file.

    Raises:
        UserError: it is not.
    """
    count, given = len(categories), cfg.data.num_classes
    if given is None:
        cfg.data.num_classes = count
    elif given != count:
        raise UserError(
            f"{source} has {count} categories but data.num_classes is {given}; add "
            f"data.num_classes={count}, or with data=custom leave it out: the file has it"
        )


def network_of(cfg: DictConfig) -> Trunk:
    """The network of the config."""
    return cast(Trunk, build(cfg.model.network))


def load_network(cfg: DictConfig, checkpoint: dict[str, Any], points: PointSet) -> Trunk:
    """The config's network with a checkpoint's weights.

    Raises:
        UserError: the checkpoint is of another model or of other classes.
    """
    theirs = [c["name"] for c in checkpoint["categories"]]
    ours = [c.name for c in points.categories]
    if theirs != ours:
        raise UserError(
            f"{cfg.ckpt} was trained on {len(theirs)} classes ({', '.join(theirs[:5])}...) but "
            f"{cfg.data.points} has {len(ours)} ({', '.join(ours[:5])}...); use a checkpoint of "
            "these classes"
        )
    cfg.model.pretrained, cfg.model.weights = False, None  # the checkpoint brings its own
    averaged = cfg.export.ema and checkpoint["average"] is not None
    weights = checkpoint["average"] if averaged else checkpoint["model"]
    try:
        with torch.device("meta"):  # shapes alone: a stranger's settings may be of any size
            planned = network_of(cfg)
        fits, reason = _shapes(planned.state_dict()) == _shapes(weights), "other names or shapes"
    except Exception as error:  # settings that cannot be come to whatever torch and timm say
        fits, reason = False, " ".join(str(error).split())[:200]
    if not fits:
        raise UserError(
            f"{cfg.ckpt} does not hold the weights of the network that its settings describe "
            f"({reason}); give the file as tools/train.py wrote it, or train again"
        )
    network = network_of(cfg)
    network.load_state_dict(weights)
    return network.eval()


def _shapes(state: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in state.items()}


def provenance(cfg: DictConfig, points: PointSet, skipped: list[str]) -> dict[str, Any]:
    """What a checkpoint says of itself: settings, classes, inputs and versions."""
    keys = ("model", "mdm", "loss", "optim")
    return {
        "config": {
            "seed": cfg.seed,
            "data": {"augment": plain(cfg.data.augment), **asdict(network_input(cfg))},
            "trainer": {k: cfg.trainer[k] for k in ("batch_size", "precision", "clip_norm", "ema")},
            **{key: plain(cfg[key]) for key in keys},
            # runs before this was recorded decayed from step 0 on, with a jump after the warm-up
            "schedule": {"decay": "from the end of the warm-up"},
        },
        "method": plain(cfg.method),
        "export": plain(cfg.export),
        "settings": settings_of(cfg, "train"),
        "categories": [{"id": c.id, "name": c.name} for c in points.categories],
        "inputs": {
            **inputs_read(cfg, points.images),
            "weights": weights_read(cfg, "model.weights"),
        },
        "skipped": skipped,
        "versions": versions(),
    }


def weights_read(cfg: DictConfig, key: str) -> str | None:
    """The SHA-256 of the file of weights that a setting names; None if it names none."""
    path = OmegaConf.select(cfg, key)
    return None if path is None else sha256(path_of(cfg, key))


def settings_of(cfg: DictConfig, command: str) -> dict[str, Any]:
    """The settings that a resumed training of a command is compared by."""
    settings = plain(cfg)
    found = {"versions": versions(), "threads": torch.get_num_threads()}
    return {**deciding(settings, command), **rounding(settings), **found}


def is_results_list(path: Path) -> bool:
    """Whether a file of masks is COCO's results list, and no instances file.

    Raises:
        UserError: there is no such file.
    """
    if not path.is_file():
        raise UserError(f"no masks at {path}; give pred=FILE.json of gen_pseudo or predict")
    with path.open("rb") as stream:
        return stream.read(1024).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")


def tell_skipped(sentences: Iterable[str]) -> None:
    """Prints which images are skipped, and how many."""
    skipped = list(sentences)
    for sentence in skipped:
        console.print(f"skipped: {sentence}", markup=False)
    if skipped:
        plural = "s" * (len(skipped) > 1)
        console.print(f"skipped {len(skipped)} image{plural} in all", markup=False)


def report_inputs(
    skipped: Iterable[str], folder: Path | None = None, images: Iterable[ImageRecord] = ()
) -> None:
    """Prints which images are skipped, how many, and which are not read as they are.

    Args:
        skipped: a sentence for each skipped image.
        folder: of the images.
        images: those that are read.
    """
    tell_skipped(skipped)
    if folder is not None and is_first():
        for sentence in notes_on([folder / each.file_name for each in images], folder):
            console.print(sentence, markup=False)


def check_file(path: Path) -> Path:
    """A path that a file can be written to, before the work that it is for.

    Raises:
        UserError: a folder lies there.
    """
    if path.is_dir():
        raise UserError(f"out={path} is a folder, but a file is written; give out=FILE")
    return path
