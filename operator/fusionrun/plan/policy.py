"""What a run may use of the cluster and of the network: bounds that the administrator sets (chart value ``policy``).

``_used`` is the only table: one row for each place in the spec that names such a thing. Admission cannot check this,
since the bounds are settings of the operator.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fusionrun.api.spec.data import Task
from fusionrun.api.spec.pods import PodSettings
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.tasks.harness import HARNESS_SCHEME
from fusionrun.errors import SpecError
from fusionrun.plan.credentials import credentials
from fusionrun.plan.pod_size import too_large
from fusionrun.plan.pods import Part, node_labels, parts
from fusionrun.plan.references import References
from fusionrun.settings import Policy

DEFAULT_HUB = "https://huggingface.co"
"""Hub of a run that names none. Source: huggingface_hub, ``constants.ENDPOINT``."""
EVERY_TAINT = "every taint"
"""What the message shows for a toleration without a key."""

_ORIGIN = re.compile(r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?([/?#][!-~]*)?")
"""A URL whose host every client reads in the same way: no user information, backslash, blank or control character."""
_AFTER_HOST = r"[/?#]"
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class _Use:
    """A thing that the spec names."""

    field: str
    values: tuple[str, ...]
    """The thing, or all forms of its name."""
    patterns: Sequence[str]
    setting: str
    """The chart value with the patterns."""
    shown: object


def violations(spec: FusionRunSpec, policy: Policy) -> list[SpecError]:
    """Return what a spec that has all defaults uses and may not use."""
    return [
        *_urls(spec),
        *_patterns(spec, policy),
        *_capabilities(spec, policy),
        *_isolation(spec, policy),
        *too_large(spec, policy.max_gpus_per_pod),
    ]


def matches(values: Sequence[str], patterns: Sequence[str]) -> bool:
    """Return whether a form of a value matches a pattern, and none one that begins with ``!``; ``*`` is any text.

    An empty value matches only an empty pattern: a toleration without a key tolerates every taint.
    """
    excluded = [pattern[1:] for pattern in patterns if pattern.startswith("!")]

    def one_of(some: Sequence[str]) -> bool:
        return any(_matches(value, pattern) for value in values for pattern in some)

    return one_of(patterns) and not one_of(excluded)


def is_isolating(runtime_class: str | None, policy: Policy) -> bool:
    """Return whether a RuntimeClass isolates programs from the kernel of the node, so that Landlock is not required."""
    return runtime_class is not None and matches((runtime_class,), policy.isolating_runtime_classes)


def _matches(value: str, pattern: str) -> bool:
    if not value:
        return not pattern
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), value) is not None


def _patterns(spec: FusionRunSpec, policy: Policy) -> Iterator[SpecError]:
    for use in _used(spec, policy):
        if not matches(use.values, use.patterns):
            allowed = ", ".join(map(repr, use.patterns)) or "nothing"
            rule = f"is not allowed on this cluster: {use.setting} of the operator allows {allowed}"
            yield SpecError(use.field, use.shown, rule)


def _used(spec: FusionRunSpec, policy: Policy) -> Iterator[_Use]:
    """Yield what the spec uses, with the patterns that bound it."""
    for credential in credentials(spec):
        field = f"{credential.field}.{credential.name_field}"
        yield _named(field, credential.name, policy.secrets, "policy.secrets")
    for field, url in _called(spec):
        yield _Use(field, _origins(url), _lower(policy.endpoints), "policy.endpoints", _shown(url))
    if hub := _hub(spec):
        yield _Use("hub.endpoint", _origins(hub), _lower(policy.hubs), "policy.hubs", _shown(hub))
    for part in parts(spec):
        yield from _placed(part, policy)
        if isinstance(part.settings, PodSettings):
            yield from _equipped(part.field, part.settings, policy)
    if name := spec.scheduling.workload_priority_class_name:
        patterns, setting = policy.workload_priority_classes, "policy.workloadPriorityClasses"
        yield _named("scheduling.workloadPriorityClassName", name, patterns, setting)
    if name := spec.scheduling.gpu_runtime_class_name:
        yield _named("scheduling.gpuRuntimeClassName", name, policy.runtime_classes, "policy.runtimeClasses")
    if name := spec.scheduling.sandbox_runtime_class_name:
        yield _named("scheduling.sandboxRuntimeClassName", name, policy.runtime_classes, "policy.runtimeClasses")


def _placed(part: Part, policy: Policy) -> Iterator[_Use]:
    """Yield what decides on which nodes pods run, and what other controllers do with them."""
    field, settings = part.field, part.settings
    for key in node_labels(settings):
        place = "nodeSelector" if key in (settings.node_selector or {}) else "affinity.nodeAffinity"
        yield _named(f"{field}.{place}", key, policy.node_selectors, "policy.nodeSelectors")
    for toleration in settings.tolerations:
        key = toleration.key or ""
        yield _Use(f"{field}.tolerations", (key,), policy.tolerations, "policy.tolerations", key or EVERY_TAINT)
    if name := settings.priority_class_name:
        yield _named(f"{field}.priorityClassName", name, policy.priority_classes, "policy.priorityClasses")
    for key in settings.labels:
        yield _named(f"{field}.labels", key, policy.labels, "policy.labels")
    for key in settings.annotations:
        yield _named(f"{field}.annotations", key, policy.annotations, "policy.annotations")


def _equipped(field: str, settings: PodSettings, policy: Policy) -> Iterator[_Use]:
    """Yield what the containers of pods have."""
    for variable in settings.env:
        yield _named(f"{field}.env", variable.name, policy.environment, "policy.environment")
    if name := settings.service_account_name:
        yield _named(f"{field}.serviceAccountName", name, policy.service_accounts, "policy.serviceAccounts")
    if name := settings.runtime_class_name:
        yield _named(f"{field}.runtimeClassName", name, policy.runtime_classes, "policy.runtimeClasses")


def _capabilities(spec: FusionRunSpec, policy: Policy) -> Iterator[SpecError]:
    for part in parts(spec):
        if isinstance(part.settings, PodSettings) and part.settings.ipc_lock and not policy.ipc_lock:
            rule = (
                "is not allowed on this cluster: policy.ipcLock of the operator is false. The baseline and restricted "
                "Pod Security Standards refuse pods with the capability IPC_LOCK"
            )
            yield SpecError(f"{part.field}.ipcLock", value=True, rule=rule)


def _named(field: str, name: str, patterns: Sequence[str], setting: str) -> _Use:
    return _Use(field, (name,), patterns, setting, name)


def _called(spec: FusionRunSpec) -> Iterator[tuple[str, str]]:
    """Yield the URL of every endpoint that stages call, with its field."""
    for source in spec.sources:
        if source.endpoint:
            yield f"sources[{source.name}].endpoint.url", source.endpoint.url
    if spec.reward_model.endpoint:
        yield "rewardModel.endpoint.url", spec.reward_model.endpoint.url
    if spec.evaluation.judge and spec.evaluation.judge.endpoint:
        yield "evaluation.judge.endpoint.url", spec.evaluation.judge.endpoint.url
    if spec.training.mlflow:
        yield "training.mlflow.trackingUri", spec.training.mlflow.tracking_uri


def _hub(spec: FusionRunSpec) -> str:
    """Return the URL of the hub that the run uses; empty if it uses none."""
    if spec.hub and spec.hub.endpoint:
        return spec.hub.endpoint
    uris = [reference.uri for reference in References(spec).all]
    if spec.publish:
        uris.append(spec.publish.uri)
    return DEFAULT_HUB if any(uri.startswith(("hf://", HARNESS_SCHEME)) for uri in uris) else ""


def _urls(spec: FusionRunSpec) -> Iterator[SpecError]:
    named = [*_called(spec), *([("hub.endpoint", spec.hub.endpoint)] if spec.hub and spec.hub.endpoint else [])]
    for field, url in named:
        if not _ORIGIN.fullmatch(url):
            rule = (
                "must be a URL of printable ASCII characters without a user name and a password: put keys in a Secret"
            )
            yield SpecError(field, _shown(url), rule)


def _origins(url: str) -> tuple[str, ...]:
    """Return scheme, host and port of a URL in lower case: with the port, and without it if it is the usual one.

    A dot at the end of a host only says that the name is complete. Source: RFC 1034, section 3.1.
    """
    found = _ORIGIN.fullmatch(url)
    if found is None:  # ``_urls`` reports it
        return (url,)
    scheme, host = url.partition("://")[0], found[1].lower().rstrip(".")
    usual = _PORTS[scheme]
    port = int(found[2][1:]) if found[2] else usual
    return (f"{scheme}://{host}:{port}", *([f"{scheme}://{host}"] if port == usual else []))


def _lower(patterns: Sequence[str]) -> list[str]:
    return [pattern.lower() for pattern in patterns]


def _shown(url: str) -> str:
    """Return a URL without user name, password and query: a key must not be in a status."""
    scheme, _, rest = re.split(r"[?#]", url, maxsplit=1)[0].partition("://")
    authority = re.split(_AFTER_HOST, rest, maxsplit=1)[0]
    return f"{scheme}://{authority.rpartition('@')[2]}{rest.removeprefix(authority)}"


def _isolation(spec: FusionRunSpec, policy: Policy) -> Iterator[SpecError]:
    name = spec.scheduling.sandbox_runtime_class_name
    if policy.require_isolating_runtime_class and runs_programs(spec) and not is_isolating(name, policy):
        allowed = ", ".join(map(repr, policy.isolating_runtime_classes)) or "nothing"
        rule = (
            f"a run with task, grader or preset of coding must use an isolating RuntimeClass on this cluster: {allowed}"
        )
        yield SpecError("scheduling.sandboxRuntimeClassName", name or "", rule)


def runs_programs(spec: FusionRunSpec) -> bool:
    """Return whether the run executes programs that models wrote."""
    graders = [benchmark.grader for benchmark in spec.evaluation.benchmarks]
    return any(d.task is Task.CODING for d in spec.datasets) or any(g and g.runs_programs for g in graders)
