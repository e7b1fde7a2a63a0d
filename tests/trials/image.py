"""An image is built by buildah, where there is no Docker, and used as its users do.

    python -m tests.trials.image --file deploy/Dockerfile     # make image-test

Where its base image cannot be pulled, Debian's smallest system and its older Python take its place.
pip fetches within the build as it does on this machine: its settings, and the folders that
they name, are mounted and so not part of the image. Needs root, and Debian's buildah and
debootstrap.
"""

import argparse
import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import chain
from pathlib import Path
from typing import Any

from tests.clips import look, make_clip
from tests.rig.ports import free_port

SOURCE = Path(__file__).parents[2]
TAG = "deblur:trial"
FRAMES = 10
CAMERAS = '[cameras.a]\nsource = "testsrc:?size=160x120"\noutputs = ["null:"]\n'
USER = 4321
"""Of nobody that the image knows."""
_HEALTHY_S = 120.0


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Buildah:
    """The program, with a storage of its own."""

    def __init__(self, storage: Path) -> None:
        # Neither overlays nor user namespaces are needed.
        self._words = ["buildah", "--storage-driver", "vfs", "--root", str(storage / "root")]
        self._words += ["--runroot", str(storage / "run")]

    def __call__(self, *words: str, shown: bool = False) -> str:
        """What it printed, unless that is shown; ends the trial where it fails."""
        to = None if shown else subprocess.PIPE
        done = subprocess.run([*self._words, *words], stdout=to, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"buildah {words[0]} ended with {done.returncode}")
        return (done.stdout or "").strip()

    def pull(self, image: str) -> bool:
        """Fetch a base image; whether that went well."""
        words = [*self._words, "pull", "--quiet", image]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0

    def run(self, container: str, mounts: dict[Path, str], words: list[str], user: str) -> int:
        """Run words in a container; their exit code."""
        volumes = [f"--volume={here}:{there}" for here, there in mounts.items()]
        command = [
            "run",
            "--isolation",
            "chroot",
            "--user",
            user,
            *volumes,
            container,
            "--",
            *words,
        ]
        return subprocess.run([*self._words, *command], check=False).returncode

    def start(self, container: str, words: list[str], user: str) -> "subprocess.Popen[bytes]":
        """Begin words in a container."""
        command = ["run", "--isolation", "chroot", "--user", user, container, "--", *words]
        return subprocess.Popen([*self._words, *command])


