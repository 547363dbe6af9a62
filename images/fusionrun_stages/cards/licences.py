"""Terms of the licences of sources and data sets for training on outputs: facts with sources, not legal advice. Pure.

The licence that a card declares has precedence over the one of the model's or data set's name, unless the model that
generated a data set has a stricter one. A licence that is not in ``LICENCES`` is *unknown*.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from fusionrun.api.records import replace_surrogates


class Outputs(StrEnum):
    """Whether another model may be trained on the outputs."""

    FREE = "allowed"
    CONDITIONS = "allowed under conditions"
    RESEARCH = "not for commercial use"
    FORBIDDEN = "forbidden"
    UNKNOWN = "unknown"


WARNED = (Outputs.FORBIDDEN, Outputs.RESEARCH)


@dataclass(frozen=True)
class Licence:
    """A licence, and its terms for outputs as training data."""

    name: str
    outputs: Outputs
    terms: str
    source: str
    """Address and section."""


_OPEN = "No clause about outputs."
_LLAMA_OLD = (
    "Outputs must not be used to improve any other large language model, except one of the same Llama or its "
    "derivatives."
)
_LLAMA_NEW = (
    "A distributed model that was trained on outputs must have a name that begins with “Llama”, and “Built with "
    "Llama” must be displayed."
)
_QWEN = (
    "A distributed model that was trained on outputs must display “Built with Qwen” or “Improved using Qwen” in its "
    "documentation."
)

LICENCES: dict[str, Licence] = {
    "apache-2.0": Licence("Apache 2.0", Outputs.FREE, _OPEN, "https://www.apache.org/licenses/LICENSE-2.0"),
    "mit": Licence("MIT", Outputs.FREE, _OPEN, "https://opensource.org/license/mit"),
    "bsd-3-clause": Licence("BSD 3-Clause", Outputs.FREE, _OPEN, "https://opensource.org/license/bsd-3-clause"),
    "cc0-1.0": Licence("CC0 1.0", Outputs.FREE, _OPEN, "https://creativecommons.org/publicdomain/zero/1.0/legalcode"),
    "cc-by-4.0": Licence(
        "CC BY 4.0", Outputs.CONDITIONS, "Attribution is required.",
        "https://creativecommons.org/licenses/by/4.0/legalcode, section 3",
    ),
    "cc-by-nc-4.0": Licence(
        "CC BY-NC 4.0", Outputs.RESEARCH, "Not for commercial use; attribution is required.",
        "https://creativecommons.org/licenses/by-nc/4.0/legalcode, sections 2 and 3",
    ),
    "odc-by": Licence(
        "ODC-By 1.0", Outputs.CONDITIONS, "Attribution is required.",
        "https://opendatacommons.org/licenses/by/1-0/, section 4",
    ),
    "llama2": Licence("Llama 2 Community License", Outputs.FORBIDDEN, _LLAMA_OLD,
                      "https://ai.meta.com/llama/license/, section 1.b.v"),
    "llama3": Licence("Meta Llama 3 Community License", Outputs.FORBIDDEN, _LLAMA_OLD,
                      "https://www.llama.com/llama3/license/, section 1.b.v"),
    "llama3.1": Licence("Llama 3.1 Community License", Outputs.CONDITIONS, _LLAMA_NEW,
                        "https://www.llama.com/llama3_1/license/, section 1.b.i"),
    "llama3.2": Licence("Llama 3.2 Community License", Outputs.CONDITIONS, _LLAMA_NEW,
                        "https://www.llama.com/llama3_2/license/, section 1.b.i"),
    "llama3.3": Licence("Llama 3.3 Community License", Outputs.CONDITIONS, _LLAMA_NEW,
                        "https://www.llama.com/llama3_3/license/, section 1.b.i"),
    "gemma": Licence(
        "Gemma Terms of Use", Outputs.CONDITIONS,
        "A model trained on outputs so that it performs like Gemma counts as a Model Derivative: these terms and the "
        "prohibited uses apply to it and must be passed on.",
        "https://ai.google.dev/gemma/terms, sections 1.1(e) and 3.1",
    ),
    "qwen": Licence("Qwen License Agreement", Outputs.CONDITIONS, _QWEN,
                    "https://huggingface.co/Qwen/Qwen2.5-72B-Instruct/blob/main/LICENSE, section 4"),
    "qwen-research": Licence(
        "Qwen Research License Agreement", Outputs.RESEARCH, "For research only. " + _QWEN,
        "https://huggingface.co/Qwen/Qwen2.5-3B-Instruct/blob/main/LICENSE, sections 2 and 4",
    ),
    "mrl": Licence(
        "Mistral AI Research License", Outputs.RESEARCH,
        "Outputs may be used for research and not commercially; any other use needs a licence from Mistral AI.",
        "https://mistral.ai/licenses/MRL-0.1.md",
    ),
    "openai": Licence("OpenAI Terms of Use", Outputs.FORBIDDEN, "Outputs must not be used to develop models that "
                      "compete with OpenAI.", "https://openai.com/policies/row-terms-of-use/, What you cannot do"),
}  # fmt: skip
"""By the identifier in the hub's cards (``license``, or ``license_name`` if that is ``other``)."""

