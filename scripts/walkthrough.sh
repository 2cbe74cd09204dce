#!/usr/bin/env bash
# Runs pseudolidar/case_study/WALKTHROUGH.md anew and writes its outputs and pictures: two minutes on two cores.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

exec .venv/bin/python -m tests.readme.walkthrough