def debian(root: Path) -> None:
    """Debian's smallest system with Python, in a folder."""
    if (root / "usr/local/bin/python").is_symlink():
        return
    shutil.rmtree(root, ignore_errors=True)
    root.parent.mkdir(parents=True, exist_ok=True)
    packages = "--include=python3,python3-venv,ca-certificates"
    subprocess.run(
        ["debootstrap", "--variant=minbase", packages, "bookworm", str(root)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    for name in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale"):
        shutil.rmtree(root / name, ignore_errors=True)
    (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")


def stand_in(buildah: Buildah, image: str, root: Path) -> None:
    """Have a folder in the place of a base image."""
    packed = root.with_suffix(".tar")
    subprocess.run(["tar", "-C", str(root), "-cf", str(packed), "."], check=True)
    container = buildah("from", "scratch")
    buildah("add", "--quiet", container, str(packed), "/")
    packed.unlink()
    path = "PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
    buildah("config", "--env", path, container)
    buildah("commit", "--quiet", "--rm", container, image)


def base_of(file: Path) -> str:
    """The image that a Dockerfile begins with."""
    text = file.read_text()
    usual = dict(re.findall(r"^ARG (\w+)=(.*)$", text, re.M))
    found = re.search(r"^FROM (\S+)", text, re.M)
    assert found, f"{file} has no FROM"
    return "docker.io/library/" + re.sub(r"\$\{(\w+)\}", lambda name: usual[name[1]], found[1])


def pip_settings(pins: list[str], folder: Path) -> dict[Path, str]:
    """What to mount so that pip fetches as it does here: its settings, and what they name."""
    listed = subprocess.check_output([sys.executable, "-m", "pip", "config", "list"], text=True)
    settings: dict[str, list[str]] = {}
    # What comes from the environment is listed first and counts most.
    for line in reversed(listed.splitlines()):
        name, _, value = line.partition("=")
        settings[name.rpartition(".")[2]] = str(ast.literal_eval(value)).split()
    if pins:
        (folder / "pins.txt").write_text("\n".join(pins) + "\n")
        settings.setdefault("constraint", []).append("/etc/pins.txt")
    mounts = {folder / "pins.txt": "/etc/pins.txt:ro"} if pins else {}
    for word in chain.from_iterable(settings.values()):
        # An index lies beside its files.
        local = Path(word.removeprefix("file://"))
        place = local.parent if word.startswith("file://") else local
        if place.is_absolute() and place.exists():
            mounts[place] = f"{place}:ro"
    lines = [f"{key} = {' '.join(words)}" for key, words in settings.items()]
    (folder / "pip.conf").write_text("\n".join(["[global]", *lines, ""]))
    return {folder / "pip.conf": "/etc/pip.conf:ro"} | mounts


def build(buildah: Buildah, asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Build the image; what it says of itself."""
    base = base_of(asked.file)
    if not buildah.pull(base):
        say(f"{base} cannot be pulled: Debian's own Python takes its place")
        debian(asked.debian)
        stand_in(buildah, base, asked.debian)
    mounts = pip_settings(asked.pin, folder)
    words = ["build", "--isolation", "chroot", "--format", "docker", "--pull-never"]
    words += ["--network", "host", "--file", str(asked.file), "--tag", TAG]
    words += [f"--volume={here}:{there}" for here, there in mounts.items()]
    words += [f"--build-arg={each}" for each in asked.arg]
    buildah(*words, str(SOURCE), shown=True)
    described = json.loads(buildah("inspect", "--type", "image", TAG))
    sizes = json.loads(buildah("images", "--json", TAG))
    say(f"{asked.file.name}: {sizes[0]['size']}")
    config = described["Docker"]["config"]
    assert isinstance(config, dict)
    return config


def try_out(buildah: Buildah, config: dict[str, Any], folder: Path) -> None:
    """Use the image as its users do."""
    assert config["User"] not in ("", "0", "root"), "it runs as root"
    health = config["Healthcheck"]["Test"]
    assert health[0] == "CMD", f"no health check: {health}"
    entry = config["Entrypoint"]
    container = buildah("from", "--pull-never", TAG)
    user = f"{USER}:{USER}"
    videos = folder / "videos"
    videos.mkdir()
    make_clip(videos / "shaky.mp4", size=(96, 64), frames=FRAMES)
    os.chown(videos, USER, USER)
    assert buildah.run(container, {}, [*entry, "--version"], config["User"]) == 0
    assert buildah.run(container, {videos: "/videos"}, [*entry, "run", "shaky.mp4"], user) == 0
    made = videos / "shaky.deblurred.mp4"
    assert len(look(made).timestamps) == FRAMES
    assert made.stat().st_uid == USER, "it belongs to another user"
    port = free_port()
    ask = ["env", f"DEBLUR_HTTP_PORT={port}", *health[1:]]
    assert buildah.run(container, {}, ask, config["User"]) == 1, "nothing runs, and it is healthy"
    (folder / "cameras.toml").write_text(CAMERAS)
    buildah("copy", container, str(folder / "cameras.toml"), "/etc/deblur/cameras.toml")
    words = [*entry, *config["Cmd"], "--http", str(port)]
    feeds = buildah.start(container, words, config["User"])
    try:
        end = time.monotonic() + _HEALTHY_S
        while buildah.run(container, {}, ask, config["User"]) != 0:
            assert feeds.poll() is None, "the feeds ended"
            assert time.monotonic() < end, "it is not healthy"
            time.sleep(2)
    finally:
        feeds.terminate()
        feeds.wait()
    say(f"version, file, feed and health check work as users {config['User']} and {USER}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--file", type=Path, default=SOURCE / "deploy/Dockerfile")
    parser.add_argument("--arg", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument(
        "--pin", action="append", default=[], metavar="NAME==VERSION", help="what pip is to take"
    )
    parser.add_argument(
        "--debian", type=Path, default=SOURCE / "build/debian", help="made there if it is not"
    )
    asked = parser.parse_args()
    lacking = [name for name in ("buildah", "debootstrap") if shutil.which(name) is None]
    if lacking:
        sys.exit(f"missing: apt-get install {' '.join(lacking)}")
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="deblur-image-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # another user works in it
        buildah = Buildah(folder)
        try_out(buildah, build(buildah, asked, folder), folder)
    say(f"{time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
