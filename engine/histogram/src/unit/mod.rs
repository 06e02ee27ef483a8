//! Units of measures, and how people read them.

#[cfg(test)]
mod tests;

/// Significant digits of a value.
const DIGITS: usize = 3;

/// Most digits that a histogram's values can differ in.
const DIGITS_MAX: usize = 9;

/// The unit of a series' values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds.
    Nanoseconds,
    /// Thousandths of something a second: rates below one a second keep three digits.
    PerThousandSeconds,
}

impl Unit {
    /// The name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nanoseconds => "ns",
            Self::PerThousandSeconds => "1/1000s",
        }
    }

    /// A value with three digits and a unit that suits its size: `12.3 ms`, `870 ns`, `41.2/s`.
    pub fn text(self, value: f64) -> String {
        self.text_of(value, DIGITS)
    }

    /// Ascending values, with as many digits as distinguish them.
    pub(crate) fn texts(self, values: &[f64]) -> Vec<String> {
        let texts = |digits| values.iter().map(|&value| self.text_of(value, digits)).collect::<Vec<_>>();
        let differ = |texts: &Vec<String>| texts.windows(2).all(|pair| pair[0] != pair[1]);
        (DIGITS..DIGITS_MAX).map(texts).find(differ).unwrap_or_else(|| texts(DIGITS_MAX))
    }

    fn text_of(self, value: f64, digits: usize) -> String {
        match self {
            Self::Nanoseconds => duration(value, digits),
            Self::PerThousandSeconds => rate(value / 1e3, digits),
        }
    }

    /// The words of an axis beside its labels.
    pub(crate) fn axis(self) -> &'static str {
        match self {
            Self::Nanoseconds => "time",
            Self::PerThousandSeconds => "rate",
        }
    }
}

/// A duration in nanoseconds.
fn duration(nanos: f64, digits: usize) -> String {
    const STEPS: [(f64, f64, &str); 4] = [(1e3, 1.0, "ns"), (1e6, 1e3, "us"), (1e9, 1e6, "ms"), (120e9, 1e9, "s")];
    // A value that rounds up to the next unit is written in that.
    let step = STEPS.iter().find(|(end, ..)| nanos < end * 0.9995);
    match step {
        Some((_, scale, unit)) => format!("{} {unit}", rounded(nanos / scale, digits)),
        None if nanos < 7200e9 => format!("{} min", rounded(nanos / 60e9, digits)),
        None if nanos < 172_800e9 => format!("{} h", rounded(nanos / 3600e9, digits)),
        None => format!("{} d", rounded(nanos / 86_400e9, digits)),
    }
}

/// So many a second.
fn rate(per_second: f64, digits: usize) -> String {
    const STEPS: [(f64, f64, &str); 4] = [(1e3, 1.0, ""), (1e6, 1e3, "k"), (1e9, 1e6, "M"), (f64::INFINITY, 1e9, "G")];
    let step = STEPS.iter().find(|(end, ..)| per_second < end * 0.9995);
    let (_, scale, prefix) = step.unwrap_or(&STEPS[3]);
    format!("{}{prefix}/s", rounded(per_second / scale, digits))
}

/// So many significant digits, all of those before the point, without trailing zeros after it.
fn rounded(value: f64, digits: usize) -> String {
    let whole = [9.995, 99.95].iter().filter(|end| value >= **end).count() + 1;
    let decimals = digits.saturating_sub(whole);
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A count in groups of three digits.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
