"""Recipes: everything that decides what a training run makes, in a small TOML file."""

import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from filters import UPSCALERS
from mssnet import PRESETS
from weights.train.camera import CameraSettings
from weights.train.data import NeighborSettings
from weights.train.gradients import LOSSES
from weights.train.photos import PhotoSettings
from weights.train.synthesis import BlurSettings

RECIPES = Path(__file__).parents[1] / "recipes"
_ENLARGED = 96
"""Large patches are multiples of it: the deblurring network takes every third pixel of them."""
_S = TypeVar("_S", bound="Schedule")


class RecipeError(ValueError):
    """A recipe cannot be read or does not make sense."""


@dataclass(frozen=True)
class Phase:
    """What may change in the course of a run."""

    patch: int = 128
    """Side of a training patch in pixels."""
    batch: int = 8
    """Patches per step."""
    loss: str = "absolute"
    """`published`; `absolute`, its first part; or `squared`, which is what PSNR counts."""
    scenes: int = 24
    """Scenes made together."""
    uses: int = 4
    """How often each scene is filmed."""
    passes: int = 1
    """How often each sample is used."""
    photos: PhotoSettings = field(default_factory=PhotoSettings)
    blur: BlurSettings = field(default_factory=BlurSettings)
    camera: CameraSettings = field(default_factory=CameraSettings)
    neighbors: NeighborSettings = field(default_factory=NeighborSettings)


@dataclass(frozen=True)
class EnlargingPhase:
    """What may change in the course of a run that trains an upscaler."""

    patch: int = 192
    """Side of a large training patch in pixels."""
    batch: int = 16
    """Patches per step."""
    squared: bool = False
    """Whether the squared error counts, which PSNR measures, or the absolute one."""
    scenes: int = 96
    """Samples made together."""
    passes: int = 1
    """How often each sample is used."""
    restored: float = 0.0
    """Share of samples that were blurred and restored by the deblurring network."""
    photos: PhotoSettings = field(
        default_factory=lambda: PhotoSettings(drawn=0.03, shrink=1.8, crisp=True)
    )
    blur: BlurSettings = field(default_factory=lambda: BlurSettings(longest=40, bias=1.6))
    camera: CameraSettings = field(default_factory=CameraSettings)


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train, whatever the network is."""

    preset: str = "lite"
    """The network's size, a name of `mssnet.PRESETS` or `filters.UPSCALERS`."""
    minutes: float = 60.0
    rate: float = 0.01
    """Muon's highest learning rate; it falls along a cosine to a hundredth of it."""
    warmup: int = 100
    """Steps over which the rate rises from 0."""
    average: float = 0.999
    """Decay of the running average of the weights, which is what is shipped."""
    phases: tuple[tuple[float, Any], ...] = ()
    """From which share of the run (0..1, rising, the first 0) what holds."""


@dataclass(frozen=True)
class Recipe(Schedule):
    """How to train one checkpoint of the deblurring network."""

    widths: list[int] = field(default_factory=list)
    """Channels at the three levels, in the place of the preset's; finished weights of a narrower
    network can be gone on with."""
    phases: tuple[tuple[float, Phase], ...] = ((0.0, Phase()),)


@dataclass(frozen=True)
class Enlarging(Schedule):
    """How to train one checkpoint of the upscaler."""

    preset: str = "x3-lite"
    phases: tuple[tuple[float, EnlargingPhase], ...] = ((0.0, EnlargingPhase()),)


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
    recipe = _load(file, changes or {}, Recipe(), Phase())
    with _of(file):
        _check(recipe)
    return recipe


def load_enlarging(file: Path, changes: Mapping[str, str] | None = None) -> Enlarging:
    """`load` for a recipe of the upscaler, with the settings of an `EnlargingPhase`."""
    recipe = _load(file, changes or {}, Enlarging(), EnlargingPhase())
    with _of(file):
        _check_enlarging(recipe)
    return recipe


@contextmanager
def _of(file: Path) -> Iterator[None]:
    try:
        yield
    except RecipeError as error:
        raise RecipeError(f"{file}: {error}") from error


