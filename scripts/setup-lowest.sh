#!/bin/sh
# Make .venv-lowest with the versions of constraints-lowest.txt. Called by make test-lowest.
#   PYTHON       the interpreter to use: 3.10 or 3.11, which all of these versions know
#   TORCH_INDEX  package index for torch alone, such as https://download.pytorch.org/whl/cpu
set -eu

export PIP_DISABLE_PIP_VERSION_CHECK=1

venv=.venv-lowest
if [ "$venv/.ready" -nt pyproject.toml ] && [ "$venv/.ready" -nt constraints-lowest.txt ]; then
    exit 0
fi

python=${PYTHON:-}
for name in python3 python3.11 python3.10; do
    if [ -z "$python" ] && "$name" -c \
        "import sys, venv; raise SystemExit(sys.version_info[:2] not in ((3, 10), (3, 11)))" 2>/dev/null
    then
        python=$name
    fi
done
if [ -z "$python" ]; then
    echo "No Python 3.10 or 3.11 found on PATH; the lowest versions have no wheels for newer ones." >&2
    echo "Install one, or name it: make test-lowest PYTHON=/path/to/python3.10" >&2
    exit 1
fi

printf '\n==> %s\n' "Creating $venv with $("$python" --version 2>&1)"
"$python" -m venv --clear "$venv"
pip="$venv/bin/python -m pip install --quiet"
$pip --constraint constraints-lowest.txt pip hatchling
$pip --constraint constraints-lowest.txt ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} --no-deps torch

# Every version is named, so nothing has to be resolved. Resolving would fail: the suites of the
# hosts for their integrations ask for a pytest and a numpy that the hosts themselves do not.
$pip --no-deps --requirement constraints-lowest.txt
$pip --no-deps --no-build-isolation --editable .
touch "$venv/.ready"
