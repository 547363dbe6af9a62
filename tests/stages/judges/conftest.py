"""Questions, responses and a fake judge."""

import pytest

from fusionrun.api.evaluation_records import Question
from fusionrun.api.records import Response
from fusionrun.api.spec.evaluation import Grader
from fusionrun_stages.judges.open import open_judge
from fusionrun_stages.judges.protocol import JudgeProtocol, Reply
from support.judges import FILES, protocol


@pytest.fixture
def opened(tmp_path):
    """Open a protocol; ``files`` replace invented ones, and None removes one."""

    def opened(grader: Grader, rubric: str | None = None, files: dict[str, str | None] | None = None) -> JudgeProtocol:
        for name, text in (FILES[grader] | (files or {})).items():
            if text is not None:
                (tmp_path / name).write_text(text, encoding="utf-8")
        return open_judge(protocol(grader, rubric), tmp_path)

    return opened


@pytest.fixture
def ask():
    """Make a question."""

    def ask(prompt: str = "Why?", **fields) -> Question:
        return Question(prompt_id="0123456789abcdef", dataset="bench", task="Rubric", prompt=prompt, **fields)

    return ask


@pytest.fixture
def respond():
    """Make a response."""

    def respond(text: str = "Because.", finish_reason: str = "stop", **fields) -> Response:
        row = {"prompt_id": "0123456789abcdef", "dataset": "bench", "source": "model", "sample_index": 0}
        return Response(**row, text=text, finish_reason=finish_reason, **fields)

    return respond


@pytest.fixture
def run():
    """Judge a response with a fake judge, a function from the call to its reply, as the stage ``judge`` does."""

    def run(protocol, question, response, judge):
        replies, sent = {}, []
        for first in protocol.calls(question, response):
            call = first
            while call is not None:
                sent.append(call)
                reply = judge(call)
                replies[call.number] = reply if isinstance(reply, Reply) else Reply(text=reply)
                call = protocol.next_attempt(call, replies[call.number])
        return protocol.judged(question, response, replies), sent

    return run
