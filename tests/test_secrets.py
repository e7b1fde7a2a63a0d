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
