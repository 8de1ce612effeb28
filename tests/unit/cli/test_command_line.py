"""The installed command, in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = ("demo", "index", "adapt", "query", "explain", "transforms")
HEAVY = ("torch", "transformers", "chromadb", "numpy", "langchain_core", "llama_index")


def test_help_lists_the_commands_and_imports_nothing_heavy() -> None:
    code = (
        "import sys, json\n"
        "from instruct_embeddings.cli import main\n"
        "sys.argv = ['instruct-embeddings', '--help']\n"
        "try:\n    main()\n"
        "except SystemExit as stop:\n"
        f"    print(json.dumps([stop.code, [m for m in {HEAVY} if m in sys.modules]]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == [0, []]
    assert all(command in done.stdout for command in COMMANDS)


@pytest.mark.parametrize(("arguments", "code"), [(["query"], 2), (["nothing"], 2)])
def test_exit_codes_of_usage_errors(arguments: list[str], code: int) -> None:
    command = [sys.executable, "-m", "instruct_embeddings.cli", *arguments]
    assert subprocess.run(command, capture_output=True).returncode == code


def test_an_expected_error_is_one_message_and_exit_code_1(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "instruct_embeddings.cli", "query", "x", "--json"]
    command += ["--store", str(tmp_path), "--collection", "zoo"]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: There is no Chroma database in")
    assert "Traceback" not in done.stderr
