"""Which engine runs the networks: the fastest one that the machine has."""

import logging
from typing import Final

import torch

from mssnet import Eager, Engine
from stream.compute import openvino
from stream.compute.cuda import Cuda, fused
from stream.compute.multi_device import Spread
from stream.errors import DeviceError, UsageError

_log = logging.getLogger(__name__)

ENGINES: Final = ("auto", "eager", "openvino", "cuda")
"""What `--engine` takes."""


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
    if name not in ENGINES:
        raise UsageError(f"unknown --engine {name}; use {', '.join(ENGINES)}")
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


def one_by_one(engine: Engine) -> Engine:
    """The same engine, for images of which each is waited for."""
    if isinstance(engine, Spread):
        engine = engine.engines[0]
    if isinstance(engine, Cuda):
        return Cuda(engine.device, engine.dtype, late=False)
    if isinstance(engine, openvino.OpenVino):
        return openvino.OpenVino(engine.dtype, threads=engine.threads, late=False)
    return engine
