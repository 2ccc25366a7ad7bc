"""Tables looked up at every pixel."""

from __future__ import annotations

import numpy as np
from torch import Tensor


def look_up(tables: Tensor, index: Tensor) -> Tensor:
    """`tables[b, :, index[b]]`.

    Args:
        tables: `[B, n, M]`.
        index: `[B, H, W]` int32 or int64, 0..M-1.

    Returns:
        `[B, n, H, W]`, of the tables' dtype.
    """
    if index.device.type == "cpu":  # many times faster there than gather
        made = tables.new_empty(*tables.shape[:2], *index.shape[1:])
        for b, own in enumerate(index.numpy()):
            for table, out in zip(tables[b].numpy(), made[b].numpy(), strict=True):
                np.take(table, own, out=out, mode="clip")  # "raise" would go by a buffer
        return made
    flat: Tensor = index.flatten(1).long()[:, None].expand(-1, tables.shape[1], -1)
    return tables.gather(2, flat).view(*tables.shape[:2], *index.shape[1:])
