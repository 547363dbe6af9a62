"""``plan FILE``: show the stages of a FusionRun, and what it needs, from its manifest."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.status.estimate import Estimate
from fusionrun.cli import outline
from fusionrun.cli.documents import STDIN, Document, UnreadableError, read
from fusionrun.cli.faults import is_run, read_spec
from fusionrun.cli.kubectl import Kubectl, KubectlError
from fusionrun.cli.lint import add_settings, print_faults, settings_of
from fusionrun.cli.outline import Amount, Needed, StageOutline
from fusionrun.cli.reuse import Reuse, earlier_runs, reuse
from fusionrun.cli.tables import table
from fusionrun.errors import SpecError
from fusionrun.names import LABEL_MANAGED_BY, MANAGED_BY
from fusionrun.plan.build import build_plan
from fusionrun.plan.stages import Plan
from fusionrun.settings import Settings

EPILOG = """\
Without --context or --kubeconfig, no cluster is asked, and every stage counts as one that runs. With one of them, the
FusionRuns and ConfigMaps of the namespace show which stages have an artifact. That is exact only if no model and no
data set has changed since those runs, and nobody has deleted artifacts: a run decides it in its stage `resolve`, from
the commits and files that it finds.

Exit status: 0 the plan was made, 1 the manifest has faults, 2 a file, the settings or the cluster cannot be read.
"""
REUSE_NOTE = (
    "RESULT assumes that no model and no data set has changed since the run that it names, and that its artifacts are "
    "still on the claim. The stage resolve decides."
)
MOST_NEEDS = 4
"""Number of stages that the column NEEDS lists."""
INCOMPLETE = "+"
"""What an amount ends in if the number of some data sets is unknown."""


def main(argv: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="kubectl fusionrun plan",
        description="Show the stages of the FusionRuns in a YAML file, and what they need.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", help=f"file; {STDIN} for the standard input")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    parser.add_argument("--kubeconfig", default="", help="kubeconfig of a cluster to ask for earlier runs")
    parser.add_argument("--context", default="", help="context of a cluster to ask for earlier runs")
    parser.add_argument("-n", "--namespace", default="", help="namespace of the run, if its manifest has none")
    add_settings(parser)
    arguments = parser.parse_args(argv)
    try:
        settings = settings_of(arguments)
        runs = [document for document in read(arguments.file) if is_run(document)]
        if not runs:
            print(f"{arguments.file}: has no FusionRun", file=sys.stderr)
            return 2
        if sum(print_faults(run, settings) for run in runs):
            return 1
        kubectl = Kubectl(arguments.kubeconfig, arguments.context)
        asked = kubectl if arguments.kubeconfig or arguments.context else None
        made = [_plan(run, arguments.namespace, settings, asked) for run in runs]
    except (UnreadableError, SpecError, KubectlError) as error:
        print(error, file=sys.stderr)
        return 2
    if arguments.output == "json":
        print(json.dumps(made[0].as_json() if len(made) == 1 else [each.as_json() for each in made], indent=1))
    else:
        print("\n\n".join(each.as_text() for each in made))
    return 0


def _plan(run: Document, namespace: str, settings: Settings, kubectl: Kubectl | None) -> "_Planned":
    metadata = run.value["metadata"]
    namespace = metadata.get("namespace") or namespace or "default"
    spec = read_spec(run.value["spec"])
    plan = build_plan(spec)
    reused = reuse(spec, plan, _earlier(kubectl, namespace)) if kubectl else None
    parameters = outline.parameters_of(plan)
    to_run = reused.to_run if reused else frozenset(stage.name for stage in plan.stages)
    estimate = outline.expected(spec, plan, parameters, to_run, settings)
    return _Planned(run.name, namespace, spec, plan, parameters, estimate, reused, settings.accelerators.currency)


def _earlier(kubectl: Kubectl, namespace: str) -> list[Any]:
    runs = kubectl.read("get", "fusionruns.fusionrun.dev", "-n", namespace)["items"]
    label = f"{LABEL_MANAGED_BY}={MANAGED_BY}"
    return earlier_runs(runs, kubectl.read("get", "configmaps", "-n", namespace, "-l", label)["items"])


@dataclasses.dataclass(frozen=True)
class _Planned:
    """A planned run."""

    name: str
    namespace: str
    spec: FusionRunSpec
    plan: Plan
    parameters: dict[str, int | None]
    estimate: Estimate
    reused: Reuse | None
    currency: str

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON."""
        reused = self.reused
        return {
            "name": self.name,
            "namespace": self.namespace,
            "gpuBudget": self.spec.scheduling.gpu_budget,
            "stages": [
                _camel(dataclasses.asdict(stage)) | ({"result": _result(stage, reused)} if reused else {})
                for stage in self._stages()
            ],
            "estimate": self.estimate.model_dump(mode="json", by_alias=True, exclude_none=True)
            | {"parameters": self.parameters},
            "needs": [_camel(dataclasses.asdict(each)) for each in self._needs()],
            "downloads": [_camel(dataclasses.asdict(each)) for each in outline.downloads(self.plan)],
            **({"unpinned": list(reused.unpinned)} if reused else {}),
        }

    def as_text(self) -> str:
        """Return everything as tables."""
        return "\n\n".join([self._title(), self._stage_table(), *self._estimate_text(), *self._other_tables()])

    def _stages(self) -> list[StageOutline]:
        return outline.stages(self.spec, self.plan)

    def _needs(self) -> list[Needed]:
        return outline.needed(self.spec, self.namespace)

    def _title(self) -> str:
        budget = self.spec.scheduling.gpu_budget
        limit = f"scheduling.gpuBudget {budget}" if budget else "no scheduling.gpuBudget"
        largest = max(self._stages(), key=lambda stage: stage.gpus_per_pod)
        gpus = f"GPUs per pod at most {largest.gpus_per_pod} ({largest.name})" if largest.gpus_per_pod else "no GPUs"
        count = len(self.plan.stages)
        return f"FusionRun {self.name} in namespace {self.namespace}: {count} stages, {gpus}, {limit}"

    def _stage_table(self) -> str:
        header = ["STAGE", "OBJECT", "PODS", "GPUS/POD", "AMOUNT", *(["RESULT"] if self.reused else []), "NEEDS"]
        rows = []
        for stage in self._stages():
            at_once = f" ({stage.at_once} at once)" if stage.at_once < stage.pods else ""
            cells = [stage.name, stage.object, f"{stage.pods}{at_once}", str(stage.gpus_per_pod), _amount(stage.amount)]
            cells += [_result(stage, self.reused)] if self.reused else []
            rows.append([*cells, _listed(stage.needs)])
        notes = []
        if any(stage.amount and not stage.amount.is_complete for stage in self._stages()):
            notes.append(f"{INCOMPLETE}: and those of data sets whose number is not in the spec (maxPrompts)")
        if self.reused:
            notes.append(REUSE_NOTE)
            if self.reused.unpinned:
                notes.append(f"No run of the namespace has read: {', '.join(self.reused.unpinned)}")
        return "\n".join([table(header, rows, right=["GPUS/POD"]), *notes])

    def _estimate_text(self) -> list[str]:
        estimate = self.estimate
        unknown = [field for field, size in self.parameters.items() if size is None]
        known = [f"{field} {size / 1e9:g} billion" for field, size in self.parameters.items() if size]
        notes = [
            "Assumed for an H100, not measured: docs/preflight.md has the assumptions, and what is left out. In the "
            "cluster, status.estimate has the sizes of the models that the hub reports."
        ]
        notes += [f"Parameters, from the names of the models: {', '.join(known)}"] if known else []
        left_out = dict.fromkeys([*unknown, *estimate.unknown])
        notes += [f"Left out, since the size or the number is unknown: {', '.join(left_out)}"] if left_out else []
        notes += [f"Lower than the estimate: {', '.join(estimate.exceeds)}"] if estimate.exceeds else []
        if not estimate.stages:
            return [
                "\n".join(["No estimate of GPU time: docs/preflight.md has the stages that it counts.", *notes[1:]])
            ]
        rows = [
            [row.kind, f"{row.gpu_hours:g}", str(timedelta(seconds=row.seconds)), _money(row.cost, self.currency)]
            for row in estimate.stages
        ]
        total = [f"{estimate.gpu_hours:g}", str(timedelta(seconds=estimate.seconds or 0))]
        rows.append(["total", *total, _money(estimate.cost, self.currency)])
        header = ["KIND", "GPU-HOURS", "TIME", "COST"]
        if estimate.cost is None:
            header, rows = header[:-1], [row[:-1] for row in rows]
        return ["\n".join([table(header, rows, right=header[1:]), *notes])]

    def _other_tables(self) -> list[str]:
        needs = [[each.kind, each.name, ", ".join(each.keys), ", ".join(each.fields)] for each in self._needs()]
        tables = [f"Must exist before the run can end:\n{table(['KIND', 'NAME', 'KEYS', 'FIELD'], needs)}"]
        found = outline.downloads(self.plan)
        if found:
            rows = [[each.uri, each.revision, each.kind, each.field] for each in found]
            tables.append(f"Is downloaded:\n{table(['URI', 'REVISION', 'KIND', 'FIELD'], rows)}")
        return tables


