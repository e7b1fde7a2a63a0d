"""Frames restored one by one: of any kind, as files give them, and closed at any time."""

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import stream
from stream.files.job import Job
from stream.options.encoding import EncoderSettings
from stream.options.settings import Settings
from tests.clips import make_clip, picture

ALONE: dict[str, Any] = {"model": "none", "device": "cpu"}


def arrays(count: int = 9, kind: type[Any] = np.uint8) -> list[NDArray[Any]]:
    """A short film, with noise so that something is averaged away."""
    rng = np.random.default_rng(1)
    films = []
    for index in range(count):
        noisy = picture(index, 64, 48) + rng.normal(0, 6, (48, 64, 3))
        whole = np.clip(noisy, 0, 255)
        if kind is np.uint8:
            films.append(whole.astype(np.uint8))
        elif kind is np.uint16:
            films.append((whole * 257).astype(np.uint16))
        else:
            films.append((whole / 255).astype(kind))
    return films


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32, np.float64])
def test_what_is_not_restored_comes_back_as_it_was(kind: type[Any]) -> None:
    given = arrays(3, kind)
    made = list(stream.restore(given, strength=0, **ALONE))
    assert len(made) == 3
    for before, after in zip(given, made, strict=True):
        assert (after.dtype, after.shape) == (before.dtype, before.shape)
        if kind is np.uint8:
            np.testing.assert_array_equal(after, before)
        top = 65535 if kind is np.uint16 else 1
        off = np.abs(after.astype(float) - before.astype(float)).max()
        assert off <= (2 / 65535 * top if kind is not np.uint8 else 0)


def test_all_kinds_are_restored_alike() -> None:
    as_arrays = list(stream.restore(arrays(), **ALONE))
    assert any((a != b).any() for a, b in zip(as_arrays, arrays(), strict=True))
    tensors = [torch.from_numpy(each).permute(2, 0, 1) for each in arrays()]
    for array, tensor in zip(as_arrays, stream.restore(tensors, **ALONE), strict=True):
        assert tensor.dtype == torch.uint8
        np.testing.assert_array_equal(tensor.permute(1, 2, 0).numpy(), array)
    frames = [av.VideoFrame.from_ndarray(each, format="rgb24") for each in arrays()]
    for array, frame in zip(as_arrays, stream.restore(frames, **ALONE), strict=True):
        assert frame.format.name == "rgb24"
        np.testing.assert_array_equal(frame.to_ndarray(), array)
    floats = stream.restore([each.astype(np.float32) / 255 for each in arrays()], **ALONE)
    for array, real in zip(as_arrays, floats, strict=True):
        assert np.abs(np.rint(real * 255) - array).max() <= 1


