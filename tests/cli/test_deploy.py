"""What is in `deploy/`, as far as it can be tried without Docker and as another user than root."""

import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import typer

from stream.live import config
from tests.live.test_http import TOKEN, ask

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILES = sorted(DEPLOY.glob("Dockerfile*"))


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_dockerfiles_are_in_order(file: Path) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("hadolint is not made for this machine")
    done = subprocess.run([hadolint, file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_images_run_as_nobody_in_particular(file: Path) -> None:
    last = file.read_text().rpartition("\nFROM ")[2]
    (user,) = re.findall(r"^USER (\d+)$", last, re.M)
    assert int(user) >= 1000
    assert "HEALTHCHECK" in last
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", file.read_text(), re.M)
    for name in " ".join(copied).split():
        assert (ROOT / name).exists(), name
        assert f"!{name}" in (ROOT / ".dockerignore").read_text().split(), f"{name} is not sent"


@pytest.mark.parametrize("unit", ["deblur.service", "deblur-serve.service"])
def test_units_are_sound(unit: str, tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is missing: apt-get install systemd")
    text = (DEPLOY / unit).read_text()
    program = re.search(r"^ExecStart=(\S+) (.*)$", text, re.M)
    assert program is not None
    # The program is elsewhere here; all else is as it stands.
    (tmp_path / unit).write_text(text.replace(program[1], sys.executable))
    done = subprocess.run(
        [analyze, "verify", "--man=no", str(tmp_path / unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    done = subprocess.run(
        [analyze, "security", "--offline=true", "--threshold=20", DEPLOY / unit],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-300:]


@pytest.mark.parametrize("file", ["deblur-serve.service", "compose/serve.yaml"])
def test_what_starts_the_queue_has_options_that_there_are(file: str) -> None:
    from stream.cli.serve import serve

    app = typer.Typer()
    app.command()(serve)
    text = (DEPLOY / file).read_text()
    if file.endswith(".yaml"):
        listed = text.partition("command:")[2].partition("environment:")[0]
        words = re.findall(r"^ +- (\S+)$", listed, re.M)
    else:
        started = re.search(r"^ExecStart=\S+ (.*)$", text, re.M)
        assert started is not None
        words = started[1].split()
    assert words[0] == "serve"
    given = typer.main.get_command(app).make_context("serve", words[1:]).params
    assert given["watch"] == given["inputs"]
    assert given["outputs"].name == "clean"


@pytest.mark.parametrize("file", ["cameras.toml.example", "compose/cameras/cameras.toml"])
def test_examples_are_valid(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YARD", "rtsp://user:password@192.168.1.20/stream1")
    found = config.read(DEPLOY / file)
    assert list(found.cameras) == ["yard"]


@contextmanager
def answering(status: int) -> Iterator[int]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield server.server_port
        server.shutdown()
        serving.join()


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1), (404, 1)])
def test_the_health_check(status: int, code: int) -> None:
    with answering(status) as port:
        check = [sys.executable, str(DEPLOY / "healthy.py")]
        env = os.environ | {"DEBLUR_HTTP_PORT": str(port)}
        assert subprocess.run(check, env=env, check=False, capture_output=True).returncode == code
    assert subprocess.run(check, env=env, check=False, capture_output=True).returncode == 1


def known() -> dict[str, set[str]]:
    """The metrics that there are, and their labels."""
    from prometheus_client.parser import text_string_to_metric_families

    found: dict[str, set[str]] = {}
    _, text = ask(0, "/metrics", Authorization=f"Bearer {TOKEN}")
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def expressions(file: str) -> list[str]:
    """What a file asks Prometheus."""
    text = (DEPLOY / file).read_text()
    if file.endswith(".yaml"):
        return re.findall(r"^ +expr: (.*)$", text, re.M)
    panels = json.loads(text)["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


@pytest.mark.parametrize("file", ["prometheus-rules.yaml", "grafana-dashboard.json"])
def test_what_is_asked_of_prometheus_is_there(file: str) -> None:
    metrics = known() | {"up": {"job", "instance"}}
    every = {label for labels in metrics.values() for label in labels} | {"instance"}
    asked = expressions(file)
    assert len(asked) >= 5
    for expression in asked:
        name = re.search(r"\b(deblur_\w+|up)\b", expression)
        assert name is not None, expression
        assert name[1] in metrics, f"there is no {name[1]}"
        inside = re.findall(r"(\w+)=~?\"", expression)
        assert {*inside} <= metrics[name[1]], expression
        grouped = re.findall(r"by \(([^)]*)\)", expression)
        assert {label.strip() for part in grouped for label in part.split(",")} <= every, expression


def test_the_dashboard_says_what_it_shows() -> None:
    board = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
    assert {"title", "uid", "panels", "schemaVersion", "templating"} <= board.keys()
    assert board["templating"]["list"][1]["query"] == "label_values(deblur_up, feed)"
    numbers = [panel["id"] for panel in board["panels"]]
    assert len({*numbers}) == len(numbers)
    placed = set[tuple[int, int]]()
    for panel in board["panels"]:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert x < 24
                assert (x, y) not in placed, f"{panel['title']} lies over another"
                placed.add((x, y))
        for target in panel["targets"]:
            labels = {label for each in known().values() for label in each}
            assert {*re.findall(r"{{(\w+)}}", target["legendFormat"])} <= labels


def test_alerts_are_sound(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is missing: apt-get install prometheus")
    file = str(DEPLOY / "prometheus-rules.yaml")
    done = subprocess.run(
        [promtool, "check", "rules", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS: 6 rules found" in done.stdout
