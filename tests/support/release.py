"""A run of the simulated world, recorded in each of its stages and continued from there by the code of a release.

``python -m support.release`` reads tasks and a recorded run from standard input, and continues the run from each
moment. The tests run it with the code of an earlier release (tests/releases/VERSION/core.zip), which is an operator
that was rolled back during a run, and an older image that reads a newer task.
"""

import copy
import json
import sys
from datetime import datetime
from typing import Any

import fusionrun
from fusionrun.api.tasks.task import decode_task
from fusionrun.state.observe.object_ref import ref_of
from support.runs import CLAIM, make_run
from support.world import World

GPUS = {"limits": {"nvidia.com/gpu": 1}}
ACTIVE = ("Running", "Ready")
DONE = ("Succeeded", "Skipped")


def recorded_run() -> dict[str, Any]:
    """Return the run that is recorded: every kind of stage, and GPUs for the training."""
    training = {"nodes": 1, "processesPerNode": 1, "resources": GPUS}
    run = make_run(training=training, publish={"uri": f"pvc://{CLAIM}/out"}, scheduling={"maxServers": 2})
    run["spec"]["datasets"][1]["columns"]["solution"] = "solution"
    return run


def record(run: dict[str, Any]) -> dict[str, Any]:
    """Walk a run to its end; return its objects, and a moment at which each stage was active.

    Returns
    -------
    dict
        ``run`` without a status; ``objects``, the last state of every object, by kind and name; and ``moments``: the
        time, the run's status, the names of the objects, and the status of the objects that changed later.
    """
    world = World(run)
    objects: dict[str, Any] = {}
    moments: list[dict[str, Any]] = []
    statuses: list[dict[str, Any]] = []
    seen: set[str] = set()
    world.settle()
    while True:
        present = {_key(o): dict(o) for o in world.objects.values()}
        objects |= present
        active = {s["name"] for s in world.run["status"]["stages"] if s["state"] in ACTIVE}
        if active - seen:
            moments.append({"now": world.now.isoformat(), "status": world.run["status"], "objects": list(present)})
            statuses.append({key: o.get("status") for key, o in present.items()})
            seen |= active
        if not world.step():
            break
        world.settle()
    for moment, then in zip(moments, statuses, strict=True):
        moment["changed"] = {key: status for key, status in then.items() if status != objects[key].get("status")}
    return {"run": {k: v for k, v in world.run.items() if k != "status"}, "objects": objects, "moments": moments}


def tasks(objects: dict[str, Any]) -> dict[str, Any]:
    """Return the task of each stage, by the stage's name, from the ConfigMaps among some objects."""
    found = [json.loads(o["data"]["task.json"]) for o in objects.values() if "task.json" in o.get("data", {})]
    return {task["stage"]: task for task in found}


def continue_from(recorded: dict[str, Any], moment: dict[str, Any]) -> dict[str, Any]:
    """Continue a recorded run to its end; return what the code of this release created and how the run ended."""
    recorded, moment = copy.deepcopy((recorded, moment))  # World changes its objects in place
    children = {key: recorded["objects"][key] for key in moment["objects"]}
    for key, status in moment["changed"].items():
        children[key] = {**children[key], "status": status}
    world = World(
        recorded["run"] | {"status": moment["status"]},
        now=datetime.fromisoformat(moment["now"]),
        objects={ref_of(child): child for child in children.values()},
    )
    world.run_to_end()
    conditions = {c["type"]: c for c in world.run["status"]["conditions"]}
    return {
        "complete": conditions["Complete"]["status"],
        "ready": [conditions["Ready"][key] for key in ("reason", "message")],
        "attempts": {s["name"]: s["attempt"] for s in world.run["status"]["stages"] if s.get("attempt")},
        "created": world.created,
        "objects": sorted(_key(o) for o in world.objects.values()),
        "digests": {name: task["digest"] for name, task in tasks({_key(o): o for o in world.objects.values()}).items()},
    }


def _key(manifest: dict[str, Any]) -> str:
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


if __name__ == "__main__":
    given = json.load(sys.stdin)
    for task in given["tasks"]:
        decode_task(json.dumps(task))
    outcomes = [continue_from(given["recorded"], moment) for moment in given["recorded"]["moments"]]
    json.dump({"code": fusionrun.__file__, "outcomes": outcomes}, sys.stdout)
