"""Whether a page answers paths of its own: a web server must then send its index for them instead of 404."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lamella.errors import ConfigError
from lamella.graph.protocols import Tree
from lamella.stacks.base import Detection
from lamella.stacks.node.manifest import read_manifest

__all__ = ["SEND_INDEX", "own_routes"]

SEND_INDEX = ("sed", "-i", "s|try_files $uri $uri/ =404;|try_files $uri $uri/ /index.html;|")
"""Makes Debian's site of nginx (``/etc/nginx/sites-available/default``) send the index for what is no file."""

_ROUTERS = frozenset({
    "react-router", "react-router-dom", "@tanstack/react-router", "@tanstack/vue-router", "@tanstack/solid-router",
    "wouter", "@reach/router", "vue-router", "@angular/router", "@solidjs/router", "preact-router", "preact-iso",
    "svelte-spa-router", "@mateothegreat/svelte5-router",
})  # fmt: skip
_FILE_PER_PATH = frozenset({
    "next", "nuxt", "astro", "gatsby", "vitepress", "vuepress", "vite-ssg", "vite-react-ssg", "react-snap",
    "@docusaurus/core", "@sveltejs/kit", "@11ty/eleventy",
})  # fmt: skip
"""What writes a file for each path, so that there is nothing to send in place of one."""

_FALLBACK = re.compile(r"\btry_files\b[^;}]*\s/?index\.html\b|\bFallbackResource\s+/?index\.html\b")


def own_routes(tree: Tree, page: Detection, foreign: Mapping[str, bytes]) -> str:
    """Where it is said, empty when it is not: web server settings of the project, or a router among its packages.

    ``foreign`` are the bytes of Dockerfiles by path.
    """
    for path, data in sorted(foreign.items()):
        if _FALLBACK.search(data.decode("utf-8", "replace")):
            return f"{path} sends index.html for every other path"
    for path in tree.paths(("**/*nginx*.conf", "**/nginx/**/*.conf", "**/.htaccess")):
        if _FALLBACK.search(tree.read(path).decode("utf-8", "replace")):
            return f"{path} sends index.html for every other path"
    try:
        manifest = read_manifest(tree, page.directory or ".")
    except ConfigError:
        return ""
    names = {name for _, name, _ in manifest.dependencies()} if manifest is not None else set()
    routers = sorted(names & _ROUTERS)
    if manifest is None or not routers or names & _FILE_PER_PATH:
        return ""
    return f"{manifest.path} has {routers[0]}: paths are the page's own"
