//! Sizes and counts as a person writes them: `4096`, `512M`, `10GiB`; `5000`.

use std::ops::RangeInclusive;
use std::str::FromStr;

/// The forms of sizes, for messages.
const SIZES: &str = "a size is a whole number of bytes, or of k, M, G, T (powers of 1024): 4096, 512M, 10GiB";

/// Sizes of a segment file: 2 MiB to 1 TiB.
const SEGMENTS: RangeInclusive<u64> = 2 << 20..=1 << 40;

/// Bytes. `K`, `M`, `G`, `T` count in powers of 1024, with or without `iB`.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim().to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        "T" | "TB" | "TIB" => 40,
        _ => return Err(SIZES.to_owned()),
    };
    if number.is_empty() {
        return Err(SIZES.to_owned());
    }
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    bytes.ok_or_else(|| format!("{text} is more than any disk has; {SIZES}"))
}

/// The size of a segment file.
pub(crate) fn parse_segment_size(text: &str) -> Result<u64, String> {
    let bytes = parse_size(text)?;
    if SEGMENTS.contains(&bytes) { Ok(bytes) } else { Err("a segment file has 2M to 1T".to_owned()) }
}

/// A whole number, of events or of files.
pub(crate) fn parse_count<T: FromStr>(text: &str) -> Result<T, String> {
    let text = text.trim();
    match (text.parse(), !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())) {
        (Ok(count), true) => Ok(count),
        (_, true) => Err(format!("{text} is too large a number")),
        (_, false) => Err("this is to be a whole number, such as 20 or 5000".to_owned()),
    }
}

/// Most shards that a log may have.
const SHARDS_MAX: u16 = 4096;

/// The number of shards that a log is to have.
pub(crate) fn parse_shards(text: &str) -> Result<u16, String> {
    match parse_count(text)? {
        0 => Err("a log has a shard at least".to_owned()),
        shards if shards > SHARDS_MAX => Err(format!("a log has {SHARDS_MAX} shards at most")),
        shards => Ok(shards),
    }
}

/// The number of segments that a log is to keep.
pub(crate) fn parse_segments(text: &str) -> Result<usize, String> {
    match parse_count(text)? {
        0 => Err("the newest segment always stays: 1 at least".to_owned()),
        segments => Ok(segments),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_in_powers_of_1024() {
        let sizes = [
            ("0", 0),
            ("4096", 4096),
            ("7b", 7),
            ("2k", 2048),
            ("2K", 2048),
            ("5KB", 5 << 10),
            ("5KiB", 5 << 10),
            ("3M", 3 << 20),
            ("3MiB", 3 << 20),
            (" 1 g ", 1 << 30),
            ("6GiB", 6 << 30),
            ("2TB", 2 << 40),
        ];
        for (text, bytes) in sizes {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "M", "-1", "+1", "1.5G", "1,000", "1X", "1IB", "1BB", "0x10", "99999999999T", "1e6"] {
            let error = parse_size(text).expect_err(text);
            assert!(error.contains("512M") && !error.contains("digit found"), "{text}: {error}");
        }
    }

    #[test]
    fn segments_have_a_least_and_a_largest_size() {
        assert_eq!(parse_segment_size("2M"), Ok(2 << 20));
        assert_eq!(parse_segment_size("1TiB"), Ok(1 << 40));
        for text in ["0", "2097151", "1k", "2T"] {
            assert!(parse_segment_size(text).is_err_and(|error| error.contains("2M to 1T")), "{text}");
        }
    }

    #[test]
    fn counts_are_whole_numbers() {
        assert_eq!(parse_count::<u64>("5000"), Ok(5000));
        assert_eq!(parse_shards("3"), Ok(3));
        for text in ["", "5k", "-5", "+5", "1.5", "many", "99999999999999999999"] {
            let error = parse_count::<u64>(text).expect_err(text);
            assert!(error.contains("number") && !error.contains("digit found"), "{text}: {error}");
        }
        assert!(parse_shards("0").is_err() && parse_shards("65536").is_err());
    }
}
