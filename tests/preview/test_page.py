"""The preview page in a real browser: what people see, click and type."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page, Request, Response

from tests.clips import make_clip
from tests.compute.test_mssnet import published_names, tiny
from tests.rig.browser import Watching, pixels, until_shown
from tests.rig.command import DEBLUR, TOKEN, Live, live, until
from tests.rig.ports import free_port, listens

SIZE = 320, 240


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def feed(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("feed")
    # A second model, drawn by lot, to switch to.
    own = {"XDG_DATA_HOME": str(folder / "data")}
    torch.save({"model_state_dict": published_names(tiny().state_dict())}, folder / "other.pt")
    command = [DEBLUR, "models", "import", str(folder / "other.pt"), "--name", "other"]
    subprocess.run(command, env=os.environ | own, check=True, capture_output=True)
    source = f"testsrc:?size={SIZE[0]}x{SIZE[1]}&fps=15"
    # The network is asked where a frame is blurred: the shutter is told to be always open.
    told = "--preview", str(port), "--shutter", "360deg"
    with live(folder, source, "null:", *told, **own) as running:
        until(lambda: running.ask("/healthz")[0] == 200, "it is not live")
        yield running


@pytest.fixture
def watching(browser: Browser, feed: Live, port: int) -> Iterator[Watching]:
    seen = Watching(browser, viewport={"width": 1100, "height": 800})
    seen.page.goto(f"http://127.0.0.1:{port}/?token={TOKEN}")
    seen.page.wait_for_selector(".stage")
    yield seen
    assert not seen.errors
    hosts = {urlsplit(url).netloc for url in seen.requests if not url.startswith("blob:")}
    assert hosts == {f"127.0.0.1:{port}"}, "something was fetched from elsewhere"
    seen.close()


def drawn(page: Page) -> int:
    return int(page.locator(".stage").first.get_attribute("data-frames") or 0)


def still(page: Page) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Before and after, as they can be saved."""
    with page.expect_download() as saved:
        page.click("#save")
    path = saved.value.path()
    picture = cv2.imread(str(path))
    assert picture is not None
    half = picture.shape[1] // 2
    if page.get_attribute("#pause", "aria-pressed") == "true":
        page.click("#pause")
    return np.asarray(picture[:, :half], np.uint8), np.asarray(picture[:, half:], np.uint8)


def set_range(page: Page, name: str, value: float) -> None:
    page.evaluate(
        "([id, value]) => { const input = document.getElementById(id); input.value = value;"
        " input.dispatchEvent(new Event('input', { bubbles: true })); }",
        [name, value],
    )


@pytest.mark.parametrize(("transport", "said"), [("webrtc", "WebRTC"), ("mjpeg", "MJPEG")])
def test_the_picture_moves(watching: Watching, transport: str, said: str) -> None:
    page = watching.page
    page.select_option("#transport", transport)
    until_shown(page, lambda: page.inner_text("#how") == said, "it does not play")
    until_shown(page, lambda: pixels(page).std() > 20, "there is no picture")
    before, count = pixels(page), drawn(page)
    until_shown(page, lambda: drawn(page) > count + 10, "no frames come")
    assert np.mean(pixels(page) != before) > 0.01, "they are all the same"


def test_mjpeg_takes_over_where_webrtc_cannot(browser: Browser, feed: Live, port: int) -> None:
    seen = Watching(browser)
    seen.page.add_init_script("delete window.RTCPeerConnection")
    seen.page.goto(f"http://127.0.0.1:{port}/?token={TOKEN}")
    until_shown(seen.page, lambda: seen.page.inner_text("#how") == "MJPEG", "it does not play")
    assert not seen.errors
    seen.close()


def until_restored(page: Page) -> None:
    """Wait for frames that are restored: a machine that is busy may pass some on as they are."""
    until_shown(page, lambda: drawn(page) > 3, "no frames come")
    until_shown(page, lambda: not np.array_equal(*still(page)), "the feed changes nothing")


