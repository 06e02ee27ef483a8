use serde_json::{Value, json};

use super::*;
use crate::harness::scratch::Scratch;
use crate::harness::table::quantity;

/// Text that would be more than text, if it could. The short one is part of labels.
const HOSTILE: &str = "<script>alert(\"1\")</script> & 'more'";
const HOSTILE_AND_SHORT: &str = "<script>\"'&";

/// Results of each form, and one that would break the page if it could.
fn measured() -> Vec<Value> {
    let machine = json!({ "cpu": HOSTILE, "cores": 2, "memory_bytes": 25_000_000_000u64 });
    let result = |scenario: &str, params: Value, figures: Value, ratios: Value| {
        json!({
            "scenario": scenario, "params": params, "machine": machine, "figures": figures,
            "limits": { "device_bytes_per_second": 2_000_000_000 }, "ratios": ratios,
        })
    };
    let rate = |rate: u64| json!({ "events_per_second": rate, "seconds": 0.25 });
    let percentiles =
        |p50: f64| json!({ "p50_ns": p50, "p99_ns": 2.0 * p50, "p999_ns": 5.5 * p50, "max_ns": 1234.0 * p50 });
    let both = json!({
        "events_per_second": 5_000_000, "p50_ns": 10, "p99_ns": 20, "p999_ns": 30, "max_ns": 40,
        "late_p50_ns": 110, "late_p99_ns": 120, "late_p999_ns": 130, "late_max_ns": 140,
    });
    vec![
        result("zebra", json!({ "case": HOSTILE_AND_SHORT, "note": HOSTILE }), rate(1), json!({ "<script>": 0.5 })),
        result("zebra", json!({ "case": "b", "note": HOSTILE.repeat(2) }), rate(1), json!({})),
        result("zebra", json!({ "case": format!("2{HOSTILE_AND_SHORT}") }), percentiles(3.0), json!({})),
        result("burst", json!({ "list": [HOSTILE] }), json!({ "<script>_ns": 5 }), json!({})),
        result("ingest", json!({ "publish": "each", "payload": 64 }), rate(18_650_000), json!({ "to_device": 0.87 })),
        result("ingest", json!({ "publish": "batch", "payload": 64 }), rate(9_325_000), json!({})),
        result("latency", json!({ "rate": 100_000, "seed": 1 }), percentiles(17.0), json!({})),
        result("latency", json!({ "rate": 5_000_000, "seed": 1 }), both, json!({})),
        result(
            "workload",
            json!({ "modelled": ["one thing", "another"] }),
            json!({ "sessions": 1_234_567 }),
            json!({}),
        ),
    ]
}

fn directory_of(results: &[Value]) -> Scratch {
    let scratch = Scratch::below(None).unwrap();
    for (at, result) in results.iter().enumerate() {
        fs::write(scratch.path().join(format!("{at}.json")), format!("{result}\n")).unwrap();
    }
    fs::write(scratch.path().join("notes.txt"), "no result").unwrap();
    scratch
}

fn page_of(results: &[Value]) -> String {
    let scratch = directory_of(results);
    let targets = Targets::of("|figure|target|\n|---|---|\n| a `call` | < 5 ns |\n");
    page(&Results::read(scratch.path()).unwrap(), &scenarios(), targets.as_ref())
}

/// The part of the page about one scenario.
fn section<'a>(page: &'a str, name: &str) -> &'a str {
    let from = page.find(&format!("<section id=\"{name}\">")).unwrap();
    page[from..].split("</section>").next().unwrap()
}

#[test]
fn every_number_of_every_result_appears_in_its_section() {
    let results = measured();
    let page = page_of(&results);
    for result in &results {
        let section = section(&page, result["scenario"].as_str().unwrap());
        for part in ["figures", "limits", "ratios"] {
            for (name, value) in result[part].as_object().unwrap() {
                let (text, bare) = (quantity(name, value), value.to_string());
                let text = if text == bare { html::shown(value) } else { text };
                assert!(section.contains(&format!("<td>{text}</td>")), "{name} {text} in {section}");
            }
        }
    }
    assert!(section(&page, "ingest").contains("<dt>payload</dt><dd>64</dd>"));
    assert!(section(&page, "workload").contains("<li>one thing</li><li>another</li>"));
    assert!(section(&page, "workload").contains("<td>1,234,567</td>"));
    assert!(page.contains("<dt>memory</dt><dd>25.00 GB</dd>"));
}

#[test]
fn scenarios_stand_in_the_order_of_the_help_and_unknown_ones_at_the_end() {
    let page = page_of(&measured());
    let places =
        ["ingest", "burst", "latency", "workload", "zebra", "targets"].map(|name| page.find(&format!("id=\"{name}\"")));
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}");
    assert!(section(&page, "ingest").contains("Sustained ingest"));
}

