# Sourced by demo.sh, test.sh and lint.sh: makes .venv if missing and installs the project into it, once per pyproject.toml.
# Argument: the extras to install, e.g. "[test]".
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
extras="${1:-}"
stamp=".venv/.installed$(tr -c '[:alnum:]\n' '_' <<<"$extras")"

if [ ! -x .venv/bin/python ]; then
    python="${PYTHON:-python3}"
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        echo "pseudolidar needs Python 3.11 or newer; $python is $("$python" --version 2>&1). Set PYTHON=/path/to/python3.11." >&2
        exit 2
    fi
    echo "Making .venv"
    # Debian ships venv without its bundled pip (package python3-venv); the system's own pip can put one in.
    if ! "$python" -m venv .venv >/dev/null 2>&1; then
        rm -rf .venv
        "$python" -m venv --without-pip .venv
        "$python" -m pip --python .venv/bin/python install -qq pip
    fi
fi
if [ ! -e "$stamp" ] || [ pyproject.toml -nt "$stamp" ]; then
    echo "Installing pseudolidar$extras and what it needs into .venv (PyTorch is large: a few minutes, once)"
    .venv/bin/python -m pip install -qq --no-compile --disable-pip-version-check --editable ".$extras"
    # By all processors, where pip takes one; some packages bring files that are no Python of today.
    .venv/bin/python -m compileall -qq -j 0 .venv/lib || true
    touch "$stamp"
fi
