//! Pictures are well-formed, whatever was recorded, and stand for what they should.

use super::axis::Scale;
use super::percentiles::percentiles;
use super::picture::{BOTTOM, CHARACTER, LEFT, RIGHT, TOP, WIDTH};
use super::{compared, heat_map};
use crate::report::{Group, Report, Series, Slice};
use crate::{Counts, Unit, histogram};

fn series(values: &[u64]) -> Series {
    let mut series = Series::new("s", "A <title> & more", Unit::Nanoseconds, histogram());
    for (number, &value) in (0u64..).zip(values) {
        series.histogram.saturating_record(value);
        let mut counts = Counts::new();
        counts.record(value);
        series.slices.push(Slice { start_ns: number * 10, end_ns: number * 10 + 10, counts });
    }
    series
}

/// Elements are closed in order, attributes hold no bare quotes or brackets.
fn assert_well_formed(svg: &str) {
    let mut open = Vec::new();
    for part in svg.split('<').skip(1) {
        let (tag, text) = part.split_once('>').unwrap_or_else(|| panic!("unclosed: {part}"));
        assert!(!text.contains('&') || text.contains(';'), "{text}");
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name.to_owned()), "{svg}"),
            None if tag.ends_with('/') => {}
            None => open.extend(tag.split(' ').next().map(str::to_owned)),
        }
    }
    assert!(open.is_empty(), "{open:?}");
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
}

#[test]
fn pictures_are_well_formed_whatever_was_recorded() {
    let many: Vec<u64> = (0..3000).map(|number| number * number * 1000).collect();
    let cases: [&[u64]; 7] = [&[], &[0], &[0, 0], &[1], &[7, u64::MAX], &[1_234_567], &many];
    for values in cases {
        let mut series = series(values);
        for number in 0..20 {
            let mut counts = Counts::new();
            counts.record_n(number, number);
            series.groups.push(Group { label: format!("\"{number}\" <&> \u{1}"), counts });
        }
        for picture in [percentiles(&series), heat_map(&series)] {
            assert_well_formed(&picture.inline());
            assert!(picture.document().starts_with("<svg xmlns="));
            let says_so = picture.inline().contains("nothing was recorded");
            // Groups are drawn without their whole, and a heat map has none.
            assert!(says_so || !values.is_empty() || picture.inline().contains("by percentile"));
        }
    }
}

#[test]
fn durations_are_compared_where_there_are_two() {
    let report = |series: &[Series]| Report { series: series.to_vec(), ..Report::default() };
    assert!(compared(&report(&[series(&[1]), series(&[])])).is_none());
    assert_well_formed(&compared(&report(&[series(&[1]), series(&[5000])])).expect("two").inline());
}

#[test]
fn labels_below_stay_within_the_picture() {
    let many: Vec<u64> = (0..1_000_000).collect();
    let picture = percentiles(&series(&many)).inline();
    let (before, _) = picture.split_once("99.9999%</text>").expect("the last label");
    let (_, text) = before.rsplit_once("<text x=\"").expect("its place");
    let middle: f64 = text.split('"').next().and_then(|x| x.parse().ok()).expect("a number");
    assert!(middle + 3.9 * CHARACTER <= WIDTH, "{middle}");
}

#[test]
fn a_heat_map_has_a_cell_where_the_value_is() {
    // Two slices side by side: the small value low on the left, the large one high on the right.
    let picture = heat_map(&series(&[10, 100_000])).inline();
    let path = picture.split("class=\"h").nth(1).expect("cells");
    let corners: Vec<(f64, f64)> = path
        .split('M')
        .skip(1)
        .map(|cell| {
            let mut numbers = cell.split(['h', ' ']).map(|number| number.parse().expect("a number"));
            (numbers.next().expect("x"), numbers.next().expect("y"))
        })
        .take(2)
        .collect();
    let (left, right) = (corners[0], corners[1]);
    assert!((left.0 - LEFT).abs() < 0.1 && (right.0 - (LEFT + RIGHT) / 2.0).abs() < 0.1, "{corners:?}");
    assert!(left.1 > BOTTOM - 40.0 && right.1 < TOP + 40.0, "{corners:?}");
}

#[test]
fn axes_are_labelled_with_round_values_that_do_not_overlap() {
    let labels = |scale: Scale| scale.ticks().into_iter().map(|tick| tick.label).collect::<Vec<_>>();
    assert_eq!(labels(Scale::fitting(Unit::Nanoseconds, 40, 69)), ["0 ns", "20 ns", "40 ns", "60 ns"]);
    for (min, max) in [(0, 0), (1, 1), (5, 60), (40, 1 << 50), (1_000_000, 90_000_000), (1 << 40, 1 << 41)] {
        for unit in [Unit::Nanoseconds, Unit::PerThousandSeconds] {
            for scale in [Scale::fitting(unit, min, max), Scale::logarithmic(unit, min, max)] {
                let mut ticks = scale.ticks();
                assert!((2..=14).contains(&ticks.len()), "{min}..{max}: {ticks:?}");
                ticks.sort_by(|one, other| one.at.total_cmp(&other.at));
                assert!(ticks.windows(2).all(|pair| pair[1].at - pair[0].at > 14.0), "{min}..{max}: {ticks:?}");
            }
        }
    }
}
