#!/bin/sh
# Make .venv with the versions of constraints.txt. Called by make; runs again when pins change.
#   PYTHON       the interpreter to use; found on PATH by default
#   TORCH_INDEX  package index for torch alone, such as https://download.pytorch.org/whl/cpu
set -eu

export PIP_DISABLE_PIP_VERSION_CHECK=1

say() { printf '\n==> %s\n' "$*"; }
ready() { [ .venv/.ready -nt pyproject.toml ] && [ .venv/.ready -nt constraints.txt ]; }

# Two makes at once: the second waits for the first, then finds the work done.
if command -v flock >/dev/null 2>&1; then
    exec 9<.
    flock 9
    if ready; then exit 0; fi
fi

python=${PYTHON:-$(sh scripts/find-python.sh)}
if ! .venv/bin/python -c "import pip" >/dev/null 2>&1; then
    say "Creating .venv with $("$python" --version 2>&1)"
    # Some systems split ensurepip off; their pip can still fill an empty environment.
    "$python" -m venv --clear .venv >/dev/null 2>&1 || {
        "$python" -m venv --clear --without-pip .venv
        "$python" -m pip --python .venv/bin/python install --quiet pip
    }
fi

say "Installing pip and the build backend"
.venv/bin/python -m pip install --quiet --constraint constraints.txt pip hatchling

if ! .venv/bin/python -m pip install --quiet --no-index --constraint constraints.txt torch 2>/dev/null; then
    say "Installing torch first, so that everything else uses this build${TORCH_INDEX:+, from $TORCH_INDEX}"
    if [ -z "${TORCH_INDEX:-}" ] && [ "$(uname -s)" = Linux ] && ! command -v nvidia-smi >/dev/null; then
        echo "    No NVIDIA GPU here. If your package index has the CUDA build only (several GB), stop and run"
        echo "    make <target> TORCH_INDEX=https://download.pytorch.org/whl/cpu"
    fi
    .venv/bin/python -m pip install --constraint constraints.txt \
        ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch
fi

say "Installing instruct-embeddings with all extras and the development tools (a few minutes)"
.venv/bin/python -m pip install --quiet --constraint constraints.txt --no-build-isolation \
    --editable ".[all,dev]"
say "Installing a server of Milvus for the tests"
.venv/bin/python scripts/install_milvus.py
say "Finding or installing a browser for the tests of the page"
.venv/bin/python scripts/install_browser.py
touch .venv/.ready
say "Ready: .venv"
