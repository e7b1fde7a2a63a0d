"""`deblur` as a filter of VapourSynth.

from stream.vapoursynth import deblur

clip = deblur(clip, fuse=3, upscale=3)
"""

import logging
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any, Literal

import numpy as np

from filters import Enlarger, Shutter
from stream.compute.models import Passthrough, find_upscaler, load_for
from stream.errors import DeblurError, UsageError
from stream.files.restorer import cores_for
from stream.frame import Frame
from stream.options.exposure import Exposure
from stream.options.restore import AUTO
from stream.options.scale import Scale
from stream.options.settings import Settings
from stream.stages.build import asks_shutter, stages_of
from stream.stages.shutter import share_of, starts_of
from stream.vapoursynth.planes import Form, begins_scene
from stream.vapoursynth.random_access import RandomAccess

__all__ = ["deblur"]


def deblur(  # noqa: PLR0913 (its keywords are its interface)
    clip: Any,
    *,
    model: str = AUTO,
    strength: float | Literal["auto"] = 1.0,
    fuse: int = 3,
    smooth: float | None = None,
    shutter: str = "auto",
    upscale: float | str | None = None,
    upscaler: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    engine: str = "auto",
    tile: int | None = None,
) -> Any:
    """A clip whose frames are restored, in whatever order they are asked for.

    `clip` is a `vapoursynth.VideoNode` of YUV, gray or RGB, 8 to 16 bits or floating point. The
    options are those of `deblur run`, and so are the pictures. Raises `vapoursynth.Error`.
    """
    import vapoursynth as vs

    try:
        settings = Settings(
            model=model,
            strength=strength,
            fuse=fuse,
            smooth=smooth,
            shutter=Exposure(shutter),
            upscale=None if upscale is None else Scale.parse(str(upscale)),
            upscaler=upscaler,
            device=device,
            precision=precision,
            engine=engine,
            tile=tile,
        )
        return _Filter(clip, settings).clip
    except DeblurError as error:
        raise vs.Error(f"deblur: {error}") from error


class _Filter:
    """The filter for one clip."""

    def __init__(self, clip: Any, settings: Settings) -> None:
        import vapoursynth as vs

        # vspipe shows all that anybody logs, and OpenVINO logs whole networks.
        logging.getLogger("openvino").setLevel(logging.INFO)
        self._source = clip
        first = clip.get_frame(0)
        self._form = Form(clip, first.props)
        settings = settings.settled()
        restore = load_for(settings)
        size, coding = (clip.width, clip.height), self._form.coding
        enlarge = None
        if settings.upscale is not None:
            size = settings.upscale.of(size, even=coding.subsampling != (1, 1))
        if size != (clip.width, clip.height):
            enlarge = Enlarger(size, find_upscaler(settings.upscaler, restore.engine))
        self._network, self._enlarge = restore, enlarge
        shutter = None
        if asks_shutter(settings, restore):
            shutter = Shutter(share=self._share(settings.shutter, first))
        self._restored = RandomAccess(
            lambda: stages_of(settings, restore, enlarge, {}, shutter=shutter).values(),
            clip.num_frames,
            reach=settings.reach,
            in_flight=1 if isinstance(restore, Passthrough) else restore.engine.in_flight,
            least_kept=vs.core.num_threads,
        )
        # One for all: each of VapourSynth's would begin threads of PyTorch's of its own.
        self._worker = ThreadPoolExecutor(1, "vapoursynth-deblur")
        shape = vs.core.std.BlankClip(clip, width=size[0], height=size[1], keep=True)
        around = range(-self._restored.before, self._restored.after + 1)
        clips = [shape, *(_shifted(clip, by) for by in around)]
        self.clip = vs.core.std.ModifyFrame(shape, clips, self._selected)

    def _selected(self, n: int, f: list[Any]) -> Any:
        """What VapourSynth calls: the frame that is asked for, of those that it was given."""
        return self._worker.submit(self._made, n, f[0], f[1:]).result()

    def _made(self, number: int, shape: Any, window: list[Any]) -> Any:
        first = number - self._restored.before
        with cores_for(self._network, self._enlarge):
            restored = self._restored.frame(
                number, lambda each: self._given(each, window, each - first)
            )
        own = window[number - first]
        enlarged = (shape.width, shape.height) != (own.width, own.height)
        made = shape.copy() if enlarged else own.copy()
        if enlarged:
            made.props.clear()
            made.props.update(own.props)
        planes = [np.asarray(own[plane]) for plane in range(own.format.num_planes)]
        for plane, samples in enumerate(self._form.samples(restored, planes)):
            np.copyto(np.asarray(made[plane]), samples)
        return made

    def _given(self, number: int, window: list[Any], place: int) -> Frame:
        given = window[place]
        before = window[place - 1].props if number and place else None
        planes = [np.asarray(given[plane]) for plane in range(given.format.num_planes)]
        return self._form.frame(planes, number, cut=begins_scene(given.props, before))

    def _share(self, exposure: Exposure, first: Any) -> float:
        """For how long the shutter was open, as a job finds out for files."""
        clip = self._source
        if exposure.auto:
            return round(share_of(map(self._spot, starts_of(clip.num_frames))), 3)
        rate = clip.fps
        if not rate:
            props = first.props
            if not ("_DurationNum" in props and "_DurationDen" in props):
                raise UsageError(
                    f"the clip has no frame rate, so that a shutter of {exposure} says nothing; "
                    "use std.AssumeFPS, or an angle such as 180deg"
                )
            rate = Fraction(int(props["_DurationDen"]), int(props["_DurationNum"]))
        return exposure.share(Fraction(rate))

    def _spot(self, begin: int) -> list[Frame]:
        """Three frames that follow one another."""
        window = list(self._source[begin : begin + 3].frames())
        return [self._given(begin + place, window, place) for place in range(len(window))]


def _shifted(clip: Any, by: int) -> Any:
    """The clip with frame number n + `by` at n, as far as there is one."""
    by = max(-clip.num_frames + 1, min(by, clip.num_frames - 1))
    if by < 0:
        return clip[0] * -by + clip[:by]
    return clip[by:] + clip[-1] * by if by else clip
