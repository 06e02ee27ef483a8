//! Events out of the streams of a shard, and the shards of which there are streams.

use tapeline_reader::{AdapterError, AdapterResult};

use super::client::Link;
use super::keys::{self, Keys, Use};
use super::{entry, index};
use crate::adapters::position::Position;
use crate::adapters::stored::{StoredShards, shard_of};
use crate::adapters::{ShardPollResult, StoredShard};
use crate::core::config::Layout;
use crate::live::Delivery;

/// A page of a shard: of the events out of order once the others were read.
pub(super) async fn shard(
    link: &Link,
    keys: &Keys,
    mut from: Position<String>,
    limit: usize,
) -> AdapterResult<ShardPollResult> {
    let mut page = match link.config().streams.mapping.layout {
        Layout::PerShard => range(link, keys.events(), &mut from.in_order, limit).await?,
        Layout::PerSession | Layout::PerKind => index::page(link, keys, &mut from.in_order, limit).await?,
    };
    if !page.has_more {
        let late = range(link, &keys.late(), &mut from.late, limit - page.events.len()).await?;
        page.events.extend(late.events);
        page.has_more = late.has_more;
    }
    page.next_id = from.text();
    Ok(page)
}

/// Entries of one stream, from an id on, which is moved to the last of them.
async fn range(link: &Link, key: &str, from: &mut Option<String>, limit: usize) -> AdapterResult<ShardPollResult> {
    let first = from.as_ref().map_or_else(|| "-".to_owned(), |from| format!("({from}"));
    let mut range = redis::cmd("XRANGE");
    range.arg(key).arg(first).arg("+").arg("COUNT").arg(limit.saturating_add(1));
    let mut entries = entry::entries(link.command(&range).await?);
    let has_more = entries.len() > limit;
    entries.truncate(limit);
    if let Some((id, _)) = entries.last() {
        *from = Some(id.clone());
    }
    let events = entries.iter().map(|(id, fields)| entry::event_of(key, id, fields)).collect::<AdapterResult<_>>()?;
    Ok(ShardPollResult { events, next_id: None, has_more })
}

/// The shards of which there are streams with this prefix.
///
/// # Errors
/// [`AdapterError::Denied`] where their layout is not the one that is set: they would not be read.
pub(super) async fn stored(link: &Link) -> AdapterResult<Vec<StoredShard>> {
    let settings = &link.config().streams;
    let pattern = format!("{}:*", literally(&settings.prefix));
    let mut shards = StoredShards::default();
    let mut cursor = b"0".to_vec();
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(&cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(1000);
        let (next, found) = entry::scanned(link.command(scan.arg("TYPE").arg("stream")).await?);
        for key in &found {
            let Some((log, shard, found)) = keys::parse(settings, key) else { continue };
            let Some(shard) = shard_of(log, shard) else { continue };
            if found.is_of_another(settings.mapping.layout) {
                let text =
                    format!("stream {key} is not of the layout {:?}; set that of its relay", settings.mapping.layout);
                return Err(AdapterError::Denied(text));
            }
            shards.add(shard, if found == Use::Late { Delivery::Redriven } else { Delivery::InOrder });
        }
        if next == b"0" {
            return Ok(shards.list());
        }
        cursor = next;
    }
}

/// A pattern that a text alone matches.
fn literally(text: &str) -> String {
    let escaped = |letter| if "*?[]\\".contains(letter) { vec!['\\', letter] } else { vec![letter] };
    text.chars().flat_map(escaped).collect()
}
