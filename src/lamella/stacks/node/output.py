"""Which script builds a package and where it writes, when the project file does not say."""

from __future__ import annotations

import re
from collections.abc import Iterable

from lamella.errors import ConfigError
from lamella.graph.protocols import Tree
from lamella.project.spec import LayerSpec, NodeSpec
from lamella.stacks.base import layer_error
from lamella.stacks.node.jsonc import read_jsonc
from lamella.stacks.node.manifest import Manifest, join
from lamella.values import dataclass

__all__ = ["WHOLE", "Goal", "find_goal"]

WHOLE = "."
"""An ``output`` that stands for the package's own folder: a service with its production packages."""

_BY_TOOL = (
    (r"\breact-scripts build\b", "build", "react-scripts"),
    (r"\bvite build\b|\bvite-ssg build\b", "dist", "vite"),
    (r"\bastro build\b", "dist", "astro"),
    (r"\bvue-cli-service build\b", "dist", "@vue/cli-service"),
    (r"\bparcel build\b", "dist", "parcel"),
    (r"\bwebpack\b|\brspack build\b|\brsbuild build\b", "dist", "webpack"),
    (r"\bgatsby build\b", "public", "gatsby"),
    (r"\beleventy\b", "_site", "@11ty/eleventy"),
    (r"\bnuxt generate\b|\bnuxi generate\b", ".output/public", "nuxt"),
    (r"\bnuxt build\b|\bnuxi build\b", ".output", "nuxt"),
    (r"\btsup\b|\bunbuild\b|\brollup\b|\btsdown\b", "dist", "bundler"),
    (r"\bdocusaurus build\b", "build", "@docusaurus/core"),
    (r"\bvitepress build( \.)?( |$)", ".vitepress/dist", "vitepress"),
    (r"\bremix vite:build\b|\breact-router build\b", "build", "@remix-run/dev"),
)
_SVELTEKIT = {
    "static": "build",
    "node": "build",
    "vercel": ".vercel/output",
    "cloudflare": ".svelte-kit/cloudflare",
    "netlify": "build",
    "auto": ".svelte-kit/output",
}
_FLAG = re.compile(r"(?:--out-?[dD]ir|--outDir|--dist-dir|--output-path|-o)[ =]([\w./-]+)")
_CONFIG = re.compile(r"\boutDir\s*:\s*[\"'](?:\./)?([\w./-]+)[\"']")
_NEXT_EXPORT = re.compile(r"\boutput\s*:\s*[\"']export[\"']")
_NEXT_DIST = re.compile(r"\bdistDir\s*:\s*[\"'](?:\./)?([\w./-]+)[\"']")
_CONFIG_FILES = ("vite.config.*", "astro.config.*", "svelte.config.*", "rsbuild.config.*")


@dataclass(frozen=True, slots=True)
class Goal:
    """``script`` to run (empty: none) and ``output`` relative to the package; ``why`` says where a guess is from."""

    script: str
    output: str
    why: str = ""

    @property
    def is_service(self) -> bool:
        """Whether the package itself, with its production packages, is the product."""
        return self.output == WHOLE


def find_goal(tree: Tree, layer: LayerSpec, spec: NodeSpec, app: Manifest) -> Goal:
    """What to run and to take. Raises ConfigError that lists what there is when it cannot be told."""
    script = spec.script if spec.script is not None else ("build" if "build" in app.scripts else "")
    if script and script not in app.scripts:
        has = ", ".join(sorted(app.scripts)) or "none"
        raise layer_error(layer, f"{app.path} has no script {script!r}", hint=f"it has: {has}")
    if spec.output is not None:
        return Goal(script, spec.output.strip("/").removeprefix("./") or WHOLE, "the layer's 'output'")
    if not script:
        if "start" in app.scripts or app.data.get("main"):
            return Goal("", WHOLE, "no script 'build': the package itself is the product")
        has = ", ".join(sorted(app.scripts)) or "none"
        raise layer_error(
            layer,
            f"{app.path} has no script 'build' and nothing to start",
            hint=f"name one in 'script' (it has: {has}) and what it writes in 'output'",
        )
    guess = guess_output(tree, app, script)
    if guess is None:
        raise layer_error(
            layer,
            f"it cannot be told where script {script!r} of {app.path} writes: {app.scripts[script]}",
            hint=f'write output = "..."; in the folder there is: {", ".join(_entries(tree, app)) or "nothing else"}',
        )
    return Goal(script, *guess)


