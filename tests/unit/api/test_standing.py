"""A kept answer is given again only while everything that it came from is as it was: one row for each of them.

Scenario: a project in a real folder whose answer stands on a record (with a blob, a snapshot and a layer), on an
image's blobs and on a name. Modification: one thing. Expectation: the answer is given, or it is not.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

import lamella.api.standing
from lamella.api.standing import Standing, program_stamp, question
from lamella.canonical import digest_bytes
from lamella.graph.record import LayerResult, Record
from lamella.oci import media
from lamella.oci.manifest import Descriptor, Manifest
from lamella.sources.worktree import WorkTree
from lamella.store import Store
from lamella.store.leases import live_objects
from lamella.testing.clock import FixedClock
from tests.unit.store.samples import layer_result, memory_folder, open_store, put_image, put_product, record_of

ANSWER = {"vertices": [["app", "deps", "sha256:1"]], "word": "ü"}
NAME = "shop/shop:dev"


@dataclass
class Place:
    """A project, a store, and the question as it was asked when the answer was kept."""

    folder: Path
    store: Store
    standing: Standing
    record: Record
    layer: LayerResult
    image: Manifest
    ignore: tuple[str, ...] = ("notes/**",)
    declared: tuple[str, ...] = ("made/**",)
    now: int = field(default_factory=lambda: int(time.time()) + 1000)
    until: int = field(default_factory=lambda: int(time.time()) + 5000)

    @property
    def root(self) -> Path:
        return self.folder / "project"

    def open_tree(self, ignore: tuple[str, ...], declared: tuple[str, ...]) -> WorkTree:
        """As the session opens it; files are no longer young unless ``now`` says so."""
        env = {"PATH": os.environ["PATH"], "HOME": str(self.folder)}
        cache = self.store.scan
        return WorkTree(
            self.standing.root, clock=FixedClock(self.now), env=env, ignore=ignore, declared=declared, cache=cache
        )

    def keep(self) -> None:
        blobs = [self.image.descriptor(), self.image.config, *self.image.layers]
        with self.open_tree(self.ignore, self.declared) as tree:
            self.standing.keep(
                ANSWER,
                until=self.until,
                tree=tree,
                globs=(self.ignore, self.declared),
                records=[self.record.key, self.record.key],
                blobs=[(blob.digest, blob.size) for blob in blobs],
                names={NAME: self.image.descriptor().digest},
            )

    def find(self) -> Any:
        return self.standing.find(self.now, self.open_tree)

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def answer_file(self) -> Path:
        (found,) = self.store.scan.glob("*.answer")
        return found

    def blob(self, digest: str) -> Path:
        return self.store.blobs.path(digest)


@pytest.fixture
def place() -> Iterator[Place]:
    """In memory where there is such a place."""
    with tempfile.TemporaryDirectory(dir=memory_folder()) as name:
        folder = Path(name)
        with open_store(folder / "store") as store:
            layer = layer_result(store, b"layer of a record")
            product, facts = put_product(store, {"out": b"product"}), store.blobs.put_bytes(b"facts")
            record = record_of("app", tree=product.id, facts=facts, layers=(layer,))
            store.records.put(record)
            asked = question("build", {"tags": ["x"]})
            standing = Standing(store, folder / "project", asked, b"toml", b"lock", "linux/amd64")
            made = Place(folder, store, standing, record, layer, put_image(store, NAME))
            for path in ("src/a", "src/b", "made/out", "cast/off", "notes/n", "elsewhere"):
                made.write(path, f"{path}\n")
            made.write(".gitignore", "/made/\n/cast/\n")
            who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
            for words in (["init", "-q"], ["add", "-A"], [*who, "commit", "-qm", "first"]):
                subprocess.run(["git", *words], cwd=made.root, check=True)
            made.keep()
            yield made


def asked(**other: object) -> Callable[[Place], None]:
    """The same question but for one part."""

    def change(place: Place) -> None:
        place.standing = replace(place.standing, **other)  # type: ignore[arg-type]

    return change


def same_size_and_time(place: Place) -> None:
    path = place.root / "src" / "a"
    status = path.stat()
    path.write_text("src/A\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def under_its_name(**other: object) -> Callable[[Place], None]:
    """Another question that finds the answer to this one under its own name."""

    def change(place: Place) -> None:
        kept = place.answer_file().read_bytes()
        place.standing = replace(place.standing, **other)  # type: ignore[arg-type]
        place.standing._path.write_bytes(kept)
        with place.open_tree(place.ignore, place.declared) as tree:
            assert tree.note(place.standing._name, digest_bytes(kept))

    return change


def moved(place: Place) -> None:
    """The same files in another folder."""
    place.root.rename(place.folder / "other")
    under_its_name(root=place.folder / "other")(place)


def longer(path: Path) -> None:
    """More bytes, same modification time."""
    status = path.stat()
    path.write_text("12\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def edited(change: Callable[[dict[str, Any]], object]) -> Callable[[Place], None]:
    """The file of the answer, changed by somebody else."""

    def apply(place: Place) -> None:
        document = json.loads(place.answer_file().read_bytes())
        change(document)
        place.answer_file().write_text(json.dumps(document))

    return apply


def written(data: bytes) -> Callable[[Place], object]:
    return lambda place: place.answer_file().write_bytes(data)


def forget_tree(place: Place) -> None:
    for path in place.store.scan.iterdir():
        if path.suffix != ".answer":
            path.unlink()


def folder_instead(place: Place) -> None:
    place.answer_file().unlink()
    place.standing._path.mkdir()


def lost(digest: Callable[[Place], str]) -> Callable[[Place], None]:
    return lambda place: place.blob(digest(place)).unlink()


def shortened(digest: Callable[[Place], str]) -> Callable[[Place], None]:
    def change(place: Place) -> None:
        path = place.blob(digest(place))
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-1])

    return change


def made_again(place: Place) -> None:
    """The step ran again under the same key and made other bytes, twice: the file's number may be the first again."""
    for _ in range(2):
        product = put_product(place.store, {"out": b"other product"})
        place.store.records.put(replace(place.record, result=replace(place.record.result, tree=product.id)))


