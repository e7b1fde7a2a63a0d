"""Works, and prints what it should keep to itself."""

import os
import sys

from stream.doctor import Finding


def look() -> list[Finding]:
    """One finding, with what the environment says of where the user lives."""
    sys.stdout.write("from Python\n")
    sys.stdout.flush()
    os.write(1, b"from below, on stdout\n")
    os.write(2, b"from below, on stderr\n")
    return [Finding("thing", "ok", f"{os.environ['HOME']}/models\nand more")]
