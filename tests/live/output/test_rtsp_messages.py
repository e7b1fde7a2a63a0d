"""What RTSP, RTP and SDP say, and what is made of those who say something else."""

import asyncio
import base64
import hashlib
import re
import struct
from itertools import pairwise

import pytest

from stream.ipc.sound_ring import Sound, SoundFormat
from stream.live.output.rtsp import sound
from stream.live.rtsp import rtcp, sdp
from stream.live.rtsp.messages import (
    MAX_HEAD,
    MalformedError,
    RefusedError,
    Request,
    parse,
    read,
    response,
)
from stream.live.rtsp.track import Batch, Media, Presentation, Track, fields, packet
from stream.live.rtsp.transport import Interleaved, Unicast, choose
from stream.web.login import Challenge, Login, LoginLimiter

ASKED = (
    b"SETUP rtsp://127.0.0.1:8554/a%20b/trackID=0?x=1 RTSP/1.0\r\n"
    b"CSeq: 7\r\nSession: 0123;timeout=60\r\nUser-Agent: caf\xe9\r\n\r\n"
)


def taken(*parts: bytes) -> list[Request | bytes | type[Exception]]:
    """What is read of bytes that come in parts, and then end."""

    async def go() -> list[Request | bytes | type[Exception]]:
        stream = asyncio.StreamReader(MAX_HEAD)
        for part in parts:
            stream.feed_data(part)
        stream.feed_eof()
        found: list[Request | bytes | type[Exception]] = []
        while True:
            try:
                found.append(await read(stream))
            except (RefusedError, asyncio.IncompleteReadError) as error:
                return [*found, type(error)]

    return asyncio.run(go())


def test_a_request_is_read() -> None:
    request = parse(ASKED)
    assert (request.method, request.path) == ("SETUP", "a b/trackID=0")
    assert (request.sequence, request.session) == ("7", "0123")


def test_requests_and_reports_come_in_any_parts() -> None:
    body = ASKED.replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n") + b"x\r\n"
    whole = b"\r\n" + ASKED + b"$\x01\x00\x04RTCP" + body + b"$\x00\x00\x00" + ASKED[:50]
    bytewise = taken(*(whole[at : at + 1] for at in range(len(whole))))
    assert bytewise == taken(whole)
    assert [each.method if isinstance(each, Request) else each for each in bytewise] == [
        *("SETUP", b"RTCP", "SETUP", b""),
        asyncio.IncompleteReadError,
    ]


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (ASKED.replace(b"RTSP/1.0", b"RTSP/2.0"), 505),
        (ASKED.replace(b"CSeq: 7\r\n", b""), 400),
        (ASKED.replace(b"CSeq: 7", b"CSeq: 7\nX: y"), 400),
        (ASKED.replace(b"CSeq: 7", b"CSeq: " + b"7" * 11), 400),
        (ASKED.replace(b"CSeq: 7", b"CSeq"), 400),
        (ASKED.replace(b"CSeq: 7", b" folded: 7"), 400),
        (ASKED.replace(b"SETUP ", b"SET\x00UP "), 400),
        (ASKED.replace(b"User-Agent", b"Content-Length: 9999\r\nX"), 413),
        (ASKED.replace(b"User-Agent", b"Content-Length: -1\r\nX"), 400),
        (ASKED.replace(b"caf", b"a" * MAX_HEAD), 413),
        (b"A" * (2 * MAX_HEAD), 413),
    ],
)
def test_what_is_no_request_is_refused(head: bytes, status: int) -> None:
    async def go() -> None:
        stream = asyncio.StreamReader(MAX_HEAD)
        stream.feed_data(head)
        with pytest.raises(MalformedError) as caught:
            await read(stream)
        assert caught.value.status == status

    asyncio.run(go())


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(MalformedError):
        _ = Request("DESCRIBE", "rtsp://[::1/live").path


def test_a_response_repeats_what_came_and_nothing_else() -> None:
    told = response(551, "7", [("Unsupported", "caf\udce9")], "x")
    assert told == (
        b"RTSP/1.0 551 Option not supported\r\nCSeq: 7\r\nUnsupported: caf\xe9\r\n"
        b"Content-Length: 1\r\n\r\nx"
    )


