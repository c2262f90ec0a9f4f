"""Who may do what: accounts with rights of their own, scopes, and what is asked for (RELIABILITY R5, R6)."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest

from lamella.errors import AuthError, LamellaError
from lamella.oci import media
from lamella.registry.auth import wanted_scope
from lamella.registry.credentials import Credential
from lamella.testing.registry import Account, Fault, MemoryRegistry
from tests.unit.registry.blobs import blob, push_artifact
from tests.unit.registry.conftest import Remote

RELEASE = Account("release", "r-secret", push=("acme/",), delete=("acme/",))
PULL_REQUEST = Account("pr", "p-secret", push=("acme/app-pr",))
READER = Account("reader", "o-secret")
ANYBODY = Account(pull=("acme/app",))


def credential(account: Account) -> Credential:
    return Credential(account.name, account.password)


@pytest.fixture(params=[False, True], ids=["basic", "tokens"])
def guarded(request: pytest.FixtureRequest) -> MemoryRegistry:
    return MemoryRegistry(accounts=[RELEASE, PULL_REQUEST, READER], anonymous=ANYBODY, tokens=request.param)


def refused(act: Callable[[], object]) -> str:
    """The hint of an AuthError."""
    with pytest.raises(AuthError) as caught:
        act()
    assert caught.value.exit_code == 7
    assert not any(account.password in caught.value.message for account in (RELEASE, PULL_REQUEST, READER))
    return caught.value.hint


def test_each_account_writes_where_it_may(guarded: MemoryRegistry, remote: Remote) -> None:
    with guarded as registry:
        ours = push_artifact(remote(registry, "acme/app", credential(RELEASE)), "1")
        push_artifact(remote(registry, "acme/app-pr", credential(PULL_REQUEST)), "1")
        hints = {
            refused(lambda: push_artifact(remote(registry, "acme/app", credential(PULL_REQUEST)), "1")),
            refused(lambda: push_artifact(remote(registry, "acme/app", credential(READER)), "1")),
            refused(lambda: remote(registry, "acme/app", credential(PULL_REQUEST)).delete_manifest(ours.digest)),
        }
        assert all("may not do this" in hint for hint in hints)
        assert registry.manifests["acme/app", "1"] == registry.manifests["acme/app", ours.digest]


def test_without_credentials_what_is_public_can_be_read_and_nothing_written(
    guarded: MemoryRegistry, remote: Remote
) -> None:
    with guarded as registry:
        registry.add_image("acme/app", "1")
        registry.add_image("acme/secret", "1")
        if guarded.gate.tokens:  # with basic authentication a registry asks everybody who they are
            assert remote(registry, "acme/app").head("1") is not None
            assert refused(lambda: remote(registry, "acme/secret").head("1")) == f"run: docker login {registry.address}"
        hint = refused(lambda: push_artifact(remote(registry, "acme/app")))
        assert hint == f"run: docker login {registry.address}"


def test_a_wrong_password(guarded: MemoryRegistry, remote: Remote) -> None:
    with guarded as registry:
        wrong = remote(registry, "acme/app", Credential("release", "not-it"))
        assert "docker login" in refused(lambda: push_artifact(wrong))
        assert len(registry.requests) < 6


def test_the_least_scope_is_asked_for(remote: Remote) -> None:
    owner = Account.owner("me", "pw")
    with MemoryRegistry(accounts=[owner], tokens=True) as registry:
        shared = registry.put_blob(b"shared", media.LAYER_TAR, "acme/base")
        repository = remote(registry, "acme/app", credential(owner))
        assert repository.head("1") is None
        _, open_ = blob(b"shared")
        assert repository.push_blob(shared, open_, mount_from=["acme/base"]) == "mounted"
        repository.delete_blob(shared.digest)
        asked = [parse_qs(urlsplit(s.path).query)["scope"] for s in registry.requests if s.path.startswith("/token")]
        assert asked == [
            ["repository:acme/app:pull"],
            ["repository:acme/app:pull,push"],
            ["repository:acme/app:pull,push", "repository:acme/base:pull"],
            ["repository:acme/app:delete"],
        ]


def test_a_blob_that_may_not_be_read_is_not_mounted_but_sent(guarded: MemoryRegistry, remote: Remote) -> None:
    with guarded as registry:
        hidden = Account("hidden", "h", pull=("acme/app",), push=("acme/app",))
        registry.gate.accounts = (*registry.gate.accounts, hidden)
        shared = registry.put_blob(b"shared", media.LAYER_TAR, "acme/base")
        _, open_ = blob(b"shared")
        repository = remote(registry, "acme/app", credential(hidden))
        assert repository.push_blob(shared, open_, mount_from=["acme/base"]) == "sent"


@pytest.mark.parametrize(
    ("challenged", "ours", "wanted"),
    [
        ("", "repository:a:pull", "repository:a:pull"),
        ("repository:a:pull,push,delete", "repository:a:pull", "repository:a:pull"),
        ("repository:a:pull", "repository:a:pull,push", "repository:a:pull,push"),
        ("repository:library/a:pull,push", "repository:a:pull", "repository:library/a:pull"),
        ("registry:catalog:*", "repository:a:pull", "repository:a:pull"),
        ("repository:a:*", "repository:a:pull", "repository:a:pull"),
        ("repository:a:*", "repository:a:delete", "repository:a:*"),
        ("repository:a:delete", "repository:a:delete", "repository:a:delete"),
        ("repository:b:5000/a:pull", "repository:a:pull", "repository:b:5000/a:pull"),
    ],
)
def test_scopes(challenged: str, ours: str, wanted: str) -> None:
    assert wanted_scope(challenged, ours) == wanted


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_at_the_token_service_is_no_registry_error(remote: Remote, status: int) -> None:
    with MemoryRegistry(tokens=True) as registry:
        registry.realm = f"{registry.url}/nowhere"
        registry.script(Fault("/nowhere", status=status, body=b"account suspended", times=0))
        with pytest.raises(LamellaError, match="account suspended") as caught:
            remote(registry, "a").head("1")
        assert caught.value.exit_code == 7


@pytest.mark.parametrize("me", [None, Credential("me", "pw"), Credential("<token>", "", "refresh-me")])
def test_a_token_service_that_is_down_is_tried_again_and_is_no_matter_of_credentials(
    remote: Remote, me: Credential | None
) -> None:
    with MemoryRegistry(tokens=True) as registry:
        registry.script(Fault("/token", times=0, status=503, body=b"maintenance"))
        with pytest.raises(LamellaError, match=r"for a token: .* answered 503: maintenance") as caught:
            remote(registry, "a", me).head("1")
        assert caught.value.exit_code == 6
        assert len([seen for seen in registry.requests if seen.path.startswith("/token")]) == 5


@pytest.mark.parametrize("tokens", [False, True], ids=["basic", "tokens"])
@pytest.mark.parametrize("status", [400, 403, 404, 500])
def test_a_server_that_repeats_what_it_was_sent_is_not_quoted(remote: Remote, tokens: bool, status: int) -> None:
    owner = Account.owner("me", "very-s3cret-password")
    with MemoryRegistry(accounts=[owner], tokens=tokens) as registry:
        image = registry.add_image("a", "1")
        repository = remote(registry, "a", credential(owner))
        assert repository.head("1") is not None
        sent = registry.requests[-1].headers["authorization"].partition(" ")[2]
        body = f"you are very-s3cret-password with {sent}, or {owner.basic}".encode()
        registry.script(Fault("/v2/", times=0, status=status, body=body))
        for act in (lambda: repository.require_manifest("1"), lambda: repository.read_blob(image.config, 10_000)):
            with pytest.raises(LamellaError, match="you are") as caught:
                act()
            text = f"{caught.value.message} {caught.value.hint} {caught.value.details}"
            assert not any(secret in text for secret in ("very-s3cret-password", sent, owner.basic))
