"""Which engine runs the networks: the fastest one that the machine has."""

import logging
from typing import Final

import torch

from mssnet import Eager, Engine
from stream import openvino
from stream.errors import DeviceError, UsageError

_log = logging.getLogger(__name__)

ENGINES: Final = ("auto", "eager", "openvino")
"""What `--engine` takes."""


def choose_engine(
    name: str, device: torch.device, dtype: torch.dtype, *, late: bool = True
) -> Engine:
    """The engine called `name`, or the fastest one here. Raises `DeviceError` or `UsageError`.

    `late`: images may be late if only many are done in a time; else they come one at a time.
    """
    if name not in ENGINES:
        raise UsageError(f"unknown --engine {name}; use {', '.join(ENGINES)}")
    if name == "openvino" and device.type != "cpu":
        raise UsageError("--engine openvino runs on the CPU; use --device cpu")
    if name == "openvino" and dtype == torch.float16:
        raise UsageError("--engine openvino takes --precision float32 or bfloat16")
    if name == "openvino" and not openvino.available():
        raise DeviceError("OpenVINO is not installed; use pip install openvino, or --engine eager")
    usual = device.type == "cpu" and dtype != torch.float16 and openvino.available()
    if name == "openvino" or (name == "auto" and usual):
        return openvino.OpenVino(dtype, late=late)
    return Eager(device, dtype)


def one_by_one(engine: Engine) -> Engine:
    """The same engine, for images of which each is waited for."""
    if isinstance(engine, openvino.OpenVino):
        return openvino.OpenVino(engine.dtype, threads=engine.threads, late=False)
    return engine
