"""Credentials go where they belong, once they are asked for, and are shown nowhere."""

from __future__ import annotations

import json

import pytest

from lamella.errors import AuthError, ConfigError
from lamella.oci.reference import parse_reference
from lamella.registry.auth import Challenge, parse_challenges
from lamella.registry.credentials import Credential, parse_docker_config
from lamella.registry.hosts import RegistrySettings, Repository, credential_host, is_private
from lamella.testing.registry import Fault, MemoryRegistry
from tests.unit.registry.conftest import AMD64, Collected, Puller

ME = Credential("me", "s3cret-password")


@pytest.mark.parametrize(
    ("header", "challenges"),
    [
        ('Basic realm="x"', (Challenge("basic", (("realm", "x"),)),)),
        (
            'Bearer realm="https://a/t",service="s",scope="repository:a/b:pull,push"',
            (Challenge("bearer", (("realm", "https://a/t"), ("service", "s"), ("scope", "repository:a/b:pull,push"))),),
        ),
        (
            'Negotiate, Bearer realm=plain , Basic realm="with \\"quotes\\", and comma"',
            (
                Challenge("negotiate"),
                Challenge("bearer", (("realm", "plain"),)),
                Challenge("basic", (("realm", 'with "quotes", and comma'),)),
            ),
        ),
        ("", ()),
        ("=", ()),
    ],
)
def test_challenges_are_read_as_rfc_9110_has_them(header: str, challenges: tuple[Challenge, ...]) -> None:
    assert parse_challenges(header) == challenges


def test_basic_credentials_are_sent_only_when_asked_for(pull: Puller, sink: Collected) -> None:
    with MemoryRegistry(user="me", password="s3cret-password") as registry:
        registry.add_image("a", "1")
        image = pull(registry, "a:1", credential=ME)
        resolved = image.resolve(AMD64)
        image.fetch(resolved.manifest.layers[0], sink)
        sent = ["authorization" in seen.headers for seen in registry.requests]
        assert sent == [False, True, True, True]


def test_without_credentials_it_is_said_how_to_log_in(pull: Puller) -> None:
    with MemoryRegistry(user="me", password="pw") as registry:
        registry.add_image("a", "1")
        with pytest.raises(AuthError, match="wants a user name and password") as caught:
            pull(registry, "a:1").resolve(AMD64)
        assert caught.value.hint == f"run: docker login {registry.address}"


def test_wrong_credentials_are_an_error_without_their_value(pull: Puller) -> None:
    with MemoryRegistry(user="me", password="other") as registry:
        registry.add_image("a", "1")
        with pytest.raises(AuthError, match="are refused") as caught:
            pull(registry, "a:1", credential=ME).resolve(AMD64)
        assert "s3cret" not in f"{caught.value.message}{caught.value.hint}{caught.value.details}"
        assert len(registry.requests) == 2


@pytest.mark.parametrize("credential", [None, ME], ids=["anonymous", "basic"])
def test_a_token_is_fetched_with_the_least_scope_and_kept(
    pull: Puller, sink: Collected, credential: Credential | None
) -> None:
    user, password = ("me", "s3cret-password") if credential else ("", "")
    with MemoryRegistry(tokens=True, user=user, password=password) as registry:
        registry.add_image("acme/shop", "1", layers=[b"1", b"2"])
        image = pull(registry, "acme/shop:1", credential=credential)
        for layer, _ in image.resolve(AMD64).layers:
            image.fetch(layer, sink)
        asked = [seen for seen in registry.requests if seen.path.startswith("/token")]
        assert [seen.path for seen in asked] == ["/token?service=test&scope=repository%3Aacme%2Fshop%3Apull"]
        assert ("authorization" in asked[0].headers) == (credential is not None)
        assert len(registry.requests) == 6


