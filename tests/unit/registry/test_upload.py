"""Uploads that are cut, lost, refused and led elsewhere (RELIABILITY rows 49 and 50)."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lamella.errors import AuthError, LamellaError, RegistryError
from lamella.oci import media
from lamella.oci.manifest import Manifest, parse_manifest
from lamella.registry.credentials import Credential
from lamella.registry.hosts import RegistrySettings, Repository
from lamella.registry.remote import RemoteRepository
from lamella.registry.transfer import Stopped
from lamella.registry.upload import upload_place
from lamella.testing.registry import Account, Fault, MemoryRegistry, Options
from lamella.transport.client import Client, Response
from lamella.transport.retry import RetryPolicy, Timing
from tests.unit.registry.blobs import blob, noise
from tests.unit.registry.conftest import Remote

ME = Credential("me", "s3cret-password")


def upload_requests(registry: MemoryRegistry) -> list[tuple[str, str]]:
    """Method and Content-Range of the requests that carried or asked for parts."""
    return [
        (seen.method, seen.headers.get("content-range", ""))
        for seen in registry.requests
        if "/uploads/" in seen.path and seen.method != "POST"
    ]


@pytest.mark.parametrize("offset", [1, 2, 500, 999, 1000])
def test_a_cut_upload_goes_on_where_it_was_cut(registry: MemoryRegistry, remote: Remote, offset: int) -> None:
    data = noise(1000)
    descriptor, open_ = blob(data)
    registry.script(Fault("/uploads/", method="PUT", taken=offset))
    moved: list[int] = []
    assert remote(registry, "a").push_blob(descriptor, open_, on_bytes=moved.append) == "sent"
    assert registry.blobs[descriptor.digest] == data
    assert sum(moved) == 1000
    resumed = [("PATCH", f"{offset}-999")] if offset < 1000 else []
    if offset > 1:  # one byte and none look the same (0-0), so that starts again
        assert upload_requests(registry) == [("PUT", ""), ("GET", ""), *resumed, ("PUT", "")]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.integers(0, 3000),
    chunk=st.integers(100, 1500),
    whole=st.booleans(),
    faults=st.lists(
        st.tuples(
            st.sampled_from(["PATCH", "PUT", "GET", "POST"]),
            st.one_of(st.none(), st.integers(0, 1500)),
            st.sampled_from([0, 429, 500, 502, 503, 404, 416]),
            st.integers(0, 3),
        ),
        max_size=4,
    ),
)
def test_whatever_goes_wrong_a_few_times_the_blob_arrives_whole(
    http: Client,
    size: int,
    chunk: int,
    whole: bool,
    faults: list[tuple[str, int | None, int, int]],
) -> None:
    data, remote = noise(size), Remote(http)
    descriptor, open_ = blob(data)
    with MemoryRegistry() as registry:
        for method, taken, status, after in faults:
            lost = status == 0 and taken is None
            if method == "POST" and status in (404, 416):
                continue  # that is a refusal, and final
            registry.script(Fault("/uploads/", method=method, taken=taken, status=status, after=after, lost=lost))
        moved: list[int] = []
        repository = remote(registry, "a", whole=1 << 20 if whole else 1, chunk=chunk)
        assert repository.push_blob(descriptor, open_, on_bytes=moved.append) == "sent"
        assert registry.blobs[descriptor.digest] == data
        assert sum(moved) == size


def test_a_lost_answer_of_the_last_put_is_not_a_second_upload(registry: MemoryRegistry, remote: Remote) -> None:
    descriptor, open_ = blob(noise(1000))
    registry.script(Fault("/uploads/", method="PUT", lost=True))
    remote(registry, "a").push_blob(descriptor, open_)
    assert [seen.method for seen in registry.requests] == ["GET", "POST", "PUT", "GET", "HEAD"]


def test_no_progress_is_given_up(registry: MemoryRegistry, remote: Remote) -> None:
    descriptor, open_ = blob(noise(1000))
    registry.script(Fault("/uploads/", method="PUT", times=0, taken=0))
    with pytest.raises(RegistryError, match="cannot be reached") as caught:
        remote(registry, "a").push_blob(descriptor, open_)
    assert caught.value.exit_code == 6
    assert [method for method, _ in upload_requests(registry)].count("PUT") == 5


def test_progress_in_small_steps_is_not_given_up(registry: MemoryRegistry, remote: Remote) -> None:
    data = noise(2000)
    descriptor, open_ = blob(data)
    registry.script(Fault("/uploads/", method="PUT", taken=100))
    registry.script(*(Fault("/uploads/", method="PATCH", taken=100) for _ in range(12)))
    remote(registry, "a").push_blob(descriptor, open_)
    assert registry.blobs[descriptor.digest] == data


def test_starting_again_and_again_is_no_progress(registry: MemoryRegistry, remote: Remote) -> None:
    """docker-registry forgets an upload that was cut: chunks that come again must not keep it alive for ever."""
    descriptor, open_ = blob(noise(1000))
    registry.script(Fault("/uploads/", method="PATCH", after=2, taken=10))
    registry.script(*(Fault("/uploads/", method="PATCH", after=2, times=1, taken=10) for _ in range(40)))
    registry.script(Fault("/uploads/", method="GET", times=0, status=404))
    with pytest.raises(RegistryError):
        remote(registry, "a", whole=1, chunk=300).push_blob(descriptor, open_)
    assert len(registry.requests) < 50


def test_a_busy_registry_is_waited_for(registry: MemoryRegistry) -> None:
    slept: list[float] = []
    client = Client(timing=Timing(sleep=slept.append, uniform=lambda low, high: low))
    descriptor, open_ = blob(noise(10))
    registry.script(Fault("/uploads/", method="PUT", status=429, times=2, headers=(("Retry-After", "7"),)))
    Remote(client)(registry, "a").push_blob(descriptor, open_)
    assert slept == [7.0, 7.0]
    client.close()


def test_a_deadline_ends_an_upload(registry: MemoryRegistry) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    client = Client(policy=RetryPolicy(tries=1000), timing=Timing(lambda: now[0], sleep, lambda low, high: high))
    descriptor, open_ = blob(noise(10))
    registry.script(Fault("/uploads/", method="PUT", times=0, status=503, headers=(("Retry-After", "99999"),)))
    with pytest.raises(RegistryError, match="answered 503"):
        Remote(client)(registry, "a").push_blob(descriptor, open_)
    assert now[0] <= 300
    client.close()


@pytest.mark.parametrize(
    ("fault", "options", "code", "said", "hint"),
    [
        (Fault("/uploads/", status=413, times=0, body=b'{"errors":[{"code":"DENIED","message":"quota"}]}'), Options(),
         6, "DENIED quota", "quota"),
        (None, Options(quota=100), 6, "DENIED quota of this project is used up", "quota"),
        (None, Options(read_only=True), 6, "UNSUPPORTED", "read-only"),
        (Fault("/uploads/", status=507, method="PUT", times=0), Options(), 6, "answered 507", "storage is full"),
        (Fault("/uploads/", status=403, times=0, body=b'{"errors":[{"code":"DENIED","message":"no"}]}'), Options(), 7,
         "DENIED no", "docker login"),
        (Fault("/uploads/", status=404, times=0, body=b'{"errors":[{"code":"NAME_UNKNOWN"}]}'), Options(), 6,
         "NAME_UNKNOWN", ""),
        (Fault("/uploads/", status=500, times=0, body=b"<html>oh no</html>"), Options(), 6, "oh no", ""),
        (Fault("/uploads/", status=400, method="PUT", times=0, body=b"bad gateway"), Options(), 6, "bad gateway", ""),
    ],
    ids=["quota", "real quota", "read-only", "full", "denied", "no such project", "broken", "proxy's 400"],
)  # fmt: skip
def test_refusals_have_an_exit_code_the_registrys_words_and_a_hint(
    remote: Remote, fault: Fault | None, options: Options, code: int, said: str, hint: str
) -> None:
    descriptor, open_ = blob(noise(1000))
    with MemoryRegistry(options=options) as registry:
        if fault is not None:
            registry.script(fault)
        with pytest.raises(LamellaError, match=said) as caught:
            remote(registry, "a").push_blob(descriptor, open_)
        assert caught.value.exit_code == code
        assert hint in caught.value.hint
        assert registry.blobs == {}


def test_a_long_and_hostile_message_is_cut_and_cleaned(registry: MemoryRegistry, remote: Remote) -> None:
    words = "\x1b[31mask https://me:s3cret@registry.example/?sig=abc " + "x" * 1000
    body = json.dumps({"errors": [{"code": "DENIED", "message": words}]}).encode()
    registry.script(Fault("/uploads/", status=403, times=0, body=body))
    descriptor, open_ = blob(b"x")
    with pytest.raises(AuthError) as caught:
        remote(registry, "a").push_blob(descriptor, open_)
    text = caught.value.message
    assert "\x1b" not in text
    assert "s3cret" not in text
    assert len(text.partition("answered 403: ")[2].encode()) <= 256 + len("…".encode())


def test_a_proxys_size_limit_is_met_with_small_chunks(registry: MemoryRegistry, remote: Remote) -> None:
    data = noise(3000)
    descriptor, open_ = blob(data)
    registry.script(Fault("/uploads/", method="PUT", status=413, body=b"<html>Request Entity Too Large</html>"))
    remote(registry, "a", small=1000).push_blob(descriptor, open_)
    assert registry.blobs[descriptor.digest] == data
    assert [part for method, part in upload_requests(registry) if method == "PATCH"] == [
        "0-999", "1000-1999", "2000-2999",
    ]  # fmt: skip


@pytest.mark.parametrize("status", [400, 404, 405, 416, 501])
def test_a_registry_without_chunks_gets_the_blob_whole(registry: MemoryRegistry, remote: Remote, status: int) -> None:
    descriptor, open_ = blob(noise(3000))
    registry.script(Fault("/uploads/", method="PATCH", times=0, status=status))
    remote(registry, "a", whole=1, chunk=1000).push_blob(descriptor, open_)
    assert descriptor.digest in registry.blobs
    assert [method for method, _ in upload_requests(registry)].count("PATCH") == 1


def test_a_redirected_upload_follows_its_place_without_credentials(remote: Remote) -> None:
    data = noise(500)
    descriptor, open_ = blob(data)
    with MemoryRegistry(user="me", password="s3cret-password") as registry, MemoryRegistry() as storage:
        upload = storage.content.begin_upload()
        place = f"{storage.url}/v2/a/blobs/uploads/{upload}?signature=abc"
        registry.script(Fault("/uploads/", method="POST", status=202, headers=(("Location", place),)))
        assert remote(registry, "a", ME).push_blob(descriptor, open_) == "sent"
        assert storage.blobs[descriptor.digest] == data
        assert [seen.method for seen in storage.requests] == ["PUT"]
        assert "authorization" not in storage.requests[0].headers


def test_a_307_of_an_upload_is_followed_with_the_bytes_again(registry: MemoryRegistry, remote: Remote) -> None:
    descriptor, open_ = blob(noise(500))
    upload = registry.content.begin_upload()
    place = f"/v2/a/blobs/uploads/{upload}"
    registry.script(Fault("/uploads/", method="PUT", status=307, headers=(("Location", place),)))
    remote(registry, "a").push_blob(descriptor, open_)
    assert descriptor.digest in registry.blobs


@pytest.mark.parametrize(
    ("location", "place"),
    [
        ("/v2/a/blobs/uploads/1", "https://registry.example/v2/a/blobs/uploads/1"),
        ("https://registry.example/v2/a/blobs/uploads/1?x=y", "https://registry.example/v2/a/blobs/uploads/1?x=y"),
        ("http://registry.example/v2/a/blobs/uploads/1", "https://registry.example/v2/a/blobs/uploads/1"),
        ("https://storage.example/up", "https://storage.example/up"),
        ("http://storage.example/up", ""),
        ("https://10.0.0.1/up", ""),
        ("https://169.254.169.254/latest/meta-data", ""),
        ("https://me:pw@registry.example/up", ""),
        ("file:///etc/passwd", ""),
        ("", ""),
    ],
)
def test_where_an_upload_may_go_on(location: str, place: str) -> None:
    repository = Repository("registry.example", "a", "https://registry.example")
    answer = Response(202, {"location": location}, b"", "https://registry.example/v2/a/blobs/uploads/")
    if place:
        assert upload_place(answer, repository) == place
    else:
        with pytest.raises(RegistryError):
            upload_place(answer, repository)


def test_a_token_that_expires_in_the_middle_of_an_upload_is_renewed(remote: Remote) -> None:
    data = noise(1000)
    descriptor, open_ = blob(data)
    with MemoryRegistry(tokens=True, user="me", password="s3cret-password") as registry:
        repository = remote(registry, "a", ME, whole=100, chunk=400)

        def expire(count: int) -> None:
            if len(registry.gate.grants) == 1 and "PATCH" in [seen.method for seen in registry.requests]:
                registry.issued.clear()

        assert repository.push_blob(descriptor, open_, on_bytes=expire) == "sent"
        assert registry.blobs[descriptor.digest] == data
        assert len([seen for seen in registry.requests if seen.path.startswith("/token")]) == 2


def test_a_401_for_ever_ends(remote: Remote) -> None:
    descriptor, open_ = blob(noise(1000))
    with MemoryRegistry(tokens=True) as registry:
        challenge = (("WWW-Authenticate", f'Bearer realm="{registry.url}/token",service="t"'),)
        registry.script(Fault("/uploads/", method="PUT", times=0, status=401, headers=challenge))
        with pytest.raises(AuthError, match="answered 401"):
            remote(registry, "a").push_blob(descriptor, open_)
        assert len(registry.requests) < 20


def test_plain_http_is_spoken_to_loopback_and_configured_hosts_only() -> None:
    from lamella.oci.reference import parse_reference

    def api(text: str, insecure: frozenset[str] = frozenset()) -> str:
        return Repository.of(parse_reference(text), RegistrySettings(insecure=insecure)).api

    assert api("registry.example:5000/a") == "https://registry.example:5000"
    assert api("10.0.0.7:5000/a") == "https://10.0.0.7:5000"
    assert api("127.0.0.1:5000/a") == "http://127.0.0.1:5000"
    assert api("registry.example:5000/a", insecure=frozenset({"registry.example:5000"})).startswith("http://")


def test_no_credentials_for_a_push_say_so(remote: Remote) -> None:
    descriptor, open_ = blob(b"x")
    reader = Account(pull=("",))
    with MemoryRegistry(tokens=True, anonymous=reader) as registry:
        registry.add_image("a", "1")
        repository = remote(registry, "a")
        assert repository.head("1") is not None
        with pytest.raises(AuthError, match="answered 401") as caught:
            repository.push_blob(descriptor, open_)
        assert caught.value.hint == f"run: docker login {registry.address}"


def push_all(repository: RemoteRepository) -> Manifest:
    """An image of two layers, in the order of R4."""
    layers = [blob(noise(1500, seed)) for seed in (1, 2)]
    config = blob(b"{}", media.IMAGE_CONFIG)
    for descriptor, open_ in (*layers, config):
        repository.push_blob(descriptor, open_)
    manifest = Manifest(config[0], tuple(descriptor for descriptor, _ in layers))
    repository.push_manifest(manifest.to_bytes(), manifest.media_type)
    assert repository.missing((config[0], *manifest.layers)) == ()
    repository.tag(manifest.to_bytes(), manifest.media_type, ["1", "2"])
    return manifest


@pytest.mark.parametrize("kind", ["refused", "lost"])
def test_a_push_that_ends_at_any_request_leaves_no_broken_tag_and_can_be_repeated(http: Client, kind: str) -> None:
    with MemoryRegistry() as registry:
        push_all(Remote(http)(registry, "a", whole=1000, chunk=600))
        requests = len(registry.requests)
    assert requests > 15
    for number in range(requests):
        options = Options(whole_manifests=False)  # as registries that let a tag point at anything
        with MemoryRegistry(options=options) as registry:
            dead = Fault(".", times=0, after=number, status=403 if kind == "refused" else 0, lost=kind == "lost")
            registry.script(dead)
            with pytest.raises(LamellaError):
                push_all(Remote(http)(registry, "a", whole=1000, chunk=600))
            before = dict(registry.blobs)
            for (_, name), (_, data) in registry.manifests.items():
                manifest = parse_manifest(data)
                assert all(e.digest in before for e in (manifest.config, *manifest.layers)), name
            registry.faults.clear()
            remote = Remote(http)
            manifest = push_all(remote(registry, "a", whole=1000, chunk=600))
            assert registry.manifests["a", "1"] == registry.manifests["a", "2"] == (
                manifest.media_type, manifest.to_bytes(),
            )  # fmt: skip
            again = {moved.digest for moved in remote.transfers if moved.action == "sent"}
            assert not again & before.keys(), "what was finished is not sent again"


def test_a_blob_that_only_head_knows_is_sent_again(registry: MemoryRegistry, remote: Remote) -> None:
    """A registry's garbage collection took the bytes (distribution 3743); HEAD still answers from a cache."""
    data = noise(100)
    descriptor, open_ = blob(data)
    repository = remote(registry, "a")
    repository.push_blob(descriptor, open_)
    registry.script(Fault("/blobs/sha256", method="GET", status=404))
    repository = remote(registry, "a")
    assert repository.has_blob(descriptor.digest)
    repository = remote(registry, "a")
    assert repository.push_blob(descriptor, open_) == "sent"
    assert repository.missing([descriptor]) == ()


