"""One module for each kind of reader."""

from tests.fuzz.targets.answers import ANSWERS, CACHE
from tests.fuzz.targets.artefacts import ARTEFACTS
from tests.fuzz.targets.checkpoints import ADAPTERS, CHECKPOINTS
from tests.fuzz.targets.records import RECORDS
from tests.fuzz.targets.small import CATEGORIES, PROGRESS
from tests.fuzz.targets.training import TRAINING

TARGETS = (
    ARTEFACTS,
    CHECKPOINTS,
    ADAPTERS,
    TRAINING,
    RECORDS,
    ANSWERS,
    CACHE,
    CATEGORIES,
    PROGRESS,
)
