//! Values as people read them.

use super::*;

#[test]
fn values_have_three_digits_and_a_unit_of_their_size() {
    let time = |nanos| Unit::Nanoseconds.text(nanos);
    let cases = [
        (0.0, "0 ns"),
        (7.0, "7 ns"),
        (999.4, "999 ns"),
        (999.6, "1 us"),
        (1_234.0, "1.23 us"),
        (12_340.0, "12.3 us"),
        (123_400.0, "123 us"),
        (999_600.0, "1 ms"),
        (1e9, "1 s"),
        (90e9, "90 s"),
        (600e9, "10 min"),
        (3.0 * 3600e9, "3 h"),
        (12.5 * 86_400e9, "12.5 d"),
    ];
    for (nanos, text) in cases {
        assert_eq!(time(nanos), text, "{nanos}");
    }
    let rate = |thousandths| Unit::PerThousandSeconds.text(thousandths);
    assert_eq!((rate(0.0), rate(412.0), rate(41_200.0)), ("0/s".into(), "0.41/s".into(), "41.2/s".into()));
    assert_eq!((rate(1e6), rate(1.5e9), rate(2e12)), ("1k/s".into(), "1.5M/s".into(), "2G/s".into()));
}

#[test]
fn counts_are_grouped_by_thousands() {
    assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
}
