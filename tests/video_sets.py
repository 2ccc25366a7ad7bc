"""Videos for tests."""

from __future__ import annotations

import cv2
import numpy as np


def write_video(path, count=7, size=(48, 64), rate=10.0, frames=None):
    """Writes a Motion JPEG of gray frames, frame k of level 20 k, or of given RGB frames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = (
        [np.full((*size, 3), 20 * k, np.uint8) for k in range(count)] if frames is None else frames
    )
    code = cv2.VideoWriter.fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(path), code, rate, frames[0].shape[1::-1])
    assert writer.isOpened()
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[:, :, ::-1]))
    writer.release()
    return path
