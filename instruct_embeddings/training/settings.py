"""The tables of a training file: every key with its type, its range and its default."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, Field, PlainValidator, StrictBool, StrictStr

from instruct_embeddings.encoder.options import EncoderOptions
from instruct_embeddings.training.tables import (
    Above0,
    Count,
    FilePath,
    Fraction,
    Names,
    Positive,
    Sizes,
    Text,
    Weight,
    different,
    settings,
)

View: TypeAlias = Literal["answer", "dropout", "teacher"]
Targets: TypeAlias = Literal["all-linear"] | tuple[str, ...]
ALL_LINEAR: Literal["all-linear"] = "all-linear"


def _targets(value: Any) -> Targets:
    if value == ALL_LINEAR:
        return ALL_LINEAR
    listed = isinstance(value, list | tuple) and value
    if not listed or not all(isinstance(one, str) and one.strip() for one in value):
        raise ValueError(f"Input should be {ALL_LINEAR!r}, or a list of names such as ['query']")
    return different(tuple(value))


@settings
class BackboneConfig:
    """What of the backbone is trained: `[backbone]`.

    Attributes:
        train: "lora": LoRA layers; "full": its own weights; "none": soft prompts and pooler only.
        rank: Rank of the LoRA layers.
        alpha: Their scale is alpha / rank.
        dropout: Of the backbone and of LoRA layers; replaces what the base model was trained with.
        targets: "all-linear": every linear layer but output heads, or names of layers, such as
            ["query", "value"].
        dtype: Type of frozen weights. Trained ones are kept in float32.
        attention: Attention of transformers, such as "sdpa" or "eager"; by default the best one.
        gradient_checkpointing: Compute activations twice instead of keeping them.
        start: Folder of a checkpoint of ours to continue from.
        freeze_embeddings: With "full": leave the matrix of token embeddings as it is.
        local_files_only: Never ask the model hub.
        cache_folder: Where the hub's files are kept.
        architecture: Configuration values of the base model, `model_type` among them, for a dry run
            where the model itself is not at hand.
    """

    train: Literal["lora", "full", "none"] = "lora"
    rank: Positive = 64
    alpha: Above0 = 64.0
    dropout: Fraction = 0.0
    targets: Annotated[Targets, PlainValidator(_targets)] = ALL_LINEAR
    dtype: Literal["auto", "float32", "bfloat16"] = "float32"
    attention: Text | None = None
    gradient_checkpointing: StrictBool = False
    start: FilePath | None = None
    freeze_embeddings: StrictBool = True
    local_files_only: StrictBool = False
    cache_folder: Text | None = None
    architecture: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.architecture is not None and "model_type" not in self.architecture:
            raise ValueError(
                "[backbone.architecture] lacks the key 'model_type'. Copy the values from the "
                "config.json of the model."
            )
        if self.train == "full" and self.dtype != "float32":
            raise ValueError(
                f'[backbone] dtype={self.dtype!r} with train="full": small steps would be rounded '
                'away from the trained weights. Use dtype="float32", with [run] '
                'precision="bfloat16" for speed.'
            )

    def options(self, device: str | None = None) -> EncoderOptions:
        """How the encoder finds and runs the backbone."""
        return EncoderOptions(
            device=device,
            dtype=self.dtype,
            attn_implementation=self.attention,
            cache_folder=self.cache_folder,
            local_files_only=self.local_files_only,
        )


@settings
class SourceConfig:
    """One JSONL file of examples: `[[data.sources]]`.

    Attributes:
        path: The file.
        name: Name of the set; by default the file's without its ending.
        weight: How often its groups are drawn, against those of other files.
        text_tokens: Most tokens of a text of this file; by default only the encoder's limit counts.
        competing: Aspects that have nothing to do with one another, such as topic and stance. Where
            one of them is asked for, the answers that a text has to the others are wrong answers,
            so that an embedding leaves out what was not asked.
    """

    path: FilePath
    name: StrictStr = ""
    weight: Above0 = 1.0
    text_tokens: Positive | None = None
    competing: Names = ()

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.path.stem)
        if "/" in self.name:
            raise ValueError(
                f"[[data.sources]] name={self.name!r} holds a slash, which stands between set and "
                "aspect in the names of groups. Choose another name."
            )
        if len(self.competing) == 1:
            raise ValueError(
                f"[[data.sources]] {self.name} competing={list(self.competing)} names one aspect, "
                "which has nothing to compete with. Name two or more, or none."
            )


@settings
class DataConfig:
    """What is trained on, and how batches are drawn: `[data]`.

    Attributes:
        sources: The files.
        instructions: TOML table of instructions by set and aspect; needed where rows have labels.
        batch_size: Examples in a batch; contrastive losses need a second row to compare with.
        temperature: Power of a group's rows in its chance to be drawn: 0 draws all groups of equal
            weight equally often, 1 in proportion to their rows.
        max_rows: Rows of a group that count at most for that chance.
        min_group_rows: Fewest rows that share an instruction of their own to form a group.
        extra_answers: Most further answers of the group that a batch carries as negatives.
        strict: Stop at the first bad line; otherwise bad lines are counted and skipped.
        max_characters: Most characters of a text; the rest is cut before it is tokenized.
    """

    sources: tuple[SourceConfig, ...]
    instructions: FilePath | None = None
    batch_size: Annotated[int, Field(strict=True, ge=2)] = 64
    temperature: Weight = 0.5
    max_rows: Positive = 20_000
    min_group_rows: Positive = 32
    extra_answers: Count = 64
    strict: StrictBool = False
    max_characters: Positive = 2000

    def __post_init__(self) -> None:
        names = [source.name for source in self.sources]
        if not names:
            raise ValueError("[data] has no sources. Add [[data.sources]] with a path.")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(
                f"[[data.sources]] has the names {twice} more than once. "
                "Give each file a name of its own."
            )


@settings
class ValidationConfig:
    """What is held out, and when it is measured: `[validation]`.

    Attributes:
        sets: Names of sources that are never trained on.
        instructions: Fraction of the other sources' instructions that is never trained on.
        rows: Most rows of a measurement.
        every: Steps between measurements.
        patience: Measurements without a gain after which training stops; 0 never stops early.
    """

    sets: Names = ()
    instructions: Fraction = 0.1
    rows: Annotated[int, Field(strict=True, ge=2)] = 500
    every: Positive = 500
    patience: Count = 5


@settings
class DistillationConfig:
    """Representation distillation of the soft prompts (InstEmb): `[loss.distillation]`.

    Without soft prompts the embedding itself is pulled.
    """

    weight: Weight = 1.0  # of this part; 0 switches it off
    kind: Literal["cosine", "smooth_l1"] = "cosine"
    # The teacher's mean state over the answer's tokens, behind text and instruction, or its
    # embedding of the answer alone.
    target: Literal["answer_states", "answer_embedding"] = "answer_states"
    teacher: StrictStr = ""  # hub id or folder; "" is the frozen start of the student itself


@settings
class RefinementConfig:
    """Iterative contrastive refinement (GIRCSE): `[loss.refinement]`."""

    weight: Weight = 1.0  # of the penalty on steps that are worse than the one before


@settings
class GistConfig:
    """Guided false-negative filtering (GISTEmbed): `[loss.gist]`."""

    # Candidates that the guide finds nearer than the positive, less this cosine, are no negatives.
    margin: Weight = 0.0


@settings
class MatryoshkaConfig:
    """The loss on the first dimensions too (Matryoshka): `[loss.matryoshka]`."""

    dimensions: Sizes  # how many; the full length among them, where it is to count
    weights: tuple[Above0, ...] = ()  # one for each; by default 1

    def __post_init__(self) -> None:
        if len(self.weights) not in (0, len(self.dimensions)):
            raise ValueError(
                f"[loss.matryoshka] weights={list(self.weights)} must be {len(self.dimensions)} "
                "numbers, one for each of the dimensions. Or leave them out."
            )


@settings
class DriftConfig:
    """Keeping the generic space (Query Drift Compensation): `[loss.drift]`."""

    weight: Weight = 1.0  # of the distance from the frozen generic embeddings


@settings
class LossConfig:
    """What is minimised: `[loss]`. Parts with a table of their own are on where it is there.

    Attributes:
        temperature: Divides the cosines of the contrastive loss.
        views: Positives of a row: the embedding of its answer, a second dropout pass, the teacher's
            embedding.
        anchors: "pooled": the loss on the embedding; "both": on the final token and on the soft
            prompts apart.
        supervised: Weight of the supervised contrastive loss within the batch.
    """

    temperature: Above0 = 0.05
    views: Annotated[tuple[View, ...], AfterValidator(different)] = ("answer",)
    anchors: Literal["pooled", "both"] = "pooled"
    supervised: Weight = 0.0
    distillation: DistillationConfig | None = None
    refinement: RefinementConfig | None = None
    gist: GistConfig | None = None
    matryoshka: MatryoshkaConfig | None = None
    drift: DriftConfig | None = None

    def __post_init__(self) -> None:
        distils = self.distillation is not None and self.distillation.weight > 0
        if not (self.views or self.supervised or distils):
            raise ValueError(
                "[loss] views=[] leaves nothing to learn from. Name at least one of "
                "['answer', 'dropout', 'teacher'], or add [loss.distillation]."
            )


@settings
class OptimiserConfig:
    """AdamW and its schedule: `[optimiser]`.

    Attributes:
        learning_rate: The highest.
        soft_prompt_rate: Soft prompts learn so many times as fast.
        weight_decay: Of matrices; soft prompts, biases and norms do not decay.
        warmup: Fraction of the steps in which the rate rises.
        schedule: How it falls afterwards.
        clip: Largest norm of the gradient; 0 does not clip.
    """

    learning_rate: Above0 = 3e-4
    soft_prompt_rate: Above0 = 10.0
    weight_decay: Weight = 0.01
    warmup: Fraction = 0.05
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    clip: Weight = 1.0


@settings
class RunConfig:
    """How long, where and how exactly: `[run]`.

    Attributes:
        steps: Steps of the optimiser.
        seed: Of everything that is drawn.
        accumulate: Batches in a step.
        chunk: Rows that are computed at a time (GradCache), so that a batch may be larger than
            memory; 0 computes the whole batch at once.
        precision: Type of the arithmetic.
        device: A torch device; by default the best one.
        log_every: Steps between lines of the log.
        save_every: Steps between states from which a run can be resumed.
        output: Folder of the run, relative to the working directory.
    """

    steps: Positive = 1000
    seed: Count = 0
    accumulate: Positive = 1
    chunk: Count = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    device: Text | None = None
    log_every: Positive = 20
    save_every: Positive = 500
    output: FilePath = Path("runs/model")
