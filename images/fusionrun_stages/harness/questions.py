"""The texts of a task's questions, so that ``prepare`` drops training prompts that overlap them."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fusionrun_stages.prompts.contamination import words_of
from fusionrun_stages.volume.atomic import write_atomic
from fusionrun_stages.volume.paths import inside_volume

QUESTIONS = "questions.jsonl"
"""File in the folder of the data: a text per line, as JSON."""
WORDS_MIN = 4
"""A field of a document with fewer words is no question. Project: names of subjects and options such as "yes" would
otherwise equal training prompts."""


def write_questions(folder: Path, tasks: Mapping[str, Any]) -> None:
    """Write the texts of the questions of all tasks, each once."""
    every = ((task, document) for _, task in sorted(tasks.items()) for document in task.eval_docs)
    texts = dict.fromkeys(text for task, document in every for text in _of(task, document))
    write_atomic(folder / QUESTIONS, "".join(json.dumps(text) + "\n" for text in texts).encode())


def read_questions(folder: Path) -> Iterator[str]:
    """Yield the texts of the questions."""
    with inside_volume(folder / QUESTIONS).open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _of(task: Any, document: Any) -> Iterator[str]:
    """Yield what a model is asked about a document, and the fields of the document that this contains.

    The template of a task adds words, so that no training prompt equals what is asked: it may equal the field. A task
    that compares several contexts has no text to ask; its fields then count without this condition.
    """
    asked = task.doc_to_text(document)
    if isinstance(asked, str):
        yield asked
    for value in document.values() if isinstance(document, Mapping) else ():
        is_text = isinstance(value, str) and len(words_of(value)) >= WORDS_MIN
        if is_text and (not isinstance(asked, str) or value.strip() in asked):
            yield value
