"""What several tools build from the config in the same way."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import torch
from _build import build
from omegaconf import DictConfig, OmegaConf

from p2seg.checkpoint import flat
from p2seg.data.dataset import Reader
from p2seg.data.points import PointSet, read_points
from p2seg.data.records import ImageRecord
from p2seg.errors import UserError
from p2seg.files import fingerprint, read_json, sha256
from p2seg.models.network import Trunk
from p2seg.progress import console
from p2seg.pseudo.review import Review, moved, read_review
from p2seg.runs.provenance import versions


def path_of(cfg: DictConfig, key: str) -> Path:
    """The path of a config key, `~` expanded."""
    value = OmegaConf.select(cfg, key)
    if value is None or value == "":
        raise UserError(f"{key} is not given; add {key}=PATH to the command")
    return Path(value).expanduser()


def output_folder(cfg: DictConfig, place: str) -> Path:
    """`out` where it is given, else `outputs/<name>/<place>`."""
    return Path(cfg.out).expanduser() if cfg.out else Path("outputs") / str(cfg.name) / place


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


def semantic_source(folder: Path) -> dict[str, Any]:
    """What the manifest beside a folder of maps says of their source."""
    manifest = _manifest(folder)
    if not manifest:
        return {"source": "unknown", "folder": folder.name}
    source = manifest.get("source", "unknown")
    return {"source": source, "manifest": sha256(folder / "manifest.json")}


def _manifest(folder: Path) -> dict[str, Any]:
    """The manifest beside a folder of maps, empty where there is none."""
    path = folder / "manifest.json"
    manifest = read_json(path, "manifest of semantic maps") if path.is_file() else {}
    return manifest if isinstance(manifest, dict) else {}


def points_of(cfg: DictConfig) -> PointSet:
    """The config's clicks, of as many classes as it says."""
    points = clicks_of(cfg)
    check_classes(cfg, points)
    return points


def clicks_of(cfg: DictConfig) -> PointSet:
    """The config's clicks, those moved that its review has clicked anew."""
    points, review = read_points(path_of(cfg, "data.points")), review_of(cfg)
    return points if review is None else moved(points, review)


def clicks_sha256(cfg: DictConfig) -> str:
    """What tells `clicks_of` from others: the SHA-256 of its file, or of file and moves."""
    own, review = sha256(path_of(cfg, "data.points")), review_of(cfg)
    return fingerprint([own, review.moves]) if review is not None and review.moves else own


def review_of(cfg: DictConfig) -> Review | None:
    """The review of earlier masks that the config names."""
    return None if cfg.review is None else read_review(path_of(cfg, "review"))


def check_classes(cfg: DictConfig, points: PointSet) -> None:
    """The class count of the config must be that of the points file."""
    if len(points.categories) != cfg.data.num_classes:
        raise UserError(
            f"{cfg.data.points} has {len(points.categories)} categories but data.num_classes is "
            f"{cfg.data.num_classes}; add data.num_classes={len(points.categories)}"
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
    network = network_of(cfg)
    averaged = cfg.export.ema and checkpoint["average"] is not None
    try:
        network.load_state_dict(checkpoint["average"] if averaged else checkpoint["model"])
    except (RuntimeError, TypeError, AttributeError) as error:
        other = differences(checkpoint["config"], cfg, ("model", "affinity"))
        raise UserError(
            f"{cfg.ckpt} holds another model than this command builds ({other}); give the +exp "
            "and the model it was trained with"
        ) from error
    return network.eval()


def differences(saved: dict[str, Any], cfg: DictConfig, groups: tuple[str, ...]) -> str:
    """Which settings a checkpoint was trained with that are others now, in words; or nothing."""
    old, new = (
        flat({group: each.get(group) for group in groups})
        for each in (saved, {group: plain(cfg[group]) for group in groups})
    )
    other = sorted(key for key in old.keys() & new.keys() if old[key] != new[key])
    own = [key for key in other if not key.startswith("model.network.")] or other
    return ", ".join(f"{key} was {old[key]} and is {new[key]}" for key in own)


def provenance(cfg: DictConfig, points: PointSet, skipped: list[str]) -> dict[str, Any]:
    """What a checkpoint says of itself: settings, classes, inputs and versions."""
    keys = ("model", "mdm", "affinity", "loss", "optim")
    return {
        "config": {
            "seed": cfg.seed,
            "data": {"augment": plain(cfg.data.augment)},
            "trainer": {k: cfg.trainer[k] for k in ("batch_size", "precision", "clip_norm", "ema")},
            **{key: plain(cfg[key]) for key in keys},
            # runs before this was recorded decayed from step 0 on, with a jump after the warm-up
            "schedule": {"decay": "from the end of the warm-up"},
        },
        "settings": settings_of(cfg, "data", "trainer"),
        "categories": [{"id": c.id, "name": c.name} for c in points.categories],
        "inputs": {
            "points": clicks_sha256(cfg),
            "semantic": semantic_source(path_of(cfg, "data.semantic")),
            "images": sizes_of(path_of(cfg, "data.images"), points.images),
        },
        "skipped": skipped,
        "versions": versions(),
    }


def settings_of(cfg: DictConfig, *groups: str) -> dict[str, Any]:
    """What is compared when a run goes on, whether it decides the result or not."""
    return {
        "name": cfg.name,
        "deterministic": cfg.deterministic,
        "versions": versions(),
        "threads": torch.get_num_threads(),
        **{group: plain(cfg[group]) for group in groups},
    }


def sizes_of(folder: Path, images: Iterable[ImageRecord]) -> str:
    """A fingerprint of images by their names and the bytes of their files."""
    files = ((each.file_name, folder / each.file_name) for each in images)
    return fingerprint([[name, file.stat().st_size] for name, file in files if file.is_file()])


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
    """Says which images a tool goes on without."""
    for sentence in sentences:
        console.print(f"skipped: {sentence}", markup=False)


def check_file(path: Path) -> Path:
    """A path that a file can be written to, before the work that it is for.

    Raises:
        UserError: a folder lies there.
    """
    if path.is_dir():
        raise UserError(f"out={path} is a folder, but a file is written; give out=FILE")
    return path
