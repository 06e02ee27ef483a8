//! Any filter says of any payload what the plain meaning of its terms says of the parsed value.

use std::time::{SystemTime, UNIX_EPOCH};

use super::*;

/// SplitMix64.
struct Random(u64);

impl Random {
    /// Seeded by the clock; prints the seed.
    fn new() -> Self {
        let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        println!("seed {seed}");
        Self(seed)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }
}

const KEYS: [&str; 8] = ["a", "b", "ab", "0", "1", "01", "é", ""];
const TEXTS: [&str; 9] = ["", "a", "ab", "abc", "é", "\"", "\\", "\n", "b\"c"];

fn number(random: &mut Random) -> Value {
    random.pick(&[
        json!(0),
        json!(1),
        json!(1.0),
        json!(-1),
        json!(-0.0),
        json!(1.5),
        json!(2),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1e19),
        json!(9_007_199_254_740_993u64),
        json!(9_007_199_254_740_992.0),
    ])
}

fn scalar(random: &mut Random) -> Value {
    match random.below(5) {
        0 => Value::Null,
        1 => json!(random.below(2) == 0),
        2 => number(random),
        _ => json!(random.pick(&TEXTS)),
    }
}

fn value(random: &mut Random, depth: usize) -> Value {
    match random.below(if depth == 0 { 2 } else { 5 }) {
        0 | 1 => scalar(random),
        2 => (0..random.below(4)).map(|_| value(random, depth - 1)).collect(),
        _ => (0..random.below(4)).map(|_| (random.pick(&KEYS), value(random, depth - 1))).collect(),
    }
}

/// Writes the value in one of its many spellings: escapes, blanks, repeated keys.
fn spell(random: &mut Random, value: &Value, out: &mut String) {
    let blank = random.pick(&["", "", "", " ", "\n\t"]);
    out.push_str(blank);
    match value {
        Value::String(text) => spell_text(random, text, out),
        Value::Array(elements) => {
            out.push('[');
            for (index, element) in elements.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                spell(random, element, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (index, (key, member)) in members.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                if random.below(8) == 0 {
                    spell_text(random, key, out);
                    out.push(':');
                    let other = self::value(random, 2);
                    spell(random, &other, out);
                    out.push(',');
                }
                spell_text(random, key, out);
                out.push(':');
                spell(random, member, out);
            }
            out.push('}');
        }
        other => out.push_str(&other.to_string()),
    }
    out.push_str(blank);
}

fn spell_text(random: &mut Random, text: &str, out: &mut String) {
    if random.below(6) > 0 {
        out.push_str(&json!(text).to_string());
        return;
    }
    out.push('"');
    text.encode_utf16().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
    out.push('"');
}

fn filter(random: &mut Random, depth: usize) -> Filter {
    if depth > 0 && random.below(2) == 0 {
        let filters: Vec<_> = (0..random.below(4)).map(|_| filter(random, depth - 1)).collect();
        return match random.below(3) {
            0 => Filter::and(filters),
            1 => Filter::or(filters),
            _ => Filter::not(filter(random, depth - 1)),
        };
    }
    let path = (0..random.below(4)).map(|_| random.pick(&KEYS)).collect::<Vec<_>>().join(".");
    let operand = if random.below(4) == 0 { value(random, 2) } else { scalar(random) };
    match random.below(16) {
        0 => Filter::ne(path, operand),
        1 => Filter::gt(path, operand),
        2 => Filter::gte(path, operand),
        3 => Filter::lt(path, operand),
        4 => Filter::lte(path, operand),
        5 => Filter::is_in(path, [operand, scalar(random)]),
        6 => Filter::exists(path),
        7 => Filter::absent(path),
        8 => Filter::prefix(path, random.pick(&TEXTS)),
        9 => Filter::contains(path, operand),
        10 => Filter::session(random.pick(&[SESSION, "other"])),
        11 => Filter::kind(Kind(random.below(4) as u16)),
        12 => Filter::time(random.below(2_000) as u64..),
        13 => Filter::size(..random.below(100) as u64),
        _ => Filter::eq(path, operand),
    }
}

