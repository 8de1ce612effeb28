"""One thread for the small matrix products of a fit."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_lock = threading.Lock()
_inside = 0
_limits: Any = None


@contextmanager
def one_thread() -> Iterator[None]:
    """Run numpy's and torch's kernels on the calling thread while any fit is under way.

    The matrices of a fit are so small that a second thread gains little on an idle machine; on a
    busy one the threads wait for each other and a fit takes many times longer. The limit is
    process-wide, so overlapping fits share it and the last one lifts it.
    """
    from threadpoolctl import threadpool_limits

    global _inside, _limits
    with _lock:
        if _inside == 0:
            _limits = threadpool_limits(limits=1)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _limits.restore_original_limits()
