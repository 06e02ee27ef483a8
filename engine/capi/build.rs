//! Names the shared library as it is installed: scripts/install-c.

fn main() {
    // Raised with TAPELINE_ABI_VERSION: programs that were linked with another one do not start.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libtapeline.so.1");
    println!("cargo:rerun-if-changed=build.rs");
}
