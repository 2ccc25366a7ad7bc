"""The paper's tables and the ablations it lacks: their rows, their columns, the paper's figures."""

from __future__ import annotations

from dataclasses import dataclass

Keys = tuple[str, ...]

VOC = {"drawn": "drawn", "real": "real_voc", "full": "voc_hrnet48"}
COCO = {"drawn": "drawn", "real": "real_coco", "full": "coco_hrnet48"}
BEST = {"drawn": "drawn", "real": "real_voc", "full": "voc_hrnet48_best"}
PROMPTED = {"drawn": "drawn_simulated", "real": "real_coco_simulated", "full": "voc_hrnet48_sam"}
BESTIE = ("mdm=bestie",)
PAPER = ("mdm=paper",)
S2I = ("mdm.rounds=0", "loss.affinity=0")
EUCLIDEAN = ("mdm.split=euclidean",)
NO_NETWORK = ("pipeline.network=false", "pipeline.segmentors=[]")
NO_SEGMENTOR = ("pipeline.segmentors=[]",)
SEGMENTOR = ("pipeline.segmentors=[mdm]",)
SAM_FILE = "semantic.sam.checkpoint="
SIZES = {"drawn": "lean", "real": "small", "full": "r50"}
"""What `{size}` in the words of a row stands for, by data."""
SOLO = ("segmentor=solov2_{size}",)
MASK2FORMER = ("segmentor=mask2former_{size}",)


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        name: what it is called.
        experiments: which experiment makes it, by data; a data set that is not there has no row.
        words: what it changes, as on the command line; see `SIZES`.
        paper: the paper's figures, one a column.
        missing: why it is not run where it is not.
        needs: how a setting begins that must be given for it on the full data; else it is not run.
        stage: whose masks of the run are scored, or train the segmentor that is: `mdm`, `control`
            and `seed` without network, `sam` and `sam_network` for chosen candidates.
        network: the row whose network makes this row's masks, and whose words on the network this
            row has too; empty: its own.
        own_clicks: clicks and first maps are this row's, not shared by all rows of a seed.
        script: what makes the run.
        more: words of the run that change no mask, so that they do not name its folder.
    """

    name: str
    experiments: dict[str, str]
    words: tuple[str, ...] = ()
    paper: tuple[float | None, ...] = ()
    missing: str = ""
    needs: str = ""
    stage: str = "mdm"
    network: str = ""
    own_clicks: bool = False
    script: str = "tools/pipeline.py"
    more: tuple[str, ...] = ()

    def words_of(self, data: str) -> tuple[str, ...]:
        """The words on some data."""
        return tuple(word.replace("{size}", SIZES.get(data, "")) for word in self.words)


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        title: its first line.
        columns: where each value stands in a run's report; `mdm` there is the row's stage.
        rows: from top to bottom.
        note: its last line.
        words: settings of all its runs.
    """

    title: str
    columns: dict[str, Keys]
    rows: list[Row]
    note: str = ""
    words: tuple[str, ...] = SEGMENTOR


def _model(*names: str, kind: str = "voc_area") -> dict[str, Keys]:
    """Columns of a segmentor's scores on val images."""
    return {name: ("segmentor", kind, name) for name in names}


SCORES = _model("mAP25", "mAP50", "mAP70", "mAP75")
MASKS: dict[str, Keys] = {
    "mean IoU": ("mdm", "quality", "mean_iou"),
    "multi mean IoU": ("mdm", "quality", "multi_mean_iou"),
    "IoU > .5": ("mdm", "quality", "iou50"),
    "mAP50": ("mdm", "voc_area", "mAP50"),
}
BESIDE_CONTROL: dict[str, Keys] = {
    "control's mean IoU": ("control", "quality", "mean_iou"),
    "mean IoU": ("mdm", "quality", "mean_iou"),
    "control's multi": ("control", "quality", "multi_mean_iou"),
    "multi mean IoU": ("mdm", "quality", "multi_mean_iou"),
    "mAP50": ("mdm", "voc_area", "mAP50"),
}
MASKS_NOTE = "Pseudo masks on training images, the points given."
RATIOS = {0.1: 52.0, 0.2: 50.8, 0.4: 51.5, 0.8: 50.9}
MINE = "S2I + I2S"
PLAIN = "as configured"
WHOLE = "P2Seg, chosen again by the network, snapped"


