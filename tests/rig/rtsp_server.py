"""An RTSP server by GStreamer, run by the system's Python: a camera at /cam, a relay at /in, /out.

    /usr/bin/python3 tests/rig/rtsp_server.py --port 8554 [--size 640x360] [--fps 25] [--file FILE]

`/cam` shows a moving pattern, or a video file again and again; `/in` takes what is published
(H.264, with `--audio` AAC beside it) and `/out` shows that. A login comes through the environment,
RIG_USER and RIG_PASSWORD, as the words of a command are seen by everybody. The server ends when its
standard input does, and so with the process that started it.
"""

import argparse
import os
import random
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

ELEMENTS = (
    *("videotestsrc", "x264enc", "rtph264pay", "h264parse", "intervideosrc", "decodebin"),
    *("capssetter", "avdec_h264", "avenc_aac", "rtpmp4gpay", "rtppcmupay", "rtpgstpay", "udpsrc"),
)
"""What the pipelines below are made of; each stands for the package that it comes in."""
COMMANDS = ("ffmpeg", "gst-launch-1.0", "ss")
"""What the tests need beside the server."""
THREADS = 16
"""With the one thread of the default, whoever asks for /out keeps /in from being read."""
WHOLE = 60_000
"""Bytes in a datagram of the relay's inner hop; loopback carries them whole."""
# The parameter sets come from the parsers: the payloaders put them before every slice of a key
# frame, where they tear it apart.
ENCODERS = {
    "h264": (
        "x264enc tune=zerolatency speed-preset=ultrafast bitrate={kbits} key-int-max={gop} ! "
        "video/x-h264,profile=constrained-baseline ! "
        "h264parse config-interval=-1 ! rtph264pay name=pay0 pt=96 {offset}"
    ),
    "h265": (
        "x265enc tune=zerolatency speed-preset=ultrafast bitrate={kbits} key-int-max={gop} ! "
        "h265parse config-interval=-1 ! rtph265pay name=pay0 pt=96 {offset}"
    ),
}
SOUNDS = {
    "aac": "avenc_aac ! aacparse ! rtpmp4gpay name=pay1 pt=97",
    "pcmu": "audioresample ! audio/x-raw,rate=8000,channels=1 ! mulawenc ! rtppcmupay name=pay1",
}
PICTURES = "video/x-h264,stream-format=byte-stream,alignment=au"
RELAYED = (
    ("rtph264depay", f"h264parse config-interval=-1 ! {PICTURES}", "rtph264pay"),
    ("rtpmp4gdepay", "aacparse", "rtpmp4gpay"),
)
"""How each stream is taken in, looked through and given out."""
BEEP = "audiotestsrc is-live=true wave=ticks ! audioconvert ! audio/x-raw,rate=48000,channels=1 ! "


def main() -> None:
    options = parsed()
    Gst.init(None)
    if options.check:
        missing = [name for name in ELEMENTS if Gst.ElementFactory.find(name) is None]
        missing += [name for name in COMMANDS if shutil.which(name) is None]
        sys.exit(f"missing: {', '.join(missing)}" if missing else 0)
    server = GstRtspServer.RTSPServer()
    server.set_address(options.bind)
    server.set_service(str(options.port))
    server.get_thread_pool().set_max_threads(THREADS)
    mounts = server.get_mount_points()
    factories = {"/cam": camera(options), **relay(options)}
    login(server, list(factories.values()))
    for path, factory in factories.items():
        mounts.add_factory(path, factory)
    # 0 stands for an error here.
    if not server.attach(None):
        sys.exit(f"cannot listen on {options.bind}:{options.port}")
    player = looped(options) if options.file else None
    loop = GLib.MainLoop()
    GLib.io_add_watch(0, GLib.PRIORITY_DEFAULT, GLib.IO_HUP | GLib.IO_IN, lambda *_: loop.quit())
    loop.run()
    if player is not None:
        player.set_state(Gst.State.NULL)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true", help="only say what is missing")
    parser.add_argument("--port", type=int, default=8554)
    parser.add_argument("--bind", default="127.0.0.1")
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--fps", type=int, default=25)
    parser.add_argument("--codec", choices=ENCODERS, default="h264")
    parser.add_argument("--audio", choices=SOUNDS, help="adds a tick a second")
    parser.add_argument("--file", type=Path, help="the camera sees this, again and again")
    parser.add_argument("--claims", type=int, help="the frame rate that the video says it has")
    parser.add_argument("--gop", type=int, help="frames from one key frame to the next")
    parser.add_argument("--first", type=int, help="the first RTP timestamp of the video")
    return parser.parse_args()


