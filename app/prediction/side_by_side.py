"""Several computations at a time, each on one thread."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

from threadpoolctl import threadpool_limits


def side_by_side(threads: int) -> ThreadPoolExecutor:
    """Workers that compute by themselves, whatever is set where they are asked for.

    OpenMP counts the threads of each thread apart: a new one would take every core, and several would spin against
    each other.
    """
    return ThreadPoolExecutor(max_workers=threads, initializer=partial(threadpool_limits, 1, user_api="openmp"))
