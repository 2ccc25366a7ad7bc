"""The network: shapes for any size, gradients everywhere, and what its numbers mean."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from networks import tiny_network
from strategies import points_of
from torch import nn

from p2seg.method.losses import P2SegLoss
from p2seg.method.p2seg import P2Seg
from p2seg.method.rounds import MutualDistillation
from p2seg.method.seed import Seeder
from p2seg.models.heads import ASPP
from p2seg.models.network import IMAGENET_MEAN, IMAGENET_STD, OFFSET_UNIT
from p2seg.structures import Batch, Labels, Sample


def batch_of(side=64, count=2):
    """Random images with two touching objects and one of another class."""
    random = torch.Generator().manual_seed(3)
    semantic = torch.zeros(side, side, dtype=torch.long)
    semantic[4:30, 4:56] = 1
    semantic[36:60, 8:30] = 2
    points = points_of([(15, 15), (17, 45), (50, 18)], [1, 1, 2])
    labels = Seeder()(semantic[None], [points]).of_image(0)
    return Batch.of(
        [
            Sample(
                f"{k}.png",
                torch.randint(0, 256, (3, side, side), generator=random, dtype=torch.uint8),
                points,
                labels,
            )
            for k in range(count)
        ]
    )


@pytest.mark.parametrize("size", [(1, 1), (3, 70), (33, 47), (64, 64), (65, 31), (1, 600)])
def test_outputs_are_at_stride_4_for_any_size(size):
    network = tiny_network(5).eval()
    height, width = size
    images = torch.zeros(2, 3, height, width, dtype=torch.uint8)
    with torch.no_grad():
        made = network(images)
    h, w = -(-height // 4), -(-width // 4)
    assert made.class_logits.shape == (2, 6, h, w)
    assert made.offset.shape == (2, 2, h, w)
    assert made.embedding.shape == (2, 4, h, w)
    assert all(bool(each.isfinite().all()) for each in made[:3])


def test_a_batch_of_one_can_be_trained():
    network = tiny_network().train()
    images = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    assert network(images).class_logits.shape == (1, 3, 16, 16)
    ASPP(4, 4, (1,)).pooled.train()(torch.zeros(1, 4, 1, 1))  # no batch norm on the image's mean


def test_padding_inside_is_the_mean_color_beside_the_image():
    network = tiny_network().eval()
    network.mean, network.std = torch.zeros(3, 1, 1), torch.ones(3, 1, 1)  # black is the mean
    image = torch.randint(0, 256, (1, 3, 60, 50), dtype=torch.uint8)
    padded = nn.functional.pad(image, (0, 14, 0, 4))
    with torch.no_grad():
        one, other = network(image), network(padded)
    assert one.offset.shape == (1, 2, 15, 13)
    torch.testing.assert_close(one.class_logits, other.class_logits[..., :15, :13])
    torch.testing.assert_close(one.embedding, other.embedding[..., :15, :13])


OPTIONS = [
    {},
    {"norm": "group"},
    {"norm": "frozen"},
    {"embedding": 0},
    {"detail": 4},
    {"decoder": "none"},
]


def method_of(options):
    """A method with rounds and affinities, or without them."""
    some = options.get("embedding") != 0
    loss = P2SegLoss(affinity=float(some), hard_pixel_ratio=1.0)
    return P2Seg(MutualDistillation(rounds=int(some)), loss, start_step=0)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_parameter_gets_a_gradient_from_the_objective(options):
    network = tiny_network(2, **options).train()
    batch = batch_of()
    losses = method_of(options).objective(network, batch, 0)
    torch.stack(list(losses.values())).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        unseen = options.get("decoder") == "none" and name.startswith("backbone.")
        assert unseen or parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("options", OPTIONS[:4], ids=str)
def test_a_batch_without_any_label_keeps_every_parameter_in_the_graph(options):
    """Or a process of a distributed run, with such a batch, would let the others wait."""
    network = tiny_network(2, **options).train()
    batch = batch_of()
    nothing = Labels(
        torch.full_like(batch.labels.semantic, 255),
        torch.zeros_like(batch.labels.instances),
    )
    batch = replace(batch, labels=nothing, points=[points_of([(-9, -9)], [1])] * 2)
    method = replace(method_of(options), start_step=1)
    for step in (0, 1):
        network.zero_grad()
        losses = method.objective(network, batch, step)
        torch.stack(list(losses.values())).sum().backward()
        assert all(p.grad is not None for p in network.parameters())


def test_images_are_normalized_as_imagenet_was():
    network = tiny_network()
    seen = []
    network.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    image = torch.tensor([10, 128, 255], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 32, 30)
    network.eval()(image)
    for channel, value in enumerate((10, 128, 255)):
        wanted = (value / 255 - IMAGENET_MEAN[channel]) / IMAGENET_STD[channel]
        assert seen[0][0, channel, 5, 5] == pytest.approx(wanted, abs=1e-5)
    assert seen[0].shape == (1, 3, 32, 32)
    assert (seen[0][..., 30:] == 0).all()  # padding is the mean color


def test_an_offset_unit_is_64_pixels():
    network = tiny_network().eval()
    last = network.offset_head[-1]
    assert isinstance(last, nn.Conv2d)
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.tensor([0.5, -1.0]))
        offset = network(torch.zeros(1, 3, 32, 32, dtype=torch.uint8)).offset
    assert OFFSET_UNIT == 64
    assert (offset[:, 0] == 32).all()
    assert (offset[:, 1] == -64).all()


def test_offsets_start_near_zero():
    offset = tiny_network().train()(batch_of().images).offset
    assert offset.abs().mean() < 4


def test_evaluation_is_image_by_image():
    network = tiny_network().eval()
    images = batch_of(count=3).images
    with torch.no_grad():
        whole = network(images)
        for k in range(3):
            alone = network(images[k : k + 1])
            for name in ("class_logits", "offset", "embedding"):
                torch.testing.assert_close(
                    getattr(whole, name)[k], getattr(alone, name)[0], rtol=1e-4, atol=1e-5
                )


def test_a_detail_head_gives_class_logits_of_every_pixel():
    network = tiny_network(3, detail=4).eval()
    for height, width in ((64, 48), (33, 47), (1, 5)):
        images = torch.randint(0, 256, (2, 3, height, width), dtype=torch.uint8)
        with torch.no_grad():
            made = network(images)
        assert made.detailed_logits.shape == (2, 4, height, width)
        assert made.class_logits.shape == (2, 4, -(-height // 4), -(-width // 4))
    whole = nn.functional.avg_pool2d(made.detailed_logits, (1, 4))
    assert whole.shape[2:] == (1, 1)
    images = torch.randint(0, 256, (1, 3, 32, 64), dtype=torch.uint8)
    with torch.no_grad():
        made = network(images)
    mean = nn.functional.avg_pool2d(made.detailed_logits, 4)
    torch.testing.assert_close(made.class_logits, mean)


def test_a_detail_head_sees_single_pixels():
    """A pixel that differs changes its own logits more than those eight pixels away."""
    network = tiny_network(2, detail=8).eval()
    image = torch.full((1, 3, 64, 64), 120, dtype=torch.uint8)
    other = image.clone()
    other[:, :, 33, 33] = 255
    with torch.no_grad():
        change = (network(other).detailed_logits - network(image).detailed_logits).abs().sum(1)[0]
    assert change[33, 33] > 2 * change[33, 41]


def test_without_decoders_heads_look_at_the_finest_map():
    """The authors' heads on HRNet: a 3x3 convolution and a 1x1; one 3x3 for the affinity."""
    network = tiny_network(2, decoder="none", width=16, embedding=5).eval()
    own = sum(p.numel() for n, p in network.named_parameters() if not n.startswith("backbone."))
    channels = network.backbone.channels[0]
    heads = 2 * (channels * 16 * 9 + 16) + (3 + 2) * (16 + 1)
    assert own == heads + 5 * (channels * 9 + 1)
    made = network(torch.zeros(1, 3, 64, 48, dtype=torch.uint8))
    assert made.embedding.shape == (1, 5, 16, 12)
