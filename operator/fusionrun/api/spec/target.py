"""Fields of a FusionRun on the models that are trained or only evaluated."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from fusionrun.api.contract import Contract
from fusionrun.api.spec.models import Model, Name
from fusionrun.api.spec.servers import ServerOverride


class Family(StrEnum):
    """Families of target models that the recipe has hyperparameters for (FuseChat-3.0, README, "Training")."""

    LLAMA_3_1 = "Llama3"
    LLAMA_3_2 = "Llama3Small"
    QWEN_2_5 = "Qwen2.5"
    GEMMA_2 = "Gemma2"


class ChatTemplate(StrEnum):
    """Chat template that the target is trained with."""

    RECIPE = "Recipe"
    """That of the recipe for the family."""
    OWN = "Own"
    """That of the model's tokenizer."""


class Target(Contract):
    """The small model that is trained."""

    family: Family
    """Family of the model, which selects the default hyperparameters: Llama3 (Llama-3.1), Llama3Small (Llama-3.2 with
    1B or 3B parameters), Qwen2.5 or Gemma2."""
    model: Model
    """The model before training. ``trustRemoteCode`` must be false, since transformers supports every family."""
    chat_template: ChatTemplate = ChatTemplate.OWN
    """Chat template of training and of the trained models: ``Recipe`` or ``Own``. ``Recipe`` is the plain template of
    Llama 3, without a date and a default system prompt, for the families Llama3 and Llama3Small; its tokens must be in
    the tokenizer. For other families it is the model's own. ``Own`` is the template of the model's tokenizer. The base
    model is always evaluated with its own."""


class MeasuredModel(Contract):
    """A model that is evaluated and not trained."""

    name: Name
    """Unique name of the model. Reserved: ``base``, ``sft`` and ``final``."""
    model: Model
    """The model. Its tokenizer must have a chat template."""
    family: Family | None = None
    """Family of the model, which selects the prompts and the sampling of benchmarks whose protocol has several
    (docs/evaluation.md). If omitted, those of the protocol for all other families are used."""
    chat_template: ChatTemplate = ChatTemplate.OWN
    """Chat template with which the model is served: ``Own`` (that of its tokenizer) or ``Recipe``, as in
    ``target.chatTemplate``. ``Recipe`` requires ``family``."""
    server: ServerOverride | None = None
    """How vLLM serves the model, as far as it differs from ``evaluation.server``. If omitted, as
    ``evaluation.server`` says."""


class EvaluateOnly(Contract):
    """Models that are evaluated and not trained."""

    models: Annotated[list[MeasuredModel], Field(min_length=1, max_length=16)]
    """The models. Each is served as ``evaluation.server`` and its own ``server`` say."""
    baseline: Name | None = None
    """Name of the model that each other model is compared with."""
