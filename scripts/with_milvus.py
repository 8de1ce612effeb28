"""Run a command beside a server of Milvus, whose address it finds in MILVUS_ADDRESS.

    python -m scripts.with_milvus COMMAND [ARGUMENT ...]

The server is the one that `make install` brings, and ends with the command. Where there is none
for this system, or the variable is set already, the command runs as it is.
"""

import os
import subprocess
import sys
from contextlib import ExitStack

import pytest

from tests.milvus_server import milvus_server

ADDRESS = "MILVUS_ADDRESS"


def main(command: list[str]) -> int:
    """Run it; its exit code."""
    with ExitStack() as running:
        found = {}
        if ADDRESS not in os.environ:
            try:
                found[ADDRESS] = running.enter_context(milvus_server()).address
            except pytest.skip.Exception as nowhere:
                print(nowhere, file=sys.stderr)
        return subprocess.run(command, env=os.environ | found, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
