"""The network a job works with, on the device and in the precision it works in."""

import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from warnings import catch_warnings

import psutil
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

import mssnet
import weights
from filters import INTERPOLATIONS, Upscaler, keep_freed, load_upscaler
from mssnet.regions import Where
from stream.compute.engines import choose_engine, one_by_one
from stream.compute.multi_device import Spread
from stream.errors import DeviceError, ModelError, NoInputError, UsageError
from stream.options.restore import AUTO, NONE
from stream.options.settings import PRECISIONS, Settings
from stream.paths import check_input

_log = logging.getLogger(__name__)

DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in PRECISIONS if name != AUTO}
"""By the name that `--precision` takes."""

_MOST_ON_CPU = 3 << 30
"""Bytes that a network may take on a CPU by the estimate of `tile_within`, which is well above what
it takes: larger pieces than that are no faster."""


class Passthrough(mssnet.Deblurrer):
    """The model called "none": it leaves images as they are."""

    def __init__(self, engine: mssnet.Engine) -> None:
        self.engine, self.tile = engine, None

    def __repr__(self) -> str:
        return f"Passthrough({self.device})"

    @property
    def exits(self) -> tuple[mssnet.Exit, ...]:
        return ()

    @property
    def is_told(self) -> bool:
        return False

    @torch.inference_mode()
    def submit(
        self,
        image: torch.Tensor,
        told: torch.Tensor | None = None,
        where: Where | None = None,
        *,
        exit: mssnet.Exit | None = None,
    ) -> mssnet.Result:
        return lambda: image


def load_model(
    name: str,
    *,
    device: str = "auto",
    precision: str = "auto",
    engine: str = "auto",
    tile: int | None = None,
    late: bool = True,
) -> mssnet.Deblurrer:
    """Load a checkpoint by name, onto an engine.

    `late`: frames may be late if only many are done in a time; else they come one at a time.
    Raises `ModelError`, `DeviceError` or `UsageError`.
    """
    # What ONNX Runtime computes on is its provider's concern.
    devices = choose_devices("cpu" if device == "auto" and engine.startswith("onnx") else device)
    where = devices[0]
    if len(devices) > 1 and not late:
        raise UsageError(f"frames that come one by one use one GPU; use --device {where}")
    dtype, measure = choose_dtype(precision, where), precision == "auto"
    engines = [choose_engine(engine, each, dtype, late=late, measure=measure) for each in devices]
    runs = engines[0] if len(engines) == 1 else Spread(engines)
    if name == NONE:
        if where.type == "cpu":
            keep_freed()
        return Passthrough(runs)
    try:
        restore = mssnet.load(model_file(name), tile=tile, engine=runs)
    except (ValueError, OSError) as error:
        raise ModelError(f"cannot use the model {name}: {error}") from error
    _log.info("model %s in %s by %s on %s", name, dtype, type(runs).__name__, where)
    if where.type == "cpu":
        keep_freed()
    if tile is None and where.type == "cpu":
        # A GPU says when its memory is full; on a CPU the system ends the program instead.
        budget = min(int(0.6 * psutil.virtual_memory().available), _MOST_ON_CPU)
        restore.tile = mssnet.tile_within(restore.net, budget, restore.dtype)
    return restore


def load_for(settings: Settings) -> mssnet.Deblurrer:
    """`load_model` of what settings name, which must not be `auto`. Raises as it does."""
    return load_model(
        settings.model,
        device=settings.device,
        precision=settings.precision,
        engine=settings.engine,
        tile=settings.tile,
    )


def deblurrers() -> tuple[str, ...]:
    """The names of all models that there are for `load_model`."""
    with suppress(weights.WeightsError):  # a damaged list stops nothing that is loaded already
        known = weights.checkpoints()
        return tuple(
            each.name for each in known if each.preset in mssnet.PRESETS or "/" in each.preset
        )
    return ()


def usual_upscaler(name: str, device: torch.device) -> str:
    """What `auto` stands for on a device."""
    if name != "auto":
        return name
    return "x3-lite" if device.type == "cpu" else "x3"


def find_upscaler(name: str, engine: mssnet.Engine) -> Upscaler | str:
    """Load an upscaler by name; the names of plain interpolations are returned as they are.

    Raises `ModelError`.
    """
    name = usual_upscaler(name, engine.device)
    if name in INTERPOLATIONS:
        return name
    try:
        file = model_file(name)
        if engine.name == "eager":
            return load_upscaler(file, device=engine.device, dtype=engine.dtype)
        return load_upscaler(file, engine=one_by_one(engine))
    except (ValueError, OSError) as error:
        raise ModelError(f"cannot use the upscaler {name}: {error}") from error