@pytest.mark.parametrize(
    ("header", "way"),
    [
        ("RTP/AVP/TCP;unicast;interleaved=2-3", Interleaved(2)),
        ("RTP/AVP/TCP;unicast", Interleaved(None)),
        ("RTP/AVP;unicast;client_port=5000-5001", Unicast(5000, 5001)),
        ('RTP/AVP/UDP;unicast;client_port=5000;mode="PLAY"', Unicast(5000, 5001)),
        ("RTP/AVP;multicast,RTP/AVP/TCP;interleaved=0-1", Interleaved(0)),
        ("RTP/AVP;unicast;client_port=5000-5001;destination=10.1.2.3", Unicast(5000, 5001)),
        ("RTP/AVP;multicast;port=5000-5001", None),
        ("RTP/SAVP;unicast;client_port=5000-5001", None),
        ("RTP/AVP;unicast;client_port=53-54", None),
        ("RTP/AVP;unicast;client_port=65535", None),
        ("RTP/AVP;unicast;client_port=99999-100000", None),
        ("RTP/AVP;unicast", None),
        ("RTP/AVP/TCP;interleaved=255-256", None),
        ("RTP/AVP/TCP;interleaved=4-9", None),
        ("RTP/AVP/TCP;interleaved=0-1;mode=RECORD", None),
        ("", None),
        (";;=;,,,", None),
    ],
)
def test_ways_of_transport(header: str, way: Interleaved | Unicast | None) -> None:
    assert choose(header) == way


def answered(
    challenge: str, user: str, password: str, method: str, uri: str, *, qop: bool = False
) -> str:
    """What a reader makes of a challenge, as RFC 7616, 3.4.1 has it."""
    given = dict(re.findall(r'(\w+)="?([^",]*)"?', challenge))
    name = given["algorithm"].replace("-", "").lower()

    def digest(text: str) -> str:
        return hashlib.new(name, text.encode()).hexdigest()

    secret = digest(f"{user}:{given['realm']}:{password}")
    more = "00000001:c0ffee:auth:" if qop else ""
    right = digest(f"{secret}:{given['nonce']}:{more}{digest(f'{method}:{uri}')}")
    named = user.replace("\\", "\\\\").replace('"', '\\"')
    text = (
        f'Digest username="{named}", realm="{given["realm"]}", nonce="{given["nonce"]}", '
        f'uri="{uri}", algorithm={given["algorithm"]}, response="{right}"'
    )
    return text + (', qop=auth, nc=00000001, cnonce="c0ffee"' if qop else "")


@pytest.mark.parametrize("qop", [False, True])
@pytest.mark.parametrize("which", [0, 1])
def test_the_right_login_alone_is_accepted(which: int, qop: bool) -> None:
    user, password, uri = 'us"\\ér', "p:@ß", "rtsp://h/live"
    login, challenge = Login.of(user, password), Challenge()
    header = challenge.headers()[which][1]

    def given(user: str = user, password: str = password, method: str = "PLAY") -> str:
        return answered(header, user, password, method, uri, qop=qop)

    assert login.accepts(given(), "PLAY", challenge.nonce)
    assert not login.accepts(given(password="p:@s"), "PLAY", challenge.nonce)
    assert not login.accepts(given(user="user"), "PLAY", challenge.nonce)
    assert not login.accepts(given(method="SETUP"), "PLAY", challenge.nonce)
    assert not login.accepts(given(), "PLAY", Challenge().nonce)
    assert not login.accepts(given().replace("Digest", "Basic"), "PLAY", challenge.nonce)


@pytest.mark.parametrize(
    "header",
    [
        *("", "Digest", "Basic dXNlcjpw"),
        'Digest username="' + "\\" * 4000,
        "Digest " + 'a="' * 2000,
        'Digest algorithm=MD4, response="\udce9"',
        "Digest username=\x00,response=é",
    ],
)
def test_garbage_is_no_login(header: str) -> None:
    assert not Login.of("user", "password").accepts(header, "PLAY", "nonce")


def test_a_login_does_not_hold_the_password() -> None:
    login = Login.of("user", "s3cret")
    assert "s3cret" not in repr(vars(login))
    assert login.sha256 not in repr(login)


def test_guessing_is_slowed_down_for_who_guesses() -> None:
    attempts = LoginLimiter()
    for _ in range(4):
        attempts.wrong("10.0.0.1")
    assert attempts.delay_s("10.0.0.1") == 0
    attempts.wrong("10.0.0.1")
    assert 0 < attempts.delay_s("10.0.0.1") <= 1
    assert attempts.delay_s("10.0.0.2") == 0
    for host in range(2000):
        attempts.wrong(f"10.1.{host}")
    assert attempts.delay_s("10.0.0.1") == 0, "what is remembered must be bounded"


