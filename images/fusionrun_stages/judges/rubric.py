"""A user's own rubric: a judge rates each response from 1 to 10."""

from collections.abc import Mapping, Sequence

from fusionrun.api.evaluation_records import Question
from fusionrun.api.records import Message, Response
from fusionrun_stages.errors import UserError
from fusionrun_stages.judges.protocol import Call, Judged, Reply
from fusionrun_stages.judges.ratings import last_rating
from fusionrun_stages.judges.templates import literal_template

NAMES = ("prompt", "response", "answer")
RATING_MIN = 1.0


class Rubric:
    """One request per response: the rubric with the prompt, the response and the reference answer."""

    def __init__(self, rubric: str | None) -> None:
        if rubric is None:
            raise UserError("rubric: required for grader Rubric")
        self._template = literal_template(
            rubric, "rubric", NAMES, required=[name for name in NAMES if name == "response" or f"{{{name}}}" in rubric]
        )
        self._needs_answer = "{answer}" in rubric

    def calls(self, question: Question, response: Response) -> Sequence[Call]:
        """Return the request."""
        if response.finish_reason == "error":
            return ()
        if self._needs_answer and question.answer is None:
            where = f"benchmark {question.dataset}, prompt {question.prompt_id}"
            raise UserError(f"{where}: the rubric has {{answer}}, and the prompt has no answer")
        values = {"prompt": question.prompt, "response": response.text, "answer": question.answer or ""}
        return (Call(0, (Message(role="user", content=self._template.fill(values)),)),)

    def next_attempt(self, _call: Call, _reply: Reply) -> Call | None:
        """Return None: the judge is asked once."""
        return None

    def judged(self, _question: Question, response: Response, replies: Mapping[int, Reply]) -> Judged:
        """Return the last rating in double brackets."""
        if response.finish_reason == "error":
            return Judged(value=None)
        rating = last_rating(replies[0].text) if 0 in replies else None
        if rating is None or rating < RATING_MIN:
            return Judged(value=None, unparsed=1)
        return Judged(value=rating)
