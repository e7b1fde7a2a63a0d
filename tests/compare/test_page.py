"""The page of a comparison in a real browser: what people see, click and type."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page

from stream.compare import Showing, compare
from tests.compare.test_compare import film, walk
from tests.rig.browser import Watching, pixels, until_shown

COUNT = 12
SIZE = 96, 72


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Versions that are told apart by how dark they are, one of them larger, and a truth."""
    folder = tmp_path_factory.mktemp("page")
    pictures = walk(COUNT, seed=5, size=SIZE)

    def made(name: str, share: float, scale: int = 1) -> Path:
        size = SIZE[0] * scale, SIZE[1] * scale
        dark = [np.asarray(cv2.resize(each, size) * share, np.uint8) for each in pictures]
        return film(folder / name, dark)

    source, outputs = made("in.mp4", 1), [made("<b>one.mp4", 0.7), made("two.mp4", 0.4, 2)]
    to = folder / "look.html"
    truth = made("true.mp4", 0.9)
    compare(source, outputs, to, Showing(moments=3, frames=4), truth=truth)
    return to


@pytest.fixture
def watching(browser: Browser, page_file: Path) -> Iterator[Watching]:
    seen = Watching(browser, viewport={"width": 900, "height": 900})
    seen.page.goto(page_file.as_uri())
    seen.page.wait_for_selector(".stage[data-index='0']")
    yield seen
    assert not seen.errors
    others = [url for url in seen.requests if not url.startswith(("data:", "file:"))]
    assert not others, "something was fetched from elsewhere"
    seen.close()


def index(page: Page) -> int:
    return int(page.locator(".stage").get_attribute("data-index") or -1)


DATA = "(([w, h]) => w / h)(JSON.parse(document.getElementById('data').textContent).size)"


def shape(page: Page) -> float:
    """Of the stage: its width over its height."""
    return float(
        page.evaluate(
            "(c => c.clientWidth / c.clientHeight)(document.querySelector('.stage canvas'))"
        )
    )


def at(page: Page, frame: int) -> Callable[[], bool]:
    return lambda: index(page) == frame


def tag(page: Page, side: str, name: str) -> Callable[[], bool]:
    return lambda: page.inner_text(f".tag.{side}") == name


