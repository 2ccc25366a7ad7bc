"""The ablations that the paper does not have: rows and columns."""

from __future__ import annotations

from table_rows import (
    BESIDE_CONTROL,
    BESTIE,
    COCO,
    MASKS,
    MASKS_NOTE,
    MINE,
    NO_NETWORK,
    NO_SEGMENTOR,
    PAPER,
    PROMPTED,
    S2I,
    VOC,
    Row,
    Table,
    model_columns,
)

PLAIN = "as configured"
WHOLE = "P2Seg, masks selected again by the network, snapped"


def _oracle(*words: str) -> tuple[str, ...]:
    return "semantic=oracle", *(f"semantic.degrade.{word}" for word in words)


def _selected(select: str) -> Row:
    """Returns the row of candidates that are selected without a network."""
    words = (f"semantic.select={select}", "pipeline.reselect=false", *NO_NETWORK)
    return Row(f"{select}, no network", PROMPTED, words, stage="sam", own_clicks=True)


ABLATIONS = {
    "beta": Table(
        "Hadamard power of the affinity, in training and at export",
        MASKS,
        [
            Row("3, as configured", VOC, PAPER),
            *(
                Row(f"{b} at export", VOC, (*PAPER, f"export.beta={b}"), network="3, as configured")
                for b in (20, 100, 2000)
            ),
            *(Row(f"{b} in training", VOC, (*PAPER, f"mdm.beta={b}")) for b in (100, 500)),
        ],
        note=MASKS_NOTE + " One round, mdm=paper.",
        words=NO_SEGMENTOR,
    ),
    "rounds": Table(
        "What each part adds, and rounds of mutual distillation",
        MASKS,
        [
            Row("control (Eq. 1), no network", COCO, stage="control"),
            Row("geodesic distance, no network", COCO, stage="seed"),
            Row("BESTIE", COCO, BESTIE),
            Row("S2I", COCO, (*PAPER, *S2I)),
            Row(MINE, COCO, PAPER),
            *(
                Row(f"{n} rounds at export", COCO, (*PAPER, f"export.rounds={n}"), network=MINE)
                for n in (0, 2, 3)
            ),
            *(
                Row(f"{n} rounds in training too", COCO, (*PAPER, f"mdm.rounds={n}"))
                for n in (2, 3)
            ),
        ],
        note=MASKS_NOTE,
        words=NO_SEGMENTOR,
    ),
    "points": Table(
        "Where the points are",
        BESIDE_CONTROL,
        [
            *(
                Row(sampler, VOC, (f"sampler={sampler}",), own_clicks=True)
                for sampler in ("inner", "box_center", "centroid", "random")
            ),
            *(
                Row(
                    f"inner, jitter {share:.0%} of the box",
                    VOC,
                    ("sampler=inner", f"jitter={share}"),
                    own_clicks=True,
                )
                for share in (0.05, 0.1, 0.2, 0.3)
            ),
        ],
        note=MASKS_NOTE + " The control is Eq. 1 without a network.",
        words=NO_SEGMENTOR,
    ),
    "segmentor": Table(
        "Options of a segmentor for training on pseudo masks",
        model_columns("mAP50", "mAP75"),
        [
            Row(PLAIN, VOC),
            *(
                Row(name, VOC, words, network=PLAIN)
                for name, words in {
                    "weighted by score": ("segmentor.instances.score_power=1",),
                    "default boxes: box only": ("segmentor.instances.default_boxes=box",),
                    "default boxes ignored": ("segmentor.instances.default_boxes=ignore",),
                    "copy-paste in half": ("segmentor.copy_paste=0.5",),
                    "averaged weights": ("segmentor.ema=true",),
                    "two views": ("predict.views=flip",),
                    "six views": ("predict.views=scales",),
                }.items()
            ),
        ],
        note="One segmentor per row and seed, all trained on the masks of the same network.",
    ),
    "select": Table(
        "Selection among the masks of a promptable model, and P2Seg on the selected masks",
        {"initial map mIoU": ("semantic", "miou"), **MASKS},
        [
            *(_selected(select) for select in ("score", "largest", "smallest")),
            Row("consistent, no network", PROMPTED, stage="sam"),
            Row("Eq. 1 on consistent's maps", PROMPTED, stage="control"),
            Row("network", PROMPTED, stage="sam_network"),
            Row(
                "P2Seg on consistent's maps",
                PROMPTED,
                ("pipeline.reselect=false", "export.snap=none"),
                network=WHOLE,
            ),
            Row("the same, snapped", PROMPTED, ("pipeline.reselect=false",), network=WHOLE),
            Row("P2Seg on the network's maps", PROMPTED, ("export.snap=none",), network=WHOLE),
            Row(WHOLE, PROMPTED),
        ],
        note=MASKS_NOTE + " Rows without P2Seg score the candidates unchanged; on drawn and real "
        "data the candidates are simulated.",
        words=NO_SEGMENTOR,
    ),
    "maps": Table(
        "Source and quality of the initial semantic maps",
        {"initial map mIoU": ("semantic", "miou"), "masks' mIoU": ("mdm", "quality", "miou")}
        | BESIDE_CONTROL,
        [
            Row("as configured", COCO),
            Row("GrabCut", COCO, ("semantic=grabcut",), own_clicks=True),
            Row("oracle", COCO, _oracle(), own_clicks=True),
            Row("oracle, 2 px eroded", COCO, _oracle("erode=2"), own_clicks=True),
            Row("oracle, 2 px dilated", COCO, _oracle("dilate=2"), own_clicks=True),
            Row("oracle, borders shifted by up to 4 px", COCO, _oracle("noise=4"), own_clicks=True),
            Row("oracle, a part missing in 30 %", COCO, _oracle("missing=0.3"), own_clicks=True),
            Row(
                "oracle, all three: missing, shifted, eroded",
                COCO,
                _oracle("missing=0.3", "noise=4", "erode=2"),
                own_clicks=True,
            ),
        ],
        note=MASKS_NOTE + " The control is Eq. 1 without a network; mIoU is of the class maps.",
        words=NO_SEGMENTOR,
    ),
}