def guess_output(tree: Tree, app: Manifest, script: str) -> tuple[str, str] | None:
    """Folder and reason, from the script's flags, the bundler's configuration, the bundler's default."""
    text = _expanded(app, script)
    flag = _FLAG.search(text)
    if flag:
        return flag[1].strip("/").removeprefix("./"), f"script {script!r} says {flag[0]}"
    uses = {name for _, name, _ in app.dependencies("dependencies", "devDependencies")}
    if re.search(r"\bnext build\b", text):
        return _next(tree, app)
    if "@sveltejs/kit" in uses and re.search(r"\bvite build\b", text):
        return _sveltekit(uses)
    if "laravel-vite-plugin" in uses and re.search(r"\bvite build\b", text):
        return "public/build", "laravel-vite-plugin writes public/build"
    if re.search(r"\bng build\b", text):
        return _angular(tree, app)
    for pattern, folder, tool in _BY_TOOL:
        if re.search(pattern, text):
            configured = _configured(tree, app)
            return configured or (folder, f"{tool} writes {folder}")
    if re.search(r"\btsc\b", text):
        return _typescript(tree, app)
    return None


def _expanded(app: Manifest, script: str, depth: int = 0) -> str:
    """A script with the scripts it runs by name (``npm run x``, ``bun run x``, ``run-s x y``)."""
    text = app.scripts.get(script, "")
    if depth > 4:
        return text
    called = [
        name
        for group in re.findall(r"(?:npm|bun|pnpm|yarn) (?:run )?([\w:.-]+)|run-[sp]((?: [\w:.-]+)+)", text)
        for name in " ".join(group).split()
    ]
    return " && ".join([text, *(_expanded(app, name, depth + 1) for name in called if name in app.scripts)])


def _configured(tree: Tree, app: Manifest) -> tuple[str, str] | None:
    for path in tree.paths(tuple(join(app.folder, name) for name in _CONFIG_FILES)):
        match = _CONFIG.search(tree.read(path).decode("utf-8", "replace"))
        if match and not match[1].startswith(".."):
            return match[1].strip("/"), f"{path} says outDir"
    return None


def _next(tree: Tree, app: Manifest) -> tuple[str, str]:
    for path in tree.paths((join(app.folder, "next.config.*"),)):
        text = tree.read(path).decode("utf-8", "replace")
        dist = _NEXT_DIST.search(text)
        if _NEXT_EXPORT.search(text):
            return (dist[1] if dist else "out"), f"{path} says output: 'export'"
    return WHOLE, "Next.js without output: 'export' is a server"


def _sveltekit(uses: set[str]) -> tuple[str, str]:
    """Each adapter of SvelteKit writes to a place of its own."""
    for name, folder in _SVELTEKIT.items():
        if f"@sveltejs/adapter-{name}" in uses:
            return folder, f"SvelteKit's adapter {name!r} writes {folder}"
    return "build", "SvelteKit's adapters for servers and static pages write build"


def _angular(tree: Tree, app: Manifest) -> tuple[str, str] | None:
    path = join(app.folder, "angular.json")
    if not tree.exists(path):
        return None
    try:
        document = read_jsonc(tree, path)
        for name, project in document.get("projects", {}).items():
            options = project["architect"]["build"]["options"]
            found = options.get("outputPath", f"dist/{name}")
            return str(found["base"] if isinstance(found, dict) else found), f"{path} says outputPath"
    except (ConfigError, KeyError, TypeError, AttributeError):
        return None
    return None


def _typescript(tree: Tree, app: Manifest) -> tuple[str, str] | None:
    path = join(app.folder, "tsconfig.json")
    if not tree.exists(path):
        return None
    options = read_jsonc(tree, path).get("compilerOptions", {})
    found = str(options.get("outDir", "")).removeprefix("./").strip("/") if isinstance(options, dict) else ""
    return (found, f"{path} says outDir") if found and not found.startswith("..") else None


def _entries(tree: Tree, app: Manifest) -> Iterable[str]:
    """Names in the package's folder, folders with a slash."""
    prefix = "" if app.folder == "." else f"{app.folder}/"
    inside = (path.removeprefix(prefix) for path in tree.paths((f"{prefix}**",)))
    names = {path.split("/")[0] + ("/" if "/" in path else "") for path in inside}
    return sorted(names - {"node_modules/", "package.json"})[:30]
