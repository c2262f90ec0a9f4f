"""Which binaries are servers, and what their sources say of port, health route and address."""

from __future__ import annotations

import pytest

from lamella.stacks.cargo.serving import Server, find_servers
from lamella.stacks.cargo.workspace import load_workspace
from lamella.testing.tree import MemoryTree

MANIFEST = '[package]\nname = "shop"\nversion = "0.1.0"\nedition = "2021"\n'


def servers(files: dict[str, str]) -> tuple[Server, ...]:
    tree = MemoryTree({"Cargo.toml": MANIFEST, **files})
    return find_servers(tree, load_workspace(tree, ""))


def one(main: str) -> Server:
    (found,) = servers({"src/main.rs": main})
    return found


@pytest.mark.parametrize(
    "line",
    [
        'TcpListener::bind("0.0.0.0:80")',
        "axum::serve(listener, app)",
        "HttpServer::new(|| App::new())",
        "warp::serve(routes)",
        "rocket::build()",
        "#[launch]",
        "Server::builder().add_service(x)",
    ],
)
def test_what_makes_a_server(line: str) -> None:
    assert one(f"fn main() {{ {line} }}").where == "src/main.rs:1"


@pytest.mark.parametrize(
    "main",
    ["fn main() {}", "fn main() {}\n#[cfg(test)]\nmod tests { fn t() { TcpListener::bind(x); } }"],
)
def test_what_makes_none(main: str) -> None:
    assert servers({"src/main.rs": main}) == ()


@pytest.mark.parametrize(
    ("line", "port"),
    [
        ('TcpListener::bind("0.0.0.0:8080")', 8080),
        ("axum::serve(); SocketAddr::from(([0, 0, 0, 0], 3000))", 3000),
        ("warp::serve(r).run(([0,0,0,0], 3030))", 3030),
        ('HttpServer::new(f).bind(("0.0.0.0", 8081))', 8081),
        ("TcpListener::bind((Ipv4Addr::UNSPECIFIED, 7000))", 7000),
        ('axum::serve(); env::var("PORT").unwrap_or_else(|_| "5050".into())', 5050),
        ("axum::serve(); #[arg(long, default_value_t = 4040)] port: u16,", 4040),
        ("axum::serve(); const HTTP_PORT: u16 = 6060;", 6060),
        ("axum::serve(); Config { port: 8888 }", 8888),
        ("axum::serve(listener)", 0),
    ],
)
def test_ports(line: str, port: int) -> None:
    assert one(f"fn main() {{ {line} }}").port == port


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ('.route("/healthz", get(h))', "/healthz"),
        ('#[get("/health")]', "/health"),
        ('warp::path!("ready")', "/ready"),
        ('.route("/status", get(s)).route("/api/v1/healthz", get(h))', "/api/v1/healthz"),
        ('.route("/books", get(b))', ""),
    ],
)
def test_health_routes(line: str, path: str) -> None:
    assert one(f"fn main() {{ axum::serve(); {line} }}").health == path


def test_an_address_for_this_machine_alone_is_told_with_what_overrides_it() -> None:
    found = one('fn main() { let a = env::var("ADDR").unwrap_or("127.0.0.1:80".into()); TcpListener::bind(a) }')
    assert (found.loopback, found.variable, found.port) == ("127.0.0.1:80", "ADDR", 80)
    found = one('fn main() { TcpListener::bind("127.0.0.1:80") }')
    assert (found.loopback, found.variable) == ("127.0.0.1:80", "")
    found = one('const DEFAULT_PORT: u16 = 6379;\nfn main() { TcpListener::bind(format!("127.0.0.1:{}", p)) }')
    assert (found.loopback, found.loopback_where, found.port) == ("127.0.0.1", "src/main.rs:2", 6379)


def test_examples_in_comments_do_not_count() -> None:
    assert servers({"src/main.rs": '/// TcpListener::bind("0.0.0.0:1")\nfn main() {}'}) == ()
    found = one('    // "localhost:1"\nfn main() { TcpListener::bind("0.0.0.0:80") }')
    assert (found.port, found.port_where) == (80, "src/main.rs:2")


def test_a_public_address_wins_over_one_for_this_machine() -> None:
    found = one('fn main() { connect("127.0.0.1:5432"); TcpListener::bind("0.0.0.0:80") }')
    assert (found.port, found.loopback) == (80, "")


def test_a_database_in_the_working_directory() -> None:
    assert one('fn main() { axum::serve(); open("sqlite://shop.db") }').data_where == "src/main.rs:1"
    assert one('fn main() { axum::serve(); open("sqlite:///data/shop.db") }').data_where == ""
    assert one('fn main() { axum::serve(); open("sqlite::memory:") }').data_where == ""


def test_what_a_library_of_the_workspace_serves_makes_the_main_binary_a_server() -> None:
    found = servers(
        {
            "Cargo.toml": MANIFEST + 'default-run = "shop"\n[workspace]\n[dependencies]\nweb = { path = "web" }\n',
            "src/main.rs": "fn main() { web::run() }",
            "src/bin/migrate.rs": "fn main() {}",
            "web/Cargo.toml": MANIFEST.replace("shop", "web"),
            "web/src/lib.rs": 'pub fn run() { TcpListener::bind("0.0.0.0:80") }',
        }
    )
    assert [(item.binary, item.where) for item in found] == [("shop", "web/src/lib.rs:1")]


def test_two_servers_of_one_package_and_a_tool() -> None:
    bind = 'fn main() { TcpListener::bind("0.0.0.0:%d") }'
    found = servers({"src/bin/a.rs": bind % 81, "src/bin/b.rs": bind % 82, "src/bin/bench.rs": bind % 83})
    assert [(item.binary, item.port) for item in found] == [("a", 81), ("b", 82)]
