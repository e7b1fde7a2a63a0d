"""`python -m tests.trials.kills`: a run killed again and again ends like one that was left alone.

    python -m tests.trials.kills --kills 20
    python -m tests.trials.kills holiday.mp4 --kills 5 --seed 3

Runs a job undisturbed, then the same job again, killed with SIGKILL at moments that nobody chose,
one in five of them near the end, each time followed by the same command with `--resume`, until the
kills are used up; where the job is done before, it starts anew. Every output must show and sound
exactly like the undisturbed one, nothing that was safe may be done again, and no kill may cost
more than two seconds.
"""

import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from stream.output.checkpoint import folder_of, frames_done
from tests.trials.media import RATE, Fingerprint, fingerprint, timestamps, write
from tests.trials.runner import alive, console, deblur, load, run, start, stop

LOST_S = 2.0
"""How much work a kill may cost."""
_TIMEOUT_S = 600.0
_STUCK = 12
"""Kills in a row after which some frames more must be done."""
_SIZE = (320, 180)


def make(path: Path, seconds: float, seed: int) -> None:
    """A clip with moving detail, irregular moments and sound that never repeats."""
    length = np.arange(int(seconds * RATE)) / RATE
    sound = 0.3 * np.sin(2 * np.pi * (200 * length + 15 * length**2))
    write(path, _pictures(timestamps(seconds, seed), seed), sound.astype(np.float32), size=_SIZE)


