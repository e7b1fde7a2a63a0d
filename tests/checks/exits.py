"""Ends the program, as some libraries do when they are not content."""

import sys

from stream.doctor import Finding


def look() -> list[Finding]:
    """Never returns."""
    sys.exit("not content with this machine")
