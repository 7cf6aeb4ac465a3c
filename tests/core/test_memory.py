"""What a process has taken, beside what it was given."""

import json
import subprocess
import sys

import numpy as np

from maquette.core.memory import available_bytes, peak_bytes

CHILD = "from maquette.core.memory import peak_bytes; print(peak_bytes())"


def test_the_peak_of_a_process_is_its_own_and_stays_when_memory_is_given_back():
    before = peak_bytes()
    block = np.ones(before + 200_000_000, dtype=np.uint8)
    held = peak_bytes()
    assert held >= before + 200_000_000
    child = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True)
    assert json.loads(child.stdout) < 150_000_000 < held, "a child does not begin with what its parent held"
    del block
    assert peak_bytes() > held - 1_000_000, "the kernel counts in batches"


def test_what_is_available_is_less_with_a_large_block():
    before = available_bytes()
    block = np.ones(1_000_000_000, dtype=np.uint8)
    assert available_bytes() < before - 5 * 10**8
    assert len(block) == 1_000_000_000
