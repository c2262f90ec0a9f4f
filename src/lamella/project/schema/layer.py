"""Rows of ``layer.N``: the keys any layer has, and those of each kind."""

from __future__ import annotations

from lamella.project.formats import FORMATS
from lamella.project.schema.grammar import (
    Choice,
    Integer,
    Later,
    ListOf,
    MapOf,
    OneOf,
    Row,
    Table,
    TableOf,
    Text,
    flag,
    table_of,
    text,
    texts,
)
from lamella.project.spec import (
    IndexSpec,
    ModelSpec,
    NodeSpec,
    PythonSpec,
    RepoSpec,
    UserSpec,
)

__all__ = ["ARGV_LIST", "KINDS", "LAYER", "PLACE_ROWS", "STEP_ROWS"]

_BUILD = "build"
_SERVICES_LATER = Later(_BUILD, "services beside a step")
_NEEDS = MapOf(
    FORMATS["name"],
    OneOf(
        (
            text("step_path"),
            MapOf(FORMATS["step_path"], text("step_path"), templates=True),
        ),
        "a path, or a table of source = target",
    ),
)
ARGV_LIST = ListOf(ListOf(Text(FORMATS["argument"]), 1), 1, bare=True)
"""One argv or a list of them."""

STEP_ROWS: tuple[Row, ...] = (
    Row(
        "on",
        text("name"),
        "layer whose root file system the steps run in",
        shown="the stack's own toolchain",
    ),
    Row("needs", _NEEDS, "products of other layers and where they stand: layer = path, or a table source = target"),
    Row("inputs", texts("glob"), "globs of files the steps see, added to what the kind takes by itself"),
    Row("scratch", texts("glob"), "paths in the sources that steps may write"),
    Row("env", MapOf(FORMATS["env_name"], text("text", deferred=True)), "environment of the steps"),
    Row("secrets", texts("name"), "secrets the steps may read"),
    Row("ssh", texts("ssh"), "SSH agents the steps may use", later=Later(_BUILD, "SSH agents in steps")),
    flag("network", "the steps reach the network; fetches checked by a lock need no permission"),
    Row("caches", texts("absolute"), "folders in the step that are kept between builds and never part of a result"),
    Row("services", texts("name"), "services that run beside the steps", later=_SERVICES_LATER),
)
"""Keys of anything that runs steps."""

PLACE_ROWS: tuple[Row, ...] = (
    Row(
        "to",
        text("absolute"),
        "where the product stands in the image",
        shown="/app/BIN, /app/FILE, /app or /opt/venv by kind",
    ),
    Row("owner", text("owner"), "owner of the files, by name or number", default="0:0"),
    Row("mode", text("mode"), "mode of the files", shown="kept"),
    Row("freshness", text("duration"), "age after which the layer is built again", shown="never"),
    Row(
        "missing",
        Choice(("build", "pull", "fail")),
        "what to do when the layer is not there",
        default="build",
        later=Later(_BUILD, "pulling layers from a registry", ("pull",)),
    ),
    Row("advice", text("argument"), "shown when the layer cannot be had"),
)

_REPO = Table(
    "layer.N.repos[]",
    "A signed package source.",
    (
        Row("url", text("url"), "address of the source", required=True),
        Row("key", text("path"), "its key, a file of the project", required=True),
        Row("name", text("name"), "name of the source file", shown="from the URL"),
        Row("suite", text("suite"), "suite (apt)", shown="the base's"),
        Row("components", texts("suite"), "components (apt)"),
    ),
    RepoSpec,
)


def _user(**values: object) -> UserSpec:
    """A user; the group is the user's own number and the home below /home unless written."""
    filled = {
        **values,
        "gid": values["uid"] if values["gid"] is None else values["gid"],
        "home": values["home"] or f"/home/{values['name']}",
    }
    return UserSpec(**filled)  # type: ignore[arg-type]


_USER = Table(
    "layer.N.users[]",
    "A user written into passwd and group.",
    (
        Row("name", text("user_name"), "name", required=True),
        Row("uid", Integer(0, 0xFFFF_FFFE), "number", required=True),
        Row("gid", Integer(0, 0xFFFF_FFFE), "number of the group", shown="uid"),
        Row("home", text("absolute"), "home folder", shown="/home/NAME"),
        Row("shell", text("shell"), "login shell", default="/bin/sh"),
        flag("sudo", "may become root without a password"),
    ),
    _user,
)

_BASE_ROWS: tuple[Row, ...] = (
    Row("from", text("base"), "image the layer begins with; pinned by digest in lamella.lock"),
    Row("bootstrap", text("bootstrap"), "distribution and suite to bootstrap, like debian/bookworm"),
    flag("host", "the host's own tools, read-only; results stay local"),
    Row("apt", texts("package"), "Debian and Ubuntu packages"),
    Row("dnf", texts("package"), "Fedora and RHEL packages"),
    Row("zypper", texts("package"), "SUSE packages"),
    Row("apk", texts("package"), "Alpine packages"),
    Row(
        "repos",
        table_of(_REPO),
        "signed package sources beyond those of the base",
        later=Later(_BUILD, "signed package sources"),
    ),
    Row("users", table_of(_USER), "users to create"),
    Row("tools", texts("tool"), "tools from cargo, npm or uv: NAME, NAME@VERSION, cargo:NAME@VERSION"),
)

