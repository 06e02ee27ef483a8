use super::*;

const COUNT: u32 = 50_000;

/// Mean and variance of many draws.
fn moments(mut draw: impl FnMut() -> f64) -> (f64, f64) {
    let drawn: Vec<f64> = (0..COUNT).map(|_| draw()).collect();
    let mean = drawn.iter().sum::<f64>() / f64::from(COUNT);
    (mean, drawn.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / f64::from(COUNT))
}

#[test]
fn distributions_have_their_moments() {
    let seed = 7;
    let mut random = Random::new(seed);
    let near = |found: (f64, f64), expected: (f64, f64)| {
        let off = (found.0 - expected.0).abs().max((found.1 - expected.1).abs());
        assert!(off < 0.05 * expected.1.max(0.2), "seed {seed}: {found:?} for {expected:?}");
    };
    near(moments(|| random.uniform()), (0.5, 1.0 / 12.0));
    near(moments(|| random.normal()), (0.0, 1.0));
    near(moments(|| random.exponential()), (1.0, 1.0));
    near(moments(|| random.gamma(0.3)), (1.0, 1.0 / 0.3));
    near(moments(|| random.gamma(16.0)), (1.0, 1.0 / 16.0));
    near(moments(|| random.below(10) as f64), (4.5, 8.25));
}

#[test]
fn below_is_below() {
    let mut random = Random::new(1);
    assert!((0..1000).all(|_| random.below(1) == 0));
    assert!((0..1000).all(|_| random.below(3) < 3));
}
