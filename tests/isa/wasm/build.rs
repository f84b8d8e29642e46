//! Lets the function table grow, so that generated code can be put into it.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "wasm32") {
        println!("cargo::rustc-link-arg-cdylib=--growable-table");
        println!("cargo::rustc-link-arg-cdylib=--export-table");
    }
}