def test_the_divider_is_dragged(watching: Watching) -> None:
    page = watching.page
    until_restored(page)
    page.click("#pause")
    until_shown(page, lambda: page.get_attribute("#pause", "aria-pressed") == "true", "goes on")
    page.wait_for_timeout(300)
    box = page.locator(".stage canvas").bounding_box()
    assert box is not None

    def drag(to: float) -> NDArray[np.uint8]:
        handle = page.locator(".divider").bounding_box()
        assert handle is not None
        page.mouse.move(handle["x"] + handle["width"] / 2, box["y"] + box["height"] / 3)
        page.mouse.down()
        page.mouse.move(box["x"] + to * box["width"], box["y"] + box["height"] / 3, steps=4)
        page.mouse.up()
        shown = float(page.get_attribute(".divider", "aria-valuenow") or -1)
        assert abs(shown - 100 * to) <= 2
        return pixels(page)

    after, middle, before = drag(0.0), drag(0.6), drag(1.0)
    assert np.any(before != after), "the feed changes nothing"
    edge = round(0.6 * middle.shape[1])
    assert np.array_equal(middle[:, : edge - 3], before[:, : edge - 3])
    assert np.array_equal(middle[:, edge + 3 :], after[:, edge + 3 :])


def test_zoom_and_pan_by_mouse_and_keys(watching: Watching) -> None:
    page = watching.page
    until_shown(page, lambda: drawn(page) > 3, "no frames come")
    page.click("#pause")
    page.wait_for_timeout(300)
    whole = pixels(page)
    canvas = page.locator(".stage canvas")
    canvas.hover(position={"x": 200, "y": 200})
    page.mouse.wheel(0, -600)
    until_shown(page, lambda: page.inner_text("#zoom") != "fit", "the wheel does nothing")
    near = pixels(page)
    assert np.any(near != whole)
    box = canvas.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 150, box["y"] + 150)
    page.mouse.down()
    page.mouse.move(box["x"] + 60, box["y"] + 90, steps=3)
    page.mouse.up()
    moved = pixels(page)
    assert np.any(moved != near)
    page.keyboard.press("Shift+ArrowRight")
    assert np.any(pixels(page) != moved)
    page.keyboard.press("0")
    assert page.inner_text("#zoom") == "fit"
    assert np.array_equal(pixels(page), whole)
    page.keyboard.press("+")
    assert page.inner_text("#zoom") != "fit"
    page.keyboard.press("1")
    page.keyboard.press("0")


def test_all_can_be_done_by_keyboard(watching: Watching) -> None:
    page = watching.page
    until_shown(page, lambda: drawn(page) > 3, "no frames come")
    at = float(page.get_attribute(".divider", "aria-valuenow") or 0)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert float(page.get_attribute(".divider", "aria-valuenow") or 0) > at
    page.keyboard.press("Home")
    assert page.get_attribute(".divider", "aria-valuenow") == "0"
    page.keyboard.press("Space")
    until_shown(page, lambda: page.get_attribute("#pause", "aria-pressed") == "true", "goes on")
    with page.expect_download():
        page.keyboard.press("s")
    page.keyboard.press("Space")
    until_shown(page, lambda: page.get_attribute("#pause", "aria-pressed") == "false", "stays")
    page.keyboard.down("b")
    assert page.get_attribute(".divider", "aria-valuenow") == "100"
    page.keyboard.up("b")
    assert page.get_attribute(".divider", "aria-valuenow") == "0"
    reached = set()
    for _ in range(25):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.className"))
    wanted = {"divider", "pause", "save", "in", "out", "fit", "actual", "transport"}
    assert wanted | {"model", "strength", "fuse", "smooth", "upscale", "early"} <= reached


def test_a_still_has_every_pixel(watching: Watching) -> None:
    page = watching.page
    until_restored(page)
    before, after = still(page)
    assert before.shape == after.shape == (SIZE[1], SIZE[0], 3)


