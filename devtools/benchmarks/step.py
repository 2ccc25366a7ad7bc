"""Benchmarks a training step with and without each option, next to the network alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from devtools.benchmarks.measure import Precision, Row, compared, with_precision
from p2seg.engine.optim import adamw
from p2seg.method.losses import P2SegLoss
from p2seg.method.p2seg import P2Seg
from p2seg.method.rounds import MutualDistillation
from p2seg.method.seed import Seeder
from p2seg.models.backbones import build_backbone
from p2seg.models.network import P2SegNetwork
from p2seg.structures import Batch, Points, Sample, to_device

BATCH, CLASSES = 8, 20


@dataclass(frozen=True)
class Setting:
    """Options of a step."""

    name: str
    precision: Precision = "float32"
    channels_last: bool = False
    compiled: bool = False


SETTINGS = [
    Setting("float32"),
    Setting("channels last", channels_last=True),
    Setting("tf32", "tf32"),
    Setting("tf32, channels last", "tf32", channels_last=True),
    Setting("bf16", "bf16"),
    Setting("bf16, channels last", "bf16", channels_last=True),
    Setting("bf16, channels last, compiled", "bf16", channels_last=True, compiled=True),
]


def batch_of(side: int, count: int = BATCH, classes: int = CLASSES) -> Batch:
    """Returns noise with class blobs, eight clicks per image, and their seeds."""
    random = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    samples = []
    for k in range(count):
        semantic = torch.zeros(side, side, dtype=torch.long)
        labels = torch.randint(1, classes + 1, (8,), generator=random)
        yx = torch.randint(0, side, (8, 2), generator=random)
        for (cy, cx), label in zip(yx.tolist(), labels, strict=True):
            semantic[(y - cy) ** 2 + (x - cx) ** 2 < (side / 6) ** 2] = label
        points = Points(yx.float(), labels, torch.arange(8))
        image = torch.randint(0, 256, (3, side, side), generator=random, dtype=torch.uint8)
        seed = Seeder()(semantic[None], [points]).of_image(0)
        samples.append(Sample(str(k), image, points, seed))
    return Batch.of(samples)


def network_of(device: torch.device) -> tuple[P2SegNetwork, int, str]:
    """Returns HRNet-48 at 416 px on a GPU, and the network of the drawn set on a CPU."""
    torch.manual_seed(0)
    if device.type == "cuda":
        backbone = build_backbone("hrnet_w48.ms_in1k", pretrained=False, feature_location="")
        network = P2SegNetwork(backbone, CLASSES)
        return network.to(device), 416, "HRNet-48"
    small = build_backbone("resnet18", pretrained=False)
    network = P2SegNetwork(small, CLASSES, width=64, embedding=32)
    return network, 128, "ResNet-18"


def suite(device: torch.device, repeats: int) -> list[Row]:
    """Yields one row per setting; on a CPU only those in float32."""
    settings = [s for s in SETTINGS if device.type == "cuda" or s.precision == "float32"]
    return [row_of(setting, device, repeats) for setting in settings]


def row_of(setting: Setting, device: torch.device, repeats: int) -> Row:
    """Measures a step with a setting, next to a step of the network alone."""
    network, side, name = network_of(device)
    if setting.channels_last:
        network.to(memory_format=torch.channels_last)
    if setting.compiled:
        network.compile()
    batch = to_device(batch_of(side), device)
    method = P2Seg(MutualDistillation(rounds=1, beta=20.0), P2SegLoss(), start_step=0)

    def whole(model: nn.Module) -> Tensor:
        losses = method.objective(model, batch, 0)
        return torch.stack(list(losses.values())).sum()

    def alone(model: nn.Module) -> Tensor:
        return torch.stack([each.float().square().mean() for each in model(batch.images)[:3]]).sum()

    return compared(
        _step(network, whole, setting),
        _step(network, alone, setting),
        device,
        repeats,
        name=f"step of {name}, {setting.name}",
        dtype=setting.precision,
        h=side,
        d=network.embedding,
        batch=BATCH,
        rival="the network without MDM and its losses",
    )


def _step(
    network: P2SegNetwork, objective: Callable[[nn.Module], Tensor], setting: Setting
) -> Callable[[], None]:
    optimizer = adamw(network, lr=1e-5)
    device = next(network.parameters()).device

    def work() -> None:
        with with_precision(setting.precision, device):
            total = objective(network)
        with with_precision("tf32" if setting.precision == "tf32" else "float32", device):
            optimizer.zero_grad()
            total.backward()
            optimizer.step()

    return work
