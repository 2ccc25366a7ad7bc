"""Videos are read and written frame by frame."""

from __future__ import annotations

import numpy as np
import pytest
from video_sets import write_video

from p2seg.data.video import Video, VideoWriter
from p2seg.errors import UserError


def test_frames_come_in_order_with_their_numbers(tmp_path):
    video = Video(write_video(tmp_path / "it's 100%d: a.avi"))
    assert (video.rate, video.count) == (10, 7)
    frames = list(video.frames())
    assert [number for number, _ in frames] == list(range(7))
    assert all(frame.shape == (48, 64, 3) for _, frame in frames)
    np.testing.assert_allclose([frame.mean() for _, frame in frames], np.arange(7) * 20, atol=3)
    every = list(video.frames(3))
    assert [number for number, _ in every] == [0, 3, 6]
    np.testing.assert_array_equal(every[1][1], frames[3][1])


def test_frames_are_rgb(tmp_path):
    red = np.zeros((48, 64, 3), np.uint8)
    red[:, :, 0] = 255
    [(_, frame)] = Video(write_video(tmp_path / "a.avi", frames=[red])).frames()
    np.testing.assert_allclose(frame.mean((0, 1)), (255, 0, 0), atol=4)


@pytest.mark.parametrize("content", [b"", b"no video" * 99], ids=["empty", "broken"])
@pytest.mark.parametrize("ending", ["mp4", "avi"])
def test_what_is_no_video_is_one_sentence(tmp_path, content, ending, capfd):
    path = tmp_path / f"a.{ending}"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"a\.{ending} is not a video"):
        Video(path)
    with pytest.raises(UserError, match="no video at"):
        Video(tmp_path / "none.mp4")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("size", "rate", "kept"),
    [((48, 64), 10, 10), ((47, 65), 2.5, 2.5), ((2, 300), 119.88, 120), ((1, 64), 0.5, 0.5)],
)
def test_what_is_written_is_read_again(tmp_path, size, rate, kept):
    with VideoWriter(tmp_path / "out/a.mp4", rate) as writer:
        for level in (0, 100, 200):
            writer.write(np.full((*size, 3), level, np.uint8))
    video = Video(tmp_path / "out/a.mp4")
    assert (video.count, video.rate) == (3, pytest.approx(kept, rel=1e-3))
    frames = [frame for _, frame in video.frames()]
    assert {frame.shape[:2] for frame in frames} == {tuple(max(2, n - n % 2) for n in size)}
    np.testing.assert_allclose([frame.mean() for frame in frames], (0, 100, 200), atol=6)


def test_a_frame_of_another_size_is_brought_to_the_first(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", 5) as writer:
        for size in ((48, 64), (20, 30)):
            writer.write(np.zeros((*size, 3), np.uint8))
    assert Video(tmp_path / "a.mp4").count == 2


def test_a_video_is_written_whole_or_not_at_all(tmp_path):
    (tmp_path / "a.mp4").write_text("before")

    def interrupted():
        with VideoWriter(tmp_path / "a.mp4", 5) as writer:
            writer.write(np.zeros((48, 64, 3), np.uint8))
            raise KeyError

    with pytest.raises(KeyError):
        interrupted()
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    assert (tmp_path / "a.mp4").read_text() == "before"