def test_more_than_pulling_is_not_asked_for(pull: Puller) -> None:
    with MemoryRegistry(tokens=True) as registry:
        registry.add_image("a", "1")
        challenge = (
            f'Bearer realm="{registry.url}/token",service="t",scope="repository:a:pull,push,delete registry:catalog:*"'
        )
        registry.script(Fault("/manifests/", status=401, headers=(("WWW-Authenticate", challenge),)))
        pull(registry, "a:1").resolve(AMD64)
        assert registry.requests[1].path == "/token?service=t&scope=repository%3Aa%3Apull"


def test_a_token_that_expires_in_the_middle_of_a_download_is_renewed(pull: Puller, sink: Collected) -> None:
    with MemoryRegistry(tokens=True) as registry:
        registry.add_image("a", "1", layers=[bytes(range(256)) * 400])
        image = pull(registry, "a:1")
        layer = image.resolve(AMD64).manifest.layers[0]
        registry.script(Fault("/blobs/", cut=100))
        registry.script(
            Fault(
                "/blobs/",
                status=401,
                headers=(("WWW-Authenticate", f'Bearer realm="{registry.url}/token",service="test"'),),
            )
        )
        image.fetch(layer, sink)
        assert list(sink.blobs) == [layer.digest]
        assert len(registry.issued) == 2


def test_a_refused_token_is_not_asked_for_for_ever(pull: Puller) -> None:
    with MemoryRegistry(tokens=True) as registry:
        registry.add_image("a", "1")
        challenge = f'Bearer realm="{registry.url}/token",service="t"'
        registry.script(Fault("/manifests/", times=0, status=401, headers=(("WWW-Authenticate", challenge),)))
        with pytest.raises(AuthError, match="answered 401"):
            pull(registry, "a:1").resolve(AMD64)
        assert len(registry.requests) == 5


@pytest.mark.parametrize(
    "realm",
    [
        "http://auth.example/token",
        "https://10.0.0.1/token",
        "https://169.254.169.254/latest/meta-data",
        "https://[fd00::1]/token",
        "https://metadata.internal/x",
        "https://user:pw@auth.example/token",
        "file:///etc/passwd",
        "//auth.example/token",
        "",
    ],
)
def test_a_realm_that_is_plain_private_or_no_url_gets_no_credential(pull: Puller, realm: str) -> None:
    with MemoryRegistry(tokens=True, realm=realm) as registry:
        registry.add_image("a", "1")
        if realm == "":
            registry.script(Fault("/manifests/", times=0, status=401, headers=(("WWW-Authenticate", "Bearer x=y"),)))
        with pytest.raises(AuthError, match="as its token service"):
            pull(registry, "a:1", credential=ME).resolve(AMD64)
        assert len(registry.requests) == 1


def test_a_realm_may_be_trusted_by_the_user(pull: Puller) -> None:
    with MemoryRegistry() as realm, MemoryRegistry(tokens=True) as registry:
        realm.put_file("/t", b'{"token": "abc"}')
        registry.realm = f"{realm.url}/t"
        registry.issued.append("abc")
        registry.add_image("a", "1")
        settings = RegistrySettings(realms=frozenset({realm.address}))
        pull(registry, "a:1", settings=settings).resolve(AMD64)
        assert len(realm.requests) == 1


def test_the_challenge_of_a_host_that_a_redirect_leads_to_gets_nothing(pull: Puller) -> None:
    with MemoryRegistry() as registry, MemoryRegistry(tokens=True) as evil:
        registry.add_image("a", "1")
        target = f"{evil.url}/v2/a/manifests/1"
        registry.script(Fault("/manifests/", times=0, status=307, headers=(("Location", target),)))
        with pytest.raises(AuthError):
            pull(registry, "a:1", credential=ME).resolve(AMD64)
        assert [seen.path for seen in evil.requests] == ["/v2/a/manifests/1"]
        assert all("authorization" not in seen.headers for seen in evil.requests)


