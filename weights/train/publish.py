"""`python -m weights.train.publish`: put a trained checkpoint beside the shipped ones."""

import json
import tomllib
from pathlib import Path
from typing import Annotated

import typer
from safetensors.torch import save_file

from filters import UPSCALERS
from weights.store import sha256
from weights.train.recipe import find, load, load_enlarging
from weights.train.state import averaged

_WEIGHTS = Path(__file__).parents[1]


def publish(
    run: Annotated[Path, typer.Argument(help="Folder of the training run, or of its pieces.")],
    name: Annotated[str, typer.Option(help="Name of the checkpoint.")],
    recipe: Annotated[str, typer.Option(help="Recipe that it was trained by.")],
    about: Annotated[str, typer.Option(help="One line for people.")],
    data: Annotated[str, typer.Option(help="What it was trained on.")],
    how: Annotated[str, typer.Option(help="The command, the hours and the hardware.")],
    gains: Annotated[str, typer.Option(help="What evaluation measured.")],
) -> None:
    """Copy a run's averaged weights to `weights/NAME.safetensors` and pin them."""
    try:
        preset = _preset(find(recipe))
        tensors = averaged(run)
    except ValueError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    file = _WEIGHTS / f"{name}.safetensors"
    save_file(tensors, file)
    manifest = _WEIGHTS / "manifest.json"
    facts = json.loads(manifest.read_text()) if manifest.exists() else {}
    facts[name] = {
        "file": file.name,
        "bytes": file.stat().st_size,
        "sha256": sha256(file),
        "preset": preset,
        "recipe": recipe,
        "about": about,
        "data": data,
        "how": how,
        "gains": gains,
    }
    manifest.write_text(json.dumps(facts, indent=2) + "\n")


def _preset(recipe: Path) -> str:
    """The size of the network that a recipe trains, of either kind."""
    said = tomllib.loads(recipe.read_text()).get("preset")
    return (load_enlarging(recipe) if said in UPSCALERS else load(recipe)).preset


if __name__ == "__main__":
    typer.run(publish)
