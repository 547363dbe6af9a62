"""The data of a run's cards, the sections of a card, and how values are formatted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fusionrun.api.results.values import Constructed
from fusionrun.api.spec.models import Sampling
from fusionrun.api.spec.reward import RewardModel
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.api.spec.sources import Source
from fusionrun_stages.cards.published import public_url


@dataclass(frozen=True)
class Facts:
    """The data of a run's cards."""

    name: str
    spec: FusionRunSpec
    """With all defaults."""
    made: Constructed
    details: Mapping[str, Any]
    """Of ``construct``'s manifest."""
    summary: Mapping[str, Any]
    """``summary.json`` of ``construct``; empty if there is none."""
    pins: Mapping[str, str] = field(default_factory=dict)
    """Fingerprints by field of the spec."""
    licences: Mapping[str, str] = field(default_factory=dict)
    """Licences that cards on the volume declare, by ``target``, ``sources[NAME]`` and ``datasets[NAME]``."""
    benchmark_licences: Mapping[str, str] = field(default_factory=dict)
    """Licences of the questions of benchmarks, by name; only of those with a preset."""
    evaluated: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Details of the benchmarks in the manifest of ``evaluate`` for the final model, by name; empty without a judge."""


@dataclass(frozen=True)
class Section:
    """One section of the data set's card."""

    heading: str
    text: str = ""
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    plot: str = ""
    """An ``svg`` element, or empty."""
    warnings: Sequence[str] = ()


def number(value: int | None) -> str:
    """Format a count."""
    return "" if value is None else f"{value:,}"


def percent(value: float | None) -> str:
    """Format a fraction as a percentage."""
    return "" if value is None else f"{100 * value:.1f} %"


def score(value: float | None) -> str:
    """Format a reward or a difference of rewards."""
    return "" if value is None else f"{value:.4g}"


def model_of(source: Source) -> str:
    """Return the model of a source, with its revision."""
    if source.served is not None:
        revision = source.served.model.revision
        return source.served.model.uri + (f"@{revision}" if revision else "")
    if source.endpoint is not None:
        return f"{source.endpoint.model} at {public_url(source.endpoint.url)}"
    return "responses of the data set"


def reward_model_of(reward: RewardModel) -> str:
    """Return the location of the reward model."""
    if reward.endpoint is not None:
        return f"{reward.endpoint.model} at {public_url(reward.endpoint.url)}"
    return reward.place


def sampling_of(sampling: Sampling | None) -> str:
    """Format sampling parameters."""
    if sampling is None:
        return ""
    values = sampling.model_dump(exclude_none=True, by_alias=False)
    return ", ".join(f"{name} {value}" for name, value in values.items())