def test_an_identity_token_is_exchanged(pull: Puller) -> None:
    with MemoryRegistry(tokens=True) as registry:
        registry.add_image("a", "1")
        pull(registry, "a:1", credential=Credential("<token>", "", "refresh-me")).resolve(AMD64)
        (exchange,) = [seen for seen in registry.requests if seen.path == "/token"]
        assert exchange.method == "POST"
        assert b"grant_type=refresh_token" in exchange.body
        assert b"refresh_token=refresh-me" in exchange.body


def test_a_token_answer_without_a_token_is_said(pull: Puller) -> None:
    with MemoryRegistry(tokens=True) as registry:
        registry.add_image("a", "1")
        registry.script(Fault("/token", body=b'{"token": "with\\nnewline"}'))
        with pytest.raises(Exception, match="holds no token"):
            pull(registry, "a:1").resolve(AMD64)


def test_credentials_have_no_printable_form() -> None:
    credential = Credential("me", "s3cret-password", "refresh")
    assert "s3cret" not in repr(credential)
    assert "refresh" not in f"{credential}"


def test_docker_config_is_read() -> None:
    config = parse_docker_config(
        json.dumps(
            {
                "auths": {
                    "https://index.docker.io/v1/": {"auth": "bWU6cDp3"},
                    "registry.example:5000": {"username": "u", "password": "p"},
                    "tokens.example": {"auth": "PHRva2VuPjo=", "identitytoken": "abc"},
                    "helper.example": {},
                },
                "credHelpers": {"gcr.example": "gcloud"},
                "credsStore": "desktop",
            }
        ).encode()
    )
    assert config.find("docker.io") == Credential("me", "p:w")
    assert config.find("registry.example:5000") == Credential("u", "p")
    assert config.find("tokens.example") == Credential("<token>", "", "abc")
    assert config.find("helper.example") is None
    assert (config.helper("gcr.example"), config.helper("helper.example")) == ("gcloud", "desktop")


@pytest.mark.parametrize(
    "data", [b"{", b"[]", b'{"auths": [1]}', b'{"auths": {"h": 1}}', b'{"auths": {"h": {"auth": "s3cret!"}}}']
)
def test_a_broken_docker_config_is_said_without_its_content(data: bytes) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_docker_config(data)
    assert "s3cret" not in caught.value.message


@pytest.mark.parametrize(
    ("text", "registry", "url"),
    [
        ("debian", "docker.io", "https://registry-1.docker.io/v2/library/debian/x"),
        ("acme/shop", "docker.io", "https://registry-1.docker.io/v2/acme/shop/x"),
        ("index.docker.io/debian:1", "docker.io", "https://registry-1.docker.io/v2/library/debian/x"),
        ("registry.example/shop", "registry.example", "https://registry.example/v2/shop/x"),
        ("localhost:5000/shop", "localhost:5000", "http://localhost:5000/v2/shop/x"),
        ("[::1]:5000/shop", "[::1]:5000", "http://[::1]:5000/v2/shop/x"),
        ("plain.example/shop", "plain.example", "http://plain.example/v2/shop/x"),
    ],
)
def test_where_a_repository_is(text: str, registry: str, url: str) -> None:
    settings = RegistrySettings(insecure=frozenset({"plain.example"}))
    repository = Repository.of(parse_reference(text), settings)
    assert (repository.registry, repository.url("x")) == (registry, url)


def test_a_short_name_needs_a_default() -> None:
    with pytest.raises(ConfigError, match="names no registry"):
        Repository.of(parse_reference("debian"), RegistrySettings(default=""))


@pytest.mark.parametrize(
    ("host", "private"),
    [("10.1.2.3", True), ("192.168.0.1:5000", True), ("8.8.8.8", False), ("[::1]", True), ("a.example", False)],
)
def test_private_hosts(host: str, private: bool) -> None:
    assert is_private(host) == private


def test_hosts_of_docker_config_keys() -> None:
    assert credential_host("https://registry.example/v2/") == "registry.example"
    assert credential_host("registry.example:5000/path") == "registry.example:5000"
