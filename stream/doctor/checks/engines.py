"""What runs the networks: every engine is tried with the model that is shipped."""

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stream.doctor.checks.finding import Facts, Finding, failed, reason
from stream.errors import DeviceError, ModelError, UsageError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from mssnet import Deblurrer, Result

_MODEL = "lite"
_SIZE = 128, 96
"""Width and height of the image."""
_TIMED_S = 0.25
_MOST = 32
_ALIKE_DB = 40.0
"""PSNR against PyTorch in float32; rounding in half precision leaves it well above."""


@dataclass(frozen=True)
class _Tried:
    engine: str
    device: str
    precision: str
    ms: float
    psnr_db: float | None

    @property
    def said(self) -> str:
        alike = f", {self.psnr_db:.0f} dB against float32" if self.psnr_db is not None else ""
        size = f"{_SIZE[0]}x{_SIZE[1]}" + ("" if self.device == "cpu" else ", one at a time")
        return f"{self.precision} on {self.device}: {self.ms:.1f} ms for {size}{alike}"

    @property
    def facts(self) -> Facts:
        facts: Facts = {
            "engine": self.engine,
            "device": self.device,
            "precision": self.precision,
            "ms": round(self.ms, 3),
        }
        return facts | ({"psnr_db": round(self.psnr_db, 1)} if self.psnr_db is not None else {})


def look() -> list[Finding]:
    """Each engine's speed and how near it is to PyTorch in float32; and which one is taken."""
    from stream.compute.models import choose_device, load_model
    from stream.options.settings import ENGINES

    image = _image()
    try:
        plain = load_model(_MODEL, device="cpu", precision="float32", engine="eager")
        exact = plain(image)
    except ModelError as error:
        # Nothing could be tried with it, and all would say the same.
        return [failed("model", error)]
    except Exception as error:
        exact, found = None, [failed("reference", error)]
    else:
        one = _try(plain, image, None)
        found = [Finding("reference", "ok", f"{one.said}, by PyTorch", facts=one.facts)]
    try:
        device = choose_device("auto").type
    except Exception as error:
        device = "cpu"
        found.append(failed("device", error))
    tried: list[_Tried] = []
    for name in ENGINES:
        if name != "auto":
            found.append(_engine(name, device, image, exact, tried))
    return [*found, _auto(device, image, exact, tried)]


def _engine(
    name: str, device: str, image: "Tensor", exact: "Tensor | None", tried: list[_Tried]
) -> Finding:
    """What becomes of an engine where `auto` works, or on the CPU where it cannot work there."""
    try:
        try:
            restore = _load(device, name)
        except UsageError:
            if device == "cpu":
                raise
            restore = _load("cpu", name)
        one = _try(restore, image, exact)
    except UsageError as error:
        return Finding(name, "none", reason(error))
    except DeviceError as error:
        return Finding(name, "missing", *_split(reason(error)))
    except Exception as error:
        return failed(name, error)
    tried.append(one)
    return _judged(name, one)


def _auto(device: str, image: "Tensor", exact: "Tensor | None", tried: list[_Tried]) -> Finding:
    """What a run without options takes."""
    others = [one for one in tried if one.psnr_db is None or one.psnr_db >= _ALIKE_DB]
    try:
        restore = _load(device)
        there = (restore.engine.name, _device(restore), _precision(restore.dtype))
        known = {(one.engine, one.device, one.precision): one for one in tried}
        one = known[there] if there in known else _try(restore, image, exact)
    except Exception as error:
        use = others[0] if others else None
        todo = f"use --engine {use.engine} --device {use.device}" if use else ""
        if not use and exact is not None:
            todo = "use --engine eager --device cpu --precision float32"
        return failed("auto", error, todo)
    judged = _judged("auto", one)
    if judged.state == "failed":
        return judged
    slower = [other for other in others if other is not one and other.ms >= one.ms]
    faster = [other for other in others if other is not one and other.ms < one.ms]
    why = f"takes {one.engine} in {one.precision} on {one.device}"
    if slower and not faster:
        why += ", the fastest here"
    elif faster:
        why += f" ({faster[0].engine} was faster with this small image)"
    return Finding("auto", "ok", why, facts=judged.facts)


def _load(device: str, engine: str = "auto") -> "Deblurrer":
    """The model as a run has it; on a GPU as a live feed has it: compiling may take a minute."""
    from stream.compute.models import load_model

    return load_model(_MODEL, device=device, engine=engine, late=device == "cpu")


def _judged(name: str, one: _Tried) -> Finding:
    if one.psnr_db is not None and not one.psnr_db >= _ALIKE_DB:
        todo = f"use another --engine, or --precision float32; please report this ({one.engine})"
        return Finding(name, "failed", f"{one.said}: the result is wrong", todo, one.facts)
    return Finding(name, "ok", one.said, facts=one.facts)


def _try(restore: "Deblurrer", image: "Tensor", exact: "Tensor | None") -> _Tried:
    """Restore the image again and again, with as many begun at once as the engine likes."""
    import torch

    image = image.to(restore.device)
    made = restore(image)  # the first one compiles
    begun, count = time.perf_counter(), 0
    under_way: deque[Result] = deque()
    while count < _MOST and time.perf_counter() - begun < _TIMED_S:
        under_way.append(restore.submit(image))
        count += 1
        while len(under_way) >= restore.engine.in_flight:
            under_way.popleft()()
    while under_way:
        under_way.popleft()()
    if restore.device.type == "cuda":
        torch.cuda.synchronize(restore.device)
    taken = (time.perf_counter() - begun) / count
    psnr = None
    if exact is not None:
        apart = (made.cpu() - exact).double().square().mean()
        psnr = float(-10 * torch.log10(apart.clamp(min=1e-12)))
    return _Tried(
        restore.engine.name, _device(restore), _precision(restore.dtype), taken * 1e3, psnr
    )


def _image() -> "Tensor":
    """A soft picture with edges in it, (1, 3, H, W)."""
    import torch
    import torch.nn.functional as F

    width, height = _SIZE
    noise = torch.rand(1, 3, height // 8, width // 8, generator=torch.Generator().manual_seed(1))
    return F.interpolate(noise, (height, width), mode="bilinear")


def _device(restore: "Deblurrer") -> str:
    return str(restore.device.type)


def _precision(dtype: "torch.dtype") -> str:
    return str(dtype).removeprefix("torch.")


def _split(text: str) -> tuple[str, str]:
    """What is wrong, and what to do about it, as errors say both."""
    wrong, _, todo = text.partition("; ")
    return wrong, todo
