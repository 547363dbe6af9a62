"""The targets' architectures and templates: trainers, promote and plain transformers have the same logits and masks."""

import copy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import trl
from datasets import Dataset
from transformers import AutoModelForCausalLM

from fusionrun.api.stage import TemplateName
from fusionrun.api.tasks.training import DpoParameters, SftParameters
from fusionrun_stages import promote
from fusionrun_stages.models.chat_template import TEMPLATE_ARGUMENTS
from fusionrun_stages.promote import HeldOutPair
from fusionrun_stages.training import ranks, trainers
from fusionrun_stages.training.rows import load_tokenizer
from fusionrun_stages.training.tokens import RowCheck, split_conversation
from support import tiny_llama
from support.tiny_llama import message, train_parameters
from support.tokenizers import tokenizer_of

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

LLAMA_3_ROPE = {
    "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
GEMMA_2 = {
    "query_pre_attn_scalar": 32, "sliding_window": 16, "attn_logit_softcapping": 5.0, "final_logit_softcapping": 3.0,
    "initializer_range": 0.3,
}  # fmt: skip
"""Limits that the random weights reach, and a window shorter than the rows."""
PUBLISHED = Path(trl.__file__).parent / "chat_templates"
"""Templates as the models' owners publish them (TRL, ``chat_templates/README.md``). TRL has that of every target of the
paper; ``gemma`` is that of Gemma 2, too. It has none of Mistral 0.3, of which ``test_templates.py`` tests the
structure."""
FAMILIES = {
    "Llama 3.1": (
        "llama 3",
        "llama3_1",
        "LlamaForCausalLM",
        {"rope_parameters": LLAMA_3_ROPE, "tie_word_embeddings": False},
    ),
    "Llama 3.2": ("llama 3", "llama3_2", "LlamaForCausalLM", {"rope_parameters": LLAMA_3_ROPE | {"factor": 32.0}}),
    "Llama 3.1, recipe": ("llama 3", TemplateName.LLAMA_3, "LlamaForCausalLM", {"rope_parameters": LLAMA_3_ROPE}),
    "Qwen 2.5": ("qwen 2.5", "qwen2_5", "Qwen2ForCausalLM", {"tie_word_embeddings": False}),
    "Gemma 2": ("gemma 2", "gemma", "Gemma2ForCausalLM", GEMMA_2),
}
"""Tokenizer, chat template, architecture and configuration. The tokenizers are small and have the special tokens."""
EARLIER = message("user", "Name a sea.") + message("assistant", "The Aral Sea.")
PAIRS = [
    (message("user", "Name a river."), "The Ebro.", "The river that flows through the city of Zaragoza is the Ebro."),
    (EARLIER + message("user", "And another?"), "The Sea of Azov, to the north of the Black Sea.", "No."),
    (message("user", "Hi"), "Hello.", "Hm."),
]


@pytest.fixture(scope="module", autouse=True)
def process_group():
    ranks.join_process_group(0, cuda=False)


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, tmp_path_factory):
    """Return a model with its tokenizer, the tokens of the pairs, and what plain transformers computes from them."""
    name, published, kind, config = FAMILIES[request.param]
    folder, tokenizer = tmp_path_factory.mktemp("model"), copy.deepcopy(tokenizer_of(name))
    template = published if isinstance(published, TemplateName) else None
    if template is None:
        tokenizer.chat_template = (PUBLISHED / f"{published}.jinja").read_text()
    ids = {f"{token}_token_id": getattr(tokenizer, f"{token}_token_id") for token in ("bos", "eos", "pad")}
    tiny_llama.make_model(folder, kind, config={"initializer_range": 0.2} | ids | config, tokenizer=tokenizer)
    own, tokenizer = tokenizer.chat_template, load_tokenizer(str(folder), template)
    assert (tokenizer.chat_template == own) == (template is None)
    pairs = []
    for prompt, *texts in PAIRS:
        sides = [split_conversation(tokenizer, prompt, message("assistant", text)) for text in texts]
        pairs.append(HeldOutPair(*sides))
        for text, tokens in zip(texts, sides, strict=True):
            assert RowCheck(tokenizer).problem(prompt + message("assistant", text), tokens) is None
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32", attn_implementation="eager").eval()
    return SimpleNamespace(folder=folder, tokenizer=tokenizer, template=template, pairs=pairs, model=model)


