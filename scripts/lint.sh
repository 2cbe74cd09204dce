#!/usr/bin/env bash
# Set-up, then what judges the code without running it: linters and the type checker.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/setup.sh" "[lint]"

.venv/bin/ruff check .
.venv/bin/ruff format --check --quiet .
.venv/bin/hadolint docker/Dockerfile
.venv/bin/mypy