def camera(options: argparse.Namespace) -> Any:
    """The factory of /cam."""
    width, height = map(int, options.size.split("x"))
    raw = f"video/x-raw,format=I420,width={width},height={height},framerate={options.fps}/1"
    source = f"intervideosrc channel=film ! {raw}"
    if not options.file:
        source = f"videotestsrc is-live=true pattern=ball ! {raw}"
    if options.claims:
        source += f" ! capssetter caps=video/x-raw,framerate={options.claims}/1"
    offset = "" if options.first is None else f"timestamp-offset={options.first}"
    kbits = max(500, width * height * options.fps // 5000)
    encoder = ENCODERS[options.codec].format(
        kbits=kbits, gop=options.gop or options.fps, offset=offset
    )
    sound = BEEP + SOUNDS[options.audio] if options.audio else ""
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(f"( {source} ! {encoder} {sound} )")
    return factory


def relay(options: argparse.Namespace) -> dict[str, Any]:
    """The factories of /in and /out; what comes in takes a hop over loopback, one port a stream."""
    into, out = [], []
    for number, (take, parse, give) in enumerate(RELAYED[: 2 if options.audio else 1]):
        port = free_port()
        into.append(
            f"{take} name=depay{number} ! {parse} ! rtpgstpay config-interval=1 mtu={WHOLE} ! "
            f"udpsink host=127.0.0.1 port={port} sync=false async=false"
        )
        out.append(
            f"udpsrc address=127.0.0.1 port={port} mtu={WHOLE} buffer-size=4000000 caps="
            '"application/x-rtp,media=application,encoding-name=X-GST,clock-rate=90000" ! '
            f"rtpgstdepay ! {parse} ! {give} name=pay{number} pt={96 + number}"
        )
    publish, play = GstRtspServer.RTSPMediaFactory(), GstRtspServer.RTSPMediaFactory()
    publish.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
    publish.set_launch(f"( {' '.join(into)} )")
    play.set_launch(f"( {' '.join(out)} )")
    play.set_shared(True)
    for factory in (publish, play):
        factory.set_latency(0)
    return {"/in": publish, "/out": play}


def free_port() -> int:
    """A UDP port below those that the system gives away by itself."""
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trial:
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def login(server: Any, factories: list[Any]) -> None:
    """Ask for a user and password (digest), where the environment has them."""
    user, password = os.environ.get("RIG_USER"), os.environ.get("RIG_PASSWORD")
    if not user:
        return
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    guard = GstRtspServer.RTSPAuth()
    guard.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
    guard.add_digest(user, password, token)
    server.set_auth(guard)
    allowed = "user, media.factory.access=true, media.factory.construct=true"
    for factory in factories:
        factory.add_role_from_structure(Gst.Structure.from_string(allowed)[0])


def looped(options: argparse.Namespace) -> Any:
    """A running pipeline that shows the file to the camera again and again."""
    width, height = options.size.split("x")
    player = Gst.parse_launch(
        f"uridecodebin uri={options.file.resolve().as_uri()} "
        "! videoconvert ! videoscale ! videorate ! "
        f"video/x-raw,format=I420,width={width},height={height},framerate={options.fps}/1,"
        "pixel-aspect-ratio=1/1 ! intervideosink channel=film"
    )

    def again(_bus: Any, message: Any) -> None:
        if message.type == Gst.MessageType.ERROR:
            sys.exit(f"{options.file}: {message.parse_error()[0].message}")
        if message.type in (Gst.MessageType.SEGMENT_DONE, Gst.MessageType.EOS):
            flags = Gst.SeekFlags.SEGMENT
            if message.type == Gst.MessageType.EOS:
                flags |= Gst.SeekFlags.FLUSH
            player.seek_simple(Gst.Format.TIME, flags, 0)

    bus = player.get_bus()
    bus.add_signal_watch()
    bus.connect("message", again)
    player.set_state(Gst.State.PAUSED)
    player.get_state(Gst.SECOND * 10)
    player.seek_simple(Gst.Format.TIME, Gst.SeekFlags.SEGMENT | Gst.SeekFlags.FLUSH, 0)
    player.set_state(Gst.State.PLAYING)
    return player


if __name__ == "__main__":
    main()