def _load(file: Path, changes: Mapping[str, str], recipe: _S, phase: Any) -> _S:
    try:
        table = tomllib.loads(file.read_text())
    except OSError as error:
        raise RecipeError(f"cannot read the recipe {file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{file}: {error}") from error
    with _of(file):
        changed: dict[str, Any] = {}
        for key, value in changes.items():
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
        return _read(table, changed, recipe, phase)


def _read(table: dict[str, Any], changes: dict[str, Any], recipe: _S, phase: Any) -> _S:
    later = table.pop("then", [])
    of_run = {f.name for f in fields(recipe)} - {"phases"}
    of_phase = {f.name for f in fields(phase)}
    for key in (*table, *changes):
        if key not in of_run | of_phase:
            raise RecipeError(_unknown(key, of_run | of_phase))
    run = {key: value for key, value in (table | changes).items() if key in of_run}
    always = {key: value for key, value in changes.items() if key in of_phase}
    phase = _changed(phase, {key: value for key, value in table.items() if key in of_phase})
    phases = [(0.0, _changed(phase, always))]
    for each in later:
        start = each.get("start")
        if not isinstance(start, int | float) or not phases[-1][0] < start < 1:
            raise RecipeError("each [[then]] needs a start between that of the one before and 1")
        phase = _changed(phase, {key: each[key] for key in each if key != "start"})
        phases.append((float(start), _changed(phase, always)))
    made: _S = replace(_changed(recipe, run), phases=tuple(phases))
    return made


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
    _check_schedule(recipe, PRESETS)
    narrow = PRESETS[recipe.preset].widths
    if recipe.widths and (
        len(recipe.widths) != 3 or any(a < b for a, b in zip(recipe.widths, narrow, strict=True))
    ):
        raise RecipeError(f"widths must be three, each at least that of {recipe.preset}: {narrow}")
    multiple = PRESETS[recipe.preset].multiple_of
    for _, phase in recipe.phases:
        if phase.patch < multiple or phase.patch % multiple:
            raise RecipeError(f"patch must be a multiple of {multiple} for {recipe.preset}")
        if phase.loss not in LOSSES:
            raise RecipeError(f"unknown loss {phase.loss}; choose one of {', '.join(LOSSES)}")
        _check_group(phase.batch, phase.scenes, phase.uses * min(phase.passes, 1))
        _check_shares(phase.photos, phase.blur, phase.camera, phase.neighbors)


def _check_enlarging(recipe: Enlarging) -> None:
    _check_schedule(recipe, UPSCALERS)
    for _, phase in recipe.phases:
        if phase.patch < _ENLARGED or phase.patch % _ENLARGED:
            raise RecipeError(f"patch must be a multiple of {_ENLARGED} for {recipe.preset}")
        if not 0 <= phase.restored <= 1:
            raise RecipeError("restored is a share and must be in 0..1")
        _check_group(phase.batch, phase.scenes, min(phase.passes, 1))
        _check_shares(phase.photos, phase.blur, phase.camera)


def _check_schedule(recipe: Schedule, presets: Mapping[str, object]) -> None:
    if recipe.preset not in presets:
        raise RecipeError(f"unknown preset {recipe.preset}; choose one of {', '.join(presets)}")
    if recipe.minutes <= 0 or recipe.rate <= 0 or not 0 <= recipe.average < 1:
        raise RecipeError("minutes and rate must be above 0, average in 0..1")


def _check_group(batch: int, scenes: int, uses: int) -> None:
    if min(batch, scenes, uses) < 1:
        raise RecipeError("batch, scenes, uses and passes must be at least 1")
    if scenes * uses % batch:
        raise RecipeError(
            f"batch must divide scenes times uses, and {batch} does not divide {scenes * uses}"
        )


def _check_shares(*parts: object) -> None:
    for part in parts:
        for name in _SHARES & {each.name for each in fields(part)}:  # type: ignore[arg-type]
            if not 0 <= getattr(part, name) <= 1:
                raise RecipeError(f"{name} is a share and must be in 0..1")


_SHARES = {
    *("drawn", "detailed"),
    *("still", "slight", "whole", "short", "rolling", "encoded", "defocus", "uniform"),
    *("noise", "h264", "jpeg", "subsampled"),
    *("no_after", "no_before", "wrong", "repeated"),
}


def _unknown(key: str, known: set[str]) -> str:
    near = get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(known))}"
    return f"unknown setting {key}; {hint}"
