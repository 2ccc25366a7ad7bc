"""How regions with several points are split: in the seeds, in S2I and at export."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from strategies import points_of
from torch import nn

from p2seg.data.coco import decode, read_instances
from p2seg.data.images import read_image
from p2seg.method.rounds import MutualDistillation
from p2seg.method.s2i import semantic_to_instances
from p2seg.method.seed import Seeder
from p2seg.method.split import Split
from p2seg.pseudo.network import NetworkLabeler
from p2seg.structures import Outputs

GEODESIC = Split("geodesic")


def two_tone(height: int, width: int, edge: int) -> torch.Tensor:
    """`[1, 3, H, W]`: dark before the column `edge`, light from it on."""
    image = torch.full((1, 3, height, width), 40, dtype=torch.uint8)
    image[..., edge:] = 200
    return image


def test_the_geodesic_distance_needs_images():
    with pytest.raises(ValueError, match="needs the images"):
        Seeder(split=GEODESIC)(torch.ones(1, 4, 4).long(), [points_of([(0, 0), (3, 3)], [1, 1])])


@pytest.mark.parametrize("clicks", [[(5, 2), (5, 19)], [(2, 13), (8, 15)], [(9, 0), (0, 30)]])
def test_seeds_are_cut_at_the_edge_wherever_the_clicks_are(clicks):
    semantic = torch.ones(1, 10, 32, dtype=torch.long)
    points = points_of(clicks, [1, 1])
    labels = Seeder(split=GEODESIC)(semantic, [points], two_tone(10, 32, 14))
    assert (labels.instances[0, :, :14] == 1).all()
    assert (labels.instances[0, :, 14:] == 2).all()
    euclidean = Seeder()(semantic, [points])
    assert not torch.equal(euclidean.instances, labels.instances)


def test_a_path_stays_in_the_region():
    """Two arms of a U: the tip of the left one is nearer to the right click, but not inside."""
    semantic = torch.zeros(1, 12, 9, dtype=torch.long)
    semantic[0, :, :3] = semantic[0, :, 6:] = semantic[0, 9:] = 1
    points = points_of([(11, 0), (0, 6)], [1, 1])
    image = two_tone(12, 9, 0)
    euclidean = Seeder()(semantic, [points], image).instances[0]
    geodesic = Seeder(split=GEODESIC)(semantic, [points], image).instances[0]
    assert euclidean[0, 2] == 2
    assert geodesic[0, 2] == 1


def test_semantic_first_drops_shared_regions_as_before():
    semantic = torch.ones(1, 6, 6, dtype=torch.long)
    points = points_of([(0, 0), (5, 5)], [1, 1])
    labels = Seeder("semantic_first", split=GEODESIC)(semantic, [points], two_tone(6, 6, 3))
    assert not labels.instances.any()


def test_s2i_splits_shared_regions_and_decodes_the_others():
    semantic = torch.ones(1, 8, 20, dtype=torch.long)
    semantic[0, :, 12:14] = 0
    points = points_of([(4, 1), (4, 11), (4, 16)], [1, 1, 1])
    image = two_tone(8, 20, 4)
    still = torch.zeros(1, 2, 8, 20)
    [made] = semantic_to_instances(
        semantic, still, [points], decode="point", split=GEODESIC, images=image
    )
    assert (made[:, :4] == 1).all()
    assert (made[:, 4:12] == 2).all()
    assert (made[:, 14:] == 3).all()


def test_s2i_decodes_classes_with_a_click_outside():
    """A part of the object whose click was cut off must not fall to its neighbor."""
    semantic = torch.ones(1, 8, 20, dtype=torch.long)
    points = points_of([(4, 1), (4, 8), (4, 28)], [1, 1, 1])
    image = two_tone(8, 20, 4)
    still = torch.zeros(1, 2, 8, 20)
    [made] = semantic_to_instances(
        semantic, still, [points], decode="point", split=GEODESIC, images=image
    )
    assert made[4, 19] == 3
    assert made[4, 3] == 1
    assert made[4, 4] == 1  # half way, not at the edge


def two_discs(radius: float = 10) -> tuple[torch.Tensor, torch.Tensor]:
    """`[1, 24, 44]`: a region of two discs side by side, and which pixel is of which (1, 2)."""
    y, x = torch.meshgrid(torch.arange(24.0), torch.arange(44.0), indexing="ij")
    discs = [(y - 12) ** 2 + (x - middle) ** 2 < radius**2 for middle in (12.5, 31.5)]
    semantic = (discs[0] | discs[1])[None].long()
    return semantic, semantic[0] * (1 + (x > 21.5).long())


@pytest.mark.parametrize("clicks", [[(12, 3), (12, 24)], [(12, 20), (12, 40)], [(5, 12), (19, 31)]])
def test_a_mixture_finds_two_discs_wherever_the_clicks_are(clicks):
    semantic, truth = two_discs()
    points = points_of(clicks, [1, 1])
    made = Seeder(split=Split("mixture"))(semantic, [points])
    wrong = (made.instances[0] != truth).sum()
    assert wrong <= 0.1 * (truth > 0).sum()
    assert wrong <= (Seeder()(semantic, [points]).instances[0] != truth).sum()


def test_a_mixture_begins_with_what_the_offsets_say():
    """Both clicks are on the left disc, and offsets know it: what points right is the second's."""
    semantic, truth = two_discs()
    points = points_of([(12, 8), (12, 18)], [1, 1])
    offset = torch.zeros(1, 2, 24, 44)
    x = torch.arange(44.0).expand(24, 44)
    offset[0, 1] = torch.where(x > 21.5, 18.5, 8.5) - x
    made = semantic_to_instances(semantic, offset, [points], decode="point", split=Split("mixture"))
    assert (made[0] != truth).sum() <= 2  # the second click's own pixel is on the left


