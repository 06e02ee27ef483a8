//! The session that a line of JSON names: the value of one field at its top.
//!
//! One pass that keeps nothing else of the line. It reads what programs write for JSON, too: `NaN`, `Infinity`, a
//! byte order mark, bytes that are no UTF-8. A number names the session with its digits as they stand, so that no two
//! numbers become one.

use tapeline::event::SESSION_NAME_BYTES_MAX;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// Bytes of an odd value that a message shows.
const SHOWN_BYTES: usize = 40;

/// Name of the session that `line` belongs to: the value of its field `field`. Of two fields of that name, the last
/// counts.
///
/// # Errors
/// The fault of the line, to be read after its place.
pub(super) fn session_name(line: &[u8], field: &str) -> Result<String, String> {
    let (found, outcome) = Scan::of(line, field);
    outcome?;
    named(found.ok_or_else(|| format!("no field {field:?}"))?, field)
}

/// The same for a line of which only the beginning is there.
pub(super) fn session_name_of_beginning(line: &[u8], field: &str) -> Option<String> {
    named(Scan::of(line, field).0?, field).ok()
}

/// True if a line says nothing.
pub(super) fn is_blank(line: &[u8]) -> bool {
    line.strip_prefix(BOM).unwrap_or(line).trim_ascii().is_empty()
}

/// The name in the text of a value.
fn named(value: &[u8], field: &str) -> Result<String, String> {
    let odd = |value| Err(format!("field {field:?} is {value}, neither a string nor a number"));
    let name = match value {
        [b'"', ..] => match serde_json::from_slice::<String>(value) {
            Ok(name) => name,
            Err(_) => return Err(format!("field {field:?} is no valid string")),
        },
        [b'{', ..] => return odd("an object"),
        [b'[', ..] => return odd("an array"),
        other => match str::from_utf8(other) {
            Ok(number) if is_number(number) => number.to_owned(),
            _ => return odd(&String::from_utf8_lossy(&other[..other.len().min(SHOWN_BYTES)])),
        },
    };
    match name.len() {
        0 => Err(format!("field {field:?} is empty")),
        1..=SESSION_NAME_BYTES_MAX => Ok(name),
        bytes => {
            Err(format!("field {field:?} has {bytes} bytes; a session's name has {SESSION_NAME_BYTES_MAX} at most"))
        }
    }
}

/// True if the text is a number by JSON's grammar.
fn is_number(text: &str) -> bool {
    let whole = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = whole.split_once(['e', 'E']).unwrap_or((whole, "0"));
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let has_leading_zero = integer.len() > 1 && integer.starts_with('0');
    [integer, fraction, exponent].into_iter().all(is_digits) && !has_leading_zero
}

/// A walk over a line.
struct Scan<'a> {
    line: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    /// The text of the field's value, as far as the line goes, and whether the line is an object.
    fn of(line: &'a [u8], field: &str) -> (Option<&'a [u8]>, Result<(), String>) {
        let line = line.strip_prefix(BOM).unwrap_or(line);
        let mut scan = Self { line, at: 0 };
        let mut found = None;
        let outcome = scan.object(|key, value| {
            if is_key(key, field) {
                found = Some(value);
            }
        });
        let outcome = outcome.ok_or_else(|| format!("not a JSON object (from its column {} on)", scan.at + 1));
        (found, outcome)
    }

    fn object(&mut self, mut each: impl FnMut(&'a [u8], &'a [u8])) -> Option<()> {
        self.expect(b'{')?;
        if self.peek()? != b'}' {
            loop {
                let key = self.string()?;
                self.expect(b':')?;
                let value = self.value()?;
                // The value is whole only if something follows it.
                let next = self.peek()?;
                each(key, value);
                match next {
                    b',' => self.at += 1,
                    b'}' => break,
                    _ => return None,
                }
            }
        }
        self.expect(b'}')?;
        self.peek().is_none().then_some(())
    }

    /// The next byte that is no space.
    fn peek(&mut self) -> Option<u8> {
        let rest = &self.line[self.at..];
        self.at += rest.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(rest.len());
        self.line.get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        let is_there = self.peek()? == byte;
        self.at += usize::from(is_there);
        is_there.then_some(())
    }

    /// A string, with its quotes.
    fn string(&mut self) -> Option<&'a [u8]> {
        if self.peek()? != b'"' {
            return None;
        }
        let start = self.at;
        let mut at = start + 1;
        loop {
            at += memchr::memchr2(b'"', b'\\', self.line.get(at..)?)? + 1;
            if self.line[at - 1] == b'"' {
                self.at = at;
                return Some(&self.line[start..at]);
            }
            // Whatever is escaped ends nothing.
            at += 1;
        }
    }

    fn value(&mut self) -> Option<&'a [u8]> {
        let start = match self.peek()? {
            b'"' => return self.string(),
            _ => self.at,
        };
        let mut depth = 0u32;
        while let Some(&byte) = self.line.get(self.at) {
            match byte {
                b'"' if depth > 0 => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => depth = depth.checked_add(1)?,
                b'}' | b']' if depth > 0 => {
                    depth -= 1;
                    if depth == 0 {
                        self.at += 1;
                        break;
                    }
                }
                b'}' | b']' | b',' | b'"' if depth == 0 => break,
                byte if depth == 0 && byte.is_ascii_whitespace() => break,
                _ => {}
            }
            self.at += 1;
        }
        (depth == 0 && self.at > start).then(|| &self.line[start..self.at])
    }
}

/// True if a key, as it stands, is this one.
fn is_key(key: &[u8], field: &str) -> bool {
    let plain = &key[1..key.len() - 1];
    if plain.contains(&b'\\') {
        serde_json::from_slice::<String>(key).is_ok_and(|key| key == field)
    } else {
        plain == field.as_bytes()
    }
}
