//! Units of measures, and how people read them.

#[cfg(test)]
mod tests;

/// What a value of a series counts.
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
        match self {
            Self::Nanoseconds => duration(value),
            Self::PerThousandSeconds => rate(value / 1e3),
        }
    }

    /// What an axis says beside its labels.
    pub(crate) fn axis(self) -> &'static str {
        match self {
            Self::Nanoseconds => "time",
            Self::PerThousandSeconds => "rate",
        }
    }
}

/// A duration in nanoseconds.
fn duration(nanos: f64) -> String {
    const STEPS: [(f64, f64, &str); 4] = [(1e3, 1.0, "ns"), (1e6, 1e3, "us"), (1e9, 1e6, "ms"), (120e9, 1e9, "s")];
    // A value that rounds up to the next unit is written in that.
    let step = STEPS.iter().find(|(end, ..)| nanos < end * 0.9995);
    match step {
        Some((_, scale, unit)) => format!("{} {unit}", three_digits(nanos / scale)),
        None if nanos < 7200e9 => format!("{} min", three_digits(nanos / 60e9)),
        None if nanos < 172_800e9 => format!("{} h", three_digits(nanos / 3600e9)),
        None => format!("{} d", three_digits(nanos / 86_400e9)),
    }
}

/// So many a second.
fn rate(per_second: f64) -> String {
    const STEPS: [(f64, f64, &str); 4] = [(1e3, 1.0, ""), (1e6, 1e3, "k"), (1e9, 1e6, "M"), (f64::INFINITY, 1e9, "G")];
    let step = STEPS.iter().find(|(end, ..)| per_second < end * 0.9995);
    let (_, scale, prefix) = step.unwrap_or(&STEPS[3]);
    format!("{}{prefix}/s", three_digits(per_second / scale))
}

/// Three significant digits, whole from a hundred up, without trailing zeros behind the point.
fn three_digits(value: f64) -> String {
    let decimals = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
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
