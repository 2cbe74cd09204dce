#!/usr/bin/env bash
# Set-up, then what judges the code without running it: linters, the type checker, schemas of files for others.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/setup.sh" "[lint]"

.venv/bin/ruff check .
.venv/bin/ruff format --check --quiet .
.venv/bin/hadolint docker/Dockerfile
.venv/bin/mypy
.venv/bin/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff
.venv/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
.venv/bin/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/*.yml
