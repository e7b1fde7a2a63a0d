"""Which engine runs the networks: the fastest one that the machine has."""

import logging

import torch

from mssnet import Eager, Engine
from stream.compute import onnx_runtime, openvino
from stream.compute.cuda import Cuda, fused
from stream.compute.multi_device import Spread
from stream.compute.onnx_runtime import OnnxRuntime
from stream.errors import DeviceError, UsageError
from stream.options.settings import ENGINES

_log = logging.getLogger(__name__)


def choose_engine(
    name: str,
    device: torch.device,
    dtype: torch.dtype,
    *,
    late: bool = True,
    measure: bool = False,
) -> Engine:
    """The engine called `name`, or the fastest one here. Raises `DeviceError` or `UsageError`.

    `late`: images may be late if only many are done in a time; else they come one at a time.
    `measure`: instead of `dtype` a GPU may compute in the kind of half precision that suits the
    network better.
    """
    kind, _, provider = name.partition(":")
    if kind not in ENGINES or (provider and kind != "onnx"):
        raise UsageError(f"unknown --engine {name}; use {', '.join(ENGINES)}")
    if kind == "onnx":
        return _onnx(provider, device, None if measure else dtype, late=late)
    if name == "openvino" and device.type != "cpu":
        raise UsageError("--engine openvino runs on the CPU; use --device cpu")
    if name == "openvino" and dtype == torch.float16:
        raise UsageError("--engine openvino takes --precision float32 or bfloat16")
    if name == "openvino" and not openvino.available():
        raise DeviceError("OpenVINO is not installed; use pip install openvino, or --engine eager")
    if name == "cuda" and device.type != "cuda":
        raise UsageError("--engine cuda runs on a GPU of NVIDIA or AMD; use --device cuda")
    if name in ("auto", "cuda") and device.type == "cuda":
        # Compiling takes minutes, which only who asks for it can know to be worth it; and a live
        # picture cannot wait for them.
        fuse = fused if name == "cuda" and late else None
        return Cuda(device, dtype, late=late, measure=measure, fuse=fuse)
    usual = device.type == "cpu" and dtype != torch.float16 and openvino.available()
    if name == "openvino" or (name == "auto" and usual):
        return openvino.OpenVino(dtype, late=late)
    return Eager(device, dtype)


def _onnx(provider: str, device: torch.device, dtype: torch.dtype | None, *, late: bool) -> Engine:
    if device.type != "cpu":
        raise UsageError(
            "--engine onnx takes pictures from the CPU's memory, wherever it computes; use "
            "--device cpu, and --engine onnx:PROVIDER for where"
        )
    if dtype == torch.bfloat16:
        raise UsageError("--engine onnx takes --precision float32 or float16")
    return OnnxRuntime(onnx_runtime.choose_provider(provider), dtype, late=late)


def one_by_one(engine: Engine) -> Engine:
    """The same engine, for images of which each is waited for."""
    if isinstance(engine, Spread):
        engine = engine.engines[0]
    if isinstance(engine, Cuda):
        return Cuda(engine.device, engine.dtype, late=False)
    if isinstance(engine, openvino.OpenVino):
        return openvino.OpenVino(engine.dtype, threads=engine.threads, late=False)
    if isinstance(engine, OnnxRuntime):
        return OnnxRuntime(engine.provider, engine.dtype, late=False)
    return engine
