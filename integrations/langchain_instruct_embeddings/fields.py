"""The fields of `InstructEmbeddings`, checked when it is made."""

import os
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationInfo,
    create_model,
    field_validator,
    model_validator,
)
from typing_extensions import Self, Unpack

from instruct_embeddings.config import check_arguments, optional_instruction
from instruct_embeddings.encoder import (
    DEFAULT_MODEL,
    EncoderArguments,
    EncoderOptions,
    option_fields,
)
from instruct_embeddings.instant import SharedEncoder, TwoSidedEncoder

if TYPE_CHECKING:
    _Options = BaseModel
else:  # every option of the encoder is a field of the same name, type and default
    _Options = create_model("_Options", **option_fields())


class EmbeddingFields(_Options):
    """What can be set, and the encoder that it describes."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, protected_namespaces=()
    )

    model_name: str = Field(default=DEFAULT_MODEL, alias="model")
    query_instruction: Annotated[str | None, AfterValidator(optional_instruction)] = None
    document_instruction: Annotated[str | None, AfterValidator(optional_instruction)] = None
    show_progress: bool = False

    _shared: SharedEncoder = PrivateAttr()

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            model: str | os.PathLike[str] | None = None,
            query_instruction: str | None = None,
            document_instruction: str | None = None,
            show_progress: bool = False,
            **options: Unpack[EncoderArguments],
        ) -> None: ...

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, data: dict[str, Any]) -> dict[str, Any]:
        check_arguments(cls.__name__, data, [*cls.model_fields, "model"])
        return data

    @field_validator("model_name", "adapter", "cache_folder", mode="before")
    @classmethod
    def _accept_paths(cls, value: object, info: ValidationInfo) -> object:
        if value is None and info.field_name == "model_name":
            return DEFAULT_MODEL
        return os.fspath(value) if isinstance(value, os.PathLike) else value

    @model_validator(mode="after")
    def _describe_encoder(self) -> Self:
        options = {name: getattr(self, name) for name in option_fields()}
        model = None if self.model_name == DEFAULT_MODEL else self.model_name
        self._shared = SharedEncoder(TwoSidedEncoder(EncoderOptions(model=model, **options)))
        return self
