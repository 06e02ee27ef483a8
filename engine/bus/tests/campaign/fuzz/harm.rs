//! Harm done to a log: fields changed and checksums made right again, lengths, files that change places, strange names.

use std::ops::Range;

use tapeline_storage::device::sim::Random;
use tapeline_storage::format::layout::{Layout, Links, sum_small};
use tapeline_storage::format::{BLOCK_HEADER_BYTES, PAGE_BYTES, crc32c};

use super::image::{Entry, Image};

/// Longest that a file grows to: looking through it takes a second or two.
const GROWN_BYTES: u64 = 64 << 20;

/// Harms the log. Returns what was done, in words.
pub(crate) fn harm(image: &mut Image, random: &mut Random) -> String {
    let times = 1 + random.below(3);
    let done: Vec<String> = (0..times)
        .map(|_| match random.below(20) {
            0..=9 => change_segment(image, random),
            10..=12 => change_small_file(image, random),
            13..=14 => change_length(image, random),
            15..=16 => swap_files(image, random),
            17..=18 => splice(image, random),
            _ => strange_entry(image, random),
        })
        .collect();
    done.join("; ")
}

fn pick<T: Clone>(from: &[T], random: &mut Random) -> Option<T> {
    from.get(random.below(from.len() as u64) as usize).cloned()
}

/// Changes some words of one structure of a segment.
fn change_segment(image: &mut Image, random: &mut Random) -> String {
    let Some(name) = pick(&image.segments(), random) else { return "no segment".into() };
    let layout = Layout::of(image.bytes(&name));
    let Some((structure, range)) = pick_structure(&layout, random) else { return "no structure".into() };
    let Some(bytes) = image.bytes_mut(&name) else { return "no file".into() };
    let mut done = format!("{name} {structure}");
    for _ in 0..1 + random.below(2) {
        done += &change_word(bytes, &range, random);
    }
    match random.below(8) {
        0 => done += ", sums left",
        1..=2 => {
            layout.sum(bytes, Links::Kept);
            done += ", links left";
        }
        _ => layout.sum(bytes, Links::Mended),
    }
    done
}

fn pick_structure(layout: &Layout, random: &mut Random) -> Option<(&'static str, Range<usize>)> {
    let block = pick(&layout.blocks, random);
    Some(match random.below(12) {
        0 => ("header", 12..100),
        1..=3 => ("block header", block.map(|block| block.start + 12..block.start + BLOCK_HEADER_BYTES)?),
        4 => ("block body", block.map(|block| block.start + BLOCK_HEADER_BYTES..block.end)?),
        5..=7 => ("footer", layout.footer.clone().map(|footer| footer.start + 12..footer.start + 128)?),
        8 => ("filter", layout.footer.clone().map(|footer| footer.start + 128..footer.end)?),
        9 => ("index root", layout.index.clone().map(|index| index.end - 48..index.end)?),
        _ => ("index", layout.index.clone()?),
    })
}

/// Gives a word in the range another value.
fn change_word(bytes: &mut [u8], range: &Range<usize>, random: &mut Random) -> String {
    let width = [2, 4, 4, 8, 8, 8][random.below(6) as usize];
    let end = range.end.min(bytes.len());
    let fields = end.saturating_sub(range.start) / width;
    if fields == 0 {
        return " (too short)".into();
    }
    let at = range.start + random.below(fields as u64) as usize * width;
    let mut word = [0; 8];
    word[..width].copy_from_slice(&bytes[at..at + width]);
    let before = u64::from_le_bytes(word);
    let value = value(before, bytes, random);
    bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
    format!(" +{} u{} {before:#x} -> {value:#x}", at - range.start, width * 8)
}

