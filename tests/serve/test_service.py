"""The job service: what is submitted is done, once, and what it answers is what it describes."""

import json
import os
import re
import shutil
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

from tests.clips import look, make_clip
from tests.rig.command import DEBLUR, TOKEN, refused_by, until
from tests.rig.ports import free_port, listens
from tests.rig.service import QUICK, Service, service


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "in" / "holiday").mkdir(parents=True)
    make_clip(folder / "in" / "holiday" / "beach.mp4", frames=12, audio=("eng",))
    (folder / "in" / "bad.mp4").write_bytes(b"no video" * 50)
    with service(folder) as running:
        yield running


@pytest.fixture(scope="module")
def beach(served: Service) -> dict[str, Any]:
    """A job that is done."""
    answer = served.submit("holiday/beach.mp4", fuse=1)
    assert answer.status == 201, answer.body
    return served.until_ended(answer.json["number"])


def test_a_file_is_restored(served: Service, beach: dict[str, Any]) -> None:
    assert (beach["state"], beach["exit_code"], beach["conforms"]) == ("done", 0, True), beach
    assert beach["output"] == "holiday/beach.mp4"
    assert beach["options"] == {"fuse": 1}
    assert beach["report"]["frames"] == 12
    assert str(served.outputs) not in json.dumps(beach), "where it lies is nobody's matter"
    given = look(served.outputs / "holiday" / "beach.mp4")
    wanted = look(served.inputs / "holiday" / "beach.mp4")
    assert given.timestamps == wanted.timestamps
    assert given.packets == wanted.packets


def test_the_output_can_be_fetched(served: Service, beach: dict[str, Any]) -> None:
    made = (served.outputs / "holiday" / "beach.mp4").read_bytes()
    answer = served.ask(f"/jobs/{beach['number']}/output")
    assert answer.body == made
    assert answer.headers["Content-Disposition"] == "attachment; filename*=UTF-8''beach.mp4"
    assert answer.headers["Content-Type"] == "application/octet-stream"
    part = served.ask(f"/jobs/{beach['number']}/output", Range="bytes=5-9")
    assert (part.status, part.body) == (206, made[5:10])


def test_before_and_after_are_shown(served: Service, beach: dict[str, Any]) -> None:
    page = served.ask(f"/jobs/{beach['number']}/compare")
    assert page.status == 200, page.body
    assert b"<canvas" in page.body or b"data:image/jpeg" in page.body
    # It may run what it brings along, and get at nothing of the service.
    assert page.headers["Content-Security-Policy"].startswith("sandbox allow-scripts; ")


def test_a_file_that_is_no_video_says_why(served: Service) -> None:
    job = served.until_ended(served.submit("bad.mp4").json["number"])
    assert (job["state"], job["exit_code"], job["output"]) == ("failed", 65, None)
    assert job["said"].startswith("bad.mp4 is not a video that can be read")
    assert not (served.outputs / "bad.mp4").exists()
    assert served.ask(f"/jobs/{job['number']}/output").status == 404
    assert served.ask(f"/jobs/{job['number']}/compare").status == 404
    assert served.ask(f"/jobs/{job['number']}", "DELETE").status == 204
    assert served.ask(f"/jobs/{job['number']}").status == 404


def test_an_upload_is_restored_and_deleted(served: Service, tmp_path: Path) -> None:
    data = make_clip(tmp_path / "up.mp4", frames=4).read_bytes()
    name = "späte Aufnahme (1).mp4"
    answer = served.upload(name, data, strength="auto")
    assert answer.status == 201, answer.body
    assert (answer.json["origin"], answer.json["size"]) == ("upload", len(data))
    job = served.until_ended(answer.json["number"])
    assert (job["state"], job["output"]) == ("done", name), job
    assert len(look(served.outputs / name).timestamps) == 4
    # What has the same name gets another one.
    twice = served.until_ended(served.upload(name, data).json["number"])
    assert twice["output"] == "späte Aufnahme (1)-2.mp4"
    number = twice["number"]
    assert served.ask(f"/jobs/{number}?output=delete", "DELETE").status == 204
    assert not (served.outputs / twice["output"]).exists()
    assert served.ask(f"/jobs/{job['number']}", "DELETE").status == 204
    assert (served.outputs / name).exists(), "it was not asked for"
    kept = [path for path in (served.outputs / ".deblur-serve").rglob("*") if "Auf" in path.name]
    assert not kept, "the uploads are not gone"


