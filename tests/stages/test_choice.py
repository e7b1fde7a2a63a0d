"""What `--model auto` comes to."""

import os
from pathlib import Path

import pytest

from stream.files.choice import _choose, choose_model
from stream.options.settings import Settings


def chosen(settings: Settings) -> str:
    _choose.cache_clear()  # as in another process
    return choose_model(settings).model


def test_a_machine_is_measured_once_a_week(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    settings = Settings(device="cpu")
    assert chosen(settings) in ("lite", "none")
    (kept,) = (tmp_path / "deblur-stream").iterdir()
    for ratio, model in ((0.1, "lite"), (3.0, "none")):
        kept.write_text(str(ratio))
        assert chosen(settings) == model
    kept.write_text("1e9")
    os.utime(kept, (0, 0))
    chosen(settings)
    assert float(kept.read_text()) < 1e9


def test_at_strength_0_there_is_nothing_to_measure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert chosen(Settings(device="cpu", strength=0)) == "none"
    assert not [*tmp_path.iterdir()]
