use super::*;
use crate::scenario::workload::testing::Written;

const AZURE: &str = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.5,374,44\n";
const AGENTS: &str = r#"{"id":"a","requests":[{"t":0,"model":"m","in":9000,"out":1,"ttft":0.5},
"#;

fn agents() -> String {
    AGENTS.replace(",\n", "]}\n")
}

fn opened(text: &str) -> Outcome<Source> {
    // The name says nothing of what is in it.
    let written = Written::new("trace.txt", text);
    Source::open(Some(written.path()), 1)
}

#[test]
fn what_a_file_is_shows_in_what_it_holds() {
    assert!(matches!(opened(AZURE).unwrap(), Source::Azure(_)));
    assert!(matches!(opened(&agents()).unwrap(), Source::Agents(_)));
    assert!(matches!(opened(&format!("\u{feff}\n{}", agents())).unwrap(), Source::Agents(_)));
    assert!(matches!(Source::open(None, 1).unwrap(), Source::Model(_)));
}

#[test]
fn what_is_no_trace_is_refused_by_name_and_line() {
    for text in ["", "hello\n", "[1]\n"] {
        let error = opened(text).unwrap_err().to_string();
        assert!(error.contains("trace.txt:1: neither an agent session"), "{error}");
    }
    assert!(opened("\n\nhello").unwrap_err().to_string().contains("trace.txt:3: "));
    assert!(opened(&format!("{}{}", agents(), AZURE)).unwrap_err().to_string().contains("trace.txt:2: "));
    assert!(Source::open(Some(Path::new("/nowhere/t")), 1).unwrap_err().to_string().starts_with("/nowhere/t: "));
}

#[test]
fn token_times_are_a_model_whatever_the_source() {
    for source in [opened(AZURE).unwrap(), opened(&agents()).unwrap(), Source::open(None, 1).unwrap()] {
        let has_line = |lines: &[String], what: &str| lines.iter().any(|line| line.contains(what));
        assert!(has_line(&source.modelled(), "times between tokens"), "{:?}", source.modelled());
        assert!(has_line(&source.modelled(), "payload"), "{:?}", source.modelled());
        let (real, modelled) = (source.real(), source.modelled());
        assert!(real.iter().all(|line| !modelled.contains(line)));
        assert_eq!(real.is_empty(), matches!(source, Source::Model(_)));
    }
}

#[test]
fn times_to_first_token_are_counted_as_real_or_modelled() {
    let unknown = r#"{"id":"b","requests":[{"t":0,"model":"m","in":1,"out":1},{"t":5,"model":"m","in":1,"out":1}]}"#;
    let source = opened(&format!("{}{unknown}", agents())).unwrap();
    assert!(source.real().contains(&"time to first token of 1 of 3 requests".to_owned()), "{:?}", source.real());
    let drawn = "time to first token of 2 of 3 requests: drawn from those of the 1 others".to_owned();
    assert!(source.modelled().contains(&drawn), "{:?}", source.modelled());
    assert!(source.name().contains("2 agent sessions, 3 requests, 3 tokens"), "{}", source.name());
}
