"""Networks on a CPU of Intel or AMD, run by OpenVINO.

OpenVINO fuses activations and additions into the convolutions before them and keeps the layout
that the CPU's matrix units (AMX) want from layer to layer, where PyTorch reorders around each one.
"""

import signal
import sys
import warnings
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from mssnet import Program, Result, strided
from mssnet.model import Leaving

_PRECISIONS: Final = {torch.float32: "f32", torch.bfloat16: "bf16"}
_TRACED = 96
"""Pixels each way of the image that a module is traced with."""
_SMALLEST = 64
"""Sides of an image in pixels below which OpenVINO resizes what is a pixel wide in another way."""
_SIZES = 4
"""Sizes of images that a module is kept compiled for."""
_FEWER = ((2_000_000, 1), (1_000_000, 2))
"""Pixels from which on there are at most so many streams: large images keep cores busy without,
and the memory of each stream grows with them."""
_MOST_STREAMS = 4
"""Images worked on at once: beyond that memory grows and speed does not."""


def available() -> bool:
    """Whether OpenVINO is installed."""
    return find_spec("openvino") is not None


class OpenVino:
    """OpenVINO on the CPU. For one image at a time, or for several side by side.

    Several streams with a few threads each need no waiting for one another after every layer, and
    so lose little when the decoder and the encoder take a core; one stream with all threads has
    the shortest delay.
    """

    name = "openvino"
    device = torch.device("cpu")

    def __init__(
        self, dtype: torch.dtype, *, threads: int | None = None, late: bool = True
    ) -> None:
        """`threads`: cores to use, as many as PyTorch by default.

        `late`: images may be late if only many are done in a time; else each is waited for.
        """
        if dtype not in _PRECISIONS:
            raise ValueError(f"dtype must be float32 or bfloat16, got {dtype}")
        self.dtype = dtype
        self.threads = threads or torch.get_num_threads()
        self.streams = min(self.threads, _MOST_STREAMS) if late else 1
        # More than are worked on, so that none of the streams waits while results are taken up.
        self.in_flight = self.streams + 2 if late else 1

    def compile(self, module: nn.Module) -> Program:
        return _Sizes(self, module).submit

    def options(self, shape: torch.Size) -> dict[str, Any]:
        """How OpenVINO is to compile a module for images of a shape."""
        pixels = shape[0] * shape[2] * shape[3]
        most = next((streams for least, streams in _FEWER if pixels >= least), self.streams)
        return {
            "INFERENCE_PRECISION_HINT": _PRECISIONS[self.dtype],
            "NUM_STREAMS": min(self.streams, most),
            "INFERENCE_NUM_THREADS": self.threads,
            # The system knows better which core is free: decoder and encoder work as well.
            "ENABLE_CPU_PINNING": False,
        }


class _Sizes:
    """A module, compiled for the sizes that it was last used with."""

    def __init__(self, engine: OpenVino, module: nn.Module) -> None:
        self._engine = engine
        self._module = module.float().eval()
        self._model: Any = None
        self._compiled: OrderedDict[tuple[int, ...], _Compiled] = OrderedDict()

    @torch.inference_mode()
    def submit(self, image: Tensor) -> Result:
        shape = tuple(image.shape)
        if min(shape[2:]) < _SMALLEST:
            made = self._module(image.float()).float()
            return lambda: made
        if shape not in self._compiled:
            with _interrupts_held():
                self._compiled[shape] = self._compile(image)
            if len(self._compiled) > _SIZES:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(shape)
        return self._compiled[shape].submit(image)

    def _compile(self, image: Tensor) -> "_Compiled":
        openvino = _openvino()
        if self._model is None:
            module = self._module
            if isinstance(module, Leaving):
                # OpenVINO copies an image that is unshuffled from layout to layout.
                module = Leaving(strided(module.net), module.exit)
            self._model = _converted(module, image[..., :_TRACED, :_TRACED])
        model = self._model.clone()
        model.reshape(list(image.shape))
        options = self._engine.options(image.shape)
        return _Compiled(openvino.Core().compile_model(model, "CPU", options))


class _Compiled:
    """A module for images of one size."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self._shape = tuple(compiled.output(0).shape)
        self._idle: deque[Any] = deque()

    def submit(self, image: Tensor) -> Result:
        request = None
        with suppress(IndexError):
            request = self._idle.pop()
        request = request or self._compiled.create_infer_request()
        return _Running(request, image.float().contiguous(), torch.empty(self._shape), self._idle)


class _Running:
    """One image that OpenVINO works on."""

    def __init__(self, request: Any, image: Tensor, made: Tensor, idle: deque[Any]) -> None:
        """`request` is put among the `idle` ones when it is done."""
        openvino = _openvino()
        self._request, self._idle = request, idle
        # Neither is copied: OpenVINO reads and writes the tensors' own memory.
        self._image, self._made = image, made
        request.set_input_tensor(openvino.Tensor(image.numpy(), shared_memory=True))
        request.set_output_tensor(openvino.Tensor(made.numpy(), shared_memory=True))
        request.start_async()

    def __call__(self) -> Tensor:
        request, self._request = self._request, None
        request.wait()
        self._idle.append(request)
        return self._made

    def __del__(self) -> None:
        # Nobody wants it any more, as where a job is stopped; but its memory is written to still.
        if self._request is not None:
            with suppress(Exception):
                self()


def _openvino() -> Any:
    # Without what tells its maker of its use: that is on unless somebody turned it off, and leaves
    # files in the user's home at the mere import. OpenVINO goes without where it is missing.
    sys.modules.setdefault("openvino_telemetry", cast(ModuleType, None))
    return import_module("openvino")


def _converted(module: nn.Module, example: Tensor) -> Any:
    """OpenVINO's model of a module, for any size of images."""
    _openvino()
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
        # The checks of shapes, which are traced as passed, and that tracing is thought outdated.
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(module, example.float().clone(), check_trace=False)  # type: ignore[no-untyped-call]
        # Named, as OpenVINO does not keep it alive.
        decoder = TorchScriptPythonDecoder(traced)
        frontend = FrontEndManager().load_by_framework("pytorch")
        return frontend.convert(frontend.load(decoder))


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C comes after what is done within, which takes a second or two.

    OpenVINO calls Python while it converts, and takes what is raised there for operations that it
    does not know, or for nothing: Ctrl-C would be lost.
    """
    came: list[int] = []
    try:
        before = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    except ValueError:  # not the main thread: signals arrive elsewhere
        yield
        return
    try:
        yield
    finally:
        # None: not set by Python.
        signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)
        if came:  # also where what is done within has failed
            signal.raise_signal(signal.SIGINT)
