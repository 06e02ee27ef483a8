//! Text that is percent-encoded, as URLs and headers of messages have it.

/// The text with `%XX` for each byte that is no printable ASCII, and for `%` and the space.
pub(crate) fn encoded(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |encoded, byte| match byte {
        b'%' => encoded + "%25",
        byte if byte.is_ascii_graphic() => encoded + char::from(byte).encode_utf8(&mut [0; 4]),
        byte => encoded + &format!("%{byte:02X}"),
    })
}

/// The text with its `%XX` decoded. `None`: it is not percent-encoded UTF-8.
pub(crate) fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        let (hex, rest) = part.split_at_checked(2)?;
        let is_hex = hex.bytes().all(|digit| digit.is_ascii_hexdigit());
        bytes.push(u8::from_str_radix(hex, 16).ok().filter(|_| is_hex)?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_comes_back() {
        for (text, shown) in
            [("", ""), ("answer-17", "answer-17"), ("50 %\r\nX: y", "50%20%25%0D%0AX:%20y"), ("\u{e9}\0", "%C3%A9%00")]
        {
            assert_eq!(encoded(text), shown);
            assert_eq!(decoded(shown).as_deref(), Some(text));
        }
        for broken in ["%4", "%FF", "%+1", "%%41"] {
            assert_eq!(decoded(broken), None, "{broken}");
        }
    }
}
