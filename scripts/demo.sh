#!/usr/bin/env bash
# Set-up; then a pair of a synthetic town, of a seed that no model has seen, to boxes and a picture, by the weights that
# come with the package; then the main job: a smaller town, two disparity models, the detectors behind them, the paper's
# tables and a report. What is finished is not made again. Arguments are settings of the study, e.g. seed=1.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

town=outputs/pair/town
.venv/bin/pseudolidar make_town output="$town" preset=full train=1 val=0 seed=12 overwrite=true
.venv/bin/pseudolidar detect left="$town/training/image_2/000000.png" right="$town/training/image_3/000000.png" \
    calib="$town/training/calib/000000.txt" output=outputs/pair/detections overwrite=true

exec .venv/bin/pseudolidar study experiment=demo "$@"
