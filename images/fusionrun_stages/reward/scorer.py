"""The scorer of conversations that a task describes: a model in this process, or one behind an endpoint."""

from typing import TYPE_CHECKING, Union

from fusionrun.api.parameters import RewardEndpointParameters
from fusionrun_stages.errors import UserError
from fusionrun_stages.reward.model import LoadedRewardModel
from fusionrun_stages.sandbox import probe

if TYPE_CHECKING:
    from fusionrun_stages.reward.endpoint import RewardEndpoint

Scorer = Union[LoadedRewardModel, "RewardEndpoint"]


def load_scorer(
    model_path: str | None,
    endpoint: RewardEndpointParameters | None,
    device: str,
    *,
    max_length: int,
    trust_remote_code: bool,
) -> Scorer:
    """Return the scorer; exactly one of ``model_path`` and ``endpoint`` is set."""
    if endpoint is not None:
        # Imported here: the reward image has no HTTP client, the data image has no torch.
        from fusionrun_stages.reward.endpoint import RewardEndpoint

        return RewardEndpoint(endpoint, max_length)
    if model_path is None:
        raise UserError("rewardModel: exactly one of model and endpoint is required")
    if trust_remote_code:
        probe.require_closed_network()
    return LoadedRewardModel(model_path, device, trust_remote_code=trust_remote_code)
