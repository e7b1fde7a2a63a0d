"""Fixtures for every test."""

import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

import mssnet
from stream.compute.models import load_model
from stream.media.encoders import ordinary_scheduling
from tests.clips import make_clip
from tests.rig.server import RtspServer, why_not
from tests.tracks import Piece

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SHARED = Path(__file__).parents[2] / "shared"
"""Reference data that may lie beside the checkout; tests that need it skip where it is missing."""


def pytest_configure() -> None:
    # What a machine was found to be worth is kept for as long as the tests last.
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="deblur-tests-")
    # So are tracebacks.
    os.environ["XDG_STATE_HOME"] = f"{os.environ['XDG_CACHE_HOME']}/state"
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # Begun in a shell's background, and so would be all commands that are to be interrupted.
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_unconfigure() -> None:
    shutil.rmtree(os.environ["XDG_CACHE_HOME"], ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available() or os.environ.get("DEBLUR_REQUIRE_CUDA") == "1":
        return
    for item in items:
        if item.get_closest_marker("needs_cuda"):
            item.add_marker(pytest.mark.skip(reason="no GPU here"))


@pytest.fixture
def shared() -> Path:
    """The folder with reference data."""
    if not SHARED.is_dir():
        pytest.skip("the reference data beside the checkout is missing")
    return SHARED


@pytest.fixture(scope="session")
def needs_rtsp() -> None:
    """Skips where GStreamer's RTSP server is missing; with DEBLUR_REQUIRE_RTSP=1 it fails."""
    reason = why_not()
    if reason is not None and os.environ.get("DEBLUR_REQUIRE_RTSP") == "1":
        pytest.fail(reason)
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture
def rtsp_server(needs_rtsp: None) -> Iterator[RtspServer]:
    """A camera at /cam, 640x360 at 25 frames a second, and a relay from /in to /out."""
    with RtspServer() as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Chromium; skips where it is missing, and with DEBLUR_REQUIRE_CHROMIUM=1 it fails."""
    from tests.rig import browser as rig

    reason = rig.why_not()
    if reason is not None and os.environ.get("DEBLUR_REQUIRE_CHROMIUM") == "1":
        pytest.fail(reason)
    if reason is not None:
        pytest.skip(reason)
    with rig.chromium() as started:
        yield started


@pytest.fixture(autouse=True)
def no_thread_outlives_a_test() -> Iterator[None]:
    """Threads of the pipeline end with the job that started them."""
    yield
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("deblur-")]
    assert not left, f"threads still running: {left}"


@pytest.fixture(autouse=True)
def nothing_stays_real_time() -> Iterator[None]:
    """A test that draws a clip with SVT-AV1 itself must not take the processors from the rest."""
    with ordinary_scheduling():
        yield


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(7)


@pytest.fixture(autouse=True)
def own_data_folder(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Imported models go where the user's own are not."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Threads of torch that wait for a core others use take many times as long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def restore() -> mssnet.Deblurrer:
    """Loaded once: it has nothing to do here."""
    return load_model("lite", device="cpu")


@pytest.fixture
def shown(tmp_path: Path) -> Piece:
    """A second of video, to put streams beside."""
    return Piece(make_clip(tmp_path / "picture.mkv", frames=26, options={"bf": "0"}))
