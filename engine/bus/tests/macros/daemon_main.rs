struct NoDaemon;

fn main() {
    tapeline::daemon_main! {};
    tapeline::daemon_main! { NoDaemon };
    tapeline::daemon_main! { name: "guard", daemon: NoDaemon };
}
