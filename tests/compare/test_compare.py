"""Videos are compared: which frames belong together, what is measured, and what is shown."""

import json
import re
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from filters import Coding
from stream.compare import Showing, compare, parse_crop, target
from stream.compare.chart import charts, svg
from stream.compare.measure.clip import Clip, Timed
from stream.compare.measure.figures import Figure, Meter, means
from stream.compare.measure.matches import Match, Matching
from stream.compare.measure.pictures import picture_of
from stream.compare.measure.spread import Spread
from stream.errors import DeblurError, SinkError, UsageError
from stream.frame import Frame
from stream.options.reading import Span
from tests.cli.test_command import deblur
from tests.clips import look, make_clip
from tests.filters.test_fusion import noisy, scene

Picture = NDArray[np.uint8]


def gray_frame(luma: NDArray[np.uint8], tick: int = 0) -> Frame:
    return Frame((luma,), Coding(gray=True, full_range=True), tick, Fraction(1, 25))


def at(*moments: float) -> list[Timed]:
    """Frames that are told apart by their ticks."""
    blank = np.zeros((2, 2), np.uint8)
    return [(moment, gray_frame(blank, tick)) for tick, moment in enumerate(moments)]


def partners(
    first: Sequence[Timed], second: Sequence[Timed], matching: Matching
) -> list[tuple[int, int]]:
    matches = matching.of(first, [second])
    return [(match.frames[0].pts, match.frames[1].pts) for match in matches]


def film(
    path: Path, pictures: Sequence[Picture], *, codec: str = "libx264", first: int = 0
) -> Path:
    """Write pictures, 25 a second, so well that what is in them stays."""
    with av.open(str(path), "w") as output:
        options = {"crf": "8", "preset": "ultrafast", "bf": "0"}
        video = output.add_stream(codec, rate=25, options=options)
        assert isinstance(video, av.VideoStream)
        video.height, video.width = pictures[0].shape[:2]
        video.pix_fmt = "yuv420p"
        for index, picture in enumerate(pictures, first):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
    return path


def walk(count: int, *, seed: int = 0, size: tuple[int, int] = (96, 72)) -> list[Picture]:
    """A camera that wanders over a scene and never takes the same way twice."""
    wide = scene(seed, 400, 400)
    steps = np.random.default_rng(seed).normal(0, 1, (count, 2)).cumsum(0)
    places = np.clip(np.round(100 + 2 * steps), 0, 300 - max(size)).astype(int)
    return [np.ascontiguousarray(wide[y : y + size[1], x : x + size[0]]) for x, y in places]


def test_frames_are_paired_by_time() -> None:
    matching = Matching([0.0], 0.02)
    assert partners(at(0, 0.04, 0.08), at(0, 0.04, 0.08), matching) == [(0, 0), (1, 1), (2, 2)]
    assert (matching.matches, matching.skipped) == (3, 0)

    # Rounded times of a part that begins at zero.
    matching = Matching([10.0], 0.02)
    later = at(9.96, 10.0, 10.033, 10.067, 10.1)
    assert partners(later, at(0, 0.0333, 0.0667), matching) == [(1, 0), (2, 1), (3, 2)]
    assert matching.skipped == 0, "what is before and behind the part belongs to it no more"


def test_frames_without_a_partner_are_skipped_and_counted() -> None:
    matching = Matching([0.0], 0.02)
    dropped = at(0, 0.12, 0.16)
    found = partners(at(0, 0.04, 0.08, 0.12, 0.16), dropped, matching)
    assert found == [(0, 0), (3, 1), (4, 2)]
    between = [match.follows for match in matching.of(at(0, 0.04, 0.08, 0.12, 0.16), [dropped])]
    assert between == [False, False, True]
    assert matching.skipped == 4

    matching = Matching([0.0], 0.02)
    assert partners(dropped, at(0, 0.04, 0.08, 0.12, 0.16), matching) == [(0, 0), (1, 3), (2, 4)]
    assert matching.skipped == 2

    # Where the frame rate varies, the nearest one is the partner, not the first within reach.
    matching = Matching([0.0], 0.02)
    assert partners(at(0, 0.01, 0.05), at(0.01, 0.05), matching) == [(1, 0), (2, 1)]
    assert partners(at(0.01, 0.05), at(0, 0.01, 0.05), matching) == [(0, 1), (1, 2)]
    assert partners(at(0, 0.1), at(0.04, 0.15), matching) == []


