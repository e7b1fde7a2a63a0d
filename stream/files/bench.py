"""What this machine can do in a minute of measuring: each model, engine and size, and what to use.

Where time is short, or a frame takes too long, figures are derived from what was measured already:
a network's time grows with the number of pixels, and what `deblur run` does beside the network
takes the same whatever the network is.
"""

import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
import torch

import mssnet
import weights
from filters import UPSCALERS
from stream.compute.engines import choose_engine
from stream.compute.models import choose_device, choose_dtype, load_model
from stream.errors import DeblurError, ModelError
from stream.files.job import Job
from stream.files.report import Progress
from stream.options.exposure import Exposure
from stream.options.settings import ENGINES, Settings

SIZES: Final = ((640, 360), (1280, 720), (1920, 1080))
"""Width and height of what is measured, unless another size is asked for."""
LIVE_FPS: Final = 25
"""What counts as live."""
_TURN = 1 / 60
"""The share of the time for which a network is measured on frames of one size ..."""
_RUN = 4 / 60
"""... and the whole program, about."""
_LEAST_FRAMES, _MOST_FRAMES = 20, 150
"""Of the clips for the whole program: some that an encoder collects at first are among them."""
_STARTING_S = 2.0
"""About how long loading and compiling takes."""

Size = tuple[int, int]


@dataclass(frozen=True)
class Row:
    """One model on one engine, on frames of one size."""

    model: str
    engine: str
    precision: str
    size: str
    network_fps: float
    """Frames per second of the network alone."""
    run_fps: float
    """Of `deblur run`, with decoding, fusion and encoding."""
    measured: bool
    """Whether both were measured, not derived."""

    @property
    def times_length(self) -> float:
        """How long a video of `LIVE_FPS` takes, over its own length."""
        return LIVE_FPS / self.run_fps


@dataclass(frozen=True)
class Findings:
    """All rows, the models in their order and the sizes from small to large."""

    device: str
    seconds: float
    """How long measuring took."""
    rows: list[Row]

    def of(self, model: str) -> list[Row]:
        """The rows of a model's fastest engine at each size, from small to large."""
        rows = [row for row in self.rows if row.model == model]
        sizes = dict.fromkeys(row.size for row in rows)
        return [
            max((row for row in rows if row.size == size), key=lambda row: row.run_fps)
            for size in sizes
        ]

    @property
    def recommended(self) -> str:
        """The largest model that keeps up with a camera at the smallest size, else the fastest."""
        fps = {model: self.of(model)[0] for model in dict.fromkeys(row.model for row in self.rows)}
        live = [model for model, row in fps.items() if row.run_fps >= LIVE_FPS]
        choose = min if live else max
        return choose(live or fps, key=lambda model: fps[model].network_fps)

    @property
    def advice(self) -> str:
        """What to use and what to expect of it, in one line."""
        said, slow = [], False
        for row in self.of(self.recommended):
            about = "" if row.measured else "about "
            if row.run_fps >= LIVE_FPS:
                said.append(f"{row.size} plays live at {LIVE_FPS} fps")
            else:
                times = row.times_length
                factor = f"{times:.1f}" if times < 10 else f"{times:.0f}"
                takes, length = ("", "") if slow else ("takes ", " the video's length")
                said.append(f"{row.size} {takes}{about}{factor} times{length}")
                slow = True
        return f"recommended: {self.recommended}; {', '.join(said)}"

    def to_json(self) -> dict[str, Any]:
        return {
            "device": self.device,
            "seconds": self.seconds,
            "rows": [asdict(row) for row in self.rows],
            "recommended": self.recommended,
            "advice": self.advice,
        }


def bench(
    model: str | None = None,
    sizes: Sequence[Size] = SIZES,
    device: str = "auto",
    *,
    seconds: float = 60.0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Findings:
    """Measure `model`, or all that are installed, for about so many seconds.

    `progress` is told how many of how many figures are there. Raises `ModelError`, `DeviceError`
    or `UsageError`.
    """
    begun = time.monotonic()
    where = choose_device(device)
    models = [model] if model is not None else _installed()
    engines = _engines(where)
    sizes = sorted(sizes, key=lambda size: size[0] * size[1])
    total = len(models) * len(engines) * len(sizes)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="deblur-bench-") as folder:
        course = _Course(Path(folder), device, begun, seconds)
        for index, name in enumerate(models):
            # What one model does not take is left for the next ones.
            course.share(len(models) - index)
            for row in course.rows_of(name, engines, sizes, str(where)):
                rows.append(row)
                progress(len(rows), total)
    return Findings(str(where), time.monotonic() - begun, rows)


def _installed() -> list[str]:
    try:
        found = weights.checkpoints()
    except weights.WeightsError as error:
        raise ModelError(str(error)) from error
    return [each.name for each in found if each.preset not in (*UPSCALERS, "shutter")]


def _engines(device: torch.device) -> list[str]:
    """The engines that there are for a device."""
    dtype = choose_dtype("auto", device)
    found = []
    for name in ENGINES:
        try:
            if name != "auto":
                # Measured, as where no precision was asked for: each engine takes its own.
                choose_engine(name, device, dtype, measure=True)
                found.append(name)
        except DeblurError:
            continue
    return found


