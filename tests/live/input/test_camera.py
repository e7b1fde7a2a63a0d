"""What the words for a source mean."""

import pickle
from pathlib import Path

import pytest

from stream.errors import NoInputError, UsageError
from stream.live.input.camera import Camera, resolve
from stream.options.live import LiveSettings
from tests.clips import make_clip

SETTINGS = LiveSettings()
ODD = "p@ss:w%rd&é"
"""A password as people have them."""


@pytest.mark.parametrize(
    ("platform", "text", "url", "format", "options"),
    [
        ("linux", "webcam:0", "/dev/video0", "v4l2", {}),
        ("linux", "webcam:", "/dev/video0", "v4l2", {}),
        ("linux", "webcam:usb-Acme_Cam", "/dev/v4l/by-id/usb-Acme_Cam", "v4l2", {}),
        (
            "linux",
            "/dev/video2?size=1280x720&fps=30&format=mjpeg",
            "/dev/video2",
            "v4l2",
            {"video_size": "1280x720", "framerate": "30", "input_format": "mjpeg"},
        ),
        (
            "win32",
            "webcam:Acme Cam?fps=30000/1001&format=mjpeg",
            "video=Acme Cam",
            "dshow",
            {"framerate": "30000/1001", "vcodec": "mjpeg"},
        ),
        (
            "win32",
            "webcam:Acme Cam?format=yuyv422",
            "video=Acme Cam",
            "dshow",
            {"pixel_format": "yuyv422"},
        ),
        (
            "darwin",
            "webcam:1?size=1280x720",
            "1:none",
            "avfoundation",
            {"framerate": "30", "video_size": "1280x720"},
        ),
        (
            "linux",
            "screen::0.0?size=800x600&fps=10",
            ":0.0",
            "x11grab",
            {"framerate": "10", "video_size": "800x600"},
        ),
        ("win32", "screen:", "desktop", "gdigrab", {"framerate": "25"}),
        ("darwin", "screen:", "Capture screen 0:none", "avfoundation", {"framerate": "25"}),
    ],
)
def test_devices(platform: str, text: str, url: str, format: str, options: dict[str, str]) -> None:
    camera = Camera.parse(text, SETTINGS, platform)
    assert (camera.url, camera.format, camera.options) == (url, format, options)
    assert camera.live
    assert not camera.paced
    assert camera.address is None
    assert pickle.loads(pickle.dumps(camera)) == camera


def test_rtsp_is_opened_for_low_latency_over_tcp() -> None:
    camera = Camera.parse("rtsp://cam.example/live", SETTINGS)
    assert camera.address == ("cam.example", 554)
    assert camera.options["rtsp_transport"] == "tcp"
    assert "fflags" not in camera.options
    assert camera.options["tls_verify"] == "1"
    udp = Camera.parse("rtsps://cam.example", LiveSettings(transport="udp", insecure_tls=True))
    assert udp.address == ("cam.example", 322)
    assert (udp.options["rtsp_transport"], udp.options["tls_verify"]) == ("udp", "0")


@pytest.mark.parametrize("text", ["http://h/a.m3u8", "https://h:1/v", "rtmp://h/a/b", "rtsp://h"])
def test_no_address_may_make_ffmpeg_open_local_files(text: str) -> None:
    camera = Camera.parse(text, SETTINGS)
    allowed = camera.options["protocol_whitelist"].split(",")
    assert not {"file", "concat", "subfile", "pipe", "data", "async", "cache"} & set(allowed)
    assert ("low_delay" in camera.options.values()) == text.startswith("rtsp")


def test_a_password_gets_to_ffmpeg_however_it_is_typed() -> None:
    typed = Camera.parse(f"rtsp://us@er:{ODD}@cam:8554/live?a=b", SETTINGS)
    coded = Camera.parse("rtsp://us%40er:p%40ss%3Aw%25rd%26%C3%A9@cam:8554/live?a=b", SETTINGS)
    assert typed.url == coded.url
    assert typed.url == "rtsp://us%40er:p%40ss%3Aw%25rd%26%C3%A9@cam:8554/live?a=b"
    assert typed.address == ("cam", 8554)
    for camera in (typed, coded):
        for shown in (camera.shown, repr(camera)):
            assert ODD not in shown
            assert "p%40ss" not in shown
            assert "w%" not in shown


