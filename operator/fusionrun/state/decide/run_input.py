"""What the decision on a run depends on, and how its result is reported."""

from dataclasses import dataclass, replace
from datetime import datetime

from fusionrun.api.status.run import FusionRunStatus
from fusionrun.settings import Settings
from fusionrun.state.decide.decision import Decision
from fusionrun.state.decide.run_retry import last_value
from fusionrun.state.observe.frozen import Frozen, has_started
from fusionrun.state.observe.live_objects import LiveObjects
from fusionrun.state.observe.observed import Observed
from fusionrun.state.report import conditions, summary
from fusionrun.state.report.events import events
from fusionrun.state.report.gpu_time import GpuTime
from fusionrun.state.report.summary import RunReport


@dataclass(frozen=True)
class RunInput:
    """What the decision on a run depends on."""

    live: LiveObjects
    observed: Observed
    before: FusionRunStatus
    frozen: Frozen
    settings: Settings
    now: datetime
    gpu_time: GpuTime

    @property
    def generation(self) -> int:
        """Generation of the run's spec."""
        return int(self.live.run["metadata"].get("generation") or 0)

    @property
    def lacks_spec(self) -> bool:
        """Whether a stage has run, and the spec that the run was accepted with is gone."""
        return self.frozen.spec is None and self.before.spec_digest is not None and has_started(self.before)

    def report(self, new: list[conditions.NewCondition], report: RunReport | None = None) -> Decision:
        """Return a decision that reports new conditions: the status if it changes, and the events."""
        before = self.before.model_copy(update={"retry": last_value(self.live.run, self.before)})
        report = report or RunReport(before.stages, before.results, before.dataset)
        return self.changed_to(summary.summary(before, new, self.generation, self.now, self.with_gpu_time(report)))

    def with_gpu_time(self, report: RunReport) -> RunReport:
        """Return a report with the GPU time of all pods."""
        return replace(report, gpu_time=self.gpu_time, currency=self.settings.accelerators.currency)

    def changed_to(self, status: FusionRunStatus) -> Decision:
        """Return a decision that writes a status if it differs, and posts the events."""
        return Decision(status=None if status == self.before else status, events=tuple(events(self.before, status)))
