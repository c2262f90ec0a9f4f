"""Small workspaces with real third-party crates."""

# ruff: noqa: E501 - one manifest, one text

from __future__ import annotations

MANY_SIDED = {
    "Cargo.toml": """\
[workspace]
members = ["crates/*"]
resolver = "2"

[workspace.package]
version = "0.3.0"
edition = "2021"

[workspace.dependencies]
serde = { version = "1", default-features = false }
itoa = "1"
lib-a = { path = "crates/lib-a", default-features = false }

[profile.dev]
debug = 1

[profile.dev.package.itoa]
opt-level = 3

[profile.release]
lto = "thin"
panic = "abort"
build-override = { opt-level = 1 }

[profile.fat]
inherits = "release"
lto = true
""",
    "crates/app/Cargo.toml": """\
[package]
name = "app"
version.workspace = true
edition = { workspace = true }

[features]
extra = ["dep:memchr", "lib-a/json"]

[dependencies]
anyhow = "1"
lib-a = { workspace = true, features = ["json"] }
mac = { path = "../mac" }
memchr = { version = "2", optional = true, default-features = false }
itoa.workspace = true
old-itoa = { package = "itoa", version = "0.4", default-features = false }

[dev-dependencies]
serde = { workspace = true, features = ["rc"] }
memchr = { version = "2", features = ["logging"] }

[build-dependencies]
itoa.workspace = true
memchr = { version = "2", features = ["std"] }

[package.metadata.numbers]
pi = 3.25
day = 2020-02-29
text = "tab\\t quote\\" bell\\u0007"
""",
    "crates/app/build.rs": 'fn main() { println!("cargo:rustc-env=N={}", itoa::Buffer::new().format(7)); }\n',
    "crates/app/src/main.rs": """\
mac::make!();
fn main() {
    let text = itoa::Buffer::new().format(4).to_owned();
    println!("{} {} {} {} {}", lib_a::hello(), made(), env!("N"), env!("CARGO_PKG_VERSION"), text);
}
""",
    "crates/app/tests/t.rs": "#[test] fn t() { let _: std::rc::Rc<u8> = serde::Deserialize::deserialize; }\n",
    "crates/lib-a/Cargo.toml": """\
[package]
name = "lib-a"
version.workspace = true
edition.workspace = true

[features]
default = ["big"]
big = ["dep:regex-lite"]
json = ["dep:serde_json", "serde/alloc", "memchr?/alloc"]

[dependencies]
serde.workspace = true
serde_json = { version = "1", optional = true, default-features = false, features = ["alloc"] }
regex-lite = { version = "0.1", optional = true }
memchr = { version = "2", optional = true, default-features = false }

[target.'cfg(windows)'.dependencies]
windows-sys = "0.59"

[target.'cfg(not(windows))'.dependencies]
libc = { version = "0.2", default-features = false }
""",
    "crates/lib-a/src/lib.rs": """\
struct A;
impl serde::Serialize for A {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> { s.serialize_u8(1) }
}
pub fn hello() -> String { serde_json::to_string(&[A]).unwrap() }
""",
    "crates/mac/Cargo.toml": """\
[package]
name = "mac"
version.workspace = true
edition.workspace = true

[lib]
proc-macro = true

[dependencies]
quote = "1"
memchr = { version = "2", default-features = false }
""",
    "crates/mac/src/lib.rs": """\
#[proc_macro]
pub fn make(_: proc_macro::TokenStream) -> proc_macro::TokenStream {
    quote::quote! { fn made() -> u8 { 5 } }.into()
}
""",
    "crates/sibling/Cargo.toml": """\
[package]
name = "sibling"
version.workspace = true
edition.workspace = true

[dependencies]
serde = { workspace = true, features = ["rc"] }
serde_json = { version = "1", features = ["preserve_order"] }
""",
    "crates/sibling/src/lib.rs": "\n",
}
"""Features by selection, by a sibling that is not built, by dev dependencies, for host and target; renames, conditions."""