def tracks() -> list[Track]:
    media = Media("video", 96, "H264/90000", 90_000, "packetization-mode=1")
    return [Track(media, 5_000_000_000, 0xFFFFFF00, 0xABCD)]


def test_timestamps_follow_the_moments_and_wrap() -> None:
    (track,) = tracks()
    assert track.timestamp(5_000_000_000) == 0xFFFFFF00
    assert track.timestamp(6_000_000_000) == (0xFFFFFF00 + 90_000) % 2**32
    assert track.timestamp(4_000_000_000) == 0xFFFFFF00 - 90_000
    made = packet(b"x" * 9, 96, 65_536, 77, 0xABCD, marker=True)
    assert fields(made) == (0, 77, 0xABCD)
    track.sent(Batch(0, 7_000_000_000, True, (made,)))
    assert track.timestamp(7_000_000_000 + 1_000_000) == 77 + 90


def test_a_report_says_which_moment_a_timestamp_is() -> None:
    made = rtcp.sender_report(1, "name", 1_500_000_000, 2, 3, 4)
    assert struct.unpack(">BBHIIIIII", made[:28]) == (
        *(0x80, 200, 6, 1),
        *(2_208_988_801, 1 << 31, 2, 3, 4),
    )
    for text in ("name", "n", "nam", "na"):
        more = rtcp.bye(1, text)
        at, kinds = 0, []
        while at < len(more):
            _, kind, words = struct.unpack_from(">BBH", more, at)
            kinds.append(kind)
            at += 4 + 4 * words
        assert (at, kinds) == (len(more), [201, 202, 203])


def test_the_description_names_what_a_decoder_needs() -> None:
    sps, pps = b"\x67\x64\x00\x1f\xac", b"\x68\xee\x3c"
    extradata = b"\x00\x00\x00\x01" + sps + b"\x00\x00\x01" + pps + b"\x00\x00\x01\x06sei"
    parameters = sdp.h264(extradata)
    sets = [base64.b64encode(unit).decode() for unit in (sps, pps)]
    assert parameters == (
        "packetization-mode=1;profile-level-id=64001f;sprop-parameter-sets=" + ",".join(sets)
    )
    text = sdp.describe(Presentation("live", tracks(), lambda: None), ipv6=True)
    assert "c=IN IP6 ::\r\n" in text
    assert "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n" in text
    assert text.endswith("a=control:trackID=0\r\n")


FORMATS = {
    "aac": SoundFormat("aac", 44_100, 2, b"\x12\x10", 1024),
    "opus": SoundFormat("opus", 48_000, 1),
    "pcm_alaw": SoundFormat("pcm_alaw", 8000, 2),
    "mp3": SoundFormat("mp3", 44_100, 2),
}


@pytest.mark.parametrize(
    ("codec", "size"),
    [
        (codec, size)
        for codec in FORMATS
        for size in (1, 200, 1275, 1388, 5000)
        # No packet of Opus is larger than this.
        if codec != "opus" or size <= 1275
    ],
)
def test_sound_is_whole_in_its_packets(codec: str, size: int) -> None:
    format = FORMATS[codec]
    media = sound.media(format)
    assert media is not None
    packets = sound.SoundPackets(format, media, 0)
    data = bytes(at % 251 for at in range(size))
    first = packets.batch(Sound(data, 1_000_000_000, 0)).packets
    later = packets.batch(Sound(data, 2_000_000_000, 0)).packets
    assert all(len(made) <= 1400 for made in first)
    head = {"aac": 4, "mp3": 4}.get(codec, 0)
    assert b"".join(made[12 + head :] for made in first) == data
    numbers = [fields(made)[0] for made in first + later]
    assert all((after - before) % 65_536 == 1 for before, after in pairwise(numbers))
    passed = (fields(later[0])[1] - fields(first[0])[1]) % 2**32
    assert passed == media.clock_rate
    if codec == "aac":
        assert all(made[12:16] == struct.pack(">HH", 16, size << 3) for made in first)
        assert [made[1] >> 7 for made in first] == [0] * (len(first) - 1) + [1]
    if codec == "mp3":
        assert [made[12:16] for made in first] == [
            struct.pack(">HH", 0, at) for at in range(0, size, 1384)
        ]


def test_sound_that_has_no_way_is_left_out() -> None:
    assert sound.media(SoundFormat("aac", 48_000, 2)) is None
    assert sound.media(SoundFormat("adpcm_g722", 16_000, 1)) is None
