use super::*;

#[test]
fn model_has_the_moments_it_states() {
    const COUNT: u32 = 50_000;
    let mut model = Model::new(7);
    let requests: Vec<Request> = (0..COUNT).map(|_| model.next()).collect();
    let mean = |of: fn(&Request) -> f64| requests.iter().map(of).sum::<f64>() / f64::from(COUNT);
    let near = |found: f64, expected: f64| assert!((found / expected - 1.0).abs() < 0.05, "{found}, {expected}");
    near(requests[requests.len() - 1].arrival.as_secs_f64() / f64::from(COUNT), GAP_MEAN);
    near(mean(|request| f64::from(request.generated_tokens).ln()), GENERATED.mean);
    near(mean(|request| f64::from(request.context_tokens).ln()), CONTEXT.mean);
    assert!(requests.iter().all(|request| request.generated_tokens >= 1));
}

#[test]
fn the_same_seed_gives_the_same_requests() {
    let (mut one, mut other) = (Model::new(3), Model::new(3));
    assert!((0..100).all(|_| one.next() == other.next()));
}