def _listed(names: Sequence[str]) -> str:
    """Return a list that is cut if it is long; JSON has all of it."""
    more = len(names) - MOST_NEEDS
    return ", ".join(names) if more <= 0 else f"{', '.join(names[:MOST_NEEDS])} and {more} more"


def _amount(amount: Amount | None) -> str:
    return f"{amount.count:,}{'' if amount.is_complete else INCOMPLETE} {amount.unit}" if amount else ""


def _result(stage: StageOutline, reused: Reuse | None) -> str:
    """Return what happens to a stage: its artifact is reused, it runs, or it is not needed."""
    if reused is None:
        return ""
    if stage.name in reused.found and stage.name not in reused.to_run:
        return f"of {reused.found[stage.name]}"
    if stage.name not in reused.to_run:
        return "not needed"
    return "of " + reused.found[stage.name] if stage.name in reused.found else "runs"


def _money(cost: float | None, currency: str) -> str:
    return "" if cost is None else f"{cost:,.2f} {currency}".rstrip()


def _camel(value: dict[str, Any]) -> dict[str, Any]:
    def name(key: str) -> str:
        first, *rest = key.split("_")
        return first + "".join(word.capitalize() for word in rest)

    return {name(k): _camel(v) if isinstance(v, dict) else v for k, v in value.items() if v is not None}
