"""The state of a running training: saving it to a checkpoint and resuming from it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, distributed, nn

from p2seg.engine.checkpoint import CheckpointFolder, save_checkpoint
from p2seg.engine.optim import WeightAverage
from p2seg.errors import UserError
from p2seg.runtime.progress import console
from p2seg.runtime.ranks import seed_rank
from p2seg.runtime.settings import effect_of, flat
from p2seg.structures import to_device

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_FIXED = ("inputs", "categories", "skipped")
"""Entries that must be equal to resume, besides the settings."""


class TrainingState:
    """Weights, averaged weights, optimizer, scaler and random states of a running training.

    Args:
        fabric: the run.
        module: the model.
        optimizer: optimizer of the model's parameters.
        average: moving average of the weights, or None.
        content: further entries of the checkpoint; see `Trainer.fit`.

    Attributes:
        best: best validation score so far.
        unvalidated: whether the validation after the last step is still missing.
    """

    def __init__(
        self,
        fabric: Fabric,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        average: WeightAverage | None,
        content: dict[str, Any],
    ) -> None:
        self.fabric = fabric
        self.module = module
        self.optimizer = optimizer
        self.average = average
        self.content = content
        self.best: float | None = None
        self.unvalidated = False

    @property
    def scaler(self) -> Any:
        """The gradient scaler of 16-mixed precision, else None."""
        return getattr(self.fabric._precision, "scaler", None)

    def average_to(self, device: torch.device) -> None:
        """Moves the averaged weights to a device."""
        if self.average is not None:
            self.average.state = to_device(self.average.state, device)

    def collected(self, step: int) -> dict[str, Any]:
        """The content of a checkpoint. Collective: every rank must call it."""
        random, random_gpu = map(self._gathered, _random_states(self.fabric.device))
        average = self.average
        return {
            **self.content,
            "step": step,
            "model": self.module.state_dict(),
            "average": None if average is None else average.state,
            "average_updates": 0 if average is None else average.updates,
            "optimizer": self.optimizer.state_dict(),
            "scaler": None if self.scaler is None else self.scaler.state_dict(),
            "best": self.best,
            "unvalidated": self.unvalidated,
            "random": random,
            "random_gpu": random_gpu,
        }

    collected_keys = ("step", "model", "average", "optimizer", "scaler", "random", "random_gpu")
    """Entries that are required to resume."""

    @contextmanager
    def averaged(self) -> Iterator[nn.Module]:
        """Within the block, the module in evaluation mode with the averaged weights, if any."""
        own = {}
        if self.average is not None:
            own = {k: v.detach().clone() for k, v in self.module.state_dict().items()}
            self.module.load_state_dict(self.average.state)
        try:
            yield self.module.eval()
        finally:
            if own:
                self.module.load_state_dict(own)
            self.module.train()

    def snapshot(self, path: Path, step: int) -> None:
        """Writes the weights that prediction uses: the averaged ones if there are any."""
        state = self.module.state_dict() if self.average is None else self.average.state
        save_checkpoint(path, {**self.content, "step": step, "model": state, "average": None})

    def restore(self, folder: CheckpointFolder, *, changed: bool) -> int:
        """Loads the newest checkpoint, if there is one.

        Args:
            folder: folder of the checkpoints.
            changed: whether to resume even with other settings.

        Returns:
            The number of finished steps; 0 without a checkpoint.

        Raises:
            UserError: the checkpoint belongs to a run with other settings or another model.
        """
        newest = folder.newest()
        if newest is None:
            return 0
        path, saved, damage = newest
        if damage is not None:
            self._say(f"{damage}; going on from {path} instead")
        missing = sorted({*self.collected_keys} - saved.keys())
        if missing:
            raise UserError(
                f"{path} has weights, but no {missing[0]} to train on with; give a checkpoint of a "
                "training, such as last.pt, or resume=never to start over"
            )
        self._compare(path, saved, changed=changed)
        try:
            self.module.load_state_dict(saved["model"])
            self._restore_optimizer(saved["optimizer"])
        except (RuntimeError, ValueError) as error:
            raise UserError(
                f"{path} holds another model than this command builds; give another out=DIR, or "
                "resume=never to start over"
            ) from error
        if self.average is not None:
            self.average = WeightAverage(self.module)  # starts here if the checkpoint has none
            if saved["average"] is not None:
                self.average.state = saved["average"]
                self.average.updates = saved["average_updates"]
        if self.scaler is not None and saved["scaler"] is not None:
            self.scaler.load_state_dict(saved["scaler"])
        self._restore_random(path, saved)
        # scores on other images are not comparable
        if saved.get("validated_on") == self.content.get("validated_on"):
            best = saved.get("best")
            self.best = best if best is not None and math.isfinite(best) else None
        self.unvalidated = saved.get("unvalidated", False)
        return int(saved["step"])

    def _restore_optimizer(self, saved: dict[str, Any]) -> None:
        """Loads the optimizer state, but keeps the optimizer settings of this command."""
        groups = self.optimizer.param_groups
        own = [{k: v for k, v in group.items() if k != "params"} for group in groups]
        of_adam = ("betas" in group for group in (saved["param_groups"][0], own[0]))
        if len({*of_adam}) > 1:
            self._say("another kind of optimizer: it starts without what the old one had learned")
            return
        self.optimizer.load_state_dict(saved)
        for group, settings in zip(self.optimizer.param_groups, own, strict=True):
            group.update(settings)

    def _restore_random(self, path: Path, saved: dict[str, Any]) -> None:
        rank, world, device = self.fabric.global_rank, self.fabric.world_size, self.fabric.device
        if len(saved["random"]) == world:
            # a copy, because torch crashes on a view with a storage offset
            torch.set_rng_state(saved["random"][rank].clone())
            if device.type == "cuda" and saved["random_gpu"][rank].numel():
                torch.cuda.set_rng_state(saved["random_gpu"][rank].clone(), device)
            return
        self._say(
            f"{path} is of {len(saved['random'])} processes and {world} go on: the images come in "
            "the same order, but what a model draws for itself, such as proposals, is another draw"
        )
        torch.manual_seed(torch.initial_seed() + int(saved["step"]))
        seed_rank(torch.initial_seed(), rank)

    def _compare(self, path: Path, saved: dict[str, Any], *, changed: bool) -> None:
        """Refuses to resume with settings that affect the result; prints those of rounding."""
        other, harmless = differences(saved, self.content)
        if other and not changed:
            raise UserError(
                f"{path} was trained with other settings ({', '.join(other)}); give another "
                "out=DIR, resume=never to start over, or resume=changed to go on all the same"
            )
        if other:
            self._say(f"going on with other settings than {path}: {', '.join(other)}")
        if harmless:
            self._say(f"other settings, which only affect rounding: {', '.join(harmless)}")

    def _say(self, sentence: str) -> None:
        if self.fabric.global_rank == 0:
            console.print(sentence, markup=False)

    def _gathered(self, state: Tensor) -> Tensor:
        """The random states of all ranks, `[ranks, bytes]` uint8."""
        if self.fabric.world_size == 1:
            return state[None]
        own = state.to(self.fabric.device)
        states = [torch.empty_like(own) for _ in range(self.fabric.world_size)]
        distributed.all_gather(states, own)
        return torch.stack(states).cpu()


def differences(saved: dict[str, Any], present: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Compares a checkpoint with the run that resumes from it.

    Args:
        saved: content of the checkpoint.
        present: content that the run would save.

    Returns:
        Descriptions of the settings that differ: those that affect the result, and those that
        affect rounding only.
    """
    old, new = (
        {**flat(each.get("settings", {})), **_deciding(each)}
        if "settings" in saved
        else _deciding(each)
        for each in (saved, present)
    )
    changes = _changes(old, new)
    result = [text for key, text in changes.items() if effect_of(key) == "result"]
    return result, [text for key, text in changes.items() if effect_of(key) == "rounding"]


def _deciding(content: dict[str, Any]) -> dict[str, Any]:
    """The entries of a checkpoint that affect the result, flattened."""
    fixed = {key: content[key] for key in _FIXED if key in content}
    return flat({**content.get("config", {}), **fixed})


def _changes(old: dict[str, Any], new: dict[str, Any]) -> dict[str, str]:
    """A description of each difference, by key."""
    other = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    return {key: f"{key} was {old.get(key)!s:.60} and is {new.get(key)!s:.60}" for key in other}


def _random_states(device: torch.device) -> tuple[Tensor, Tensor]:
    """States of the random generators of CPU and GPU (empty without GPU), each `[bytes]` uint8."""
    gpu = torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.empty(0).byte()
    return torch.get_rng_state(), gpu
