"""Evaluators. Each module writes `benchmarks/results/NAME.json` and `NAME.md`; `--check` compares with its bars."""

import os

# As on a node, see scripts/cli.py: before NumPy is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
