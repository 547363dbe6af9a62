"""The tokenizer of the tiny models: a byte-level BPE with a chat template.

It encodes any text, with bytes as fallback. Each digit is one token.
"""

import random
from collections.abc import Iterator, Sequence
from itertools import islice
from types import ModuleType

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tiny.skill import Use, draw_for

BOS, END, PAD = "<|begin|>", "<|end|>", "<|pad|>"
SPECIAL = (BOS, END, PAD, "<|user|>", "<|assistant|>", "<|system|>")
SIZE = 448
# The generation tags mark the assistant's tokens for the trainer.
CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}"
    "<|assistant|>{% generation %}{{ message['content'] }}<|end|>{% endgeneration %}"
    "{% else %}"
    "<|{{ message['role'] }}|>{{ message['content'] }}<|end|>"
    "{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
# Words with their leading space, runs of spaces, and single digits.
_PIECES = Regex(r"\d| ?[A-Za-z]+|\n *| ?[^\sA-Za-z\d]+|\s")


def build_tokenizer(skills: Sequence[ModuleType], context: int) -> PreTrainedTokenizerFast:
    """Train the tokenizer on items of the skills.

    Parameters
    ----------
    context
        The longest sequence of the models in tokens.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(_PIECES, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_draw_text(skills), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=END,
        pad_token=PAD,
        chat_template=CHAT_TEMPLATE,
        model_max_length=context,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def _draw_text(skills: Sequence[ModuleType]) -> Iterator[str]:
    """Yield prompts and answers of pretraining items, always the same."""
    for skill in skills:
        for item in islice(draw_for(skill, Use.PRETRAINING, random.Random(0)), 2000):
            yield item.prompt
            yield item.answer
