"""Rows and tables of runs, and the settings and columns that tables share."""

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
"""The value of `{size}` in the settings of a row, by data set."""
SOLO = ("segmentor=solov2_{size}",)
MASK2FORMER = ("segmentor=mask2former_{size}",)


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        name: name of the row.
        experiments: the experiment by data set; a data set that is missing here has no such row.
        words: settings of the row, as on the command line; see `SIZES`.
        paper: the paper's numbers, one per column.
        missing: why the row is not run if it is not.
        needs: prefix of a setting that the row requires on the full data.
        stage: the masks to score, or to train the segmentation model on: `mdm`; `control` and
            `seed` without a network; `sam` and `sam_network` for selected candidates.
        network: the row whose network makes this row's masks. This row must repeat the network
            settings of that row. Empty: the row trains its own network.
        own_clicks: true if the row does not share clicks and initial semantic maps with others.
        script: the script that makes the run.
        more: settings of the run that change no mask; they are not part of its folder name.
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
        """Returns the settings for a data set."""
        return tuple(word.replace("{size}", SIZES.get(data, "")) for word in self.words)


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        title: the first line.
        columns: path of each value in the report of a run; `mdm` stands for the row's stage.
        rows: the rows in their order.
        note: the last line.
        words: settings of all runs.
    """

    title: str
    columns: dict[str, Keys]
    rows: list[Row]
    note: str = ""
    words: tuple[str, ...] = SEGMENTOR


def model_columns(*names: str, kind: str = "voc_area") -> dict[str, Keys]:
    """Returns columns with scores of a segmentation model on the val images."""
    return {name: ("segmentor", kind, name) for name in names}


SCORES = model_columns("mAP25", "mAP50", "mAP70", "mAP75")
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
MINE = "S2I + I2S"