def test_frames_that_one_of_several_videos_lacks_are_left_out_of_all() -> None:
    matching = Matching([0.0, 1.0], 0.02)
    first = at(0, 0.04, 0.08, 0.12, 0.16)
    full, gap = at(0, 0.04, 0.08, 0.12, 0.16), at(-1, -0.92, -0.88)
    found = list(matching.of(first, [full, gap]))
    assert [tuple(frame.pts for frame in match.frames) for match in found] == [
        (0, 0, 0),
        (2, 2, 1),
        (3, 3, 2),
    ]
    assert [match.follows for match in found] == [False, False, True]
    assert matching.skipped == 2, "the frame of each of those that have it"


def measured(before: Sequence[Picture], after: Sequence[Picture]) -> Meter:
    meter = Meter(0.0)
    for index, both in enumerate(zip(before, after, strict=True)):
        gray = [cv2.cvtColor(each, cv2.COLOR_RGB2GRAY).astype(np.uint8) for each in both]
        meter.add(Match(0.04 * index, (gray_frame(gray[0]), gray_frame(gray[1]))), run=index // 6)
    return meter


def test_figures_are_what_they_are_said_to_be() -> None:
    sharp = scene(1, 96, 128)
    before = [noisy(sharp, 4, index) for index in range(12)]
    after = [
        cv2.GaussianBlur(noisy(sharp, 2, index), (0, 0), 1).astype(np.uint8) for index in range(12)
    ]
    figures = measured(before, after).figures
    luma = cv2.cvtColor(before[3], cv2.COLOR_RGB2GRAY)
    smooth = cv2.GaussianBlur(luma.astype(float), (0, 0), 1.5)
    gradient = np.hypot(*np.gradient(smooth)).mean()
    assert figures[3].sharpness[0] == pytest.approx(gradient, rel=0.05)
    assert [each.flicker is None for each in figures] == [each % 6 == 0 for each in range(12)], (
        "nothing is compared with a frame of another run"
    )
    found = means(figures)
    assert 0 < found["sharpness"][1] < 0.95 * found["sharpness"][0]
    assert set(found) == {"sharpness", "flicker"}, "there is no truth"
    # Luma has this much of the noise of three colors, twice in a difference; where the flow follows
    # the noise, and between pixels, it is less.
    noise = np.square(4 / 255) * (0.299**2 + 0.587**2 + 0.114**2)
    before_flickers, after_flickers = found["flicker"]
    assert 0.4e3 * noise < before_flickers < 2e3 * noise
    assert after_flickers < 0.5 * before_flickers


def test_there_is_no_flicker_over_a_cut() -> None:
    pictures = [scene(1, 96, 128)] * 3 + [scene(2, 96, 128)] * 3
    flicker = [each.flicker for each in measured(pictures, pictures).figures]
    assert flicker == [None, (0, 0), (0, 0), None, (0, 0), (0, 0)]


def test_an_enlarged_picture_is_measured_at_the_size_of_the_input() -> None:
    pictures = [scene(seed, 60, 80) for seed in range(2)]
    large = [cv2.resize(each, (240, 180), interpolation=cv2.INTER_NEAREST) for each in pictures]
    for each in measured(pictures, [np.asarray(one, np.uint8) for one in large]).figures:
        assert each.sharpness[0] == each.sharpness[1]


@pytest.mark.parametrize("moments", [1, 6, 24])
def test_of_a_long_video_short_runs_are_measured(moments: int) -> None:
    hour = Spread.over(100, 3700, 1 / 25, moments)
    assert hour.frames <= 150
    assert len(hour.shown) == moments
    assert all(hour.run_at(moment) == run for run, moment in hour.shown)
    assert all(end - begin == pytest.approx(6 / 25) for begin, end in hour.runs)
    steps = [b - a for (a, _), (b, _) in pairwise(hour.runs)]
    assert max(steps) == pytest.approx(min(steps))
    assert 100 < hour.runs[0][0] < 200
    assert 3600 < hour.runs[-1][1] < 3700

    second = Spread.over(100, 101, 1 / 25, moments)
    assert second.whole
    assert second.runs == [(100, 101)]


@pytest.mark.parametrize(
    ("moments", "frames"), [(6, 6), (6, 40), (1, 144), (1, 1), (24, 10), (5, 48), (2, 100)]
)
def test_each_moment_has_its_frames(moments: int, frames: int) -> None:
    """However long the video is, as far as it has so many."""
    for count in [*range(2, 700), 1500, 9000, 90000]:
        spread = Spread.over(7, 7 + count / 25, 1 / 25, moments, frames)
        assert len(spread.shown) == moments
        assert spread.runs[0][0] >= 7
        assert spread.runs[-1][1] <= 7 + count / 25 + 1e-6
        assert all(a[1] <= b[0] + 1e-6 for a, b in pairwise(spread.runs)), count
        for index, (run, moment) in enumerate(spread.shown):
            begin, end = spread.runs[run]
            assert begin <= moment < end
            there = round((end - moment) * 25)
            assert there >= min(frames, count // moments, count - index * count // moments)
        if count <= moments * frames:
            assert spread.shown[0] == (0, 7), "all of it is shown"


def test_a_page_has_the_frames_of_each_moment(tmp_path: Path) -> None:
    """Of a video that is a little longer than what is measured wholly."""
    source = film(tmp_path / "in.mp4", walk(152, size=(48, 32)))
    found = compare(source, [source], tmp_path / "page.html", Showing())
    text = (tmp_path / "page.html").read_text()
    frames = json.loads(re.findall(r'id="data">(.*?)</script>', text)[0])["frames"]
    assert [each["moment"] for each in frames] == [n for n in range(6) for _ in range(6)]
    seconds = [each.second for each in found.figures]
    assert len(set(seconds)) == len(seconds), "a frame is measured twice"


def test_what_makes_no_sense_is_refused() -> None:
    for wrong in ({"kind": "book"}, {"kind": "video", "view": "above"}, {"moments": 0}):
        with pytest.raises(UsageError, match="must be"):
            Showing(**wrong)
    with pytest.raises(UsageError, match="--frames must be"):
        Showing(frames=0)
    with pytest.raises(UsageError, match="--moments times --frames must be"):
        Showing(moments=24, frames=24)
    for unfit in (
        {"view": "split"},
        {"kind": "sheet", "frames": 3},
        {"crop": (0, 0, 8, 8)},
        {"kind": "video", "moments": 3},
    ):
        with pytest.raises(UsageError, match="is for a"):
            Showing(**unfit)
    for text in ("1,2,3", "a,b,c,d", "0,0,0,5", "-1,0,5,5"):
        with pytest.raises(UsageError, match="X,Y,W,H"):
            parse_crop(text)
    assert parse_crop("1,2,3,4") == (1, 2, 3, 4)


def test_where_a_comparison_goes() -> None:
    clean = Path("clips/clean.mp4")
    assert target(clean, None, None) == (Path("clips/clean.compare.html"), "page")
    assert target(clean, None, "video") == (Path("clips/clean.compare.mp4"), "video")
    assert target(clean, Path("a.MKV"), None) == (Path("a.MKV"), "video")
    assert target(clean, Path("a.png"), "sheet") == (Path("a.png"), "sheet")
    with pytest.raises(SinkError, match="--as video"):
        target(clean, Path("a.png"), "video")
    with pytest.raises(SinkError, match="endings"):
        target(clean, Path("a.gif"), None)


def decoded(data: bytes) -> Picture:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return np.asarray(picture[..., ::-1], np.uint8)


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A video, and the same one softer."""
    folder = tmp_path_factory.mktemp("walked")
    pictures = walk(26)
    soft = [np.asarray(cv2.GaussianBlur(each, (0, 0), 0.8), np.uint8) for each in pictures]
    return film(folder / "in.mp4", pictures), film(folder / "out.mkv", soft)


def test_a_page_holds_everything(walked: tuple[Path, Path], tmp_path: Path) -> None:
    page, figures = tmp_path / "page.html", tmp_path / "figures.json"
    done = deblur("compare", *walked, page, "--moments", 3, "--json", figures)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert re.fullmatch(
        r"sharpness 0\.\d\d times, flicker \d\.\d\d times that of the input, over 26 frames"
        rf" -> {re.escape(str(page))}\nnote: nothing was gained, sharpness is .*\n",
        done.stderr,
    )
    text = page.read_text()
    assert "://" not in text
    assert text.count("<svg") == 2
    data = json.loads(re.findall(r'id="data">(.*?)</script>', text)[0])
    assert (data["names"], data["size"]) == (["before", "after"], [96, 72])
    moments = [each["moment"] for each in data["frames"]]
    assert moments == [0] * 6 + [1] * 6 + [2] * 6
    first = [data["frames"][moments.index(each)]["time"] for each in range(3)]
    assert first == ["0:00.04", "0:00.40", "0:00.76"]
    pictures = [decoded(b64decode(one)) for each in data["frames"] for one in each["pictures"]]
    assert [each.shape for each in pictures] == [(72, 96, 3)] * 36
    said = json.loads(figures.read_text())
    assert len(said["frames"]) == 26
    before, after = said["means"]["sharpness"]
    assert after < before
    assert [each["name"] for each in said["videos"]] == ["before", "after"]
    assert said["frames"][5]["second"] == pytest.approx(0.2)
    assert "flicker" not in said["frames"][0]
    before = page.read_bytes()
    with pytest.raises(SinkError, match="--overwrite"):
        compare(walked[0], [walked[1]], page, Showing())
    assert page.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figures.json", "page.html"]


def shown(path: Path, *, of: tuple[Path, Path], **wish: object) -> Path:
    compare(of[0], of[1:], path, Showing(**wish))  # type: ignore[arg-type]
    return path


def test_nothing_beside_is_touched(walked: tuple[Path, Path], tmp_path: Path) -> None:
    source = film(tmp_path / "look.comparing.mp4", walk(26))
    before = source.read_bytes()
    compare(walked[0], [source], tmp_path / "look.mp4", Showing("video"))
    assert source.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["look.comparing.mp4", "look.mp4"]


def rgb(path: Path) -> list[Picture]:
    with av.open(str(path)) as container:
        frames = container.decode(video=0)
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in frames]


def test_a_sheet_shows_pixels(walked: tuple[Path, Path], tmp_path: Path) -> None:
    path = shown(tmp_path / "s.png", of=walked, kind="sheet", moments=2, crop=(8, 16, 40, 30))
    sheet = decoded(path.read_bytes())
    cell = 30 * 12, 40 * 12
    assert sheet.shape == (2 * 26 + 2 * (26 + cell[0]) + 2 * 220, 3 * cell[1] + 2 * 8, 3)
    row = sheet[78 : 78 + cell[0]]
    before, after, change = (row[:, x : x + cell[1]] for x in (0, cell[1] + 8, 2 * cell[1] + 16))
    for cell_shown, file in ((before, walked[0]), (after, walked[1])):
        pixels = cell_shown[::12, ::12]
        assert np.array_equal(pixels.repeat(12, 0).repeat(12, 1), cell_shown)
        # The first moment shown is at a quarter. swscale's color is not exactly ours.
        own = rgb(file)[6][16:46, 8:48]
        assert np.abs(pixels.astype(int) - own).mean() < 6
    difference = 128 + 4 * (after.astype(int) - before)
    assert np.array_equal(change, np.clip(difference, 0, 255))


def test_a_sheet_of_an_enlarged_video(walked: tuple[Path, Path], tmp_path: Path) -> None:
    large = film(
        tmp_path / "large.mp4",
        [np.asarray(cv2.resize(each, (192, 144)), np.uint8) for each in rgb(walked[0])],
    )
    pair = walked[0], large
    path = shown(tmp_path / "s.png", of=pair, kind="sheet", moments=1, crop=(0, 0, 96, 72))
    assert decoded(path.read_bytes()).shape[1] == 3 * 2 * 192 + 16
    done = compare(pair[0], pair[1:], tmp_path / "film.mp4", Showing(kind="video", view="split"))
    assert [each.shape for each in rgb(tmp_path / "film.mp4")] == [(144, 192, 3)] * 26
    assert 0.3 < (done.ratio("sharpness") or 0) < 1.1


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path], Path]:
    """A soft video, two that are less so, one of them larger, and what they should be."""
    folder = tmp_path_factory.mktemp("several")
    pictures = walk(26, seed=3)

    def soft(sigma: float, size: tuple[int, int] = (96, 72)) -> list[Picture]:
        blurred = [cv2.GaussianBlur(each, (0, 0), sigma) for each in pictures]
        return [np.asarray(cv2.resize(each, size), np.uint8) for each in blurred]

    (folder / "other").mkdir()
    less = film(folder / "made.mp4", soft(0.7))
    large = film(folder / "other" / "made.mp4", soft(0.9, (192, 144)))
    return film(folder / "in.mp4", soft(1.2)), [less, large], film(folder / "true.mp4", pictures)


def test_several_are_compared_with_the_truth(
    several: tuple[Path, list[Path], Path], tmp_path: Path
) -> None:
    source, made, truth = several
    page, figures = tmp_path / "look.html", tmp_path / "f.json"
    done = deblur("compare", source, *made, page, "--truth", truth, "--json", figures)
    assert done.returncode == 0, done.stderr
    names = [f"{path.parent.name}/made.mp4" for path in made]
    right = r"PSNR \d\d\.\d\d dB, SSIM 0\.\d{3}"
    of_input = r"sharpness \d\.\d\d times, flicker \d\.\d\d times that of the input"
    lines = done.stderr.splitlines()
    assert len(lines) == 4
    assert re.fullmatch(f"before: {right}", lines[0])
    for name, line in zip(names, lines[1:3], strict=True):
        assert re.fullmatch(f"{re.escape(name)}: {of_input}; {right}", line)
    assert lines[3] == f"26 frames -> {page}"

    said = json.loads(figures.read_text())
    assert [each["name"] for each in said["videos"]] == ["before", *names, "truth"]
    means = said["means"]
    assert [len(means[key]) for key in ("sharpness", "flicker", "psnr", "ssim")] == [4, 4, 3, 3]
    assert means["psnr"][0] < means["psnr"][2] < means["psnr"][1], "the less blurred, the nearer"
    assert means["ssim"][0] < means["ssim"][2] < means["ssim"][1]
    frames = [list(Clip.of(each, 1 << 20).frames(-1, 9))[5][1] for each in (source, truth)]
    before, after = (picture_of(frame).astype(float) for frame in frames)
    psnr = -10 * np.log10(np.square((before - after) / 255).mean())
    assert said["frames"][5]["psnr"][0] == pytest.approx(psnr, abs=1e-3)
    text = page.read_text()
    assert text.count("<svg") == 3
    assert all(f">{name}</th>" in text for name in names)
    # Without a truth there is nothing to say of it.
    found = compare(source, made, tmp_path / "s.png", Showing("sheet", moments=1))
    assert set(found.means) == {"sharpness", "flicker"}
    width = decoded((tmp_path / "s.png").read_bytes()).shape[1]
    assert width == 3 * 2 * 192 + 2 * 8, "before and both, and no difference"


def test_legends_stay_within_the_chart() -> None:
    figures = [Figure(n / 25, 0, tuple(map(float, range(1, 9))), None) for n in range(3)]
    names = ["before", *(f"holiday.deblurred.strength{n:02}.mp4" for n in range(6)), "truth"]
    chart = charts(figures, names, whole=True, truth=True)[0]
    drawing = svg(chart)
    height = int(re.findall(r'viewBox="0 0 720 (\d+)"', drawing)[0])
    assert height > int(
        re.findall(r'viewBox="0 0 720 (\d+)"', svg(replace(chart, names=("a",))))[0]
    )
    shown = re.findall(r'<text class="\w+" x="([\d.]+)" [^>]*>([^<]+)<', drawing)
    assert len({text for _, text in shown}) == 8, "they are told apart"
    assert all(float(x) + 8 * len(text) <= 720 for x, text in shown)
    assert svg(chart).count('class="truth"') == 2, "a name and a line"


@pytest.mark.parametrize("view", ["side-by-side", "split"])
def test_a_video_of_several(tmp_path: Path, view: str) -> None:
    """They are told apart by how dark they are."""
    pictures = walk(26, seed=3)
    darks = [
        [np.asarray(each * share, np.uint8) for each in pictures] for share in (1, 0.8, 0.6, 0.4)
    ]
    videos = [film(tmp_path / f"{number}.mp4", dark) for number, dark in enumerate(darks)]
    source, *made, truth = videos
    path = tmp_path / "film.mp4"
    compare(source, made, path, Showing("video", view=view), truth=truth)
    picture = rgb(path)[7].astype(int)
    wholes = [rgb(each)[7].astype(int) for each in videos]
    if view == "side-by-side":
        assert picture.shape == (144, 192, 3)
        corners = [(y, x) for y in (0, 72) for x in (0, 96)]
        cells = [picture[y + 30 : y + 70, x + 4 : x + 92] for y, x in corners]
        wanted = [each[30:70, 4:92] for each in wholes]
    else:
        assert picture.shape == (72, 96, 3)
        parts = [slice(x + 2, x + 22) for x in range(0, 96, 24)]
        cells = [picture[30:, part] for part in parts]
        wanted = [each[30:, part] for part, each in zip(parts, wholes, strict=True)]
    for cell, own in zip(cells, wanted, strict=True):
        assert np.abs(cell - own).mean() < 6


@pytest.mark.slow
def test_where_several_are_written(several: tuple[Path, list[Path], Path], tmp_path: Path) -> None:
    source, made, _ = several
    assert deblur("compare", source, *made, "--frames", 1).returncode == 0
    assert source.with_name("in.compare.html").exists(), "beside what they have in common"
    source.with_name("in.compare.html").unlink()
    done = deblur("compare", source, *made, "--to", tmp_path / "film.mkv")
    assert done.returncode == 0, done.stderr
    assert look(tmp_path / "film.mkv").format[1] == (576, 144)
    # A video that is not there is no place to write to.
    done = deblur("compare", source, *made, tmp_path / "none.mp4")
    assert (done.returncode, len(done.stderr.splitlines())) == (66, 1)
    assert "--to" in done.stderr


def test_too_many_or_the_same_are_refused(
    several: tuple[Path, list[Path], Path], tmp_path: Path
) -> None:
    source, made, truth = several
    to = tmp_path / "page.html"
    with pytest.raises(UsageError, match="given twice"):
        compare(source, [made[0], made[0]], to, Showing())
    with pytest.raises(UsageError, match="given twice"):
        compare(source, made, to, Showing(), truth=made[1])
    done = deblur("compare", source, *made, "--to", to, "--json", to)
    assert done.returncode == 73, done.stderr
    with pytest.raises(UsageError, match="1 to 6"):
        compare(source, [truth] * 7, to, Showing())
    with pytest.raises(UsageError, match="1 to 6"):
        compare(source, [], to, Showing())
    with pytest.raises(SinkError, match="input itself"):
        compare(source, made, truth, Showing("video", overwrite=True), truth=truth)
    assert not list(tmp_path.iterdir())


def test_a_video_has_the_times_and_the_sound_of_the_input(tmp_path: Path) -> None:
    pts = [0, 40, 90, 120, 180, 240, 250, 300, 420, 440]
    source = make_clip(
        tmp_path / "in.mp4",
        frames=10,
        pts=pts,
        time_base=Fraction(1, 1000),
        size=(97, 65),
        pix_fmt="yuv444p",
        audio=("eng", "fin"),
    )
    for name, view in (("side.mp4", "side-by-side"), ("split.mkv", "split")):
        path = shown(tmp_path / name, of=(source, source), kind="video", view=view)
        seen, wanted = look(path), look(source)
        assert [kind for kind, _, _ in seen.streams] == ["video", "audio"]
        # Matroska has no time before zero, where this sound begins: all of it is later there.
        later = seen.packets[0][0][0] - wanted.packets[0][0][0]
        assert later == 0 or path.suffix == ".mkv"
        off = [a - b - later for a, b in zip(seen.timestamps, wanted.timestamps, strict=True)]
        assert max(map(abs, off)) <= Fraction(1, 1000)
        data = [data for _, data in seen.packets[0]]
        assert data == [data for _, data in wanted.packets[0]][: len(data)]
        assert seen.packets[0][-1][0] > Fraction(42, 100)
        size = (194, 66) if view == "side-by-side" else (98, 66)
        assert seen.format[1] == size
        assert seen.format[2][0] == 1
        own, made = rgb(source)[4], rgb(path)[4]
        # Beneath the labels; the last pixels of an odd size are doubled.
        end = 194 if view == "side-by-side" else 97
        for place, wanted_place in ((slice(40), slice(40)), (slice(end - 40, end), slice(57, 97))):
            change = made[40:65, place].astype(int) - own[40:65, wanted_place]
            assert np.abs(change).mean() < 12


def test_the_part_that_an_output_is_of_is_found(tmp_path: Path) -> None:
    pictures = walk(150)
    source = film(tmp_path / "in.mp4", pictures)
    part = film(tmp_path / "part.mp4", pictures[70:110])
    found = compare(source, [part], tmp_path / "a.png", Showing(kind="sheet"))
    assert found.shifts_s[0] == pytest.approx(70 / 25, abs=0.001)
    assert len(found.figures) == 40
    assert found.figures[0].second == pytest.approx(2.8)
    assert found.ratio("sharpness") == pytest.approx(1, abs=0.1)

    # Told, it need not be sought; the sound and the times of a part begin at zero.
    told = Showing(kind="video", span=Span(2.8, 1))
    assert len(compare(source, [part], tmp_path / "b.mp4", told).figures) == 25
    assert look(tmp_path / "b.mp4").timestamps == [Fraction(index, 25) for index in range(25)]

    # A part of two whole files.
    both = compare(source, [source], tmp_path / "c.png", Showing(kind="sheet", span=Span(4, 1)))
    assert both.shifts_s[0] == 0
    assert [each.second for each in both.figures] == pytest.approx([4 + n / 25 for n in range(25)])


def test_pictures_are_shown_upright(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", size=(96, 64), rotation=90)
    pair = source, source
    shown(tmp_path / "film.mp4", of=pair, kind="video", view="split")
    assert rgb(tmp_path / "film.mp4")[0].shape == (96, 64, 3)
    assert look(tmp_path / "film.mp4").format[-1] == 0


@pytest.mark.slow
def test_only_some_frames_of_a_long_video_are_measured(tmp_path: Path) -> None:
    source = film(tmp_path / "in.mp4", walk(200, size=(64, 48)))
    seen: list[tuple[int, int]] = []
    to, wish = tmp_path / "s.png", Showing(kind="sheet", moments=5)
    found = compare(source, [source], to, wish, lambda *each: seen.append(each))
    assert found.runs == 25
    assert "in 25 runs" in found.summary
    assert 120 < len(found.figures) < 160
    assert seen[-1][0] == len(found.figures)
    assert found.ratio("flicker") == 1


def test_videos_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    source = film(tmp_path / "in.mp4", walk(30, seed=1))
    other = film(tmp_path / "other.mp4", walk(30, seed=2))
    with pytest.raises(UsageError, match="does not show"):
        compare(source, [other], tmp_path / "page.html", Showing())
    square = make_clip(tmp_path / "square.mp4", size=(96, 96))
    done = deblur("compare", source, square)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "different shapes" in done.stderr
    names = ["in.mp4", "other.mp4", "square.mp4"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_what_cannot_be_is_refused(walked: tuple[Path, Path], tmp_path: Path) -> None:
    def refusal(to: Path, wish: Showing) -> DeblurError:
        with pytest.raises(DeblurError) as refused:
            compare(walked[0], [walked[1]], to, wish)
        assert not list(tmp_path.iterdir())
        return refused.value

    assert "not inside" in str(refusal(tmp_path / "a.png", Showing("sheet", crop=(60, 0, 40, 8))))
    assert "same moments" in str(refusal(tmp_path / "a.png", Showing("sheet", span=Span(99))))
    assert refusal(walked[1], Showing("video", overwrite=True)).exit_code == 73
    assert refusal(tmp_path / "no" / "a.html", Showing()).exit_code == 73
    if Path("/proc").is_dir():
        assert refusal(Path("/proc/a.mp4"), Showing("video")).exit_code == 73
