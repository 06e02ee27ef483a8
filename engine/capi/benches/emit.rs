//! The cost of an event through C to that through Rust: `tapeline_emit` of the shared library, loaded as a C program
//! does, and `Producer::emit`, by turns in one process.
//!
//! ```text
//! cargo bench -p tapeline-capi --bench emit
//! ```
//!
//! Each has a bus in memory of its own, and a lane that takes a burst whole. The compiler knows the payload's length in
//! neither, as in a program whose tokens differ. Bursts are published event by event; the median of all is the cost of
//! an event. Then both are called at 1 M/s, each call timed.

#![allow(unsafe_code)]

use std::error::Error;
use std::ffi::{CStr, CString, c_char, c_void};
use std::hint::black_box;
use std::time::{Duration, Instant};

use tapeline::event::session_id;
use tapeline::{EventBus, EventBusConfig, Producer, Session, kinds};
use tapeline_capi::boundary::{tapeline_bus, tapeline_producer, tapeline_session, tapeline_ticket};

type Outcome<T> = Result<T, Box<dyn Error>>;

const BURST: usize = 10_000;
const WARM_UP: usize = 50;
const ROUNDS: usize = 500;
/// Calls at 1 M/s that are timed, of each.
const PACED: usize = 1_000_000;
const PAYLOAD: [u8; 64] = [7; 64];
const LANE_BYTES: usize = 4 << 20;

/// Something that takes events.
trait Emitter {
    fn emit(&mut self) -> Outcome<()>;
    fn flush(&mut self) -> Outcome<()>;
}

struct Rust {
    bus: EventBus,
    producer: Producer,
    session: Session,
}

impl Rust {
    fn open() -> Outcome<Self> {
        let config = EventBusConfig::builder().lane_bytes(LANE_BYTES).build()?;
        let bus = block_on(EventBus::new(config))?;
        let producer = bus.producer()?;
        let session = producer.session("bench");
        Ok(Self { bus, producer, session })
    }
}

impl Emitter for Rust {
    #[inline(always)]
    fn emit(&mut self) -> Outcome<()> {
        black_box(self.producer.emit(self.session, kinds::TOKEN, black_box(&PAYLOAD[..]))?);
        Ok(())
    }

    fn flush(&mut self) -> Outcome<()> {
        Ok(block_on(self.bus.flush())?)
    }
}

type Open = unsafe extern "C" fn(*const c_char, *mut tapeline_bus) -> i32;
type ProducerOpen = unsafe extern "C" fn(tapeline_bus, *const c_void, *mut tapeline_producer) -> i32;
type Emit =
    unsafe extern "C" fn(tapeline_producer, tapeline_session, u16, *const u8, usize, *mut tapeline_ticket) -> i32;
type Flush = unsafe extern "C" fn(tapeline_bus, i64) -> i32;

/// The functions of the shared library.
struct C {
    emit: Emit,
    flush: Flush,
    bus: tapeline_bus,
    producer: tapeline_producer,
    session: tapeline_session,
}

