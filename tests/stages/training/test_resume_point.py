"""All processes of a training resume from the checkpoint that rank 0 has found."""

import json
import subprocess
import sys

from fusionrun_stages.training.checkpoints import MARKER

PROGRAM = """
import json, sys
from pathlib import Path
from fusionrun_stages.training import finish, ranks
ranks.join_process_group(0, cuda=False)
path, removed = finish.find_resume_point(Path(sys.argv[1], f"of-rank-{ranks.rank()}"))
Path(sys.argv[1], f"{ranks.rank()}.json").write_text(json.dumps([Path(path).name, removed]))
ranks.leave_process_group()
"""


def test_a_process_whose_node_lists_an_old_directory_resumes_from_the_checkpoint_of_rank_0(tmp_path):
    (tmp_path / "of-rank-1").mkdir()  # NFS caches directories
    for name in ("checkpoint-10", "checkpoint-20"):
        (tmp_path / "of-rank-0" / name).mkdir(parents=True)
    (tmp_path / "of-rank-0" / "checkpoint-10" / MARKER).write_text(json.dumps({"world_size": 2}))
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", program, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    found = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert found == [["checkpoint-10", ["checkpoint-20"]]] * 2
