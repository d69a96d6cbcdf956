"""Evaluators. Each module writes `benchmarks/results/NAME.json` and `NAME.md`; `--check` compares with its bars."""
