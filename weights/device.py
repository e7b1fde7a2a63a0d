"""The device that training and evaluation run on."""

import torch


def choose(name: str) -> torch.device:
    """The device for `auto` (the GPU if there is one), `cpu` or `cuda`; raises `ValueError`."""
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"unknown device {name}; use auto, cpu or cuda")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("no usable GPU here; use --device cpu")
    return torch.device(name)
