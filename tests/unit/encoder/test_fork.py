"""Hosts fork: the child of a process that has used an encoder must not wait for its threads."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.models import INSTRUCTION, TEXTS, tiny_checkpoint

ROOT = Path(__file__).parents[3]
SCRIPT = """
import asyncio, os, sys
from instruct_embeddings import InstructEncoder

encoder = InstructEncoder.from_pretrained(sys.argv[1])
texts, instruction = sys.argv[3:], sys.argv[2]

def sums():
    rows = asyncio.run(encoder.aencode(texts, instruction=instruction))
    return [round(float(x), 3) for x in rows.sum(1)]

mine = sums()
child = os.fork()
if child == 0:
    os._exit(0 if sums() == mine else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_embeds_with_an_encoder_that_its_parent_used() -> None:
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, str(tiny_checkpoint()), INSTRUCTION]
    done = subprocess.run(
        [*command, *TEXTS], capture_output=True, text=True, timeout=50, cwd=ROOT, check=True
    )
    assert done.stdout.split() == ["0"]