def name_moved(place: Place) -> None:
    put_image(place.store, NAME, b"other layer")


def at(seconds: int) -> Callable[[Place], None]:
    """That many seconds from the end of the answer's time."""
    return lambda place: setattr(place, "now", place.until + seconds)


def compressed_only(place: Place) -> None:
    small = place.store.blobs.put_bytes(b"compressed")
    place.store.variants.put(place.layer.diff_id, "zstd", 3, Descriptor(media.LAYER_ZSTD, small, 10))
    place.blob(place.layer.diff_id).unlink()


GONE: dict[str, Callable[[Place], object]] = {
    # the question
    "project file": asked(project=b"toml "),
    "lock": asked(lock=b""),
    "bytes moved from one file to the other": asked(project=b"tomll", lock=b"ock"),
    "host": asked(host="linux/arm64"),
    "command": asked(asked=question("plan", {"tags": ["x"]})),
    "arguments": asked(asked=question("build", {"tags": ["y"]})),
    "command, under its name": under_its_name(asked=question("plan", {"tags": ["x"]})),
    "arguments, under their name": under_its_name(asked=question("build", {"tags": ["y"]})),
    "folder, under its name": moved,
    # time
    "the last second": at(0),
    "after it": at(1),
    # the tree
    "file": lambda place: place.write("src/a", "other\n"),
    "file, same size and time": same_size_and_time,
    "new file": lambda place: place.write("src/c", "c\n"),
    "new file in a new folder": lambda place: place.write("src/deep/er/c", "c\n"),
    "file less": lambda place: (place.root / "src" / "b").unlink(),
    "mode": lambda place: (place.root / "src" / "a").chmod(0o755),
    "symlink": lambda place: (place.root / "src" / "l").symlink_to("a"),
    "file that nothing names": lambda place: place.write("elsewhere", "other\n"),
    "declared file that git ignores": lambda place: place.write("made/out", "other\n"),
    "ignore rule of docker": lambda place: place.write(".dockerignore", "src/b\n"),
    "ignore rule of git": lambda place: place.write(".gitignore", "/made/\n/cast/\n/src/c\n"),
    "exclude file of git": lambda place: place.write(".git/info/exclude", "/src/c\n"),
    # the store
    "record": lambda place: place.store.layout.record(place.record.key).unlink(),
    "record made again": made_again,
    "record's tree": lost(lambda place: place.record.result.tree),
    "record's tree, shorter": shortened(lambda place: place.record.result.tree),
    "record's facts": lost(lambda place: place.record.result.facts),
    "record's snapshot": lambda place: place.store.snapshots.remove(place.record.result.tree),
    "record's layer": lost(lambda place: place.layer.diff_id),
    "manifest": lost(lambda place: place.image.descriptor().digest),
    "config": lost(lambda place: place.image.config.digest),
    "image's layer": lost(lambda place: place.image.layers[0].digest),
    "config, shorter": shortened(lambda place: place.image.config.digest),
    "image's layer, shorter": shortened(lambda place: place.image.layers[0].digest),
    "name": lambda place: place.store.images.untag(NAME),
    "name of another image": name_moved,
    "state of the tree": forget_tree,
    # the answer itself
    "answer": lambda place: place.answer_file().unlink(),
    "answer of other words": edited(lambda kept: kept["answer"].update(word="u")),
    "longer time": edited(lambda kept: kept.update(until=kept["until"] + 1)),
    "no records": edited(lambda kept: kept.update(records={}, objects=[])),
    "half a file": lambda place: place.answer_file().write_bytes(place.answer_file().read_bytes()[:-9]),
    "another document": written(b"[]"),
    "no document": written(b"\xff\x00"),
    "a number": written(b"7"),
    "a folder in its place": folder_instead,
}

