//! Streams of `chat.completion.chunk` objects, as servers that speak OpenAI's protocol send them: a stream for each session.
//!
//! | event | becomes |
//! |---|---|
//! | a payload that is such a chunk, or a server-sent event with one | itself |
//! | kind `token` or `unspecified`, text | `delta.content`: the text; of a JSON object its `content`, `text` or `delta` |
//! | kind `tool_call` | `delta.tool_calls`: of a JSON object its `id`, `name` and `arguments`, else all of it as arguments |
//! | other kinds | nothing |
//!
//! A stream made of other events begins with the role and ends with a reason to finish; each ends with `[DONE]`.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tapeline::{SessionId, StoredEvent, kinds};

use super::Sink;
use crate::exit::{Exit, Failure};
use crate::form::Printer;
use crate::select::Selection;
use crate::sse;

/// The open streams. One file each, for as long as the export lasts.
pub(super) struct Chunks {
    /// Where files go; `None`: standard output, which takes one session.
    directory: Option<PathBuf>,
    streams: HashMap<SessionId, Stream>,
}

struct Stream {
    out: BufWriter<Box<dyn Write>>,
    place: String,
    session: String,
    model: String,
    /// Whether chunks were made, and not only passed on.
    is_made: bool,
    /// Tool calls so far.
    tools: u64,
    is_done: bool,
}

impl Chunks {
    pub(super) fn into_files(directory: &Path) -> Result<Self, Failure> {
        std::fs::create_dir_all(directory).map_err(|error| Failure::file(directory, &error))?;
        Ok(Self { directory: Some(directory.to_owned()), streams: HashMap::new() })
    }

    pub(super) fn to_standard_output(selection: &Selection) -> Result<Self, Failure> {
        match selection.session.len() {
            1 => Ok(Self { directory: None, streams: HashMap::new() }),
            _ => Err(Failure::new(
                Exit::Usage,
                "one stream a session: choose one with --session, or name a directory with --out",
            )),
        }
    }

    fn stream(&mut self, event: &StoredEvent, names: &Printer) -> Result<&mut Stream, Failure> {
        if !self.streams.contains_key(&event.session) {
            let session = names.name_of(event.session).map_or_else(|| event.session.to_string(), str::to_owned);
            let stream = Stream::open(self.directory.as_deref(), session)?;
            self.streams.insert(event.session, stream);
        }
        self.streams.get_mut(&event.session).ok_or_else(|| Failure::failed("no stream"))
    }
}

impl Sink for Chunks {
    fn take(&mut self, event: &StoredEvent, names: &mut Printer) -> Result<(), Failure> {
        let stream = self.stream(event, names)?;
        stream.take(event).map_err(|error| Failure::failed(format_args!("{}: {error}", stream.place)))
    }

    fn finish(mut self: Box<Self>) -> Result<(), Failure> {
        for stream in self.streams.values_mut() {
            stream.finish().map_err(|error| Failure::failed(format_args!("{}: {error}", stream.place)))?;
        }
        Ok(())
    }
}

impl Stream {
    fn open(directory: Option<&Path>, session: String) -> Result<Self, Failure> {
        let (out, place): (Box<dyn Write>, _) = match directory {
            Some(directory) => {
                // A name may hold what no file name may.
                let plain = |c: char| if c.is_alphanumeric() || "-_.[]".contains(c) { c } else { '_' };
                let name: String = session.chars().map(plain).collect();
                let path = directory.join(format!("{}.sse", name.trim_start_matches('.')));
                (
                    Box::new(File::create_new(&path).map_err(|error| Failure::file(&path, &error))?),
                    path.display().to_string(),
                )
            }
            None => (Box::new(io::stdout()), "standard output".to_owned()),
        };
        let out = BufWriter::new(out);
        Ok(Self { out, place, session, model: "unknown".into(), is_made: false, tools: 0, is_done: false })
    }

