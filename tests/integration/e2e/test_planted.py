"""A pull-request build plants what a release build would read, in a real registry that knows who may write where.

docker-registry asks a token service, which gives each user rights by repository. The step of the project gives other
bytes each time it runs, so that equal keys have unequal results and it shows whose are used.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from lamella.cache.domains import Place, parse_domain, places_of
from lamella.cache.repository import CacheRepository
from lamella.cache.states import push_state, restore_state, state_tag
from lamella.canonical import digest_bytes
from lamella.errors import AuthError
from lamella.oci.reference import parse_reference
from lamella.registry.client import RegistryClient
from lamella.registry.credentials import Credential
from lamella.registry.documents import Document
from lamella.registry.remote import RemoteRepository
from lamella.store.store import Store
from lamella.transport.client import Client
from tests.integration.e2e.conftest import Cli, write_tree
from tests.integration.e2e.test_team_cache import digest, docker_config, machine, outcomes
from tests.integration.registry.test_auth_real import PASSWORD, running
from tests.integration.registry.token_service import ISSUER, SERVICE, TokenService, serving

TOML = """
[project]
schema = 1
name = "planted"
version = "1.0.0"
repository = "REGISTRY/acme/shop"

[layer.base]
from = "BASE"

[layer.setup]
run = [["sh", "-c", "cat setup/* > /made && date +%s%N >> /made"]]
inputs = ["setup/**"]

[image.shop]
layers = ["base", "setup"]
tags = ["{version}", "latest"]
"""

RIGHTS = {
    "release": "pull,push,delete",
    "pull": "pull",
    "pull:acme/shop-cache-pull-request": "pull,push,delete",
    "nobody": "pull",
}
"""Who may do what: everybody reads, the release writes everywhere, a pull request its own records and nothing else."""


@dataclass(frozen=True)
class Guarded:
    """A registry with its two users, and the project in it."""

    address: str
    folder: Path
    project: Path
    http: Client

    def cli(self, user: str, trust: str, store: str = "") -> Cli:
        """A machine of its own that has these credentials and says that of itself."""
        config = docker_config(self.folder / f"docker-{user}", self.address, (user, PASSWORD))
        return machine(self.folder / f"store-{store or user}", trust, config)

    def remote(self, user: str, repository: str) -> RemoteRepository:
        """A repository as a user sees it, without any of the command line's rules."""
        client = RegistryClient(self.http, None, lambda _: Credential(user, PASSWORD))
        return client.repository(parse_reference(f"{self.address}/{repository}"))


@pytest.fixture
def guarded(tmp_path: Path, base_reference: str) -> Iterator[Guarded]:
    http = Client()
    home = tmp_path / "registry"
    home.mkdir()
    with serving(TokenService(home, RIGHTS), PASSWORD) as service:
        realm = {
            "realm": service.url, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": str(service.certificate),
        }  # fmt: skip
        with running(home, auth={"token": realm}) as address:
            toml = TOML.replace("REGISTRY", address).replace("BASE", base_reference)
            project = write_tree(tmp_path / "project", {"lamella.toml": toml, "setup/1": "one\n"})
            Cli(tmp_path / "store-lock").run(project, "lock")
            yield Guarded(address, tmp_path, project, http)
    http.close()


