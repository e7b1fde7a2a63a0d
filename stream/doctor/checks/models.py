"""The models on this machine, and whether they are what they should be."""

from functools import partial

from stream.doctor.checks.finding import Finding, attempt


def look() -> list[Finding]:
    """Every checkpoint, after its size and SHA-256 were compared with the pinned ones."""
    import weights

    try:
        known = weights.checkpoints()
    except weights.WeightsError as error:
        return [_broken("list", error)]
    found = []
    for checkpoint in known:
        found += attempt(checkpoint.name, partial(_one, checkpoint.name))
    return found


def _one(name: str) -> Finding:
    import weights

    try:
        weights.path(name)
    except weights.WeightsError as error:
        return _broken(name, error)
    checkpoint = next(each for each in weights.checkpoints() if each.name == name)
    size = f"{checkpoint.bytes / 1e6:.1f} MB"
    origin = "shipped" if checkpoint.shipped else "imported"
    said = f"{checkpoint.preset}, {size}, {origin}; SHA-256 {checkpoint.sha256[:12]} verified"
    return Finding(name, "ok", said, facts={"sha256": checkpoint.sha256, "bytes": checkpoint.bytes})


def _broken(what: str, error: Exception) -> Finding:
    from stream.errors import ModelError

    wrong, _, todo = str(error).rpartition("; ")
    return Finding(what, "failed", wrong or str(error), todo, {"exit_code": ModelError.exit_code})
