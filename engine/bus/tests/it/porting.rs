//! The predecessor's names, used as its users use them. docs/PORTING.md has what differs.

use std::sync::LazyLock;

use serde_json::{Value, json};
use tapeline::{
    BatchConfig, ConsumeRequest, ConsumeResponse, Event, EventBus, EventBusConfig, Filter, RawEvent, StoredEvent,
    TimestampGenerator, kinds,
};

/// The front page's program, word for word but for the crate's name.
mod front_page {
    use tapeline::{Event, EventBus, EventBusConfig};

    #[tokio::main]
    pub(super) async fn main() -> Result<(), Box<dyn std::error::Error>> {
        let bus = EventBus::new(EventBusConfig::default()).await?;

        bus.ingest(Event::from_str(r#"{"token": "hello", "index": 0}"#)?)?;

        let response = bus.poll(Default::default()).await?;
        for event in response.events {
            println!("{:?}", event.raw);
        }

        bus.shutdown().await?;
        Ok(())
    }
}

#[test]
fn the_front_pages_program_runs() {
    front_page::main().expect("runs to its end");
}

async fn stored(events: impl IntoIterator<Item = RawEvent>) -> Vec<StoredEvent> {
    let bus = EventBus::new(EventBusConfig::default()).await.expect("a bus");
    for event in events {
        bus.ingest_raw(event).expect("room");
    }
    let response = bus.poll(ConsumeRequest::default()).await.expect("a page");
    bus.shutdown().await.expect("ends");
    response.events
}

#[tokio::test]
async fn events_come_from_values_and_serialise_as_their_json() {
    let value = json!({"token": "hello"});
    let event: Event = value.clone().into();
    let raw: RawEvent = value.clone().into();
    assert_eq!((event.clone().into_raw(), RawEvent::from(event.clone())), (raw.clone(), raw));
    assert_eq!(RawEvent::from_value(&value), RawEvent::from_value(value.clone()));
    assert_eq!(Value::try_from(event).expect("a value"), value);

    // Neither the order of keys nor the digits of a number change on the way.
    let text = r#"{"b":1.50,"a":100000000000000000000000000001}"#;
    let event: Event = serde_json::from_str(text).expect("JSON");
    assert_eq!(event, Event::from_str(text).expect("JSON"));
    assert_eq!(serde_json::to_string(&event).expect("serialises"), text);
    assert!(serde_json::from_str::<Event>("{").is_err());
}

#[tokio::test]
async fn a_stored_event_serialises_on_one_line_whatever_its_payload() {
    let payloads: [&[u8]; 4] = [b"{\"a\":\n [1.50]}\n", b"plain\ntext", b"\xff\x00", b""];
    let events = payloads.map(|bytes| RawEvent::from_bytes(bytes.to_vec()).with_session("s").with_kind(kinds::TOKEN));
    let lines: Vec<String> =
        stored(events).await.iter().map(|event| serde_json::to_string(event).expect("serialises")).collect();
    let expected =
        [r#""raw":{"a":  [1.50]},"#, r#""raw_text":"plain\ntext","#, r#""raw_bytes":[255,0],"#, r#""raw_text":"","#];
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.contains(expected) && !line.contains('\n'), "{line}");
        let value: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!((&value["shard_id"], &value["kind"]), (&json!(0), &json!(kinds::TOKEN.0)));
        assert_eq!(value["session"], json!(tapeline::event::session_id("s").to_string()));
        assert!(value["id"].is_string() && value["insertion_ts"].is_u64() && value["sequence"].is_u64());
    }
}

#[test]
fn a_raw_event_keeps_its_payload_out_of_logs() {
    let event = RawEvent::from_str("a secret").with_session("s");
    let text = format!("{event:?}");
    assert!(text.contains("len: 8") && !text.contains("secret"), "{text}");
}

#[tokio::test]
async fn a_filter_is_a_field_of_a_request_and_is_asked_of_values_and_pages() {
    let filter = Filter::and([Filter::eq("tool", "search"), Filter::not(Filter::eq("cached", true))]);
    let text = serde_json::to_string(&filter).expect("serialises");
    assert_eq!(serde_json::from_str::<Filter>(&text).expect("a filter"), filter);
    let refused = serde_json::from_str::<Filter>(r#"{"$xor":[]}"#).expect_err("no term").to_string();
    assert!(refused.contains("unknown term"), "{refused}");

    let values = [json!({"tool": "search"}), json!({"tool": "search", "cached": true}), json!({"tool": 1}), json!([])];
    let expected = [true, false, false, false];
    assert_eq!(values.each_ref().map(|value| filter.matches(value)), expected);
    let compiled = filter.compile().expect("within the limits");
    let events = stored(values.map(RawEvent::from)).await;
    assert_eq!(events.iter().map(|event| compiled.matches_stored(event)).collect::<Vec<_>>(), expected);

    let [event, ..] = &events[..] else { panic!("four events") };
    let of_session = Filter::session("another").compile().expect("a filter");
    assert!(!of_session.matches_stored(event) && !Filter::session("another").matches(&json!({})));
}

#[tokio::test]
async fn a_bus_is_healthy_until_it_ends_and_reports_what_is_pending() {
    let bus = EventBus::new(EventBusConfig::default()).await.expect("a bus");
    assert!(bus.is_healthy().await);
    bus.ingest(Event::new(json!(1))).expect("room");
    bus.flush().await.expect("flushes");
    assert_eq!(bus.pending_in_rings(), 0);
    bus.shutdown_via_ref().await.expect("ends");
    assert!(!bus.is_healthy().await);
}

/// The module paths that the predecessor's users import from.
#[allow(unused_qualifications, reason = "the paths are the test")]
#[test]
fn module_paths_are_where_they_were() {
    use tapeline::{bus, config, consumer, error, event, shard, timestamp};

    fn same<T>(_: Option<T>, _: Option<T>) {}
    same(None::<bus::EventBus>, None::<EventBus>);
    same(None::<config::EventBusConfig>, None::<EventBusConfig>);
    same(None::<consumer::Filter>, None::<Filter>);
    same(None::<error::AdapterError>, None::<tapeline::AdapterError>);
    same(None::<event::StoredEvent>, None::<StoredEvent>);
    let _ = None::<shard::ShardStats>;
    same(None::<timestamp::TimestampGenerator>, None::<tapeline::TimestampGenerator>);
}

#[test]
fn small_names_are_where_they_were() {
    assert_eq!(BatchConfig::MAX_BATCH_SIZE_LIMIT, tapeline::config::MAX_BATCH_SIZE_LIMIT);
    assert_eq!(ConsumeResponse::empty(), ConsumeResponse::default());
}

#[test]
fn threads_share_a_generator_of_timestamps() {
    static GENERATOR: LazyLock<TimestampGenerator> = LazyLock::new(TimestampGenerator::new);
    let first = GENERATOR.next();
    let second = std::thread::spawn(|| GENERATOR.next()).join().expect("draws");
    assert!(first < second);
}
