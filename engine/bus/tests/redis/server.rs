//! A redis-server of its own for each test.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tapeline_testing::Scratch;

/// A server on a free port of the loopback device, with its files in a directory of its own.
pub(crate) struct Server {
    scratch: Scratch,
    port: u16,
    arguments: Vec<String>,
    process: Option<Child>,
}

/// Returns whether redis-server is here. In CI it has to be.
pub(crate) fn is_here() -> bool {
    let is_here = Command::new("redis-server").arg("--version").output().is_ok_and(|output| output.status.success());
    let is_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(is_here || !is_ci, "redis-server is missing: apt-get install redis-server");
    if !is_here {
        println!("NOT tested: redis-server is missing (apt-get install redis-server)");
    }
    is_here
}

impl Server {
    /// One that runs, with these arguments beside those of a server that outlives kill -9.
    pub(crate) fn start(name: &str, arguments: &[&str]) -> Self {
        let mut server = Self::stopped(name, arguments);
        server.run();
        server
    }

    /// One that does not run yet.
    pub(crate) fn stopped(name: &str, arguments: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self { scratch: Scratch::new(name), port, arguments, process: None }
    }

    pub(crate) fn run(&mut self) {
        let mut command = Command::new("redis-server");
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]);
        command.args(["--appendfsync", "always", "--dir"]).arg(self.scratch.path()).args(&self.arguments);
        self.process = Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts"));
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(30), "redis-server does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills it, as SIGKILL does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("kills");
            process.wait().expect("ends");
        }
    }

    /// Sends it a signal by name.
    pub(crate) fn signal(&self, signal: &str) {
        let id = self.process.as_ref().expect("runs").id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().expect("kill").success());
    }

    /// Runs redis-cli.
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        let output = command.args(["-p", &self.port.to_string()]).args(arguments).output().expect("redis-cli");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Adds arguments for the next run.
    pub(crate) fn arguments(&mut self, arguments: &[String]) {
        self.arguments.extend_from_slice(arguments);
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn path(&self) -> &Path {
        self.scratch.path()
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Makes a certificate of an authority of its own for `localhost`. Returns the authority's.
    pub(crate) fn certify(&self, name: &str) -> PathBuf {
        let file = |suffix: &str| self.path().join(format!("{name}.{suffix}")).to_string_lossy().into_owned();
        let openssl = |arguments: &[&str]| {
            let output = Command::new("openssl").args(arguments).output().expect("openssl");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        };
        let (ca, ca_key, request, key, certificate) =
            (file("ca.pem"), file("ca.key"), file("csr"), file("key"), file("pem"));
        openssl(&[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=authority",
            "-keyout",
            &ca_key,
            "-out",
            &ca,
        ]);
        openssl(&["req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout", &key, "-out", &request]);
        let extensions = file("ext");
        std::fs::write(&extensions, "subjectAltName=DNS:localhost\n").expect("writes");
        openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            &ca,
            "-CAkey",
            &ca_key,
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            &extensions,
            "-out",
            &certificate,
        ]);
        ca.into()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that is stopped takes no SIGTERM.
        self.kill();
    }
}
