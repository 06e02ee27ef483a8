use super::*;
use crate::scenario::workload::testing::{Written, real_trace};

const TEXT: &str = "TIMESTAMP,ContextTokens,GeneratedTokens\n\
                    2023-11-16 18:15:46.5,374,44\n2023-11-16 18:15:47.0,396,0\n";

fn opened(text: &str) -> (Written, Outcome<AzureTrace>) {
    let written = Written::new("azure.csv", text);
    let trace = AzureTrace::open(written.lines());
    (written, trace)
}

#[test]
fn arrivals_count_from_the_first_and_go_on_when_the_trace_repeats() {
    let (_written, trace) = opened(TEXT);
    let mut trace = trace.unwrap();
    let plans: Vec<Plan> = (0..4).map(|_| trace.next().unwrap()).collect();
    let arrivals: Vec<u128> = plans.iter().map(|plan| plan.arrival.as_millis()).collect();
    assert_eq!(arrivals, [0, 500, 750, 1250]);
    let tokens: Vec<u32> = plans.iter().map(|plan| plan.requests[0].generated_tokens).collect();
    assert_eq!(tokens, [44, 0, 44, 0]);
    assert_eq!((&*plans[3].name, &*plans[3].model, trace.requests()), ("request-0000004", "azure", 2));
}

#[test]
fn columns_are_found_by_name_and_times_never_go_back() {
    let (_written, trace) = opened(
        "GeneratedTokens, TIMESTAMP,other,ContextTokens\r\n\
         7,2024-01-01 00:00:02,x,600\r\n8,2024-01-01 00:00:04,x,1\r\n8,2024-01-01 00:00:03,x,1\r\n\r\n",
    );
    let mut trace = trace.unwrap();
    let plans: Vec<Plan> = (0..3).map(|_| trace.next().unwrap()).collect();
    let arrivals: Vec<u64> = plans.iter().map(|plan| plan.arrival.as_secs()).collect();
    assert_eq!(arrivals, [0, 2, 2]);
    let request = &plans[0].requests[0];
    assert_eq!((request.generated_tokens, request.context_tokens), (7, 600));
    assert_eq!(request.first_token, prefill(600));
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
    for (line, what) in [
        ("2023-11-16 18:15:48,x,1", "no number of tokens: \"x\""),
        ("2023-11-16 18:15:48,1,-1", "no number of tokens: \"-1\""),
        ("2023-11-16 18:15:48,1", "no number of tokens: \"\""),
        ("now,1,1", "no time: \"now\""),
        ("2033-11-16 18:15:48,1,1", "more than a hundred days from the first"),
    ] {
        let (_written, trace) = opened(&format!("{TEXT}{line}\n"));
        let error = trace.unwrap_err().to_string();
        assert!(error.ends_with(&format!("azure.csv:4: {what}")), "{error}");
    }
    let (_written, trace) = opened("TIMESTAMP,ContextTokens\n");
    assert!(trace.unwrap_err().to_string().contains("azure.csv:1: no column GeneratedTokens"));
    let (_written, trace) = opened("TIMESTAMP,ContextTokens,GeneratedTokens\n");
    assert!(trace.unwrap_err().to_string().ends_with("no requests"));
}

#[test]
fn the_published_traces_are_read() {
    for (name, requests) in [("azure_llm_conv_2023.csv", 19_366), ("azure_llm_code_2023.csv", 8_819)] {
        let Some(path) = real_trace(name) else { continue };
        let trace = AzureTrace::open(Lines::open(&path).unwrap()).unwrap();
        assert_eq!(trace.requests(), requests, "{name}");
    }
}