def refused(cli: Cli, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command that ends with 7: somebody has to log in as somebody else."""
    done = cli.run(folder, *arguments, check=False)
    assert done.returncode == 7, done.stderr
    assert PASSWORD not in done.stderr
    return done


def plant(document: Document, target: RemoteRepository, tag: str) -> None:
    """Puts a manifest under a tag of another repository, by what the registry allows alone."""
    target.push_manifest(document.data, document.descriptor.media_type, tags=(tag,))


def test_no_record_of_a_pull_request_is_read_by_a_release(guarded: Guarded) -> None:
    attacker = guarded.cli("pull", "pull-request/17")
    evil = attacker.build(guarded.project, "--push-records")
    own = f"{guarded.address}/acme/shop-cache-pull-request"
    assert (evil["records"]["repository"], evil["records"]["pushed"]) == (own, len(outcomes(evil)))
    refused(guarded.cli("pull", "release"), guarded.project, "build", "--push-records")
    refused(attacker, guarded.project, "build", "--cache-to", f"{guarded.address}/acme/shop-cache")

    theirs, ours = (guarded.remote("pull", f"acme/shop-cache{end}") for end in ("-pull-request", ""))
    for tag in theirs.tags():
        document = theirs.require_manifest(tag)
        with pytest.raises(AuthError, match="401: UNAUTHORIZED"):
            plant(document, ours, tag.removeprefix("17."))
    assert guarded.remote("release", "acme/shop-cache").head(next(iter(theirs.tags())).removeprefix("17.")) is None

    release = guarded.cli("release", "release")
    assert set(release.planned(guarded.project).values()) <= {"build", "expected"}
    good = release.build(guarded.project, "--push-records")
    assert digest(good) != digest(evil), "the release ran the step itself"
    keys = [{row["name"]: row["key"] for row in report["vertices"]}["setup"] for report in (good, evil)]
    assert keys[0] == keys[1], "under the very key that the pull request had a result for"

    other = guarded.cli("pull", "pull-request/18", store="other").build(guarded.project)
    assert digest(other) == digest(good), "releases are read by all, and go before a pull request's own"
    assert set(outcomes(other).values()) == {"restored"}


def test_no_tag_of_a_release_is_moved_by_a_pull_request(guarded: Guarded) -> None:
    attacker = guarded.cli("pull", "pull-request/17")
    refused(attacker, guarded.project, "publish", "--attest", "none")
    refused(attacker, guarded.project, "build", "--prod", "-t", f"{guarded.address}/acme/shop:1.0.0", "--push")
    shop = guarded.remote("release", "acme/shop")
    assert shop.head("1.0.0") is None
    release = guarded.cli("release", "release")
    release.run(guarded.project, "publish", "--attest", "none")
    published = shop.head("1.0.0")
    assert published is not None
    assert shop.head("latest") == published
    refused(attacker, guarded.project, "publish", "--attest", "none")
    refused(attacker, guarded.project, "promote", "1.0.0", "stable")
    evil = json.loads(attacker.run(guarded.project, "build", "--prod", "--format", "json").stdout)
    assert digest(evil) != published.digest
    assert (shop.head("1.0.0"), shop.head("latest"), shop.head("stable")) == (published, published, None)


def test_no_state_of_a_pull_request_is_restored_by_a_release(guarded: Guarded) -> None:
    """A state is in no key, so the place alone says whose it is."""
    state = digest_bytes(b"target of shop")
    base = parse_reference(f"{guarded.address}/acme/shop-cache")
    places = {name: places_of(base, parse_domain(name)) for name in ("pull-request/17", "release")}

    def remote(user: str, place: Place) -> RemoteRepository:
        return guarded.remote(user, place.repository.repository)

    def restored(store: Store, user: str, domain: str) -> str:
        known = places[domain].readers
        readers = [CacheRepository(place, partial(remote, user, place), said.append) for place in known]
        return restore_state(store, readers, state, "deps", said.append)

    said: list[str] = []
    own, its = places["pull-request/17"].writer, places["release"].writer
    assert own is not None
    assert its is not None
    with Store.open(guarded.folder / "evil") as store, Store.open(guarded.folder / "good") as good:
        with store.states.hold(state) as folder:
            (folder / "planted").write_text("evil")
        assert push_state(store, own, remote("pull", own), state, "deps", 600.0, 1_700_000_000)
        with pytest.raises(AuthError):
            push_state(store, its, remote("pull", its), state, "deps", 600.0, 1_700_000_000)
        planted = remote("pull", own).require_manifest(state_tag(state, own.prefix))
        with pytest.raises(AuthError, match="401: UNAUTHORIZED"):
            plant(planted, remote("pull", its), state_tag(state, its.prefix))
        assert restored(good, "release", "release") == ""
        assert good.states.is_empty(state)
        assert restored(good, "pull", "pull-request/17") == str(own), "what is refused to a release is there"
    assert said == []
