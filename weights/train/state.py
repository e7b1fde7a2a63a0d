"""What a training run keeps on disk: its state, its weights and its log."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from weights.train.optimizer import Optimizer

STATE, WEIGHTS, LOG = "state.safetensors", "weights.safetensors", "log.jsonl"
_PIECES = "piece-*.safetensors"


class StateError(ValueError):
    """There is no state to go on with, or it belongs to another network."""


@dataclass
class Progress:
    """How far a run is."""

    step: int = 0
    seconds: float = 0.0
    """Time spent training, all sessions together."""
    phase: int = 0
    phase_step: int = 0
    """Steps done in this phase, which is where its stream of samples stands."""


def save(
    out: Path,
    net: nn.Module,
    mean: Mapping[str, Tensor],
    optimizer: Optimizer,
    window: Mapping[str, Tensor],
    progress: Progress,
) -> None:
    """Write the state to go on from and the averaged weights, each whole or not at all."""
    state = {f"net/{name}": tensor for name, tensor in net.state_dict().items()}
    state |= {f"mean/{name}": tensor for name, tensor in mean.items()}
    state |= {f"optimizer/{name}": tensor for name, tensor in optimizer.tensors().items()}
    state |= {f"window/{name}": tensor for name, tensor in window.items()}
    metadata = {name: json.dumps(value) for name, value in asdict(progress).items()}
    _write(
        out / STATE, {name: t.detach().cpu().contiguous() for name, t in state.items()}, metadata
    )
    half = {name: tensor.half().cpu().contiguous() for name, tensor in mean.items()}
    _write(out / WEIGHTS, half, None)


def save_pieces(
    out: Path, net: nn.Module, mean: Mapping[str, Tensor], progress: Progress, mib: int
) -> None:
    """Write what matters most of the state as files of at most `mib` MiB, for narrow transfers.

    Weights and averaged weights in half precision, without the optimizer's memory: a third of the
    state's size, from which a run goes on nearly as if it had not been interrupted.
    """
    state = {f"net/{name}": tensor for name, tensor in net.state_dict().items()}
    state |= {f"mean/{name}": tensor for name, tensor in mean.items()}
    pieces: list[dict[str, Tensor]] = [{}]
    room = budget = mib * 2**20 - 2**16  # the header of a file is smaller than that
    for name, tensor in state.items():
        half = tensor.detach().half().cpu().contiguous()
        if half.nbytes > room and pieces[-1]:
            pieces.append({})
            room = budget
        pieces[-1][name] = half
        room -= half.nbytes
    metadata = {name: json.dumps(value) for name, value in asdict(progress).items()}
    metadata["pieces"] = json.dumps(len(pieces))
    for index, piece in enumerate(pieces, 1):
        _write(out / f"piece-{index}.safetensors", piece, metadata)


def restore(
    run: Path, net: nn.Module, mean: dict[str, Tensor], optimizer: Optimizer
) -> tuple[Progress, dict[str, Tensor]]:
    """Bring all of it back to where `run` stood; returns the rest. Raises `StateError`."""
    whole = run / STATE
    files = [whole] if whole.is_file() else sorted(run.glob(_PIECES))
    if not files:
        raise StateError(f"there is no training run in {run} (no {STATE})")
    state: dict[str, Tensor] = {}
    try:
        for file in files:
            with safe_open(file, "pt") as opened:
                metadata = opened.metadata() or {}
            state |= load_file(file)
        facts = {name: json.loads(value) for name, value in metadata.items()}
        if facts.pop("pieces", 1) != len(files):
            raise ValueError(f"there are only {len(files)} of its pieces")
        progress = Progress(**facts)
        net.load_state_dict({n: t.float() for n, t in _part(state, "net/").items()})
        for name, tensor in _part(state, "mean/").items():
            mean[name].copy_(tensor)
        optimizer.load_tensors(_part(state, "optimizer/"))
    except (OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0].rstrip(":")
        raise StateError(f"cannot go on with {files[0]}: {reason}") from error
    return progress, _part(state, "window/")


def averaged(run: Path) -> dict[str, Tensor]:
    """The averaged weights of a run, in half precision, also if only its pieces are there."""
    try:
        if (run / WEIGHTS).is_file():
            return load_file(run / WEIGHTS)
        files = sorted(run.glob(_PIECES))
        tensors = {name: t for file in files for name, t in load_file(file).items()}
    except (OSError, SafetensorError) as error:
        raise StateError(f"cannot read the weights in {run}: {error}") from error
    if not files:
        raise StateError(f"there is no training run in {run} (no {WEIGHTS})")
    return _part(tensors, "mean/")


def begin_log(out: Path, step: int) -> None:
    """Drop the lines of a log that are later than `step`: those steps are done again."""
    file = out / LOG
    if file.exists():
        lines = file.read_text().splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        file.write_text("".join(kept))


def append_log(out: Path, row: Mapping[str, float]) -> None:
    """Add a line of figures to a run's log."""
    with (out / LOG).open("a") as file:
        file.write(json.dumps(row) + "\n")


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): tensor for n, tensor in state.items() if n.startswith(prefix)}


def _write(file: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None) -> None:
    part = file.with_suffix(".part")
    save_file(tensors, part, metadata)
    with part.open("rb") as written:
        os.fsync(written.fileno())
    part.replace(file)
