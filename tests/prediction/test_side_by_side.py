"""Work done side by side: each worker on one thread."""

import os
import subprocess
import sys

_ASKED = """
from sklearn.utils._openmp_helpers import _openmp_effective_n_threads as n_threads
from app.prediction.side_by_side import side_by_side
with side_by_side(2) as pool:
    print(n_threads(), *pool.map(lambda _: n_threads(), range(4)))
"""


def test_each_worker_computes_on_one_thread_where_the_process_has_two() -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    told = subprocess.run([sys.executable, "-c", _ASKED], capture_output=True, text=True, check=True, env=environment)
    assert told.stdout.split() == ["2", "1", "1", "1", "1"]
