//! The promises of a log, on a simulated machine.

mod batching;
mod bounds;
mod crash;
mod damage;
mod dense;
mod ends;
mod faults;
mod fields;
mod follow;
mod harness;
mod hostile;
mod large;
mod lending;
mod merging;
mod pages;
mod repair;
mod runs;
mod sealing;
mod survey;
mod trimming;
mod watermarks;
mod windows;
