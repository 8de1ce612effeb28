"""Several processes that train one model, as `accelerate launch` starts them.

Each has the whole model and batches of its own. The gradients are averaged once a step, whatever
they came from: accumulated batches, chunks, the projections of the objective.
"""

from collections.abc import Iterable
from typing import Any, TypeVar

from torch import distributed, nn

from instruct_embeddings._extras import require
from instruct_embeddings.encoder.loading import choose_device

T = TypeVar("T")


class Processes:
    """The processes of a run; most often one.

    Attributes:
        count: How many there are.
        index: Number of this one.
        main: Whether this one writes files and measures.
        device: Where this one computes.
    """

    def __init__(self, device: str | None) -> None:
        """Join the others.

        Args:
            device: The one asked for; by default the best one. Of several GPUs each process takes
                its own.

        Raises:
            ConfigError: There is no such device.
            MissingExtraError: accelerate is not installed.
        """
        accelerate: Any = require("accelerate", extra="train")
        self._state = accelerate.PartialState(cpu=device == "cpu")
        self.count: int = self._state.num_processes
        self.index: int = self._state.process_index
        self.main: bool = self._state.is_main_process
        own = device == "cpu" or self.count == 1
        self.device = choose_device(device) if own else str(self._state.device)

    def average(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give every process the mean of the gradients of all.

        Args:
            parameters: The same in all processes, in one order; the same of them have gradients.
        """
        if self.count == 1:
            return
        gradients = [value.grad for value in parameters if value.grad is not None]
        under_way = [distributed.all_reduce(one, async_op=True) for one in gradients]
        for work, gradient in zip(under_way, gradients, strict=True):
            work.wait()
            gradient /= self.count

    def broadcast(self, value: T) -> T:
        """What the main process passes, in all of them."""
        if self.count == 1:
            return value
        held = [value]
        distributed.broadcast_object_list(held, src=0)
        return held[0]

    def wait(self) -> None:
        """Go on when all are here."""
        self._state.wait_for_everyone()
