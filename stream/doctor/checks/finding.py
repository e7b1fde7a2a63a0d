"""What was found out about the machine."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from stream.errors import DeblurError

State = Literal["ok", "none", "note", "missing", "failed"]
"""It works; it is not there, and nothing is wrong with that; it works, but something is to be known
about it; it is not there and would be of use; it is there, and does not work."""
Facts = dict[str, str | int | float | bool]
"""By name."""


@dataclass(frozen=True)
class Finding:
    """What was found out about one thing."""

    what: str
    """The thing, in a word or two."""
    state: State
    said: str = ""
    """What it is, or why it does not work, in one line."""
    todo: str = ""
    """What the user can do about it, in one line."""
    facts: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    """The same for programs; nothing in it that is not said."""

    def cleaned(self, clean: Callable[[str], str]) -> "Finding":
        """The same with every text as `clean` returns it."""
        facts = {
            key: clean(value) if isinstance(value, str) else value
            for key, value in self.facts.items()
        }
        return replace(
            self,
            what=clean(self.what),
            said=clean(self.said),
            todo=clean(self.todo),
            facts=facts,
        )


@dataclass(frozen=True)
class Group:
    """Findings that belong together."""

    name: str
    findings: tuple[Finding, ...]

    def find(self, what: str) -> Finding | None:
        """The finding about a thing."""
        return next((each for each in self.findings if each.what == what), None)

    def to_json(self) -> dict[str, Any]:
        """As it is printed by `--json`."""
        return asdict(self)


def attempt(
    what: str, check: Callable[[], Finding | Iterable[Finding]], todo: str = ""
) -> list[Finding]:
    """What a check finds; where it fails, that is the finding."""
    try:
        found = check()
        return [found] if isinstance(found, Finding) else list(found)
    except Exception as error:
        return [failed(what, error, todo)]


def failed(what: str, error: BaseException, todo: str = "") -> Finding:
    """The finding that an error is."""
    facts: Facts = {"exit_code": error.exit_code} if isinstance(error, DeblurError) else {}
    return Finding(what, "failed", reason(error), todo, facts)


def reason(error: BaseException) -> str:
    """What an error says, in one line."""
    text = " ".join((str(error).splitlines() or [""])[0].split())
    if isinstance(error, DeblurError) and text:
        return text
    kind = type(error).__name__
    return f"{kind}: {text}" if text else kind


def gigabytes(count: float) -> str:
    """Bytes, for people: in GB (10^9 bytes), or in MB where they are few."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
