#!/usr/bin/env bash
# Set-up, then the tests. Arguments go to pytest.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/setup.sh" "[test]"

# Two files of tests at a time, each on one thread: their arrays are too small to share out. In the order of their names:
# by their numbers of tests, long files of few tests would come last, one beside an idle processor.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
exec .venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder "$@"
