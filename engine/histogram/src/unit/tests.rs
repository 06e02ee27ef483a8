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

#[test]
fn values_that_are_near_have_the_digits_that_tell_them_apart() {
    let texts = |values: &[f64]| Unit::Nanoseconds.texts(values);
    assert_eq!(texts(&[150.2e6, 150.4e6, 151e6]), ["150.2 ms", "150.4 ms", "151 ms"]);
    assert_eq!(texts(&[1e6, 2e6]), ["1 ms", "2 ms"]);
    assert_eq!(texts(&[5.0, 5.0]), ["5 ns", "5 ns"]);
}
