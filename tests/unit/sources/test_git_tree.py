"""What counts as an input in a git work tree."""

from __future__ import annotations

import shutil

import pytest

from lamella.errors import ConfigError
from lamella.sources.git import GitVcs
from tests.unit.sources.conftest import Project

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def test_tracked_and_untracked_files_count_ignored_ones_do_not(project: Project) -> None:
    project.write(".gitignore", "target/\n*.log\n")
    project.write("src/main.rs")
    project.write("forced.log")
    project.commit_all()
    project.git("add", "-f", "forced.log")
    for path in ("src/new.rs", "target/debug/x", "src/a.log", "deep/target/y", ".git/extra"):
        project.write(path)
    assert project.paths() == [".gitignore", "forced.log", "src/main.rs", "src/new.rs"]


def test_every_kind_of_exclude_file_holds(project: Project) -> None:
    project.write("a.one")
    project.commit_all()
    project.write(".git/info/exclude", "*.two\n")
    project.write("sub/.gitignore", "*.three\n")
    (project.cache / ".config/git").mkdir(parents=True)
    (project.cache / ".config/git/ignore").write_text("*.four\n")
    for path in ("b.two", "sub/c.three", "d.three", "e.four"):
        project.write(path)
    assert project.paths() == ["a.one", "d.three", "sub/.gitignore"]


def test_a_tracked_file_that_was_deleted_is_gone(project: Project) -> None:
    project.write("a")
    project.write("dir/b")
    project.commit_all()
    shutil.rmtree(project.root / "dir")
    assert project.paths() == ["a"]


def test_a_project_below_the_top_of_a_repository(project: Project) -> None:
    project.root.rename(project.root.with_name("repository"))
    top = project.root.with_name("repository")
    project.root = top
    project.write(".gitignore", "*.log\n")
    project.write("services/app/main.py")
    project.write("other/x")
    project.commit_all()
    project.root = top / "services/app"
    project.write("new.py")
    project.write("a.log")
    assert project.paths() == ["main.py", "new.py"]
    (top / ".gitignore").write_text("*.log\nnew.py\n")
    assert project.paths() == ["main.py"]


def test_a_project_that_the_repository_above_ignores_is_a_project_without_git(project: Project) -> None:
    top = project.root
    project.write(".gitignore", "scratch/\n")
    project.commit_all()
    project.root = top / "scratch" / "app"
    project.write("a.log")
    assert project.paths() == ["a.log"]


def test_a_git_folder_that_is_no_repository_is_none(project: Project) -> None:
    (project.root / ".git").mkdir()
    project.write("a")
    assert project.paths() == ["a"]


def test_nested_repositories_and_submodules_are_looked_into(project: Project) -> None:
    project.write("library/lib.rs")
    project.write("library/.gitignore", "out/\n")
    project.commit_all("library")
    library = project.root.with_name("library")
    (project.root / "library").rename(library)
    project.write("main.rs")
    project.commit_all()
    project.git("submodule", "--quiet", "add", str(library), "vendor/library")
    project.git("commit", "-q", "-m", "submodule")
    project.write("vendor/library/out/x")
    project.write("vendor/library/new.rs")
    project.write("nested/inner.rs")
    project.write("nested/.gitignore", "cache\n")
    project.commit_all("nested")
    project.write("nested/cache")
    project.write("nested/more/new.rs")
    expected = [
        ".gitmodules",
        "main.rs",
        "nested/.gitignore",
        "nested/inner.rs",
        "nested/more/new.rs",
        "vendor/library/.gitignore",
        "vendor/library/lib.rs",
        "vendor/library/new.rs",
    ]
    assert project.paths() == expected
    assert project.paths() == expected
    project.write("vendor/library/lib.rs", "changed")
    assert project.digests() == project.digests()
    project.write("nested/inner.rs", "changed too")
    before = project.digests()
    project.write("nested/inner.rs", "changed 2nd")
    after = project.digests()
    assert {path for path in before if before[path] != after[path]} == {"nested/inner.rs"}


def test_a_submodule_that_is_not_checked_out_is_empty(project: Project) -> None:
    project.write("library/lib.rs")
    project.commit_all("library")
    library = project.root.with_name("library")
    (project.root / "library").rename(library)
    project.write("main.rs")
    project.commit_all()
    project.git("submodule", "--quiet", "add", str(library), "vendor")
    project.git("submodule", "--quiet", "deinit", "--force", "vendor")
    assert project.paths() == [".gitmodules", "main.rs"]


