//! Numbers that the environment asks a test for, and the seeds of randomised tests: the same ones each time, or those
//! that `TAPELINE_SEED` asks for. They are printed, so that a failure can be repeated, and so that `scripts/soak` finds
//! which tests have seeds.

/// The number in an environment variable, where it is set.
///
/// # Panics
/// If it is set to anything else.
pub fn asked(name: &str) -> Option<u64> {
    let text = std::env::var_os(name).filter(|text| !text.is_empty())?;
    let number = text.to_str().and_then(|text| text.parse().ok());
    Some(number.unwrap_or_else(|| panic!("{name} is {text:?}, which is no number")))
}

/// The seed of a test that has one: `TAPELINE_SEED`, else 1.
pub fn seed() -> u64 {
    let seed = asked("TAPELINE_SEED").unwrap_or(1);
    println!("TAPELINE_SEED={seed}");
    seed
}

/// The seeds of a test that has `count`: from `TAPELINE_SEED` on, else from 0 on.
pub fn seeds(count: u64) -> Seeds {
    let first = asked("TAPELINE_SEED").unwrap_or(0);
    println!("TAPELINE_SEED={first}");
    Seeds { next: first, left: count, current: None }
}

/// Seeds that follow each other. When the test fails at one of them, they say which.
#[derive(Debug)]
pub struct Seeds {
    next: u64,
    left: u64,
    current: Option<u64>,
}

impl Iterator for Seeds {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.left = self.left.checked_sub(1)?;
        self.current = Some(self.next);
        self.next = self.next.wrapping_add(1);
        self.current
    }
}

impl Drop for Seeds {
    fn drop(&mut self) {
        if let (true, Some(seed)) = (std::thread::panicking(), self.current) {
            println!("failed at TAPELINE_SEED={seed}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_follow_each_other_round_the_end_of_their_range() {
        let seeds = Seeds { next: u64::MAX, left: 2, current: None };
        assert_eq!(seeds.collect::<Vec<_>>(), [u64::MAX, 0]);
    }
}
