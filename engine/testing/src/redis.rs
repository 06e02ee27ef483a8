//! A redis-server of its own for each test.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Scratch;

/// A server on a free port of the loopback device, with its files in a directory of its own.
#[derive(Debug)]
pub struct Server {
    scratch: Scratch,
    port: u16,
    arguments: Vec<String>,
    process: Option<Child>,
}

/// Returns whether redis-server is here. In CI it has to be.
pub fn is_here() -> bool {
    let is_here = Command::new("redis-server").arg("--version").output().is_ok_and(|output| output.status.success());
    let is_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(is_here || !is_ci, "redis-server is missing: apt-get install redis-server");
    if !is_here {
        println!("NOT tested: redis-server is missing (apt-get install redis-server)");
    }
    is_here
}

impl Server {
    /// One that runs and keeps everything in memory, with these arguments.
    pub fn start(name: &str, arguments: &[&str]) -> Self {
        let mut server = Self::stopped(name, arguments);
        server.run();
        server
    }

    /// One that does not run yet.
    pub fn stopped(name: &str, arguments: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self { scratch: Scratch::new(name), port, arguments, process: None }
    }

    /// Starts it, and waits until it listens.
    pub fn run(&mut self) {
        let mut command = Command::new("redis-server");
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        command.arg("--dir").arg(self.scratch.path()).args(&self.arguments);
        self.process = Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts"));
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(30), "redis-server does not listen");
            std::thread::sleep(Duration::from_millis(5));
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

    /// Its URL, without credentials.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
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