_FILE = Table(
    "layer.N.files[]",
    "One copy out of the project.",
    (
        Row("from", text("path"), "file or folder of the project", required=True),
        Row("to", text("absolute"), "where it stands in the image", shown="the layer's to and the same path"),
        Row("owner", text("owner"), "owner", shown="the layer's"),
        Row("mode", text("mode"), "mode", shown="the layer's"),
    ),
)
_FETCH = Table(
    "layer.N.fetch[]",
    "One way to get a file. The ways are tried in order.",
    (
        Row("url", text("url"), "address"),
        Row("file", text("path"), "file of the project"),
        Row("sha256", text("sha256"), "digest of what is fetched"),
        Row("sums", text("url"), "address of a list of digests; not hermetic"),
        Row("extract", text("path"), "member of the archive to take", shown="the file itself"),
        Row("to", text("absolute"), "where it stands in the image", shown="the layer's"),
        Row("mode", text("mode"), "mode", shown="the layer's"),
        Row("secret", text("name"), "secret sent as bearer token"),
        flag("optional", "go on with the next way when it is not there"),
    ),
    one_of=(("url", "file"),),
    at_most_one=(("sha256", "sums"),),
)
_CARGO = Table(
    "layer.N.cargo",
    "A binary of a Cargo workspace.",
    (
        Row("dir", text("path"), "folder of the workspace or package", default="."),
        Row("package", text("crate"), "package to build", shown="the one with the binary"),
        Row("bin", text("crate"), "binary", shown="default-run or the only one"),
        Row("features", texts("feature"), "features"),
        flag("default_features", "the default features too", default=True),
        Row("profile", text("crate"), "Cargo profile", shown="dev or release, by dev/prod"),
        Row("target", text("triple"), "target triple; written only to cross-compile", shown="the platform's"),
        Row("flags", texts("argument"), "compiler flags (RUSTFLAGS)"),
        Row("linker", text("command"), "linker program"),
        Row("wrapper", text("command"), "compiler wrapper like sccache"),
        Row(
            "volatile",
            texts("crate"),
            "crates that are never cached",
            later=Later("", "such crates are reused as long as their inputs are equal"),
        ),
    ),
)
_INDEX = Table(
    "layer.N.python.indexes[]",
    "A package index.",
    (
        Row("url", text("url"), "address", required=True),
        Row("packages", texts("distribution"), "the only packages it is asked for", shown="any"),
    ),
    IndexSpec,
)
_PYTHON = Table(
    "layer.N.python",
    "Python distributions in a virtual environment.",
    (
        Row("requirements", texts("path"), "requirement files"),
        Row("project", text("path"), "folder of a Python project"),
        Row("groups", texts("distribution"), "dependency groups of the project"),
        Row("extras", texts("distribution"), "extras of the project"),
        Row("python", text("python_version"), "Python version", shown="the project's"),
        Row("lock", text("path"), "lock with the resolved set", default="lamella.lock"),
        Row("indexes", table_of(_INDEX), "package indexes beyond the default"),
        Row("above", text("name"), "python layer whose set is the constraint and whose venv is shared"),
        Row("exclude", texts("distribution"), "distributions left out"),
    ),
    PythonSpec,
    one_of=(("requirements", "project"),),
)
_NODE = Table(
    "layer.N.node",
    "A script of a JavaScript package.",
    (
        Row("dir", text("path"), "folder of the package", default="."),
        Row("script", text("script"), "script to run", shown="none: the dependencies only"),
        Row("output", text("path"), "folder the script writes, below dir", shown="found after the script"),
    ),
    NodeSpec,
)
_MODEL = Table(
    "layer.N.model",
    "A model.",
    (
        Row("hub", text("hub"), "hub repository OWNER/NAME", later=Later(_BUILD, "models from a hub")),
        Row("url", text("url"), "address"),
        Row("file", text("path"), "file or folder of the project"),
        Row("revision", text("revision"), "branch, tag or commit; lamella.lock holds the commit"),
        Row("sha256", text("sha256"), "digest of the file"),
    ),
    ModelSpec,
    one_of=(("hub", "url", "file"),),
)

_KIND_ROWS: tuple[Row, ...] = (
    Row("files", table_of(_FILE), "kind: plain copies"),
    Row("fetch", table_of(_FETCH), "kind: ways to get a file, tried in order"),
    Row("cargo", TableOf(_CARGO), "kind: a Rust binary", nullable=True),
    Row("python", TableOf(_PYTHON), "kind: Python distributions", nullable=True),
    Row("node", TableOf(_NODE), "kind: a JavaScript build", nullable=True),
    Row("model", TableOf(_MODEL), "kind: a model", nullable=True),
    Row("run", ARGV_LIST, "kind: commands, one argv or a list of them"),
)

_BASE = Table(
    "layer.N.base",
    "The keys of a base layer, when they are written as a table of their own.",
    _BASE_ROWS,
    at_most_one=(("from", "bootstrap", "host"),),
)

KINDS: dict[str, tuple[str, ...]] = {
    "base": tuple(row.key for row in _BASE_ROWS),
    **{row.key: (row.key,) for row in _KIND_ROWS},
}
"""Each kind and the keys of ``layer.N`` that make a layer of it."""

LAYER = Table(
    "layer.N",
    "One layer: exactly one kind, and keys that any kind may have. A layer with `needs` alone is a files layer.",
    (
        *STEP_ROWS,
        *PLACE_ROWS,
        *_BASE_ROWS,
        Row("base", TableOf(_BASE), "the base keys (from to tools) as a table", nullable=True),
        *_KIND_ROWS,
    ),
    at_most_one=(("from", "bootstrap", "host"),),
    varied=True,
)