def plain_logits(family, tokens):
    """Return the logits of one row without padding: (T, V)."""
    with torch.inference_mode():
        return family.model(input_ids=torch.tensor([tokens.prompt + tokens.completion])).logits[0]


def plain_log_probabilities(family, tokens):
    """Return the log-probabilities of the completion: (number of its tokens,)."""
    found = plain_logits(family, tokens).log_softmax(-1)[len(tokens.prompt) - 1 : -1]
    return found.gather(1, torch.tensor(tokens.completion)[:, None])[:, 0]


def trainer_of(family, kind, folder):
    arguments = train_parameters(kind, family.folder, "rows.parquet", zeroStage=0, chatTemplate=family.template)
    if kind == "sft":
        rows = [{"prompt": prompt, "completion": message("assistant", text)} for prompt, text, _ in PAIRS]
        parsed = SftParameters.model_validate(arguments)
        make_config, make = trainers.sft_config, trainers.sft_trainer
    else:
        rows = [
            {"prompt": prompt, "chosen": message("assistant", a), "rejected": message("assistant", b)}
            for prompt, a, b in PAIRS
        ]
        parsed = DpoParameters.model_validate(arguments)
        make_config, make = trainers.dpo_config, trainers.dpo_trainer
    data = Dataset.from_list([row | {"chat_template_kwargs": TEMPLATE_ARGUMENTS} for row in rows])
    return make(parsed, make_config(parsed, folder, cuda=False, save_strategy="no"), data, family.tokenizer, [])


def forward(trainer):
    """Return the batch of all rows, and what the model returns where the trainer computes the loss."""
    batch = trainer.data_collator(list(trainer.train_dataset))
    outputs = []
    handle = trainer.model.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    trainer.model.eval()  # no dropout
    with torch.inference_mode():
        trainer.compute_loss(trainer.model, dict(batch))
        handle.remove()
        logits = trainer.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    return batch, outputs[0].log_probs, logits


@pytest.mark.parametrize("kind", ["sft", "dpo"])
def test_a_trainer_has_the_masks_and_logits_of_plain_transformers(family, kind, tmp_path):
    trainer = trainer_of(family, kind, tmp_path)
    batch, log_probs, logits = forward(trainer)
    rows = [pair.chosen for pair in family.pairs]
    trained = batch["labels"] != -100 if kind == "sft" else batch["completion_mask"].bool()
    if kind == "dpo":
        rows += [pair.rejected for pair in family.pairs]
    assert len({len(row.prompt) + len(row.completion) for row in rows}) > 1, "rows have padding"
    for index, row in enumerate(rows):
        start, stop = len(row.prompt), len(row.prompt) + len(row.completion)
        assert batch["input_ids"][index, :stop].tolist() == row.prompt + row.completion
        assert batch["attention_mask"][index].tolist() == [1] * stop + [0] * (trained.shape[1] - stop)
        assert trained[index].nonzero()[:, 0].tolist() == list(range(start, stop))
        torch.testing.assert_close(logits[index, :stop], plain_logits(family, row), atol=1e-4, rtol=0)
        expected = plain_log_probabilities(family, row)
        torch.testing.assert_close(log_probs[index, start - 1 : stop - 1], expected, atol=1e-4, rtol=0)


def test_promote_has_the_log_probabilities_of_plain_transformers(family):
    sums = promote._log_probabilities(str(family.folder), family.pairs, lambda _: None, cuda=False)
    for pair, found in zip(family.pairs, sums, strict=True):
        for tokens, value in zip(pair, found, strict=True):
            expected = float(plain_log_probabilities(family, tokens).double().sum())
            assert value == pytest.approx(expected, abs=1e-4 * len(tokens.completion))
