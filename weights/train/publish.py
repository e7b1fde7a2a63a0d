"""`python -m weights.train.publish`: put a trained checkpoint beside the shipped ones."""

import json
import shutil
from pathlib import Path
from typing import Annotated

import typer

from weights.store import sha256

_WEIGHTS = Path(__file__).parents[1]


def publish(
    run: Annotated[Path, typer.Argument(help="Folder of the training run.")],
    name: Annotated[str, typer.Option(help="Name of the checkpoint.")],
    preset: Annotated[str, typer.Option(help="Preset it was trained as.")],
    about: Annotated[str, typer.Option(help="One line for people.")],
    data: Annotated[str, typer.Option(help="What it was trained on.")],
    how: Annotated[str, typer.Option(help="The command, the hours and the hardware.")],
    gains: Annotated[str, typer.Option(help="What evaluation measured.")],
) -> None:
    """Copy a run's averaged weights to `weights/NAME.safetensors` and pin them."""
    file = _WEIGHTS / f"{name}.safetensors"
    shutil.copyfile(run / "weights.safetensors", file)
    manifest = _WEIGHTS / "manifest.json"
    facts = json.loads(manifest.read_text()) if manifest.exists() else {}
    facts[name] = {
        "file": file.name,
        "bytes": file.stat().st_size,
        "sha256": sha256(file),
        "preset": preset,
        "about": about,
        "data": data,
        "how": how,
        "gains": gains,
    }
    manifest.write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(publish)