/// A value at a border, near the one that was there, or one that stands elsewhere.
fn value(before: u64, bytes: &[u8], random: &mut Random) -> u64 {
    let (page, length) = (PAGE_BYTES as u64, bytes.len() as u64);
    let other = u64_at(bytes, random.below(length.saturating_sub(8) / 8 + 1) as usize * 8);
    let values = [
        0,
        1,
        2,
        0xff,
        0xffff,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_ffff,
        1 << 32,
        1 << 63,
        u64::MAX / 2,
        u64::MAX - 1,
        u64::MAX,
        page,
        1 << 20,
        (1 << 20) + page,
        length,
        length.wrapping_sub(page),
        length.wrapping_add(page),
        before.wrapping_add(1),
        before.wrapping_sub(1),
        before.wrapping_add(page),
        before.wrapping_sub(page),
        before.wrapping_add(16),
        before.wrapping_mul(2),
        before / 2,
        before ^ 1 << random.below(64),
        other,
        other & 0xffff_ffff,
        random.next_u64(),
        random.below(64),
        random.below(length + 1) / page * page,
    ];
    values[random.below(values.len() as u64) as usize]
}

/// Changes a word, or some letters, of the meta file, the eras, gaps or a cursor.
fn change_small_file(image: &mut Image, random: &mut Random) -> String {
    let small: Vec<_> = image.files().into_iter().filter(|name| !name.ends_with(".seg")).collect();
    let Some(name) = pick(&small, random) else { return "no small file".into() };
    let Some(bytes) = image.bytes_mut(&name) else { return "no file".into() };
    if name.starts_with("cursors/") {
        return format!("{name} {}", change_cursor(bytes, random));
    }
    let slot = if name.ends_with("gaps") { random.below(2) as usize * PAGE_BYTES } else { 0 };
    let range = slot + 12..slot + if name.ends_with("gaps") { 120 } else { PAGE_BYTES };
    let done = format!("{name} +{slot}{}", change_word(bytes, &range, random));
    // Many shards take a directory and a file each.
    if name == "meta" && u32_at(bytes, 32) > 64 && random.below(8) > 0 {
        bytes[32..36].copy_from_slice(&3u32.to_le_bytes());
    }
    match random.below(8) {
        0 => done + ", sums left",
        _ => {
            sum_small(bytes);
            done
        }
    }
}

/// A cursor is hexadecimal digits with a checksum at its end.
fn change_cursor(text: &mut Vec<u8>, random: &mut Random) -> String {
    let digits: Vec<u8> = text.iter().copied().filter(u8::is_ascii_hexdigit).collect();
    let digit = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16).expect("digits");
    let mut bytes: Vec<u8> = digits.chunks_exact(2).map(digit).collect();
    bytes.truncate(bytes.len().saturating_sub(4));
    let done = match random.below(4) {
        0 => {
            text.truncate(random.below(text.len() as u64 + 1) as usize);
            return "cut".into();
        }
        1 => {
            bytes.truncate(random.below(bytes.len() as u64 + 1) as usize);
            "cut, sum right".into()
        }
        _ => {
            let range = 0..bytes.len();
            change_word(&mut bytes, &range, random)
        }
    };
    bytes.extend(crc32c(&bytes).to_le_bytes());
    *text = bytes.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect();
    done
}

fn change_length(image: &mut Image, random: &mut Random) -> String {
    let Some(name) = pick(&image.files(), random) else { return "no file".into() };
    let Some(Entry::File(bytes, grown)) = image.0.get_mut(&name) else { return "no file".into() };
    let length = bytes.len() as u64;
    let pages = length / PAGE_BYTES as u64;
    let to = match random.below(8) {
        0 => 0,
        1 => random.below(length + 1),
        2..=3 => random.below(pages + 1) * PAGE_BYTES as u64,
        4 => length + PAGE_BYTES as u64,
        5 => length + 1 + random.below(8192),
        6 => length * 2,
        _ => random.below(GROWN_BYTES),
    };
    if to > length {
        *grown = to;
    } else {
        bytes.truncate(to as usize);
    }
    format!("{name} is {to} instead of {length} bytes")
}

