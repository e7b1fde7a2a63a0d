"""What makes a job this one and no other."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import av
import torch

import mssnet
from filters import Shutter
from stream.compute.models import fingerprint, usual_upscaler
from stream.input.source import Source
from stream.options.settings import Settings
from stream.output.segment_sink import Plan
from stream.paths import identity


def describe(
    source: Source,
    chosen: Plan,
    settings: Settings,
    restore: mssnet.Deblurrer,
    shutter: Shutter | None,
) -> dict[str, Any]:
    """What makes a job this one: work of a job with anything else here cannot be gone on with."""
    enlarged = None
    if settings.upscale is not None:
        enlarged = [*chosen.size, fingerprint(usual_upscaler(settings.upscaler, restore.device))]
    return {
        "input": identity(source.path),
        "model": fingerprint(settings.model),
        "shutter": shutter.share if shutter else None,
        "motion": [settings.motion, settings.fov, settings.readout],
        "strength": settings.strength,
        "fuse": [settings.fuse, settings.smoothing] if settings.passes else None,
        "stabilize": settings.crop if settings.stabilize else None,
        "upscale": enlarged,
        "device": restore.device.type,
        "precision": str(restore.dtype).removeprefix("torch."),
        "engine": restore.engine.name,
        "tile": restore.tile,
        "decoder": source.decoding.where,
        "start": settings.span.start,
        "duration": settings.span.duration,
        "deinterlace": source.info.deinterlaced and settings.deinterlace,
        "rotation": source.info.turned,
        "encoder": [chosen.encoder.name, *map(list, sorted(chosen.options.items()))],
        "format": [str(source.time_base), asdict(chosen.coding)["depth"], *source.size],
        "alpha": source.coding.alpha,
        "segment": chosen.segment,
        "versions": [av.__version__, torch.__version__],
    }


def asked_for(input: Path, settings: Settings) -> dict[str, Any]:
    """What an output is made of and how, by the names of the options: another one is another
    output. What works how fast, and where, is left out."""
    encoder, span = settings.encoder, settings.span
    return {
        "input": identity(input),
        "model": fingerprint(settings.model),
        "shutter": str(settings.shutter),
        "motion": settings.motion,
        "fov": settings.fov,
        "readout": settings.readout,
        "strength": settings.strength,
        "fuse": settings.fuse,
        "smooth": settings.smoothing,
        "stabilize": settings.stabilize,
        "crop": settings.crop if settings.stabilize else None,
        "upscale": str(settings.upscale),
        "upscaler": fingerprint(settings.upscaler) if settings.upscale is not None else None,
        "start": span.start,
        "duration": span.duration,
        "deinterlace": settings.deinterlace,
        "apply-rotation": settings.apply_rotation,
        "drop": sorted(settings.drop),
        "codec": encoder.codec,
        "quality": encoder.quality,
        "encoder-preset": encoder.preset,
        "encoder": encoder.encoder,
    }
