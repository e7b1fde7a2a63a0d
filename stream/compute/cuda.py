"""Networks on a GPU: fewer launches, kernels that do more, several small images at once.

Everything is done on the stream that is current, and nothing waits for the GPU but the first image
of a size. What cannot be had on a machine, such as a compiler, is done without: a module is run

- fused by torch.compile or as it is, and
- replayed as a CUDA graph (one launch for all its kernels) or launched kernel by kernel.
"""

import copy
import logging
import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from mssnet import MSSNet, Program, Result, widened
from mssnet.model import Leaving
from stream.compute.precision import closest

_log = logging.getLogger(__name__)

_Module = TypeVar("_Module", bound=nn.Module)
Run = Callable[[Tensor], Tensor]
"""Images (N, C, H, W) to as many others, which belong to the caller."""
Fuse = Callable[[nn.Module], Run]
"""Compiles a module; what it returns is compiled when it is first called, for that size."""
Capture = Callable[[Run, Tensor], Run]
"""Records what a run launches for images of one size."""

BATCH: Final = 4
"""Images that are run together at most ..."""
_BATCH_PIXELS: Final = 2**20
"""... as long as they have no more pixels than this: larger ones keep a GPU busy alone."""
_SIZES: Final = 8
"""Sizes of images, and modules, that an engine keeps ready; those used last."""
_WARM_UPS: Final = 3
"""Runs before a capture, in which libraries choose their kernels and set up what they need."""
_OFF: Final = 1 / 512
"""Mean difference that rounding in half precision may make, of values in 0..1."""


