"""What can go wrong, and the exit code that each kind ends the command with.

DeblurError            70  a fault of ours
├── DiffersError        1  the output differs from the input in more than the blur
├── UsageError          2  options that do not fit together
├── SomeFailedError     3  of several files, some could not be restored
├── SourceError        65  the input is not a video, damaged, truncated or encrypted
│   └── NoInputError   66  the input does not exist or cannot be read
├── DeviceError        69  the device or cluster is not there or was lost, or out of memory
├── SinkError          73  the output cannot be created
│   ├── WriteError     74  writing failed on the way: the disk is full
│   └── ReaderLeftError 141  whoever read the output, by a pipe, has left
├── ModelError         78  the weights are unknown, damaged or not what they should be
└── CancelledError    130  the job was stopped at once

The codes are those of sysexits.h, and the shells' for a program ended by
Ctrl-C, and by a pipe that nobody reads any more.
"""

from typing import ClassVar


class DeblurError(Exception):
    """Any failure that the user can be told about in one line."""

    exit_code: ClassVar[int] = 70


class DiffersError(DeblurError):
    """The output differs from its input in more than the blur."""

    exit_code = 1


class SomeFailedError(DeblurError):
    """Of several files, some could not be restored."""

    exit_code = 3


class UsageError(DeblurError):
    """Options that make no sense, alone or together."""

    exit_code = 2


class SourceError(DeblurError):
    """The input cannot be decoded, or not to its end."""

    exit_code = 65


class NoInputError(SourceError):
    """The input does not exist or may not be read."""

    exit_code = 66


class DeviceError(DeblurError):
    """The compute device, or a cluster, is missing, lost or too small."""

    exit_code = 69


class SinkError(DeblurError):
    """The output cannot be created."""

    exit_code = 73


class WriteError(SinkError):
    """The output could not be written to its end."""

    exit_code = 74


class ReaderLeftError(SinkError):
    """Whoever read the output, by a pipe, has left before its end."""

    exit_code = 141


class ModelError(DeblurError):
    """The model's weights are unknown or unfit."""

    exit_code = 78


class CancelledError(DeblurError):
    """The job was told to end at once."""

    exit_code = 130


def reason(error: Exception) -> str:
    """What went wrong, without the address that FFmpeg's errors carry."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).rstrip(".")
