"""Whether the feeds of this container are live: ends with 0 where they are, with 1 otherwise."""

import os
import sys
import urllib.error
import urllib.request

PORT = int(os.environ.get("DEBLUR_HTTP_PORT", "9554"))


def main() -> int:
    """Ask once; the exit code."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/healthz", timeout=4) as answer:
            return 0 if answer.status == 200 else 1
    except (OSError, urllib.error.HTTPError) as error:
        sys.stderr.write(f"{error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
