//! What a log promises, on a simulated machine.

mod crash;
mod damage;
mod faults;
mod harness;
