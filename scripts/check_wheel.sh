#!/usr/bin/env bash
# Install the wheel of dist/ in a clean environment for each Python, without extras and with all, and run the demo.
#   PYTHONS      interpreters; by default python3.10 to python3.13, those that are on PATH and run
#   TORCH_INDEX  package index for torch alone, such as https://download.pytorch.org/whl/cpu
set -euo pipefail

clean=$(mktemp -d)
trap 'rm -rf "$clean"' EXIT
wheel=$(echo "$PWD"/dist/*.whl)
tested=

for python in ${PYTHONS:-python3.10 python3.11 python3.12 python3.13}; do
    if ! "$python" -c "import venv" 2>/dev/null; then
        if [ -n "${PYTHONS:-}" ]; then
            echo "$python does not run. Name interpreters that do: make wheels PYTHONS=/path/to/python3.12" >&2
            exit 1
        fi
        continue
    fi
    printf '\n==> %s: the wheel without extras\n' "$("$python" --version)"
    "$python" -m venv --clear "$clean/venv"
    pip=("$clean/venv/bin/python" -m pip install --quiet --disable-pip-version-check --constraint constraints.txt)
    "${pip[@]}" pip
    "${pip[@]}" ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch
    "${pip[@]}" "$wheel"
    # From another folder, so that nothing of the checkout can be imported by accident.
    check=$PWD/scripts/check_imports.py
    (cd "$clean" && venv/bin/python -I "$check" without && venv/bin/instruct-embeddings --help >/dev/null)

    printf '\n==> with all extras\n'
    "${pip[@]}" "$wheel[all]"
    "$clean/venv/bin/python" -m pip check
    (cd "$clean" && venv/bin/python -I "$check" with && venv/bin/instruct-embeddings demo --path demo)
    rm -rf "$clean/demo"
    tested="$tested $("$python" -c "import platform; print(platform.python_version())")"
done
if [ -z "$tested" ]; then
    echo "No Python from 3.10 to 3.13 found on PATH. Name one: make wheels PYTHONS=/path/to/python3.12" >&2
    exit 1
fi
printf '\n==> The wheel works on Python:%s\n' "$tested"
