//! The golden vectors: what each text and document means, or why it is none. Other languages and the macros are held to
//! the same file, `tests/vectors.json`.

use serde::Deserialize;

use crate::predicate::Predicate;
use crate::requirement::RequiredCapability;
use crate::set::CapabilitySet;
use crate::tag::{Tag, TagSeparator};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vectors {
    cases: Vec<Case>,
    tags: Vec<TagCase>,
    tags_refused: Vec<(String, String)>,
    /// Line or text, the same as it is written, and as a document.
    requirements: Vec<(String, String, RequiredCapability)>,
    requirements_refused: Vec<(String, String)>,
    /// Text of a predicate, and the same as it is written.
    texts: Vec<(String, String)>,
    /// Text, the byte where that shows, the reason.
    texts_refused: Vec<(String, usize, String)>,
    documents_refused: Vec<(serde_json::Value, String)>,
    /// Axis and key of `require_axis_value!`, and why they are none.
    keys_refused: Vec<(String, String, String)>,
    axes_refused: Vec<(String, String)>,
}

/// A predicate with what it holds of and what it does not.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    predicate: String,
    wire: Predicate,
    holds_of: Vec<CapabilitySet>,
    holds_not_of: Vec<CapabilitySet>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TagCase {
    text: String,
    key: Option<String>,
    value: Option<String>,
    separator: Option<char>,
    /// The reserved prefix.
    prefix: Option<String>,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../tests/vectors.json")).expect("vectors")
}

#[test]
fn predicates_hold_of_what_they_say() {
    for Case { predicate, wire, holds_of, holds_not_of } in vectors().cases {
        assert_eq!(predicate.parse::<Predicate>().as_ref(), Ok(&wire), "{predicate}");
        assert_eq!(wire.to_string(), predicate);
        for set in holds_of {
            assert!(wire.evaluate(&set), "{predicate} does not hold of {set:?}");
        }
        for set in holds_not_of {
            assert!(!wire.evaluate(&set), "{predicate} holds of {set:?}");
        }
    }
}

#[test]
fn tags_are_what_their_text_says_byte_for_byte() {
    for TagCase { text, key, value, separator, prefix } in vectors().tags {
        let tag = Tag::parse(&text).expect(&text);
        assert_eq!(tag.to_string(), text);
        assert_eq!((tag.key().map(ToString::to_string), tag.value()), (key, value.as_deref()), "{text}");
        let own = match &tag {
            Tag::AxisValue { separator: TagSeparator::Eq, .. } => (Some('='), None),
            Tag::AxisValue { separator: TagSeparator::Colon, .. } => (Some(':'), None),
            Tag::Reserved { prefix, .. } => (None, Some((*prefix).to_owned())),
            Tag::AxisPresent { .. } | Tag::Legacy(_) => (None, None),
        };
        assert_eq!(own, (separator, prefix.clone()), "{text}");
        assert_eq!(Tag::parse_user(&text).is_err(), prefix.is_some(), "{text}");
        let document = serde_json::to_string(&tag).expect("a document");
        assert_eq!(document, serde_json::to_string(&text).expect("a document"));
        assert_eq!(serde_json::from_str::<Tag>(&document).expect("a tag"), tag);
    }
    for (text, reason) in vectors().tags_refused {
        let error = Tag::parse(&text).expect_err(&text).to_string();
        assert!(error.contains(&reason), "{text:?}: {error}");
        let document = serde_json::to_string(&text).expect("a document");
        assert!(serde_json::from_str::<Tag>(&document).is_err_and(|error| error.to_string().contains(&reason)));
    }
}

#[test]
fn requirements_are_what_their_text_says() {
    for (text, written, requirement) in vectors().requirements {
        let read = text.parse::<RequiredCapability>();
        assert_eq!(read.as_ref(), Ok(&requirement), "{text}");
        assert_eq!(requirement.to_string(), written);
        assert_eq!(written.parse::<RequiredCapability>(), Ok(requirement));
    }
    for (line, reason) in vectors().requirements_refused {
        for error in [RequiredCapability::parse(&line), line.parse()].map(|read| read.expect_err(&line).to_string()) {
            assert!(error.contains(&reason), "{line:?}: {error}");
        }
    }
    for (axis, key, reason) in vectors().keys_refused {
        let error = RequiredCapability::axis_key(&axis, &key).expect_err(&key).to_string();
        assert!(error.contains(&reason), "{axis:?}, {key:?}: {error}");
    }
    for (axis, reason) in vectors().axes_refused {
        let error = RequiredCapability::axis_any(&axis).expect_err(&axis).to_string();
        assert!(error.contains(&reason), "{axis:?}: {error}");
    }
}

#[test]
fn texts_and_documents_of_predicates_are_read_or_say_why_not() {
    for (text, written) in vectors().texts {
        assert_eq!(text.parse::<Predicate>().map(|predicate| predicate.to_string()), Ok(written));
    }
    for (text, at, reason) in vectors().texts_refused {
        let error = text.parse::<Predicate>().expect_err(&text);
        assert!(error.at == at && error.reason.contains(&reason), "{text:?}: {error}");
    }
    for (document, reason) in vectors().documents_refused {
        let text = match document {
            // No JSON.
            serde_json::Value::String(text) => text,
            document => document.to_string(),
        };
        let error = Predicate::from_json(&text).expect_err(&text).to_string();
        assert!(error.contains(&reason), "{text}: {error}");
        assert!(serde_json::from_str::<Predicate>(&text).is_err(), "{text}");
    }
}
