"""Networks run by ONNX Runtime, on whatever one of its providers knows: GPUs of AMD, Intel and
Apple among others.

What it can use is decided by which of its packages is installed; pictures are handed over in the
CPU's memory.
"""

import functools
import os
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

import torch
from torch import Tensor, nn

from mssnet import Program, Result
from mssnet.model import Leaving
from mssnet.stride import strided
from stream.compute.onnx import OPSET, SIZES, traced
from stream.errors import DeviceError, UsageError

NAME: Final = "onnx"
_CPU: Final = "CPUExecutionProvider"
_ENDING: Final = "ExecutionProvider"
_ALIASES: Final = {"directml": "dml"}
"""What a provider is called beside what ONNX Runtime calls it."""
_HALF: Final = frozenset({"Dml", "CUDA", "Tensorrt", "NvTensorRTRTX", "MIGraphX", "ROCM"})
"""Those that run on GPUs which compute in float16 what is in float16."""
_ASKED: Final = frozenset({"Tensorrt", "NvTensorRTRTX"})
"""Those that are not taken unasked: they compile for minutes."""
_ELSEWHERE: Final = "AzureExecutionProvider"
"""What sends pictures to somebody else's computers; it is never taken."""
_PRECISIONS: Final = (torch.float32, torch.float16)
_TRACED = 32
"""Pixels each way of the image that a module is traced with."""
_SIZES = 4
"""Sizes of images that a module is kept ready for."""
_SAID = 160
"""Letters of an error that are told; what matters is at its end, behind names of files."""
_FULL: Final = ("Failed to allocate memory", "bad_alloc", "bad allocation", "out of memory")
"""How its errors say that memory is full, on one device or another."""


def available() -> bool:
    """Whether ONNX Runtime is installed, with what writes models for it."""
    return all(find_spec(name) is not None for name in ("onnx", "onnxruntime"))


@dataclass(frozen=True)
class Provider:
    """What ONNX Runtime computes with."""

    name: str = "CPU"
    """As ONNX Runtime calls it, without the words that all of their names end with."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Its own, as ONNX Runtime's documentation names them."""

    @property
    def full_name(self) -> str:
        return self.name + _ENDING

    @property
    def for_session(self) -> list[Any]:
        """It, and the CPU for what it does not know."""
        own = [] if self.full_name == _CPU else [(self.full_name, dict(self.options))]
        return [*own, (_CPU, dict(self.options) if not own else {})]


def choose_provider(asked: str = "") -> Provider:
    """The provider that is asked for as NAME or NAME:KEY=VALUE,KEY=VALUE; the first one that
    works where nothing is. Raises `DeviceError` and `UsageError`."""
    if not available():
        raise DeviceError(
            "ONNX Runtime is not installed; use pip install 'deblur-stream[onnx]', "
            "or --engine eager"
        )
    name, _, given = asked.partition(":")
    there = _there()
    if not name:
        usual = (Provider(each) for each in there if each not in _ASKED)
        return next(each for each in usual if not _why_not(each.full_name))
    options = dict(each.partition("=")[::2] for each in given.split(",") if each)
    if "" in {*options, *options.values()}:
        raise UsageError(f"--engine onnx:{asked}: options of providers are such as device_id=1")
    wanted = name.lower().removesuffix(_ENDING.lower())
    wanted = _ALIASES.get(wanted, wanted)
    found = next((each for each in there if each.lower() == wanted), None)
    if found is None:
        raise DeviceError(
            f"this ONNX Runtime has no {name}, only {', '.join(there)}; docs/onnx.md names the "
            "packages that have others"
        )
    provider = Provider(found, options)
    if why := _why_not(provider.full_name, tuple(options.items())):
        raise DeviceError(f"{provider.full_name} does not work here ({why}); use --engine onnx:CPU")
    return provider


def _onnxruntime() -> Any:
    # Its packages tell their maker of their use over the network, since 1.32 on Linux too, unless
    # the environment forbids it before they are loaded.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    return import_module("onnxruntime")


def _there() -> list[str]:
    """The names of all providers of the ONNX Runtime that is installed, the preferred one first."""
    there = _onnxruntime().get_available_providers()
    return [each.removesuffix(_ENDING) for each in there if each != _ELSEWHERE]


