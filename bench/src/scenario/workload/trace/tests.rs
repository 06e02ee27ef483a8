use super::*;

const TEXT: &str = "TIMESTAMP,ContextTokens,GeneratedTokens\n\
                    2023-11-16 18:15:46.5,374,44\n2023-11-16 18:15:47.0,396,0\n";

#[test]
fn arrivals_count_from_the_first_and_go_on_when_the_trace_repeats() {
    let Ok(requests) = parse(TEXT) else { panic!("not read") };
    let mut trace = Trace { name: String::new(), requests, span: Duration::from_millis(750), given: 0 };
    let arrivals: Vec<u128> = (0..4).map(|_| trace.next().arrival.as_millis()).collect();
    assert_eq!(arrivals, [0, 500, 750, 1250]);
    assert_eq!(trace.requests[1].generated_tokens, 1);
}

#[test]
fn dates_become_seconds() {
    assert_eq!(seconds_of("1970-01-01 00:00:00"), Some(0.0));
    assert_eq!(seconds_of("2024-02-29 12:00:00.25"), Some(1_709_208_000.25));
    assert_eq!(seconds_of("2024-13-01 00:00:00"), None);
    assert_eq!(seconds_of("yesterday"), None);
}

#[test]
fn a_line_that_cannot_be_read_is_named() {
    let Err(error) = parse(&format!("{TEXT}2023-11-16 18:15:48,x,1\n")) else { panic!("read") };
    assert_eq!(error.to_string(), "line 4: cannot read \"x\"");
    let Err(error) = parse("TIMESTAMP,ContextTokens\n") else { panic!("read") };
    assert!(error.to_string().contains("GeneratedTokens"));
}
