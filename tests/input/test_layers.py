"""Layers that a decoder does not give: alpha and second views of H.264 and HEVC are named."""

import re
from collections.abc import Callable
from pathlib import Path

import av
import pytest

import stream
from stream.verify import facts
from tests.clips import make_clip
from tests.pictures import run

HEVC = {"codec": "libx265", "options": {"x265-params": "log-level=error"}}
ALPHA_SEI = bytes([39 << 1, 1, 165, 4, 0, 0, 0x7F, 0x90, 0x80])
"""Prefix SEI of HEVC: alpha channel information."""


def auxiliary(unit: bytes) -> bytes:
    """A slice of H.264 as one of an auxiliary picture."""
    return bytes([unit[0] & 0xE0 | 19]) + unit[1:]


def extension(unit: bytes) -> bytes:
    """A slice of H.264 as one of another view, with its longer header."""
    return bytes([unit[0] & 0xE0 | 20, 0x40, 0, 7]) + unit[1:]


def second(unit: bytes) -> bytes:
    """A slice of HEVC as one of the second layer."""
    return bytes([unit[0], unit[1] | 8]) + unit[2:]


def with_layer(source: Path, output: Path, harm: Callable[[bytes], bytes], *also: bytes) -> Path:
    """A copy whose packets have each slice once more, changed, and other units before them."""
    with av.open(str(source)) as a, av.open(str(output), "w") as b:
        hevc = a.streams.video[0].codec_context.name == "hevc"
        added = b.add_stream_from_template(a.streams.video[0])
        annexb = not (a.streams.video[0].codec_context.extradata or b"").startswith(b"\1")
        for packet in a.demux(video=0):
            if not packet.size:
                continue
            data = bytes(packet)
            units = []
            if annexb:
                units = [each.rstrip(b"\0") for each in data.split(b"\0\0\1")[1:]]
            else:
                while data:
                    end = 4 + int.from_bytes(data[:4], "big")
                    units.append(data[4:end])
                    data = data[end:]
            kinds = (1 << 1, 32 << 1) if hevc else (1, 6)
            slices = [u for u in units if kinds[0] <= u[0] & (0x7E if hevc else 0x1F) < kinds[1]]
            units = [*also, *units, *map(harm, slices)]
            starts = [b"\0\0\0\1" if annexb else len(each).to_bytes(4, "big") for each in units]
            made = av.Packet(b"".join(x + y for x, y in zip(starts, units, strict=True)))
            made.pts, made.dts, made.time_base = packet.pts, packet.dts, packet.time_base
            made.duration, made.is_keyframe, made.stream = (
                packet.duration,
                packet.is_keyframe,
                added,
            )
            b.mux(made)
    return output


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize(
    ("given", "harm", "also", "named"),
    [
        ({}, auxiliary, (), "transparency"),
        ({}, extension, (), "second view in the video"),
        (HEVC, second, (ALPHA_SEI,), "transparency"),
        (HEVC, second, (), "second view in the video"),
    ],
)
def test_layers_that_are_not_decoded_are_named(
    given: dict[str, object],
    harm: Callable[[bytes], bytes],
    also: tuple[bytes, ...],
    named: str,
    ending: str,
    tmp_path: Path,
) -> None:
    plain = make_clip(tmp_path / f"plain{ending}", frames=5, **given)  # type: ignore[arg-type]
    assert not facts(plain).picture.transparent
    assert run(plain, tmp_path / f"same{ending}", encoder=stream.EncoderSettings()).conforms
    source = with_layer(plain, tmp_path / f"in{ending}", harm, *also)
    report = run(source, tmp_path / f"out{ending}", encoder=stream.EncoderSettings())
    assert report.frames == 5
    assert report.conformance is not None
    assert re.search(rf"{named}( \(yes\))? is missing", report.conformance.summary)
    assert not report.conforms
