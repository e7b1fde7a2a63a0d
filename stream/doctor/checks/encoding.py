"""Encoders, each tried with a frame, and the one that is taken."""

import shutil
from pathlib import Path

from stream.doctor.checks.finding import Finding, attempt

_NAMES = {
    "h264": "H.264",
    "hevc": "HEVC",
    "av1": "AV1",
    "vp9": "VP9",
    "vp8": "VP8",
    "prores": "ProRes",
    "ffv1": "FFV1",
}
_SIZE = 1280, 720


def look() -> list[Finding]:
    """What became of a frame, and what a run takes for H.264, which is what most videos are."""
    from stream.media import hardware

    found = [told(tried.name, tried.works, tried.why) for tried in hardware.encoders()]
    working = {finding.what for finding in found if finding.state == "ok"}
    return [*found, *attempt("auto", lambda: _auto(working))]


def told(name: str, works: bool, why: str) -> Finding:
    """A trial, as a finding; that a GPU does nothing where there is none is no fault."""
    codec = _codec(name)
    if works:
        return Finding(name, "ok", codec)
    if "nvenc" in name or "cuda" in name:
        if not _nvidia():
            return Finding(name, "none", "needs an NVIDIA GPU")
        todo = "not every GPU can; otherwise update its driver (in a container also give it "
        return Finding(
            name, "failed", why, todo + "the video part: NVIDIA_DRIVER_CAPABILITIES=all)"
        )
    return Finding(name, "failed", why, "install av from its own wheel: pip install --upgrade av")


def _nvidia() -> bool:
    return shutil.which("nvidia-smi") is not None or Path("/proc/driver/nvidia").is_dir()


def _codec(name: str) -> str:
    from stream.media.encoders import ENCODERS

    return next((_NAMES.get(each.codec, "") for each in ENCODERS if each.name == name), "")


def _auto(working: set[str]) -> Finding:
    from stream.colors import ColorTags
    from stream.media.convert import coding_of
    from stream.media.encoders import ENCODERS, choose
    from stream.options.encoding import EncoderSettings

    codecs = {encoder.codec for encoder in ENCODERS}
    coding = coding_of("yuv420p", ColorTags(), *_SIZE)
    name = choose(EncoderSettings(), "h264", coding, _SIZE, codecs, ".mkv").name
    facts = {"encoder": name}
    if name in working:
        return Finding("auto", "ok", f"H.264 by {name}", facts=facts)
    usable = next((each.codec for each in ENCODERS if each.name in working), None)
    todo = f"use --codec {usable}" if usable else ""
    return Finding(
        "auto", "failed", f"{name}, which is taken for H.264, does not work", todo, facts
    )
