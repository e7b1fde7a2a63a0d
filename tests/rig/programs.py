"""Programs of Debian that read a feed, as people use them: what they are told, and what they say.

A `Viewer` prints a line for each picture; a `Recorder` writes a file, or its standard output.
"""

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.rig.clients import ROOT

PYTHON = "/usr/bin/python3"
"""OpenCV and PyAV are those of Debian."""
PACKAGES = Path(__file__).with_name("programs.txt")

Command = Callable[[str, str, Path], list[str]]
"""The words for an address, a transport and a folder of the program's own."""


@dataclass(frozen=True)
class Viewer:
    """Shows pictures, and prints a line for each."""

    name: str
    command: Command
    line: re.Pattern[bytes]
    """What it prints: the group `time` rises, `picture` differs where the picture does."""
    own_pace: bool = False
    """Whether it takes pictures at a rate of its own, so that only those that differ count."""
    waits: bool = False
    """Whether it stands still while there is no sound, as when the camera is away."""
    own_clock: bool = False
    """Whether its times follow arrival, so that what comes late has equal ones."""


@dataclass(frozen=True)
class Recorder:
    """Writes what it reads into a file."""

    name: str
    command: Command
    file: str
    """The pattern of its name in the program's folder."""
    copies: bool = True
    """Whether packets go into the file as they come."""


def _ffmpeg(url: str, transport: str, _: Path) -> list[str]:
    words = ["ffmpeg", "-nostdin", "-v", "warning", "-rtsp_transport", transport, "-i", url]
    words += ["-map", "0:v:0", "-fps_mode", "passthrough", "-enc_time_base", "-1"]
    return [*words, "-flush_packets", "1", "-f", "framemd5", "-"]


def _mpv(url: str, transport: str, _: Path) -> list[str]:
    # Only pictures with metadata are printed, so that each is given some.
    shown = "metadata=mode=add:key=seen:value=1,metadata=mode=print:file=/dev/stdout:direct=1"
    words = ["mpv", "--no-config", "--vo=null", "--ao=null", "--msg-level=all=warn"]
    if transport in ("tcp", "udp"):
        words += ["--profile=low-latency", f"--rtsp-transport={transport}"]
    return [*words, f"--vf=lavfi=[{shown}]", url]


def _gstreamer(url: str, transport: str, _: Path) -> list[str]:
    words = ["gst-launch-1.0", "-v", "rtspsrc", f"location={url}", f"protocols={transport}"]
    words += ["!", "application/x-rtp,media=video", "!", "decodebin"]
    return [*words, "!", "fakesink", "silent=false", "sync=false"]


def _opencv(url: str, transport: str, _: Path) -> list[str]:
    how = f"OPENCV_FFMPEG_CAPTURE_OPTIONS=rtsp_transport;{transport}"
    return ["env", how, PYTHON, str(ROOT / "tests/rig/play_opencv.py"), url]


def _pyav(url: str, transport: str, _: Path) -> list[str]:
    return [PYTHON, str(ROOT / "tests/rig/play_pyav.py"), url, transport]


def _motion(url: str, transport: str, folder: Path) -> list[str]:
    # Its pictures go to a program that it starts, whose standard output is its own.
    hashed = (
        "ffmpeg -v error -f rawvideo -pix_fmt yuv420p -video_size %wx%h -framerate %{fps} "
        "-i pipe:0 -f framemd5 -flush_packets 1 pipe:1"
    )
    told = {
        "daemon": "off",
        "target_dir": str(folder),
        "netcam_url": url,
        "netcam_params": f"rtsp_transport={transport}",
        "width": "320",
        "height": "240",
        "framerate": "10",
        "emulate_motion": "on",
        "text_left": "",
        "text_right": "",
        "picture_output": "off",
        "movie_output": "off",
        "movie_extpipe_use": "on",
        "movie_extpipe": hashed,
        "webcontrol_port": "0",
        "stream_port": "0",
    }
    file = folder / "motion.conf"
    file.write_text("".join(f"{key} {value}\n" for key, value in told.items()))
    return ["motion", "-n", "-c", str(file)]


def _copy(ending: str) -> Command:
    def command(url: str, transport: str, folder: Path) -> list[str]:
        words = ["ffmpeg", "-nostdin", "-v", "warning", "-rtsp_transport", transport, "-i", url]
        return [*words, "-c", "copy", str(folder / f"copy{ending}")]

    return command


