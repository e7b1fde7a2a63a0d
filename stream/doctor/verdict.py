"""What follows from the findings: what a run will use, and whether it can work at all."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from stream.doctor.checks.finding import Finding, Group
from stream.errors import DeviceError, ModelError

_MODEL = "lite"


@dataclass(frozen=True)
class Verdict:
    """The last line, and the exit code."""

    said: str
    exit_code: int = 0
    use: dict[str, Any] = field(default_factory=dict)
    """Engine, device, precision, cores and encoder, as far as they are known."""

    @classmethod
    def of(cls, groups: Iterable[Group]) -> "Verdict":
        """What all groups together mean."""
        named = {group.name: group for group in groups}
        engine = _working(named, "engines")
        if engine is None:
            return cls._none(named)
        encoder = _working(named, "encoding")
        if encoder is None:
            return cls("cannot work: no encoder works here", DeviceError.exit_code)
        if "decoding" in named and not any(
            each.state == "ok" for each in named["decoding"].findings
        ):
            return cls("cannot work: no decoder works here", DeviceError.exit_code)
        return cls._some(named, engine, encoder)

    @classmethod
    def _none(cls, named: dict[str, Group]) -> "Verdict":
        """Nothing runs the model, which may be its own fault."""
        model = named["models"].find(_MODEL) or named["models"].find("list")
        if model is not None and model.facts.get("exit_code") == ModelError.exit_code:
            todo = f"; {model.todo}" if model.todo else ""
            return cls(f"cannot work: {model.said}{todo}", ModelError.exit_code)
        why = named["engines"].findings[-1]
        return cls(f"cannot work: nothing runs the networks: {why.said}", DeviceError.exit_code)

    @classmethod
    def _some(cls, named: dict[str, Group], engine: Finding, encoder: Finding) -> "Verdict":
        use = {name: engine.facts[name] for name in ("engine", "device", "precision")}
        parts = [str(use["engine"]), str(use["precision"])]
        cores = named["processor"].find("cores")
        if use["device"] == "cpu" and cores is not None and "threads" in cores.facts:
            use["cores"] = cores.facts["threads"]
            parts.append(f"{use['cores']} {'core' if use['cores'] == 1 else 'cores'}")
        elif use["device"] != "cpu":
            gpu = named["graphics"].find("cuda:0")
            name = gpu.facts.get("name") if gpu is not None else None
            parts.append(f"{name} ({use['device']})" if name else str(use["device"]))
        use["encoder"] = encoder.facts.get("encoder", encoder.what)
        said = f"will use: {', '.join(parts)}; {encoder.said} by {use['encoder']}"
        if encoder.what == "auto":
            said = f"will use: {', '.join(parts)}; {encoder.said}"
        asked = [
            auto.todo
            for group in ("engines", "encoding")
            if (auto := named[group].find("auto")) is not None and auto.state != "ok" and auto.todo
        ]
        return cls("; but ".join([said, *asked]), 0, use)


def _working(named: dict[str, Group], name: str) -> Finding | None:
    """What is taken without being asked for, else the first one that works."""
    group = named[name]
    works = [each for each in group.findings if each.state == "ok"]
    order = {"auto": 0, "reference": 2}
    return min(works, key=lambda each: order.get(each.what, 1), default=None)