def _oracle(*words: str) -> tuple[str, ...]:
    return "semantic=oracle", *(f"semantic.degrade.{word}" for word in words)


def _sam(experiment: str, *paper: float | None) -> Row:
    """SAM alone: a segmentor on the best-scored masks of the clicks."""
    return Row(
        "SAM prompted by the points",
        {"full": experiment},
        ("pipeline.segmentors=[sam]",),
        paper,
        missing=f"it needs {SAM_FILE}FILE, on the full data",
        needs=SAM_FILE,
        stage="sam",
    )


def _chosen(select: str) -> Row:
    """Candidates as they are chosen without a network."""
    words = (f"semantic.select={select}", "pipeline.reselect=false", *NO_NETWORK)
    return Row(f"{select}, no network", PROMPTED, words, stage="sam", own_clicks=True)


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
                missing="the other backbone is of the full data alone",
            ),
            Row("P2Seg, HRNet-48", VOC, paper=(65.8, 55.6, 40.2, 34.4)),
        ],
    ),
    "2": Table(
        "Table 2: COCO 2017 val, a segmentor trained on the masks",
        _model("AP", "AP50", "AP75", kind="coco"),
        [
            _sam("coco_sam_baseline"),
            Row("BESTIE, HRNet-48", COCO, BESTIE, (14.2, 28.4, 22.5)),
            Row("P2Seg, HRNet-48", COCO, paper=(17.6, 33.6, 28.1)),
        ],
        note="The paper's AP75 cannot be right: AP leaves next to nothing for all above IoU .75.",
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
        note="Masks: pseudo masks on training images, the points given. The first three rows are "
        "the papers' letter.",
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
        note="A segmentor's rows differ in the masks it was trained on alone: networks are shared.",
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
        "What a segmentor does about pseudo masks",
        _model("mAP50", "mAP75"),
        [
            Row(PLAIN, VOC),
            *(
                Row(name, VOC, words, network=PLAIN)
                for name, words in {
                    "weighed by score": ("segmentor.instances.score_power=1",),
                    "default boxes: box alone": ("segmentor.instances.default_boxes=box",),
                    "default boxes ignored": ("segmentor.instances.default_boxes=ignore",),
                    "copy-paste in half": ("segmentor.copy_paste=0.5",),
                    "averaged weights": ("segmentor.ema=true",),
                    "two views": ("predict.views=flip",),
                    "six views": ("predict.views=scales",),
                }.items()
            ),
        ],
        note="One segmentor on the masks of one network a seed.",
    ),
    "select": Table(
        "Which of a segmenter's masks, and what P2Seg makes of them",
        {"first maps' mIoU": ("semantic", "miou"), **MASKS},
        [
            *(_chosen(select) for select in ("score", "largest", "smallest")),
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
        note=MASKS_NOTE + " Candidates as they are where no P2Seg is named; drawn and real: of the "
        "simulated segmenter.",
        words=NO_SEGMENTOR,
    ),
    "maps": Table(
        "Source and quality of the first semantic maps",
        {"first maps' mIoU": ("semantic", "miou"), "masks' mIoU": ("mdm", "quality", "miou")}
        | BESIDE_CONTROL,
        [
            Row("as configured", COCO),
            Row("GrabCut", COCO, ("semantic=grabcut",), own_clicks=True),
            Row("oracle", COCO, _oracle(), own_clicks=True),
            Row("oracle, 2 px eroded", COCO, _oracle("erode=2"), own_clicks=True),
            Row("oracle, 2 px dilated", COCO, _oracle("dilate=2"), own_clicks=True),
            Row("oracle, borders wave by 4 px", COCO, _oracle("noise=4"), own_clicks=True),
            Row("oracle, 3 in 10 lose a part", COCO, _oracle("missing=0.3"), own_clicks=True),
            Row(
                "oracle, all three: missing, waving, eroded",
                COCO,
                _oracle("missing=0.3", "noise=4", "erode=2"),
                own_clicks=True,
            ),
        ],
        note=MASKS_NOTE + " The control is Eq. 1 without a network; mIoU: of the class maps.",
        words=NO_SEGMENTOR,
    ),
}
