"""What a job may ask of `deblur run`."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

# A path would have files read that a request names.
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
_Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$")]
_Moment = Annotated[str, Field(pattern=r"^(f[0-9]{1,12}|[0-9:.]{1,16}(s|ms|us)?)$")]
_Share = Annotated[float, Field(ge=0, le=1)]


class Options(BaseModel):
    """Options of `deblur run` that a job may have; those left out are the service's."""

    model_config = ConfigDict(extra="forbid", strict=True, title="Options")

    preset: _Name | None = None
    model: _Name | None = None
    fuse: Annotated[int, Field(ge=0, le=5)] | None = None
    strength: _Share | Literal["auto"] | None = None
    smooth: _Share | None = None
    shutter: Annotated[str, Field(pattern=r"^(auto|[0-9./]{1,16}|[0-9.]{1,8}deg)$")] | None = None
    stabilize: bool | None = None
    crop: Annotated[float, Field(ge=0, le=0.5)] | None = None
    upscale: Annotated[str, Field(pattern=r"^[0-9.x]{1,16}p?$")] | None = None
    upscaler: _Name | None = None
    codec: _Word | None = None
    encoder: _Word | None = None
    quality: Annotated[int, Field(ge=0, le=255)] | None = None
    encoder_preset: _Word | None = None
    start: _Moment | None = None
    end: _Moment | None = None
    duration: Annotated[str, Field(pattern=r"^[0-9:.]{1,16}(s|ms|us)?$")] | None = None
    deinterlace: Literal["auto", "on", "off"] | None = None
    apply_rotation: bool | None = None
    drop: list[Literal["audio", "subtitle", "data", "attachment", "video"]] | None = None

    def words(self) -> list[str]:
        """As they are written on the command line."""
        words = []
        for name, value in self.model_dump(exclude_none=True).items():
            option = f"--{name.replace('_', '-')}"
            if value is True:
                words.append(option)
            elif value is not False:
                values = value if isinstance(value, list) else [value]
                words += [f"{option}={each}" for each in values]
        return words
