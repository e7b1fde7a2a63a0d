"""The page of the job service in a real browser: what people see, click and drop."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, expect

from tests.clips import look, make_clip
from tests.rig.browser import Watching
from tests.rig.command import TOKEN
from tests.rig.service import QUICK, Service, service

PATIENCE_MS = 120_000


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("page")
    (folder / "in").mkdir()
    make_clip(folder / "in" / "given.mp4", frames=40)
    with service(folder, "--max-upload", "100KB", *QUICK) as running:
        yield running


@pytest.fixture
def watching(browser: Browser, served: Service) -> Iterator[Watching]:
    seen = Watching(browser, viewport={"width": 1100, "height": 900})
    seen.page.goto(f"{served.address}/?token={TOKEN}")
    expect(seen.page.locator("body")).to_have_attribute("data-link", "open")
    yield seen
    hosts = {urlsplit(url).netloc for url in seen.requests if not url.startswith("blob:")}
    assert hosts <= {urlsplit(served.address).netloc, ""}, "something was fetched from elsewhere"
    seen.close()


def test_a_file_is_given_watched_compared_and_fetched(
    watching: Watching, served: Service, tmp_path: Path
) -> None:
    page = watching.page
    clip = make_clip(tmp_path / "own clip.mp4", frames=40)
    page.click("#options summary")
    page.select_option("[name=strength]", "0.5")
    page.set_input_files("#file", clip)
    job = page.locator(".job", has_text="own clip.mp4").first
    expect(job).to_have_attribute("data-state", "running", timeout=PATIENCE_MS)
    expect(job.locator(".line")).to_contain_text("frames", timeout=PATIENCE_MS)
    assert page.inner_text("#state").startswith("1 at work")
    expect(job).to_have_attribute("data-state", "done", timeout=PATIENCE_MS)
    expect(job.locator(".line")).to_contain_text("conforms: 40 frames")
    assert served.jobs()[-1]["options"] == {"strength": 0.5}
    with page.expect_download() as saved:
        job.get_by_text("Download", exact=True).click()
    assert saved.value.suggested_filename == "own clip.mp4"
    assert len(look(Path(saved.value.path())).timestamps) == 40
    job.get_by_text("Before and after").click()
    frame = page.frame_locator("#frame")
    expect(frame.locator(".stage canvas").first).to_be_visible(timeout=PATIENCE_MS)
    expect(frame.locator(".divider").first).to_be_visible()
    page.click("#close")
    expect(page.locator("#pair")).not_to_be_visible()
    page.on("dialog", lambda dialog: dialog.accept())
    job.get_by_text("Remove", exact=True).click()
    expect(page.locator(".job", has_text="own clip.mp4")).to_have_count(0)
    assert (served.outputs / "own clip.mp4").exists()
    assert not watching.errors


def test_files_are_dropped(watching: Watching, served: Service) -> None:
    """Several at once; what is no video says why, and can be removed."""
    page = watching.page
    page.evaluate(
        """() => {
          const transfer = new DataTransfer();
          for (const name of ["first.mp4", "second.mp4"]) {
            transfer.items.add(new File(["no video at all ".repeat(99)], name));
          }
          for (const type of ["dragenter", "dragover", "drop"]) {
            document.querySelector("#drop").dispatchEvent(
              new DragEvent(type, { dataTransfer: transfer, bubbles: true, cancelable: true }));
          }
        }"""
    )
    for name in ("first.mp4", "second.mp4"):
        job = page.locator(".job", has_text=name).first
        expect(job).to_have_attribute("data-state", "failed", timeout=PATIENCE_MS)
        expect(job.locator(".line")).to_contain_text("is not a video that can be read")
        assert job.get_by_text("Resume").is_visible()
    assert not watching.errors


def test_what_is_refused_is_said(watching: Watching, served: Service, tmp_path: Path) -> None:
    page = watching.page
    (tmp_path / "large.mp4").write_bytes(bytes(150_000))
    page.set_input_files("#file", tmp_path / "large.mp4")
    job = page.locator(".job", has_text="large.mp4").first
    expect(job).to_have_attribute("data-state", "failed", timeout=PATIENCE_MS)
    expect(job.locator(".line")).to_contain_text("an upload may have 0.1 MB")
    job.get_by_text("Remove").click()
    expect(page.locator(".job", has_text="large.mp4")).to_have_count(0)
    page.fill("#name", "../secret.mp4")
    page.keyboard.press("Enter")
    expect(page.locator("#said")).to_have_text(
        "../secret.mp4 does not exist in the folder of inputs"
    )
    # Two refusals are what the browser tells of.
    assert len(watching.errors) == 2


def test_all_can_be_done_by_keyboard(watching: Watching, served: Service) -> None:
    page = watching.page
    page.focus("#name")
    page.keyboard.type("given.mp4")
    page.keyboard.press("Enter")
    job = page.locator(".job", has_text="given.mp4").first
    expect(job).to_have_attribute("data-state", "running", timeout=PATIENCE_MS)
    job.get_by_role("button", name="Cancel").focus()
    page.keyboard.press("Enter")
    expect(job).to_have_attribute("data-state", "cancelled", timeout=PATIENCE_MS)
    job.get_by_role("button", name="Resume").focus()
    page.keyboard.press("Enter")
    expect(job).to_have_attribute("data-state", "done", timeout=PATIENCE_MS)
    reached = set()
    page.evaluate("document.activeElement.blur()")
    for _ in range(20):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "document.activeElement.id || document.activeElement.textContent.slice(0, 16)"
            )
        )
    assert {"file", "name", "Add", "Download", "Before and after", "Remove"} <= reached
    assert not watching.errors


def test_the_page_comes_back_with_the_service(watching: Watching, served: Service) -> None:
    page = watching.page
    served.kill()
    expect(page.locator("#state")).to_have_text("the connection is lost; connecting again")
    served.start()
    # Whoever knows the word may come in again: what a browser keeps ends with the service.
    page.goto(f"{served.address}/?token={TOKEN}")
    expect(page.locator("body")).to_have_attribute("data-link", "open", timeout=PATIENCE_MS)
    expect(page.locator(".job").first).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_sticks_out_on_a_phone(browser: Browser, served: Service, scheme: str) -> None:
    name = "a very long name of a file that somebody has brought along " * 3 + ".mp4"
    served.upload(name, b"no video")
    seen = Watching(
        browser, viewport={"width": 360, "height": 740}, is_mobile=True, color_scheme=scheme
    )
    page = seen.page
    page.goto(f"{served.address}/?token={TOKEN}")
    expect(page.locator(".job").first).to_be_visible()
    page.click("#options summary")
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 360
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (dark == "rgb(19, 19, 22)") == (scheme == "dark")
    assert not seen.errors
    seen.close()
