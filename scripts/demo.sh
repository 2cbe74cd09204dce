#!/usr/bin/env bash
# Set-up, then the main job: a synthetic town, two disparity models, the detectors behind them, the paper's tables and
# a report. Arguments are settings of scripts/study.py, e.g. seed=1.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

exec .venv/bin/python scripts/study.py experiment=demo "$@"