/// The plain meaning.
fn expected(filter: &Filter, event: &EventView<'_>, value: &Value) -> bool {
    match &filter.0 {
        Node::And(filters) => !filters.is_empty() && filters.iter().all(|filter| expected(filter, event, value)),
        Node::Or(filters) => filters.iter().any(|filter| expected(filter, event, value)),
        Node::Not(filter) => !expected(filter, event, value),
        Node::Field(field) => field_expected(&field.test, json_path_get(value, &field.path)),
        Node::Session { names, ids } => {
            names.iter().any(|name| session_id(name) == event.session()) || ids.contains(&event.session())
        }
        Node::Kind(kinds) => kinds.contains(&event.kind()),
        Node::Time(interval) => interval.contains(&event.insertion_ts()),
        Node::Size(interval) => interval.contains(&(event.payload().len() as u64)),
    }
}

fn field_expected(test: &Test, found: Option<&Value>) -> bool {
    match test {
        Test::Equal(value) => found == Some(value),
        Test::NotEqual(value) => found != Some(value),
        Test::In(values) => values.iter().any(|value| found == Some(value)),
        Test::Exists(exists) => found.is_some() == *exists,
        Test::Prefix(prefix) => found.and_then(Value::as_str).is_some_and(|text| text.starts_with(prefix.as_str())),
        Test::Contains(value) => match found {
            Some(Value::String(text)) => value.as_str().is_some_and(|part| text.contains(part)),
            Some(Value::Array(elements)) => elements.contains(value),
            _ => false,
        },
        Test::Order(relation, value) => {
            let order = match (found, value) {
                (Some(Value::String(found)), Value::String(value)) => Some(found.cmp(value)),
                (Some(Value::Number(found)), Value::Number(value)) => Some(halves(found).cmp(&halves(value))),
                _ => None,
            };
            order.is_some_and(|order| match relation {
                Relation::Gt => order.is_gt(),
                Relation::Gte => order.is_ge(),
                Relation::Lt => order.is_lt(),
                Relation::Lte => order.is_le(),
            })
        }
    }
}

/// Twice the number: whole for all numbers used here.
fn halves(number: &serde_json::Number) -> i128 {
    number.as_i128().map_or_else(|| (number.as_f64().unwrap() * 2.0) as i128, |whole| whole * 2)
}

fn check(random: &mut Random, filter: &Filter) {
    let compiled = filter.compile().unwrap();
    assert_eq!(Filter::from_json(&filter.to_json()).unwrap(), *filter);
    for _ in 0..8 {
        let mut payload = String::new();
        let value = value(random, 3);
        spell(random, &value, &mut payload);
        let parsed: Value = serde_json::from_str(&payload).unwrap();
        with_event(payload.as_bytes(), |event| {
            let expected = expected(filter, event, &parsed);
            assert_eq!(compiled.matches(event), expected, "{} on {payload}", filter.to_json());
        });
        // Bytes that may be JSON or not: the answer is the oracle's, or no.
        let mut bytes = payload.into_bytes();
        for _ in 0..random.below(3).min(bytes.len()) {
            let at = random.below(bytes.len());
            bytes[at] = random.pick(b"\"\\{}[]:,0e-\xff a");
        }
        with_event(&bytes, |event| match serde_json::from_slice::<Value>(&bytes) {
            Ok(parsed) => assert_eq!(compiled.matches(event), expected(filter, event, &parsed), "{bytes:?}"),
            Err(_) => _ = compiled.matches(event),
        });
    }
}

#[test]
fn compiled_filters_agree_with_the_plain_meaning() {
    let mut random = Random::new();
    for _ in 0..4_000 {
        let filter = filter(&mut random, 3);
        check(&mut random, &filter);
    }
}

#[test]
fn wide_filters_agree_with_the_plain_meaning() {
    let mut random = Random::new();
    for _ in 0..20 {
        let filter = Filter::or((0..150).map(|_| filter(&mut random, 1)));
        check(&mut random, &filter);
    }
}
