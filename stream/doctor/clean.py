"""Takes out of texts what is nobody's business: people paste them in public places."""

import getpass
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from stream.secrets import HIDDEN, Secrets

_SECRET = re.compile(r"(?i)token|pass|pwd|secret|key|auth|credential|login")
"""In the names of environment variables whose values are not to be seen."""
_SHORTEST_NAME, _SHORTEST_VALUE = 3, 6
"""Characters of user names and of values; shorter ones would blot out half of every line."""


def cleaner(environment: Mapping[str, str] = os.environ) -> Callable[[str], str]:
    """What makes a text fit to be shown.

    Home folders become `~`. The user's name, passwords in addresses, and the values of variables
    that look like secrets or hold an address become stars. Texts become one line.
    """
    homes = {environment.get("HOME", ""), environment.get("USERPROFILE", "")}
    with suppress(RuntimeError, OSError):
        homes |= {str(Path.home()), str(Path.home().resolve())}
    users = {environment.get(name, "") for name in ("USER", "LOGNAME", "USERNAME")}
    # Nothing of these in a container whose user has no entry in the list of users.
    with suppress(OSError, KeyError, ImportError):
        users.add(getpass.getuser())
    values = {value for name, value in environment.items() if _SECRET.search(name)}
    # A file is no secret, and its name may be what the user has to know. (Path's raises for some.)
    files = {each for each in values if os.path.exists(each)}  # noqa: PTH110
    values = {each for each in values - files if len(each) >= _SHORTEST_VALUE}
    addresses = {value for value in environment.values() if "://" in value}
    secrets = Secrets(addresses, values | addresses)
    paths = sorted((home for home in homes if len(home) > 1), key=len, reverse=True)
    names = [re.escape(user) for user in users if len(user) >= _SHORTEST_NAME]
    in_path = re.compile(rf"(?<=[/\\])({'|'.join(names)})(?=[/\\]|$)") if names else None
    own = [re.compile(rf"{re.escape(path)}(?![\w.-])") for path in paths]

    def clean(text: str) -> str:
        text = " ".join(secrets.hide(text).split())
        for home in own:
            text = home.sub("~", text)
        return in_path.sub(HIDDEN, text) if in_path else text

    return clean