def test_switches_show_what_is_usual(watching: Watching) -> None:
    page = watching.page
    page.wait_for_selector("#strength")
    assert page.input_value("#smooth") == "0.8"
    assert page.input_value("#fuse") == "3"


def test_every_switch_changes_what_comes_next(watching: Watching, feed: Live) -> None:
    page = watching.page
    page.wait_for_selector("#strength")
    until_shown(page, lambda: drawn(page) > 3, "no frames come")

    def same() -> bool:
        return np.array_equal(*still(page))

    def size() -> tuple[int, ...]:
        return still(page)[1].shape[:2]

    def figure(name: str) -> str:
        found = page.locator(f"[data-figure='{name}']")
        return found.inner_text() if found.count() else ""

    # Whatever a try before has left.
    page.select_option("#model", "lite")
    set_range(page, "fuse", 3)
    set_range(page, "smooth", 0)
    set_range(page, "strength", 0)
    until_shown(page, same, "strength and smoothing do not act")
    set_range(page, "strength", 1)
    until_shown(page, lambda: not same(), "strength does not act")
    set_range(page, "strength", 0)
    until_shown(page, same, "strength does not act again")
    # There is no noise to be averaged away.
    until_shown(page, lambda: figure("step") == "lite", "it is still fused")
    set_range(page, "smooth", 1)
    until_shown(page, lambda: "fused with 3" in figure("step"), "smoothing does not act")

    page.select_option("#upscale", "2")
    until_shown(page, lambda: size() == (2 * SIZE[1], 2 * SIZE[0]), "nothing is enlarged")
    page.select_option("#upscale", "")
    until_shown(page, lambda: size() == (SIZE[1], SIZE[0]), "it stays enlarged")

    set_range(page, "strength", 1)
    page.select_option("#model", "none")
    until_shown(page, lambda: figure("model") == "none", "the figures name another")
    # On how many neighbors, and with it whether anything changes, the ladder decides.
    until_shown(page, lambda: "fused with" in figure("step"), "nothing is fused")
    until_shown(
        page,
        lambda: re.fullmatch(r"\d+ %", figure("from neighbors")),
        "the share from neighbors is not told",
    )
    set_range(page, "fuse", 0)
    until_shown(page, same, "fusion does not act")
    until_shown(page, lambda: not figure("from neighbors"), "there are no neighbors")
    page.select_option("#model", "lite")
    until_shown(page, lambda: not same(), "the network does not act again")

    def change() -> float:
        """How much a picture is changed."""
        before, after = still(page)
        return float(np.abs(before.astype(int) - after).mean())

    usual = change()
    page.select_option("#model", "other")
    until_shown(page, lambda: change() > 3 * usual, "the model does not act")
    until_shown(page, lambda: figure("model") == "other", "the figures name another")
    page.select_option("#model", "lite")
    until_shown(page, lambda: change() < 2 * usual, "the other model stays")

    set_range(page, "fuse", 5)
    page.check("#early")
    until_shown(page, lambda: "stages" in figure("step"), "the network is not left early")
    page.uncheck("#early")
    until_shown(page, lambda: "stages" not in figure("step"), "it is still left early")
    until_shown(page, lambda: "fused with 5" in figure("step"), "fusion does not act again")
    # Another page shows what is set now.
    page.reload()
    until_shown(page, lambda: page.locator("#smooth").count() == 1, "there are no switches")
    assert page.input_value("#smooth") == "1"
    assert page.input_value("#fuse") == "5"
    set_range(page, "smooth", 0.8)
    set_range(page, "fuse", 3)
    assert page.inner_text("#said") == ""


