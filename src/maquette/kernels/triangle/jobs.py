"""Jobs that share no output, spread over as many threads as torch uses. Numba's own loops compile ten times as long."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

_pool: ThreadPoolExecutor | None = None


def spread(kernel: Callable, jobs: int, *args: object) -> None:
    """Run `kernel(job, *args)` for every job. The kernel lets go of Python's lock."""
    global _pool
    queue = iter(range(jobs))  # its next() is atomic, so it deals out the jobs

    def work() -> None:
        for job in queue:
            kernel(job, *args)

    helpers = min(torch.get_num_threads(), jobs) - 1
    if helpers > 0 and _pool is None:
        _pool = ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="triangle")
    running = [_pool.submit(work) for _ in range(helpers)]
    work()
    for future in running:
        if not future.cancel():  # on a busy machine a helper may not have started, and now nothing is left for it
            future.result()
