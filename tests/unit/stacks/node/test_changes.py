"""Scenario x Modification x Expectation for node layers: which vertices a change makes new."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from lamella.canonical import FrozenMap
from lamella.errors import ConfigError
from lamella.project.spec import NodeSpec
from lamella.stacks.node import NodeStack
from lamella.testing.tree import MemoryTree
from tests.unit.stacks.lowering import Given, changed, lower
from tests.unit.stacks.node.samples import LIB, TREE, UI, dumped, manifest_of, single, workspace

Modification = Callable[[Given], Given]
TOOLS = ("npm", "bun", "pnpm")

BUILD = {"ui:source", "ui"}
"""The build step sees the file, the install does not."""
INSTALL = {"ui:skeleton", "ui:deps", "ui:source", "ui"}
"""The install sees it, and so the build."""
SOURCE = {"ui:source", "ui"}


def ui(**changes: Any) -> Modification:
    return lambda given: given.edited(manifest_of(given, "ui/package.json", **changes))


def member(path: str, **changes: Any) -> Modification:
    return lambda given: given.edited(manifest_of(given, path, **changes))


def files(changes: dict[str, bytes | str | None]) -> Modification:
    return lambda given: given.edited(changes)


ROWS: list[tuple[str, Modification, set[str]]] = [
    ("a readme outside", files({"README.md": "# other\n"}), set()),
    ("a file of another language", files({"server/main.py": "print(1)\n"}), set()),
    ("a source file", files({"ui/src/main.ts": "export const a = 1\n"}), BUILD),
    ("a new source file", files({"ui/src/new.ts": "export {}\n"}), BUILD),
    ("a release of the front end", ui(version="3.0.0"), BUILD),
    ("its description", ui(description="other"), BUILD),
    ("a script", ui(scripts={"build": "vite build --mode x"}), BUILD),
    ("the order of keys", lambda given: given.edited({"ui/package.json": _reversed(given)}), BUILD),
    ("left-over output", files({"ui/dist/index.html": "old"}), set()),
    ("installed packages in the tree", files({"ui/node_modules/left/index.js": "x"}), set()),
    ("a source file of a local package", files({"packages/lib/index.js": "module.exports = 9\n"}), BUILD),
    ("a source file of a copied folder", files({"vendored/v.js": "module.exports = 9\n"}), BUILD),
    ("a member that the front end does not need", files({"packages/other/index.js": "x"}), set()),
    ("the manifest of that member", member("packages/other/package.json", description="x", version="0.2.0"), set()),
    ("the compiler's settings beside the lock", files({"tsconfig.json": '{"strict": true}\n'}), BUILD),
    ("settings of the installer", files({".npmrc": "fund=false\n"}), INSTALL),
    ("a new kind of package manifest key", ui(funding="https://example"), BUILD),
    ("a program that a local package names", member("packages/lib/package.json", bin={"lib": "index.js"}), INSTALL),
    ("supported engines", ui(engines={"node": ">=18"}), INSTALL),
    ("trusted packages", ui(trustedDependencies=["left"]), INSTALL),
    ("another toolchain", lambda given: replace(given, toolchain="other"), {"", "ui:deps", "ui"}),
    (
        "a variable of the steps",
        lambda given: replace(given, layer=replace(given.layer, env=FrozenMap({"A": "1"}))),
        {"ui:deps", "ui"},
    ),
    ("another script", lambda given: given.with_spec(NodeSpec(dir="ui", script="lint", output="dist")), {"ui"}),
    (
        "another output",
        lambda given: given.with_spec(NodeSpec(dir="ui", script="build", output="out")),
        {"ui:source", "ui"},
    ),
    (
        "further inputs",
        lambda given: replace(given, layer=replace(given.layer, inputs=("server/**",))),
        {"ui:source", "ui"},
    ),
]


def _reversed(given: Given) -> str:
    return dumped(dict(reversed(json.loads(str(given.files["ui/package.json"])).items())))


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize(("modification", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_change_makes_exactly_these_vertices_new(tool: str, modification: Modification, expected: set[str]) -> None:
    before = workspace(tool)
    found = changed(before, modification(before)) - {f"ui:{tool}"}  # the tool stands on the toolchain
    assert found == expected


def in_lock(path: str, before: str, after: str) -> Modification:
    return lambda given: given.replaced(path, before, after)


LOCKED: list[tuple[str, str, Modification, set[str]]] = [
    ("npm: versions of own packages", "npm", in_lock("package-lock.json", "2.3.4", "2.4.0"), BUILD),
    ("npm: the root's version", "npm", in_lock("package-lock.json", '"1.0.0",\n  "lock', '"7.0.0",\n  "lock'), BUILD),
    ("npm: a locked version", "npm", in_lock("package-lock.json", "1.2.9", "1.2.10"), INSTALL),
    ("bun: versions of own packages", "bun", in_lock("bun.lock", "2.3.4", "2.4.0"), BUILD),
    ("bun: comments and commas", "bun", in_lock("bun.lock", "// made by bun", "/* , } */"), BUILD),
    ("bun: a locked version", "bun", in_lock("bun.lock", "left@1.2.9", "left@1.2.10"), INSTALL),
    ("pnpm: a locked version", "pnpm", in_lock("pnpm-lock.yaml", "left@1.2.9:", "left@1.2.10:"), INSTALL),
]


@pytest.mark.parametrize(
    ("tool", "modification", "expected"), [row[1:] for row in LOCKED], ids=[row[0] for row in LOCKED]
)
def test_an_edited_lock_makes_exactly_these_vertices_new(
    tool: str, modification: Modification, expected: set[str]
) -> None:
    before = workspace(tool)
    assert changed(before, modification(before)) == expected


@pytest.mark.parametrize("tool", ["npm", "bun"])
def test_a_release_that_bumps_every_member_changes_no_install(tool: str) -> None:
    before = workspace(tool)
    lock = "package-lock.json" if tool == "npm" else "bun.lock"
    after = before
    for path, old in (("ui/package.json", "2.3.4"), ("packages/lib/package.json", "0.3.1")):
        after = after.replaced(path, old, old[:-1] + "8").replaced(lock, old, old[:-1] + "8")
    after = after.replaced("ui/package.json", "^0.3.0", "^0.3.5").replaced(lock, "^0.3.0", "^0.3.5")
    assert changed(before, after) == {"ui:source", "ui"}


def test_a_range_that_the_local_package_does_not_meet_keeps_its_number() -> None:
    given = workspace("npm")
    after = given.replaced("ui/package.json", "^0.3.0", "^0.9.0").replaced("package-lock.json", "^0.3.0", "^0.9.0")
    skeleton = lower(after).inline("ui:skeleton")
    assert json.loads(skeleton["ui/package.json"])["dependencies"]["lib"] == "^0.9.0"
    assert json.loads(lower(given).inline("ui:skeleton")["ui/package.json"])["dependencies"]["lib"] == "*"


def test_the_skeleton_holds_only_what_the_install_needs() -> None:
    skeleton = lower(workspace("npm")).inline("ui:skeleton")
    assert set(skeleton) == {
        "package.json",
        "package-lock.json",
        "ui/package.json",
        "packages/lib/package.json",
        "vendored/package.json",
    }
    assert json.loads(skeleton["ui/package.json"]) == {
        "name": "ui",
        "version": "0.0.0",
        "dependencies": {"lib": "*", "left": "^1.2.0", "vend": "file:../vendored"},
        "devDependencies": {"vite": "^5.0.0"},
    }


@pytest.mark.parametrize(
    ("tool", "files_added", "changes"),
    [
        ("bun", {"patches/left.patch": "x"}, {"patchedDependencies": {"left@1.2.9": "patches/left.patch"}}),
        ("pnpm", {"patches/left.patch": "x"}, {"pnpm": {"patchedDependencies": {"left@1.2.9": "patches/left.patch"}}}),
    ],
)
def test_patches_are_inputs_of_the_install(tool: str, files_added: dict[str, bytes | str | None], changes: Any) -> None:
    given = workspace(tool)
    before = given.edited({**files_added, **manifest_of(given, "package.json", **changes)})
    assert lower(before).inline("ui:skeleton")["patches/left.patch"] == b"x"
    assert {"ui:skeleton", "ui:deps", "ui"} <= changed(before, before.edited({"patches/left.patch": "y"}))


ERRORS: list[tuple[str, str, Modification, str, str]] = [
    ("npm: a new dependency", "npm", ui(devDependencies={"vite": "^5.0.0", "new": "1"}), "asks for new", "npm install"),
    (
        "npm: a range the lock does not meet",
        "npm",
        ui(devDependencies={"vite": "^6.0.0"}),
        "vite ^6.0.0",
        "npm install",
    ),
    ("bun: a new dependency", "bun", ui(devDependencies={"vite": "^5.0.0", "new": "1"}), "asks for new", "bun install"),
    ("bun: another range", "bun", ui(devDependencies={"vite": "^5.1.0"}), "vite ^5.1.0", "bun install"),
    ("bun: a dropped dependency", "bun", ui(devDependencies=None), "does not ask for it", "bun install"),
    ("pnpm: another range", "pnpm", ui(devDependencies={"vite": "^5.1.0"}), "vite ^5.1.0", "pnpm install"),
    (
        "pnpm: a new dependency",
        "pnpm",
        ui(devDependencies={"vite": "^5.0.0", "new": "1"}),
        "asks for new",
        "pnpm install",
    ),
    (
        "a local package's dependency",
        "npm",
        member("packages/lib/package.json", dependencies={"deep": "2.0.0"}),
        "deep 2.0.0",
        "npm install",
    ),
    ("no lock", "npm", files({"package-lock.json": None}), "has no lock file", "npm install"),
    (
        "no lock, but the tool is named",
        "npm",
        lambda given: files({"package-lock.json": None})(ui(packageManager="bun@1.2.0")(given)),
        "has no lock file",
        "bun install",
    ),
    (
        "a lock of npm 6",
        "npm",
        files({"package-lock.json": '{"lockfileVersion": 1, "dependencies": {}}'}),
        "names no paths",
        "--lockfile-version 3",
    ),
    (
        "bun's binary lock",
        "npm",
        files({"package-lock.json": None, "ui/bun.lockb": "x"}),
        "bun.lockb is the only lock",
        "--save-text-lockfile",
    ),
    (
        "yarn's lock",
        "npm",
        files({"package-lock.json": None, "ui/yarn.lock": "x"}),
        "yarn.lock is the only lock",
        "pnpm import",
    ),
    (
        "an unknown script",
        "npm",
        lambda given: given.with_spec(NodeSpec(dir="ui", script="nope")),
        "no script 'nope'",
        "it has: build, lint",
    ),
    ("no manifest", "npm", lambda given: given.with_spec(NodeSpec(dir="uj")), "uj/package.json is not there", ""),
    ("a broken manifest", "npm", files({"ui/package.json": '{"name": "ui",}'}), "not JSON", ""),
    ("a merge conflict in the lock", "bun", files({"bun.lock": "{\n<<<<<<< ours\n}"}), "not JSON", "merge conflict"),
    ("a folder that is not there", "npm", ui(dependencies={"vend": "file:../gone"}), "has no package.json", ""),
    ("a folder outside of the project", "npm", ui(dependencies={"vend": "file:../../gone"}), "outside the project", ""),
    (
        "a member that the lock does not know",
        "bun",
        lambda given: given.replaced("bun.lock", '"ui": {', '"iu": {'),
        "is not in the lock",
        "bun install",
    ),
]


@pytest.mark.parametrize(
    ("tool", "modification", "text", "hint"), [row[1:] for row in ERRORS], ids=[row[0] for row in ERRORS]
)
def test_what_does_not_fit_is_an_error_that_names_the_repair(
    tool: str, modification: Modification, text: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        lower(modification(workspace(tool)))
    assert text in caught.value.message
    assert hint in caught.value.hint


def test_npm_takes_another_range_that_the_locked_version_meets() -> None:
    given = workspace("npm")
    after = ui(devDependencies={"vite": ">=5.1 <6"})(given)
    assert "ui:deps" in changed(given, after)


def test_install_scripts_run_for_trusted_packages_alone_and_without_network() -> None:
    given = workspace("npm")
    plain = lower(given).step("ui:deps").commands
    assert plain[0].argv == ("npm", "ci", "--ignore-scripts")
    assert plain[0].network
    assert [command.argv[0] for command in plain[1:]] == ["rm", "mkdir"]
    trusted = lower(ui(allowScripts={"left@1.2.9": True, "vite": False})(given)).step("ui:deps").commands
    assert trusted[1].argv == ("npm", "rebuild", "--foreground-scripts", "left")
    assert not trusted[1].network


def test_the_build_has_no_network_and_no_lifecycle_of_developers_machines() -> None:
    given = ui(scripts={"build": "vite build", "prepare": "husky", "postinstall": "prisma generate"})(workspace("bun"))
    step = lower(given).step("ui")
    assert step.network == "none"
    argvs = [command.argv for command in step.commands]
    assert ("bun", "run", "postinstall") in argvs
    assert ("bun", "run", "prepare") not in argvs
    assert argvs[-1] == ("bun", "run", "build")


@pytest.mark.parametrize(("tool", "copies"), [("npm", False), ("bun", True), ("pnpm", True)])
def test_a_copied_folder_gets_its_files_before_the_build(tool: str, copies: bool) -> None:
    argvs = [command.argv for command in lower(workspace(tool)).step("ui").commands]
    copy = ("cp", "-a", "/lamella/src/vendored/.", "/lamella/src/ui/node_modules/vend/")
    assert (copy in argvs) is copies


def test_packages_stand_where_the_install_put_them() -> None:
    outcome = lower(workspace("npm"))
    outputs = {output.target for output in outcome.step("ui:deps").outputs}
    folders = ("", "packages/lib/", "ui/", "vendored/")
    assert outputs == {f"{folder}node_modules" for folder in folders}
    targets = {mount.target for mount in outcome.step("ui").mounts if mount.kind == "bind"}
    assert targets == {"/lamella/src", *(f"/lamella/src/{folder}node_modules" for folder in folders)}


def test_a_product_is_free_of_platforms() -> None:
    assert lower(workspace()).vertex("ui").platform == "any"


SERVICE = {
    "name": "api",
    "version": "1.0.0",
    "scripts": {"start": "node --enable-source-maps src/server.js"},
    "dependencies": {"web": "^1.0.0"},
}


def test_a_package_without_a_build_is_a_service_with_its_production_packages() -> None:
    given = single(SERVICE, {"src/server.js": "listen()\n"})
    outcome = lower(given)
    assert outcome.lowered.entrypoints == (("node", "--enable-source-maps", "/app/src/server.js"),)
    assert outcome.step("app:production deps").commands[0].argv == ("npm", "ci", "--ignore-scripts", "--omit=dev")
    assert [(placed.name, placed.target) for placed in outcome.lowered.placements] == [
        ("app:packages", "/app"),
        ("app:files", "/app"),
    ]
    assert outcome.vertex("app:production deps").platform == "linux/amd64"
    assert [need.value for need in outcome.lowered.requirements] == ["node"]
    assert changed(given, given.edited({"src/server.js": "x"})) == {"app:files"}


def test_a_service_that_is_built_carries_its_own_folder_without_the_development_packages() -> None:
    manifest = {
        **SERVICE,
        "scripts": {"build": "tsc", "start": "node dist/server.js"},
        "devDependencies": {"typescript": "5.0.0"},
    }
    outcome = lower(single(manifest, {"src/server.ts": ""}, NodeSpec(output=".")))
    step = outcome.step("app")
    assert [command.argv[:2] for command in step.commands] == [("npm", "run"), ("node", "-e")]
    assert step.outputs[0].source == "/lamella/out"
    assert {"app:deps", "app:production deps", "app"} <= set(outcome.keys)
    assert outcome.lowered.entrypoints == (("node", "/app/dist/server.js"),)


def test_a_start_script_is_followed_through_those_it_calls() -> None:
    scripts = {"start": "npm run serve", "serve": "node server/main.js"}
    assert lower(single({"name": "x", "scripts": scripts})).lowered.entrypoints == (("node", "/app/server/main.js"),)


def test_a_server_with_a_page_is_detected_as_a_server() -> None:
    scripts = {"build": "vite build", "start": "node server.js"}
    files = {"server.js": "app.listen(3001)\n"}
    (found,) = NodeStack().detect(MemoryTree(single({"name": "x", "scripts": scripts}, dict(files)).files))
    assert found.layers[0].lines == ('node = { dir = ".", script = "build", output = "." }',)
    assert (found.entrypoint, found.expose) == (("node", "/app/server.js"), 3001)


def test_a_build_that_writes_a_server_is_detected_as_a_server() -> None:
    (found,) = NodeStack().detect(MemoryTree(single({"name": "x", "scripts": {"build": "nuxt build"}}).files))
    assert found.layers[0].lines == ('node = { dir = ".", script = "build", output = ".output" }',)
    assert (found.entrypoint, found.expose) == (("node", "/app/server/index.mjs"), 3000)


@pytest.mark.parametrize(("adapter", "output"), [("node", "."), ("static", "build")])
def test_sveltekit_makes_a_server_or_pages_by_its_adapter(adapter: str, output: str) -> None:
    packages = {"@sveltejs/kit": "2", f"@sveltejs/adapter-{adapter}": "5"}
    manifest = {"name": "x", "scripts": {"build": "vite build"}, "devDependencies": packages}
    (found,) = NodeStack().detect(MemoryTree(single(manifest).files))
    assert found.layers[0].lines == (f'node = {{ dir = ".", script = "build", output = "{output}" }}',)
    assert found.entrypoint == (("node", "/app/build/index.js") if adapter == "node" else ())


GUESSES: list[tuple[str, dict[str, str], str]] = [
    ("vite build", {}, "dist"),
    ("tsc -b && vite build", {"vite.config.ts": "export default { build: { outDir: './www' } }"}, "www"),
    ("vite build --outDir public/app", {}, "public/app"),
    ("react-scripts build", {}, "build"),
    ("next build", {"next.config.mjs": "export default { output: 'export' }"}, "out"),
    ("next build", {}, "."),
    ("astro build", {}, "dist"),
    ("npm run compile && npm run bundle", {}, "dist"),
    ("bun build ./index.ts --outdir ./bundle", {}, "bundle"),
    ("tsc", {"tsconfig.json": '{ "compilerOptions": { "outDir": "./lib", /* x */ } }'}, "lib"),
    ("gatsby build", {}, "public"),
    (
        "ng build",
        {"angular.json": '{"projects":{"a":{"architect":{"build":{"options":{"outputPath":"dist/a"}}}}}}'},
        "dist/a",
    ),
    ("vitepress build .", {}, ".vitepress/dist"),
]


@pytest.mark.parametrize(("script", "files_there", "output"), GUESSES)
def test_the_output_is_found_and_the_reason_said(script: str, files_there: dict[str, str], output: str) -> None:
    scripts = {"build": script, "compile": "tsc", "bundle": "webpack --mode production"}
    outcome = lower(single({"name": "x", "scripts": scripts}, dict(files_there)))
    assert f"output {output!r}, because" in outcome.lowered.notes[0]


@pytest.mark.parametrize(
    ("package", "output"),
    [
        ("@sveltejs/adapter-static", "build"),
        ("@sveltejs/adapter-vercel", ".vercel/output"),
        ("laravel-vite-plugin", "public/build"),
        ("vite", "dist"),
    ],
)
def test_the_output_follows_the_packages_that_write_it(package: str, output: str) -> None:
    kit = {"@sveltejs/kit": "2.0.0"} if package.startswith("@sveltejs/") else {}
    manifest = {"name": "x", "scripts": {"build": "vite build"}, "devDependencies": {package: "1.0.0", **kit}}
    assert f"output {output!r}" in lower(single(manifest)).lowered.notes[0]


def test_an_output_that_cannot_be_told_is_an_error_that_lists_what_there_is() -> None:
    given = single({"name": "x", "scripts": {"build": "./make.sh"}}, {"make.sh": "", "src/a.js": "", "public/x": ""})
    with pytest.raises(ConfigError) as caught:
        lower(given)
    assert "./make.sh" in caught.value.message
    assert "make.sh, package-lock.json, public/, src/" in caught.value.hint


def test_a_lock_above_that_does_not_know_the_package_is_not_its_lock() -> None:
    stray = single({"name": "tools"}, {"web/package.json": dumped({"name": "web", "scripts": {"build": "vite build"}})})
    with pytest.raises(ConfigError, match=r"web/package\.json has no lock file"):
        lower(stray.with_spec(NodeSpec(dir="web")))


def test_the_samples_are_what_they_say() -> None:
    assert json.loads(str(TREE["ui/package.json"])) == UI
    assert json.loads(str(TREE["packages/lib/package.json"])) == LIB
