"""Conversations to score: texts on disk, batches, memory."""

import tracemalloc

import pytest

from fusionrun.api.tasks.responses import ScoreParameters
from fusionrun_stages.reward.conversations import Conversation, make_batches, open_text_file, read_conversations
from support.stage import prompt, response, write_inputs


def parameters_of(tmp_path, texts, max_length=10**9):
    prompts = [prompt(f"p{i}", task="Instruction", prompt=f"prompt {i} é") for i in range(len(texts))]
    rows = (response(f"p{i}", text, n) for i, answers in enumerate(texts) for n, text in enumerate(answers))
    inputs = write_inputs(tmp_path, prompts, rows)
    return ScoreParameters(source="s", batch_size=4, max_length=max_length, **inputs)


def characters(prompt, answer):
    return None if "<pad>" in answer else len(prompt) + len(answer)


def test_texts_are_read_as_written(tmp_path):
    answers = [["", "one", "ünë", "line\nline"], ["x" * 100_000, "\N{GRINNING FACE}"]]
    with open_text_file() as texts:
        spans = [texts.add(text) for group in answers for text in group]
        assert [texts.read(span) for span in reversed(spans)] == [t for g in reversed(answers) for t in reversed(g)]


def test_batches_have_similar_lengths_and_the_texts_of_the_files(tmp_path):
    answers = [["short", "much longer than that", "short"], ["of a middling length", "<pad> in it", " ", "z" * 500]]
    with open_text_file() as texts:
        found, unscored = read_conversations(texts, characters, parameters_of(tmp_path, answers, max_length=100), 0)
        batches = make_batches(found, 2, None)
        read = [
            [(texts.read_prompt(one.prompt), texts.read(one.response), one.keys) for one in batch] for batch in batches
        ]
    assert read == [
        [
            ("prompt 0 é", "much longer than that", [("p0", "s", 1)]),
            ("prompt 1 é", "of a middling length", [("p1", "s", 0)]),
        ],
        [("prompt 0 é", "short", [("p0", "s", 0), ("p0", "s", 2)])],
    ]
    assert unscored == {"ambiguous": 1, "blank": 1, "too_long": 1}


@pytest.mark.parametrize(
    ("most", "tokens", "batches"),
    [
        (4, None, [[90, 50, 20, 20], [10, 10, 1]]),
        (4, 100, [[90], [50, 20], [20, 10, 10, 1]]),  # the padding of the second conversation of a batch counts
        (2, 100, [[90], [50, 20], [20, 10], [10, 1]]),
        (4, 16, [[90], [50], [20], [20], [10], [10], [1]]),  # a longer conversation is scored alone
    ],
)
def test_a_batch_has_at_most_the_padded_tokens_of_its_limit(most, tokens, batches):
    lengths = [10, 50, 20, 1, 90, 20, 10]
    conversations = [Conversation((0, 0), (0, 0), n, [(f"p{i}", "s", 0)]) for i, n in enumerate(lengths)]
    assert [[one.length for one in batch] for batch in make_batches(conversations, most, tokens)] == batches


def test_memory_depends_on_the_number_of_responses_not_their_length(tmp_path):
    count, length = 2000, 5000
    answers = [[f"{i} {n} ".ljust(length, "x") for n in range(4)] for i in range(count // 4)]
    parameters = parameters_of(tmp_path, answers)
    del answers
    with open_text_file() as texts:
        tracemalloc.start()
        try:
            batches = make_batches(read_conversations(texts, characters, parameters, 0)[0], 16, None)
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert sum(map(len, batches)) == count
    assert held < count * 1024 < count * length / 4