STAYS: dict[str, Callable[[Place], object]] = {
    "nothing": lambda place: None,
    "nothing, asked by another run": lambda place: setattr(place, "standing", replace(place.standing)),
    "the second before the last": at(-1),
    "ignored file": lambda place: place.write("notes/n", "other\n"),
    "file that git ignores": lambda place: place.write("cast/off", "other\n"),
    "file touched": lambda place: os.utime(place.store.layout.record(place.record.key)),
    "another record": lambda place: place.store.records.put(record_of("another")),
    "another name": lambda place: put_image(place.store, "other:1"),
    "layer in another form": compressed_only,
}


@pytest.mark.parametrize("change", GONE)
def test_an_answer_does_not_outlive_what_it_came_from(place: Place, change: str) -> None:
    assert place.find() == ANSWER
    GONE[change](place)
    assert place.find() is None


@pytest.mark.parametrize("change", STAYS)
def test_an_answer_stays_while_all_it_came_from_does(place: Place, change: str) -> None:
    STAYS[change](place)
    assert place.find() == ANSWER


@pytest.mark.parametrize("change", ["file", "record made again", "ignore rule of docker", "name of another image"])
def test_after_a_change_an_answer_can_be_kept_again(place: Place, change: str) -> None:
    GONE[change](place)
    place.image = put_image(place.store, NAME)
    place.keep()
    assert place.find() == ANSWER


def test_each_question_of_a_project_has_its_own_answer(place: Place) -> None:
    build, plan = place.standing, replace(place.standing, asked=question("plan", {}))
    place.standing = plan
    place.keep()
    assert place.find() == ANSWER
    place.standing = build
    assert place.find() == ANSWER


