"""All kinds of problems of a data set, each with a description and a remedy."""

from __future__ import annotations

from typing import NamedTuple

STOPS, WARNING, NOTE = "stops", "warning", "note"
"""Training would stop or be meaningless; results suffer; information."""
SEVERITIES = (STOPS, WARNING, NOTE)


class Kind(NamedTuple):
    """A kind of problem: severity, description, and remedy."""

    severity: str
    problem: str
    fix: str


EDIT = "fix these entries, or import the clicks again with p2seg import_points"
SKIP = "or skip them with data.on_error=skip"
KINDS = {
    "file.form": Kind(STOPS, "parts of the points file are missing or have a wrong type", EDIT),
    "file.image": Kind(STOPS, "image entries cannot be read", EDIT),
    "file.category": Kind(STOPS, "category entries cannot be read", EDIT),
    "file.annotation": Kind(STOPS, "annotation entries cannot be read", EDIT),
    "file.same_id": Kind(
        STOPS, "two entries have the same id", "give each image and each annotation a unique id"
    ),
    "file.reference": Kind(
        STOPS,
        "annotations refer to an image or a category that is not listed",
        "fix image_id or category_id, add the missing entry, or remove the annotation",
    ),
    "file.refused": Kind(STOPS, "the points file is rejected as a whole", EDIT),
    "points.malformed": Kind(
        STOPS,
        "points that are not two numbers [x, y]",
        "write them as [x, y] in pixels; p2seg make_points makes points from masks",
    ),
    "points.none": Kind(STOPS, "there are no points", "click objects with p2seg annotate"),
    "points.swapped": Kind(
        STOPS,
        "points seem to be [y, x]: they lie outside as written, and inside if swapped",
        "write every point as [x, y], x to the right",
    ),
    "points.fraction": Kind(
        STOPS,
        "all points lie between 0 and 1: they seem to be fractions of the image size, not pixels",
        "multiply x by the width and y by the height of the image",
    ),
    "points.percent": Kind(
        STOPS,
        "all points lie between 0 and 100: they seem to be percentages, not pixels",
        "multiply x by width / 100 and y by height / 100; "
        "p2seg import_points does this for Label Studio files",
    ),
    "points.from_one": Kind(
        STOPS,
        "points seem to be counted from 1: some equal the width or height, none is 0",
        "subtract 1 from every x and y; the first pixel is 0",
    ),
    "points.outside": Kind(
        STOPS,
        "points lie outside their image",
        "move or remove them in the file or with p2seg annotate",
    ),
    "image.missing": Kind(
        STOPS, "images are not in the folder", "check the folder and the file names"
    ),
    "image.broken": Kind(
        STOPS, "images cannot be read or are truncated", f"replace these files, {SKIP}"
    ),
    "image.size": Kind(
        STOPS,
        "images differ in size from the annotated size",
        "use the annotated images, or click the objects again in these images",
    ),
    "image.same_map": Kind(
        STOPS,
        "images differ only by their suffix and would share one initial semantic map",
        "rename one of them in the folder and in the points file",
    ),
    "map.unread": Kind(
        STOPS,
        "initial semantic maps are missing or cannot be used",
        f"run p2seg gen_semantic, which makes only the missing maps, {SKIP}",
    ),
    "map.classes": Kind(
        STOPS, "the initial semantic maps have other classes", "run p2seg gen_semantic again"
    ),
    "pseudo.refused": Kind(
        STOPS, "the pseudo masks cannot be read", "make them again with p2seg gen_pseudo"
    ),
    "gt.refused": Kind(
        WARNING, "the ground truth cannot be read", "fix the file; training does not need it"
    ),
    "points.two_classes": Kind(
        WARNING,
        "points of different classes lie on one spot",
        "keep the right one: only the first gets the object's mask, the other a default box",
    ),
    "points.double": Kind(
        WARNING,
        "two points of a class lie on one pixel or on touching pixels",
        "remove one: only the first gets the object's mask, the other a default box",
    ),
    "points.near": Kind(
        WARNING,
        "points of a class are closer than 4 pixels, one cell of the network's grid",
        "check whether one object was clicked twice; else enlarge the images",
    ),
    "class.names": Kind(
        WARNING, "class names differ only by case or spaces", "make them one class"
    ),
    "class.empty": Kind(
        WARNING, "classes have no point", "click objects of them, or remove them from categories"
    ),
    "class.rare": Kind(
        WARNING,
        "classes have fewer than 10 points",
        "click more objects of them; scores of rare classes are unreliable",
    ),
    "image.same_bytes": Kind(
        WARNING, "images are identical files", "keep one of each, with all its points"
    ),
    "image.tiny": Kind(
        WARNING, "images are smaller than 64 pixels", "enlarge them; grid cells have 4 pixels"
    ),
    "image.deep": Kind(
        WARNING,
        "images have more than 8 bits per value; in each image, the values from the 0.1th to the "
        "99.9th percentile become 0 to 255",
        "no action if the pictures below look right; else save the images with 8 bits",
    ),
    "image.pages": Kind(
        WARNING,
        "images have several pages or frames, and only the first is read",
        "save the pages that you need as separate files",
    ),
    "image.unread": Kind(
        WARNING,
        "images in the folder have a format that is not read",
        "convert them to .png or .jpg",
    ),
    "map.other_points": Kind(
        WARNING,
        "the initial semantic maps were made from another points file",
        "run p2seg gen_semantic again, which makes only changed maps",
    ),
    "map.off_class": Kind(
        WARNING,
        "the initial semantic map does not have the point's class at the click",
        "check these images; p2seg gen_semantic --check reports details",
    ),
    "pseudo.images": Kind(
        WARNING,
        "the pseudo masks belong to other images",
        "make them again from these points with p2seg gen_pseudo",
    ),
    "pseudo.points": Kind(
        WARNING,
        "points have no pseudo mask, or masks have no point of their id and class",
        "make the masks again with p2seg gen_pseudo, because the points have changed",
    ),
    "pseudo.empty": Kind(
        WARNING, "pseudo masks are empty", "make them again with p2seg gen_pseudo"
    ),
    "pseudo.off_point": Kind(
        WARNING,
        "points lie outside their own pseudo mask",
        "check them with p2seg gallery",
    ),
    "pseudo.default": Kind(
        WARNING,
        "pseudo masks are default boxes because no pixel was assigned to their point",
        "check them in the gallery; p2seg gen_pseudo export.foreground=5 makes fewer",
    ),
    "pseudo.prior": Kind(
        WARNING,
        "the pseudo masks of classes have the size that the clicks alone would give, without the "
        "image",
        "check them with p2seg gallery",
    ),
    "gt.empty": Kind(
        WARNING, "ground-truth masks are empty", "draw them or remove these annotations"
    ),
    "gt.off_point": Kind(
        WARNING,
        "points lie on no ground-truth object of their class",
        "check class and position of these points, and whether gt belongs to these images",
    ),
    "split.same_file": Kind(
        WARNING,
        "images are in both training and validation",
        "remove them from one of the two, because their scores are meaningless",
    ),
    "split.same_bytes": Kind(
        WARNING,
        "validation images are copies of training images",
        "remove them from one of the two, because their scores are meaningless",
    ),
    "disk.low": Kind(
        WARNING, "less than 2 GB are free on the output disk", "free space, or set another out="
    ),
    "points.border": Kind(
        NOTE,
        "points lie on the outermost pixel of their image",
        "fine for objects that are cut off; else check whether they were moved there",
    ),
    "image.no_points": Kind(
        NOTE,
        "images have no point, and training skips them",
        "click their objects; no action if there are none",
    ),
    "image.unlisted": Kind(
        NOTE,
        "images in the folder are not in the points file",
        "click their objects with p2seg annotate",
    ),
    "image.turned": Kind(
        NOTE,
        "images are rotated upright by their EXIF tag, as annotated",
        "no action; other programs may show them rotated",
    ),
    "image.not_turned": Kind(
        NOTE,
        "images have an EXIF rotation tag but were annotated without the rotation",
        "no action if the points in the pictures below are right",
    ),
    "image.gray": Kind(NOTE, "images are gray", "no action; they are converted to RGB"),
    "image.huge": Kind(
        NOTE,
        "images have more than 12 megapixels",
        "use tiles, or smaller images that are clicked again, to save memory and time",
    ),
    "map.none": Kind(NOTE, "no initial semantic maps yet", "run p2seg gen_semantic"),
}

ONCE = frozenset(
    (
        *("file.refused", "pseudo.refused", "gt.refused", "map.none", "map.classes"),
        *("map.other_points", "points.none", "disk.low"),
    )
)
"""Kinds that occur at most once, so that their count has no meaning."""
