"""No password, token or stream key is left in what is shown."""

import json
from urllib.parse import quote

import pytest

from stream.secrets import HIDDEN, Secrets, hidden, split_login

ODD = 'p@ss:w/or?d#%25 ü "quotes"'
ENCODED = quote(ODD, safe="")


def test_an_odd_password_is_hidden_in_every_form() -> None:
    secrets = Secrets([f"rtsp://us%40er:{ENCODED}@10.0.0.7:554/cam?channel=1"])
    forms = [
        *(ODD, ENCODED, quote(ODD), repr(ODD), json.dumps(ODD)),
        *(json.dumps(ODD, ensure_ascii=False), ODD.encode("unicode_escape").decode()),
    ]
    for form in forms:
        for text in (form, f"before {form} behind", f"rtsp://us%40er:{form}@10.0.0.7:554/cam"):
            shown = secrets.hide(text)
            assert HIDDEN in shown
            for piece in ("w/or", "w%2For", "quotes", "d#", "d%23"):
                assert piece not in shown, (text, shown)


def test_the_rest_of_an_address_stays_readable() -> None:
    assert hidden("rtsp://admin:secret@camera:554/a/b?x=1") == f"rtsp://{HIDDEN}@camera:554/a/b?x=1"
    plain = "rtsp://camera:554/Streaming/Channels/101?profile=main"
    assert hidden(plain) == plain
    assert Secrets().hide("12 frames at 25.0 fps, 3 dropped") == "12 frames at 25.0 fps, 3 dropped"


@pytest.mark.parametrize("password", ["secret", "se@cret", "se:cret", "s%65cret", "secret%3a"])
def test_a_password_typed_as_it_is(password: str) -> None:
    address = f"rtsp://admin:{password}@camera/live"
    shown = Secrets([address]).hide(f"cannot open {address}: {password} was refused")
    assert password not in shown
    assert "cret" not in shown
    assert "camera/live" in shown


def test_a_password_with_a_slash_does_not_leak_though_it_cannot_work() -> None:
    assert "cret" not in hidden("rtsp://admin:se/cret@camera/live")
    assert "cret" not in hidden("rtsp://admin:s@e/cret?#@camera/live")
    assert "cret" not in Secrets(["rtsp://admin:se/cret@camera/live"]).hide("refused: se/cret")


def test_addresses_of_others_are_hidden_too() -> None:
    text = "[Errno 1] refused: 'http://root:toor@10.1.1.1/mjpg?access_token=abc.def&size=1'; again"
    shown = Secrets().hide(text)
    assert "toor" not in shown
    assert "abc.def" not in shown
    assert shown.startswith("[Errno 1] refused: 'http://***@10.1.1.1/mjpg?access_token=***&size=1'")


@pytest.mark.parametrize("name", ["token", "api_key", "apikey", "pwd", "X-Amz-Signature", "PASS"])
def test_tokens_in_queries(name: str) -> None:
    address = f"https://camera/video?{name}=t%2Fop5ecret&channel=2"
    assert hidden(address) == f"https://camera/video?{name}={HIDDEN}&channel=2"
    assert "op5ecret" not in Secrets([address]).hide("bad value t/op5ecret, or t%2Fop5ecret")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (
            "http://c/v.cgi?loginuse=bob&loginpas=hunt3r&resolution=32",
            "loginuse=*&loginpas=*&resolution=32",
        ),
        ("http://c/v?psw=hunter2&usr=bob&cmd=snap", "http://c/v?psw=*&usr=*&cmd=snap"),
        ("http://c/v?foo=hunter2&pw=hunter2&n=1", "http://c/v?foo=*&pw=*&n=1"),
        ("http://c/v;jsessionid=4D5E6F70", "http://c/v;jsessionid=*"),
        ("http://c/v#access_token=4D5E6F70", "http://c/v#access_token=*"),
        ("https://c/v?AbCdEf0123456789", "https://c/v?*"),
        ("rtsps://10.0.0.1:7441/AbCdEfGhIjKl?enableSrtp", "rtsps://10.0.0.1:7441/*?enableSrtp"),
        ("rtsp://10.0.0.1:7447/4dEfGhIjKlMnOpQr", "rtsp://10.0.0.1:7447/*"),
        ("http://c/3f2504e0-4f89-11d3-9a0c-0305e82c3301/v", "http://c/*/v"),
        ("rtsp://c/cam/realmonitor?channel=1&subtype=0", "realmonitor?channel=1&subtype=0"),
        ("rtsp://c/h264Preview_01_main", "rtsp://c/h264Preview_01_main"),
        (
            "rtsp://c/Streaming/Channels/101?transportmode=unicast&profile=Profile_1",
            "profile=Profile_1",
        ),
        (
            "http://c/mjpg/video.cgi?Resolution=640x480&compression=30",
            "Resolution=640x480&compression=30",
        ),
    ],
)
def test_credentials_of_all_kinds_in_addresses(address: str, shown: str) -> None:
    wanted = shown.replace("*", HIDDEN)
    assert hidden(address).endswith(wanted)
    # Also where it is not known beforehand, and in the midst of a line.
    assert f"{wanted}: closed" in Secrets().hide(f"[{address}: closed]")
    for secret in ("hunt", "bob", "4D5E", "AbCd", "4dEf", "3f25"):
        assert secret not in Secrets([address]).hide(f"{address}; {address.rpartition('/')[2]}")


@pytest.mark.parametrize(
    "password",
    ["pass", "password", "user", "use", "check", "login", "camera", "401", "SHA", "again"],
)
def test_a_password_that_is_part_of_our_words_leaves_them_alone(password: str) -> None:
    secrets = Secrets([f"rtsp://admin:{password}@camera/live"])
    for line in (
        "no connection: the login was refused (401); check user and password; trying again",
        "it wants a login by Digest SHA-256, which cannot be had here",
    ):
        assert secrets.hide(line) == line
    for told in (f"x{password}y", f"%3A{password}%40", f"rtsp://admin:{password}@camera/live"):
        assert password not in secrets.hide(told).replace("://***@camera/live", "")


def test_the_key_of_a_stream_is_hidden() -> None:
    address = "rtmps://live.example.org/app/abcd-1234-efgh?backup=1"
    assert hidden(address) == f"rtmps://live.example.org/app/{HIDDEN}"
    assert Secrets([address]).hide("no stream abcd-1234-efgh") == f"no stream {HIDDEN}"
    assert Secrets().hide(f"{address}: closed") == f"rtmps://live.example.org/app/{HIDDEN}: closed"
    assert Secrets(["rtmp://camera/live/cam"]).hide("camera") == "camera"


def test_logins_are_split_off_and_decoded() -> None:
    assert split_login(f"rtsp://us%40er:{ENCODED}@h:554/a@b?c=d@e") == (
        "rtsp://h:554/a@b?c=d@e",
        "us@er",
        ODD,
    )
    assert split_login("rtsp://user@h/x") == ("rtsp://h/x", "user", None)
    assert split_login("rtsp://user:@h/x") == ("rtsp://h/x", "user", "")
    assert split_login("rtsp://a:b@c@h/x") == ("rtsp://h/x", "a", "b@c")
    assert split_login("rtsp://h/x@2") == ("rtsp://h/x@2", None, None)
    assert split_login("user:pw@0.0.0.0:8554/clean") == ("0.0.0.0:8554/clean", "user", "pw")


def test_the_password_of_what_is_served() -> None:
    text = "serve:viewer:se%20cret@0.0.0.0:8554/clean"
    shown = Secrets([text]).hide(f"{text}: se cret")
    assert "cret" not in shown
    assert "0.0.0.0:8554/clean" in shown
