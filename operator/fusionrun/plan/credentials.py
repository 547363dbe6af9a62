"""The Secrets that a spec names, and the keys that pods read from them."""

from collections.abc import Iterator
from dataclasses import dataclass

from fusionrun.api.models import SecretKeyRef, SecretRef
from fusionrun.api.spec import FusionRunSpec

S3_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
"""Keys that a Secret for an object store must have. They are the environment variables that S3 clients read."""
S3_MORE_KEYS = ("AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL")
"""Optional keys. Other keys of the Secret are not passed on, since they could set any variable of a program."""


@dataclass(frozen=True)
class Credential:
    """A Secret that the spec names."""

    field: str
    name: str
    keys: tuple[str, ...]
    """Keys that it must have."""
    from_start: bool
    """Whether ``resolve`` and ``fetch`` read it. Otherwise a later stage does."""


def credentials(spec: FusionRunSpec) -> list[Credential]:
    """Return every Secret that the spec names, with its field."""
    return [
        Credential(field, ref.name, (ref.key,) if isinstance(ref, SecretKeyRef) else S3_KEYS, from_start)
        for field, ref, from_start in _named(spec)
        if ref is not None
    ]


def _named(spec: FusionRunSpec) -> Iterator[tuple[str, SecretKeyRef | SecretRef | None, bool]]:
    hub, s3, reward, publish = spec.hub, spec.s3, spec.reward_model.endpoint, spec.publish
    yield "hub.tokenSecretRef", hub.token_secret_ref if hub else None, True
    yield "s3.secretRef", s3.secret_ref if s3 else None, True
    for source in spec.sources:
        if source.endpoint:
            yield f"sources[{source.name}].endpoint.apiKeySecretRef", source.endpoint.api_key_secret_ref, False
    yield "rewardModel.endpoint.apiKeySecretRef", reward.api_key_secret_ref if reward else None, False
    yield "publish.tokenSecretRef", publish.token_secret_ref if publish else None, False
    yield "publish.s3SecretRef", publish.s3_secret_ref if publish else None, False
