use super::*;
use crate::harness::scratch::Scratch;

fn lines_of(bytes: &[u8]) -> (Scratch, Lines) {
    let scratch = Scratch::below(None).unwrap();
    let path = scratch.path().join("trace");
    std::fs::write(&path, bytes).unwrap();
    let lines = Lines::open(&path).unwrap();
    (scratch, lines)
}

#[test]
fn blank_lines_are_passed_over_and_counted() {
    let (_scratch, mut lines) = lines_of("\u{feff}a\r\n\n  \nb".as_bytes());
    for _ in 0..2 {
        assert_eq!(lines.next().unwrap(), Some("a"));
        assert_eq!(lines.next().unwrap(), Some("b"));
        assert!(lines.failure("wrong").ends_with("trace:4: wrong"));
        assert_eq!(lines.next().unwrap(), None);
        lines.restart().unwrap();
    }
}

#[test]
fn what_is_no_line_of_text_is_named_by_its_place() {
    let (_scratch, mut lines) = lines_of(b"a\n\xff\n");
    lines.next().unwrap();
    assert!(lines.next().unwrap_err().to_string().ends_with("trace:2: not UTF-8"));
    let (_scratch, mut lines) = lines_of(&[vec![b'x'; LINE_BYTES_MAX - 1], b"\n".to_vec()].concat());
    assert!(lines.next().unwrap().is_some());
    let (_scratch, mut lines) = lines_of(&vec![b'x'; LINE_BYTES_MAX + 1]);
    assert!(lines.next().unwrap_err().to_string().contains("trace:1: longer than"));
    assert!(Lines::open(Path::new("/nowhere/trace")).unwrap_err().to_string().starts_with("/nowhere/trace: "));
}
