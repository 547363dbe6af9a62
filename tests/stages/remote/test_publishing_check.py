"""The destination of the model is checked with the credentials of ``publish`` before a GPU is used."""

import os
from collections.abc import Iterator

import pytest

from fusionrun.api.tasks.parameters import PublishingCheckParameters
from fusionrun_stages.errors import InfrastructureError, UserError
from fusionrun_stages.remote.publishing_check import check_publishing, why_not
from support.http_server import serving
from support.hub import HubRepositories

OURS = {"provenance.json": b'{"run": "r", "namespace": "n", "digest": "d", "spec": {}}'}
NAMES = ("org/fused", "org/fused-data")


@pytest.fixture
def hub(monkeypatch) -> Iterator[HubRepositories]:
    monkeypatch.setenv("HF_TOKEN", "writer")
    for name in ("HF_HUB_OFFLINE", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    repositories = HubRepositories()
    with serving(repositories) as repositories.url:
        yield repositories


def check(destination, endpoint=None):
    return check_publishing(PublishingCheckParameters(destination=str(destination), hub_endpoint=endpoint), "u")


def check_hub(hub):
    return check("hf://org/fused", hub.url)


def test_new_repositories_need_a_token_that_may_create_them_and_none_is_created(hub):
    assert check_hub(hub) == dict.fromkeys(NAMES, "may create")
    assert hub.repositories == {}


def test_existing_repositories_need_a_token_that_may_write(hub):
    hub.add("model", NAMES[0], dict(OURS))
    hub.add("dataset", NAMES[1], {})
    assert check_hub(hub) == dict.fromkeys(NAMES, "may write")
    hub.read_only = {NAMES[1]}
    with pytest.raises(UserError, match=r"^publish.uri: 'org/fused-data': the token of publish.tokenSecretRef lacks"):
        check_hub(hub)


def test_a_hub_without_this_check_is_not_refused(hub):
    hub.checks_access = False
    hub.add("model", NAMES[0], dict(OURS))
    assert check_hub(hub) == {NAMES[0]: "exists", NAMES[1]: "may create"}


def test_a_repository_of_somebody_else_is_refused(hub):
    hub.add("dataset", NAMES[1], {"thesis.pdf": b"x"})
    with pytest.raises(UserError, match="was not published by a FusionRun"):
        check_hub(hub)


def test_the_token_is_refused_with_the_field_that_names_it(hub):
    hub.account = {"name": "me", "orgs": []}
    with pytest.raises(UserError, match=r"publish.uri: 'org/fused': the token of publish.tokenSecretRef belongs to me"):
        check_hub(hub)
    hub.refuses = True
    with pytest.raises(UserError, match=r"publish.uri: 'org/fused': .*publish.tokenSecretRef"):
        check_hub(hub)


def test_an_unreachable_hub_is_an_infrastructure_error(hub):
    with pytest.raises(InfrastructureError, match="cannot reach the hub"):
        check("hf://org/fused", "http://127.0.0.1:9")


def account(role="write", name="me", member=None, **more):
    orgs = [] if member is None else [{"name": "org", "roleInOrg": member}]
    return {"name": name, "orgs": orgs, "auth": {"accessToken": {"role": role, **more}}}


def fine_grained(namespace, *permissions, anywhere=()):
    scopes = [{"entity": {"type": "org", "name": namespace}, "permissions": list(permissions)}]
    return account("fineGrained", "org", fineGrained={"global": list(anywhere), "scoped": scopes})


@pytest.mark.parametrize(
    ("reply", "rule"),
    [
        (account(name="org"), ""),
        (account(member="write"), ""),
        (account(member="admin"), ""),
        (account(member="read"), "belongs to me, whose role in org is read"),
        (account(), "belongs to me, which is not a member of org"),
        (account("read", name="org"), "can only read: create one with the role write"),
        (fine_grained("org", "repo.write", "repo.content.read"), ""),
        (fine_grained("org", "repo.content.read"), "lacks the permission repo.write for org"),
        (fine_grained("other", "repo.write"), "lacks the permission repo.write for org"),
        (fine_grained("other", anywhere=["repo.write"]), ""),
        (account("fineGrained", "org"), ""),  # the hub does not say what the token may do
        ({"name": "org"}, ""),
        ({"name": "me", "orgs": [{"name": "org"}]}, ""),
    ],
)
def test_what_a_token_may_create(reply, rule):
    assert why_not(reply, "org") == rule


def test_a_folder_of_the_claim_is_written_to_and_left_as_it_was(volume):
    assert check(volume / "published" / "tiny")
    assert list(volume.iterdir()) == []
    (volume / "tiny").mkdir()
    (volume / "tiny" / "thesis.txt").write_text("x")
    with pytest.raises(UserError, match="was not published by a FusionRun"):
        check(volume / "tiny")
    with pytest.raises(UserError, match=r"publish.uri: .*thesis.txt is not a directory"):
        check(volume / "tiny" / "thesis.txt" / "model")


@pytest.mark.skipif(os.getuid() == 0, reason="root can write everywhere")
def test_a_folder_without_the_permission_is_refused(volume):
    (volume / "closed").mkdir(mode=0o500)
    with pytest.raises(UserError, match=r"publish.uri: .*must be able to write"):
        check(volume / "closed" / "tiny")
