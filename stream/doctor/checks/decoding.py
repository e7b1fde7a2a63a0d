"""Decoders, each tried with a frame."""

from stream.doctor.checks.encoding import told
from stream.doctor.checks.finding import Finding


def look() -> list[Finding]:
    """What became of a frame of each codec, and of decoding it on a GPU."""
    from stream.media import hardware

    return [told(tried.name, tried.works, tried.why) for tried in hardware.decoders()]
