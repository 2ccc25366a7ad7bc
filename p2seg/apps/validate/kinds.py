"""What can be wrong with a data set: every kind with its sentence and its remedy."""

from __future__ import annotations

from typing import NamedTuple

STOPS, WARNING, NOTE = "stops", "warning", "note"
"""Training stops there, or has no meaning; results suffer; good to know."""
SEVERITIES = (STOPS, WARNING, NOTE)


class Kind(NamedTuple):
    """A kind of finding: how bad it is, what was seen, and what would do."""

    severity: str
    seen: str
    fix: str


EDIT = "mend these entries, or import the clicks again with p2seg import_points"
SKIP = "or go on without them with data.on_error=skip"
KINDS = {
    "file.form": Kind(STOPS, "parts of the points file are missing or of another form", EDIT),
    "file.image": Kind(STOPS, "entries of images cannot be read", EDIT),
    "file.category": Kind(STOPS, "entries of categories cannot be read", EDIT),
    "file.annotation": Kind(STOPS, "entries of annotations cannot be read", EDIT),
    "file.same_id": Kind(
        STOPS, "two entries have the same id", "number the images, or the annotations, anew"
    ),
    "file.reference": Kind(
        STOPS,
        "annotations of an image or a category that is not listed",
        "fix their image_id or category_id, list what is missing, or remove them",
    ),
    "file.refused": Kind(STOPS, "the points file is refused as a whole", EDIT),
    "points.malformed": Kind(
        STOPS,
        "points that are not two numbers [x, y]",
        "write them as [x, y] in pixels; p2seg make_points makes points from masks",
    ),
    "points.none": Kind(
        STOPS, "there is no point", "click some objects: p2seg annotate images=DIR"
    ),
    "points.swapped": Kind(
        STOPS,
        "points seem to be written [y, x]: they lie outside, and inside when turned round",
        "write every point as [x, y], x to the right",
    ),
    "points.fraction": Kind(
        STOPS,
        "all points lie between 0 and 1: they seem to be shares of the image's sides, not pixels",
        "multiply x by the width and y by the height of the image",
    ),
    "points.percent": Kind(
        STOPS,
        "all points lie between 0 and 100: they seem to be percent, not pixels",
        "multiply x by width / 100 and y by height / 100; "
        "p2seg import_points does so for Label Studio",
    ),
    "points.from_one": Kind(
        STOPS,
        "points seem to be counted from 1: some lie on the width or height itself, none on 0",
        "subtract 1 from every x and y: the first pixel is 0",
    ),
    "points.outside": Kind(
        STOPS,
        "points lie outside their image",
        "move or remove them, in the file or with p2seg annotate images=DIR",
    ),
    "image.missing": Kind(
        STOPS, "images are not in the folder", "check data.images and the file names"
    ),
    "image.broken": Kind(
        STOPS, "images cannot be read, or are cut short", f"replace these files, {SKIP}"
    ),
    "image.size": Kind(
        STOPS,
        "images have another size than annotated",
        "use the images that were annotated, or click again: points would lie elsewhere",
    ),
    "image.same_map": Kind(
        STOPS,
        "images differ only by their ending, and would share one initial semantic map",
        "rename one of them, in the folder and in the points file",
    ),
    "map.unread": Kind(
        STOPS,
        "first maps are missing or cannot be used",
        f"run p2seg gen_semantic, which makes only those, {SKIP}",
    ),
    "map.classes": Kind(
        STOPS, "the first maps are of other classes", "run p2seg gen_semantic again"
    ),
    "pseudo.refused": Kind(
        STOPS, "the pseudo masks cannot be read", "make them again with p2seg gen_pseudo"
    ),
    "gt.refused": Kind(
        WARNING, "the ground truth cannot be read", "mend the file; training does not need it"
    ),
    "points.two_classes": Kind(
        WARNING,
        "points of different classes lie on one spot",
        "keep the right one: the first gets the object's mask, the second a default box",
    ),
    "points.double": Kind(
        WARNING,
        "two points of a class lie on one pixel or on touching pixels",
        "remove one: the first gets the object's mask, the second a default box",
    ),
    "points.near": Kind(
        WARNING,
        "points of a class are nearer than 4 pixels, a cell of the network's grid",
        "look whether they are one object clicked twice, or enlarge the images",
    ),
    "class.names": Kind(
        WARNING, "class names differ only by case or spaces", "make them one class"
    ),
    "class.empty": Kind(
        WARNING, "classes have no point", "click some, or remove the class from categories"
    ),
    "class.rare": Kind(
        WARNING,
        "classes have fewer than 10 points",
        "click more of them: scores of such classes mean little",
    ),
    "image.same_bytes": Kind(
        WARNING, "images are the same file, byte for byte", "keep one of each, with all its points"
    ),
    "image.tiny": Kind(
        WARNING, "images are smaller than 64 pixels", "enlarge them: the grid has cells of 4 pixels"
    ),
    "image.deep": Kind(
        WARNING,
        "images have more than 8 bits per value; in each of them the values from the 0.1th to the "
        "99.9th percentile become 0 to 255",
        "nothing to do if the pictures below look right; else save the images with 8 bits",
    ),
    "image.pages": Kind(
        WARNING,
        "images have several pages or frames, of which the first is read",
        "save the pages that you need as files of their own",
    ),
    "image.unread": Kind(
        WARNING,
        "images of the folder are of a kind that is not read",
        "convert them to .png or .jpg",
    ),
    "map.other_points": Kind(
        WARNING,
        "the first maps were made of another points file",
        "run p2seg gen_semantic again, which makes only what has changed",
    ),
    "map.off_class": Kind(
        WARNING,
        "the first map is not of the point's class where it was clicked",
        "look at these images; p2seg gen_semantic --check tells more",
    ),
    "pseudo.images": Kind(
        WARNING,
        "the pseudo masks are of other images",
        "make them again with p2seg gen_pseudo of these points",
    ),
    "pseudo.points": Kind(
        WARNING,
        "points without a pseudo mask, or masks without a point of their id and class",
        "make the masks again with p2seg gen_pseudo: the points have changed since",
    ),
    "pseudo.empty": Kind(
        WARNING, "pseudo masks are empty", "make them again with p2seg gen_pseudo"
    ),
    "pseudo.off_point": Kind(
        WARNING,
        "points lie outside of their own pseudo mask",
        "look at them: p2seg gallery pred=FILE images=DIR",
    ),
    "pseudo.default": Kind(
        WARNING,
        "pseudo masks are default boxes: no pixel was claimed by their point",
        "look at them in the gallery; export.foreground=5 of p2seg gen_pseudo makes fewer",
    ),
    "pseudo.prior": Kind(
        WARNING,
        "classes whose pseudo masks are as large as the clicks alone would make them: "
        "the image did not decide them",
        "look at them: p2seg gallery pred=FILE images=DIR",
    ),
    "gt.empty": Kind(
        WARNING, "masks of the ground truth are empty", "draw them, or remove these annotations"
    ),
    "gt.off_point": Kind(
        WARNING,
        "points lie on no object of their class in the ground truth",
        "check class and place of these points, or whether the file is of these images",
    ),
    "split.same_file": Kind(
        WARNING,
        "images are both in training and in validation",
        "take them out of one of the two: scores on them mean nothing",
    ),
    "split.same_bytes": Kind(
        WARNING,
        "images of validation are copies of training images",
        "take them out of one of the two: scores on them mean nothing",
    ),
    "disk.low": Kind(
        WARNING, "less than 2 GB are free where the output goes", "make room, or give another out="
    ),
    "points.border": Kind(
        NOTE,
        "points lie on the outermost pixel of their image",
        "fine for objects that are cut off; else look whether they were moved there",
    ),
    "image.no_points": Kind(
        NOTE,
        "images have no point: training leaves them out",
        "click their objects, or leave them as they are if there are none",
    ),
    "image.unlisted": Kind(
        NOTE,
        "images of the folder are not in the points file",
        "click them: p2seg annotate images=DIR",
    ),
    "image.turned": Kind(
        NOTE,
        "images are turned upright by their EXIF mark, as annotated",
        "nothing to do; other programs may show them lying down",
    ),
    "image.not_turned": Kind(
        NOTE,
        "images have an EXIF mark that would turn them, but were annotated lying down",
        "nothing to do, if the points in the pictures below lie right",
    ),
    "image.gray": Kind(NOTE, "images are gray", "nothing to do: they become RGB"),
    "image.huge": Kind(
        NOTE,
        "images have more than 12 megapixels",
        "tiles, or smaller copies clicked anew, save memory and time",
    ),
    "map.none": Kind(NOTE, "there are no first maps yet", "p2seg gen_semantic semantic=grabcut"),
}

ONCE = frozenset(
    (
        *("file.refused", "pseudo.refused", "gt.refused", "map.none", "map.classes"),
        *("map.other_points", "points.none", "disk.low"),
    )
)
"""Kinds that are there or not."""
