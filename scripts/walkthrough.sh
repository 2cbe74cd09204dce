#!/usr/bin/env bash
# Runs pseudolidar/case_study/WALKTHROUGH.md anew and writes its outputs and pictures: two minutes on two cores.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

# Small networks, a machine that does other things: one thread is as fast as two, and takes a quarter of the time of both.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
exec .venv/bin/python -m tests.readme.walkthrough
