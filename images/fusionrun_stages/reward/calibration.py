"""The calibration of a reward model: ``preflight`` runs it before the servers, ``score`` before the first score."""

from fusionrun.api.records import MICRO
from fusionrun.api.spec.reward import Calibration
from fusionrun_stages.errors import UserError
from fusionrun_stages.reward.scorer import Scorer


def calibrate(scorer: Scorer, calibration: Calibration) -> list[dict[str, float]]:
    """Check the order and the range of the scores of each calibration pair, and return the scores.

    With scores in another range, the reward margins would select the wrong pairs.
    """
    details = []
    low, high = calibration.score_range.min, calibration.score_range.max
    scores: dict[int, list[int | None]] = {}
    pairs = [[(pair.prompt, pair.better), (pair.prompt, pair.worse)] for pair in calibration.pairs]
    scorer.score_all(enumerate(pairs), scores.__setitem__)
    for number in range(len(pairs)):
        better, worse = scores[number]
        where = f"rewardModel.calibration.pairs[{number}]"
        if better is None or worse is None:
            raise UserError(f"{where}: too long to score")
        for name, score in (("better", better), ("worse", worse)):
            if not low <= score / MICRO <= high:
                raise UserError(f"{where}.{name}: the score {score / MICRO:.6f} is outside [{low}, {high}]")
        if better <= worse:
            raise UserError(
                f"{where}: wrong order: better scores {better / MICRO:.6f}, worse scores {worse / MICRO:.6f}"
            )
        details.append({"better": better / MICRO, "worse": worse / MICRO})
    return details