@pytest.mark.parametrize(
    ("declared", "found"),
    [
        (("dist/**",), ["dist/a.js", "dist/sub/b.js"]),
        (("dist",), ["dist/a.js", "dist/sub/b.js"]),
        (("dist/*.js",), ["dist/a.js"]),
        (("models/big.bin",), ["models/big.bin"]),
        (("packages/*/dist/**",), ["packages/one/dist/c.js"]),
        (("dist/sub/b.js",), ["dist/sub/b.js"]),
        (("**",), []),
        (("*",), []),
        (("models/*.bin",), []),
        (("models/**",), []),
        (("absent/x", "dist/absent"), []),
        (("!dist/**",), []),
        (("../outside/**",), []),
        (("dist/**", "models/big.bin"), ["dist/a.js", "dist/sub/b.js", "models/big.bin"]),
    ],
)
def test_an_ignored_file_counts_when_a_declared_glob_spells_its_name(
    project: Project, declared: tuple[str, ...], found: list[str]
) -> None:
    project.write(".gitignore", "dist/\n*.bin\n")
    project.write("models/notes.md")
    project.commit_all()
    for path in ("dist/a.js", "dist/sub/b.js", "models/big.bin", "packages/one/dist/c.js"):
        project.write(path)
    assert project.paths(declared=declared) == sorted([".gitignore", "models/notes.md", *found])
    assert project.paths(declared=declared) == sorted([".gitignore", "models/notes.md", *found])


def test_a_declared_path_that_appears_and_changes_is_noticed(project: Project) -> None:
    project.write(".gitignore", "dist/\n")
    project.commit_all()
    project.write("dist/other")
    declared = ("dist/bundle/app.js",)
    assert project.paths(declared=declared) == [".gitignore"]
    project.write("dist/bundle/app.js", "1")
    assert project.paths(declared=declared) == [".gitignore", "dist/bundle/app.js"]
    with project.tree(declared=declared) as tree:
        before = tree.digest(declared)
    project.write("dist/bundle/app.js", "2")
    with project.tree(declared=declared) as tree:
        assert tree.digest(declared) != before


def test_docker_rules_cut_what_is_declared_and_tracked(project: Project) -> None:
    project.write(".gitignore", "dist/\n")
    project.write(".dockerignore", "**/*.map\nsecret\n")
    project.write("secret/key")
    project.commit_all()
    project.write("dist/a.map")
    project.write("dist/a.js")
    assert project.paths(declared=("dist",)) == [".dockerignore", ".gitignore", "dist/a.js"]


def test_git_missing_in_a_work_tree_is_said(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write("a")
    project.commit_all()
    monkeypatch.setattr("lamella.process.which", lambda *_: None)
    with project.tree() as tree, pytest.raises(ConfigError, match="git is not installed"):
        tree.paths(("**",))


def test_a_broken_repository_is_said_with_gits_words(project: Project) -> None:
    project.write("a")
    project.commit_all()
    (project.root / ".git/index").write_bytes(b"not an index, but long enough to be read as one .....")
    with project.tree() as tree, pytest.raises(ConfigError, match="git ls-files failed") as caught:
        tree.paths(("**",))
    assert caught.value.exit_code == 2


def test_version_control_answers(project: Project) -> None:
    vcs = GitVcs(project.root, project.env)
    assert (vcs.commit(), vcs.tags("*"), vcs.is_dirty()) == ("", (), False)
    project.write("a", "1")
    project.commit_all()
    for tag in ("v1.2.0", "v1.10.0", "v1.10.0-rc.1", "other"):
        project.git("tag", tag)
    project.git("checkout", "-q", "-b", "side")
    project.write("b")
    project.commit_all()
    project.git("tag", "v9.0.0")
    project.git("checkout", "-q", "main")
    vcs = GitVcs(project.root, project.env)
    assert vcs.commit() == project.git("rev-parse", "HEAD")
    assert vcs.tags("v*") == ("v1.10.0", "v1.10.0-rc.1", "v1.2.0")
    assert not vcs.is_dirty()
    project.write("untracked")
    assert not vcs.is_dirty()
    project.write("a", "2")
    assert vcs.is_dirty()


def test_a_repository_without_a_commit(project: Project) -> None:
    project.git("init", "-q")
    project.write("a")
    vcs = GitVcs(project.root, project.env)
    assert (vcs.commit(), vcs.tags("*"), vcs.is_dirty()) == ("", (), False)
    assert project.paths() == ["a"]
