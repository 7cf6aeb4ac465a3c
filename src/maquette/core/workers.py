"""Threads for kernels that take jobs from a shared counter. The kernels must let go of the interpreter's lock.

Plain threads instead of Numba's own parallel loops: those compile three times as long, divide the work before it is
known how long each part takes, and end the process if two threads of a program use them at once (without TBB or
OpenMP). As with torch itself, a forked child must keep to one thread.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

_pool: ThreadPoolExecutor | None = None


def flat(tensor: torch.Tensor) -> np.ndarray:
    """The numbers of a tensor in one row, as the kernels take them; shared with the tensor if it is contiguous."""
    return tensor.detach().contiguous().view(-1).numpy()


def spread(kernel: Callable, jobs: int, *args: object) -> None:
    """Run `kernel(counter, *args)` in as many threads as torch uses, but no more than there are jobs."""
    global _pool
    counter = np.zeros(1, np.int64)
    helpers = min(torch.get_num_threads(), jobs) - 1
    if helpers > 0 and _pool is None:
        _pool = ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="splat")
    running = [_pool.submit(kernel, counter, *args) for _ in range(helpers)]
    kernel(counter, *args)
    for future in running:
        if not future.cancel():  # on a busy machine a helper may not have started, and now nothing is left for it
            future.result()
