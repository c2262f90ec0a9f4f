"""A page with paths of its own needs a web server that sends its index for them."""

from __future__ import annotations

import json
import re
import tomllib

import pytest

from lamella.init.render import render_proposal
from lamella.init.routes import SEND_INDEX, own_routes
from lamella.stacks.base import Detection
from lamella.testing.tree import MemoryTree
from tests.unit.init.kinds import VITE, npm_package
from tests.unit.init.proposals import first_plan, proposal

SERVER = "FROM nginx\nRUN echo 'location / { try_files $uri /index.html; }' > /etc/nginx/conf.d/default.conf\n"
PAGE = Detection("node", ".", ())


def package(*names: str) -> str:
    return json.dumps({"name": "page", "dependencies": dict.fromkeys(names, "1")})


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"package.json": package("react", "react-router-dom")}, "package.json has react-router-dom"),
        ({"package.json": package("vue-router", "vite-ssg")}, ""),
        ({"package.json": package("react")}, ""),
        ({"package.json": "{"}, ""),
        ({}, ""),
        ({"deploy/nginx.conf": "location / {\n  try_files $uri $uri/ /index.html;\n}"}, "deploy/nginx.conf sends"),
        ({"docker/nginx/site.conf": "try_files $uri $uri/ =404;"}, ""),
        ({"public/.htaccess": "FallbackResource /index.html\n"}, "public/.htaccess sends"),
    ],
)
def test_where_a_page_says_that_it_has_paths_of_its_own(files: dict[str, str], said: str) -> None:
    found = own_routes(MemoryTree(files), PAGE, {})
    assert said in found
    assert bool(found) == bool(said)


def test_the_image_of_such_a_page_sends_its_index() -> None:
    files = {**npm_package("page", VITE), "Dockerfile": SERVER}
    text = render_proposal(proposal(files))
    first_plan(text, files)
    found = tomllib.loads(text)
    assert found["image"]["page"]["layers"] == ["ui-nginx", "ui-routes", "ui-files"]
    assert found["layer"]["ui-routes"]["run"] == [*SEND_INDEX, "/etc/nginx/sites-available/default"]
    assert "Dockerfile sends index.html" in text


def test_a_page_without_them_keeps_404() -> None:
    found = tomllib.loads(render_proposal(proposal(npm_package("page", VITE))))
    assert found["image"]["page"]["layers"] == ["ui-nginx", "ui-files"]


def test_the_command_changes_the_site_as_debian_ships_it() -> None:
    _, before, after, _ = SEND_INDEX[2].split("|")
    assert re.sub(re.escape(before), after, "\t\ttry_files $uri $uri/ =404;") == "\t\ttry_files $uri $uri/ /index.html;"
