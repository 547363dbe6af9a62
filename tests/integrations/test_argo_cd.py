"""The health check and the actions for Argo CD, as users install them, on Argo CD's own Lua engine. No cluster."""

import os
import subprocess
from pathlib import Path

import pytest

from fusionrun.names import GROUP, KIND
from support.live import REPOSITORY
from support.run_states import STATES

pytestmark = pytest.mark.integrations
PROGRAM = Path(os.environ.get("FUSIONRUN_ARGO_CD_LUA_2_14_21", ".")) / "argo-cd-lua"
FOLDER = REPOSITORY / "manifests" / "gitops" / "argo-cd"


def test_the_scripts_return_what_the_test_data_say():
    command = [PROGRAM, FOLDER / "argocd-cm.yaml", FOLDER / GROUP / KIND]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = [line.split(maxsplit=2)[1] for line in done.stdout.splitlines() if line.startswith("ok ")]
    assert (passed.count("health"), passed.count("action")) == (len(STATES), 3)
