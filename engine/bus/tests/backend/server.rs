//! A server of its own for each test.

use std::marker::PhantomData;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tapeline::adapter::{Adapter, AdapterConfig};
use tapeline_testing::Scratch;

/// A backend: a program that serves on a port, and the adapter for it.
pub(crate) trait Backend: Sized {
    /// The program, and the package of Debian that has it.
    const PROGRAM: &'static str;

    /// The command that runs a server which outlives kill -9, but for the arguments of the test.
    fn command(server: &Server<Self>) -> Command;

    /// The settings of an adapter that gives up soon.
    fn config(port: u16) -> AdapterConfig;

    /// The adapter of these settings.
    fn adapter(port: u16) -> Box<dyn Adapter>;
}

/// A server on a free port of the loopback device, with its files in a directory of its own.
pub(crate) struct Server<B> {
    scratch: Scratch,
    port: u16,
    arguments: Vec<String>,
    process: Option<Child>,
    backend: PhantomData<B>,
}

/// Returns whether a program of servers is here. In CI it has to be.
pub(crate) fn is_here<B: Backend>() -> bool {
    let program = B::PROGRAM;
    let is_here = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    let is_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(is_here || !is_ci, "{program} is missing: apt-get install {program}");
    if !is_here {
        println!("NOT tested: {program} is missing (apt-get install {program})");
    }
    is_here
}

impl<B> Server<B> {
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn path(&self) -> &Path {
        self.scratch.path()
    }

    /// Kills it, as SIGKILL does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("kills");
            process.wait().expect("ends");
        }
    }
}

impl<B: Backend> Server<B> {
    /// One that runs, with these arguments beside those of the backend.
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
        let scratch = Scratch::new(&format!("{}-{name}", B::PROGRAM));
        Self { scratch, port, arguments, process: None, backend: PhantomData }
    }

    pub(crate) fn run(&mut self) {
        let mut command = B::command(self);
        command.args(&self.arguments).stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(command.spawn().expect("starts"));
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(30), "{} does not listen", B::PROGRAM);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn config(&self) -> AdapterConfig {
        B::config(self.port)
    }

    pub(crate) fn adapter(&self) -> Box<dyn Adapter> {
        B::adapter(self.port)
    }

    /// Sends it a signal by name.
    pub(crate) fn signal(&self, signal: &str) {
        let id = self.process.as_ref().expect("runs").id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().expect("kill").success());
    }

    /// Adds arguments for the next run.
    pub(crate) fn arguments(&mut self, arguments: &[String]) {
        self.arguments.extend_from_slice(arguments);
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

impl<B> Drop for Server<B> {
    fn drop(&mut self) {
        // One that is stopped takes no SIGTERM.
        self.kill();
    }
}
