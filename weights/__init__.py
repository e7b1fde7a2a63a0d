"""Checkpoints: which there are, where they lie, and whether they are what they should be.

Shipped checkpoints lie beside this file and are pinned in `manifest.json`; those that a user
imports lie in the user's data folder, each beside a small JSON file with its hash. All are
safetensors: nothing is ever unpickled here.
"""

from weights.store import (
    Checkpoint,
    WeightsError,
    add,
    check_name,
    checkpoints,
    folder,
    path,
    sha256,
)

__all__ = [
    "Checkpoint",
    "WeightsError",
    "add",
    "check_name",
    "checkpoints",
    "folder",
    "path",
    "sha256",
]
