"""Who may use the job service, and what it refuses."""

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.clips import make_clip
from tests.rig.command import TOKEN, until
from tests.rig.service import QUICK, Service, service

LIMIT = 200_000


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("served")
    inside = folder / "in" / "inside"
    inside.mkdir(parents=True)
    make_clip(inside / "clip.mp4", frames=3)
    make_clip(folder / "secret.mp4", frames=3)
    (inside / "out.mp4").symlink_to(folder / "secret.mp4")
    (inside / "up").symlink_to(folder)
    (inside / "loop.mp4").symlink_to("loop.mp4")
    (folder / "in" / "other.mp4").symlink_to("inside/clip.mp4")
    os.mkfifo(inside / "pipe.mp4")
    with service(folder, "--max-upload", str(LIMIT), *QUICK) as running:
        yield running


ROUTES = [
    *(("GET", path) for path in ("/", "/app.js", "/style.css", "/jobs", "/events", "/jobs/1")),
    *(("GET", f"/jobs/1/{what}") for what in ("output", "compare", "events")),
    *(("POST", path) for path in ("/jobs", "/uploads?name=a.mp4", "/jobs/1/cancel")),
    ("POST", "/jobs/1/resume"),
    ("DELETE", "/jobs/1"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_nothing_is_given_without_the_word(served: Service, method: str, path: str) -> None:
    body = b"{}" if method == "POST" else None
    answer = served.ask(path, method, body, Authorization="")
    assert answer.status == 401
    assert answer.json["error"]
    assert answer.headers["WWW-Authenticate"].startswith("Basic")
    assert served.ask(path, method, body, Authorization="", Cookie="deblur=x").status == 401
    assert served.ask(path, method, body, Host="evil.example").status == 403
    assert served.ask(path, method, body, Origin="http://evil.example").status == 403
    assert served.ask(path, method, body, Sec_Fetch_Site="cross-site").status == 403


def test_what_is_open_tells_nothing(served: Service) -> None:
    assert served.ask("/healthz", Authorization="").json == {"queue": "ok"}
    assert served.ask("/healthz", Authorization="", Host="evil.example").status == 403
    assert "/tmp" not in served.ask("/openapi.json", Authorization="").body.decode()


def test_wrong_words_have_to_wait(served: Service) -> None:
    for _ in range(2):
        answer = served.ask("/jobs", Authorization="Bearer wrong")
        assert answer.status == 401


@pytest.mark.parametrize(
    "path",
    [
        "../secret.mp4",
        "inside/../../secret.mp4",
        "inside/out.mp4",
        "inside/up/secret.mp4",
        "/etc/passwd",
        "/proc/self/environ",
        "inside/loop.mp4",
        "inside/clip.mp4\x00.mp4",
        "//etc/passwd",
        "~/clip.mp4",
        "file:///etc/passwd",
        "http://127.0.0.1/clip.mp4",
        "concat:inside/clip.mp4",
        "..",
        ".",
        "inside",
        "inside/pipe.mp4",
        "x" * 4000,
        "\ud800.mp4",
    ],
)
def test_no_path_leads_out(served: Service, path: str) -> None:
    before = len(served.jobs())
    answer = served.submit(path)
    assert answer.status in (400, 404), answer.body
    assert "\n" not in answer.json["error"]
    assert str(served.inputs) not in answer.json["error"]
    assert len(served.jobs()) == before


def test_links_within_the_folder_are_files_of_it(served: Service) -> None:
    absolute = str(served.inputs / "inside" / "clip.mp4")
    for given, path in (("other.mp4", "other.mp4"), (absolute, "inside/clip.mp4")):
        answer = served.submit(given)
        assert answer.status == 201, answer.body
        assert answer.json["path"] == path
        assert served.until_ended(answer.json["number"])["state"] == "done"


def test_no_output_leads_out(served: Service, tmp_path: Path) -> None:
    """Though a folder in that of the outputs is a link to elsewhere."""
    (served.outputs / "deep").symlink_to(tmp_path)
    (served.inputs / "deep").mkdir()
    make_clip(served.inputs / "deep" / "clip.mp4", frames=3)
    job = served.until_ended(served.submit("deep/clip.mp4").json["number"])
    assert (job["state"], job["exit_code"]) == ("failed", 73)
    assert job["said"] == "deep leads out of the folder of outputs"
    assert not [*tmp_path.iterdir()]
    # Once the way is free, it is done.
    (served.outputs / "deep").unlink()
    served.ask(f"/jobs/{job['number']}/resume", "POST")
    job = served.until_ended(job["number"])
    assert (job["state"], job["output"]) == ("done", "deep/clip.mp4")
    # And what is put in its place later is not given away.
    made = served.outputs / "deep" / "clip.mp4"
    made.unlink()
    made.symlink_to(served.inputs.parent / "secret.mp4")
    assert served.ask(f"/jobs/{job['number']}/output").status == 404
    assert served.ask(f"/jobs/{job['number']}?output=delete", "DELETE").status == 204
    assert (served.inputs.parent / "secret.mp4").exists()


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".hidden.mp4", "a/b.mp4", "..\\b.mp4", "a\x00.mp4", "a\n.mp4", "x" * 201, " "],
)
def test_uploads_have_the_name_of_a_file(served: Service, name: str) -> None:
    answer = served.upload(name, b"data")
    assert answer.status == 400
    assert answer.json["error"].startswith("name= must be the name of a file")


