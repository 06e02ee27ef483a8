//! The stream: created where it is missing, and checked where it is there.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};

use crate::core::config::{JetStreamDiscard, JetStreamSettings};

/// The configuration of the stream, as the server is asked for it.
pub(super) fn config(settings: &JetStreamSettings) -> Config {
    Config {
        name: settings.name(),
        subjects: vec![format!("{}.>", settings.prefix)],
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        discard: match settings.discard {
            JetStreamDiscard::Old => DiscardPolicy::Old,
            JetStreamDiscard::New => DiscardPolicy::New,
        },
        max_messages: limit(settings.max_messages),
        max_bytes: limit(settings.max_bytes),
        max_messages_per_subject: -1,
        max_age: settings.max_age.unwrap_or(Duration::ZERO),
        duplicate_window: settings.dedup_window(),
        num_replicas: settings.replicas,
        ..Config::default()
    }
}

/// The server's number for a limit: that of none is -1.
fn limit(limit: Option<u64>) -> i64 {
    limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX))
}

/// The first setting in which a stream differs from what is asked for, and both values.
pub(super) fn difference(asked: &Config, found: &Config) -> Option<String> {
    let texts = |config: &Config| {
        [
            ("subjects", config.subjects.join(", ")),
            ("retention", format!("{:?}", config.retention)),
            ("storage", format!("{:?}", config.storage)),
            ("discard", format!("{:?}", config.discard)),
            ("max_messages", config.max_messages.to_string()),
            ("max_bytes", config.max_bytes.to_string()),
            ("max_messages_per_subject", config.max_messages_per_subject.to_string()),
            ("max_age", format!("{:?}", config.max_age)),
            ("dedup_window", format!("{:?}", config.duplicate_window)),
            ("replicas", config.num_replicas.to_string()),
            ("no_ack", config.no_ack.to_string()),
            ("sealed", config.sealed.to_string()),
        ]
    };
    let differs = texts(asked).into_iter().zip(texts(found)).find(|((_, asked), (_, found))| asked != found);
    differs.map(|((name, asked), (_, found))| format!("{name} is {found}, and {asked} is asked for"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_that_differs_is_named() {
        let settings = JetStreamSettings::default();
        let asked = config(&settings);
        assert_eq!(difference(&asked, &config(&settings)), None);
        let with = |change: &dyn Fn(&mut JetStreamSettings)| {
            let mut settings = JetStreamSettings::default();
            change(&mut settings);
            difference(&asked, &config(&settings)).expect("differs")
        };
        assert!(with(&|settings| settings.prefix = "other".into()).starts_with("subjects is other.>, and tapeline.>"));
        assert!(with(&|settings| settings.discard = JetStreamDiscard::New).starts_with("discard"));
        assert!(with(&|settings| settings.max_messages = Some(5)).starts_with("max_messages is 5, and -1"));
        assert!(with(&|settings| settings.max_bytes = Some(5)).starts_with("max_bytes"));
        assert!(with(&|settings| settings.max_age = Some(Duration::from_secs(600))).starts_with("max_age is 600s"));
        assert!(with(&|settings| settings.replicas = 3).starts_with("replicas"));
        assert!(with(&|settings| settings.dedup_window = Duration::from_secs(1)).starts_with("dedup_window"));
    }
}
