"""Which engine runs the networks: the fastest one that the machine has."""

import logging
from typing import Final

import torch

from mssnet import Eager, Engine
from stream import openvino
from stream.cuda import Cuda, fused
from stream.errors import DeviceError, UsageError

_log = logging.getLogger(__name__)

ENGINES: Final = ("auto", "eager", "openvino", "cuda")
"""What `--engine` takes."""


def choose_engine(
    name: str,
    device: torch.device,
    dtype: torch.dtype,
    *,
    one_by_one: bool = False,
    measure: bool = False,
) -> Engine:
    """The engine called `name`, or the fastest one here. Raises `DeviceError` or `UsageError`.

    `one_by_one`: images come one at a time, and none of them shall be late. `measure`: instead of
    `dtype` a GPU may compute in the kind of half precision that suits the network better.
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
        fuse = fused if name == "cuda" and not one_by_one else None
        return Cuda(device, dtype, late=not one_by_one, measure=measure, fuse=fuse)
    usual = device.type == "cpu" and dtype != torch.float16 and openvino.available()
    if name == "openvino" or (name == "auto" and usual):
        return openvino.OpenVino(dtype, one_by_one=one_by_one)
    return Eager(device, dtype)