def half(page: Page, side: str) -> float:
    """How bright the middle of one of the halves is."""
    picture: NDArray[np.uint8] = pixels(page)
    width = picture.shape[1]
    part = (
        slice(width // 4, width // 2 - 20)
        if side == "left"
        else slice(width // 2 + 20, 3 * width // 4)
    )
    return float(picture[:, part].mean())


def test_frames_are_stepped_through(watching: Watching) -> None:
    page = watching.page
    seen = [pixels(page)]
    for frame in range(1, COUNT):
        page.keyboard.press(".")
        until_shown(page, at(page, frame), "it does not go on")
        seen.append(pixels(page))
        assert np.any(seen[-1] != seen[-2])
    assert page.inner_text("#time") == "0:00.44", "all frames of so short a video are there"
    page.keyboard.press(".")
    page.wait_for_timeout(200)
    assert index(page) == COUNT - 1, "the last is the last"
    page.click("#back")
    until_shown(page, at(page, COUNT - 2), "it does not go back")
    assert np.array_equal(pixels(page), seen[COUNT - 2])
    page.keyboard.press("[")
    until_shown(page, at(page, 4), "no other moment comes")
    page.locator("#moments button").nth(2).click()
    until_shown(page, at(page, 8), "the button does nothing")
    assert page.locator("#moments button[aria-pressed=true]").inner_text() == "0:00.32"


def test_any_two_are_chosen(watching: Watching) -> None:
    page = watching.page
    names = ["before", "<b>one.mp4", "two.mp4", "truth"]
    assert page.locator("#right option").all_inner_texts() == names
    page.select_option("#right", label="before")
    until_shown(page, tag(page, "right", "before"), "not chosen")
    bright, full = half(page, "left"), half(page, "right")
    for name, share in zip(names, (1, 0.7, 0.4, 0.9), strict=True):
        page.select_option("#right", label=name)
        until_shown(page, tag(page, "right", name), "not chosen")
        assert half(page, "right") == pytest.approx(share * full, rel=0.1)
        assert half(page, "left") == pytest.approx(bright)
    page.select_option("#left", label="two.mp4")
    until_shown(page, tag(page, "left", "two.mp4"), "not chosen")
    assert half(page, "left") == pytest.approx(0.4 * bright, rel=0.1)
    page.keyboard.press(".")
    until_shown(page, at(page, 1), "the menu takes the key")
    page.keyboard.press(",")
    until_shown(page, at(page, 0), "the menu takes the key")
    page.locator(".divider").focus()
    page.keyboard.down("a")
    assert page.locator(".divider").get_attribute("aria-valuenow") == "0"
    assert half(page, "left") == pytest.approx(0.9 * bright, rel=0.1), "the truth alone"
    page.keyboard.up("a")


def test_divider_and_zoom(watching: Watching) -> None:
    page = watching.page
    box = page.locator(".stage canvas").bounding_box()
    handle = page.locator(".divider").bounding_box()
    assert box is not None
    assert handle is not None
    whole = pixels(page)
    page.mouse.move(handle["x"] + handle["width"] / 2, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 50, steps=4)
    page.mouse.up()
    assert page.locator(".divider").get_attribute("aria-valuenow") == "80"
    assert shape(page) == pytest.approx(page.evaluate(DATA), rel=0.02), "there are pillars"
    assert np.any(pixels(page) != whole)
    page.click("#in")
    assert re.fullmatch(r"\d+ %", page.inner_text("#zoom"))
    near = pixels(page)
    page.mouse.move(box["x"] + 300, box["y"] + 300)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 220, steps=3)
    page.mouse.up()
    assert np.any(pixels(page) != near)
    page.keyboard.press("0")
    assert page.inner_text("#zoom") == "fit"


def test_it_plays(watching: Watching) -> None:
    page = watching.page
    page.keyboard.press("Space")
    seen: set[int] = set()

    def around() -> bool:
        seen.add(index(page))
        return seen >= {0, 1, 2, 3}

    until_shown(page, around, "it stands still", 20)
    page.keyboard.press("Space")
    assert page.get_attribute("#play", "aria-pressed") == "false"
    page.wait_for_timeout(600)
    stays = index(page)
    page.wait_for_timeout(600)
    assert index(page) == stays
    assert stays < 4, "it stays within the moment"


def test_charts_and_table(watching: Watching) -> None:
    page = watching.page
    assert page.locator("svg").count() == 3
    assert page.locator("tbody th").all_inner_texts() == [
        "before: in.mp4",
        "<b>one.mp4",
        "two.mp4",
        "truth: true.mp4",
    ]
    first = page.locator("svg .now").first.get_attribute("transform")
    page.keyboard.press(".")
    until_shown(page, at(page, 1), "it does not go on")
    assert page.locator("svg .now").first.get_attribute("transform") != first
    stroke = "e => getComputedStyle(e).stroke"
    lines = [page.locator(f"svg polyline.{name}").first for name in ("video0", "video1", "truth")]
    assert len({line.evaluate(stroke) for line in lines}) == 3


def test_on_a_phone(browser: Browser, page_file: Path) -> None:
    phone = {"width": 390, "height": 844}
    seen = Watching(browser, viewport=phone, has_touch=True, is_mobile=True, color_scheme="dark")
    page = seen.page
    page.goto(page_file.as_uri())
    page.wait_for_selector(".stage[data-index='0']")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    cells = "[...document.querySelectorAll('td, th')].map(e => e.getBoundingClientRect().right)"
    assert max(page.evaluate(cells)) <= 390, "a column is cut off"
    assert shape(page) == pytest.approx(page.evaluate(DATA), rel=0.02), "there are pillars"
    page.tap("#next")
    until_shown(page, at(page, 1), "it does not go on")

    box = page.locator(".stage canvas").bounding_box()
    assert box is not None
    fingers = page.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[int, int]) -> None:
        left, top = box["x"], box["y"]
        at = [{"x": left + x, "y": top + y, "id": n} for n, (x, y) in enumerate(points)]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})

    touch("touchStart", (100, 100))
    touch("touchStart", (100, 100), (260, 100))
    for apart in range(170, 260, 10):
        touch("touchMove", (100, 100), (100 + apart, 100))
    touch("touchEnd", (100, 100))
    touch("touchEnd")
    zoom = page.inner_text("#zoom")
    assert zoom != "fit", "pinching does not zoom"
    near = pixels(page)
    touch("touchStart", (150, 150))
    touch("touchMove", (120, 120))
    touch("touchMove", (90, 100))
    touch("touchEnd")
    assert page.inner_text("#zoom") == zoom, "a finger that has gone still counts"
    assert np.any(pixels(page) != near), "dragging does not move the picture"

    def as_small_as_its_pixels() -> bool:
        # On a busy machine the finger may seem to rest there, which is no tap.
        page.tap("#actual")
        return page.inner_text("#zoom") == "100 %"

    until_shown(page, as_small_as_its_pixels, page.inner_text("#zoom"))
    assert not seen.errors
    seen.close()
