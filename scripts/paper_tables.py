"""The tables of the paper, with its numbers, and the ablations."""

from __future__ import annotations

from ablation_tables import ABLATIONS
from table_rows import (
    BEST,
    BESTIE,
    COCO,
    EUCLIDEAN,
    MASK2FORMER,
    MASKS,
    MASKS_NOTE,
    MINE,
    NO_NETWORK,
    NO_SEGMENTOR,
    PAPER,
    S2I,
    SAM_FILE,
    SCORES,
    SOLO,
    VOC,
    Row,
    Table,
    model_columns,
)

RATIOS = {0.1: 52.0, 0.2: 50.8, 0.4: 51.5, 0.8: 50.9}


def _sam(experiment: str, *paper: float | None) -> Row:
    """Returns the row of SAM alone: a model trained on the best-scored mask of every click."""
    return Row(
        "SAM prompted by the points",
        {"full": experiment},
        ("pipeline.segmentors=[sam]",),
        paper,
        missing=f"it needs the full data and {SAM_FILE}FILE",
        needs=SAM_FILE,
        stage="sam",
    )


TABLES = {
    "1": Table(
        "Table 1: VOC 2012 val, a segmentor trained on the masks",
        SCORES,
        [
            _sam("voc_sam_baseline", 59.4, 39.9, None, 19.0),
            Row("BESTIE, HRNet-48", VOC, BESTIE, (62.8, 52.8, None, 31.2)),
            Row(
                "P2Seg, ResNet-101",
                {"full": "voc_resnet101"},
                paper=(64.1, 53.9, 37.7, 32.0),
                missing="this backbone is used on the full data only",
            ),
            Row("P2Seg, HRNet-48", VOC, paper=(65.8, 55.6, 40.2, 34.4)),
        ],
    ),
    "2": Table(
        "Table 2: COCO 2017 val, a segmentor trained on the masks",
        model_columns("AP", "AP50", "AP75", kind="coco"),
        [
            _sam("coco_sam_baseline"),
            Row("BESTIE, HRNet-48", COCO, BESTIE, (14.2, 28.4, 22.5)),
            Row("P2Seg, HRNet-48", COCO, paper=(17.6, 33.6, 28.1)),
        ],
        note="The paper's AP75 must be wrong: with it, the AP of all IoU above 0.75 would be near "
        "zero.",
    ),
    "3": Table(
        "Table 3: S2I and I2S against BESTIE, VOC 2012 val",
        {"mAP50": SCORES["mAP50"], "masks' mAP50": MASKS["mAP50"]}
        | {"masks' mean IoU": MASKS["mean IoU"]},
        [
            Row("BESTIE", VOC, BESTIE, (52.0,)),
            Row("S2I", VOC, (*PAPER, *S2I), (53.2,)),
            Row(MINE, VOC, PAPER, (55.7,)),
            Row("mdm=best", BEST),
        ],
        note="Masks: pseudo masks on training images, the points given. The first three rows "
        "follow the papers exactly.",
    ),
    "4": Table(
        "Table 4: segmentors, VOC 2012 val",
        {"mAP50": SCORES["mAP50"]},
        [
            Row("BESTIE, Mask R-CNN", VOC, BESTIE, (52.8,)),
            Row("P2Seg, Mask R-CNN", VOC, paper=(55.6,)),
            Row("BESTIE, SOLOv2", VOC, (*BESTIE, *SOLO), (51.9,), network="BESTIE, Mask R-CNN"),
            Row("P2Seg, SOLOv2", VOC, SOLO, (54.1,), network="P2Seg, Mask R-CNN"),
            Row("P2Seg, Mask2Former", VOC, MASK2FORMER, network="P2Seg, Mask R-CNN"),
        ],
        note="The rows of one segmentor differ only in its training masks; networks are shared.",
    ),
    "5": Table(
        "Table 5: hard pixel ratio, without a segmentor",
        {"mAP50": MASKS["mAP50"]},
        [Row(str(k), VOC, (f"loss.hard_pixel_ratio={k}",), (v,)) for k, v in RATIOS.items()],
        note=MASKS_NOTE,
        words=NO_SEGMENTOR,
    ),
    "6": Table(
        "Table 6: semantics first against points first, no network",
        {f"IoU > .{n}": ("seed", "quality", f"iou{n}0") for n in (5, 7, 9)}
        | {"mean IoU": ("seed", "quality", "mean_iou")},
        [
            Row(
                "semantics first", VOC, ("mdm.conflict=semantic_first",), (5782, 4939, 2440, 58.49)
            ),
            Row("points first", VOC, EUCLIDEAN, (9544, 7417, 2558, 66.57)),
            Row("points first, geodesic distance", VOC),
        ],
        note="Seeds on training images, the points given; the first three columns are counts.",
        words=NO_NETWORK,
    ),
    **ABLATIONS,
}