@functools.cache
def _why_not(full_name: str, options: tuple[tuple[str, str], ...] = ()) -> str:
    """Why a provider does not run the smallest of models; nothing where it does."""
    from onnx import TensorProto, helper

    shape = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1])
    made = helper.make_tensor_value_info("made", TensorProto.FLOAT, [1])
    graph = helper.make_graph(
        [helper.make_node("Relu", ["image"], ["made"])], "one", [shape], [made]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    # Else it is of a newer version than an older runtime reads.
    model.ir_version = min(model.ir_version, 8)
    provider = Provider(full_name.removesuffix(_ENDING), dict(options))
    try:
        session = _session(model.SerializeToString(), provider, (), threads=1)
        session.run(None, {"image": torch.ones(1).numpy()})
    except Exception as error:
        # Whatever a driver raises: there is no class that all of its errors are of.
        return " ".join(str(error).split())[-_SAID:] or type(error).__name__
    # It takes another one where the libraries of a provider are missing.
    return (
        "" if session.get_providers()[0] == full_name else "its device or its libraries are missing"
    )


def run_once(model: bytes, images: Mapping[str, Tensor]) -> Tensor:
    """What a model makes on the CPU of images, by the names of its inputs."""
    session = _made(model, Provider(), (), threads=torch.get_num_threads())
    return _run(session, {name: image.numpy() for name, image in images.items()})


def _session(model: bytes, provider: Provider, shape: tuple[int, ...], *, threads: int) -> Any:
    onnxruntime = _onnxruntime()
    # What goes wrong is raised as well, and told in one line.
    onnxruntime.set_default_logger_severity(4)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    # Threads that spin while they wait take the cores from the decoder and the encoder.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if provider.name == "Dml":
        options.enable_mem_pattern = False  # which it does not have
    # Most providers compile for one size, and are slow with a model that is for any.
    for axis, name in SIZES.items():
        if shape:
            options.add_free_dimension_override_by_name(name, shape[axis])
    return onnxruntime.InferenceSession(
        model, options, providers=provider.for_session, enable_fallback=0
    )


def _made(model: bytes, provider: Provider, shape: tuple[int, ...], *, threads: int) -> Any:
    try:
        return _session(model, provider, shape, threads=threads)
    except Exception as error:
        raise _told(error) from error


class OnnxRuntime:
    """ONNX Runtime with one of its providers."""

    device = torch.device("cpu")

    def __init__(
        self,
        provider: Provider,
        dtype: torch.dtype | None = None,
        *,
        late: bool = True,
    ) -> None:
        """`dtype`: float32 or float16; None: what the provider computes fastest in.

        `late`: images may be late if only many are done in a time; else each is waited for.
        """
        if dtype is None:
            dtype = torch.float16 if provider.name in _HALF else torch.float32
        if dtype not in _PRECISIONS:
            raise ValueError(f"dtype must be float32 or float16, got {dtype}")
        self.provider, self.dtype = provider, dtype
        self.name = f"{NAME}:{provider.name}"
        self.threads = torch.get_num_threads()
        # A GPU works on one image while the CPU looks how the next one moved.
        self._pool = ThreadPoolExecutor(1, NAME) if late and provider.name != "CPU" else None
        self.in_flight = 2 if self._pool else 1

    def compile(self, module: nn.Module) -> Program:
        return _Sizes(self, module.float().eval()).submit

    def run(self, session: Any, image: Tensor) -> Result:
        """Begin with an image; one after the other, as not all providers bear more."""
        feeds = {"image": image.float().contiguous().numpy()}
        if self._pool is None:
            made = _run(session, feeds)
            return lambda: made
        return self._pool.submit(_run, session, feeds).result


def _run(session: Any, feeds: dict[str, Any]) -> Tensor:
    try:
        return torch.from_numpy(session.run(None, feeds)[0])
    except Exception as error:
        raise _told(error) from error


class _Sizes:
    """A module, made ready for the sizes that it was last used with."""

    def __init__(self, engine: OnnxRuntime, module: nn.Module) -> None:
        self._engine, self._module = engine, module
        self._models: dict[int, bytes] = {}
        self._sessions: OrderedDict[tuple[int, ...], Any] = OrderedDict()

    @torch.inference_mode()
    def submit(self, image: Tensor) -> Result:
        shape = tuple(image.shape)
        if shape not in self._sessions:
            self._sessions[shape] = self._session(image)
            if len(self._sessions) > _SIZES:
                self._sessions.popitem(last=False)
        self._sessions.move_to_end(shape)
        return self._engine.run(self._sessions[shape], image)

    def _session(self, image: Tensor) -> Any:
        engine, channels = self._engine, image.shape[1]
        if channels not in self._models:
            module = self._module
            if isinstance(module, Leaving):  # as in what is exported
                module = Leaving(strided(module.net), module.exit)
            part = image[..., :_TRACED, :_TRACED]
            self._models[channels] = traced(module, {"image": part}, "change", engine.dtype)
        model = self._models[channels]
        return _made(model, engine.provider, tuple(image.shape), threads=engine.threads)


def _told(error: Exception) -> Exception:
    """What an error of ONNX Runtime is for the rest of the program."""
    said = str(error)
    if any(each in said for each in _FULL):
        return torch.OutOfMemoryError(said)
    return DeviceError(f"ONNX Runtime failed: {' '.join(said.split())[-_SAID:]}")
