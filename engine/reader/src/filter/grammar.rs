//! The grammar: filters from JSON and back.
//!
//! Objects and arrays are taken apart one level at a time and the parser skips what is inside without recursion, so
//! text of any depth is refused at the first level too many, on any stack that holds the levels allowed. A text is
//! scanned once per level at most.

use std::ops::Bound;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tapeline_capability::{CapabilitySet, RequiredCapability, RequirementError, Tag};
use tapeline_storage::format::{Kind, SessionId};

use super::error::{FilterError, TermPath};
use super::field::{Field, Relation, Test};
use super::limits::{TEXT_BYTES_MAX, VALUE_DEPTH_MAX, check_path, enter};
use super::members::{Members, each, is_array, parse};
use super::sources::Question;
use super::{Filter, Interval, Node};

/// The keys that may stand beside each other, in the order in which they are tried.
const COMBINABLE: [&str; 4] = ["$and", "$or", "$not", "$eq"];

pub(super) fn read(json: &str) -> Result<Filter, FilterError> {
    if json.len() > TEXT_BYTES_MAX {
        return Err(FilterError::TooLong { bytes: json.len(), max: TEXT_BYTES_MAX });
    }
    let raw = serde_json::from_str(json).map_err(|error| FilterError::Syntax { message: error.to_string() })?;
    Reader { nodes: 0 }.filter(raw, 1, TermPath::ROOT)
}

struct Reader {
    nodes: usize,
}

impl Reader {
    fn filter(&mut self, raw: &RawValue, depth: usize, at: TermPath<'_>) -> Result<Filter, FilterError> {
        enter(depth, &mut self.nodes, &at)?;
        let members = Members::of(raw, &at)?;
        let mut first = None;
        for key in COMBINABLE.into_iter().filter(|key| members.has(key)) {
            let found = members.required(key, &at).and_then(|raw| self.term(key, raw, depth, at.key(key)));
            match found {
                Ok(filter) => return Ok(filter),
                Err(error) => first = first.or(Some(error)),
            }
        }
        match (first, members.entries()) {
            (first, _) if members.has("path") || members.has("value") => {
                let field = read_field("$eq", &members, &at);
                field.map(|field| Filter(Node::Field(field))).map_err(|error| first.unwrap_or(error))
            }
            (Some(error), _) => Err(error),
            (None, [(key, raw)]) => self.term(key, raw, depth, at.key(key)),
            (None, []) => Err(at.invalid("expected a term, found an empty object")),
            (None, _) => Err(at.invalid("expected one term; combine several with $and")),
        }
    }

    fn term(&mut self, key: &str, raw: &RawValue, depth: usize, at: TermPath<'_>) -> Result<Filter, FilterError> {
        Ok(match key {
            "$and" => Filter::and(self.list(raw, depth, at)?),
            "$or" => Filter::or(self.list(raw, depth, at)?),
            "$not" => Filter::not(self.filter(raw, depth + 1, at)?),
            "$eq" if is_array(raw) => {
                let Ok((path, value)) = serde_json::from_str::<(&RawValue, &RawValue)>(raw.get()) else {
                    return Err(at.invalid("expected a path and a value"));
                };
                Filter::eq(read_path(path, &at.index(0))?, read_value(value, &at.index(1))?)
            }
            "$eq" | "$ne" | "$gt" | "$gte" | "$lt" | "$lte" | "$in" | "$exists" | "$prefix" | "$contains" => {
                Filter(Node::Field(read_field(key, &Members::of(raw, &at)?, &at)?))
            }
            "$session" => Filter(read_sessions(raw, &at)?),
            "$kind" => Filter::kinds(each(raw, &at, |raw, at| parse(raw, &at, "a number from 0 to 65535").map(Kind))?),
            "$source" => Filter::source(read_requirement(raw, &at)?),
            "$suits" => Filter::suits(read_capabilities(raw, &at)?),
            "$time" => Filter(Node::Time(read_interval(raw, &at)?)),
            "$size" => Filter(Node::Size(read_interval(raw, &at)?)),
            _ => {
                return Err(at.invalid(
                    "unknown term; there are $and, $or, $not, $eq, $ne, $gt, $gte, $lt, $lte, $in, $exists, $prefix, \
                     $contains, $session, $kind, $source, $suits, $time, $size, and path with value",
                ));
            }
        })
    }

