"""What live feeds are tried with does what it says."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch

import mssnet
from tests.clips import make_clip, picture
from tests.rig import stamp
from tests.rig.camera import Camera, Filming
from tests.rig.chaos import Chaos
from tests.rig.clients import PLAYERS
from tests.rig.fakes import Fake
from tests.rig.meter import measure
from tests.rig.never_reads import NeverReads
from tests.rig.server import RtspServer, Serving

SIZE = (320, 240)


def test_a_stamp_survives_the_codec_and_scaling(tmp_path: Path) -> None:
    luma = picture(3, *SIZE)[:, :, 1].copy()
    stamp.draw(luma, 70_000)
    file = tmp_path / "stamped.mp4"
    with av.open(str(file), "w") as output:
        video = output.add_stream("libx264", rate=25, options={"crf": "32", "preset": "ultrafast"})
        video.width, video.height = SIZE
        output.mux(video.encode(av.VideoFrame.from_ndarray(luma, format="gray")))
        output.mux(video.encode(None))
    with av.open(str(file)) as source:
        coded = next(source.decode(video=0)).to_ndarray(format="gray").astype(np.uint8)
    large = cv2.copyMakeBorder(
        cv2.resize(coded, None, fx=3, fy=3, interpolation=cv2.INTER_LANCZOS4).astype(np.uint8),
        *(0, 0, 160, 160),
        cv2.BORDER_CONSTANT,
        value=16,
    ).astype(np.uint8)
    place = stamp.fitted(SIZE, (1280, 720))
    assert place == (3.0, (160.0, 0.0))
    for seen in (stamp.read(coded), stamp.read(large, *place)):
        assert seen is not None
        assert seen.count == 70_000 % 65_536
        assert seen.age_ms < 60_000
    assert stamp.read(large) is None


def test_a_stamp_survives_the_network(restore: mssnet.Deblurrer) -> None:
    luma = picture(3, *SIZE)[:, :, 1].copy()
    stamp.draw(luma, 7)
    stamp.light(luma, True)
    restored = restore(torch.from_numpy(luma / np.float32(255)).expand(1, 3, -1, -1))
    levels = (restored[0, 1].clamp(0, 1) * 255).byte().numpy()
    seen = stamp.read(levels)
    assert seen is not None
    assert seen.count == 7
    assert stamp.lit(levels)


def test_players_play_the_camera(needs_rtsp: None) -> None:
    """Each of them over both transports, all at once, beside one that never reads."""
    ways = [(player, transport) for player in PLAYERS for transport in ("tcp", "udp")]
    with (
        RtspServer(Serving(size=SIZE, user="us@er", password="p:s/s &ä", audio="aac")) as server,
        NeverReads(server.url("cam")) as stuck,
        ThreadPoolExecutor(len(ways)) as pool,
    ):
        address = server.url("cam")
        all_played = pool.map(lambda way: PLAYERS[way[0]](address, 2.0, way[1]), ways)
        for way, played in zip(ways, all_played, strict=True):
            assert played.frames >= 10, (way, played.said)
        assert not stuck.hung_up(0.1)
        server.kill()
        assert stuck.hung_up(10)


def test_a_stranger_is_not_let_in(needs_rtsp: None) -> None:
    with RtspServer(Serving(user="user", password="secret")) as server:
        with pytest.raises(av.error.HTTPUnauthorizedError):
            av.open(server.url("cam", login=False))
        guess = server.url("cam").replace("secret", "guess")
        with pytest.raises(ConnectionError, match="401"), NeverReads(guess):
            pass


def test_a_file_is_shown_again_and_again(needs_rtsp: None, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mkv", frames=12, size=SIZE)
    with RtspServer(Serving(size=SIZE, file=clip, first=2**32 - 90_000)) as server:
        got = measure(server.url("cam"), 2.5, transport="udp")
    assert got.frames > 40
    assert got.sizes == [SIZE]
    assert not got.backwards  # though the RTP timestamps wrapped
    assert not got.ended


def test_the_relay_shows_what_it_is_sent(
    needs_rtsp: None, capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        RtspServer(Serving(audio="aac")) as server,
        Camera(server.url("in"), Filming(SIZE, audio=True)) as camera,
    ):
        got = measure(server.url("out"), 4.0)
        with capsys.disabled():
            print(f" bare relay: p50 {got.p50_ms:.0f} ms, p95 {got.p95_ms:.0f} ms")  # noqa: T201
        assert not got.ended
        assert len(got.stamps) == got.frames > 60
        assert got.missing < 20
        assert not got.backwards
        assert got.p50_ms < 1000
        assert np.median(np.abs(got.offsets_s)) < 0.2
        camera.kill()
        camera.start(size=(640, 360))
        got = measure(server.url("out"), 1.0)
        assert got.sizes[-1] == (640, 360)
        assert got.stamps


def test_what_is_done_to_packets_is_counted_and_seen(rtsp_server: RtspServer) -> None:
    with Chaos(rtsp_server.port) as chaos, Camera(rtsp_server.url("in"), Filming(SIZE)):
        way = chaos.url(rtsp_server.url("out"))
        plain = measure(way, 2.0)
        before = chaos.counts
        assert before["links"] >= 1
        assert before["packets"] > plain.frames
        assert not before["dropped"] + before["corrupted"]
        chaos.set(delay=0.25)
        assert measure(way, 2.5).p50_ms > plain.p50_ms + 150
        chaos.set(delay=0, drop=0.2, corrupt=0.1)
        measure(way, 1.0)
        after = chaos.counts
        packets = after["packets"] - before["packets"]
        assert 0.05 * packets < after["dropped"] < 0.5 * packets
        assert 0 < after["corrupted"] < 0.3 * packets


def test_links_are_stalled_cut_and_refused(rtsp_server: RtspServer) -> None:
    with Chaos(rtsp_server.port) as chaos:
        way = chaos.url(rtsp_server.url("cam"))
        with av.open(way, options={"rtsp_transport": "tcp"}, timeout=(20, 1)) as source:
            chaos.stall()
            with pytest.raises(av.error.FFmpegError):
                for _ in source.demux():
                    pass
        chaos.resume()
        with av.open(way, options={"rtsp_transport": "tcp"}, timeout=(20, 20)) as source:
            chaos.cut()
            assert sum(1 for _ in source.demux()) < 200
        chaos.refuse()
        with pytest.raises(ConnectionRefusedError), NeverReads(way):
            pass
        chaos.accept()
        with NeverReads(way) as reader:
            assert not reader.hung_up(0.1)


@pytest.mark.parametrize("kind", ["silent", "garbage", "closing", "forbidding"])
def test_no_false_server_is_played(kind: str) -> None:
    with Fake(kind) as fake:
        address = fake.url.replace("rtsp://", "rtsp://user:secret@")
        with pytest.raises(av.error.FFmpegError):
            av.open(address, timeout=2)
        counts = fake.counts
    assert counts["links"] == 1
    assert counts["logins"] == (kind == "forbidding")
