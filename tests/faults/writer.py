"""Another process that adds, updates and deletes rows of a collection on a server, without end.

    python -m tests.faults.writer PORT COLLECTION

Prints a line after each addition, and before and after each deletion, so that a reader knows what
must and what must not be found.
"""

import sys
import threading
import time
from itertools import count
from pathlib import Path
from subprocess import PIPE, Popen

import chromadb

from instruct_embeddings._types import FloatArray
from tests.chroma_server import HOST
from tests.unit.conftest import make_toys

# Long-lived enough to be looked for, also on a busy machine.
ALIVE = 30
# Deletions are announced so many rounds before, since lines take time to be read.
_AHEAD = 10
_PAUSE = 0.02
SHAPES = make_toys(200, seed=77)
_ROOT = Path(__file__).resolve().parents[2]


def vector_of(number: int) -> FloatArray:
    """The vector of a row of the writer."""
    found: FloatArray = SHAPES.vectors[number % len(SHAPES.vectors)]
    return found


def main() -> None:
    """Change rows until killed; thirty rows of its own are there at a time."""
    client = chromadb.HttpClient(host=HOST, port=int(sys.argv[1]))
    collection = client.get_collection(sys.argv[2], embedding_function=None)
    for number in count():
        collection.add(
            ids=[f"w{number}"],
            embeddings=[vector_of(number)],
            metadatas=[{"colour": SHAPES.colours[number % len(SHAPES.colours)]}],
        )
        say(f"added w{number}")
        collection.update(ids=["moving"], embeddings=[vector_of(number)])
        if number + _AHEAD >= ALIVE:
            say(f"leaving w{number + _AHEAD - ALIVE}")
        if number >= ALIVE:
            collection.delete(ids=[f"w{number - ALIVE}"])
            say(f"deleted w{number - ALIVE}")
        time.sleep(_PAUSE)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class Writer:
    """The other process, seen from a test.

    Attributes:
        added, leaving, gone: Rows that are added, will be deleted soon, are deleted.
    """

    def __init__(self, port: int, collection: str) -> None:
        """Start it."""
        self.added: set[str] = set()
        self.leaving: set[str] = set()
        self.gone: set[str] = set()
        self._changed = threading.Condition()
        arguments = [sys.executable, "-m", "tests.faults.writer", str(port), collection]
        self._process: Popen[str] = Popen(arguments, stdout=PIPE, text=True, cwd=_ROOT)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()
        self._thread.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def wait_for(self, deletions: int) -> None:
        """Until it has deleted so many rows."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.gone) >= deletions, timeout=200)

    def present(self) -> set[str]:
        """Rows that are there, but for those that may be deleted at this moment."""
        with self._changed:
            return self.added - self.leaving

    def absent(self) -> set[str]:
        """Rows that are deleted."""
        with self._changed:
            return set(self.gone)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            what, row = line.split()
            with self._changed:
                kept = {"added": self.added, "leaving": self.leaving, "deleted": self.gone}
                kept[what].add(row)
                self._changed.notify_all()


if __name__ == "__main__":
    main()
