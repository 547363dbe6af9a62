"""The servers of a spec: the settings of each, and their field."""

from collections.abc import Iterator
from typing import NamedTuple

from fusionrun.api.spec.evaluation import Evaluation
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.spec.servers import ServerSettings
from fusionrun.api.spec.target import MeasuredModel
from fusionrun.plan.stages import Evaluated

OF_EVALUATION = "evaluation.server"
OF_JUDGE = "evaluation.judge.served"


class Server(NamedTuple):
    """A server, and the field with its settings."""

    field: str
    settings: ServerSettings


def all_servers(spec: FusionRunSpec) -> Iterator[Server]:
    """Yield the servers of the sources, of the evaluated models and of the judge."""
    for source in spec.sources:
        if source.served:
            yield Server(f"sources[{source.name}].served", source.served)
    if spec.evaluation.server:
        yield Server(OF_EVALUATION, spec.evaluation.server)
    for model in spec.evaluate_only.models if spec.evaluate_only else []:
        if model.server:
            yield Server(server_field(model), server_of(spec.evaluation, model))
    if spec.evaluation.judge and spec.evaluation.judge.served:
        yield Server(OF_JUDGE, spec.evaluation.judge.served)


def server_of(evaluation: Evaluation, model: Evaluated) -> ServerSettings:
    """Return how an evaluated model is served."""
    server = evaluation.server or ServerSettings()
    return model.server.over(server) if isinstance(model, MeasuredModel) and model.server else server


def server_field(model: Evaluated) -> str:
    """Return the field with the settings of the server of an evaluated model."""
    own = isinstance(model, MeasuredModel) and model.server
    return f"evaluateOnly.models[{model.name}].server" if own else OF_EVALUATION
