"""Geodesic distance: in the seeds, in S2I and at export."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from strategies import points_of
from torch import nn

from p2seg.data.coco import decode, read_instances
from p2seg.data.images import read_image
from p2seg.mdm.distance import Distance
from p2seg.mdm.rounds import MutualDistillation
from p2seg.mdm.s2i import semantic_to_instances
from p2seg.mdm.seed import Seeder
from p2seg.pseudo.network import NetworkLabeller
from p2seg.structures import Outputs

GEODESIC = Distance("geodesic")


def two_tone(height: int, width: int, edge: int) -> torch.Tensor:
    """`[1, 3, H, W]`: dark before the column `edge`, light from it on."""
    image = torch.full((1, 3, height, width), 40, dtype=torch.uint8)
    image[..., edge:] = 200
    return image


def test_the_euclidean_distance_has_no_guide():
    assert Distance().guide(two_tone(4, 4, 2)) is None


def test_the_geodesic_distance_needs_images():
    with pytest.raises(ValueError, match="needs the images"):
        Seeder(distance=GEODESIC)(torch.ones(1, 4, 4).long(), [points_of([(0, 0), (3, 3)], [1, 1])])


@pytest.mark.parametrize("clicks", [[(5, 2), (5, 19)], [(2, 13), (8, 15)], [(9, 0), (0, 30)]])
def test_seeds_are_cut_at_the_edge_wherever_the_clicks_are(clicks):
    semantic = torch.ones(1, 10, 32, dtype=torch.long)
    points = points_of(clicks, [1, 1])
    labels = Seeder(distance=GEODESIC)(semantic, [points], two_tone(10, 32, 14))
    assert (labels.instances[0, :, :14] == 1).all()
    assert (labels.instances[0, :, 14:] == 2).all()
    assert labels.weight.min() > 0.4  # an edge is far to cross: no pixel of it is in doubt
    euclidean = Seeder()(semantic, [points])
    assert not torch.equal(euclidean.instances, labels.instances)


def test_a_path_stays_in_the_region():
    """Two arms of a U: the tip of the left one is nearer to the right click, but not inside."""
    semantic = torch.zeros(1, 12, 9, dtype=torch.long)
    semantic[0, :, :3] = semantic[0, :, 6:] = semantic[0, 9:] = 1
    points = points_of([(11, 0), (0, 6)], [1, 1])
    image = two_tone(12, 9, 0)
    euclidean = Seeder()(semantic, [points], image).instances[0]
    geodesic = Seeder(distance=GEODESIC)(semantic, [points], image).instances[0]
    assert euclidean[0, 2] == 2
    assert geodesic[0, 2] == 1


def test_semantic_first_drops_shared_regions_as_before():
    semantic = torch.ones(1, 6, 6, dtype=torch.long)
    points = points_of([(0, 0), (5, 5)], [1, 1])
    labels = Seeder("semantic_first", distance=GEODESIC)(semantic, [points], two_tone(6, 6, 3))
    assert not labels.instances.any()


def test_s2i_follows_the_guide_in_shared_regions_and_decodes_the_others():
    semantic = torch.ones(1, 8, 20, dtype=torch.long)
    semantic[0, :, 12:14] = 0
    points = points_of([(4, 1), (4, 11), (4, 16)], [1, 1, 1])
    guide = GEODESIC.guide(two_tone(8, 20, 4))
    still = torch.zeros(1, 2, 8, 20)
    [made] = semantic_to_instances(semantic, still, [points], decode="point", guide=guide)
    assert (made[:, :4] == 1).all()
    assert (made[:, 4:12] == 2).all()
    assert (made[:, 14:] == 3).all()


def test_s2i_decodes_classes_with_a_click_outside():
    """A part of the object whose click was cut off must not fall to its neighbour."""
    semantic = torch.ones(1, 8, 20, dtype=torch.long)
    points = points_of([(4, 1), (4, 8), (4, 28)], [1, 1, 1])
    guide = GEODESIC.guide(two_tone(8, 20, 4))
    still = torch.zeros(1, 2, 8, 20)
    [made] = semantic_to_instances(semantic, still, [points], decode="point", guide=guide)
    assert made[4, 19] == 3
    assert made[4, 3] == 1
    assert made[4, 4] == 1  # half way, not at the edge


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
        labeller = NetworkLabeller(
            Still(), MutualDistillation(decode="point"), rounds, "network", distance=GEODESIC
        )
        made = labeller(image, points, torch.ones(16, 32, dtype=torch.long)).instances
        assert (made[:, :8] == 1).all()
        assert (made[:, 8:] == 2).all()


@pytest.mark.slow
@pytest.mark.realdata
def test_on_photographs_the_geodesic_distance_is_better(realdata):
    """Oracle maps, random clicks, instances that with a neighbour of their class."""
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
                for seeder in (Seeder(), Seeder(distance=GEODESIC)):
                    made = (seeder(first, [points], images).instances[0] == k + 1).numpy()
                    gains[-1].append((made & mask).sum() / (made | mask).sum())
    euclidean, geodesic = np.mean(gains, axis=0)
    assert geodesic > euclidean + 0.01, f"{geodesic:.3f} against {euclidean:.3f} of {len(gains)}"
