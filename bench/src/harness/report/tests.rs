use super::*;

#[test]
fn result_is_one_line_of_json_with_all_six_parts() {
    let report = Report::new("ingest")
        .param("payload", 64)
        .param("note", "a \"quoted\"\nword")
        .figure("events_per_second", 12_345_678.9)
        .limit("device_bytes_per_second", 0.5)
        .ratio("to_device", 0.87654);
    let mut machine = Fields::default();
    machine.set("cores", 2);
    let line = Output::new(true, machine, None).json_line(&report);
    let Ok(value) = serde_json::from_str::<Value>(&line) else { panic!("not JSON: {line}") };
    assert_eq!(line.matches('\n').count(), 1);
    for part in ["scenario", "params", "machine", "figures", "limits", "ratios"] {
        assert!(value.get(part).is_some(), "{part} is missing");
    }
    assert_eq!(value["figures"]["events_per_second"], 12_345_679);
    assert_eq!(value["ratios"]["to_device"], 0.8765);
    assert_eq!(rounded(0.000_612_34), Value::from(0.000_612_3));
    assert_eq!(rounded(42.0), Value::from(42));
}