def test_a_touched_switch_stays_as_it_is_until_the_feed_has_answered(
    watching: Watching, feed: Live
) -> None:
    page = watching.page
    sent: list[dict[str, object]] = []
    replies: list[Response] = []
    answered = [0]

    def heard(text: str | bytes) -> None:
        message = json.loads(text)
        if message.get("type") == "feeds":
            answered.append(message["feeds"][0]["answered"])

    def note(request: Request) -> None:
        if request.method == "POST":
            sent.append(json.loads(request.post_data or ""))

    def reply(response: Response) -> None:
        if response.request.method == "POST":
            replies.append(response)

    page.on("websocket", lambda socket: socket.on("framereceived", heard))
    page.on("request", note)
    page.on("response", reply)
    page.reload()
    until_shown(page, lambda: page.locator("#smooth").count() == 1, "there are no switches")
    wanted = {"strength": "0.35", "fuse": "1", "smooth": "0.6"}
    for name, value in wanted.items():
        set_range(page, name, float(value))
    until_shown(page, lambda: "smooth" in sent[-1] and len(replies) == len(sent), "nothing is sent")
    # To another model and back at once: lite is still in use while the other one is asked for.
    page.evaluate(
        "for (const value of ['other', 'lite']) { const input = document.getElementById('model');"
        " input.value = value; input.dispatchEvent(new Event('input')); }"
    )
    wanted["model"] = "lite"

    def done() -> bool:
        shown = {name: page.input_value(f"#{name}") for name in wanted}
        assert shown == wanted, "an old value has come back"
        if sent[-1].get("model") != "lite" or len(replies) < len(sent):
            return False
        return answered[-1] >= int(replies[-1].text())

    until_shown(page, done, "the last model does not come into use")
    assert [each["model"] for each in sent if "model" in each] == ["other", "lite"]
    assert all(set(each) < {"feed", *wanted} for each in sent), "what changed is sent alone"
    assert sent[0] == {"feed": "live", "strength": 0.35}
    set_range(page, "strength", 1)
    set_range(page, "smooth", 0.8)
    set_range(page, "fuse", 3)


def test_all_switches_are_in_sight(watching: Watching) -> None:
    page = watching.page
    page.set_viewport_size({"width": 1280, "height": 800})
    until_shown(page, lambda: page.locator("#smooth").count() == 1, "there are no switches")
    until_shown(page, lambda: drawn(page) > 3, "no frames come")
    ends = (
        "[...document.querySelectorAll('#settings *')].map(e => e.getBoundingClientRect().bottom)"
    )
    assert max(page.evaluate(ends)) < 800
    canvas = page.locator(".stage canvas").bounding_box()
    assert canvas is not None
    before, _ = still(page)
    shape = before.shape[1] / before.shape[0]
    assert canvas["width"] / canvas["height"] == pytest.approx(shape, rel=0.02), "black pillars"


def test_figures_move(watching: Watching) -> None:
    page = watching.page

    def figure(name: str) -> str:
        return page.locator(f"[data-figure='{name}']").inner_text()

    until_shown(page, lambda: page.locator("[data-figure]").count() > 6, "there are no figures")
    until_shown(page, lambda: re.match(r"1\d\.\d fps", figure("frames in")), "no rate")
    until_shown(page, lambda: re.match(r"\d+ / \d+ ms", figure("latency p50 / p95")), "no latency")
    seen: set[Any] = set()

    def plotted() -> bool:
        seen.add(page.evaluate("document.getElementById('plot').toDataURL()"))
        return len(seen) > 3

    until_shown(page, plotted, "the plot stands still")
    assert figure("bottleneck")
    assert page.inner_text("#state") == "live"


