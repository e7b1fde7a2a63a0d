"""Who gets the cores of a CPU."""

import threading

import pytest
import torch

from mssnet import Eager
from stream.compute import openvino
from stream.compute.threads import shared

needs_openvino = pytest.mark.skipif(not openvino.available(), reason="OpenVINO is not installed")


def in_a_thread() -> int:
    """How many threads PyTorch has in a thread that begins now."""
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]


@needs_openvino
@pytest.mark.parametrize(("cores", "left"), [(1, 1), (2, 1), (6, 2)])
def test_the_network_gets_the_cores(cores: int, left: int) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(cores)
        engine = openvino.OpenVino(torch.float32)
        with shared(engine):
            assert (in_a_thread(), engine.threads) == (left, cores)
        assert in_a_thread() == torch.get_num_threads() == cores
    finally:
        torch.set_num_threads(before)


@needs_openvino
def test_what_needs_the_cores_itself_keeps_them() -> None:
    before = torch.get_num_threads()
    late = openvino.OpenVino(torch.float32)
    at_once = openvino.OpenVino(torch.float32, late=False)
    try:
        torch.set_num_threads(4)
        for sharing in (shared(Eager()), shared(at_once), shared(late, enlarges=True)):
            with sharing:
                assert in_a_thread() == 4
    finally:
        torch.set_num_threads(before)
