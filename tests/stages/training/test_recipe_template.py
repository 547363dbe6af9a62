"""The recipe's chat template for Llama targets: its text, its tokens, and tokenizers that lack them."""

import hashlib
import json
from pathlib import Path

import pytest
import transformers
import trl

from fusionrun.api.stage import TemplateName
from fusionrun_stages.errors import UserError
from fusionrun_stages.models.recipe_template import check_tokens_of, saved_template, use_template
from fusionrun_stages.training.rows import load_tokenizer
from fusionrun_stages.training.tokens import RowCheck, split_conversation
from support import tiny_llama
from support.tiny_llama import message
from support.tokenizers import tokenizer_of

LLAMA_3 = TemplateName.LLAMA_3


@pytest.fixture
def saved(tmp_path):
    """Return the folder of a Llama 3 tokenizer whose own template writes a date."""
    tokenizer_of("llama 3").save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        (
            message("user", "Hi") + message("assistant", "Hello."),
            "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nHello.<|eot_id|>",
        ),
        (
            message("system", "Be brief.") + message("user", "Hi"),
            "<|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
        (
            message("user", " \n a\n\nb \n"),
            "<|start_header_id|>user<|end_header_id|>\n\na\n\nb<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
    ],
    ids=["no system prompt and no date", "a system prompt", "white space around a text"],
)
def test_the_template_writes_the_format_of_llama_3(saved, messages, expected):
    tokenizer = load_tokenizer(str(saved), LLAMA_3)
    text = tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=messages[-1]["role"] == "user", date_string="1 May 2026"
    )
    assert text == "<|begin_of_text|>" + expected


def test_the_template_writes_what_the_published_one_of_llama_3_writes(saved):
    published = (Path(trl.__file__).parent / "chat_templates/llama3.jinja").read_text()
    tokenizer = load_tokenizer(str(saved), LLAMA_3)
    turns = [
        *message("system", "Be brief."),
        *message("user", " Hi\n"),
        *message("assistant", "Hello."),
        *message("user", "Go"),
    ]
    for messages, opens in ((turns, True), (turns[1:3], False), (turns[1:2], True)):
        own, other = (
            tokenizer.apply_chat_template(messages, chat_template=template, tokenize=False, add_generation_prompt=opens)
            for template in (None, published)
        )
        assert own == other


def test_the_training_tokens_have_one_bos_and_pass_the_checks(saved):
    tokenizer = load_tokenizer(str(saved), LLAMA_3)
    prompt, answer = message("user", "Name a river."), message("assistant", "\nThe Ebro.\n")
    tokens = split_conversation(tokenizer, prompt, answer)
    assert (tokens.prompt + tokens.completion).count(tokenizer.bos_token_id) == 1
    assert tokenizer.decode(tokens.completion) == "The Ebro.<|eot_id|>"
    check = RowCheck(tokenizer)
    assert check.end_of_turn == tokenizer.eos_token_id
    assert check.problem(prompt + answer, tokens) is None


def test_the_template_is_saved_with_the_tokenizer(saved, tmp_path):
    tokenizer = load_tokenizer(str(saved), LLAMA_3)
    assert saved_template(saved).name is None, "its own"
    tokenizer.save_pretrained(tmp_path / "trained")
    found = saved_template(tmp_path / "trained")
    content = (tmp_path / "trained/chat_template.jinja").read_bytes()
    assert found == (LLAMA_3, hashlib.sha256(content).hexdigest())
    again = transformers.AutoTokenizer.from_pretrained(tmp_path / "trained")
    assert again.chat_template == tokenizer.chat_template
    assert saved_template(tmp_path / "none") is None


MISSING = (
    "target.chatTemplate: Recipe: target.model: the tokenizer has no token "
    r"<\|end_header_id\|>, <\|eot_id\|>, <\|start_header_id\|>"
)


def test_a_tokenizer_without_the_tokens_is_refused_in_training():
    with pytest.raises(UserError, match=MISSING):
        use_template(tiny_llama.make_tokenizer(), LLAMA_3, "target.model")


def listed(*names):
    return [{"content": name} for name in names]


HEADERS = ("<|start_header_id|>", "<|end_header_id|>")
FILES = {
    "listed in tokenizer.json": ({"tokenizer.json": {"added_tokens": listed(*HEADERS, "<|eot_id|>")}}, None),
    "listed in tokenizer_config.json": (
        {"tokenizer_config.json": {"added_tokens_decoder": dict(enumerate(listed(*HEADERS, "<|eot_id|>")))}},
        None,
    ),
    "listed in neither": ({"tokenizer.model": {}, "tokenizer_config.json": {"bos_token": "<s>"}}, None),
    "missing": ({"tokenizer.json": {"added_tokens": listed("<s>")}}, MISSING),
    "one missing": ({"tokenizer.json": {"added_tokens": listed(*HEADERS)}}, r"no token <\|eot_id\|>, which"),
}


@pytest.mark.parametrize("name", FILES)
def test_files_of_a_tokenizer_without_the_tokens_are_refused_before_any_request_of_a_gpu(tmp_path, name):
    files, problem = FILES[name]
    for file, content in files.items():
        (tmp_path / file).write_text(json.dumps(content))
    if problem is None:
        check_tokens_of(tmp_path, LLAMA_3, "target.model")
    else:
        with pytest.raises(UserError, match=problem):
            check_tokens_of(tmp_path, LLAMA_3, "target.model")
