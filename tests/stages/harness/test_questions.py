"""The texts by which training prompts are compared with the questions of a task."""

from types import SimpleNamespace

import pytest

from fusionrun_stages.harness.questions import read_questions, write_questions

LONG = "Who wrote the first book?"


@pytest.mark.parametrize(
    ("document", "asked", "texts"),
    [
        ({"question": f"{LONG} ", "subject": "old books", "answer": "The one who wrote it first"},
         f"Question: {LONG}\nAnswer:", [f"Question: {LONG}\nAnswer:", f"{LONG} "]),
        ({"sentence": "The book or the pen is _.", "option1": "book", "answer": 1}, 1, ["The book or the pen is _."]),
        ({"passage": {"text": LONG}}, LONG, [LONG]),
        (["no", "object"], LONG, [LONG]),
    ],
    ids=["fields that are asked", "several contexts", "nested", "list"],
)  # fmt: skip
def test_the_texts_of_a_question(tmp_path, document, asked, texts):
    task = SimpleNamespace(eval_docs=[document, document], doc_to_text=lambda _: asked)
    write_questions(tmp_path, {"b": task, "a": SimpleNamespace(eval_docs=[], doc_to_text=None)})
    assert list(read_questions(tmp_path)) == texts


def test_line_breaks_and_half_characters_survive(tmp_path):
    text = "one\ntwo\u2028three \ud800"
    write_questions(tmp_path, {"a": SimpleNamespace(eval_docs=[{}], doc_to_text=lambda _: text)})
    assert list(read_questions(tmp_path)) == [text]