def test_what_an_answer_needs_is_under_the_lease(place: Place) -> None:
    """So that a collection that runs beside does not take it away before it is used."""
    first = place.store
    with open_store(first.root) as second, second.lease("build"):
        place.standing = replace(place.standing, store=second)
        first.close()
        folder = second.layout.folder("leases")
        assert live_objects(folder) == set()
        assert place.find() == ANSWER
        held = live_objects(folder)
    result, image = place.record.result, place.image
    assert held >= {
        ("record", place.record.key),
        ("blob", result.tree),
        ("blob", result.facts),
        ("snapshot", result.tree),
        ("blob", place.layer.diff_id),
        *(("blob", blob.digest) for blob in (image.descriptor(), image.config, *image.layers)),
    }


# -- what leaves no answer


def nothing_kept(place: Place) -> bool:
    return place.find() is None and not list(place.store.scan.glob("*.answer"))


def test_with_a_young_file_nothing_is_kept(place: Place) -> None:
    """Its times would not tell a change that follows at once."""
    place.answer_file().unlink()
    place.write("src/a", "young\n")
    place.now = int(time.time())
    place.keep()
    assert nothing_kept(place)


def test_when_a_file_changes_between_the_look_and_its_reading_nothing_is_kept(place: Place) -> None:
    place.answer_file().unlink()
    place.write("src/a", "once\n")
    with place.open_tree((), ()) as tree:
        assert tree.paths(("src/*",)) == ("src/a", "src/b")
        place.write("src/a", "and again\n")
        tree.digest(("src/*",))
        place.standing.keep(ANSWER, until=place.until, tree=tree, globs=((), ()), records=[])
    assert nothing_kept(place)


@pytest.mark.parametrize("data", [None, b"{}"], ids=["not there", "malformed"])
def test_without_a_record_nothing_is_kept(place: Place, data: bytes | None) -> None:
    place.answer_file().unlink()
    path = place.store.layout.record(place.record.key)
    path.unlink() if data is None else path.write_bytes(data)
    place.keep()
    assert nothing_kept(place)


def test_in_a_store_for_reading_nothing_is_kept(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.answer_file().unlink()
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: real(path, mode) and mode != os.W_OK)
    with Store.open(place.store.root) as readable:
        assert readable.read_only
        place.standing = replace(place.standing, store=readable)
        place.keep()
        assert nothing_kept(place)


# -- this program


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder that stands for this program's."""
    for path in ("api/standing.py", "cli/main.py", "cli/__pycache__/main.pyc", "py.typed"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("1\n")
    monkeypatch.setattr(lamella.api.standing, "__file__", str(tmp_path / "api" / "standing.py"))
    return tmp_path


def file_in_a_new_folder(folder: Path) -> None:
    (folder / "new").mkdir()
    (folder / "new" / "x.py").touch()


OTHER_PROGRAM: dict[str, Callable[[Path], object]] = {
    "longer file": lambda folder: longer(folder / "cli" / "main.py"),
    "later file": lambda folder: os.utime(folder / "cli" / "main.py", (1, 1)),
    "file more": lambda folder: (folder / "cli" / "more.py").touch(),
    "file less": lambda folder: (folder / "cli" / "main.py").unlink(),
    "file in a new folder": file_in_a_new_folder,
    "another name": lambda folder: (folder / "cli" / "main.py").rename(folder / "cli" / "niam.py"),
}


@pytest.mark.parametrize("change", OTHER_PROGRAM)
def test_another_program_gives_no_answer_of_this_one(program: Path, place: Place, change: str) -> None:
    place.keep()
    assert place.find() == ANSWER
    OTHER_PROGRAM[change](program)
    assert place.find() is None


def test_another_release_gives_no_answer_of_this_one(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    assert place.find() == ANSWER
    monkeypatch.setattr(lamella.api.standing, "__version__", "0.0.0")
    assert place.find() is None


def test_compiled_files_do_not_make_another_program(program: Path) -> None:
    before = program_stamp()
    (program / "cli" / "__pycache__" / "other.pyc").touch()
    assert program_stamp() == before


def test_another_form_of_answers_is_not_read(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lamella.api.standing, "_FORMAT", lamella.api.standing._FORMAT + 1)
    assert place.find() is None