def test_a_job_is_cancelled_and_gone_on_with(served: Service) -> None:
    make_clip(served.inputs / "long.mkv", frames=100)
    number = served.submit("long.mkv").json["number"]
    queued = served.submit("holiday/beach.mp4").json["number"]

    def frames() -> int:
        return int((served.job(number)["progress"] or {}).get("frames", 0))

    assert served.ask(f"/jobs/{queued}/cancel", "POST").json["state"] == "cancelled"
    assert served.ask(f"/jobs/{queued}/cancel", "POST").status == 409
    until(lambda: frames() > 50, "it does not begin")
    assert served.ask(f"/jobs/{number}", "DELETE").status == 409
    answer = served.ask(f"/jobs/{number}/cancel", "POST")
    assert (answer.status, answer.json["state"]) == (202, "cancelled")
    assert not (served.outputs / "long.mkv").exists()
    assert served.ask(f"/jobs/{number}/resume", "POST").json["state"] in ("queued", "running")
    job = served.until_ended(number)
    assert job["state"] == "done", job
    assert job["report"]["earlier"] > 0, "it was begun anew"
    assert len(look(served.outputs / "long.mkv").timestamps) == 100
    assert served.ask(f"/jobs/{number}/resume", "POST").status == 409


def test_events_tell_of_a_job_until_its_end(served: Service) -> None:
    every: list[str] = []
    request = urllib.request.Request(
        f"{served.address}/events", headers={"Authorization": f"Bearer {TOKEN}"}
    )
    with urllib.request.urlopen(request, timeout=60) as stream:
        assert stream.headers["Content-Type"] == "text/event-stream"
        assert stream.readline() == b"retry: 2000\n"
        number = served.submit("holiday/beach.mp4", strength=0).json["number"]
        told = served.ask(f"/jobs/{number}/events").body.decode()  # to its end
        jobs = [json.loads(line[6:]) for line in told.splitlines() if line.startswith("data: ")]
        assert {job["number"] for job in jobs} == {number}
        states = [job["state"] for job in jobs]
        assert states[-1] == "done"
        assert any(job["progress"] for job in jobs), "it tells of no progress"
        served.ask(f"/jobs/{number}", "DELETE")
        while not every or not every[-1].startswith("event: deleted"):
            every.append(stream.readline().decode())
        assert json.loads(stream.readline().decode().removeprefix("data: ")) == {"number": number}
    assert any('"running"' in line for line in every)


def test_jobs_are_listed_in_pages(served: Service, beach: dict[str, Any]) -> None:
    told = served.ask("/jobs?state=done&limit=1").json
    assert len(told["jobs"]) == 1
    assert told["counts"]["done"] >= 1
    older = served.ask(f"/jobs?before={beach['number'] + 1}").json["jobs"]
    assert older[0]["number"] == beach["number"]
    assert "report" not in older[0], "lists are to be short"
    for query in ("state=lost", "limit=x", "before=-1", "limit=9999999999999999"):
        assert served.ask(f"/jobs?{query}").status == 400, query


def test_the_document_is_sound_and_true(served: Service, beach: dict[str, Any]) -> None:
    document = served.ask("/openapi.json").json
    validate(document)
    answers = {
        ("/jobs", "get", "200"): served.ask("/jobs"),
        ("/jobs", "post", "201"): served.submit("holiday/beach.mp4"),
        ("/jobs", "post", "400"): served.submit(""),
        ("/jobs", "post", "404"): served.submit("nothing.mp4"),
        ("/jobs/{number}", "get", "200"): served.ask(f"/jobs/{beach['number']}"),
        ("/jobs/{number}", "get", "404"): served.ask("/jobs/9999"),
        ("/jobs/{number}/cancel", "post", "409"): served.ask(
            f"/jobs/{beach['number']}/cancel", "POST"
        ),
        ("/healthz", "get", "200"): served.ask("/healthz"),
    }
    for (path, method, status), answer in answers.items():
        assert str(answer.status) == status, (path, answer.body)
        content = document["paths"][path][method]["responses"][status]["content"]
        schema = content["application/json"]["schema"] | {"components": document["components"]}
        OAS31Validator(schema).validate(answer.json)
    served.until_ended(answers["/jobs", "post", "201"].json["number"])


def test_the_document_names_every_route() -> None:
    from stream.serve import document
    from stream.serve.options import Options
    from stream.serve.site import Submission

    described = {
        (method, path)
        for path, methods in document.made(Submission, Options)["paths"].items()
        for method in methods
        if method != "parameters"
    }
    source = Path(document.__file__).with_name("site.py").read_text()
    assert described == set(re.findall(r'\("(\w+)", "(/[^"]*)"\): self\.', source))


