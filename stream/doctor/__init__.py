"""What there is on this machine, what the program will use of it, and what is missing.

Everything is really tried, in a process of its own that may crash or hang. `stream/cli/doctor.py`
prints what is found.
"""

from collections.abc import Iterator

from stream.doctor import worker
from stream.doctor.checks.finding import Finding, Group, State
from stream.doctor.verdict import Verdict

CHECKS = (
    "program",
    "processor",
    "graphics",
    "engines",
    "models",
    "decoding",
    "encoding",
    "live",
    "room",
)
"""The groups, in the order in which they are looked at: each is a module of `checks`."""

__all__ = ["CHECKS", "Finding", "Group", "State", "Verdict", "examine"]


def examine() -> Iterator[Group]:
    """Look at everything, one group after the other; takes a few seconds and raises nothing."""
    return worker.examine([f"{__name__}.checks.{name}" for name in CHECKS])