def test_a_blob_that_goes_after_the_push_is_found(registry: MemoryRegistry, remote: Remote) -> None:
    data = noise(100)
    descriptor, open_ = blob(data)
    repository = remote(registry, "a")
    assert repository.push_blob(descriptor, open_) == "sent"
    del registry.blobs[descriptor.digest]
    assert repository.missing([descriptor]) == (descriptor,)
    assert repository.push_blob(descriptor, open_, again=True) == "sent"
    assert repository.missing([descriptor]) == ()


def test_a_registry_that_takes_bytes_too_slowly_is_given_up(registry: MemoryRegistry) -> None:
    now = [0.0]

    def monotonic() -> float:
        now[0] += 50
        return now[0]

    client = Client(timing=Timing(monotonic, lambda _: None))
    descriptor, open_ = blob(noise(1_000_000))
    with pytest.raises(RegistryError, match="takes what is sent too slowly") as caught:
        Remote(client)(registry, "a").push_blob(descriptor, open_)
    assert caught.value.exit_code == 6
    client.close()


def test_an_upload_that_is_stopped_from_outside_ends_at_its_next_bytes(
    registry: MemoryRegistry, remote: Remote
) -> None:
    descriptor, open_ = blob(noise(1_000_000))

    def stop(count: int) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        remote(registry, "a").push_blob(descriptor, open_, on_bytes=stop)
    assert remote(registry, "a").push_blob(descriptor, open_) == "sent"