def kept(served: Service) -> list[Path]:
    """What there is of uploads."""
    return [*(served.outputs / ".deblur-serve").glob("job-*/in/*")]


def raw(served: Service, head: list[str], body: bytes, *, goes: bool = False) -> bytes:
    """Send a request; what is answered, or nothing where whoever sends `goes` at once."""
    lines = [f"Host: 127.0.0.1:{served.port}", f"Authorization: Bearer {TOKEN}", *head]
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as sock:
        text = "\r\n".join(["POST /uploads?name=big.mp4 HTTP/1.1", *lines, "", ""])
        sock.sendall(text.encode() + body)
        return b"" if goes else sock.recv(65536)


def test_what_is_too_large_is_refused(served: Service) -> None:
    before = len(served.jobs())
    answer = served.upload("big.mp4", bytes(LIMIT + 1))
    assert (answer.status, answer.json["error"]) == (
        413,
        "an upload may have 0.2 MB (--max-upload)",
    )
    # Also where it is not said how much comes.
    chunk = b"%x\r\n%s\r\n" % (LIMIT, bytes(LIMIT))
    said = raw(served, ["Transfer-Encoding: chunked"], 2 * chunk + b"0\r\n\r\n")
    assert said.split()[1] == b"413"
    assert not kept(served)
    assert len(served.jobs()) == before


def test_half_an_upload_is_no_job(served: Service) -> None:
    before = len(served.jobs())
    raw(served, ["Content-Length: 100000"], bytes(60_000), goes=True)
    raw(served, ["Transfer-Encoding: chunked"], b"ffff\r\n" + bytes(1000), goes=True)
    until(lambda: not kept(served), "it is kept")
    assert served.upload("none.mp4", b"").json["error"] == "0 bytes came"
    assert not kept(served)
    assert len(served.jobs()) == before


def test_an_upload_is_not_seen_before_it_is_whole(served: Service) -> None:
    before = len(served.jobs())
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as sock:
        head = [
            "POST /uploads?name=slow.mp4 HTTP/1.1",
            f"Host: 127.0.0.1:{served.port}",
            f"Authorization: Bearer {TOKEN}",
            "Content-Length: 1000",
        ]
        sock.sendall("\r\n".join([*head, "", ""]).encode() + bytes(500))
        until(lambda: kept(served), "nothing is written")
        assert [path.name for path in kept(served)] == ["upload.part"]
        assert len(served.jobs()) == before
    until(lambda: not kept(served), "it is kept")


def test_what_the_disk_has_no_room_for_is_refused(tmp_path: Path) -> None:
    size = shutil.disk_usage(tmp_path).free
    with service(tmp_path, "--max-upload", "1000000TB", *QUICK) as running:
        said = raw(running, [f"Content-Length: {size}"], b"x")
        assert said.split()[1] == b"507"
        assert b"there is no room for" in said
        assert not kept(running)


@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"]
)
def test_forms_of_other_sites_are_refused(served: Service, kind: str) -> None:
    for path in ("/jobs", "/uploads?name=a.mp4", "/jobs/1/cancel", "/jobs/1/resume"):
        assert served.ask(path, "POST", b"{}", Content_Type=kind).status == 415, path


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"[" * 20_000, b'{"path": 7}', b"\xff"])
def test_nonsense_is_refused(served: Service, body: bytes) -> None:
    answer = served.ask("/jobs", "POST", body)
    assert answer.status == 400, answer.body
    assert answer.json["error"]


def test_what_is_not_there_is_said_as_json(served: Service) -> None:
    for path in ("/nothing", "/jobs/x", "/jobs/99999", "/../secret.mp4", "/jobs/1/..%2f..%2fx"):
        answer = served.ask(path)
        assert answer.status == 404, path
        assert set(answer.json) == {"error"}
    assert served.ask("/jobs", "PUT", b"{}").status == 405
    assert served.ask("/jobs", "POST", b"x" * 70_000).status == 413


def test_jobs_do_not_know_the_word(served: Service) -> None:
    """And no line has it."""
    number = served.submit("inside/clip.mp4").json["number"]
    assert served.process is not None
    service = psutil.Process(served.process.pid)
    until(service.children, "it is not begun")
    known = service.children()[0].environ()
    assert "PATH" in known
    assert "DEBLUR_TOKEN" not in known
    served.until_ended(number)
    assert TOKEN not in served.said
