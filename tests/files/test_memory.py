"""Memory: that a run takes no more than the README promises."""

import sys
from pathlib import Path

import pytest

import weights
from benchmarks.memory import bound_mib
from benchmarks.peak import peak
from tests.clips import make_clip

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="resident memory is told in KiB")


@pytest.mark.parametrize(
    ("size", "frames"), [((640, 360), 40), pytest.param((3840, 2160), 5, marks=pytest.mark.slow)]
)
def test_a_run_takes_no_more_memory_than_promised(
    size: tuple[int, int], frames: int, tmp_path: Path
) -> None:
    clip = make_clip(tmp_path / "in.mp4", frames=frames, size=size)
    found = peak(clip, tmp_path / "out.mp4", str(weights.path("lite")), "cpu")
    assert found.frames == frames
    assert found.mib < bound_mib(size)