def test_every_click_of_a_mixture_keeps_pixels():
    semantic = torch.ones(1, 3, 40, dtype=torch.long)
    clicks = [(1, x) for x in (0, 2, 4, 6, 38)]
    made = Seeder(split=Split("mixture"))(semantic, [points_of(clicks, [1] * 5)])
    assert set(made.instances.unique().tolist()) == {1, 2, 3, 4, 5}


class Still(nn.Module):
    """A network that is sure of class 1 and points nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.ones(()))

    def forward(self, images: torch.Tensor) -> Outputs:
        height, width = images.shape[2:]
        logits = torch.zeros(len(images), 2, height // 4, width // 4)
        logits[:, 1] = 9
        offset = torch.zeros_like(logits)
        return Outputs(logits, offset, torch.randn_like(logits))


def test_export_follows_the_image_whatever_the_rounds():
    points = points_of([(8, 2), (8, 30)], [1, 1])
    image = two_tone(16, 32, 8)[0]
    for rounds in (0, 2):
        labeler = NetworkLabeler(
            Still(), MutualDistillation(decode="point"), rounds, "network", split=GEODESIC
        )
        made = labeler(image, points, torch.ones(16, 32, dtype=torch.long)).instances
        assert (made[:, :8] == 1).all()
        assert (made[:, 8:] == 2).all()


@pytest.mark.slow
@pytest.mark.realdata
def test_on_photographs_the_geodesic_distance_is_better(realdata):
    """Oracle maps, random clicks, instances that with a neighbor of their class."""
    source = read_instances(realdata / "coco" / "annotations" / "instances_val2017.json")
    random = np.random.default_rng(0)
    gains = []
    for record, own in zip(source.images[:40], source.instances[:40], strict=True):
        masks = [decode(each) for each in own if not each.crowd]
        labels = [each.label for each in own if not each.crowd]
        if not masks or max(labels.count(each) for each in labels) < 2:
            continue
        semantic = np.zeros(masks[0].shape, np.int64)
        for mask, label in zip(masks, labels, strict=True):
            semantic[mask] = label
        clicks = [random.choice(np.argwhere(mask)) for mask in masks]
        points = points_of([tuple(map(float, yx)) for yx in clicks], labels)
        image = read_image(realdata / "coco" / "val2017" / record.file_name, semantic.shape)
        images = torch.from_numpy(image).permute(2, 0, 1)[None]
        first = torch.from_numpy(semantic)[None]
        for k, mask in enumerate(masks):
            if labels.count(labels[k]) > 1:
                gains.append([])
                for seeder in (Seeder(), Seeder(split=GEODESIC)):
                    made = (seeder(first, [points], images).instances[0] == k + 1).numpy()
                    gains[-1].append((made & mask).sum() / (made | mask).sum())
    euclidean, geodesic = np.mean(gains, axis=0)
    assert geodesic > euclidean + 0.01, f"{geodesic:.3f} against {euclidean:.3f} of {len(gains)}"
