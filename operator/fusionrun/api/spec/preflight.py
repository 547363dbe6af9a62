"""Fields of a FusionRun on the checks before the first model server starts."""

from fusionrun.api.contract import Contract


class Preflight(Contract):
    """Checks of the cluster and of the spec before the first model server starts."""

    enabled: bool = True
    """Run the stages ``preflight``: a step of SFT and of DPO on the training pods, and the calibration of the reward
    model. Stages of sources that use GPUs or endpoints wait for them."""
