"""Worker processes that leave each other their cores."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor


def worker_pool(count: int) -> ProcessPoolExecutor:
    """A pool of processes in which NumPy and SciPy keep to one thread.

    Otherwise each process would start as many threads as there are cores, and they would wait for each other: two such
    workers on two cores took 3.5 times the CPU time of two quiet ones. Processes are spawned, because a forked child
    may inherit locks that the parent's threads hold.
    """
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, mp_context=spawn, initializer=_one_thread_each)


def _one_thread_each() -> None:
    # Only libraries that are loaded already can be limited.
    import numpy  # noqa: F401
    import scipy.linalg  # noqa: F401
    import threadpoolctl

    threadpoolctl.threadpool_limits(1)