class _Course:
    """What was measured so far, and the time that is left."""

    def __init__(self, folder: Path, device: str, begun: float, seconds: float) -> None:
        self._folder = folder
        self._device = device
        self._ends = begun + seconds
        self._turn_s, self._run_for_s = seconds * _TURN, seconds * _RUN
        self._until = self._ends
        self._extra: dict[Size, float] = {}
        """Seconds that a frame takes beside the network, by size."""

    def share(self, models: int) -> None:
        """Begin with the first of so many models that are left."""
        now = time.monotonic()
        self._until = now + max(self._ends - now, 0) / models

    def rows_of(
        self, model: str, engines: Sequence[str], sizes: Sequence[Size], device: str
    ) -> Iterator[Row]:
        """All rows of a model, by size and then by engine."""
        loaded = {name: load_model(model, device=self._device, engine=name) for name in engines}
        last: dict[str, tuple[Size, float]] = {}
        for size in sizes:
            found: dict[str, tuple[float, bool]] = {}
            for name, restore in loaded.items():
                guess = _scaled(*last[name], size) if name in last else None
                found[name] = self._network_s(restore, size, guess)
                last[name] = size, found[name][0]
            best = min(found, key=lambda name: found[name][0])
            network_s, run_measured = found[best]
            run_s = self._run_s(model, loaded[best], size, network_s)
            run_measured = run_measured and run_s is not None
            if run_s is None:
                run_s = network_s + self._beside_s(size)
            self._extra.setdefault(size, max(run_s - network_s, 0.0))
            for name, (each_s, measured) in found.items():
                precision = str(loaded[name].dtype).removeprefix("torch.")
                yield Row(
                    model,
                    name,
                    precision,
                    f"{size[0]}x{size[1]}",
                    round(1 / each_s, 3),
                    round(1 / (run_s + each_s - network_s), 3),
                    measured and run_measured and name == best,
                )

    def _left_s(self) -> float:
        return self._until - time.monotonic()

    def _network_s(
        self, restore: mssnet.Deblurrer, size: Size, guess: float | None
    ) -> tuple[float, bool]:
        """Seconds that a frame takes, and whether they were measured."""
        frames = 2 * restore.engine.in_flight + 2
        if guess is not None and _STARTING_S + frames * guess > self._left_s() / 4:
            return guess, False
        width, height = size
        image = torch.rand(1, 3, height, width, device=restore.device)
        begun = time.perf_counter()
        _wait(restore(image))
        first = time.perf_counter() - begun
        if first > self._left_s() / 4:
            return first, False
        under_way: deque[Callable[[], torch.Tensor]] = deque()
        done, begun = -restore.engine.in_flight, time.perf_counter()
        while done < max(2, restore.engine.in_flight) or time.perf_counter() < begun + self._turn_s:
            under_way.append(restore.submit(image))
            if len(under_way) >= restore.engine.in_flight:
                made = under_way.popleft()()
            done += 1
            if done == 0:
                begun = time.perf_counter()
        _wait(made)
        took = time.perf_counter() - begun
        while under_way:
            under_way.popleft()()
        return took / done, True

    def _run_s(
        self, model: str, restore: mssnet.Deblurrer, size: Size, network_s: float
    ) -> float | None:
        """Seconds that a frame takes in the whole program; None where there is no time for it."""
        expected = network_s + self._beside_s(size)
        frames = int(min(max(self._run_for_s / expected, _LEAST_FRAMES), _MOST_FRAMES))
        if frames * expected > self._left_s() / 2:
            return None
        clip = _drawn(self._folder / f"{size[0]}x{size[1]}.mkv", size, frames)
        seen: list[Progress] = []
        # Blurred everywhere, so that the network has to work on all of the picture.
        shutter = Exposure("360deg")
        settings = Settings(model=model, device=self._device, overwrite=True, shutter=shutter)
        Job(clip, self._folder / "out.mkv", settings).run(
            lambda progress: seen.append(replace(progress, elapsed_s=time.perf_counter())),
            restore=restore,
        )
        # From the first frame that is done, as all begins at once, to the last one encoded.
        ends = next(each for each in seen if each.phase != "restoring")
        early = (each for each in seen if each.phase == "restoring" and each.frames > 0)
        begins = next(early, None)
        if begins is None or begins.frames >= ends.frames:
            return None
        return (ends.elapsed_s - begins.elapsed_s) / (ends.frames - begins.frames)

    def _beside_s(self, size: Size) -> float:
        """What a frame takes beside the network, by the nearest size that it is known of."""
        if not self._extra:
            return 0.0
        near = min(self._extra, key=lambda each: abs(each[0] * each[1] - size[0] * size[1]))
        return _scaled(near, self._extra[near], size)


def _scaled(size: Size, seconds: float, to: Size) -> float:
    return seconds * (to[0] * to[1]) / (size[0] * size[1])


def _wait(made: torch.Tensor) -> None:
    """Until what a GPU was given is done."""
    made[0, 0, 0, 0].item()


def _drawn(path: Path, size: Size, frames: int) -> Path:
    """A clip of colored squares that drift, with noise, about as hard to code as footage."""
    width, height = size
    rng = np.random.default_rng(1)
    squares = rng.integers(0, 255, (height // 8 + 40, width // 8 + 80), np.uint8)
    world = squares.repeat(8, axis=0).repeat(8, axis=1)
    noise = rng.integers(0, 12, world.shape, np.uint8)
    with av.open(str(path), "w") as output:
        options = {"crf": "20", "preset": "ultrafast"}
        video = output.add_stream("libx264", rate=LIVE_FPS, options=options)
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        for index in range(frames):
            view = world[index : index + height, 2 * index : 2 * index + width] // 2 + 60
            grain = noise[7 * index % 200 :, 11 * index % 300 :][:height, :width]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(view + grain), format="gray")
            frame = frame.reformat(format="yuv420p", threads=1)
            frame.pts, frame.time_base = index, Fraction(1, LIVE_FPS)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
    return path
