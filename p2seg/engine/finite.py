"""Checks of weights and outputs for NaN and infinity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from p2seg.errors import UserError

ADVICE = "give another checkpoint, or train again with a lower learning rate"


def not_finite(tensors: Mapping[Any, Any]) -> str | None:
    """The name of the first tensor that contains NaN or infinity; None if all are finite.

    Buffers are checked too. Integer tensors always pass. Sparse and complex tensors never pass,
    because no model of this package has them.

    Args:
        tensors: tensors by name, in nested mappings; other values are ignored.

    Returns:
        The keys that lead to the tensor, joined by dots.
    """
    left: list[tuple[str, Any]] = [("", tensors)]
    seen: set[int] = set()
    while left:
        name, each = left.pop()
        if isinstance(each, Tensor):
            if not _is_finite(each):
                return name
        elif isinstance(each, Mapping) and id(each) not in seen:
            seen.add(id(each))  # a mapping in a file may contain itself
            prefix = f"{name}." if name else ""
            left += [(f"{prefix}{key}", value) for key, value in reversed([*each.items()])]
    return None


def _is_finite(tensor: Tensor) -> bool:
    """Whether no value is NaN or infinite, computed without a copy of the tensor."""
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return True
    if tensor.is_complex() or tensor.layout is not torch.strided or tensor.is_meta:
        return False
    # an expanded tensor in a file can be larger than the memory, so repeated values are read once
    once = tensor.detach()[tuple(slice(None if stride else 1) for stride in tensor.stride())]
    if once.numel() * once.element_size() > once.untyped_storage().nbytes():
        return False
    if once.element_size() == 1:
        once = once.float()  # torch cannot compare 8-bit floats
    return not once.numel() or bool(torch.stack(torch.aminmax(once)).isfinite().all())


class NotFinite(UserError):
    """The outputs of a model contain NaN or infinity.

    Args:
        images: indices of the affected images in the batch.
        advice: what the user can do, for the message.
    """

    def __init__(self, images: Sequence[int] = (0,), advice: str = ADVICE) -> None:
        self.images = images
        self.advice = advice
        super().__init__(self._sentence("an image"))

    def on(self, names: Sequence[str]) -> UserError:
        """The error with the names of the images.

        Args:
            names: names of all images of the batch.
        """
        return UserError(self._sentence(", ".join(names[place] for place in self.images)))

    def _sentence(self, where: str) -> str:
        return (
            f"the model's outputs on {where} are not finite (NaN or infinity), although its "
            f"weights are; {self.advice}"
        )


@contextmanager
def naming(names: Sequence[str]) -> Iterator[None]:
    """Names the images in a `NotFinite` that is raised inside the block.

    Args:
        names: names of the images of the batch.

    Raises:
        UserError: the outputs on some images are not finite.
    """
    try:
        yield
    except NotFinite as error:
        raise error.on(names) from error


def check_outputs(*outputs: Any, advice: str = ADVICE) -> None:
    """Checks the outputs of a model.

    Args:
        outputs: tensors of any shape, or nested lists, tuples and mappings of tensors.
        advice: see `NotFinite`.

    Raises:
        NotFinite: a tensor contains NaN or infinity.
    """
    left = list(outputs)
    while left:
        each = left.pop()
        if isinstance(each, Tensor):
            if not _is_finite(each):
                raise NotFinite(advice=advice)
        elif isinstance(each, (list, tuple)):
            left += each
        elif isinstance(each, Mapping):
            left += each.values()


@contextmanager
def checked_outputs(*modules: nn.Module) -> Iterator[None]:
    """Within the block, checks the outputs of modules; for models that silently drop NaN.

    Raises:
        NotFinite: see `check_outputs`.
    """
    hooks = [each.register_forward_hook(lambda *made: check_outputs(made[-1])) for each in modules]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
