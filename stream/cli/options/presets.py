"""Options under one name."""

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, Final

import platformdirs
import typer

OPTIONS: Final = (
    *("model", "fuse", "strength", "smooth", "shutter", "motion", "fov", "readout"),
    *("stabilize", "crop", "upscale", "upscaler"),
    *("device", "precision", "engine", "decoder", "tile", "max-pixels", "deinterlace"),
    *("apply-rotation", "drop", "codec", "encoder", "quality", "encoder-preset"),
)
"""Those that a preset may have."""


def use(context: typer.Context, name: str | None) -> str | None:
    """Have the options of a preset in the place of the usual ones."""
    if name is not None:
        from stream.cli.terminal import reported

        with reported():
            options = preset(name)
        context.default_map = {key.replace("-", "_"): value for key, value in options.items()}
    return name


def own_file() -> Path:
    """Where presets of the user's own are."""
    return platformdirs.user_config_path("deblur-stream", appauthor=False) / "presets.toml"


def preset(name: str) -> dict[str, Any]:
    """The options of a preset: of one that comes with the program, of the user's own, or of a TOML
    file. Raises `UsageError`, and `NoInputError` where the file cannot be read."""
    from stream.errors import UsageError

    file = Path(name)
    if file.suffix.lower() == ".toml":
        return _checked(_read(file), str(file))
    known = tomllib.loads(resources.files("stream.options").joinpath("presets.toml").read_text())
    own = own_file()
    if own.exists():
        known |= _read(own)
    if name not in known:
        raise UsageError(
            f"unknown --preset {name}; there are {', '.join(known)}, and a TOML file with options "
            "(the encoder's own is --encoder-preset)"
        )
    return _checked(known[name], f"the preset {name}")


def _read(file: Path) -> dict[str, Any]:
    from stream.errors import NoInputError, UsageError

    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise NoInputError(f"cannot read the preset {file}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{file} is not TOML that can be read: {error}") from error
    except RecursionError as error:
        raise UsageError(f"{file} is not TOML that can be read: too deeply nested") from error


def _checked(options: Any, where: str) -> dict[str, Any]:
    from stream.errors import UsageError

    if not isinstance(options, dict):
        raise UsageError(f"{where} is no table of options")
    for key, value in options.items():
        if key not in OPTIONS:
            raise UsageError(f"{where} has {key}; options in it are {', '.join(OPTIONS)}")
        if isinstance(value, dict) or (isinstance(value, list) and key != "drop"):
            raise UsageError(f"{where}: {key} has a value that is no option's")
    return dict(options)
