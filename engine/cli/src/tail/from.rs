//! The start of a tail.

use std::str::FromStr;

use tapeline_reader::FollowStart;

use crate::when::When;

/// The start, from the operator's word for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct From(pub(crate) FollowStart);

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let last = text.strip_prefix('-').filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()));
        match (text, last) {
            ("start", _) => Ok(Self(FollowStart::Earliest)),
            ("now", _) => Ok(Self(FollowStart::Latest)),
            (_, Some(digits)) => {
                let count = digits.parse().map_err(|_| "the last how many? -20, for example".to_owned())?;
                Ok(Self(FollowStart::Last(count)))
            }
            (digits, None) if (1..9).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit()) => {
                Err(format!(
                    "for the last {digits} events write -{digits}; for a time, @{digits} are seconds since 1970"
                ))
            }
            _ => match text.parse() {
                Ok(When(time)) => Ok(Self(FollowStart::Time(time))),
                Err(error) => Err(format!("write start, now, -20 for the last 20 events, or a time; {error}")),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_words_numbers_and_times() {
        let from = |text: &str| text.parse::<From>().map(|from| from.0);
        assert_eq!(from("start"), Ok(FollowStart::Earliest));
        assert_eq!(from("now"), Ok(FollowStart::Latest));
        assert_eq!(from("-20"), Ok(FollowStart::Last(20)));
        assert_eq!(from("2023-11-14T22:13:20Z"), Ok(FollowStart::Time(1_700_000_000_000_000_000)));
        assert!(matches!(from("-5m"), Ok(FollowStart::Time(_))));
        for refused in ["", "-", "20", "-99999999999999999999", "end"] {
            assert!(from(refused).is_err(), "{refused}");
        }
        for refused in ["", "end", "0-5"] {
            assert!(from(refused).is_err_and(|error| error.starts_with("write start, now, -20")), "{refused}");
        }
    }
}
