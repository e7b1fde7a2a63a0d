"""Dies as a broken driver would make it die."""

import os
import signal

from stream.doctor import Finding


def look() -> list[Finding]:
    """Never returns."""
    os.kill(os.getpid(), signal.SIGSEGV)
    return []
