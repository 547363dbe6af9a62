"""Invented rows in the schema of the files that the authors published, and the rows of an invented run."""

import json

import pytest

from fusionrun.api.records import Message, PreferencePair, SftExample
from fusionrun_stages.compare_published.__main__ import compare, main
from fusionrun_stages.volume.parquet import write_rows

MARKED = "Hi\n<extra_id_1>Assistant\nHello\n<extra_id_1>User\nA joke!"


def published_sft(prompt, answer, dataset, model):
    turns = [{"from": "human", "value": prompt}, {"from": "gpt", "value": answer}]
    return {"conversations": turns, "dataset": dataset, "source_model": model}


def published_pair(prompt, chosen, rejected, dataset, model):
    sides = {
        side: [{"role": "assistant", "content": text}] for side, text in (("chosen", chosen), ("rejected", rejected))
    }
    return {"prompt": [{"role": "user", "content": prompt}], **sides, "dataset": dataset, "source_model": model}


SFT = [
    published_sft("Sort it.", "sorted", "leetcode", "Qwen2.5-72B"),
    published_sft("Add  it.", "added", "leetcode", "Llama-3.1-70B"),
    published_sft(MARKED, "Why did the", "helpsteer2", "gemma-2-27b"),
]
PAIRS = [
    published_pair("Sort it.", "sorted", "unsorted", "leetcode", "Qwen2.5-72B"),
    published_pair("Sort it.", "other", "unsorted", "leetcode", "Llama-3.1-70B"),
    published_pair("Add it.", "new", "new", "leetcode", "Qwen2.5-72B"),
    published_pair("Sing.", "la la la", "la", "helpsteer2", "gemma-2-27b"),
]


def message(role, content):
    return Message(role=role, content=content)


def write_run(folder):
    key = {"prompt_id": "0" * 16, "source": "qwen"}
    joke = [message("user", "Hi"), message("assistant", "Hello"), message("user", "A joke!")]
    rows = [
        SftExample(
            **key,
            dataset="code",
            source_model="Qwen2.5-72B",
            messages=[message("user", "Sort it."), message("assistant", "s")],
        ),
        SftExample(**key, dataset="help", source_model="gemma-2-27b", messages=[*joke, message("assistant", "Why")]),
        SftExample(**key, dataset="own", messages=[message("user", "New?"), message("assistant", "Yes")]),
    ]
    sides = {side: [message("assistant", side)] for side in ("chosen", "rejected")} | {
        "chosen_score_micro": 2,
        "rejected_score_micro": 1,
    }
    pair = PreferencePair(**key, dataset="help", source_model="x", prompt=[message("user", "Sing.")], **sides)
    folder.mkdir()
    write_rows(folder / "sft.parquet", SftExample, rows)
    write_rows(folder / "pairs.parquet", PreferencePair, [pair])
    write_rows(folder / "held-out.parquet", PreferencePair, [])
    return folder


@pytest.fixture(params=["array", "lines"])
def files(request, tmp_path):
    """Write the published files, as an array or one row per line."""
    paths = tmp_path / "sft" / "train.json", tmp_path / "dpo" / "train.json"
    for path, rows in zip(paths, (SFT, PAIRS), strict=True):
        path.parent.mkdir()
        path.write_text(json.dumps(rows) if request.param == "array" else "\n".join(map(json.dumps, rows)))
    return paths


def test_the_published_files_are_counted_by_data_set(files):
    published = compare(*files, None)["published"]
    code, help_steer = (published["datasets"][name] for name in ("leetcode", "helpsteer2"))
    assert {name: code[name] for name in list(code)[:-3]} == {
        "sft_rows": 2,
        "pairs": 3,
        "prompts": 2,
        "prompts_of_several_turns": 0,
        "prompts_in_sft_and_dpo": 2,
        "of_these_with_one_source": 1,
        "pairs_whose_chosen_is_the_sft_response": 1,
        "prompts_by_sft_rows": {"1": 2},
        "prompts_by_pairs": {"1": 1, "2": 1},
        "pairs_with_equal_sides": 1,
        "rows_with_marks_in_a_message": 0,
        "rows_with_system_prompt": 0,
    }
    assert code["sft_rows_by_source_model"] == {"Qwen2.5-72B": 1, "Llama-3.1-70B": 1}
    assert code["pairs_by_source_model"] == {"Qwen2.5-72B": 2, "Llama-3.1-70B": 1}
    assert code["characters"]["chosen"] == {"5 %": 3, "50 %": 5, "95 %": 6, "100 %": 6}
    assert (help_steer["prompts"], help_steer["prompts_of_several_turns"]) == (2, 1)
    assert (help_steer["rows_with_marks_in_a_message"], help_steer["prompts_in_sft_and_dpo"]) == (1, 0)
    assert published["unusable"] == {}


def test_a_run_is_compared_by_its_prompts(files, tmp_path):
    found = compare(*files, write_run(tmp_path / "run"))
    assert found["run"]["datasets"]["help"]["prompts_of_several_turns"] == 1
    assert found["run"]["datasets"]["own"]["sft_rows_by_source_model"] == {"qwen": 1}
    sets = {"in_the_same_sets": 0, "in_sft_on_both_sides": 1, "of_these_with_one_source": 1}
    assert found["overlap"] == {
        "code": {"prompts": 1, "shared": {"leetcode": 1}, "published_as": "leetcode", **sets},
        "help": {
            "prompts": 2,
            "shared": {"helpsteer2": 2},
            "published_as": "helpsteer2",
            **sets,
            "in_the_same_sets": 2,
        },
        "own": {"prompts": 1, "shared": {}},
    }


def test_one_file_is_enough_and_unusable_rows_are_counted(tmp_path):
    path = tmp_path / "train.json"
    path.write_text(
        json.dumps(
            [*SFT, {"conversations": [], "dataset": "d"}, SFT[0] | {"conversations": SFT[0]["conversations"][:1]}]
        )
    )
    found = compare(path, None, None)["published"]
    assert sum(counts["sft_rows"] for counts in found["datasets"].values()) == 3
    assert found["unusable"] == {
        "no prompt in column 'conversations'": 1,
        "no answer at the end of column 'conversations'": 1,
    }


def test_the_command_writes_tables_or_json(files, tmp_path, capsys):
    sft, dpo = map(str, files)
    given = ["--sft", sft, "--dpo", dpo, "--dataset", str(write_run(tmp_path / "run"))]
    assert main([*given, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == compare(*files, tmp_path / "run")
    assert main(given) == 0
    lines = capsys.readouterr().out.splitlines()
    (counts,) = [line.split()[2:] for line in lines if line.startswith("published  leetcode") and "1 x 1" in line]
    assert counts == ["2", "3", "2", "2", "1", "1", "0", "0", "0", "1", "1", "x", "1,", "1", "x", "2"]
    assert any(line.split() == ["help", "2", "helpsteer2", "2", "2", "1", "1"] for line in lines)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"messages": []}]', "column 'conversations': missing in train.json, which has: messages"),
        ("[", "a row must be a JSON object"),
        ("", "the data set is empty"),
    ],
)
def test_another_file_is_refused(tmp_path, capsys, content, message):
    path = tmp_path / "train.json"
    path.write_text(content)
    assert main(["--sft", str(path)]) == 2
    assert message in capsys.readouterr().err


def test_a_folder_without_rows_is_refused(files, tmp_path, capsys):
    assert main(["--sft", str(files[0]), "--dataset", str(tmp_path)]) == 2
    assert "no sft.parquet: it must be the artifact of construct" in capsys.readouterr().err
