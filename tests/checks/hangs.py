"""Waits for something that never comes."""

import time

from stream.doctor import Finding


def look() -> list[Finding]:
    """Returns much too late."""
    time.sleep(600)
    return []
