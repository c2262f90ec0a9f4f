// The page is compiled in by a macro that reads the folder: cargo learns of it here, and a missing page is said plainly.
fn main() {
    let page = std::path::Path::new("../../ui/dist");
    println!("cargo:rerun-if-changed={}", page.display());
    if !page.join("index.html").is_file() {
        println!("cargo::error=ui/dist is not built yet: run `bun install && bun run build` in ui/");
    }
}