    fn list(&mut self, raw: &RawValue, depth: usize, at: TermPath<'_>) -> Result<Vec<Filter>, FilterError> {
        let filters: Vec<&RawValue> = parse(raw, &at, "an array of filters")?;
        let filters = filters.into_iter().enumerate();
        filters.map(|(index, raw)| self.filter(raw, depth + 1, at.index(index))).collect()
    }
}

fn read_field(key: &str, members: &Members<'_>, at: &TermPath<'_>) -> Result<Field, FilterError> {
    let argument = if key == "$in" { "values" } else { "value" };
    if key != "$eq" {
        members.only(&["path", argument], at)?;
    }
    let path = read_path(members.required("path", at)?, &at.key("path"))?;
    if key == "$exists" && !members.has(argument) {
        return Ok(Field { path, test: Test::Exists(true) });
    }
    let (raw, at) = (members.required(argument, at)?, at.key(argument));
    let test = match key {
        "$exists" => Test::Exists(parse(raw, &at, "true or false")?),
        "$prefix" => Test::Prefix(parse(raw, &at, "a string")?),
        "$in" if !is_array(raw) => return Err(at.invalid("expected an array")),
        "$in" => Test::In(each(raw, &at, |raw, at| read_value(raw, &at))?),
        "$ne" => Test::NotEqual(read_value(raw, &at)?),
        "$gt" => Test::Order(Relation::Gt, read_value(raw, &at)?),
        "$gte" => Test::Order(Relation::Gte, read_value(raw, &at)?),
        "$lt" => Test::Order(Relation::Lt, read_value(raw, &at)?),
        "$lte" => Test::Order(Relation::Lte, read_value(raw, &at)?),
        "$contains" => Test::Contains(read_value(raw, &at)?),
        _ => Test::Equal(read_value(raw, &at)?),
    };
    Ok(Field { path, test })
}

fn read_path(raw: &RawValue, at: &TermPath<'_>) -> Result<String, FilterError> {
    let path: String = parse(raw, at, "a string")?;
    check_path(&path, at)?;
    Ok(path)
}

fn read_value(raw: &RawValue, at: &TermPath<'_>) -> Result<Value, FilterError> {
    if nesting(raw.get()) > VALUE_DEPTH_MAX {
        return Err(FilterError::TooDeep { at: at.to_string(), max: VALUE_DEPTH_MAX });
    }
    serde_json::from_str(raw.get()).map_err(|error| at.invalid(error.to_string()))
}

fn read_sessions(raw: &RawValue, at: &TermPath<'_>) -> Result<Node, FilterError> {
    let (mut names, mut ids) = (Vec::new(), Vec::new());
    each(raw, at, |raw, at| {
        if raw.get().starts_with('{') {
            let members = Members::of(raw, &at)?;
            members.only(&["id"], &at)?;
            ids.push(read_session_id(members.required("id", &at)?, &at.key("id"))?);
        } else {
            names.push(parse(raw, &at, "a session's name or {\"id\": ..}")?);
        }
        Ok(())
    })?;
    Ok(Node::Session { names, ids })
}

