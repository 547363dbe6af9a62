"""The reasoning that a model writes before its answer, split from the answer."""

import re

TAGS = {
    "<think>": "</think>",  # DeepSeek R1, Qwen 3, GLM 4.5, Hunyuan, MiniMax M2, Nemotron
    "<thought>": "</thought>",  # EXAONE Deep; Gemini's OpenAI-compatible API
    "<seed:think>": "</seed:think>",  # Seed OSS
    "[THINK]": "[/THINK]",  # Magistral
    "<|START_THINKING|>": "<|END_THINKING|>",  # Command A Reasoning
    "<|begin_of_thought|>": "<|end_of_thought|>",  # Sky-T1, OpenThinker
    "◁think▷": "◁/think▷",  # Kimi VL Thinking
}
"""Opening and closing tags of models that reason without being asked to.

``<thinking>`` and ``<reasoning>`` are not among them: prompts ask for them, so they belong to the answer.
Source: vLLM, ``vllm/reasoning`` (start and end token of each parser); Open WebUI, ``DEFAULT_REASONING_TAGS``.
"""

ASKED_TAGS = {"<thinking>": "</thinking>", "<reasoning>": "</reasoning>"}
"""Tags for which prompts ask. The graders read nothing between them."""
OPENING, CLOSING = (
    re.compile("|".join(map(re.escape, tags)), re.IGNORECASE)
    for tags in ([*TAGS, *ASKED_TAGS], [*TAGS.values(), *ASKED_TAGS.values()])
)
"""Any tag, for the graders: a draft may be anywhere in a text."""


def split_reasoning(text: str) -> tuple[str, str | None]:
    """Split the text of a reply into the answer and the reasoning before it; None if there is no reasoning.

    Reasoning is any number of blocks at the start of the text, each between the tags of ``TAGS``. A block without a
    closing tag is the whole rest: the model was cut off, or stopped, while it reasoned. A closing tag without an
    opening tag before it, at the start or the end of a line, ends a block that the chat template has opened in the
    prompt. Tags anywhere else are part of the answer, which may explain them.
    """
    blocks = []
    start, stop, end = _opened_by_template(text) or (0, 0, 0)
    if end:
        blocks.append(text[start:stop])
    while opening := _opening_at(text, begin := _skip_space(text, end)):
        start = begin + len(opening)
        stop = text.find(TAGS[opening], start)
        stop, end = (len(text), len(text)) if stop < 0 else (stop, stop + len(TAGS[opening]))
        blocks.append(text[start:stop])
    reasoning = "\n\n".join(stripped for block in blocks if (stripped := block.strip()))
    return (text[end:].lstrip() if end else text), reasoning or None


def _opened_by_template(text: str) -> tuple[int, int, int] | None:
    """Return start and end of a block without opening tag, and the end of its closing tag; None if there is none."""
    if _opening_at(text, _skip_space(text, 0)):
        return None
    for opening, closing in TAGS.items():
        stop = text.find(closing)
        if stop < 0 or text.find(opening, 0, stop) >= 0:
            continue
        end = stop + len(closing)
        before, after = text[:stop].rstrip(" \t"), text[end:].lstrip(" \t")
        if not before or before.endswith("\n") or not after or after.startswith("\n"):
            return 0, stop, end
    return None


def _opening_at(text: str, begin: int) -> str | None:
    return next((opening for opening in TAGS if text.startswith(opening, begin)), None)


def _skip_space(text: str, begin: int) -> int:
    while begin < len(text) and text[begin].isspace():
        begin += 1
    return begin
