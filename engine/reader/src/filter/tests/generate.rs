//! Random values, payloads and filters.

use tapeline_testing::Random;

use super::*;

const KEYS: [&str; 8] = ["a", "b", "ab", "0", "1", "01", "é", ""];
const TEXTS: [&str; 9] = ["", "a", "ab", "abc", "é", "\"", "\\", "\n", "b\"c"];

/// Numbers of every form, some of them a rounding apart.
pub(super) fn numbers() -> Vec<Value> {
    vec![
        json!(0),
        json!(1),
        json!(1.0),
        json!(-1),
        json!(-0.0),
        json!(1.5),
        json!(2),
        json!(u64::MAX),
        json!(u64::MAX - 1),
        json!(i64::MIN),
        json!(1e19),
        json!(9_007_199_254_740_993u64),
        json!(9_007_199_254_740_992.0),
        json!(1e-19),
        json!(-5e-324),
        json!(1e300),
    ]
}

fn number(random: &mut Random) -> Value {
    random.pick(&numbers())
}

fn scalar(random: &mut Random) -> Value {
    match random.below(6) {
        0 => Value::Null,
        1 => json!(random.below(2) == 0),
        2 | 3 => number(random),
        _ => json!(random.pick(&TEXTS)),
    }
}

/// Any value of so many levels at most.
pub(super) fn value(random: &mut Random, depth: usize) -> Value {
    match random.below(if depth == 0 { 2 } else { 5 }) {
        0 | 1 => scalar(random),
        2 => (0..random.below(4)).map(|_| value(random, depth - 1)).collect(),
        _ => (0..random.below(4)).map(|_| (random.pick(&KEYS), value(random, depth - 1))).collect(),
    }
}

/// Writes the value in one of its many spellings: escapes, blanks, repeated keys.
pub(super) fn spell(random: &mut Random, value: &Value) -> String {
    let mut out = String::new();
    write(random, value, &mut out);
    out
}

fn write(random: &mut Random, value: &Value, out: &mut String) {
    let blank = random.pick(&["", "", "", " ", "\n\t"]);
    out.push_str(blank);
    match value {
        Value::String(text) => write_text(random, text, out),
        Value::Array(elements) => {
            out.push('[');
            for (index, element) in elements.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                write(random, element, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (index, (key, member)) in members.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                if random.below(8) == 0 {
                    write_text(random, key, out);
                    out.push(':');
                    let other = self::value(random, 2);
                    write(random, &other, out);
                    out.push(',');
                }
                write_text(random, key, out);
                out.push(':');
                write(random, member, out);
            }
            out.push('}');
        }
        other => out.push_str(&other.to_string()),
    }
    out.push_str(blank);
}

fn write_text(random: &mut Random, text: &str, out: &mut String) {
    if random.below(6) > 0 {
        out.push_str(&json!(text).to_string());
        return;
    }
    out.push('"');
    text.encode_utf16().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
    out.push('"');
}

/// A filter of so many levels at most, whose paths and operands are often those of the value.
pub(super) fn filter(random: &mut Random, about: &Value, depth: usize) -> Filter {
    if depth > 0 && random.below(2) == 0 {
        let filters: Vec<_> = (0..random.below(4)).map(|_| filter(random, about, depth - 1)).collect();
        return match random.below(3) {
            0 => Filter::and(filters),
            1 => Filter::or(filters),
            _ => Filter::not(filter(random, about, depth - 1)),
        };
    }
    match random.below(6) {
        0 => metadata(random),
        _ => field(random, about),
    }
}

fn metadata(random: &mut Random) -> Filter {
    let upper = random.below(2_000) as u64;
    match random.below(7) {
        0 => Filter::session(random.pick(&[SESSION, "other"])),
        1 => Filter::sessions((0..random.below(3)).map(|_| random.pick(&[SessionId(9), session_id(SESSION)]))),
        2 => Filter::kind(Kind(random.below(4) as u16)),
        3 => Filter::kinds((0..random.below(40)).map(|_| Kind(random.below(60) as u16))),
        4 => Filter::time(upper..),
        5 => Filter::time((Bound::Excluded(999), Bound::Included(upper))),
        _ => Filter::size(..random.below(60) as u64),
    }
}

fn field(random: &mut Random, about: &Value) -> Filter {
    let (path, found) = path(random, about);
    let operand = match random.below(4) {
        0 => scalar(random),
        1 | 2 if found.is_number() => number(random),
        1 => value(random, 2),
        _ => found,
    };
    match random.below(12) {
        0 => Filter::ne(path, operand),
        1 => Filter::gt(path, operand),
        2 => Filter::gte(path, operand),
        3 => Filter::lt(path, operand),
        4 => Filter::lte(path, operand),
        5 => Filter::is_in(path, [scalar(random), operand, scalar(random)]),
        6 => Filter::exists(path),
        7 => Filter::absent(path),
        8 => Filter::prefix(path, part(random, &operand)),
        9 => match operand {
            Value::Array(elements) if !elements.is_empty() => Filter::contains(path, random.pick(&elements)),
            Value::String(_) => Filter::contains(path, part(random, &operand)),
            operand => Filter::contains(path, operand),
        },
        _ => Filter::eq(path, operand),
    }
}

/// The beginning of a string; any string where there is none.
fn part(random: &mut Random, value: &Value) -> String {
    let Some(text) = value.as_str() else { return random.pick(&TEXTS).to_owned() };
    text.chars().take(random.below(3)).collect()
}

/// A path, and the value there if it leads to one.
fn path(random: &mut Random, about: &Value) -> (String, Value) {
    let (mut segments, mut at) = (Vec::new(), Some(about));
    while random.below(4) > 0 {
        let segment = match at {
            Some(Value::Object(members)) if !members.is_empty() && random.below(8) > 0 => {
                random.pick(&members.keys().collect::<Vec<_>>()).clone()
            }
            Some(Value::Array(elements)) if !elements.is_empty() && random.below(8) > 0 => {
                format!("{}{}", random.pick(&["", "", "0"]), random.below(elements.len()))
            }
            Some(_) if random.below(4) > 0 => break,
            _ => random.pick(&KEYS).to_owned(),
        };
        at = at.and_then(|value| json_path_get(value, &segment));
        segments.push(segment);
    }
    (segments.join("."), at.cloned().unwrap_or_default())
}
