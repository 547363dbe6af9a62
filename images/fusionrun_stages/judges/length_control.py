"""The length-controlled win rate of AlpacaEval 2: the preferences that a regression predicts for equal lengths.

The model is a logistic regression on the tanh of the difference in length, the difficulty of the instruction and a
constant. It is fitted to the responses of one model and, with a small weight, to those of two baselines that were
instructed to be brief or verbose. The prediction for a difference of 0 is the value of a question.

Source: alpaca-eval, metrics/glm_winrate.py, ``length_controlled_v1``; Dubois et al., 2024, arXiv:2404.04475.
"""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusionrun_stages.errors import UserError
from fusionrun_stages.judges.templates import read_text

FILE = "gamed.csv"
"""``df_gamed.csv``, as the hub's data set tatsu-lab/alpaca_eval has it."""

COLUMNS = ("preference", "std_delta_len", "instruction_difficulty", "not_gamed_baseline")

GAMED_WEIGHT = 0.2 / 2
"""Weight of a row of a gamed baseline, of which there are two. A row of the model has weight 1."""

FOLDS = 5
REGULARISATION_STEPS = 10
"""Number of the inverse strengths between 1e-4 and 1e4 that cross-validation selects from."""
RANDOM_STATE = 123
LOSS_EPSILON = 1e-15
DRAW = 50.0


@dataclass(frozen=True)
class Gamed:
    """The judgements on the gamed baselines: three columns of one length."""

    preferences: Sequence[float]
    """From 0 to 1; NaN without one."""
    lengths: Sequence[float]
    """Characters of the baseline less those of the gamed one, in standard deviations."""
    difficulty: Sequence[float]


@dataclass(frozen=True)
class LengthControlled:
    """Length-controlled preferences."""

    values: list[float]
    """Preference for the model at equal lengths, in percent, by question. The mean is the win rate."""
    standard_error: float
    """Standard error of the mean, in percentage points; NaN for one question."""


def read_gamed(folder: Path) -> Gamed:
    """Read the judgements on the gamed baselines."""
    source = folder / FILE
    reader = csv.DictReader(io.StringIO(read_text(folder, FILE)))
    for name in COLUMNS:
        if name not in (reader.fieldnames or ()):
            raise UserError(f"{source}: the column {name} is missing")
    rows = [_read_row(row, f"{source}:{reader.line_num}") for row in reader]
    if not rows:
        raise UserError(f"{source}: there are no rows")
    preferences, lengths, difficulty = zip(*rows, strict=True)
    return Gamed(preferences, lengths, difficulty)


def _read_row(row: Mapping[str, str | None], source: str) -> tuple[float, float, float]:
    if row["not_gamed_baseline"] != "False":
        raise UserError(f"{source}: not_gamed_baseline must be False, not {row['not_gamed_baseline']!r}")
    preference = _read_number(row, "preference", source) if row["preference"] else math.nan
    return preference, _read_number(row, "std_delta_len", source), _read_number(row, "instruction_difficulty", source)


def _read_number(row: Mapping[str, str | None], name: str, source: str) -> float:
    try:
        number = float(row[name] or "")
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"{source}: {name} must be a number, not {row[name]!r}")
    return number


def length_controlled(
    preferences: Sequence[float | None],
    delta_characters: Sequence[float],
    difficulty: Sequence[float],
    gamed: Gamed,
) -> LengthControlled:
    """Return the length-controlled preferences of a model.

    Parameters
    ----------
    preferences
        Preference for the model in percent, by question; None without a judgement. Such a question is not fitted, and
        has a prediction all the same.
    delta_characters
        Characters of the baseline's response less those of the model's, by question.
    difficulty
        Difficulty of the instruction, by question: column ``instruction_difficulty`` of ``gamed.csv``.
    gamed
        The judgements on the gamed baselines.

    Raises
    ------
    ValueError
        If there are no questions, or no preferences.
    """
    import numpy as np

    if all(preference is None for preference in preferences):
        raise ValueError("there are no preferences")
    if all(preference == DRAW for preference in preferences) and not any(delta_characters):
        # The baseline against itself: the official code returns this by the names of the models.
        return LengthControlled([DRAW] * len(preferences), 0.0)
    lengths = np.asarray(delta_characters, dtype=float)
    deviation = lengths.std(ddof=1) if lengths.size > 1 else 0.0
    scaled = lengths / deviation if deviation > 0 else np.zeros_like(lengths)
    own = [math.nan if preference is None else preference / 100 for preference in preferences]
    probabilities = np.concatenate([np.asarray(gamed.preferences, dtype=float), own])
    features = np.vstack(
        [
            _features(gamed.lengths, gamed.difficulty, constant=0),
            _features(scaled, difficulty, constant=1),
        ]
    )
    weights = np.repeat([GAMED_WEIGHT, 1.0], [len(gamed.preferences), len(preferences)])
    known = ~np.isnan(probabilities)
    model = _fit(features[known], probabilities[known], weights[known])
    values = 100 * model.predict_proba(_features(np.zeros_like(lengths), difficulty, constant=1))[:, 1]
    error = values.std(ddof=1) / math.sqrt(values.size) if values.size > 1 else math.nan
    return LengthControlled(values.tolist(), float(error))


def _features(lengths: Any, difficulty: Any, constant: int) -> Any:
    """Return the design matrix, of shape (rows, 3)."""
    import numpy as np

    return np.column_stack([np.tanh(lengths), difficulty, np.full(len(lengths), float(constant))])


def _fit(features: Any, probabilities: Any, weights: Any) -> Any:
    """Fit a logistic regression to probabilities: each row is there as a win and as a loss, with their shares.

    The strength of the L1 regularisation is selected by cross-validation. Both copies of a row are in one fold.
    """
    import numpy as np
    import sklearn
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.metrics import make_scorer
    from sklearn.model_selection import GroupKFold

    shares = np.concatenate([probabilities, 1 - probabilities])
    both_weights = np.concatenate([weights, weights])
    with sklearn.config_context(enable_metadata_routing=True):
        scorer = make_scorer(_log_loss, response_method="predict_proba", greater_is_better=False)
        model = LogisticRegressionCV(
            Cs=REGULARISATION_STEPS,
            cv=GroupKFold(FOLDS),
            scoring=scorer.set_score_request(share=True, weight=True),
            l1_ratios=(1,),
            solver="liblinear",
            fit_intercept=False,
            random_state=RANDOM_STATE,
            use_legacy_attributes=False,
        ).set_fit_request(sample_weight=True)
        return model.fit(
            np.vstack([features, features]),
            np.repeat([1, 0], len(features)),
            sample_weight=shares * both_weights,
            groups=np.tile(np.arange(len(features)), 2),
            share=shares,
            weight=both_weights,
        )


def _log_loss(label: Any, predicted: Any, share: Any, weight: Any) -> float:
    """Return the weighted log loss against probabilities. The last three have one value per row."""
    import numpy as np

    probabilities = np.where(label == 1, share, 1 - share)
    clipped = np.clip(predicted, LOSS_EPSILON, 1 - LOSS_EPSILON)
    losses = -(probabilities * np.log(clipped) + (1 - probabilities) * np.log(1 - clipped))
    return float(np.mean(losses * weight))
