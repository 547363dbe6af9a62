"""The prompts' own reference solutions: where one fails its prompt's tests, either is wrong, and nobody is asked.

Source: the recipe keeps coding prompts "with test cases"; that a reference solution has to pass them is ours.
"""

from fusionrun.api.records import Verdict, VerdictValue
from fusionrun_stages.volume.parquet import read_rows
from fusionrun_stages.volume.paths import shard_path


def failed_prompts(verdicts_dir: str | None, shard: int, shards: int) -> frozenset[str]:
    """Return the prompts of a shard whose own solution is not right; none where none was judged."""
    if verdicts_dir is None:
        return frozenset()
    verdicts = read_rows(shard_path(verdicts_dir, shard, shards), Verdict)
    return frozenset(v.prompt_id for v in verdicts if v.verdict is not VerdictValue.RIGHT)
