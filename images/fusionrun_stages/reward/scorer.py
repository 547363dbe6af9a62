"""The scorer of conversations that a task describes: a model in this process, or one behind an endpoint."""

from typing import TYPE_CHECKING, Union

from fusionrun.api.tasks.parameters import RewardCheckParameters
from fusionrun.api.tasks.responses import ScoreParameters
from fusionrun_stages.errors import UserError
from fusionrun_stages.reward.model import LoadedRewardModel
from fusionrun_stages.sandbox import probe

if TYPE_CHECKING:
    from fusionrun_stages.reward.endpoint import RewardEndpoint

Scorer = Union[LoadedRewardModel, "RewardEndpoint"]


def load_scorer(parameters: ScoreParameters | RewardCheckParameters, device: str) -> Scorer:
    """Return the scorer of a task, on ``cuda`` or ``cpu``; exactly one of ``model_path`` and ``endpoint`` is set."""
    if parameters.endpoint is not None:
        # Imported here: the reward image has no HTTP client, the data image has no torch.
        from fusionrun_stages.reward.endpoint import RewardEndpoint

        return RewardEndpoint(parameters.endpoint, parameters.max_length)
    if parameters.model_path is None:
        raise UserError("rewardModel: exactly one of model and endpoint is required")
    if parameters.trust_remote_code:
        probe.require_closed_network()
    return LoadedRewardModel(parameters.model_path, device, trust_remote_code=parameters.trust_remote_code)