UNKNOWN = Licence("unknown", Outputs.UNKNOWN, "Not known to FusionRun: read the licence before you train.", "")

_MODELS: list[tuple[str, str]] = [
    (r"llama[-_]?3[._]3", "llama3.3"),
    (r"llama[-_]?3[._]2", "llama3.2"),
    (r"llama[-_]?3[._]1", "llama3.1"),
    (r"llama[-_]?3(?![.\d])", "llama3"),
    (r"llama[-_]?2(?![.\d])", "llama2"),
    (r"gemma-[123]", "gemma"),
    (r"qwen2\.5-(math-)?72b", "qwen"),
    (r"qwen2\.5-(coder-)?3b", "qwen-research"),
    (r"qwen2\.5", "apache-2.0"),
    (r"mistral-large-instruct-24(07|11)", "mrl"),
    (r"mixtral-8x|mistral-7b", "apache-2.0"),
    (r"smollm", "apache-2.0"),
    (r"(^|/)(gpt-[345]|chatgpt|o[134](-|$))", "openai"),
]
"""Patterns of model names; the first match counts. Source: the ``license`` of each model's card on the hub (2025)."""

_DATASETS: dict[str, str] = {
    "hf://openbmb/ultrafeedback": "mit",
    "hf://nvidia/helpsteer2": "cc-by-4.0",
    "hf://nvidia/openmathinstruct-2": "cc-by-4.0",
    "hf://greengerong/leetcode": "mit",
    "hf://newfacade/leetcodedataset": "apache-2.0",
    "hf://bigcode/self-oss-instruct-sc2-exec-filter-50k": "odc-by",
}
"""Source: each data set's card on the hub."""

_GENERATED: dict[str, str] = {
    "hf://magpie-align/magpie-pro-dpo-100k-v0.1": "llama3",
    "hf://magpie-align/magpie-llama-3.1-pro-dpo-100k-v0.1": "llama3.1",
    "hf://magpie-align/magpie-qwen2-pro-200k-chinese": "qwen",
    "hf://llamafactory/alpaca_gpt4_zh": "openai",
}
"""Licences of the models that generated data sets (Llama 3, Llama 3.1, Qwen2 and GPT-4): they apply besides those of
the cards. Source of Llama 3: navigation.md of magpie-align/magpie."""

_STRICTNESS = (Outputs.FREE, Outputs.UNKNOWN, Outputs.CONDITIONS, Outputs.RESEARCH, Outputs.FORBIDDEN)


def licence_of_model(name: str, declared: str | None = None) -> Licence:
    """Return the licence that a model's card declares, else the one of its name or URI."""
    return _licence(declared or next((key for pattern, key in _MODELS if re.search(pattern, name.lower())), None))


def licence_of_dataset(uri: str, declared: str | None = None) -> Licence:
    """Return the licence that a data set's card declares, else the one of its URI.

    It is that of the model that generated the data if this one restricts training more.
    """
    own, generator = _licence(declared or _DATASETS.get(uri.lower())), _GENERATED.get(uri.lower())
    return max(own, _licence(generator), key=lambda licence: _STRICTNESS.index(licence.outputs)) if generator else own


def _licence(key: str | None) -> Licence:
    return LICENCES.get(key, Licence(key, Outputs.UNKNOWN, UNKNOWN.terms, "")) if key else UNKNOWN


def declared_licence(metadata: dict[str, object] | None) -> str | None:
    """Return the licence in a hub card's front matter, or None."""
    for key in ("license_name", "license"):
        value = (metadata or {}).get(key)
        if isinstance(value, str) and value and value != "other":
            return replace_surrogates(value.lower())  # a YAML escape may be a lone surrogate
    return None
