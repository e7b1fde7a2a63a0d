"""How restored video is to be encoded."""

from dataclasses import dataclass
from typing import Final

from stream.errors import UsageError

KINDS: Final = ("auto", "software", "nvenc")
"""What `--encoder` takes."""


@dataclass(frozen=True)
class EncoderSettings:
    """How the restored video is encoded."""

    codec: str | None = None
    """One of `stream.media.encoders.CODECS`; None stays with the source's, or H.264 where it has no
    encoder here."""
    quality: int | None = None
    """The encoder's CRF (NVENC's: its QP), lower is better; None is visually lossless."""
    preset: str | None = None
    """The encoder's own name for its effort; None is a fast one."""
    encoder: str = "auto"
    """One of `KINDS`. "auto" is software, which needs fewer bits for the same quality, unless
    `codec` names one of NVENC's encoders."""

    def __post_init__(self) -> None:
        if self.encoder not in KINDS:
            raise UsageError(f"--encoder must be {', '.join(KINDS)}, got {self.encoder}")

    @property
    def nvenc(self) -> bool:
        """Whether an NVIDIA GPU is to encode."""
        named = self.codec is not None and self.codec.endswith("_nvenc")
        return self.encoder == "nvenc" or (self.encoder == "auto" and named)
