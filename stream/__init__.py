"""The program: video files in, sharper video files out.

report = stream.run("shaky.mp4", "clean.mp4")
"""

from stream.encoders import EncoderSettings
from stream.errors import (
    DeblurError,
    DeviceError,
    ModelError,
    NoInputError,
    SinkError,
    SourceError,
    UsageError,
    WriteError,
)
from stream.frame import Frame
from stream.job import CancelledError, Job, Progress, Report, Settings, run
from stream.source import Span

__all__ = [
    "CancelledError",
    "DeblurError",
    "DeviceError",
    "EncoderSettings",
    "Frame",
    "Job",
    "ModelError",
    "NoInputError",
    "Progress",
    "Report",
    "Settings",
    "SinkError",
    "SourceError",
    "Span",
    "UsageError",
    "WriteError",
    "run",
]