@pytest.mark.parametrize(
    ("asked", "location", "url"),
    [
        ("rtsp://u:p@cam/a", "rtsp://cam:8554/b", "rtsp://u:p@cam:8554/b"),
        ("rtsp://u:p@cam:8554/a", "/b?c=d", "rtsp://u:p@cam:8554/b?c=d"),
        ("rtsp://u:p@cam/a", "RTSPS://cam/b", "rtsps://u:p@cam/b"),
        ("rtsp://u:p@cam/a", "rtsp://x:y@cam/b", "rtsp://x:y@cam/b"),
        ("rtsp://u:p@cam/a", "rtsp://other/b", "rtsp://other/b"),
        ("rtsp://u:p@cam/a", "rtsp://cam.evil.example/b", "rtsp://cam.evil.example/b"),
        ("rtsp://cam/a", "rtsp://other/b", "rtsp://other/b"),
    ],
)
def test_a_camera_that_redirects(asked: str, location: str, url: str) -> None:
    """The password goes to no other host."""
    camera = Camera.parse(asked, SETTINGS).redirected(location, SETTINGS)
    assert camera.url == url
    assert "p@" not in camera.shown


@pytest.mark.parametrize(
    ("asked", "location"),
    [
        ("rtsp://cam/a", "file:///etc/passwd"),
        ("rtsp://cam/a", "file:/etc/passwd"),
        ("rtsp://cam/a", "http://cam/a"),
        ("rtsp://cam/a", "concat:rtsp://cam/a"),
        ("rtsp://cam/a", "subfile,,start,0,end,9,,:/etc/passwd"),
        ("rtsp://cam/a", "webcam:0"),
        ("rtsp://cam/a", "env:HOME"),
        ("rtsp://cam/a", "rtsp:///a"),
        ("rtsp://cam/a", "rtsp://cam:99999/a"),
        ("rtsp://cam/a", ""),
        ("rtsps://cam/a", "rtsp://cam/a"),
    ],
)
def test_what_no_camera_may_redirect_to(asked: str, location: str) -> None:
    with pytest.raises(UsageError):
        Camera.parse(asked, SETTINGS).redirected(location, SETTINGS)


def test_an_address_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOOR", f"rtsp://admin:{ODD}@10.0.0.9/door")
    assert resolve("env:DOOR") == f"rtsp://admin:{ODD}@10.0.0.9/door"
    assert resolve("rtsp://x") == "rtsp://x"
    assert Camera.parse("env:DOOR", SETTINGS).address == ("10.0.0.9", 554)
    monkeypatch.delenv("DOOR")
    with pytest.raises(UsageError, match="set the environment variable DOOR"):
        resolve("env:DOOR")


def test_the_test_pattern() -> None:
    camera = Camera.parse("testsrc:?size=320x240&fps=30", SETTINGS)
    assert camera.format == "lavfi"
    assert camera.paced
    assert camera.live
    assert camera.url.startswith("testsrc2=size=320x240:rate=30[out0];sine=")


def test_files_are_played_as_cameras_only_when_that_is_asked_for(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a:b %03d.mp4", frames=2)
    with pytest.raises(UsageError, match=r"deblur run, or .* --realtime"):
        Camera.parse(str(clip), SETTINGS)
    camera = Camera.parse(str(clip), LiveSettings(realtime=True))
    assert camera.url == f"file:{clip}"
    assert camera.paced
    assert not camera.live
    assert camera.options["protocol_whitelist"] == "file"
    assert not {"hls", "concat", "sdp"} & {*camera.options["format_whitelist"].split(",")}
    with pytest.raises(NoInputError, match="does not exist"):
        Camera.parse(str(tmp_path / "none.mp4"), LiveSettings(realtime=True))
    with pytest.raises(NoInputError, match="is a folder"):
        Camera.parse(str(tmp_path), LiveSettings(realtime=True))


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("cam0", "sources are webcam:0"),
        ("srt://h:1", "sources are webcam:0"),
        ("rtsp:///live", "rtsp://HOST/PATH"),
        ("rtsp://a b/live", "rtsp://HOST/PATH"),
        ("rtsp://h:99999/live", "address is not one"),
        ("webcam:0?size=big", "size=1280x720"),
        ("webcam:0?zoom=2", "size, fps and format are"),
        ("testsrc:?size=9x9[out0];movie=/etc/passwd", "size=1280x720"),
        ("testsrc:movie", "testsrc:?size=640x360"),
        ("env:", "set the environment variable"),
    ],
)
def test_what_is_no_source_is_told_with_the_remedy(text: str, remedy: str) -> None:
    with pytest.raises(UsageError) as caught:
        Camera.parse(text, SETTINGS)
    assert remedy in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_password_in_what_is_said_of_a_bad_address() -> None:
    for text in (
        "srt://admin:s3cret-x@h:1",
        "rtsp://admin:s3cret-x@/live",
        "rtsp://admin:s3cret-x@h:port/live",
        # Not even where the slash makes the password look like a port.
        "rtsp://admin:s3cret/-x@h/live",
    ):
        with pytest.raises(UsageError) as caught:
            Camera.parse(text, SETTINGS)
        assert "s3cret" not in str(caught.value)


def test_webcams_on_windows_are_named_where_they_cannot_be_counted() -> None:
    with pytest.raises(UsageError, match="webcam:NAME"):
        Camera.parse("webcam:7", SETTINGS, "win32")
