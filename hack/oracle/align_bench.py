"""Compare the requests and the ratings of AlignBench with the official code, on invented judgements.

``main`` runs this file with another Python (openai, requests, tqdm) on a checkout of github.com/SLIT-AI/FuseChat-3.0,
and writes the judgements and the official ratings to ``tests/stages/judges/align_bench.json``. The official template
and dimensions have no licence: the requests are compared here, and are not written.
"""

# ruff: noqa: PLC0415 (the packages and the path of the official code are in another Python)
import json
import random
import shutil
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from unittest.mock import MagicMock

FIXTURE = Path(__file__).parents[2] / "tests/stages/judges/align_bench.json"
FOLDER = "FuseEval/IF-Eval/AlignBench"
FILES = ("judge.py", "config/subcategory_question_mapping.json", "config/dimension_set.json")
DEFINITIONS = "config/dimension_definition.json"
COUNT = 400
OVERALL = "综合得分"
PIECES = (
    "{{'正确': {0}, '清晰': {1}, '综合得分': {2}}}",
    "{{'正确': {0}, '综合得分': {2}}} 然后 {{'清晰': {1}}}",
    "{{'清晰': {1}}} 以及 {{'正确': {0}, '综合得分': {2}}}",
    "{{'正确': {0},\n'综合得分': {2}}}",
    "{{\n'正确': {0}, '综合得分': {2}\n}}",
    "'综合得分': {2}.5",
    "{{'综合得分': {2}.5}}",
    "{{'综合得分': '{2}'}}",
    '{{"综合得分": {2}}}',
    "综合得分: {2}",
    "{{'综合得分':{2}}}",
    "{{{{'综合得分': {2}}}}}",
    "{{'a': {0}, '综合得分': {2}}} }}",
    "{{ '综合得分': {2}",
    "}} {{",
    "回答很好。",
    "\n",
    "{{}}",
    "它's '综合得分': {1}, {{'综合得分': {2}}}",
    "{{'综合得分': {0}, '综合得分': {2}}}",
)


def make_judgements(chance):
    """Invent judgements: each piece alone, then random sequences of pieces and of single characters."""
    made = []
    for number in range(COUNT):
        count = 1 if number < len(PIECES) else chance.randint(1, 4)
        pieces = [PIECES[number]] if number < len(PIECES) else chance.choices(PIECES, k=count)
        made.append("".join(piece.format(*(chance.randint(1, 10) for _ in range(3))) for piece in pieces))
    made += ["".join(chance.choices(["{", "}", "\n", f"'{OVERALL}': 7", ", ", "x"], k=12)) for _ in range(COUNT)]
    return list(dict.fromkeys(made))


def make_samples(kinds):
    """Invent one sample per subcategory."""
    return [
        {
            "question": f"问题 {number} {{answer}}",
            "reference": f"参考 {{{number}}}",
            "answer": f"答案 {number}\n",
            "category": f"类别 {number}",
            "subcategory": subcategory,
        }
        for number, subcategory in enumerate(kinds)
    ]


def main(arguments):
    """Make the fixture."""
    from fusionrun.api.evaluation_records import Question
    from fusionrun.api.records import Response
    from fusionrun_stages.judges.align_bench import AlignBench
    from oracle.official import read_arguments, run_official

    arguments = read_arguments(arguments, __doc__, "SLIT-AI/FuseChat-3.0")

    folder = arguments.repo.resolve() / FOLDER
    samples = make_samples(json.loads((folder / FILES[1]).read_text(encoding="utf-8")))
    judgements = make_judgements(random.Random(3))
    made = run_official(arguments.python, __file__, {"samples": samples, "judgements": judgements}, str(folder))

    with tempfile.TemporaryDirectory() as materials:
        for name in (*FILES, DEFINITIONS):
            shutil.copy(folder / name, materials)
        protocol = AlignBench(Path(materials))
    for sample, prompt in zip(samples, made["prompts"], strict=True):
        question = Question(
            prompt_id="0" * 16,
            dataset="align-bench",
            task="AlignBench",
            prompt=sample["question"],
            references=[sample["reference"]],
            data=json.dumps({name: sample[name] for name in ("category", "subcategory")}),
        )
        row = {"prompt_id": "0" * 16, "dataset": "align-bench", "source": "model", "sample_index": 0}
        response = Response(**row, text=sample["answer"], finish_reason="stop")
        (call,) = protocol.calls(question, response)
        if [message.content for message in call.messages] != [prompt]:
            raise SystemExit(f"another request for the subcategory {sample['subcategory']}")
    lines = (json.dumps(row, ensure_ascii=False) for row in zip(judgements, made["scores"], strict=True))
    FIXTURE.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
    print(f"{len(samples)} equal requests; {len(judgements)} judgements: {FIXTURE}")


def official(folder):
    """Read inputs from standard input, and print the official results as one line of JSON."""
    sys.modules["tenacity"] = MagicMock()
    sys.path.insert(0, str(folder))
    import judge

    config = judge.Config.__new__(judge.Config)
    config.subcategory_type_map, config.category_dimension_map, config.dimension_def_map = (
        json.loads((folder / name).read_text(encoding="utf-8")) for name in (*FILES[1:], DEFINITIONS)
    )
    given = json.load(sys.stdin)
    prompts = [judge.prompt_construct(judge.Sample(**sample), config)[1] for sample in given["samples"]]
    with redirect_stdout(sys.stderr):
        scores = [judge.post_process(text)[1] for text in given["judgements"]]
    print(json.dumps({"prompts": prompts, "scores": scores}))


if __name__ == "__main__":
    official(Path(sys.argv[1]))
