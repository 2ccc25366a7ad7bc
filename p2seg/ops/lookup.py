"""Table lookup per pixel."""

from __future__ import annotations

import numpy as np
from torch import Tensor


def look_up(tables: Tensor, index: Tensor) -> Tensor:
    """`tables[b, :, index[b]]`.

    Args:
        tables: `[B, n, M]`.
        index: `[B, H, W]` int32 or int64, 0..M-1.

    Returns:
        `[B, n, H, W]` with the dtype of `tables`.
    """
    if index.device.type == "cpu":  # much faster than torch.gather on the CPU
        values = tables.new_empty(*tables.shape[:2], *index.shape[1:])
        for b, positions in enumerate(index.numpy()):
            for table, out in zip(tables[b].numpy(), values[b].numpy(), strict=True):
                np.take(table, positions, out=out, mode="clip")  # mode="raise" makes a copy
        return values
    flat: Tensor = index.flatten(1).long()[:, None].expand(-1, tables.shape[1], -1)
    return tables.gather(2, flat).view(*tables.shape[:2], *index.shape[1:])
