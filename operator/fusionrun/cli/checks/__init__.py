"""What a cluster has of that which FusionRun needs or can use. Standard library only; nothing is changed."""

import functools

from fusionrun.cli.checks.controllers import kueue, operator, prometheus, training
from fusionrun.cli.checks.finding import Check, Finding, Level, Reader
from fusionrun.cli.checks.namespace import namespace_rules, network, permissions
from fusionrun.cli.checks.nodes import gpus, kubernetes, runtime_classes, storage
from fusionrun.cli.kubectl import KubectlError

CHECKS: tuple[Check, ...] = (
    kubernetes, gpus, storage, runtime_classes, training, kueue, prometheus, network, namespace_rules, operator,
    permissions,
)  # fmt: skip


class _Once:
    """A reader that asks the same question once."""

    def __init__(self, reader: Reader) -> None:
        self.read = functools.cache(reader.read)
        self.text = reader.text


def findings(reader: Reader, namespace: str) -> list[Finding]:
    """Return all findings; a check that cannot read what it needs has one of level ``UNKNOWN``."""
    found: list[Finding] = []
    once = _Once(reader)
    for check in CHECKS:
        try:
            found += check(once, namespace)
        except KubectlError as error:
            found.append(Finding(check.__name__.replace("_", " "), Level.UNKNOWN, str(error)))
    return found
