"""Worker processes: results come back in order, and each keeps to one thread."""

import math
import os

import pytest
from threadpoolctl import threadpool_info

from reg2rg.workers import worker_pool


def test_results_come_back_from_processes_of_one_thread_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Functions of installed packages, since a spawned process cannot import this file."""
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")  # what NumPy would take, whatever the tests run under
    with worker_pool(1) as pool:
        assert list(pool.map(math.factorial, [3, 0, 5])) == [6, 1, 120]
        assert pool.submit(os.getpid).result() != os.getpid()
        pools = pool.submit(threadpool_info).result()
        assert pools, "NumPy's own threads are there to be limited"
        assert {library["num_threads"] for library in pools} == {1}
        with pytest.raises(ZeroDivisionError):
            pool.submit(divmod, 1, 0).result()
