"""The steps of a Dockerfile in a clean Debian, where there is no Docker to build it.

    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm ROOT
    python -m tests.trials.image ROOT --file deploy/Dockerfile

ROOT takes the place of each base image, whose Python may be newer. Needs root. At the end the
program is run as the image's user: its version, a file, and feeds until they are healthy.
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from fnmatch import fnmatch
from pathlib import Path

from tests.clips import make_clip

SOURCE = Path(__file__).parents[2]
CAMERAS = '[cameras.a]\nsource = "testsrc:?size=160x120"\noutputs = ["null:"]\n'


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Stage:
    """One image on its way: a folder, and what the file has said of it."""

    def __init__(self, root: Path, arguments: dict[str, str]) -> None:
        self.root = root
        self.environment = {"PATH": os.environ["PATH"]}
        self.arguments = dict(arguments)
        self.folder, self.user = "/", "0"
        self.entry: list[str] = []
        self.health: list[str] = []

    def run(self, command: str | list[str], *, user: str | None = None) -> int:
        """Run in it as a RUN would; the exit code."""
        words = command if isinstance(command, list) else ["/bin/sh", "-c", command]
        pip = {key: value for key, value in os.environ.items() if key.startswith("PIP_")}
        user = user or self.user
        inside = ["chroot", f"--userspec={user}:{user}", str(self.root)]
        # As Docker has it: processes and devices of its own, and 64 MB of shared memory.
        mounts = (
            'mount -t proc proc "$0/proc" && mount --bind /dev "$0/dev" && '
            'mount -t tmpfs -o size=64m tmpfs "$0/dev/shm" && exec "$@"'
        )
        alone = ["unshare", "--mount", "--propagation", "private", "sh", "-c", mounts]
        return subprocess.run(
            [*alone, str(self.root), *inside, "env", "-C", self.folder, *words],
            env=pip | self.arguments | self.environment,
            check=False,
        ).returncode

    def copy(self, sources: list[str], to: str, other: Path | None) -> None:
        """COPY, from the repository or from another stage."""
        into = self.root / os.path.normpath(Path(self.folder) / to).lstrip("/")
        for source in sources:
            path = (other or SOURCE) / source.lstrip("/")
            if other is None and _ignored(path):
                raise SystemExit(f"{source} is not sent to Docker: .dockerignore")
            many = to.endswith("/") or len(sources) > 1
            target = into / path.name if many else into
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                skip = shutil.ignore_patterns("__pycache__")
                shutil.copytree(path, target, symlinks=True, ignore=skip, dirs_exist_ok=True)
            else:
                shutil.copy2(path, target)


def _ignored(path: Path) -> bool:
    name, kept = str(path.relative_to(SOURCE)), False
    for line in (SOURCE / ".dockerignore").read_text().split():
        pattern = line.removeprefix("!")
        if fnmatch(name, pattern) or name.startswith(f"{pattern}/"):
            kept = line.startswith("!")
    return not kept


def build(
    file: Path, base: Path, work: Path, arguments: dict[str, str], copies: list[str]
) -> Stage:
    """Carry out a Dockerfile; the last stage."""
    text = re.sub(r"^\s*#.*\n", "", file.read_text(), flags=re.M).replace("\\\n", " ")
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    for line in filter(None, map(str.strip, text.splitlines())):
        step, _, rest = line.partition(" ")
        say(f"--- {line[:100]}")
        if step == "FROM":
            name = rest.partition(" AS ")[2] or "last"
            root = work / name
            subprocess.run(["cp", "-a", base, root], check=True)
            (root / "usr/local/bin").mkdir(parents=True, exist_ok=True)
            (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
            for each in copies:
                target = root / each.lstrip("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                subprocess.run(["cp", "-aL", "--no-target-directory", each, target], check=True)
            stage = stages[name] = Stage(root, {})
            continue
        if step == "ARG":
            key, _, usual = rest.partition("=")
            if stage is not None:
                stage.arguments[key] = arguments.get(key, usual)
            continue
        assert stage is not None
        if step == "RUN" and (code := stage.run(rest)):
            raise SystemExit(f"ended with {code}")
        if step == "COPY":
            words = shlex.split(rest)
            other = None
            if words[0].startswith("--from="):
                other = stages[words.pop(0).removeprefix("--from=")].root
            stage.copy(words[:-1], words[-1], other)
        elif step == "ENV":
            for pair in shlex.split(rest):
                key, _, value = pair.partition("=")
                stage.environment[key] = value.replace("$PATH", stage.environment["PATH"])
        elif step == "WORKDIR":
            stage.folder = rest
            (stage.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif step == "USER":
            stage.user = rest
        elif step == "ENTRYPOINT":
            stage.entry = [word.strip(' "') for word in rest.strip("[]").split(",")]
        elif step == "HEALTHCHECK":
            listed = rest.partition("CMD ")[2].strip("[] ")
            stage.health = [word.strip(' "') for word in listed.split(",")]
    assert stage is not None
    return stage


def try_out(stage: Stage) -> None:
    """Use the image as its users do."""
    folder = stage.root / "videos"
    make_clip(folder / "shaky.mp4", size=(96, 64), frames=10)
    os.chown(folder / "shaky.mp4", int(stage.user), int(stage.user))
    (stage.root / "etc/deblur").mkdir(exist_ok=True)
    (stage.root / "etc/deblur/cameras.toml").write_text(CAMERAS)
    assert stage.user not in ("0", "root"), "it runs as root"
    assert stage.run([*stage.entry, "--version"]) == 0
    assert stage.run([*stage.entry, "run", "shaky.mp4"]) == 0
    assert (folder / "shaky.deblurred.mp4").exists()
    assert stage.run(stage.health) == 1, "nothing runs, and it is healthy"
    command = " ".join([*stage.entry, "live", "--config", "/etc/deblur/cameras.toml"])
    health = " ".join(stage.health)
    feeds = f"{command} & feeds=$!; sleep 25; {health}; echo $? >/tmp/healthy; kill $feeds; wait"
    stage.run(feeds)
    assert (stage.root / "tmp/healthy").read_text().strip() == "0", "it is not healthy"
    say(f"{stage.root}: version, file, feed and health check work as user {stage.user}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("root", type=Path)
    parser.add_argument("--file", type=Path, default=SOURCE / "deploy/Dockerfile")
    parser.add_argument("--arg", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument(
        "--copy", action="append", default=[], help="a path of this machine that pip needs there"
    )
    asked = parser.parse_args()
    arguments = dict(each.partition("=")[::2] for each in asked.arg)
    work = asked.root.with_name(f"{asked.root.name}.stages")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    begun = time.monotonic()
    for name in ("proc", "dev"):
        (asked.root / name).mkdir(exist_ok=True)
    try_out(build(asked.file, asked.root, work, arguments, asked.copy))
    say(f"{time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
