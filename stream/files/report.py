"""What a job says of itself, while it runs and at its end."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stream.input.source import Source
from stream.options.settings import Settings
from stream.output.join import Joined
from stream.verify import Conformance


@dataclass(frozen=True)
class Progress:
    """How far a running job has come."""

    phase: str
    """What is being done: restoring, writing or verifying."""
    frames: int
    earlier: int
    """Those of the frames that an earlier run had done."""
    expected_frames: int | None
    position_s: float
    duration_s: float | None
    elapsed_s: float
    busy: dict[str, float]
    """Share of the time, 0..1, that each stage worked."""
    expected_bytes: int | None = None
    """About how large the output will be, once enough is encoded to tell."""
    runs_on: str = ""
    """What runs the network, such as "openvino, bfloat16"."""

    @property
    def fps(self) -> float:
        """Frames that this run restored, per second."""
        return (self.frames - self.earlier) / self.elapsed_s if self.elapsed_s > 0 else 0.0

    @property
    def bottleneck(self) -> str:
        """The stage that worked most of the time."""
        return max(self.busy, key=lambda name: self.busy[name])


@dataclass(frozen=True)
class Report:
    """What a finished job did."""

    output: Path
    """The finished file; that of a job which was stopped has `.part` in its name."""
    frames: int
    earlier: int
    """Those of the frames that an earlier run had done."""
    model: str
    """The network that restored it, or "none"."""
    from_neighbors: float
    """The share of the picture that came from neighboring frames, 0..1: the mean over the frames
    that this run restored."""
    seconds: float
    """Wall-clock time from the first frame read to the file closed."""
    damaged: int
    dropped: list[str]
    """What of the input the output cannot hold, in words."""
    warnings: list[str]
    stopped: bool
    """Whether `Job.stop` ended it before the input did."""
    conformance: Conformance | None
    """What else than the blur differs; None if the job was stopped."""
    gain: float | None
    """How many times as sharp as before it is, by some of the frames that this run restored; None
    where nothing was to become sharper."""
    busy: dict[str, float]
    pieces: Sequence[dict[str, Any]] = ()
    """Where each piece was restored, of a job that a cluster did."""

    @property
    def fps(self) -> float:
        """Frames that this run restored, per second."""
        return (self.frames - self.earlier) / self.seconds if self.seconds > 0 else 0.0

    def to_json(self) -> dict[str, Any]:
        """What `deblur run --json` prints."""
        return {
            "output": str(self.output),
            "frames": self.frames,
            "earlier": self.earlier,
            "seconds": round(self.seconds, 3),
            "fps": round(self.fps, 3),
            "model": self.model,
            "from_neighbors": round(self.from_neighbors, 4),
            "gain": round(self.gain, 3) if self.gain is not None else None,
            "damaged": self.damaged,
            "dropped": self.dropped,
            "warnings": self.warnings,
            "stopped": self.stopped,
            "conformance": self.conformance.to_json() if self.conformance is not None else None,
            "busy": {name: round(share, 3) for name, share in self.busy.items()},
            **({"pieces": list(self.pieces)} if self.pieces else {}),
        }

    @property
    def conforms(self) -> bool:
        """Whether nothing was lost or changed but the blur, and what was asked for."""
        return self.conformance is not None and self.conformance.conforms


def bytes_of_others(source: Source, drop: Collection[str]) -> int:
    """About how large all streams but the restored one are, as far as the file says it."""
    size = 0.0
    for each in source.container.streams:
        # Streams of data have no such attribute, and many files do not say it of the others.
        bits_per_s = getattr(each, "bit_rate", None)
        if each.index == source.video.index or each.type in drop or not bits_per_s:
            continue
        whole_s = source.duration_s or 0.0
        if each.duration and each.time_base:
            whole_s = min(whole_s, float(each.duration * each.time_base))
        size += bits_per_s / 8 * whole_s
    return round(size)


def without_effect(settings: Settings, source: Source) -> list[str]:
    """What is to be said of options that change nothing of this input, a line each."""
    said = []
    if settings.apply_rotation and not source.info.turned:
        said.append("--apply-rotation has no effect: the video does not ask to be turned")
    if settings.deinterlace == "off" and not source.info.interlaced:
        said.append("--deinterlace off has no effect: the video is not interlaced")
    others = {each.type for each in source.container.streams if each.index != source.video.index}
    said += [f"--drop {kind} has no effect: there is none" for kind in {*settings.drop} - others]
    if source.info.top_first is not None and settings.passes:
        said.append("frames that stay interlaced are not fused; --deinterlace on has them fused")
    return said


def warnings_of(kind: str, source: Source, joined: Joined) -> list[str]:
    """What the user should know of a job that is done, a line each; `kind` is what the output is,
    such as .mp4."""
    said = []
    if joined.dropped:
        said.append(f"{kind} cannot hold: {', '.join(joined.dropped)}")
    if joined.converted:
        said.append(f"{kind} needs other codings: {', '.join(joined.converted)}")
    counted = (
        (source.decoding.damaged, "{} damaged frames were concealed"),
        (source.times.made_up, "{} frames had no time of their own and got one"),
        (source.jumps, "the clock of the input jumped {} times and was put right"),
        (joined.refused, "{} packets with impossible timestamps were left out"),
        (joined.undecoded, "{} damaged packets of sound were left out"),
        (source.rescaled, "{} frames had another size and were scaled to the first one's"),
        (source.recoded, "{} frames had other colors or depth than the first one, and got its"),
    )
    said += [text.format(count) for count, text in counted if count]
    said += source.hints
    if source.info.deinterlaced:
        said.append("the video is interlaced and was deinterlaced; --deinterlace off keeps it")
    return said
