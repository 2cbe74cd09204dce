#!/usr/bin/env bash
# Set-up, then the linter, the type checker and the tests. Arguments go to pytest.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/setup.sh" "[test]"

.venv/bin/ruff check .
.venv/bin/ruff format --check --quiet .
.venv/bin/mypy
# Two files of tests at a time, each on one thread: their arrays are too small to share out.
OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n 2 --dist loadfile "$@"