    fn take(&mut self, event: &StoredEvent) -> io::Result<()> {
        if let Some(mut frames) = sse::frames_of_payload(&event.raw) {
            return frames.try_for_each(|frame| frame.data.map_or(Ok(()), |data| self.pass(&data).map(drop)));
        }
        if str::from_utf8(&event.raw).is_ok_and(|text| chunk_in(text).is_some()) {
            return self.pass(&String::from_utf8_lossy(&event.raw)).map(drop);
        }
        let text = String::from_utf8_lossy(&event.raw);
        let object = serde_json::from_str::<Value>(&text).ok().filter(Value::is_object);
        let field = |name: &str| object.as_ref()?.get(name)?.as_str();
        match event.kind {
            kinds::SESSION => {
                if let Some(model) = field("model") {
                    self.model = model.to_owned();
                }
                Ok(())
            }
            kinds::TOKEN | kinds::UNSPECIFIED => {
                let content = match &object {
                    Some(_) => ["content", "text", "delta"].into_iter().find_map(field),
                    None => Some(&*text),
                };
                content.map_or(Ok(()), |content| self.make(event, &json!({ "content": content })))
            }
            kinds::TOOL_CALL => {
                let index = self.tools;
                self.tools += 1;
                let arguments = field("arguments").map_or_else(
                    || {
                        object
                            .as_ref()
                            .and_then(|object| object.get("arguments"))
                            .map_or_else(|| text.to_string(), Value::to_string)
                    },
                    str::to_owned,
                );
                let id = field("id").map_or_else(|| format!("call_{}", event.sequence), str::to_owned);
                let name = field("name").unwrap_or("unknown").to_owned();
                let call = json!({
                    "index": index,
                    "id": id,
                    "type": "function",
                    "function": { "name": name, "arguments": arguments },
                });
                self.make(event, &json!({ "tool_calls": [call] }))
            }
            _ => Ok(()),
        }
    }

    /// Passes on what is a chunk already. Whether it was one.
    fn pass(&mut self, data: &str) -> io::Result<bool> {
        match chunk_in(data) {
            Some(Data::Chunk(chunk)) => self.send(chunk)?,
            // All that are there are written as one, at the end.
            Some(Data::Done) => self.is_done = true,
            None => return Ok(false),
        }
        Ok(true)
    }

    /// Sends a chunk of this delta; the first says whose words these are.
    fn make(&mut self, event: &StoredEvent, delta: &Value) -> io::Result<()> {
        if !std::mem::replace(&mut self.is_made, true) {
            self.send_delta(event.insertion_ts, &json!({ "role": "assistant", "content": "" }), None)?;
        }
        self.send_delta(event.insertion_ts, delta, None)
    }

    fn send_delta(&mut self, timestamp: u64, delta: &Value, finish_reason: Option<&str>) -> io::Result<()> {
        let chunk = json!({
            "id": format!("chatcmpl-{}", self.session),
            "object": "chat.completion.chunk",
            "created": timestamp / 1_000_000_000,
            "model": self.model,
            "choices": [{ "index": 0, "delta": delta, "finish_reason": finish_reason }],
        });
        self.send(&chunk.to_string())
    }

    fn send(&mut self, data: &str) -> io::Result<()> {
        write!(self.out, "data: {data}\n\n")
    }

    fn finish(&mut self) -> io::Result<()> {
        if self.is_made && !self.is_done {
            let reason = if self.tools > 0 { "tool_calls" } else { "stop" };
            self.send_delta(0, &json!({}), Some(reason))?;
        }
        self.send("[DONE]")?;
        self.out.flush()
    }
}

/// What a payload that speaks the protocol already says.
#[derive(Debug, PartialEq, Eq)]
enum Data<'a> {
    Chunk(&'a str),
    Done,
}

/// The chunk in the data of a frame, or in a payload that is no frame.
fn chunk_in(data: &str) -> Option<Data<'_>> {
    let data = data.trim();
    if data == "[DONE]" {
        return Some(Data::Done);
    }
    let is_chunk = data.starts_with('{')
        && serde_json::from_str::<Value>(data).is_ok_and(|value| value["object"] == "chat.completion.chunk");
    is_chunk.then_some(Data::Chunk(data))
}
