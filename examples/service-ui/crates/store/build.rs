// The migrations are compiled in by a macro that reads the folder: cargo learns of it here.
fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
