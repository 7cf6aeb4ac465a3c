"""Kernels must leave torch's number of threads alone: in a process of its own, because OpenMP starts but once."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import torch
from maquette.kernels.density import evaluate

torch.set_num_threads({threads})
one = torch.ones(1)
evaluate(torch.zeros(1, 3), torch.tensor([[1.0, 0, 0, 0]]), torch.ones(1, 3), one, origin=torch.zeros(3), step=0.1,
         shape=(4, 4, 4))
print(torch.get_num_threads())
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_a_parallel_loop_leaves_torch_its_threads(threads):
    env = {**os.environ, "NUMBA_NUM_THREADS": "2"}
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(threads=threads)], env=env, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == [str(threads)]