def test_on_a_phone(browser: Browser, feed: Live, port: int) -> None:
    seen = Watching(
        browser,
        viewport={"width": 390, "height": 844},
        has_touch=True,
        is_mobile=True,
        device_scale_factor=2,
        color_scheme="dark",
    )
    page = seen.page
    page.goto(f"http://127.0.0.1:{port}/?token={TOKEN}")
    until_shown(page, lambda: drawn(page) > 3, "no frames come")
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 390, "it is wider than the screen"
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(map(int, re.findall(r"\d+", dark))) < 60
    small = page.evaluate(
        "[...document.querySelectorAll('button, select, input[type=range]')]"
        ".filter(e => e.offsetParent && !e.classList.contains('name'))"
        ".map(e => [e.id, e.getBoundingClientRect().height]).filter(e => e[1] < 24)"
    )
    assert not small, "too small for a finger"
    page.tap("#pause")
    until_shown(page, lambda: page.get_attribute("#pause", "aria-pressed") == "true", "goes on")
    assert not seen.errors
    seen.close()


def test_the_page_comes_back_when_its_process_dies(watching: Watching, feed: Live) -> None:
    page = watching.page
    until_shown(page, lambda: drawn(page) > 3, "no frames come")
    frames = feed.figure("frames_total", "model")
    feed.worker("preview").kill()
    until_shown(
        page, lambda: page.get_attribute("body", "data-link") == "lost", "nobody notices", 10
    )
    until_shown(page, lambda: page.get_attribute("body", "data-link") == "open", "it stays away")
    count = drawn(page)
    until_shown(page, lambda: drawn(page) > count + 5, "no frames come any more")
    assert feed.figure("frames_total", "model") > frames
    # The page belongs to no feed, and to those who watch over the machine.
    assert re.search(
        r'^deblur_restarts_total{feed="",process="preview",role="preview"} 1.0$', feed.metrics, re.M
    )
    assert feed.said.count("preview: was ended by signal 9; started again") == 1
    watching.errors.clear()  # the browser's own lines about the lost connection


@pytest.mark.slow
def test_a_camera_that_is_begun_anew(browser: Browser, tmp_path: Path) -> None:
    """Who watches sees it again at once."""
    file, port = tmp_path / "cameras.toml", free_port()
    text = '[cameras.yard]\nsource = "testsrc:?size=320x240&fps=15"\noutputs = "null:"\n'
    file.write_text(text)
    with live(tmp_path, "--config", str(file), "--preview", str(port)) as feed:
        until(lambda: listens(port), "it does not listen")
        seen = Watching(browser)
        page = seen.page
        page.goto(f"http://127.0.0.1:{port}/?token={TOKEN}")
        until_shown(page, lambda: drawn(page) > 3, "no frames come")
        file.write_text(text.replace("320x240", "160x120"))
        feed.process.send_signal(signal.SIGHUP)
        until(lambda: "160x120" in feed.said, "it is not begun anew")
        until(lambda: feed.ask("/healthz")[0] == 200, "it is not live")
        count = drawn(page)
        until_shown(page, lambda: drawn(page) > count + 10, "no frames come any more")
        assert still(page)[0].shape == (120, 160, 3)
        assert not seen.errors
        seen.close()


def test_a_file_at_work(browser: Browser, tmp_path: Path) -> None:
    make_clip(tmp_path / "shaky.mp4", size=(160, 96), frames=1500)
    port, command = free_port(), [DEBLUR, "run", "shaky.mp4", "--preview"]
    environment = os.environ | {"DEBLUR_TOKEN": TOKEN}
    with subprocess.Popen([*command, str(port)], cwd=tmp_path, env=environment) as running:
        until(lambda: listens(port), "it does not listen")
        seen = Watching(browser)
        page = seen.page
        page.goto(f"http://127.0.0.1:{port}/?token={TOKEN}")
        until_shown(page, lambda: drawn(page) > 5, "no frames come")
        until_shown(page, lambda: page.inner_text("#state") == "restoring", "no figures come")
        frames = page.locator("[data-figure=frames]")
        said = frames.inner_text()
        until_shown(page, lambda: frames.inner_text() != said, "it stands still")
        assert not page.locator("#settings").is_visible(), "it is restored in one way"
        before, after = still(page)
        assert before.shape == after.shape == (96, 160, 3)
        assert not seen.errors
        seen.close()
        running.terminate()
        assert running.wait(30) in (0, 130)