def _obs(url: str, transport: str, folder: Path) -> list[str]:
    home = folder / ".config/obs-studio"
    profile, scenes = home / "basic/profiles/Trial", home / "basic/scenes"
    for each in (profile, scenes):
        each.mkdir(parents=True)
    (home / "global.ini").write_text("[General]\nFirstRun=true\nEnableAutoUpdates=false\n")
    (profile / "basic.ini").write_text(
        "[General]\nName=Trial\n[Output]\nMode=Simple\n[SimpleOutput]\n"
        f"FilePath={folder}\nRecFormat=mkv\nRecQuality=Stream\nVBitrate=500\n"
        "StreamEncoder=x264\nPreset=ultrafast\n"
        "[Video]\nBaseCX=320\nBaseCY=240\nOutputCX=320\nOutputCY=240\nFPSType=1\nFPSInt=10\n"
    )
    settings = {
        "is_local_file": False,
        "input": url,
        "ffmpeg_options": f"rtsp_transport={transport}",
        "hw_decode": False,
    }
    item = {"name": "feed", "id": 1, "visible": True, "scale": {"x": 1.0, "y": 1.0}}
    scene = {
        "name": "Trial",
        "current_scene": "Scene",
        "current_program_scene": "Scene",
        "scene_order": [{"name": "Scene"}],
        "sources": [
            {"id": "ffmpeg_source", "name": "feed", "settings": settings},
            {"id": "scene", "name": "Scene", "settings": {"id_counter": 1, "items": [item]}},
        ],
    }
    (scenes / "Trial.json").write_text(json.dumps(scene))
    words = ["env", f"HOME={folder}", f"XDG_CONFIG_HOME={folder}/.config"]
    words += ["xvfb-run", "--auto-servernum", "--server-args=-screen 0 640x480x24"]
    words += ["obs", "--startrecording", "--multi", "--profile", "Trial", "--collection", "Trial"]
    return words


def vlc(url: str, _: str, folder: Path) -> list[str]:
    """VLC, which does not run as root: it writes a copy to its standard output."""
    words = ["runuser", "-u", "nobody", "--"] if os.getuid() == 0 else []
    words += ["env", "HOME=/nonexistent", "cvlc", "--intf", "dummy", "--play-and-exit"]
    return [*words, "--sout", "#std{access=file,mux=ts,dst=-}", url]


_HASHED = re.compile(rb"^0,[^,]*,\s*(?P<time>-?\d+),.*\s(?P<picture>\w+)$")
_FRAME = re.compile(rb"^frame (?P<time>[\d.]+)")
_MPV = re.compile(rb"^frame:.*pts_time:(?P<time>[\d.]+)")
_CHAIN = re.compile(rb"last-message = chain.* pts: (?P<time>[\d:.]+)")

VIEWERS = (
    Viewer("ffmpeg", _ffmpeg, _HASHED),
    Viewer("mpv", _mpv, _MPV, waits=True),
    Viewer("GStreamer", _gstreamer, _CHAIN, own_clock=True),
    Viewer("OpenCV", _opencv, _FRAME),
    Viewer("PyAV", _pyav, _FRAME),
    Viewer("motion", _motion, _HASHED, own_pace=True, own_clock=True),
)
RECORDERS = (
    Recorder("ffmpeg -c copy, .mkv", _copy(".mkv"), "copy.mkv"),
    Recorder("ffmpeg -c copy, .mp4", _copy(".mp4"), "copy.mp4"),
    Recorder("OBS", _obs, "*.mkv", copies=False),
)
HLS_VIEWER = Viewer("mpv", _mpv, _MPV)
HLS_RECORDER = Recorder("VLC", vlc, "stdout")


def missing() -> str | None:
    """What has to be installed first; None where all is there."""
    programs = ("ffmpeg", "mpv", "gst-launch-1.0", "motion", "obs", "xvfb-run", "cvlc")
    lacking = [name for name in programs if shutil.which(name) is None]
    if not lacking:
        return None
    names = " ".join(PACKAGES.read_text().split())
    return f"missing: {', '.join(lacking)}; apt-get install --no-install-recommends {names}"
