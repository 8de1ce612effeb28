#!/bin/sh
# Print the Python to build the environment with: a tested version (3.11 to 3.13), else any >= 3.10.
is() {
    "$1" -c "import sys, venv; raise SystemExit(not ($2))" >/dev/null 2>&1
}
for test in "(3, 11) <= sys.version_info < (3, 14)" "sys.version_info >= (3, 10)"; do
    for name in python3 python python3.13 python3.12 python3.11 python3.10; do
        if is "$name" "$test"; then
            echo "$name"
            exit 0
        fi
    done
done
echo "No Python 3.10 or newer found on PATH. Install one, or name it: make PYTHON=/path/to/python" >&2
exit 1