def _pictures(shown: list[int], seed: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    width, height = _SIZE
    rng = np.random.default_rng(seed)
    world = rng.integers(0, 255, (height // 6 + 80, width // 6 + 80, 3), np.uint8)
    world = world.repeat(6, axis=0).repeat(6, axis=1)
    for index, timestamp in enumerate(shown):
        down, right = index % 400, (2 * index) % 400
        yield timestamp, world[down : down + height, right : right + width]


def frames_safe(part: Path) -> int:
    """How many frames of the job at work in `part` need not be done again.

    Asked of a copy, as the job goes on, and as asking tidies up.
    """
    with tempfile.TemporaryDirectory() as name:
        for path in sorted(part.glob("*")):
            # Some go while this copies: they are done with, or got another name.
            with suppress(FileNotFoundError):
                shutil.copy(path, name)
        return frames_done(Path(name))


@dataclass
class Kill:
    """One run that was killed, or that came to its end before."""

    done: int
    """Frames that were safe when it was killed."""
    lost_s: float
    """How long it had worked since something was last made safe."""
    told: int
    """Frames that it said, at its start, were done already."""
    left: int
    """Processes of it that lived on."""
    code: int
    """How it ended."""
    said: str


def disturbed(words: list[object], output: Path, delay_s: float, after: int) -> Kill:
    """Run the command and kill it `delay_s` after it works and `after` frames are safe."""
    part = folder_of(output)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        begun = time.time()

        def ready() -> bool:
            return _written(part) > begun and (not after or frames_safe(part) >= after)

        number = start(deblur(*words), folder)
        try:
            status = _until(number, ready, _TIMEOUT_S)
            if status is None:
                status = _until(number, lambda: False, delay_s)
            done, lost_s = 0, 0.0
            if status is None:
                os.kill(number, signal.SIGSTOP)
                _, status = os.waitpid(number, os.WUNTRACED)
            # Else it came to its end in this very moment.
            if os.WIFSTOPPED(status):
                done, lost_s = frames_safe(part), time.time() - max(begun, _written(part))
                # The one process alone, as when the system needs its memory: those that it
                # started must find out themselves.
                os.kill(number, signal.SIGKILL)
                _, status = os.waitpid(number, 0)
            left = alive(number, patience_s=5.0)
        finally:
            stop(number)
        said = (folder / "stderr").read_text(errors="replace")
    told = re.search(r"resuming: (\d+) frames", said)
    code = os.waitstatus_to_exitcode(status)
    return Kill(done, lost_s, int(told[1]) if told else 0, left, code, said.strip())


def _until(number: int, happened: Callable[[], bool], patience_s: float) -> int | None:
    """Wait for something, at most for `patience_s`; the status of the process if it ended."""
    deadline = time.monotonic() + patience_s
    while not happened() and time.monotonic() < deadline:
        ended, status = os.waitpid(number, os.WNOHANG)
        if ended:
            return status
        time.sleep(0.02)
    return None


def _written(part: Path) -> float:
    """When something was last finished in a folder."""
    newest = 0.0
    for path in part.glob("*"):
        if path.suffix != ".tmp":
            with suppress(FileNotFoundError):
                newest = max(newest, path.stat().st_mtime)
    return newest


class Trial:
    """One input, what it becomes undisturbed, and the kills so far."""

    def __init__(self, source: Path, words: list[str], folder: Path, seed: int) -> None:
        self.source = source
        self.words = words
        self.folder = folder
        self.rng = np.random.default_rng(seed)
        self.kills: list[Kill] = []
        self.faults: list[str] = []
        output = folder / f"undisturbed{source.suffix}"
        whole = run(deblur("run", source, output, *words), watch=folder, limit_s=7200)
        if whole.code not in (0, 1):
            raise typer.BadParameter(f"{whole.killed or whole.code}: {whole.said.strip()}")
        self.code = whole.code
        self.seconds = whole.seconds
        self.wanted = fingerprint(output)

    def round(self, number: int, count: int) -> None:
        """Make one output with up to `count` kills in all."""
        output = self.folder / f"killed{number}{self.source.suffix}"
        before: Kill | None = None
        same = 0
        while True:
            last = len(self.kills) >= count
            delay_s, after = (_TIMEOUT_S, 0) if last else self._timestamp()
            resume = ["--resume"] if before else []
            words = ["run", self.source, output, *self.words, *resume]
            kill = disturbed(words, output, delay_s, after)
            if before and kill.told != before.done:
                self._fault(f"{before.done} frames were done, but it said {kill.told}")
            if kill.left:
                self._fault(f"{kill.left} processes lived on")
            if kill.code != -signal.SIGKILL:
                self._finished(kill, output)
                return
            if last:
                self._fault(f"it was not done after {_TIMEOUT_S:.0f} s")
                return
            self.kills.append(kill)
            place = " at the end" if after else ""
            console.print(
                f"kill {len(self.kills)}: after {delay_s:.2f} s of work{place}; "
                f"{kill.told} frames were safe, now {kill.done}, lost {kill.lost_s:.2f} s"
            )
            if kill.lost_s > LOST_S:
                self._fault(f"a kill cost {kill.lost_s:.2f} s")
            same = same + 1 if before and kill.done == before.done else 0
            if same >= _STUCK:
                self._fault(f"{_STUCK} kills without one frame more")
                return
            before = kill

    def _timestamp(self) -> tuple[float, int]:
        """When to kill: seconds, and the frames that must be safe before these begin."""
        if self.rng.random() < 0.2:
            # Near the end, where the pieces are put together.
            return float(self.rng.uniform(0, 0.5)), round(0.94 * self.wanted.frames)
        return float(self.rng.uniform(0.2, max(0.4, self.seconds / 5))), 0

    def _finished(self, last: Kill, output: Path) -> None:
        if last.code != self.code:
            self._fault(f"ended with {last.code}: {last.said}")
            return
        console.print(f"finished: {last.said.splitlines()[-1] if last.said else 'in silence'}")
        made = fingerprint(output)
        if made != self.wanted:
            self._fault(f"{output.name} differs in {', '.join(differences(self.wanted, made))}")
        left = [path.name for path in self.folder.iterdir() if path.name.startswith(output.stem)]
        if left != [output.name]:
            self._fault(f"left {', '.join(sorted(left))}")

    def _fault(self, text: str) -> None:
        console.print(f"FAULT {text}")
        self.faults.append(text)


def differences(wanted: Fingerprint, made: Fingerprint) -> list[str]:
    """Names of what is not the same."""
    return [
        f"{name} ({before} and {after})" if name == "frames" else name
        for name, before in vars(wanted).items()
        if before != (after := getattr(made, name))
    ]


def main(
    source: Annotated[Path | None, typer.Argument(help="A video; else a clip is drawn.")] = None,
    kills: Annotated[int, typer.Option(help="How often a run is killed.")] = 20,
    seed: Annotated[int, typer.Option(help="Of the moments of the kills.")] = 1,
    seconds: Annotated[float, typer.Option(help="Length of the clip that is drawn.")] = 20.0,
    to: Annotated[str, typer.Option(help="Ending of the clip that is drawn.")] = ".mp4",
    model: Annotated[str, typer.Option(help="A model's name; none: --strength 0.")] = "lite",
    keep: Annotated[Path | None, typer.Option(help="Keep all files in this new folder.")] = None,
) -> None:
    """Print a line for each kill, and end with 1 unless nothing was lost by any."""
    load()
    words = ["--model", model] if model else ["--strength", "0"]
    with tempfile.TemporaryDirectory(prefix="kills-") as name:
        folder = keep.absolute() if keep else Path(name)
        folder.mkdir(exist_ok=True)
        if source is None:
            source = folder / f"in{to}"
            make(source, seconds, seed)
        trial = Trial(source.absolute(), words, folder, seed)
        frames = trial.wanted.frames
        console.print(f"undisturbed: {frames} frames in {trial.seconds:.1f} s")
        rounds = 0
        while len(trial.kills) < kills and not trial.faults:
            rounds += 1
            trial.round(rounds, kills)
    lost = [kill.lost_s for kill in trial.kills]
    console.print(
        f"{len(lost)} kills of {rounds} outputs; work lost by a kill: at most {max(lost):.2f} s, "
        f"{np.mean(lost):.2f} s in the mean"
    )
    console.print(f"{len(trial.faults)} faults")
    raise typer.Exit(int(bool(trial.faults)))


if __name__ == "__main__":
    typer.run(main)
