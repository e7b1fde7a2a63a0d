"""The filter for VapourSynth, in the real one."""

import random
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import stream
from stream.options.settings import Settings
from tests.clips import make_clip
from tests.vapoursynth.test_random_access import frames_of

vs = pytest.importorskip("vapoursynth", reason="its packages are for Python 3.12 and newer")

from stream.vapoursynth import deblur  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK: dict[str, Any] = {"model": "none", "fuse": 1, "device": "cpu"}


def clip_of(pictures: Sequence[Sequence[Any]], format: Any, **props: Any) -> Any:
    """A clip of planes."""
    height, width = pictures[0][0].shape
    blank = vs.core.std.BlankClip(
        format=format,
        width=width,
        height=height,
        length=len(pictures),
        fpsnum=25,
        fpsden=1,
        keep=True,
    )

    def draw(n: int, f: Any) -> Any:
        drawn = f.copy()
        for plane, samples in enumerate(pictures[n]):
            np.copyto(np.asarray(drawn[plane]), samples, casting="unsafe")
        drawn.props.update({"number": n, **props})
        return drawn

    return vs.core.std.ModifyFrame(blank, blank, draw)


def scene(count: int, shape: tuple[int, int] = (32, 48), planes: int = 1) -> list[list[Any]]:
    """A texture that moves, in 0..1, with some frames blurred and all of them noisy."""
    draw = np.random.default_rng(3)
    texture = np.kron(draw.random((shape[0] // 4, shape[1] // 4 + count)), np.ones((4, 4)))
    made = []
    for index in range(count):
        part = texture[:, index : index + shape[1] + 2]
        part = (part[:, :-2] + part[:, 1:-1] + part[:, 2:]) / 3 if index % 3 else part[:, :-2]
        noisy = part + draw.normal(0, 0.01, part.shape)
        made.append([np.clip(noisy, 0, 1) * (0.9 - 0.2 * plane) for plane in range(planes)])
    return made


def planes_of(frame: Any) -> list[Any]:
    return [np.array(frame[plane]) for plane in range(frame.format.num_planes)]


def alike(one: Any, other: Any) -> bool:
    return all(map(np.array_equal, planes_of(one), planes_of(other)))


@pytest.mark.parametrize(
    ("count", "options", "jumps"),
    [
        (200, {**QUICK}, 12),
        (24, {"model": "lite", "device": "cpu"}, 3),
        (130, {"model": "lite", "fuse": 0, "device": "cpu", "strength": 0.7}, 4),
        (20, {**QUICK, "upscale": 3, "upscaler": "x3-lite"}, 3),
    ],
)
def test_frames_in_any_order_are_those_of_the_command(
    count: int, options: dict[str, Any], jumps: int, tmp_path: Path
) -> None:
    file = make_clip(tmp_path / "in.mkv", frames=count, size=(48, 32), codec="ffv1")
    given = [frame.planes for frame in frames_of(file)]
    clip = clip_of(given, vs.YUV420P8, _Matrix=1, _Range=0)
    upscale = options.get("upscale")
    settings = Settings(**{**options, "upscale": upscale and stream.Scale(upscale)})
    stream.Job(file, tmp_path / "out.mkv", settings).run()
    wanted = [frame.planes for frame in frames_of(tmp_path / "out.mkv")]
    in_order = deblur(clip, **options)
    assert (in_order.num_frames, in_order.fps) == (count, 25)
    changed = 0
    for number, frame in enumerate(in_order.frames(prefetch=4)):  # by several threads
        assert all(map(np.array_equal, planes_of(frame), wanted[number])), number
        assert frame.props["number"] == number
        changed += not alike(frame, clip.get_frame(number)) if upscale is None else 1
    assert changed > count / 4
    again = deblur(clip, **options)
    for number in (*random.Random(1).sample(range(count), jumps), count - 1, 0):
        frame = again.get_frame(number)
        assert all(map(np.array_equal, planes_of(frame), wanted[number])), number


@pytest.mark.parametrize(
    "name",
    [
        *("GRAY8", "GRAY16", "GRAYH", "GRAYS", "YUV420P8", "YUV420P10", "YUV422P12", "YUV444P16"),
        *("YUV420PS", "YUV444PH", "RGB24", "RGB30", "RGB48", "RGBH", "RGBS"),
    ],
)
def test_every_format_stays_what_it_is(name: str) -> None:
    format = vs.core.get_video_format(getattr(vs, name))
    across, down = 1 << format.subsampling_w, 1 << format.subsampling_h
    pictures = []
    for y, *chroma in scene(5, planes=format.num_planes):
        planes = [y]
        for plane in chroma:
            part = plane[::down, ::across]
            centered = format.sample_type == vs.FLOAT and format.color_family == vs.YUV
            planes.append(part - 0.5 if centered else part)
        if format.sample_type == vs.INTEGER:
            planes = [np.rint(each * (2**format.bits_per_sample - 1)) for each in planes]
        pictures.append(planes)
    clip = clip_of(pictures, format.id)
    own = clip.get_frame(2)
    untouched = deblur(clip, **QUICK, strength=0).get_frame(2)
    assert alike(untouched, own), "not a sample is changed where nothing is to be done"
    made = deblur(clip, **QUICK).get_frame(2)
    assert made.format.id == format.id
    top = 1 if format.sample_type == vs.FLOAT else 2**format.bits_per_sample - 1
    for new, old in zip(planes_of(made), planes_of(own), strict=True):
        assert new.dtype == old.dtype
        assert 0 < np.abs(new.astype(float) - old).mean() < 0.08 * top
    large = deblur(clip, **QUICK, upscale=2, upscaler="bicubic").get_frame(2)
    assert (large.width, large.height, large.format.id) == (96, 64, format.id)
    for new, old in zip(planes_of(large), planes_of(made), strict=True):
        assert abs(new.astype(float).mean() - old.astype(float).mean()) < 0.01 * top


def test_what_is_said_of_frames_is_kept_and_used(tmp_path: Path) -> None:
    pictures = [[np.rint(each[0] * 255)] for each in scene(9)]
    flat = [[np.full((32, 48), 128.0)]]

    def made(props: dict[int, dict[str, Any]], pictures: Any = pictures) -> Any:
        clip = clip_of(pictures, vs.GRAY8)

        def told(n: int, f: Any) -> Any:
            frame = f.copy()
            frame.props.update(props.get(n, {}))
            return frame

        return deblur(vs.core.std.ModifyFrame(clip, clip, told), **QUICK)

    plain = [planes_of(frame) for frame in made({}).frames()]
    kept = {"_DurationNum": 7, "_DurationDen": 100, "_Matrix": 9, "_Range": 1, "mine": [1, 2]}
    assert kept.items() <= dict(made(dict.fromkeys(range(9), kept)).get_frame(4).props).items()
    # The first of a scene has no neighbor before it, and the last none after it.
    for props in ({5: {"_SceneChangePrev": 1}}, {4: {"_SceneChangeNext": 1}}):
        cut = made(props)
        alone = made({}, pictures[5:] + 4 * flat)
        assert np.array_equal(planes_of(cut.get_frame(5)), planes_of(alone.get_frame(0)))
        assert not np.array_equal(planes_of(cut.get_frame(5)), plain[5])
        assert np.array_equal(planes_of(cut.get_frame(1)), plain[1])
    full = made({n: {"_Range": 1} for n in range(9)}).get_frame(4)
    assert not np.array_equal(planes_of(full), plain[4]), "a code is worth less in full range"


def test_threads_that_ask_at_once_get_what_they_asked_for() -> None:
    clip = clip_of([[np.rint(each[0] * 255)] for each in scene(40)], vs.GRAY8)
    wanted = [planes_of(frame) for frame in deblur(clip, **QUICK).frames()]
    made = deblur(clip, **QUICK)
    order = random.Random(2).sample(range(40), 40)
    asked = {number: made.get_frame_async(number) for number in order}
    for number in order:
        assert np.array_equal(planes_of(asked[number].result()), wanted[number]), number


def test_shutter_is_told_once_by_a_look_at_some_frames() -> None:
    clip = clip_of([[np.rint(each[0] * 255)] for each in scene(9)], vs.GRAY8)
    told = deblur(clip, model="lite", fuse=0, device="cpu", shutter="1/50")
    degrees = deblur(clip, model="lite", fuse=0, device="cpu", shutter="180deg")
    assert alike(told.get_frame(4), degrees.get_frame(4)), "half of the interval at 25 a second"
    rateless = clip + vs.core.std.AssumeFPS(clip, fpsnum=30)
    assert not rateless.fps
    by_props = deblur(rateless, model="lite", fuse=0, device="cpu", shutter="1/50")
    assert alike(by_props.get_frame(4), degrees.get_frame(4))
    bare = vs.core.std.RemoveFrameProps(rateless, ["_DurationNum", "_DurationDen"])
    with pytest.raises(vs.Error, match="no frame rate"):
        deblur(bare, model="lite", fuse=0, device="cpu", shutter="1/50")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"strength": 2}, r"--strength must be in 0\.\.1"),
        ({"model": "nothing"}, "unknown model nothing"),
        ({"upscale": 9}, "--upscale takes a factor"),
        ({"shutter": "soon"}, "--shutter must be"),
        ({"device": "cuda:77"}, "--device cpu"),
    ],
)
def test_wrong_options_are_told_in_one_line(options: dict[str, Any], said: str) -> None:
    clip = clip_of([[np.zeros((32, 48))]], vs.GRAY8)
    with pytest.raises(vs.Error, match=f"^deblur: .*{said}") as error:
        deblur(clip, **options)
    assert "\n" not in str(error.value)


