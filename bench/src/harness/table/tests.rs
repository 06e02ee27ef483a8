use super::*;

#[test]
fn quantities_are_shown_in_the_unit_of_their_name() {
    let shown = |name, number: f64| quantity(name, &Value::from(number));
    assert_eq!(shown("device_bytes_per_second", 1.5e9), "1.50 GB/s");
    assert_eq!(shown("events_per_second", 21.3e6), "21.30 M/s");
    assert_eq!(shown("p99_ns", 1234.0), "1.23 us");
    assert_eq!(shown("seconds", 0.25), "250.00 ms");
    assert_eq!(shown("to_device", 0.9), "0.9");
}

#[test]
fn lists_are_a_line_for_each_item() {
    let (one, other) = ("first of two that are too long for the heading", "second");
    let report = Report::new("workload").param("real", Vec::<String>::new()).param("modelled", vec![one, other]);
    let mut out = Vec::new();
    write(&mut out, &report).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with("workload  real=nothing\n"), "{text}");
    assert!(text.contains(&format!("\n  modelled: {one}\n  modelled: {other}\n")), "{text}");
}
