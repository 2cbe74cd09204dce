#!/usr/bin/env bash
# Set-up, then the tests. Arguments go to pytest.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/setup.sh" "[test]"

# Two files of tests at a time, each on one thread: their arrays are too small to share out.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
exec .venv/bin/python -m pytest -n 2 --dist loadfile "$@"