def test_every_option_of_a_job_is_one_of_the_command() -> None:
    import typer

    from stream.cli.run import run
    from stream.serve.options import Options

    app = typer.Typer()
    app.command()(run)
    given = Options(
        model="lite",
        fuse=2,
        strength=0.5,
        smooth=0,
        shutter="1/60",
        stabilize=True,
        crop=0.2,
        upscale="1080p",
        upscaler="lanczos",
        codec="hevc",
        encoder="software",
        quality=20,
        encoder_preset="fast",
        preset="webcam",
        end="f90",
        start="1:30",
        duration="2.5s",
        deinterlace="off",
        apply_rotation=True,
        drop=["audio", "subtitle"],
    )
    assert given.model_fields_set == set(Options.model_fields)
    context = typer.main.get_command(app).make_context("run", [*given.words(), "--", "in.mp4"])
    taken = {name: context.params[name] for name in Options.model_fields}
    assert taken["drop"] == ["audio", "subtitle"]
    assert (taken["strength"], taken["upscale"], taken["stabilize"]) == ("0.5", "1080p", True)


@pytest.mark.parametrize(
    "options",
    [
        {"model": "/etc/passwd"},
        {"model": "x.safetensors"},
        {"model": "../x"},
        {"upscaler": "a/b"},
        {"output": "x.mp4"},
        {"list": "x"},
        {"encoder_preset": "--overwrite"},
        {"preset": "mine.toml"},
        {"preset": "../mine"},
        {"codec": "h264 --overwrite"},
        {"strength": 7},
        {"fuse": "3"},
        {"drop": ["everything"]},
        {"start": "-o"},
    ],
)
def test_options_that_reach_further_are_refused(served: Service, options: dict[str, Any]) -> None:
    answer = served.submit("holiday/beach.mp4", **options)
    assert answer.status == 400, answer.body
    assert "\n" not in answer.json["error"]


def test_the_service_goes_on_after_it_is_stopped(tmp_path: Path) -> None:
    """And its queue belongs to one service at a time."""
    with service(tmp_path) as running:
        make_clip(running.inputs / "long.mkv", frames=100)
        number = running.submit("long.mkv").json["number"]
        until(lambda: running.job(number)["progress"], "it does not begin")
        assert running.stop() == 0
        running.start()
        until(lambda: "going on with 1 job" in running.said, "it does not go on")
        words = ["serve", "--in", str(running.inputs), "--out", str(running.outputs)]
        code, said = refused_by(*words, "--port", "0")
        assert (code, said) == (73, "deblur: another deblur serve is at work with this --out\n")
        assert running.until_ended(number)["state"] == "done"
    assert TOKEN not in running.said


