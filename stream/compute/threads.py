"""Who gets the cores of a CPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from mssnet import Engine


@contextmanager
def shared(engine: Engine, *, enlarges: bool = False) -> Iterator[None]:
    """While a pipeline runs: cores for the network first, as `engine` has it, then for the rest.

    An engine with several images under way keeps all cores busy by itself. PyTorch's operations
    around it are short, and would wait longer for each other's threads to get a core than one
    thread takes for all of the work; a third of the cores is as many as they can use. Not so where
    a job `enlarges`: that is most of its work, and done frame by frame by all cores.
    """
    before = torch.get_num_threads()
    if engine.device.type != "cpu" or engine.in_flight == 1 or enlarges:
        yield
        return
    # Threads that are begun from here on, as those of a pipeline's stages are, take it over.
    torch.set_num_threads(max(1, before // 3))
    try:
        yield
    finally:
        torch.set_num_threads(before)