fn read_session_id(raw: &RawValue, at: &TermPath<'_>) -> Result<SessionId, FilterError> {
    let text: String = parse(raw, at, "a string")?;
    let digits = Some(text).filter(|text| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let id = digits.and_then(|digits| u128::from_str_radix(&digits, 16).ok());
    id.map(SessionId).ok_or_else(|| at.invalid("expected 32 hex digits"))
}

/// A line or a predicate in its text form; an object where no line says the same.
fn read_requirement(raw: &RawValue, at: &TermPath<'_>) -> Result<RequiredCapability, FilterError> {
    if raw.get().starts_with('{') {
        return parse(raw, at, "a requirement");
    }
    let text: String = parse(raw, at, "a requirement, as \"software.model=llama-7b\"")?;
    text.parse().map_err(|error: RequirementError| at.invalid(error.to_string()))
}

fn read_capabilities(raw: &RawValue, at: &TermPath<'_>) -> Result<CapabilitySet, FilterError> {
    if raw.get().starts_with('{') {
        return parse(raw, at, "capabilities, as {\"tags\":[\"hardware.gpu\"],\"metadata\":{\"zone\":\"eu\"}}");
    }
    let tags: Vec<Tag> = parse(raw, at, "an array of tags, as [\"software.model=llama-7b\"]")?;
    Ok(tags.into_iter().collect())
}

fn write_requirement(wanted: &RequiredCapability) -> Value {
    let text = wanted.to_string();
    if text.parse().is_ok_and(|read: RequiredCapability| read == *wanted) { Value::String(text) } else { json!(wanted) }
}

fn read_interval(raw: &RawValue, at: &TermPath<'_>) -> Result<Interval, FilterError> {
    let members = Members::of(raw, at)?;
    members.only(&["gt", "gte", "lt", "lte"], at)?;
    let bound = |exclusive: &str, inclusive: &str| match (members.has(exclusive), members.has(inclusive)) {
        (true, true) => Err(at.invalid(format!("expected {exclusive} or {inclusive}, not both"))),
        (true, false) => read_bound(&members, exclusive, at).map(Bound::Excluded),
        (false, true) => read_bound(&members, inclusive, at).map(Bound::Included),
        (false, false) => Ok(Bound::Unbounded),
    };
    Ok((bound("gt", "gte")?, bound("lt", "lte")?))
}

fn read_bound(members: &Members<'_>, key: &str, at: &TermPath<'_>) -> Result<u64, FilterError> {
    parse(members.required(key, at)?, &at.key(key), "a whole number of 64 bits")
}

/// Levels of arrays and objects in valid JSON.
fn nesting(json: &str) -> usize {
    let (mut depth, mut deepest, mut text, mut escaped) = (0usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => text = !text,
            b'[' | b'{' if !text => depth += 1,
            b']' | b'}' if !text => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

pub(super) fn write(filter: &Filter) -> Value {
    match &filter.0 {
        Node::And(filters) => json!({ "$and": filters.iter().map(write).collect::<Vec<_>>() }),
        Node::Or(filters) => json!({ "$or": filters.iter().map(write).collect::<Vec<_>>() }),
        Node::Not(filter) => json!({ "$not": write(filter) }),
        Node::Field(field) => write_field(field),
        Node::Session { names, ids } => {
            let names = names.iter().map(|name| json!(name));
            json!({ "$session": one_or_many(names.chain(ids.iter().map(|id| json!({ "id": id.to_string() })))) })
        }
        Node::Kind(kinds) => json!({ "$kind": one_or_many(kinds.iter().map(|kind| json!(kind.0))) }),
        Node::Source(Question::Meets(wanted)) => json!({ "$source": write_requirement(wanted) }),
        Node::Source(Question::Suits(set)) if set.metadata().is_empty() => json!({ "$suits": set.tags() }),
        Node::Source(Question::Suits(set)) => json!({ "$suits": set }),
        Node::Time(interval) => json!({ "$time": write_interval(interval) }),
        Node::Size(interval) => json!({ "$size": write_interval(interval) }),
    }
}

fn write_field(Field { path, test }: &Field) -> Value {
    let key = test.key();
    match test {
        Test::Equal(value) | Test::NotEqual(value) | Test::Order(_, value) | Test::Contains(value) => {
            json!({ key: { "path": path, "value": value } })
        }
        Test::In(values) => json!({ key: { "path": path, "values": values } }),
        Test::Exists(true) => json!({ key: { "path": path } }),
        Test::Exists(false) => json!({ key: { "path": path, "value": false } }),
        Test::Prefix(value) => json!({ key: { "path": path, "value": value } }),
    }
}

fn one_or_many(values: impl Iterator<Item = Value>) -> Value {
    let mut values: Vec<_> = values.collect();
    if values.len() == 1 { values.remove(0) } else { Value::Array(values) }
}

fn write_interval((lower, upper): &Interval) -> Value {
    let bound = |bound: &Bound<u64>, exclusive: &str, inclusive: &str| match bound {
        Bound::Excluded(value) => Some((exclusive.to_owned(), json!(value))),
        Bound::Included(value) => Some((inclusive.to_owned(), json!(value))),
        Bound::Unbounded => None,
    };
    let bounds = bound(lower, "gt", "gte").into_iter().chain(bound(upper, "lt", "lte"));
    Value::Object(bounds.collect::<Map<_, _>>())
}
