//! An Apache Parquet file: a row for each event, in groups of bounded size.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use tapeline_reader::StoredEvent;

use super::Sink;
use crate::exit::{Exit, Failure, advice_on};
use crate::form::Printer;
use crate::output;
use crate::stdout::Stdout;

/// The columns. `session` is null where the session has no name.
const SCHEMA: &str = "message event {
    required int32 shard (INTEGER(16, false));
    required int64 sequence (INTEGER(64, false));
    required int64 timestamp (TIMESTAMP(NANOS, true));
    required binary session_id (UTF8);
    optional binary session (UTF8);
    required binary kind (UTF8);
    required binary payload;
}";

/// Most rows of a group.
const GROUP_ROWS: usize = 100_000;

/// Bytes of payloads that end a group.
const GROUP_BYTES: usize = 64 << 20;

/// The rows of one group, by column.
#[derive(Debug, Default)]
struct Rows {
    shard: Vec<i32>,
    sequence: Vec<i64>,
    timestamp: Vec<i64>,
    session_id: Vec<ByteArray>,
    session: Vec<ByteArray>,
    /// For each row whether it has a session's name.
    is_named: Vec<i16>,
    kind: Vec<ByteArray>,
    payload: Vec<ByteArray>,
    payload_bytes: usize,
}

/// A file being written. It is whole once [`Sink::finish`] has returned.
pub(super) struct Table {
    writer: SerializedFileWriter<Target>,
    rows: Rows,
    /// The name of the output, for messages.
    place: String,
}

/// A file, or standard output.
type Target = Box<dyn Write + Send>;

impl Table {
    pub(super) fn create(path: &Path) -> Result<Self, Failure> {
        let file = File::create(path).map_err(|error| Failure::file(path, &error))?;
        Self::new(Box::new(file), path.display().to_string())
    }

    pub(super) fn to_standard_output() -> Result<Self, Failure> {
        Self::new(Box::new(Stdout::default()), "standard output".to_owned())
    }

    fn new(target: Target, place: String) -> Result<Self, Failure> {
        let failed = |error: ParquetError| Failure::failed(format_args!("{place}: {error}{}", advice_on(&error)));
        let schema = parse_message_type(SCHEMA).map_err(failed)?;
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let writer = SerializedFileWriter::new(target, Arc::new(schema), Arc::new(properties)).map_err(failed)?;
        Ok(Self { writer, rows: Rows::default(), place })
    }

    fn write_group(&mut self) -> Result<(), Failure> {
        let rows = std::mem::take(&mut self.rows);
        let write = |writer: &mut SerializedFileWriter<Target>| {
            let mut group = writer.next_row_group()?;
            column::<Int32Type>(&mut group, &rows.shard, None)?;
            column::<Int64Type>(&mut group, &rows.sequence, None)?;
            column::<Int64Type>(&mut group, &rows.timestamp, None)?;
            column::<ByteArrayType>(&mut group, &rows.session_id, None)?;
            column::<ByteArrayType>(&mut group, &rows.session, Some(&rows.is_named))?;
            column::<ByteArrayType>(&mut group, &rows.kind, None)?;
            column::<ByteArrayType>(&mut group, &rows.payload, None)?;
            group.close().map(drop)
        };
        write(&mut self.writer).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &ParquetError) -> Failure {
        Failure::failed(format_args!("{}: {error}{}", self.place, advice_on(error)))
    }
}

impl Sink for Table {
    fn take(&mut self, event: &StoredEvent, names: &mut Printer) -> Result<(), Failure> {
        let timestamp = i64::try_from(event.insertion_ts).map_err(|_| too_late(event))?;
        let rows = &mut self.rows;
        rows.shard.push(i32::from(event.shard_id));
        // Unsigned numbers keep their bits, as the column's type says.
        rows.sequence.push(event.sequence.get() as i64);
        rows.timestamp.push(timestamp);
        rows.session_id.push(event.session.to_string().into_bytes().into());
        let name = names.name_of(event.session);
        rows.is_named.push(i16::from(name.is_some()));
        rows.session.extend(name.map(|name| ByteArray::from(name.as_bytes().to_vec())));
        rows.kind.push(output::kind(event.kind).into_owned().into_bytes().into());
        rows.payload_bytes += event.raw.len();
        rows.payload.push(event.raw.to_vec().into());
        if rows.shard.len() == GROUP_ROWS || rows.payload_bytes >= GROUP_BYTES {
            self.write_group()?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>, _names: &mut Printer) -> Result<Exit, Failure> {
        if !self.rows.shard.is_empty() {
            self.write_group()?;
        }
        let place = std::mem::take(&mut self.place);
        self.writer
            .close()
            .map(|_| Exit::Done)
            .map_err(|error| Failure::failed(format_args!("{place}: {error}{}", advice_on(&error))))
    }
}

/// Nanoseconds since 1970 are 64 bits with a sign in a Parquet file.
fn too_late(event: &StoredEvent) -> Failure {
    Failure::failed(format_args!(
        "event {} of shard {} is of {}; a Parquet file holds times up to April 2262: leave it out with --until 2262-04-11",
        event.sequence,
        event.shard_id,
        output::time(event.insertion_ts)
    ))
}

fn column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, Target>,
    values: &[T::T],
    levels: Option<&[i16]>,
) -> Result<(), ParquetError> {
    let Some(mut column) = group.next_column()? else {
        return Err(ParquetError::General("a column more than the schema has".into()));
    };
    column.typed::<T>().write_batch(values, levels, None)?;
    column.close()
}
