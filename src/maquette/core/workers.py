"""Threads for kernels that share no output. The kernels must let go of the interpreter's lock.

Plain threads instead of Numba's own parallel loops: those compile three times as long, divide the work before it is
known how long each part takes, and end the process if two threads of a program use them at once (without TBB or
OpenMP). As with torch itself, a forked child must keep to one thread.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch

_pool: ThreadPoolExecutor | None = None


def flat(tensor: torch.Tensor) -> np.ndarray:
    """The numbers of a tensor in one row, as the kernels take them; shared with the tensor if it is contiguous."""
    return tensor.detach().contiguous().view(-1).numpy()


def spread(kernel: Callable, jobs: int, *args: object) -> None:
    """Run `kernel(counter, *args)`, which takes its jobs from the shared counter, in no more threads than jobs."""
    _in_threads(partial(kernel, np.zeros(1, np.int64), *args), jobs)


def deal(kernel: Callable, jobs: int, *args: object) -> None:
    """Run `kernel(job, *args)` for every job."""
    queue = iter(range(jobs))  # its next() is atomic, so it deals out the jobs

    def work() -> None:
        for job in queue:
            kernel(job, *args)

    _in_threads(work, jobs)


def _in_threads(work: Callable[[], None], jobs: int) -> None:
    """Run `work` in as many threads as torch uses, but no more than there are jobs; this thread is one of them."""
    global _pool
    helpers = min(torch.get_num_threads(), jobs) - 1
    if helpers > 0 and _pool is None:
        _pool = ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="kernel")
    running = [_pool.submit(work) for _ in range(helpers)]
    work()
    for future in running:
        if not future.cancel():  # on a busy machine a helper may not have started, and now nothing is left for it
            future.result()
