use super::*;

#[test]
fn model_has_the_moments_it_states() {
    const COUNT: u32 = 50_000;
    let mut model = Model::new(7);
    let plans: Vec<Plan> = (0..COUNT).map(|_| model.next()).collect();
    let mean = |of: fn(&Plan) -> u32| plans.iter().map(|plan| f64::from(of(plan)).ln()).sum::<f64>() / f64::from(COUNT);
    let near = |found: f64, expected: f64| assert!((found / expected - 1.0).abs() < 0.05, "{found}, {expected}");
    near(plans[plans.len() - 1].arrival.as_secs_f64() / f64::from(COUNT), GAP_MEAN);
    near(mean(|plan| plan.requests[0].generated_tokens), GENERATED.mean);
    near(mean(|plan| plan.requests[0].context_tokens), CONTEXT.mean);
    assert!(plans.iter().all(|plan| plan.requests[0].generated_tokens >= 1));
    assert!(plans.is_sorted_by_key(|plan| plan.arrival));
}

#[test]
fn the_same_seed_gives_the_same_requests() {
    let (mut one, mut same, mut other) = (Model::new(3), Model::new(3), Model::new(4));
    let plans = |model: &mut Model| -> Vec<Plan> { (0..100).map(|_| model.next()).collect() };
    let expected = plans(&mut one);
    assert_eq!(plans(&mut same), expected);
    assert_ne!(plans(&mut other), expected);
}
