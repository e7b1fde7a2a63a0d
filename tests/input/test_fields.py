"""Interlaced video: its fields are joined, or stay what they are."""

from pathlib import Path

import av
import numpy as np
import pytest

import stream
from stream.options.reading import Reading
from tests.pictures import (
    apart,
    combed,
    fields,
    frames,
    moving,
    packed,
    run,
    write,
)

FIELDS = {
    "libx264": (".mp4", {"bf": "0", "crf": "8"}),
    "mpeg2video": (".ts", {"flags": "+ildct+ilme", "bf": "0", "qmin": "1", "qmax": "2"}),
    "prores_ks": (".mov", {"flags": "+ildct"}),
    "ffv1": (".mkv", {}),
}


@pytest.mark.parametrize("upper_first", [True, False])
@pytest.mark.parametrize("codec", FIELDS)
def test_fields_are_joined_or_kept(codec: str, upper_first: bool, tmp_path: Path) -> None:
    suffix, options = FIELDS[codec]
    pictures, pix_fmt = moving(8, upper_first=upper_first), "yuv420p"
    if codec == "prores_ks":
        deep = [[plane.astype(np.uint16) * 4 for plane in planes] for planes in pictures]
        pictures = [[y, *(np.repeat(part, 2, axis=0) for part in uv)] for y, *uv in deep]
        pix_fmt = "yuv422p10le"
    if codec == "libx264":
        options = {**options, "x264-params": "tff=1" if upper_first else "bff=1"}
    path = write(
        tmp_path / f"in{suffix}",
        pix_fmt,
        pictures,
        codec=codec,
        options=options,
        upper_first=upper_first,
    )
    before, times = fields(path)
    assert before == {upper_first}
    kept = run(path, tmp_path / f"kept{suffix}", deinterlace="off", encoder=BEST)
    assert kept.conforms
    assert fields(kept.output) == (before, times)
    for number, frame in enumerate(frames(kept.output, Reading(deinterlace="off"))):
        scale = 2 ** (frame.coding.depth - 8)
        off = frame.planes[0].astype(float) - pictures[number][0]
        assert np.abs(off).mean() < 4 * scale
        assert combed(frame.planes) > 10 * scale
    for mode in ("auto", "on"):
        joined = run(path, tmp_path / f"{mode}{suffix}", deinterlace=mode, encoder=BEST)
        assert joined.conforms
        assert any("deinterlaced" in warning for warning in joined.warnings)
        assert fields(joined.output) == ({None}, times)
        for frame in frames(joined.output)[1:-1]:
            assert combed(frame.planes) < 2.5 * 2 ** (frame.coding.depth - 8)


BEST = stream.EncoderSettings()


def test_frames_that_are_not_interlaced_are_left_alone(tmp_path: Path) -> None:
    pictures = moving(6, upper_first=None)
    path = write(tmp_path / "in.mkv", "yuv420p", pictures)
    for mode in ("auto", "off"):
        made = frames(path, Reading(deinterlace=mode))
        assert [apart(a.planes, b) for a, b in zip(made, pictures, strict=True)] == [0] * 6
    # What is not marked can be combed all the same: "on" takes the upper field for the first.
    path = write(tmp_path / "in.mkv", "yuv420p", moving(6))
    assert all(combed(frame.planes) > 10 for frame in frames(path))
    forced = frames(path, Reading(deinterlace="on"))
    assert len(forced) == 6
    assert all(combed(frame.planes) < 2.5 for frame in forced[1:-1])


@pytest.mark.parametrize("size", [(64, 48), (65, 47), (2, 2), (4, 6)], ids=str)
def test_deinterlacing_keeps_the_colors_of_any_format(
    size: tuple[int, int], tmp_path: Path
) -> None:
    form = av.VideoFormat("yuv422p", *size)
    planes = [
        np.full((each.height, each.width), 50 + 60 * number, np.uint8)
        for number, each in enumerate(form.components)
    ]
    path = write(
        tmp_path / "in.mov",
        "uyvy422",
        [packed(planes, "uyvy")] * 3,
        size,
        tags=(1, 1, 1, 1),
        codec="rawvideo",
        upper_first=True,
    )
    for mode in ("auto", "on"):
        made = frames(path, Reading(deinterlace=mode))
        assert [apart(frame.planes, planes) for frame in made] == [0] * 3
