//! A report leaves its files, and nothing else.

use tapeline_testing::Scratch;

use super::*;

fn report(names: &[&str]) -> Report {
    let series = |name: &&str| {
        let mut series = Series::new(*name, format!("Title of {name}"), Unit::Nanoseconds, crate::histogram());
        series.histogram.saturating_record(1000);
        series
    };
    let facts = vec![("load".to_owned(), "<none> & \"none\"".to_owned())];
    Report {
        title: "A report".to_owned(),
        facts,
        grouped_by: String::new(),
        series: names.iter().map(series).collect(),
    }
}

#[test]
fn every_series_has_its_files_and_all_have_one_page() {
    let directory = Scratch::new("report");
    let below = directory.path().join("new/report");
    let mut report = report(&["one", "a/../b c"]);
    report.series[1].groups.push(Group { label: "g".to_owned(), counts: Counts::new() });
    let written = report.write_to(&below).expect("written");
    let names: Vec<_> = written.iter().map(|path| path.strip_prefix(&below).expect("below").to_str()).collect();
    let expected = [
        ["one.hgrm", "one.hlog", "one.svg", "one.heat.svg"].as_slice(),
        &["a____b_c.hgrm", "a____b_c.hlog", "a____b_c.groups.hlog", "a____b_c.svg", "a____b_c.heat.svg"],
        &["histograms.json", "index.html"],
    ];
    assert_eq!(names, expected.concat().into_iter().map(Some).collect::<Vec<_>>());
    assert_eq!(fs::read_dir(&below).expect("readable").count(), written.len());
    assert_eq!(report.write_to(&below).expect("written again"), written);
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let page = html::page(&report(&["one"]));
    assert!(
        page.contains("&lt;none&gt; &amp; &quot;none&quot;") && page.contains("Title of one by percentile"),
        "{page}"
    );
    for outside in ["http:", "https:", "<script", "<link", "url(", "@import", "src="] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn two_series_of_one_name_are_refused() {
    let directory = Scratch::new("report");
    let error = report(&["a b", "a_b"]).write_to(directory.path()).expect_err("refused");
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert_eq!(fs::read_dir(directory.path()).expect("readable").count(), 0);
}
