//! Medians: of several rounds the middle one counts, so that one disturbed round does not.

#[cfg(test)]
mod tests;

/// The middle value, or the mean of the two middle ones. 0 for none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.len(), sorted.get(middle)) {
        (_, None) => 0.0,
        (length, Some(upper)) if length.is_multiple_of(2) => (sorted[middle - 1] + upper) / 2.0,
        (_, Some(value)) => *value,
    }
}

/// The median of one number of every round.
pub(crate) fn median_of<T>(rounds: &[T], number: impl Fn(&T) -> f64) -> f64 {
    median(&rounds.iter().map(number).collect::<Vec<_>>())
}