@pytest.mark.slow
def test_killed_again_and_again_every_job_is_done_once(tmp_path: Path) -> None:
    good = ["a.mp4", "b.mkv", "c.mp4", "d.mov"]
    with service(tmp_path) as running:
        for name in good:
            make_clip(running.inputs / name, frames=40)
        (running.inputs / "bad.mp4").write_bytes(b"no video" * 50)
        whole = (running.inputs / "a.mp4").read_bytes()
        (running.inputs / "half.mkv").write_bytes(whole[: len(whole) // 2])
        for name in (*good[:2], "bad.mp4", "half.mkv", *good[2:]):
            assert running.submit(name).status == 201
        kept: dict[str, int] = {}
        for number in (1, 5):
            while not running.job(number)["progress"]:
                assert running.job(number)["state"] in ("queued", "running"), "it was too quick"
            running.kill()
            kept |= {path.name: path.stat().st_mtime_ns for path in running.outputs.glob("*.m*")}
            running.start()
        jobs = [running.until_ended(number) for number in range(1, 7)]
        states = {job["name"]: job["state"] for job in jobs}
        assert states == {**dict.fromkeys(good, "done"), "bad.mp4": "failed", "half.mkv": "failed"}
        assert all(job["exit_code"] == 65 and job["said"] for job in jobs if job["output"] is None)
        assert sorted(path.name for path in running.outputs.glob("*.m*")) == good
        for name in good:
            assert len(look(running.outputs / name).timestamps) == 40
        for name, changed in kept.items():
            assert (running.outputs / name).stat().st_mtime_ns == changed, f"{name} was made twice"


def test_what_appears_in_a_watched_folder_is_taken_once_it_is_whole(tmp_path: Path) -> None:
    (tmp_path / "in" / "drop").mkdir(parents=True)
    data = make_clip(tmp_path / "clip.mp4", frames=4).read_bytes()
    drop = tmp_path / "in" / "drop"
    (drop / "before.mp4").write_bytes(data)
    words = ["--watch", str(drop), "--settle", "1.5", *QUICK]
    with service(tmp_path, *words) as running:

        def names() -> list[str]:
            return [job["path"] for job in running.jobs()]

        (drop / "notes.txt").write_text("no video")
        (drop / ".hidden.mp4").write_bytes(data)
        (drop / "link.mp4").symlink_to(tmp_path / "clip.mp4")
        until(lambda: names() == ["drop/before.mp4"], "it is not taken")
        growing = (drop / "growing.mp4").open("wb", buffering=0)
        stop = threading.Event()

        def grow() -> None:
            while not stop.wait(0.3):
                growing.write(b"x")

        writer = threading.Thread(target=grow)
        writer.start()
        until(lambda: running.job(1)["state"] == "done", "it is not done", 120)
        assert names() == ["drop/before.mp4"], "what grows is taken"
        stop.set()
        writer.join()
        growing.truncate(0)
        growing.seek(0)
        growing.write(data)
        growing.close()
        until(lambda: names() == ["drop/before.mp4", "drop/growing.mp4"], "it is not taken")
        assert running.until_ended(2)["output"] == "drop/growing.mp4"
        running.ask("/jobs/1", "DELETE")
        running.stop()
        running.start()
        # A new one shows that the folder was looked at again, by who knows what was taken.
        (drop / "later.mp4").write_bytes(data)
        until(lambda: len(names()) == 2, "the new one is not taken")
        assert names() == ["drop/growing.mp4", "drop/later.mp4"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "name the two folders"),
        (("--in", "in"), "name the two folders"),
        (("--in", "in", "--out", "nowhere"), "--out nowhere is no folder"),
        (("--in", "in", "--out", "in"), "neither of them in the other"),
        (("--in", "in", "--out", "in/out"), "neither of them in the other"),
        (("--in", "in", "--out", "out", "--host", "0.0.0.0"), "set the environment variable"),
        (("--in", "in", "--out", "out", "--port", "99999"), "--port takes a port"),
        (("--in", "in", "--out", "out", "--max-upload", "much"), "--max-upload takes a size"),
        (("--in", "in", "--out", "out", "--watch", "out"), "--watch out must be a folder in"),
        (("--in", "in", "--out", "out", "--cluster", "head:1"), "--cluster takes auto"),
        (("--in", "in", "--out", "out", "--", "x.mp4"), "behind -- come options"),
        (("--in", "in", "--out", "out", "--", "--json"), "is the service's own matter"),
        (("--in", "in", "--out", "out", "--", "--part", "1/2"), "is the service's own matter"),
        (("--in", "in", "--out", "out", "--", "--strenth", "1"), "No such option"),
    ],
)
def test_what_makes_no_sense_is_said(
    words: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in" / "out").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    code, line = refused_by("serve", *words)
    assert code == 2, line
    assert said in line
    assert line.count("\n") == 1


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        words = ["serve", "--in", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
        code, line = refused_by(*words, "--port", port)
    assert code == 73
    assert line.startswith(f"deblur: cannot listen for --port at 127.0.0.1:{port}: ")


PAGE = (Path(__file__).parents[2] / "docs" / "serve.md").read_text()
COMMANDS = [
    line.split("   #")[0]
    for fence in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    for line in fence.splitlines()
]


@pytest.mark.docs
@pytest.mark.commands
def test_what_its_page_tells_people_to_type_works(tmp_path: Path) -> None:
    """One after the other, at another port; each job has ended before the next request."""
    curl = shutil.which("curl")
    asked = [line for line in COMMANDS if line.startswith("curl ")]
    started = [line for line in COMMANDS if line.startswith("deblur serve ")]
    assert len(asked) + len(started) == len(COMMANDS)
    if curl is None:
        pytest.skip("curl is missing: apt-get install curl")
    (tmp_path / "in" / "holiday").mkdir(parents=True)
    make_clip(tmp_path / "in" / "holiday" / "beach.mp4", frames=3)
    make_clip(tmp_path / "shaky.mp4", frames=3)
    with service(tmp_path) as running:
        for line in asked:
            for job in running.jobs() if not line.endswith(("cancel", "resume")) else ():
                running.until_ended(job["number"])
            done = subprocess.run(
                ["sh", "-c", line.replace("8080", str(running.port)) + " --fail-with-body -sS"],
                cwd=tmp_path,
                env=os.environ | {"DEBLUR_TOKEN": TOKEN},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, (line, done.stdout, done.stderr)
        assert [job["state"] for job in running.jobs()] == ["done", "done"]
        assert len(look(tmp_path / "shaky.clean.mp4").timestamps) == 3


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("deblur serve ")])
def test_its_page_starts_it_as_it_should(line: str, tmp_path: Path) -> None:
    words = line.split()[1:]
    for name in ("incoming", "clean"):
        (tmp_path / name).mkdir()
    log = tmp_path / "said.txt"
    port = free_port()
    with log.open("wb") as out:
        command = [DEBLUR, words[0], "--port", str(port), *words[1:]]
        process = subprocess.Popen(command, cwd=tmp_path, stdout=out, stderr=out)
    try:
        # It says so once it listens.
        until(lambda: process.poll() is not None or "serving:" in log.read_text(), "nothing said")
        assert listens(port)
    finally:
        process.terminate()
    assert process.wait(30) == 0, log.read_text()
    # A log has no token.
    assert log.read_text().startswith(f"serving: http://127.0.0.1:{port}/ (set DEBLUR_TOKEN")
