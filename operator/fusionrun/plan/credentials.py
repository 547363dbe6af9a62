"""The Secrets that a spec names, and the keys that pods read from them."""

from collections.abc import Iterator
from dataclasses import dataclass

from fusionrun.api.spec.endpoints import SecretKeyRef, SecretRef
from fusionrun.api.spec.pods import PodSettings
from fusionrun.api.spec.run import FusionRunSpec
from fusionrun.plan.pods import DATA_STAGES, parts

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
    name_field: str = "name"
    """Field of its name, below ``field``."""


def credentials(spec: FusionRunSpec) -> list[Credential]:
    """Return every Secret that the spec names, with its field."""
    named = [
        Credential(field, ref.name, (ref.key,) if isinstance(ref, SecretKeyRef) else S3_KEYS, from_start)
        for field, ref, from_start in _named(spec)
        if ref is not None
    ]
    return [*named, *_of_pods(spec)]


def _of_pods(spec: FusionRunSpec) -> Iterator[Credential]:
    """Yield the Secrets of variables and volumes."""
    for part in parts(spec):
        if not isinstance(part.settings, PodSettings):
            continue
        from_start = part.field == DATA_STAGES
        for variable in part.settings.env:
            if variable.value_from and (ref := variable.value_from.secret_key_ref):
                field = f"{part.field}.env[{variable.name}].valueFrom.secretKeyRef"
                yield Credential(field, ref.name, (ref.key,), from_start)
        for volume in part.settings.volumes:
            if secret := volume.secret:
                keys = tuple(item.key for item in secret.items or ())
                field = f"{part.field}.volumes[{volume.name}].secret"
                yield Credential(field, secret.secret_name, keys, from_start, name_field="secretName")


def _named(spec: FusionRunSpec) -> Iterator[tuple[str, SecretKeyRef | SecretRef | None, bool]]:
    hub, s3, reward, publish = spec.hub, spec.s3, spec.reward_model.endpoint, spec.publish
    yield "hub.tokenSecretRef", hub.token_secret_ref if hub else None, True
    yield "s3.secretRef", s3.secret_ref if s3 else None, True
    for source in spec.sources:
        if source.endpoint:
            yield f"sources[{source.name}].endpoint.apiKeySecretRef", source.endpoint.api_key_secret_ref, False
    yield "rewardModel.endpoint.apiKeySecretRef", reward.api_key_secret_ref if reward else None, False
    judge = spec.evaluation.judge.endpoint if spec.evaluation.judge else None
    yield "evaluation.judge.endpoint.apiKeySecretRef", judge.api_key_secret_ref if judge else None, False
    mlflow = spec.training.mlflow
    yield "training.mlflow.tokenSecretRef", mlflow.token_secret_ref if mlflow else None, False
    yield "publish.tokenSecretRef", publish.token_secret_ref if publish else None, False
    yield "publish.s3SecretRef", publish.s3_secret_ref if publish else None, False
