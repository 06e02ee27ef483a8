//! Support that the unit tests share.

/// The seed of a randomised test: `TAPELINE_SEED`, or the same one each time. Prints it, so that a failure can be
/// repeated.
pub(crate) fn seed() -> u64 {
    let seed = std::env::var("TAPELINE_SEED").map_or(1, |seed| seed.parse().expect("TAPELINE_SEED is a number"));
    println!("TAPELINE_SEED={seed}");
    seed
}