TINY = {
    "Cargo.toml": '[workspace]\nmembers = ["app", "lib"]\nresolver = "2"\n',
    "app/Cargo.toml": (
        '[package]\nname = "app"\nversion = "0.1.0"\nedition = "2021"\n\n'
        '[dependencies]\nitoa = "1"\nlib = { path = "../lib" }\n'
    ),
    "app/src/main.rs": (
        'fn main() { println!("{} {}", itoa::Buffer::new().format(lib::number()), env!("CARGO_PKG_VERSION")); }\n'
    ),
    "lib/Cargo.toml": '[package]\nname = "lib"\nversion = "0.1.0"\nedition = "2021"\n',
    "lib/src/lib.rs": "pub fn number() -> u32 { 1 }\n",
}
"""One binary, one library, one third-party crate."""

FOLDER_MACRO = {
    **TINY,
    "Cargo.toml": '[workspace]\nmembers = ["app", "lib", "mac"]\nresolver = "2"\n',
    "app/Cargo.toml": TINY["app/Cargo.toml"] + 'mac = { path = "../mac" }\n',
    "app/src/main.rs": 'mac::names!();\nfn main() { println!("{}", NAMES); let _ = (itoa::Buffer::new(), lib::number()); }\n',
    "app/assets/a.txt": "one",
    "mac/Cargo.toml": '[package]\nname = "mac"\nversion = "0.1.0"\nedition = "2021"\n\n[lib]\nproc-macro = true\n',
    "mac/src/lib.rs": """\
use proc_macro::TokenStream;
#[proc_macro]
pub fn names(_: TokenStream) -> TokenStream {
    let folder = std::path::Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("assets");
    let mut found: Vec<String> = std::fs::read_dir(folder).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        format!("{}={}", path.file_name().unwrap().to_string_lossy(), std::fs::read_to_string(&path).unwrap())
    }).collect();
    found.sort();
    format!("const NAMES: &str = {:?};", found.join(",")).parse().unwrap()
}
""",
}
"""A macro that embeds a folder and tells the compiler nothing of it."""

WATCHED_FOLDER = {
    **TINY,
    "app/build.rs": """\
fn main() {
    println!("cargo:rerun-if-changed=watched");
    println!("cargo:rustc-env=COUNT={}", std::fs::read_dir("watched").unwrap().count());
}
""",
    "app/src/main.rs": 'fn main() { println!("{}", env!("COUNT")); let _ = (itoa::Buffer::new(), lib::number()); }\n',
    "app/watched/a": "",
    "app/watched/b": "",
}
"""A build script that watches a folder."""

PATCHED = {
    **TINY,
    "Cargo.toml": (
        '[workspace]\nmembers = ["app", "lib"]\nexclude = ["vendor"]\nresolver = "2"\n\n'
        '[patch.crates-io]\nitoa = { path = "vendor/itoa" }\n'
    ),
    "app/Cargo.toml": TINY["app/Cargo.toml"]
    + 'serde_json = { version = "1", default-features = false, features = ["alloc"] }\n',
    "app/src/main.rs": """\
fn main() {
    println!("{} {}", serde_json::Value::from(7).to_string(), itoa::Buffer::new().format(lib::number() as i32));
}
""",
    "vendor/itoa/Cargo.toml": (
        '[package]\nname = "itoa"\nversion = "1.0.99"\nedition = "2021"\n\n[dev-dependencies]\nrand = "0.8"\n'
    ),
    "vendor/itoa/src/lib.rs": """\
pub struct Buffer(String);
pub trait Integer: std::fmt::Display {}
impl<T: std::fmt::Display> Integer for T {}
impl Buffer {
    pub fn new() -> Buffer { Buffer(String::new()) }
    pub fn format<I: Integer>(&mut self, i: I) -> &str { self.0 = format!("A{i}"); &self.0 }
}
""",
}
"""A third-party crate replaced by one in the project, which another third-party crate uses."""