/// Files that are removed, exchanged, copied over each other, or have another name.
fn swap_files(image: &mut Image, random: &mut Random) -> String {
    let (Some(one), Some(other)) = (pick(&image.files(), random), pick(&image.files(), random)) else {
        return "no files".into();
    };
    let (first, second) = (image.bytes(&one).to_vec(), image.bytes(&other).to_vec());
    match random.below(5) {
        0 => {
            image.0.remove(&one);
            format!("{one} removed")
        }
        1 => {
            image.put(&one, second);
            image.put(&other, first);
            format!("{one} and {other} exchanged")
        }
        2 => {
            image.put(&other, first);
            format!("{one} copied over {other}")
        }
        _ => {
            let name = format!("shard-{:04}/{}", random.below(3), segment_name(random));
            image.put(&name, first);
            if random.below(2) == 0 {
                image.0.remove(&one);
            }
            format!("{one} copied to {name}")
        }
    }
}

fn segment_name(random: &mut Random) -> String {
    let number = [0, 1, 50, 100, 101, 321, u64::MAX, u64::MAX - 1, random.below(600)][random.below(9) as usize];
    match random.below(8) {
        0 => "spare.seg".into(),
        1 => "repack.tmp".into(),
        2 => format!("{number}.seg"),
        3 => "99999999999999999999.seg".into(),
        4 => format!("{number:020}.seg.aside"),
        _ => format!("{number:020}.seg"),
    }
}

/// Puts some pages of a file somewhere else, or zeros there.
fn splice(image: &mut Image, random: &mut Random) -> String {
    let (Some(from), Some(to)) = (pick(&image.segments(), random), pick(&image.segments(), random)) else {
        return "no segments".into();
    };
    let source = image.bytes(&from).to_vec();
    let Some(target) = image.bytes_mut(&to) else { return "no file".into() };
    let pages = |bytes: &[u8]| (bytes.len() / PAGE_BYTES) as u64;
    let (at, into) = (random.below(pages(&source)) as usize, random.below(pages(target)) as usize);
    let most = (source.len() / PAGE_BYTES - at.min(source.len() / PAGE_BYTES)).min(target.len() / PAGE_BYTES - into);
    let count = random.below(most.min(6) as u64 + 1) as usize * PAGE_BYTES;
    let (at, into) = (at * PAGE_BYTES, into * PAGE_BYTES);
    let are_zeros = random.below(3) == 0;
    if are_zeros {
        target[into..into + count].fill(0)
    } else {
        target[into..into + count].copy_from_slice(&source[at..at + count])
    }
    let layout = Layout::of(target);
    if random.below(2) == 0 {
        layout.sum(target, Links::Mended);
    }
    format!("{count} bytes of {from} +{at} (zeros: {are_zeros}) in {to} +{into}")
}

/// Puts an entry that is no file where a file is expected.
fn strange_entry(image: &mut Image, random: &mut Random) -> String {
    let names = ["meta", "lock", "eras", "cursors", "cursors/relay", "cursors/odd name", "shard-0001", "shard-9999"];
    let segment = format!("shard-0000/{}", segment_name(random));
    let name = match random.below(3) {
        0 => names[random.below(names.len() as u64) as usize].to_owned(),
        1 => pick(&image.files(), random).unwrap_or(segment),
        _ => segment,
    };
    let entry = match random.below(6) {
        0 | 1 => Entry::Directory,
        2 => Entry::Link("/dev/zero".into()),
        3 => Entry::Link("elsewhere".into()),
        4 => Entry::Pipe,
        _ => Entry::File(Vec::new(), 0),
    };
    // Nothing lies below what is no directory.
    image.0.retain(|other, _| *other != name && !other.starts_with(&format!("{name}/")));
    let done = format!("{name} is {entry:?}");
    image.0.insert(name, entry);
    done
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |bytes| u32::from_le_bytes(bytes.try_into().expect("4 bytes")))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().expect("8 bytes")))
}
