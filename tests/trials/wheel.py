"""What `make dist` built has all that the packages have: `python -m tests.trials.wheel dist`."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from tests.test_house import PACKAGES, ROOT


def main(folder: Path) -> int:
    """Say what is missing in the one wheel and the one source archive of a folder."""
    (wheel,), (archive,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    listed = subprocess.run(
        ["git", "ls-files", *PACKAGES], capture_output=True, text=True, check=True, cwd=ROOT
    )
    wanted = set(listed.stdout.splitlines())
    with zipfile.ZipFile(wheel) as opened:
        in_wheel = set(opened.namelist())
    with tarfile.open(archive) as unpacked:
        in_archive = {name.partition("/")[2] for name in unpacked.getnames()}
    missing = [
        f"{file.name} lacks {name}"
        for file, names in ((wheel, in_wheel), (archive, in_archive))
        for name in sorted(wanted - names)
    ]
    told = missing or [f"{wheel.name} and {archive.name} have all {len(wanted)} files"]
    sys.stdout.write("\n".join(told) + "\n")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