def fingerprint(name: str) -> str:
    """The SHA-256 of a model's weights, or the name of what has none. Raises `ModelError`."""
    return name if name in (*INTERPOLATIONS, NONE, AUTO) else weights.sha256(model_file(name))


def model_file(name: str) -> Path:
    """Where the weights of a model are, by its name or their path. Raises `ModelError`."""
    try:
        return weights.path(name)
    except weights.WeightsError as error:
        raise ModelError(f"{error}; see `deblur models`") from error


def preset_of(name: str) -> tuple[Path, str]:
    """A model's weights, and its size's preset, empty where there is none. Raises `ModelError`."""
    file = model_file(name)
    try:
        config = mssnet.from_state_dict(load_file(file)).config
    except (ValueError, OSError, SafetensorError) as error:
        raise ModelError(f"cannot use the model {name}: {error}") from error
    return file, next((preset for preset, size in mssnet.PRESETS.items() if size == config), "")


def choose_devices(names: str) -> list[torch.device]:
    """One device, or several GPUs with commas between them. Raises as `choose_device` does."""
    if "," not in names:
        return [choose_device(names)]
    devices = []
    for name in names.split(","):
        device = choose_device(name.strip())
        if device.type != "cuda" or name.strip() == "auto":
            raise UsageError(
                f"--device {names}: only GPUs work together; use such as cuda:0,cuda:1"
            )
        device = torch.device("cuda", device.index or 0)
        if device in devices:
            raise UsageError(f"--device {names} names {device} twice")
        devices.append(device)
    return devices


def choose_device(name: str) -> torch.device:
    """`auto` is the GPU where there is one that works, else the CPU."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"unknown --device {name}; use auto, cpu, cuda, cuda:1 or mps") from None
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    if device.type == "cuda" and (device.index or 0) >= count:
        raise DeviceError(f"there is no {name} here ({count} GPUs found); use --device cpu")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("there is no Apple GPU here; use --device cpu")
    if device.type not in ("cpu", "cuda", "mps"):
        raise UsageError(f"unknown --device {name}; use auto, cpu, cuda, cuda:1 or mps")
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """`auto` is float16 on a GPU, bfloat16 on a CPU that computes in it, else float32."""
    if name in DTYPES:
        return DTYPES[name]
    if name != AUTO:
        raise UsageError(f"unknown --precision {name}; use {', '.join(PRECISIONS)}")
    if device.type != "cpu":
        return torch.float16
    return torch.bfloat16 if mssnet.has_bfloat16(device) else torch.float32


def import_checkpoint(file: Path, name: str) -> weights.Checkpoint:
    """Convert a checkpoint of the authors (`.pt`, `.pth`) or of ours into one that `name` finds.

    A pickle is read with `weights_only=True`: it can hold tensors and nothing that runs. Raises
    `ModelError`.
    """
    try:
        check_input(file)
    except NoInputError as error:
        raise ModelError(str(error)) from error
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(file)
        else:
            with catch_warnings(action="ignore"):  # of what is no checkpoint, which is said below
                state = _state_of(torch.load(file, map_location="cpu", weights_only=True))
    except Exception as error:
        # A damaged or hostile pickle can raise about anything, and PyTorch's advice is to trust it.
        raise ModelError(f"{file} is no checkpoint") from error
    try:
        net = mssnet.from_state_dict(state)
    except Exception as error:
        reason = f": {error}" if isinstance(error, ValueError) else ""
        raise ModelError(f"{file} is no checkpoint of an MSSNet{reason}") from error
    size = next((preset for preset, c in mssnet.PRESETS.items() if c == net.config), "")
    preset = size or "/".join(str(width) for width in net.config.widths)
    return store(name, net.state_dict(), preset=preset, about=f"imported from {file.name}")


def check_name(name: str) -> None:
    """Refuse what cannot name a model of the user's own. Raises `ModelError`."""
    try:
        weights.check_name(name)
    except weights.WeightsError as error:
        raise ModelError(str(error)) from error


def store(
    name: str, state: Mapping[str, torch.Tensor], *, preset: str, about: str
) -> weights.Checkpoint:
    """Keep weights as a model of the user's own, which `name` then finds. Raises `ModelError`."""
    try:
        return weights.add(name, state, preset=preset, about=about)
    except weights.WeightsError as error:
        raise ModelError(str(error)) from error


def _state_of(loaded: object) -> dict[str, torch.Tensor]:
    """The state dict in what `torch.load` returned, bare or wrapped under a known key."""
    if isinstance(loaded, dict):
        for key in ("model_state_dict", "state_dict", "params", "net"):
            if isinstance(loaded.get(key), dict):
                loaded = loaded[key]
                break
    if not isinstance(loaded, dict) or not loaded:
        raise ValueError("it holds no state dict")
    if not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise ValueError("its state dict holds something that is not a tensor")
    return loaded
