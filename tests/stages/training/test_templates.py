"""Texts that quote special tokens: the row keeps exactly its turns, or is dropped (``templates.json``)."""

import html
import json
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trl import data_utils

from fusionrun_stages.models.chat_template import TEMPLATE_ARGUMENTS
from fusionrun_stages.training.tokens import SPECIAL_TOKENS, RowCheck, split_conversation
from support.tiny_llama import message
from support.tokenizers import FAMILIES, tokenizer_of

CASES = json.loads(Path(__file__).with_name("templates.json").read_text())


@cache
def check_of(name):
    return RowCheck(tokenizer_of(name))


def marks_of(name):
    """Return the texts that a case may name."""
    family = FAMILIES[name]
    end = family["marks"]["end"]
    forms = {"half": end[: len(end) // 2], "rest": end[len(end) // 2 :], "html": html.escape(end)}
    swapped = {"end:swapped": end[:1] + end[1:].swapcase()}
    return (
        family["marks"]
        | {"bos": family["bos"] or family["marks"]["other"]}
        | swapped
        | {f"end:{form}": text for form, text in forms.items()}
    )


def filled(name, text):
    for mark, written in marks_of(name).items():
        text = text.replace(f"{{{mark}}}", written)
    return text


def assert_turns(name, prompt, answer, tokens):
    """Check, without ``RowCheck``, that the row has one turn of a user, and one end of a turn under the loss."""
    tokenizer = tokenizer_of(name)
    marks = FAMILIES[name]["marks"]
    first = {mark: tokenizer(marks[mark], add_special_tokens=False).input_ids[0] for mark in ("user", "end")}
    plain = split_conversation(tokenizer, message("user", "x"), message("assistant", "y"))
    assert tokens.completion.count(first["end"]) == 1
    for mark in first.values():
        assert tokens.prompt.count(mark) == plain.prompt.count(mark)
    end = tokens.completion.index(first["end"])
    written = tokenizer.decode(tokens.completion[:end], skip_special_tokens=False)
    expected = tokenizer.decode(tokenizer(answer, add_special_tokens=False).input_ids, skip_special_tokens=False)
    assert written.strip() == expected.strip()


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_a_row_keeps_its_turns_or_is_dropped(name, case):
    prompt, answer = (
        message(role, filled(name, case[key])) for role, key in (("user", "prompt"), ("assistant", "answer"))
    )
    tokens = split_conversation(tokenizer_of(name), prompt, answer)
    right = case.get("except", {}).get(name, case["right"])
    assert (check_of(name).problem(prompt + answer, tokens) or "kept") == right
    if right == "kept":
        assert_turns(name, prompt[0]["content"], answer[0]["content"], tokens)


EARLIER = message("user", "Name a sea.") + message("assistant", "The Aral Sea.")


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("earlier", [[], EARLIER], ids=["one turn", "two turns"])
def test_the_tokens_are_those_of_trl(name, earlier):
    tokenizer = tokenizer_of(name)
    prompt, answer = earlier + message("user", "Name a river."), message("assistant", " The Ebro.\n")
    opening, full = (
        data_utils._tokenize(tokenizer, messages, **arguments | TEMPLATE_ARGUMENTS)["input_ids"]
        for messages, arguments in ((prompt, {"add_generation_prompt": True}), (prompt + answer, {}))
    )
    start = data_utils.common_prefix_length(opening, full)
    assert split_conversation(tokenizer, prompt, answer) == (full[:start], full[start:])


@pytest.mark.parametrize("name", FAMILIES)
def test_only_the_last_answer_of_a_conversation_is_trained(name):
    prompt = message("user", "Name a river.") + message("assistant", "The Ebro.") + message("user", "Another?")
    answer = message("assistant", "The Douro.")
    tokenizer, tokens = tokenizer_of(name), split_conversation(tokenizer_of(name), prompt, answer)
    assert check_of(name).problem(prompt + answer, tokens) is None
    opening, completion = (tokenizer.decode(part, skip_special_tokens=False) for part in tokens)
    assert [text in opening for text in ("river", "Ebro", "Another", "Douro")] == [True, True, True, False]
    first = message("user", "Name a river."), answer
    assert tokens.completion == split_conversation(tokenizer, *first).completion
    assert "Douro" in completion
    quoting = [prompt[0], prompt[1] | {"content": f"The Ebro.{marks_of(name)['end']}"}, prompt[2]]
    assert check_of(name).problem(quoting + answer, split_conversation(tokenizer, quoting, answer)) == SPECIAL_TOKENS


def texts(name):
    """Return texts of words, single characters, and the marks of a family, whole and cut."""
    marks = [*FAMILIES[name]["special"], *FAMILIES[name].get("added", []), *marks_of(name).values()]
    pieces = st.sampled_from(marks) | st.sampled_from(["a", " ", "\n", "word", "</think>", "{", "\u2581"])
    return st.lists(pieces | st.text(max_size=3), max_size=6).map("".join)


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_texts_keep_the_turns_or_drop_the_row(name, data):
    prompt, answer = message("user", data.draw(texts(name))), message("assistant", data.draw(texts(name)))
    tokens = split_conversation(tokenizer_of(name), prompt, answer)
    problem = check_of(name).problem(prompt + answer, tokens)
    contents = prompt[0]["content"], answer[0]["content"]
    if problem is None:
        assert_turns(name, *contents, tokens)
    elif problem == SPECIAL_TOKENS:
        control = [*FAMILIES[name]["special"], *FAMILIES[name]["marks"].values()]
        assert any(mark.strip() in text for mark in control for text in contents), "no row is dropped for nothing"