#[test]
fn text_is_escaped() {
    let page = page_of(&measured());
    assert!(!page.contains("<script"), "{page}");
    assert!(page.contains("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; &#39;more&#39;"));
    assert!(page.contains("<td>&lt; 5 ns</td>") && page.contains("<td>a call</td>"));
    assert_eq!(html::escaped("plain"), "plain");
}

#[test]
fn the_page_refers_to_nothing_outside() {
    let page = page_of(&measured());
    for outside in ["http:", "https:", "//", "src=", "@import", "url(", "<link", "<script"] {
        assert!(!page.contains(outside), "{outside}");
    }
    let links = page.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    assert!(links.clone().count() > 4);
    for link in links {
        let id = link.strip_prefix('#').unwrap();
        assert!(page.contains(&format!("id=\"{id}\"")), "{link} leads nowhere");
    }
}

#[test]
fn elements_are_closed_in_the_order_in_which_they_are_opened() {
    let page = page_of(&measured());
    let mut open: Vec<&str> = Vec::new();
    for piece in page.split('<').skip(1) {
        let tag = piece.split('>').next().unwrap();
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
        match name {
            "!doctype" | "meta" => {}
            _ if tag.starts_with('/') => assert_eq!(open.pop(), Some(name)),
            _ if tag.ends_with('/') => {}
            _ => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn bars_are_as_long_as_the_rates_are_high() {
    let page = page_of(&measured());
    let ingest = section(&page, "ingest");
    assert!(ingest.contains("<th scope=\"row\">each</th><td class=\"bar\"><i style=\"width:100.00%\">"), "{ingest}");
    assert!(ingest.contains("<th scope=\"row\">batch</th><td class=\"bar\"><i style=\"width:50.00%\">"), "{ingest}");
    assert!(ingest.contains("0.87 to device"));
    assert!(!section(&page, "latency").contains("class=\"bar\""));
}

#[test]
fn each_distribution_is_a_line_of_percentiles() {
    let page = page_of(&measured());
    let latency = section(&page, "latency");
    for (label, median) in
        [("rate 100,000", "17.0 ns"), ("rate 5,000,000", "10.0 ns"), ("rate 5,000,000, late", "110.0 ns")]
    {
        assert!(latency.contains(&format!("<th scope=\"row\">{label}</th><td>{median}</td>")), "{label} in {latency}");
    }
    assert_eq!(latency.matches("<circle").count(), 3 * 4);
}

#[test]
fn labels_say_no_more_than_they_have_to() {
    // As text: the fields of a JSON value would be sorted.
    let result = |params: &str| -> Measured {
        let rest = r#""machine":{},"figures":{},"limits":{},"ratios":{}"#;
        serde_json::from_str(&format!(r#"{{"scenario":"s","params":{params},{rest}}}"#)).unwrap()
    };
    let rows = [
        result(r#"{"case":"a","rounds":3,"rate":1000,"overhead":9.1}"#),
        result(r#"{"case":"a","rounds":3,"rate":20000,"overhead":9.2}"#),
        result(r#"{"case":"b","rounds":3,"overhead":9.3}"#),
    ];
    let rows: Vec<&Measured> = rows.iter().collect();
    let parameters = parameters::Parameters::of(&rows);
    let labels: Vec<String> = rows.iter().map(|row| parameters.label(row)).collect();
    assert_eq!(parameters.distinct(), ["case", "rate", "overhead"]);
    assert_eq!(labels, ["a, rate 1000", "a, rate 20,000", "b"]);
    assert_eq!(parameters::Parameters::of(&rows[..1]).label(rows[0]), "s");
}

#[test]
fn what_is_no_result_is_named() {
    let scratch = directory_of(&measured()[..1]);
    let error = |name: &str, text: &str| {
        let path = scratch.path().join(name);
        fs::write(&path, text).unwrap();
        let error = Results::read(scratch.path()).unwrap_err().to_string();
        fs::remove_file(path).unwrap();
        error
    };
    assert!(error("x.json", "\n{}\n").contains("x.json:2: no result: missing field"));
    assert!(error("x.json", "hello").contains("x.json:1: no result"));
    let empty = Scratch::below(None).unwrap();
    assert!(Results::read(empty.path()).unwrap_err().to_string().ends_with(": no results"));
    assert!(Results::read(&empty.path().join("nowhere")).is_err());
    assert_eq!(Targets::of("| a | b |\n|---|---|\n"), None);
}
