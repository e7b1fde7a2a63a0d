"""Recipes: everything that decides what a training run makes, in a small TOML file."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mssnet import PRESETS
from weights.train.camera import CameraSettings
from weights.train.gradients import LOSSES
from weights.train.photos import PhotoSettings
from weights.train.synthesis import BlurSettings

RECIPES = Path(__file__).parents[1] / "recipes"


class RecipeError(ValueError):
    """A recipe cannot be read or does not make sense."""


@dataclass(frozen=True)
class Phase:
    """What may change in the course of a run."""

    patch: int = 192
    """Side of a training patch in pixels."""
    batch: int = 16
    """Patches per step."""
    loss: str = "published"
    """`published`, or `squared`: the mean squared error, which is what PSNR counts."""
    scenes: int = 48
    """Scenes made together."""
    uses: int = 4
    """How often each scene is used, turned and degraded anew each time."""
    photos: PhotoSettings = field(default_factory=PhotoSettings)
    blur: BlurSettings = field(default_factory=BlurSettings)
    camera: CameraSettings = field(default_factory=CameraSettings)


@dataclass(frozen=True)
class Recipe:
    """How to train one checkpoint."""

    preset: str = "lite"
    """The network's size, a preset of mssnet."""
    minutes: float = 60.0
    rate: float = 0.01
    """Muon's highest learning rate; it falls along a cosine to a hundredth of it."""
    warmup: int = 100
    """Steps over which the rate rises from 0."""
    average: float = 0.999
    """Decay of the running average of the weights, which is what is shipped."""
    phases: tuple[tuple[float, Phase], ...] = ((0.0, Phase()),)
    """From which share of the run (0..1, rising, the first 0) what holds."""


def find(name: str) -> Path:
    """The file of a recipe: a name in `weights/recipes`, or a path of a .toml file."""
    if name.endswith(".toml"):
        return Path(name)
    file = RECIPES / f"{name}.toml"
    if not file.is_file():
        known = sorted(path.stem for path in RECIPES.glob("*.toml"))
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        raise RecipeError(f"unknown recipe {name}; {hint}")
    return file


def load(file: Path, changes: Mapping[str, str] | None = None) -> Recipe:
    """Read a recipe; `changes` are settings such as `blur.longest` to replace in every phase.

    A file holds the settings of `Recipe` and of the first `Phase` at the top, [photos], [blur]
    and [camera] as tables, and later phases as [[then]] tables with `start`, the share of the run
    at which they begin; what a later phase does not say stays as it was. Raises `RecipeError`.
    """
    try:
        table = tomllib.loads(file.read_text())
        changed: dict[str, Any] = {}
        for key, value in (changes or {}).items():
            # A value as TOML knows it; what is none is a word.
            try:
                parsed = tomllib.loads(f"value = {value}")["value"]
            except tomllib.TOMLDecodeError:
                parsed = value
            first, _, rest = key.partition(".")
            if rest:
                changed.setdefault(first, {})[rest] = parsed
            else:
                changed[first] = parsed
        return _recipe(table, changed)
    except OSError as error:
        raise RecipeError(f"cannot read the recipe {file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecipeError) as error:
        raise RecipeError(f"{file}: {error}") from error


def _recipe(table: dict[str, Any], changes: dict[str, Any]) -> Recipe:
    later = table.pop("then", [])
    of_run = {f.name for f in fields(Recipe)} - {"phases"}
    of_phase = {f.name for f in fields(Phase)}
    for key in (*table, *changes):
        if key not in of_run | of_phase:
            raise RecipeError(_unknown(key, of_run | of_phase))
    run = {key: value for key, value in (table | changes).items() if key in of_run}
    always = {key: value for key, value in changes.items() if key in of_phase}
    phase = _changed(Phase(), {key: value for key, value in table.items() if key in of_phase})
    phases = [(0.0, _changed(phase, always))]
    for each in later:
        each = dict(each)
        start = each.pop("start", None)
        if not isinstance(start, int | float) or not phases[-1][0] < start < 1:
            raise RecipeError("each [[then]] needs a start between that of the one before and 1")
        phase = _changed(phase, each)
        phases.append((float(start), _changed(phase, always)))
    recipe: Recipe = replace(_changed(Recipe(), run), phases=tuple(phases))
    _check(recipe)
    return recipe


def _changed(settings: Any, changes: Mapping[str, Any]) -> Any:
    """A dataclass with some of its fields replaced, tables replacing fields of fields."""
    known = {f.name for f in fields(settings)}
    made = {}
    for key, value in changes.items():
        if key not in known:
            raise RecipeError(_unknown(key, known))
        old = getattr(settings, key)
        if isinstance(value, Mapping) != hasattr(old, "__dataclass_fields__"):
            raise RecipeError(f"{key} cannot be {value!r}")
        if isinstance(value, Mapping):
            made[key] = _changed(old, value)
        elif isinstance(old, float) and isinstance(value, int) and not isinstance(value, bool):
            made[key] = float(value)
        elif type(value) is type(old):
            made[key] = value
        else:
            raise RecipeError(f"{key} must be a {type(old).__name__}, not {value!r}")
    return replace(settings, **made)


def _check(recipe: Recipe) -> None:
    if recipe.preset not in PRESETS:
        raise RecipeError(f"unknown preset {recipe.preset}; choose one of {', '.join(PRESETS)}")
    if recipe.minutes <= 0 or recipe.rate <= 0 or not 0 <= recipe.average < 1:
        raise RecipeError("minutes and rate must be above 0, average in 0..1")
    multiple = PRESETS[recipe.preset].multiple_of
    for _, phase in recipe.phases:
        if phase.patch < multiple or phase.patch % multiple:
            raise RecipeError(f"patch must be a multiple of {multiple} for {recipe.preset}")
        if phase.loss not in LOSSES:
            raise RecipeError(f"unknown loss {phase.loss}; choose one of {', '.join(LOSSES)}")
        if min(phase.batch, phase.scenes, phase.uses) < 1:
            raise RecipeError("batch, scenes and uses must be at least 1")
        if phase.scenes * phase.uses % phase.batch:
            raise RecipeError(
                f"batch must divide scenes times uses, and {phase.batch} does not divide "
                f"{phase.scenes * phase.uses}"
            )
        for part, names in (
            (phase.photos, ("drawn", "detailed")),
            (phase.blur, ("sharp", "slight", "encoded", "defocus", "uniform")),
            (phase.camera, ("noise", "h264", "jpeg", "subsampled")),
        ):
            for name in names:
                if not 0 <= getattr(part, name) <= 1:
                    raise RecipeError(f"{name} is a share and must be in 0..1")


def _unknown(key: str, known: set[str]) -> str:
    near = get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(known))}"
    return f"unknown setting {key}; {hint}"