class Cuda:
    """A GPU of NVIDIA, or of AMD, which PyTorch calls by the same name."""

    name = "cuda"

    def __init__(
        self,
        device: str | torch.device,
        dtype: torch.dtype,
        *,
        late: bool = True,
        measure: bool = False,
        fuse: Fuse | None = None,
        capture: Capture | None = None,
    ) -> None:
        """`late`: images may be late if only many are done in a time; else each is waited for.

        `measure`: `dtype` becomes the kind of half precision that is closer to float32, by the
        first module. `fuse` is `fused`, or something in its place; without it nothing is compiled,
        which takes minutes for each size of images. `capture` takes the place of CUDA graphs.
        """
        self.device = torch.device(device)
        self.dtype = dtype
        self.late = late
        self.batch = BATCH if late else 1
        # One more than are run together, so that those are there before the first one is asked for.
        self.in_flight = self.batch + 1 if late else 1
        self._measure = measure
        self._fuse = fuse
        self._capture: Capture | None = capture or Graphs(self.device)
        self._wide: WeakKeyDictionary[MSSNet, MSSNet] = WeakKeyDictionary()
        self._ready: OrderedDict[tuple[nn.Module, torch.Size], Run] = OrderedDict()

    @property
    def fuses(self) -> bool:
        """Whether kernels are fused: False where that is not wanted, or has failed."""
        return self._fuse is not None

    @property
    def captures(self) -> bool:
        """Whether CUDA graphs are used: False where that has failed."""
        return self._capture is not None

    def compile(self, module: nn.Module) -> Program:
        with torch.inference_mode(False), torch.no_grad():
            if self._measure:
                self.dtype, self._measure = closest(module, self.device), False
            placed = self._placed(module)
        return _Collector(self, placed).submit

    def ready(self, module: nn.Module, shape: torch.Size) -> bool:
        """Whether images of this shape can be run without any preparation."""
        return (module, shape) in self._ready

    def run(self, module: nn.Module, images: Tensor) -> Tensor:
        """What a module that was placed here makes of images, in float32."""
        images = images.to(memory_format=torch.channels_last)
        key = module, images.shape
        try:
            if key not in self._ready:
                self._ready[key] = self._prepared(module, images)
                if len(self._ready) > _SIZES:
                    self._ready.popitem(last=False)
            self._ready.move_to_end(key)
            return self._ready[key](images).float()
        except torch.OutOfMemoryError:
            # What is kept for other sizes is in the way.
            self._ready.clear()
            raise

    def _placed(self, module: nn.Module) -> nn.Module:
        """The module on the device, a copy of it where its network is to have other widths."""
        if isinstance(module, Leaving):
            if module.net not in self._wide:
                self._wide[module.net] = self._moved(widened(module.net))
            return Leaving(self._wide[module.net], module.exit)
        return self._moved(copy.deepcopy(module))

    def _moved(self, module: _Module) -> _Module:
        module.eval().to(self.device, self.dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return module

    def _prepared(self, module: nn.Module, images: Tensor) -> Run:
        """How a module is run for images of this size: in the fastest way that works here."""
        expected = module(images)
        run: Run = module
        if self._fuse is not None:
            try:
                made = self._fuse(module)
                _check(made(images), expected)
                run = made
            except torch.OutOfMemoryError:
                raise
            except Exception as error:
                # A compiler that is missing or fails can raise about anything.
                self._fuse = None
                _log.warning("%s: going on without fused kernels (%s)", self.device, _why(error))
        if self._capture is not None:
            try:
                made = self._capture(run, images)
                _check(made(images), expected)
                return made
            except torch.OutOfMemoryError:
                raise
            except Exception as error:
                self._capture = None
                _log.warning("%s: going on without CUDA graphs (%s)", self.device, _why(error))
        return run


class _Collector:
    """A module on an engine: small images are run together."""

    def __init__(self, engine: Cuda, module: nn.Module) -> None:
        self._engine = engine
        self._module = module
        self._batch: _Batch | None = None

    @torch.inference_mode()
    def submit(self, image: Tensor) -> Result:
        together = min(self._engine.batch, max(_BATCH_PIXELS // image[0, 0].numel(), 1))
        if together == 1 or len(image) > 1:
            made = self._engine.run(self._module, image)
            return lambda: made
        batch = self._batch
        if batch is None or batch.launched or batch.shape != image.shape:
            batch = self._batch = _Batch(self._engine, self._module, image.shape, together)
        return batch.add(image)


class _Batch:
    """Images of one size that are run together."""

    def __init__(self, engine: Cuda, module: nn.Module, shape: torch.Size, together: int) -> None:
        """`shape` is that of each image, (1, C, H, W)."""
        self.shape = shape
        self.launched = False
        self._together = together
        self._engine = engine
        self._module = module
        self._images: list[Tensor] = []
        self._made: list[Tensor] = []
        self._error: Exception | None = None

    def add(self, image: Tensor) -> Result:
        """One image more; it is the last one where there are as many as are to be run together."""
        index = len(self._images)
        self._images.append(image)
        if len(self._images) == self._together:
            self._launch()
        return lambda: self._result(index)

    @torch.inference_mode()
    def _result(self, index: int) -> Tensor:
        if not self.launched:
            self._launch()
        if self._error is not None:
            raise self._error
        return self._made[index]

    def _launch(self) -> None:
        self.launched = True
        missing = self._together - len(self._images)
        whole = torch.Size((self._together, *self.shape[1:]))
        try:
            runs = self._images
            if not missing or self._engine.ready(self._module, whole):
                # Where some are missing, as at a video's end, it costs less to do without them
                # than to prepare another size, and what is made of an image stays the same.
                runs = [torch.cat([*self._images, *[self._images[-1]] * missing])]
            for images in runs:
                self._made += torch.split(self._engine.run(self._module, images), 1)
        except Exception as error:
            # It is that of every image in the batch.
            self._error = error
            raise
        finally:
            self._images = []


class Graphs:
    """Records CUDA graphs. Its graphs share their memory, and so must be replayed one at a time."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: torch.cuda.Stream | None = None
        self._pool: Any = None

    def __call__(self, run: Run, images: Tensor) -> Run:
        """Record what `run` launches; what is returned copies its images in and the results out."""
        with torch.cuda.device(self._device):
            if self._stream is None:
                # The same one for all: with it come the workspaces of cuDNN and cuBLAS.
                self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
                self._pool = torch.cuda.graph_pool_handle()
            current, side = torch.cuda.current_stream(), self._stream
            given = torch.empty_like(images).copy_(images)
            side.wait_stream(current)
            with torch.cuda.stream(side):
                for _ in range(_WARM_UPS):
                    run(given)
            current.wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            # Other threads decode and encode on the GPU meanwhile, which "global" would forbid.
            with torch.cuda.graph(graph, self._pool, side, capture_error_mode="thread_local"):
                made = run(given)

        def launch() -> None:
            with torch.cuda.device(self._device):
                graph.replay()

        return through(given, made, launch)


def through(given: Tensor, made: Tensor, launch: Callable[[], object]) -> Run:
    """What always reads the same tensor and writes the same one, as something that others can use.

    Of the results a copy is made at once: the next launch writes to the same memory, and so may
    that of another graph.
    """

    def run(images: Tensor) -> Tensor:
        given.copy_(images)
        launch()
        return made.to(torch.float32, copy=True)

    return run


def fused(module: nn.Module, backend: str = "inductor") -> Run:
    """A module whose pointwise operations are fused by torch.compile, for one size of images."""
    compiled: Run = torch.compile(module, fullgraph=True, dynamic=False, backend=backend)
    # Sizes, exits and networks all count as versions of the same code, of which few are usual.
    limits = {"recompile_limit": 256, "accumulated_recompile_limit": 4096}
    first = True

    def run(images: Tensor) -> Tensor:
        nonlocal first
        with torch._dynamo.config.patch(limits):
            if not first:
                return compiled(images)
            with warnings.catch_warnings():
                # What the compiler would like is nothing that a user can do anything about.
                warnings.simplefilter("ignore")
                made = compiled(images)
            first = False
            return made

    return run


def _check(made: Tensor, expected: Tensor) -> None:
    """Raise `ValueError` where a faster way does not make what the plain one makes."""
    off = float((made.float() - expected.float()).abs().mean())
    # Not the other way around: a NaN is no less than anything.
    if not off < _OFF:
        raise ValueError(f"its results are off by {off:.4f}")


def _why(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
