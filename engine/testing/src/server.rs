//! A server of its own for each test: redis-server, or nats-server with JetStream.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Scratch;

/// A program that serves on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// redis-server, without snapshots.
    Redis,
    /// nats-server with JetStream.
    Nats,
}

impl Program {
    /// Its name, and that of the package of Debian that has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis-server",
            Self::Nats => "nats-server",
        }
    }

    /// Returns whether it is here. In CI it has to be.
    pub fn is_here(self) -> bool {
        let program = self.name();
        let is_here = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
        let is_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
        assert!(is_here || !is_ci, "{program} is missing: apt-get install {program}");
        if !is_here {
            println!("NOT tested: {program} is missing (apt-get install {program})");
        }
        is_here
    }

    fn command(self, port: u16, directory: &Path) -> Command {
        let mut command = Command::new(self.name());
        let port = port.to_string();
        match self {
            Self::Redis => command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--dir"]),
            Self::Nats => command.args(["-a", "127.0.0.1", "-p", &port, "-js", "-sd"]),
        };
        command.arg(directory);
        command
    }
}

/// A server on a free port of the loopback device, with its files in a directory of its own.
#[derive(Debug)]
pub struct Server {
    program: Program,
    scratch: Scratch,
    port: u16,
    arguments: Vec<String>,
    process: Option<Child>,
}

impl Server {
    /// One that runs, with these arguments beside those of its program.
    pub fn start(program: Program, name: &str, arguments: &[&str]) -> Self {
        let mut server = Self::stopped(program, name, arguments);
        server.run();
        server
    }

    /// One that does not run yet.
    pub fn stopped(program: Program, name: &str, arguments: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let scratch = Scratch::new(&format!("{}-{name}", program.name()));
        Self { program, scratch, port, arguments, process: None }
    }

    /// Adds arguments for the next run.
    pub fn arguments(&mut self, arguments: &[String]) {
        self.arguments.extend_from_slice(arguments);
    }

    /// Starts it, and waits until it listens.
    pub fn run(&mut self) {
        let mut command = self.program.command(self.port, self.scratch.path());
        command.args(&self.arguments).stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(command.spawn().expect("starts"));
        let begun = Instant::now();
        while !listens(self.port) {
            assert!(begun.elapsed() < Duration::from_secs(30), "{} does not listen", self.program.name());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills it, as SIGKILL does.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("kills");
            process.wait().expect("ends");
        }
    }

    /// Sends it a signal by name.
    pub fn signal(&self, signal: &str) {
        let id = self.process.as_ref().expect("runs").id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().expect("kill").success());
    }

    /// Runs redis-cli.
    pub fn cli(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        let output = command.args(["-p", &self.port.to_string()]).args(arguments).output().expect("redis-cli");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory of its files.
    pub fn path(&self) -> &Path {
        self.scratch.path()
    }

    /// Its URL, without credentials.
    pub fn url(&self) -> String {
        let scheme = match self.program {
            Program::Redis => "redis",
            Program::Nats => "nats",
        };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// Makes a certificate of an authority of its own for `localhost`. Returns the authority's.
    pub fn certify(&self, name: &str) -> PathBuf {
        let file = |suffix: &str| self.path().join(format!("{name}.{suffix}")).to_string_lossy().into_owned();
        let openssl = |arguments: &str, files: &[&str]| {
            let mut command = Command::new("openssl");
            let output = command.args(arguments.split(' ')).args(files).output().expect("openssl");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        };
        let (ca, ca_key, request, key, certificate) =
            (file("ca.pem"), file("ca.key"), file("csr"), file("key"), file("pem"));
        let authority = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority";
        openssl(authority, &["-keyout", &ca_key, "-out", &ca]);
        let server = "req -newkey rsa:2048 -nodes -subj /CN=localhost";
        openssl(server, &["-keyout", &key, "-out", &request]);
        let extensions = file("ext");
        std::fs::write(&extensions, "subjectAltName=DNS:localhost\n").expect("writes");
        let signed = ["-in", &request, "-CA", &ca, "-CAkey", &ca_key, "-extfile", &extensions, "-out", &certificate];
        openssl("x509 -req -CAcreateserial -days 2", &signed);
        ca.into()
    }
}

/// Returns whether a process listens on a port. A trial connection to a free port may be one to itself, and take it.
fn listens(port: u16) -> bool {
    let sockets = std::fs::read_to_string("/proc/net/tcp").expect("reads");
    let address = format!(":{port:04X}");
    sockets.lines().any(|socket| {
        let mut fields = socket.split_whitespace().skip(1);
        fields.next().is_some_and(|local| local.ends_with(&address)) && fields.nth(1) == Some("0A")
    })
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that is stopped takes no SIGTERM.
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