def test_tensors_are_as_those_of_any_program() -> None:
    given = [torch.rand(3, 48, 64, requires_grad=True) for _ in range(2)]
    made = list(stream.restore(given, **ALONE))
    assert (made[0].sum() * given[0].sum()).requires_grad  # not of the inference mode
    half = list(stream.restore([each.detach().bfloat16() for each in given], **ALONE))
    assert half[0].dtype == torch.bfloat16


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le", "gray"])
def test_frames_of_pyav_are_restored_as_in_files(pix_fmt: str, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mkv", codec="ffv1", pix_fmt=pix_fmt)
    settings = Settings(model="none", device="cpu", encoder=EncoderSettings(codec="ffv1"))
    Job(clip, tmp_path / "out.mkv", settings).run()
    made = list(stream.restore(decoded(clip), **ALONE))
    expected = list(decoded(tmp_path / "out.mkv"))
    assert len(made) == len(expected) == 12
    for one, other in zip(made, expected, strict=True):
        assert (one.format.name, one.pts, one.time_base) == (pix_fmt, other.pts, other.time_base)
        assert (one.color_range, one.colorspace) == (other.color_range, other.colorspace)
        np.testing.assert_array_equal(one.to_ndarray(), other.to_ndarray())


def decoded(path: Path) -> Iterator[av.VideoFrame]:
    with av.open(str(path)) as container:
        yield from container.decode(video=0)


def test_frames_come_as_soon_as_can_be_and_no_more_are_taken() -> None:
    """With two frames each way, fused twice, and one by which motion is found: five later, of which
    none is taken too early."""
    taken = []

    def film() -> Iterator[NDArray[Any]]:
        for number, each in enumerate(arrays(20)):
            taken.append(number)
            yield each

    with stream.restore(film(), fuse=2, **ALONE) as frames:
        next(frames)
        assert len(taken) == 6
        next(frames)
        assert len(taken) == 7
    assert list(frames) == []
    assert len(taken) == 7
    taken.clear()
    with closing(stream.restore(film(), fuse=2, delay=0, **ALONE)) as at_once:
        next(at_once)
        assert len(taken) == 1


def test_frames_can_be_enlarged_and_told_the_shutter() -> None:
    large = list(stream.restore(arrays(4), upscale="2", shutter="1/50", model="lite", device="cpu"))
    assert [each.shape for each in large] == [(96, 128, 3)] * 4


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        ([np.zeros((48, 64, 3), np.uint8), np.zeros((48, 32, 3), np.uint8)], "frame 1 is 48x32x3"),
        ([np.zeros((48, 64, 3), np.uint8), np.zeros((48, 64, 3), float)], "of float64, and the"),
        ([np.zeros((48, 64), np.uint8)], r"frame 0 is 48x64 of uint8; frames are \(H, W, 3\)"),
        ([np.zeros((48, 64, 3), np.int32)], "use uint8, uint16 or float"),
        (["frame"], "str is no frame"),
        ([av.VideoFrame(64, 48), av.VideoFrame(32, 48)], "32x48 in yuv420p, and the first one was"),
    ],
)
def test_frames_that_do_not_fit_are_named(frames: list[Any], said: str) -> None:
    with pytest.raises(stream.SourceError, match=said):
        list(stream.restore(frames, **ALONE))


def test_options_that_make_no_sense_are_named_at_once() -> None:
    for wrong in ({"strength": 2}, {"rate": 0}, {"shutter": "long"}, {"fuse": 9}):
        with pytest.raises(stream.UsageError):
            stream.restore([], **wrong)
    assert list(stream.restore([])) == []


def test_importing_stays_light() -> None:
    code = "import sys, stream; assert not {'torch', 'av', 'cv2', 'numpy'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)


LIVE = textwrap.dedent(
    """
    import multiprocessing, sys, time
    import stream

    if __name__ == "__main__":
        lines = []
        feed = stream.open_live("testsrc:?size=64x48", model="none", say=lines.append)
        with feed as frames:
            seen = [frame for _, frame in zip(range(5), frames)]
        assert [frame.rgb.shape for frame in seen] == [(48, 64, 3)] * 5
        assert all(a.seconds < b.seconds for a, b in zip(seen, seen[1:]))
        assert all(frame.dropped >= 0 for frame in seen)
        assert seen[0].cut
        assert any("connected" in line for line in lines), lines
        assert not multiprocessing.active_children()
        assert next(frames, None) is None
        try:
            stream.open_live("nonsense:")
        except stream.UsageError:
            print("refused")
        played = stream.open_live("shaky.mp4", realtime=True, model="none")
        print(sum(1 for _ in played), "frames")
        assert not multiprocessing.active_children()
    """
)


def test_a_camera_is_watched_frame_by_frame(tmp_path: Path) -> None:
    (tmp_path / "watch.py").write_text(LIVE)
    make_clip(tmp_path / "shaky.mp4", time_base=Fraction(1, 10))
    done = subprocess.run(
        [sys.executable, "watch.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    refused, frames = done.stdout.splitlines()
    assert refused == "refused"
    # A file is played whether its network is loaded yet or not.
    assert int(frames.split()[0]) <= 12
