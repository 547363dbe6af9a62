"""The reasoning at the start of a reply is split from the answer."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionrun_stages.models.reasoning import TAGS, split_reasoning

CASES = [
    ("no tags", "Seven.", "Seven.", None),
    ("blank", "", "", None),
    ("only spaces", " \n ", " \n ", None),
    ("spaces around an answer without reasoning stay", "  Seven. \n", "  Seven. \n", None),
    ("a block, then the answer", "<think>\n3 and 4\n</think>\n\nSeven.", "Seven.", "3 and 4"),
    ("an answer directly after the tag", "<think>3 and 4</think>Seven.", "Seven.", "3 and 4"),
    ("space before the opening tag", "\n <think>a</think>b", "b", "a"),
    ("a blank block", "<think>\n\n</think>\n\nSeven.", "Seven.", None),
    ("two blocks", "<think>a</think>\n<think>b</think>\nSeven.", "Seven.", "a\n\nb"),
    ("two kinds of tags", "<think>a</think><thought>b</thought>Seven.", "Seven.", "a\n\nb"),
    ("an unclosed block", "<think>3 and 4, so", "", "3 and 4, so"),
    ("an unclosed second block", "<think>a</think> <think>b", "", "a\n\nb"),
    ("only an opening tag", "<think>", "", None),
    ("only reasoning", "<think>a</think>\n", "", "a"),
    ("the template wrote the opening tag", "3 and 4\n</think>\n\nSeven.", "Seven.", "3 and 4"),
    ("the same, closed at the end of a line", "3 and 4</think>\nSeven.", "Seven.", "3 and 4"),
    ("the same, closed at the start of a line", "3 and 4\n</think>Seven.", "Seven.", "3 and 4"),
    ("the same, without reasoning", "</think>\n\nSeven.", "Seven.", None),
    ("the same, with a second block", "a\n</think>\n<think>b</think>Seven.", "Seven.", "a\n\nb"),
    ("a closing tag in a sentence", "Qwen writes </think> before it answers.", None, None),
    ("a closing tag in a span of code", "The tag `</think>`\nends it.", None, None),
    ("both tags in the answer", "Write:\n<think>\nwhy\n</think>\nanswer", None, None),
    ("a block inside the answer", "Seven. <think>was that right?</think> Yes.", None, None),
    ("a second closing tag belongs to the answer", "<think>a</think>b\n</think>\nc", "b\n</think>\nc", "a"),
    ("tags that a prompt asks for", "<reasoning>a</reasoning>\n<answer>b</answer>", None, None),
    ("a longer name", "<thinking>a</thinking> b", None, None),
    ("capital letters", "<THINK>a</THINK> b", None, None),
    ("an XML element with attributes", '<think kind="x">a</think> b', None, None),
]


@pytest.mark.parametrize(("text", "answer", "reasoning"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_reasoning_at_the_start_is_split_from_the_answer(text, answer, reasoning):
    assert split_reasoning(text) == (text if answer is None else answer, reasoning)


@pytest.mark.parametrize("opening", TAGS)
def test_the_tags_of_every_family_are_known(opening):
    closing = TAGS[opening]
    assert split_reasoning(f"{opening}\na\n{closing}\n\nb") == ("b", "a")
    assert split_reasoning(f"a\n{closing}\n\nb") == ("b", "a")


@pytest.mark.parametrize(
    "unit", ["<think></think>", "<think>", "</think>\n", "\n</think> x", " ", "<think>\n</thought>"]
)
def test_the_time_is_linear_in_the_length(unit):
    started = time.process_time()
    split_reasoning(unit * (2**21 // len(unit)))
    assert time.process_time() - started < 5


PIECES = st.sampled_from([*TAGS, *TAGS.values(), "\n", " ", "word"]) | st.text(max_size=3)


@given(st.lists(PIECES, max_size=8).map("".join))
def test_an_answer_is_the_end_of_the_text_and_does_not_start_with_reasoning(text):
    answer, reasoning = split_reasoning(text)
    assert text.endswith(answer)
    assert not answer.lstrip().startswith(tuple(TAGS))
    assert reasoning is None or reasoning == reasoning.strip() != ""
    if not any(tag in text for tag in [*TAGS, *TAGS.values()]):
        assert (answer, reasoning) == (text, None)
