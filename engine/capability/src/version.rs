//! Versions as predicates compare them: three numbers.

/// Major, minor and patch of a version. A pre-release and a build are left out: `1.2.3-rc1` is `1.2.3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    major: u64,
    minor: u64,
    patch: u64,
}

impl Version {
    /// Parses one to three numbers between dots; those that are missing are 0.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (mut parts, mut place, mut has_digits) = ([0u64; 3], 0, false);
        for byte in text.bytes() {
            match byte {
                b'0'..=b'9' => {
                    parts[place] = parts[place].checked_mul(10)?.checked_add(u64::from(byte - b'0'))?;
                    has_digits = true;
                }
                b'.' if has_digits && place < 2 => (place, has_digits) = (place + 1, false),
                b'-' | b'+' => break,
                _ => return None,
            }
        }
        let [major, minor, patch] = parts;
        has_digits.then_some(Self { major, minor, patch })
    }

    /// Returns whether this version can stand in for `wanted`: it is not lower, and no number changed that may break a
    /// user. That is the first of the wanted one's numbers which is not 0; of 0.0.z each change may.
    pub(crate) fn is_compatible_with(self, wanted: Self) -> bool {
        let breaks = match wanted {
            Self { major: 1.., .. } => self.major != wanted.major,
            Self { minor: 1.., .. } => (self.major, self.minor) != (0, wanted.minor),
            _ => self != wanted,
        };
        self >= wanted && !breaks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_three_numbers() {
        let version = |major, minor, patch| Some(Version { major, minor, patch });
        let cases = [
            ("1.2.3", version(1, 2, 3)),
            ("1.2", version(1, 2, 0)),
            ("1", version(1, 0, 0)),
            ("1.2.3-rc1", version(1, 2, 3)),
            ("1.2.3+build-7", version(1, 2, 3)),
            ("1.2.3-rc+x", version(1, 2, 3)),
            ("18446744073709551615", version(u64::MAX, 0, 0)),
            ("18446744073709551616", None),
            ("1.2.3.4", None),
            ("1..3", None),
            ("v1.2", None),
            ("+1", None),
            (" 1", None),
            ("", None),
            ("-", None),
        ];
        for (text, expected) in cases {
            assert_eq!(Version::parse(text), expected, "{text:?}");
        }
    }

    #[test]
    fn compatible_versions_share_what_may_break() {
        let cases = [
            ("1.2.3", "1.2.3", true),
            ("1.9.0", "1.2.3", true),
            ("1.2.2", "1.2.3", false),
            ("2.0.0", "1.2.3", false),
            ("0.2.9", "0.2.3", true),
            ("0.3.0", "0.2.3", false),
            ("1.2.3", "0.2.3", false),
            ("0.0.3", "0.0.3", true),
            ("0.0.4", "0.0.3", false),
            ("0.0.0", "0.0.0", true),
            ("0.0.1", "0.0.0", false),
        ];
        for (have, wanted, expected) in cases {
            let (have, wanted) = (Version::parse(have).expect("one"), Version::parse(wanted).expect("one"));
            assert_eq!(have.is_compatible_with(wanted), expected, "{have:?} for {wanted:?}");
        }
    }
}