def test_clips_that_cannot_be_restored_say_why() -> None:
    blank = vs.core.std.BlankClip
    for clip, said in (
        (blank(format=vs.YUV410P8), "YUV410P8"),
        (blank(format=vs.GRAY32), "more than 16 bits"),
        (vs.core.std.SetFieldBased(blank(format=vs.YUV420P8), 1), "interlaced"),
        (blank(format=vs.GRAY8, varsize=True), "changes its format or size"),
    ):
        with pytest.raises(vs.Error, match=said):
            deblur(clip, **QUICK)


def test_an_error_before_it_is_told_and_not_the_end() -> None:
    clip = clip_of([[np.rint(each[0] * 255)] for each in scene(30)], vs.GRAY8)
    failing = True

    def fails(n: int, f: Any) -> Any:
        if n == 20 and failing:
            raise RuntimeError("frame 20 cannot be had")
        return f

    made = deblur(vs.core.std.ModifyFrame(clip, clip, fails), **QUICK)
    made.get_frame(3)
    with pytest.raises(vs.Error, match="frame 20 cannot be had"):
        made.get_frame(19)
    failing = False
    vs.core.clear_cache()
    assert alike(made.get_frame(19), deblur(clip, **QUICK).get_frame(19))


@pytest.mark.docs
@pytest.mark.commands
def test_the_script_of_the_page_works_in_vspipe(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "vapoursynth.md").read_text()
    script, made = tmp_path / "clean.vpy", tmp_path / "clean.y4m"
    script.write_text(re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0])
    done = subprocess.run(
        [str(Path(sys.executable).with_name("vspipe")), "-c", "y4m", str(script), str(made)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stderr.splitlines()) < 3, "it says nothing else"
    with av.open(str(made)) as container:
        sizes = [(frame.width, frame.height) for frame in container.decode(video=0)]
    assert sizes == 24 * [(288, 192)]


def test_short_clips() -> None:
    pictures = [[np.rint(each[0] * 255)] for each in scene(3)]
    for count in (1, 2, 3):
        clip = clip_of(pictures[:count], vs.GRAY8)
        assert len(list(deblur(clip, model="lite", device="cpu").frames())) == count
