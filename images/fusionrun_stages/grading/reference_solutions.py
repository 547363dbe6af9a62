"""Reference solutions of coding prompts. A prompt whose solution fails its tests is dropped before generation.

Source: FuseChat-3.0 keeps coding prompts "with test cases"; that the solution must pass them is this project's rule.
"""

from fusionrun.api.records import Verdict, VerdictValue
from fusionrun_stages.volume.parquet import read_rows
from fusionrun_stages.volume.paths import shard_path


def failed_prompts(verdicts_dir: str | None, shard: int, shards: int) -> frozenset[str]:
    """Return the prompts of a shard whose reference solution is not right; empty without verdicts."""
    if verdicts_dir is None:
        return frozenset()
    verdicts = read_rows(shard_path(verdicts_dir, shard, shards), Verdict)
    return frozenset(v.prompt_id for v in verdicts if v.verdict is not VerdictValue.RIGHT)
