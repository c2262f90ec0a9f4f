"""Images come out of the store whole, the same bytes each time, in forms that others can read."""

from __future__ import annotations

import io
import json
import os
import stat
import tarfile
from pathlib import Path

import pytest

from lamella.canonical import digest_bytes
from lamella.errors import ConfigError, IntegrityError
from lamella.images.outputs.spec import Output
from lamella.images.outputs.write import check_outputs, write_output
from lamella.images.stored import StoredImage, find_image
from lamella.oci.manifest import parse_index, parse_manifest
from lamella.store import Store
from tests.unit.images.samples import APP, ARM64, BASE, put_image, renamed
from tests.unit.layers.archives import tar_bytes, tar_file


@pytest.fixture
def image(store: Store) -> StoredImage:
    return put_image(store, "shop/api:dev")


def members(path: Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(path) as archive:
        return {member.name: member for member in archive.getmembers()}


def content(path: Path, name: str) -> bytes:
    with tarfile.open(path) as archive:
        found = archive.extractfile(name)
        assert found is not None
        return found.read()


def layout_manifests(root: Path) -> dict[str, bytes]:
    """Manifests of a layout by name; every blob's bytes are checked on the way."""
    for blob in (root / "blobs/sha256").iterdir():
        assert digest_bytes(blob.read_bytes()) == f"sha256:{blob.name}"
    index = parse_index((root / "index.json").read_bytes())
    return {
        entry.annotations["org.opencontainers.image.ref.name"]: (
            root / "blobs/sha256" / entry.digest.partition(":")[2]
        ).read_bytes()
        for entry in index.manifests
    }


def test_a_layout_holds_the_image_as_it_is_in_the_store(store: Store, image: StoredImage, tmp_path: Path) -> None:
    write_output(store, [image], Output("oci", str(tmp_path / "out")))
    assert layout_manifests(tmp_path / "out") == {"shop/api:dev": image.manifest.to_bytes()}
    assert json.loads((tmp_path / "out/oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}


def test_a_second_image_is_added_to_a_layout_and_an_old_name_moves(
    store: Store, image: StoredImage, tmp_path: Path
) -> None:
    out = Output("oci", str(tmp_path / "out"))
    other = put_image(store, "shop/web:dev", [APP])
    write_output(store, [image], out)
    write_output(store, [other], out)
    write_output(store, [renamed(other, "shop/api:dev")], out)
    assert layout_manifests(tmp_path / "out") == {
        "shop/api:dev": other.manifest.to_bytes(),
        "shop/web:dev": other.manifest.to_bytes(),
    }


def test_one_name_over_two_platforms_is_an_index(store: Store, image: StoredImage, tmp_path: Path) -> None:
    arm = renamed(put_image(store, "shop/api:dev-arm64", platform=ARM64), "shop/api:dev")
    write_output(store, [image, arm], Output("oci", str(tmp_path / "out")))
    index = parse_index(layout_manifests(tmp_path / "out")["shop/api:dev"])
    assert [str(entry.platform) for entry in index.manifests] == ["linux/amd64", "linux/arm64"]


@pytest.mark.parametrize("kind", ["oci", "docker-archive"])
def test_two_images_of_one_name_and_platform_are_refused(
    store: Store, image: StoredImage, tmp_path: Path, kind: str
) -> None:
    other = renamed(put_image(store, "shop/web:dev", [APP]), "shop/api:dev")
    with pytest.raises(ConfigError, match="both called shop/api:dev"):
        write_output(store, [image, other], Output(kind, str(tmp_path / "out.tar"), packed=True))
    assert list(tmp_path.glob("out*")) == []


@pytest.mark.parametrize("compressor", ["gzip", "zstd", "none"])
def test_layers_of_a_layout_can_be_compressed_anew(
    store: Store, image: StoredImage, tmp_path: Path, compressor: str
) -> None:
    write_output(store, [image], Output("oci", str(tmp_path / "out"), compressor=compressor))
    manifest = parse_manifest(layout_manifests(tmp_path / "out")["shop/api:dev"])
    ending = {"gzip": "tar+gzip", "zstd": "tar+zstd", "none": "tar"}[compressor]
    assert [layer.media_type.rpartition(".")[2] for layer in manifest.layers] == [ending, ending]
    assert manifest.config == image.manifest.config
    assert (manifest == image.manifest) is (compressor == "gzip")


@pytest.mark.parametrize("kind", ["oci", "docker-archive", "tar"])
def test_an_archive_has_the_same_bytes_each_time(store: Store, image: StoredImage, tmp_path: Path, kind: str) -> None:
    for name in ("one.tar", "two.tar"):
        write_output(store, [image], Output(kind, str(tmp_path / name), packed=True))
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    found = members(tmp_path / "one.tar")
    assert {member.mtime for member in found.values()} == {0}
    assert list(found) == sorted(found)


def test_times_of_an_archive_are_the_ones_that_were_asked_for(store: Store, image: StoredImage, tmp_path: Path) -> None:
    write_output(store, [image], Output("oci", str(tmp_path / "out.tar"), packed=True), mtime=1_700_000_000)
    assert {member.mtime for member in members(tmp_path / "out.tar").values()} == {1_700_000_000}


@pytest.mark.parametrize("compressor", ["gzip", "zstd", "none"])
def test_a_docker_archive_holds_uncompressed_layers(store: Store, tmp_path: Path, compressor: str) -> None:
    image = put_image(store, "shop/api:dev", compressor=compressor)
    out = tmp_path / "out.tar"
    write_output(store, [renamed(image, "shop/api:dev", "api:latest")], Output("docker-archive", str(out), packed=True))
    [row] = json.loads(content(out, "manifest.json"))
    assert row["RepoTags"] == ["shop/api:dev", "api:latest"]
    assert content(out, row["Config"]) == image.config.to_bytes()
    assert [content(out, layer) for layer in row["Layers"]] == [BASE, APP]


def test_a_layer_used_twice_is_in_a_docker_archive_once(store: Store, tmp_path: Path) -> None:
    image = put_image(store, "shop/api:dev", [APP, BASE, APP])
    write_output(store, [image], Output("docker-archive", str(tmp_path / "out.tar"), packed=True))
    [row] = json.loads(content(tmp_path / "out.tar", "manifest.json"))
    assert row["Layers"][0] == row["Layers"][2] != row["Layers"][1]


def test_an_archive_goes_to_standard_output(store: Store, image: StoredImage, tmp_path: Path) -> None:
    out = io.BytesIO()
    write_output(store, [image], Output("oci", "-", packed=True), stdout=out)
    write_output(store, [image], Output("oci", str(tmp_path / "out.tar"), packed=True))
    assert out.getvalue() == (tmp_path / "out.tar").read_bytes()


@pytest.mark.parametrize(
    "as_root", [pytest.param(True, marks=pytest.mark.skipif(os.geteuid() != 0, reason="no root")), False]
)
def test_the_root_file_system_is_the_layers_applied_in_order(
    store: Store, image: StoredImage, tmp_path: Path, as_root: bool
) -> None:
    out = tmp_path / "out.tar"
    write_output(store, [image], Output("tar", str(out), packed=True), as_root=as_root)
    found = members(out)
    assert set(found) == {
        "etc", "etc/motd", "etc/shadow", "motd", "opt", "opt/one", "opt/two", "root", "root/.profile", "sealed",
        "sealed/new",
    }  # fmt: skip
    assert content(out, "etc/motd") == b"app\n"
    assert content(out, "etc/shadow") == b"secret\n"
    assert (found["etc/shadow"].mode, found["root"].mode, found["sealed"].mode) == (0o000, 0o700, 0o555)
    assert (found["opt"].uid, found["opt"].gid) == (7, 8)
    assert (found["opt/two"].type, found["opt/two"].linkname) == (tarfile.LNKTYPE, "opt/one")
    assert (found["motd"].issym(), found["motd"].linkname) == (True, "etc/motd")


def test_a_directory_has_the_files_and_modes_of_the_image(store: Store, image: StoredImage, tmp_path: Path) -> None:
    said: list[str] = []
    write_output(store, [image], Output("dir", str(tmp_path / "out")), as_root=False, warn=said.append)
    out = tmp_path / "out"
    assert (out / "etc/motd").read_text() == "app\n"
    assert not (out / "old").exists()
    assert stat.S_IMODE((out / "sealed").stat().st_mode) == 0o555
    assert stat.S_IMODE((out / "etc/shadow").stat().st_mode) == 0o000
    assert (out / "opt/one").samefile(out / "opt/two")
    assert any("another owner" in text for text in said)
    assert [path.name for path in tmp_path.glob(".out*")] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_directory_written_as_root_has_the_owners_of_the_image(
    store: Store, image: StoredImage, tmp_path: Path
) -> None:
    said: list[str] = []
    write_output(store, [image], Output("dir", str(tmp_path / "out")), warn=said.append)
    found = (tmp_path / "out/opt").stat()
    assert (found.st_uid, found.st_gid) == (7, 8)
    assert said == []


def test_several_images_get_a_folder_each(store: Store, image: StoredImage, tmp_path: Path) -> None:
    other = put_image(store, "shop/web:dev", [APP])
    write_output(store, [image, other], Output("dir", str(tmp_path / "out")), as_root=False)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["shop_api_dev", "shop_web_dev"]


def test_a_folder_with_something_in_it_is_never_touched(store: Store, image: StoredImage, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").write_text("mine")
    for kind in ("dir", "oci"):
        with pytest.raises(ConfigError, match="not empty"):
            write_output(store, [image], Output(kind, str(tmp_path / "out")))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_an_archive_that_fails_leaves_the_old_one(store: Store, image: StoredImage, tmp_path: Path) -> None:
    out = tmp_path / "out.tar"
    out.write_text("old")
    blob = store.blobs.path(image.manifest.layers[1].digest)
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes()[:-1] + b"x")
    for kind in ("oci", "docker-archive", "tar"):
        with pytest.raises(IntegrityError):
            write_output(store, [image], Output(kind, str(out), packed=True))
    assert out.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir() if path.name != "store"] == ["out.tar"]


def test_a_layer_that_is_not_what_its_config_says_is_refused(store: Store, image: StoredImage, tmp_path: Path) -> None:
    other = put_image(store, "shop/web:dev", [tar_bytes([tar_file("a", b"a")]), APP])
    mixed = StoredImage(("x:y",), image.descriptor, image.manifest, other.config)
    for kind in ("docker-archive", "tar"):
        with pytest.raises(IntegrityError):
            write_output(store, [mixed], Output(kind, str(tmp_path / "out.tar"), packed=True))


@pytest.mark.parametrize(
    ("output", "images", "message"),
    [
        (Output("oci", "store", packed=True), 1, "is a directory"),
        (Output("tar", "no/such/out.tar", packed=True), 1, "no folder"),
        (Output("dir", "store"), 1, "not empty"),
        (Output("tar", "out.tar", packed=True), 2, "writes one image"),
        (Output("dir", "file/out"), 1, "is no folder"),
    ],
)
def test_places_that_cannot_be_written_are_found_before_the_build(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: Output, images: int, message: str
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        check_outputs([output], images=images)


def test_an_archive_is_not_written_to_a_terminal() -> None:
    with pytest.raises(ConfigError, match="terminal"):
        check_outputs([Output("oci", "-", packed=True)], stdout_usable=False)


def test_a_place_is_written_once() -> None:
    with pytest.raises(ConfigError, match="twice"):
        check_outputs([Output("oci", "-", packed=True), Output("tar", "-", packed=True)])


def test_an_image_is_found_by_its_short_name(store: Store) -> None:
    image = put_image(store, "shop/api:latest")
    assert find_image(store, "shop/api") == image


def test_an_unknown_image_names_the_nearest(store: Store, image: StoredImage) -> None:
    with pytest.raises(ConfigError) as caught:
        find_image(store, "shop/apo:dev")
    assert "shop/api:dev" in caught.value.hint
