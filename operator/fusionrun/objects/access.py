"""An init container of ``resolve`` that starts only if the Secrets of later stages exist.

A missing Secret is then reported before a GPU is used, and not by the last stage. The container runs no program that
reads the values, and no code of a model or of a data set.
"""

from typing import Any

from fusionrun.objects import meta
from fusionrun.plan.credentials import credentials
from fusionrun.plan.pinned import Run
from fusionrun.plan.stages import Stage
from fusionrun.settings import Settings

PREFIX = "FUSIONRUN_ACCESS_"


def access_containers(run: Run, stage: Stage, settings: Settings) -> list[dict[str, Any]]:
    """Return the init container, with a variable for each key; none if ``resolve`` itself reads all Secrets."""
    keys = dict.fromkeys((c.name, key) for c in credentials(run.spec) if not c.from_start for key in c.keys)
    environment = [
        {"name": f"{PREFIX}{number}", "valueFrom": {"secretKeyRef": {"name": name, "key": key}}}
        for number, (name, key) in enumerate(keys)
    ]
    if not environment:
        return []
    return [meta.short_container("access", stage, ["-c", ""], settings, env=environment)]
