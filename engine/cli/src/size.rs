//! Sizes as a person writes them: `4096`, `512M`, `10GiB`.

/// Bytes. `K`, `M`, `G`, `T` count in powers of 1024, with or without `iB`.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim().to_ascii_uppercase().trim_end_matches('B').trim_end_matches('I') {
        "" if unit.trim().is_empty() || unit.trim().eq_ignore_ascii_case("b") => Some(0),
        "K" => Some(10),
        "M" => Some(20),
        "G" => Some(30),
        "T" => Some(40),
        _ => None,
    };
    let bytes = shift.and_then(|shift| number.parse::<u64>().ok()?.checked_mul(1 << shift));
    bytes.ok_or_else(|| "a size is written 4096, 512M, 10GiB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_in_powers_of_1024() {
        for (text, bytes) in
            [("0", 0), ("4096", 4096), ("7b", 7), ("2K", 2048), ("3MiB", 3 << 20), ("1 g", 1 << 30), ("2TB", 2 << 40)]
        {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "M", "-1", "1.5G", "1X", "1IB", "99999999999T"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
