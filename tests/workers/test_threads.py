from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from threadpoolctl import threadpool_info

COUNT = """
import importlib, json, sys
importlib.import_module(sys.argv[1])
import cv2, numpy, scipy.linalg
from threadpoolctl import threadpool_info
print(json.dumps([pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]))
"""


@pytest.mark.parametrize("entry", ["workers.app", "scripts.cli"])
def test_a_node_has_one_blas_thread_however_it_is_started(entry: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    done = subprocess.run([sys.executable, "-c", COUNT, entry], env=environment, capture_output=True, check=True)
    counts = json.loads(done.stdout)
    assert counts and set(counts) == {1}


def test_so_has_the_process_of_these_tests() -> None:
    import cv2  # noqa: F401
    import scipy.linalg  # noqa: F401

    assert {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"} == {1}
