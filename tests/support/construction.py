"""Run ``construct`` on responses that are written as a table."""

from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

from fusionrun.api.artifacts import ArtifactManifest, manifest_path, shard_name
from fusionrun.api.records import (
    SCHEMA_VERSION,
    PreferencePair,
    Prompt,
    Response,
    Score,
    SftExample,
    Verdict,
    VerdictValue,
)
from fusionrun.api.results.values import Prepared
from fusionrun.api.spec.data import RewardMargin, Task
from fusionrun.api.tasks.parameters import ConstructParameters, SourceInputs
from fusionrun_stages import construct
from fusionrun_stages.volume.manifest import write_manifest
from fusionrun_stages.volume.parquet import read_rows, write_rows
from fusionrun_stages.work import Made
from support.stage import make_work, prompt

R, W, U = VerdictValue.RIGHT, VerdictValue.WRONG, VerdictValue.UNKNOWN


@dataclass
class Answer:
    """One response; ``milli`` is its score in thousandths, or None if it is not scored."""

    source: str
    sample: int
    milli: float | None
    verdict: VerdictValue | None = None
    finish: str = "stop"
    detail: str = ""
    text: str | None = None


@dataclass
class Outcome:
    """The rows by prompt, and the result."""

    sft: dict[str, SftExample]
    pairs: dict[str, PreferencePair]
    held_out: dict[str, PreferencePair]
    made: Made
    parameters: ConstructParameters
    files: dict[str, bytes] = field(repr=False, default_factory=dict)


def name(number: int) -> str:
    return f"{number:016x}"


def write_prepared(folder: Path, values: Prepared) -> str:
    """Write the manifest of an artifact of ``prepare``, and return its path."""
    artifact = folder / "prepared"
    manifest = ArtifactManifest(
        schema_version=SCHEMA_VERSION, stage="prepare/prompts", digest="p", files={}, values=values
    )
    write_manifest(artifact, manifest, None, None)
    return manifest_path(str(artifact), None, None)


@patch("os.fsync", lambda _: None)  # it takes most of the time on a busy disk
def build(
    folder: Path,
    prompts: dict[str, tuple[Task, list[Answer]]],
    *,
    sft_fraction: float = 0.4,
    held_out: float = 0.0,
    shards: int = 1,
    margin: tuple[float, float] = (0.01, 0.1),
    prepared: dict[str, int] | None = None,
    seed: int = 42,
    solutions: dict[str, VerdictValue] | None = None,
    max_kept: dict[str, int] | None = None,
) -> Outcome:
    """Write the inputs, run ``construct``, and read its files."""
    sources = sorted({a.source for _, answers in prompts.values() for a in answers} or {"a"})
    placed = {p: i % shards for i, p in enumerate(prompts)}
    for shard in range(shards):
        file = shard_name(shard, shards) + ".parquet"
        if solutions is not None:
            judged = [
                Verdict(prompt_id=p, source="solutions", sample_index=0, verdict=v)
                for p, v in solutions.items()
                if placed[p] == shard
            ]
            write_rows(folder / "solutions" / file, Verdict, judged)
        asked = {p: v for p, v in prompts.items() if placed[p] == shard}
        rows = [prompt(p, dataset=str(t).lower(), task=str(t), prompt=f"ask {p}") for p, (t, _) in asked.items()]
        write_rows(folder / "prompts" / file, Prompt, rows)
        for source in sources:
            mine = [
                ({"prompt_id": p, "source": source, "sample_index": a.sample}, str(t).lower(), a)
                for p, (t, answers) in asked.items()
                for a in answers
                if a.source == source
            ]
            responses = [
                Response(
                    **key,
                    dataset=dataset,
                    text=f"{source}-{a.sample}" if a.text is None else a.text,
                    finish_reason=a.finish,
                )
                for key, dataset, a in mine
            ]
            scores = [Score(**key, score_micro=round(a.milli * 1000)) for key, _, a in mine if a.milli is not None]
            verdicts = [Verdict(**key, verdict=a.verdict, detail=a.detail) for key, _, a in mine if a.verdict]
            write_rows(folder / "responses" / source / file, Response, responses)
            write_rows(folder / "scores" / source / file, Score, scores)
            write_rows(folder / "verdicts" / source / file, Verdict, verdicts)
    prepare_manifest = write_prepared(folder, Prepared(**(prepared or {})))
    output = folder / "out"
    parameters = ConstructParameters(
        prompts_dir=str(folder / "prompts"),
        prepare_manifest=prepare_manifest,
        solutions_verdicts_dir=None if solutions is None else str(folder / "solutions"),
        tasks={str(t).lower(): t for t, _ in prompts.values()},
        sources=[
            SourceInputs(
                source=s,
                responses_dir=str(folder / "responses" / s),
                verdicts_dirs=[str(folder / "verdicts" / s)],
                scores_dir=str(folder / "scores" / s),
            )
            for s in reversed(sources)
        ],
        reward_margin=RewardMargin(min=margin[0], max=margin[1]),
        sft_fraction=sft_fraction,
        held_out_fraction=held_out,
        max_kept=max_kept or {},
        seed=seed,
    )
    made = construct.run(make_work(output, parameters))
    files = {f: (output / f).read_bytes() for f in made.files}
    assert sorted(p.name for p in output.iterdir()) == sorted(made.files)
    return Outcome(
        {row.prompt_id: row for row in read_rows(output / "sft.parquet", SftExample)},
        {row.prompt_id: row for row in read_rows(output / "pairs.parquet", PreferencePair)},
        {row.prompt_id: row for row in read_rows(output / "held-out.parquet", PreferencePair)},
        made,
        parameters,
        files,
    )


def sides(pair: PreferencePair) -> tuple[str, str]:
    return pair.chosen[0].content, pair.rejected[0].content


FILLER = {name(0xFFFF): (Task.SFT_ONLY, [Answer("a", 0, None)])}
"""A prompt that gives an SFT row: construct refuses a result without one."""