impl C {
    fn open() -> Outcome<Self> {
        // Cargo puts it beside this program.
        let library = std::env::current_exe()?.with_file_name("libtapeline_capi.so");
        let path = CString::new(library.to_string_lossy().as_bytes())?;
        // SAFETY: the library's constructors are those of Rust's runtime; the path ends with a 0.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if handle.is_null() {
            return Err(format!("{} cannot be loaded", library.display()).into());
        }
        let [open, producer_open] = [symbol(handle, c"tapeline_open")?, symbol(handle, c"tapeline_producer_open")?];
        let [emit, flush] = [symbol(handle, c"tapeline_emit")?, symbol(handle, c"tapeline_flush")?];
        // SAFETY: the function has this type in the header.
        let open = unsafe { std::mem::transmute::<*mut c_void, Open>(open) };
        // SAFETY: as above.
        let producer_open = unsafe { std::mem::transmute::<*mut c_void, ProducerOpen>(producer_open) };
        // SAFETY: as above.
        let emit = unsafe { std::mem::transmute::<*mut c_void, Emit>(emit) };
        // SAFETY: as above.
        let flush = unsafe { std::mem::transmute::<*mut c_void, Flush>(flush) };
        let (mut bus, mut producer) = (tapeline_bus { number: 0 }, tapeline_producer { number: 0 });
        let json = CString::new(format!(r#"{{"lane_bytes": {LANE_BYTES}}}"#))?;
        // SAFETY: the text ends with a 0, and the bus is written.
        check(unsafe { open(json.as_ptr(), &mut bus) })?;
        // SAFETY: null stands for the defaults, and the producer is written.
        check(unsafe { producer_open(bus, std::ptr::null(), &mut producer) })?;
        Ok(Self { emit, flush, bus, producer, session: session_id("bench").into() })
    }
}

fn symbol(library: *mut c_void, name: &CStr) -> Outcome<*mut c_void> {
    // SAFETY: the library is open, and the name ends with a 0.
    let found = unsafe { libc::dlsym(library, name.as_ptr()) };
    if found.is_null() { Err(format!("the library has no {name:?}").into()) } else { Ok(found) }
}

fn check(code: i32) -> Outcome<()> {
    if code == 0 { Ok(()) } else { Err(format!("the library returned {code}").into()) }
}

impl Emitter for C {
    #[inline(always)]
    fn emit(&mut self) -> Outcome<()> {
        let mut ticket = tapeline_ticket { words: [0; 3] };
        // SAFETY: the payload and the ticket are there for the call.
        let code = unsafe { (self.emit)(self.producer, self.session, 1, PAYLOAD.as_ptr(), PAYLOAD.len(), &mut ticket) };
        black_box(ticket);
        check(code)
    }

    fn flush(&mut self) -> Outcome<()> {
        // SAFETY: takes numbers.
        check(unsafe { (self.flush)(self.bus, -1) })
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Thread(std::thread::Thread);
    impl std::task::Wake for Thread {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Thread(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(output) => return output,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}

/// Nanoseconds of an event of a burst.
fn burst(emitter: &mut impl Emitter) -> Outcome<f64> {
    let start = Instant::now();
    for _ in 0..BURST {
        emitter.emit()?;
    }
    let ns = start.elapsed().as_nanos() as f64 / BURST as f64;
    emitter.flush()?;
    Ok(ns)
}

/// Nanoseconds of calls at 1 M/s, in order of size.
fn paced(emitter: &mut impl Emitter) -> Outcome<Vec<u64>> {
    let mut calls = Vec::with_capacity(PACED);
    let mut due = Instant::now();
    for _ in 0..PACED {
        due += Duration::from_micros(1);
        while Instant::now() < due {}
        let start = Instant::now();
        emitter.emit()?;
        calls.push(start.elapsed().as_nanos() as u64);
        // After a pause of the whole thread the pace begins anew.
        due = due.max(start);
    }
    emitter.flush()?;
    calls.sort_unstable();
    Ok(calls)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> Outcome<()> {
    let (mut rust, mut c) = (Rust::open()?, C::open()?);
    let (mut of_rust, mut of_c) = (Vec::new(), Vec::new());
    for round in 0..WARM_UP + ROUNDS {
        let pair = (burst(&mut rust)?, burst(&mut c)?);
        if round >= WARM_UP {
            of_rust.push(pair.0);
            of_c.push(pair.1);
        }
    }
    let (rust_ns, c_ns) = (median(&mut of_rust), median(&mut of_c));
    println!("bursts of {BURST}, 64 bytes: Rust {rust_ns:.1} ns, C {c_ns:.1} ns, ratio {:.2}", c_ns / rust_ns);
    for (name, calls) in [("Rust", paced(&mut rust)?), ("C", paced(&mut c)?)] {
        let at = |part: f64| calls[(calls.len() as f64 * part) as usize];
        println!("1 M/s, {name}: p50 {} ns, p99 {} ns, p99.9 {} ns", at(0.5), at(0.99), at(0.999));
    }
    Ok(())
}
