use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tapeline_testing::Scratch;

use super::directory::{open_directory, rename_checked};
use super::mapping::FsMapping;
use super::*;
use crate::device::tests::{pattern, uring};
use crate::device::{Access, Directory, Mapping, SegmentFile, Space, is_of_environment};
use crate::format::PAGE_BYTES;

const PAGE: u64 = PAGE_BYTES as u64;
const SHORT: Duration = Duration::from_millis(20);
/// A process that another test forks holds a copy of each lock until it executes its program.
const LONG: Duration = Duration::from_secs(3600);

fn directory(scratch: &Scratch) -> FsDirectory {
    FsDirectory::open(scratch.path(), WriteMode::BufferedSync).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn files_and_directories_are_private() {
    let scratch = Scratch::new("device");
    let deep = scratch.path().join("a/b/c");
    create_directory(&deep).unwrap();
    create_directory(&deep).unwrap();
    for path in [&scratch.path().join("a"), &scratch.path().join("a/b"), &deep] {
        assert_eq!(mode(path), 0o700);
    }
    FsDirectory::open(&deep, WriteMode::Buffered).unwrap().create("segment", PAGE).unwrap();
    write_file_durably(&deep, "meta", b"meta").unwrap();
    let _lock = lock_exclusive(&deep, "lock", Duration::ZERO).unwrap();
    for name in ["segment", "meta", "lock"] {
        assert_eq!(mode(&deep.join(name)), 0o600, "{name}");
    }
}

#[test]
fn existing_directory_keeps_its_mode() {
    let scratch = Scratch::new("device");
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o750)).unwrap();
    create_directory(scratch.path()).unwrap();
    assert_eq!(mode(scratch.path()), 0o750);
}

#[test]
fn directory_over_a_file_is_refused() {
    let scratch = Scratch::new("device");
    write_file_durably(scratch.path(), "file", b"").unwrap();
    let error = create_directory(&scratch.path().join("file")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert!(create_directory(&scratch.path().join("file/below")).is_err());
}

#[test]
fn symbolic_links_are_followed_but_not_to_create_or_to_lock() {
    let scratch = Scratch::new("device");
    let directory = directory(&scratch);
    directory.create("target", PAGE).unwrap();
    symlink("target", scratch.path().join("link")).unwrap();
    symlink("nowhere", scratch.path().join("dangling")).unwrap();
    for access in [Access::Read, Access::Write] {
        assert_eq!(directory.open("link", access).unwrap().length().unwrap(), PAGE);
    }
    assert_eq!(read_small_file(scratch.path(), "link", 9000).unwrap().len() as u64, PAGE);
    assert_eq!(directory.create("dangling", PAGE).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    let error = lock_exclusive(scratch.path(), "link", Duration::ZERO).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
    symlink(".", scratch.path().join("self")).unwrap();
    let linked = FsDirectory::open(&scratch.path().join("self"), WriteMode::Buffered).unwrap();
    assert_eq!(linked.open("target", Access::Read).unwrap().length().unwrap(), PAGE);
}

#[test]
fn a_link_that_leads_nowhere_is_not_a_name_that_is_free() {
    let scratch = Scratch::new("device");
    symlink("no/where", scratch.path().join("dangling")).unwrap();
    let path = scratch.path().join("dangling");
    let errors = [
        directory(&scratch).open("dangling", Access::Read).unwrap_err(),
        read_small_file(scratch.path(), "dangling", 9000).unwrap_err(),
        FsDirectory::open(&path, WriteMode::Buffered).unwrap_err(),
        create_directory(&path).unwrap_err(),
    ];
    for error in errors {
        assert!(error.to_string().contains("symbolic link to no/where"), "{error}");
        assert!(is_of_environment(&error) && !is_no_file(&error), "{error}");
        assert!(!matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists), "{error}");
    }
}

#[test]
fn only_regular_files_are_opened() {
    let scratch = Scratch::new("device");
    let at = |name: &str| scratch.path().join(name);
    create_directory(&at("sub")).unwrap();
    // The open of a named pipe waits for the other end, that of a socket is refused.
    assert!(Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
    let _listener = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    symlink("/dev/null", at("device")).unwrap();
    let kinds = [("sub", "a directory"), ("pipe", "a named pipe"), ("socket", "a socket"), ("device", "a device")];
    for (name, kind) in kinds {
        for access in [Access::Read, Access::Write] {
            let error = directory(&scratch).open(name, access).unwrap_err();
            assert!(is_no_file(&error) && !is_of_environment(&error), "{name}: {error}");
            assert!(error.to_string().contains(kind), "{name}: {error}");
        }
        assert!(is_no_file(&read_small_file(scratch.path(), name, 9000).unwrap_err()), "{name}");
    }
}

#[test]
fn rename_without_the_kernels_help_replaces_nothing() {
    let scratch = Scratch::new("device");
    let directory = directory(&scratch);
    directory.create("a", PAGE).unwrap();
    symlink("nowhere", scratch.path().join("dangling")).unwrap();
    let open = open_directory(scratch.path()).unwrap();
    let error = rename_checked(&open, c"a", c"dangling").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    rename_checked(&open, c"a", c"b").unwrap();
    assert_eq!(directory.open("b", Access::Read).unwrap().length().unwrap(), PAGE);
}

#[test]
fn full_disk_leaves_no_file() {
    let Some(scratch) = Scratch::in_memory("device") else { return };
    let directory = directory(&scratch);
    // tmpfs compares with its size before it allocates anything.
    match directory.create("file", 1 << 50) {
        Ok(_) => println!("skipped: /dev/shm has no size limit"),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::StorageFull),
    }
    let _ = directory.remove("file");
    assert!(directory.create("file", u64::MAX).is_err());
    assert!(directory.list().unwrap().is_empty());
}

#[test]
#[allow(unsafe_code, reason = "a limit of a forked child")]
fn file_stays_where_another_of_its_name_cannot_be_made() {
    let scratch = Scratch::new("device");
    let directory = directory(&scratch);
    directory.create("file", PAGE).unwrap();
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let child = fork(|| {
        // SAFETY: a live structure.
        let is_limited = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const none) } == 0;
        let error = directory.create("file", PAGE).err();
        is_limited && error.is_some_and(|error| error.raw_os_error() == Some(libc::EMFILE))
    });
    assert!(holds_in(child));
    assert_eq!(directory.list().unwrap(), ["file"]);
}

#[test]
fn quota_counts_as_full_disk() {
    let error = call::kernel_error(io::Error::from_raw_os_error(libc::EDQUOT));
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}

#[test]
fn direct_probe_leaves_nothing_behind() {
    for scratch in [Some(Scratch::new("device")), Scratch::in_memory("device")].into_iter().flatten() {
        println!("{}: {}", scratch.path().display(), probe_direct(scratch.path()).unwrap());
        assert!(directory(&scratch).list().unwrap().is_empty());
    }
    assert_eq!(probe_direct(Path::new("/nonexistent")).unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn reader_sees_what_the_writer_of_an_open_file_wrote() {
    let scratch = Scratch::new("device");
    let mode = if probe_direct(scratch.path()).unwrap() { WriteMode::Direct } else { WriteMode::BufferedSync };
    let writer = FsDirectory::open(scratch.path(), mode).unwrap().create("file", 8 * PAGE).unwrap();
    let reader = FsDirectory::open(scratch.path(), WriteMode::Direct).unwrap().open("file", Access::Read).unwrap();
    let mut found = vec![0; PAGE_BYTES];
    for round in 0..8 {
        writer.write_at(&pattern(round, 1), round * PAGE).unwrap();
        reader.read_at(&mut found, round * PAGE).unwrap();
        assert!(found == pattern(round, 1));
    }
    assert!(reader.write_at(&found, 0).is_err());
    assert!(format!("{reader:?}").contains("file"));
}

#[test]
fn reader_does_without_direct_reads_where_they_are_refused() {
    let Some(scratch) = Scratch::in_memory("device") else { return };
    directory(&scratch).create("file", 2 * PAGE).unwrap().write_at(&pattern(1, 2), 0).unwrap();
    let reader = FsDirectory::open(scratch.path(), WriteMode::Direct).unwrap().open("file", Access::Read).unwrap();
    let mut found = vec![0; 2 * PAGE_BYTES];
    assert_eq!(reader.read_at(&mut found, 0).unwrap(), found.len());
    assert!(found == pattern(1, 2));
}

#[test]
fn file_that_ends_within_a_page_is_read_to_its_end() {
    let scratch = Scratch::new("device");
    let bytes = &pattern(1, 4)[..3 * PAGE_BYTES + 100];
    fs::write(scratch.path().join("file"), bytes).unwrap();
    for mode in [WriteMode::Direct, WriteMode::Buffered] {
        let file = FsDirectory::open(scratch.path(), mode).unwrap().open("file", Access::Read).unwrap();
        let mut found = vec![0; 8 * PAGE_BYTES];
        let read = file.read_at(&mut found, 0).unwrap();
        assert!(&found[..read] == bytes, "{mode:?}");
    }
}

fn mapped(scratch: &Scratch, bytes: &[u8]) -> (Arc<dyn SegmentFile>, FsMapping) {
    let file = directory(scratch).create("file", bytes.len() as u64).unwrap();
    file.write_at(bytes, 0).unwrap();
    let map = FsMapping::new(&fs::File::open(scratch.path().join("file")).unwrap()).unwrap();
    (file, map)
}

#[test]
fn pages_that_were_cut_off_are_refused_not_touched() {
    for scratch in [Some(Scratch::new("device")), Scratch::in_memory("device")].into_iter().flatten() {
        let bytes = pattern(1, 8);
        let (file, map) = mapped(&scratch, &bytes);
        map.populate(0..bytes.len()).unwrap();
        file.truncate(3 * PAGE).unwrap();
        map.populate(0..3 * PAGE_BYTES).unwrap();
        assert!(map.bytes()[..3 * PAGE_BYTES] == bytes[..3 * PAGE_BYTES]);
        for range in [0..bytes.len(), 3 * PAGE_BYTES..4 * PAGE_BYTES, 7 * PAGE_BYTES + 5..7 * PAGE_BYTES + 6] {
            let error = map.populate(range.clone()).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EFAULT), "{range:?}");
        }
    }
}

#[test]
fn pages_are_brought_in_without_the_kernels_help() {
    let scratch = Scratch::new("device");
    let bytes = pattern(1, 1100);
    let (file, map) = mapped(&scratch, &bytes);
    match map.touch(0..bytes.len()) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOSYS)) => {
            println!("skipped: process_vm_readv: {error}");
            return;
        }
        touched => touched.unwrap(),
    }
    map.touch(5..6).unwrap();
    map.touch(7..7).unwrap();
    file.truncate(3 * PAGE).unwrap();
    map.touch(0..3 * PAGE_BYTES).unwrap();
    // The second page of the range is the lost one.
    for range in [3 * PAGE_BYTES - 1..3 * PAGE_BYTES + 1, 0..bytes.len(), 1090 * PAGE_BYTES..1091 * PAGE_BYTES] {
        assert_eq!(map.touch(range.clone()).unwrap_err().raw_os_error(), Some(libc::EFAULT), "{range:?}");
    }
}

#[test]
fn empty_file_is_mapped() {
    let scratch = Scratch::new("device");
    let (_, map) = mapped(&scratch, &[]);
    assert!(map.bytes().is_empty());
    map.populate(0..0).unwrap();
    assert!(map.populate(0..1).is_err());
}

#[test]
fn lock_is_held_against_another_descriptor_until_released() {
    let scratch = Scratch::new("device");
    let lock = lock_exclusive(scratch.path(), "lock", Duration::ZERO).unwrap();
    for patience in [Duration::ZERO, SHORT] {
        let error = lock_exclusive(scratch.path(), "lock", patience).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
    fs::remove_file(scratch.path().join("lock")).unwrap();
    let error = lock_exclusive(scratch.path(), "lock", SHORT).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "without its file, too");
    drop(lock);
    lock_exclusive(scratch.path(), "lock", LONG).unwrap();
}

#[test]
fn lock_is_awaited() {
    let scratch = Scratch::new("device");
    let lock = lock_exclusive(scratch.path(), "lock", Duration::ZERO).unwrap();
    let waiter = std::thread::spawn({
        let path = scratch.path().to_owned();
        move || lock_exclusive(&path, "lock", LONG).map(drop)
    });
    drop(lock);
    waiter.join().unwrap().unwrap();
}

#[test]
fn lock_is_held_against_another_process_until_it_dies() {
    let scratch = Scratch::new("device");
    let path = scratch.path().join("lock");
    // Says a line once it has the lock, and holds it until its standard input ends.
    let mut command = Command::new("flock");
    let holder = command.arg(&path).args(["sh", "-c", "echo; read _"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut holder = match holder.spawn() {
        Ok(holder) => holder,
        Err(error) => return println!("skipped: flock(1): {error}"),
    };
    let mut line = String::new();
    io::BufRead::read_line(&mut io::BufReader::new(holder.stdout.take().unwrap()), &mut line).unwrap();
    let error = lock_exclusive(scratch.path(), "lock", SHORT).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    drop(holder.stdin.take());
    holder.wait().unwrap();
    lock_exclusive(scratch.path(), "lock", LONG).unwrap();
}

/// Forks a child that ends with 0 if it finds that all `holds`.
#[allow(unsafe_code, reason = "fork")]
fn fork(holds: impl FnOnce() -> bool) -> libc::pid_t {
    // SAFETY: the child does what is tested and ends without the parent's exit handlers.
    match unsafe { libc::fork() } {
        // SAFETY: as above.
        0 => unsafe { libc::_exit(i32::from(!holds())) },
        child => child,
    }
}

#[allow(unsafe_code, reason = "wait")]
fn holds_in(child: libc::pid_t) -> bool {
    let mut status = -1;
    // SAFETY: a live integer.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    status == 0
}

#[test]
fn forked_child_does_not_keep_the_lock() {
    let scratch = Scratch::new("device");
    let lock = lock_exclusive(scratch.path(), "lock", Duration::ZERO).unwrap();
    let (mut end, writer) = io::pipe().unwrap();
    // The grandchild and the child live until the parent closes its end of the pipe.
    let child = fork(|| {
        let grandchild = fork(|| io::Read::read(&mut end, &mut [0]).is_ok());
        holds_in(grandchild)
    });
    drop(lock);
    let again = lock_exclusive(scratch.path(), "lock", Duration::from_secs(5));
    io::Write::write_all(&mut &writer, b"x").unwrap();
    assert!(holds_in(child));
    again.unwrap();
}

#[test]
fn forked_child_keeps_no_ring_that_holds_the_lock() {
    let scratch = Scratch::new("device");
    let (mut end, writer) = io::pipe().unwrap();
    let parent = fork(|| {
        let lock = lock_exclusive(scratch.path(), "lock", Duration::ZERO).unwrap();
        let mut ring = uring();
        ring.iter_mut().for_each(|ring| ring.hold(&lock).unwrap());
        fork(|| io::Read::read(&mut end, &mut [0]).is_ok());
        // It ends as a process that is killed does.
        std::mem::forget((lock, ring));
        true
    });
    assert!(holds_in(parent));
    let again = lock_exclusive(scratch.path(), "lock", Duration::from_secs(5));
    io::Write::write_all(&mut &writer, b"x").unwrap();
    again.unwrap();
}

#[test]
fn lock_dropped_in_a_forked_child_closes_no_file_of_that_child() {
    let scratch = Scratch::new("device");
    let lock = lock_exclusive(scratch.path(), "lock", Duration::ZERO).unwrap();
    let mut copy = Some(lock);
    let child = fork(|| {
        // One of these takes the number that the lock's descriptor had.
        let files: Vec<_> = (0..8).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        copy.take();
        let is_locked = lock_exclusive(scratch.path(), "lock", Duration::ZERO).is_err();
        is_locked && files.iter().all(|file| file.metadata().is_ok())
    });
    assert!(holds_in(child));
}

#[test]
fn name_is_removed_only_while_it_is_the_files_own() {
    let scratch = Scratch::new("device");
    let directory = directory(&scratch);
    let own = directory.create("own", 4096).unwrap();
    directory.rename("own", "moved").unwrap();
    let other = directory.create("own", 4096).unwrap();
    let error = directory.remove_own("own", &*own).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    directory.remove_own("moved", &*own).unwrap();
    assert_eq!(directory.list().unwrap(), ["own"]);
    directory.remove_own("own", &*other).unwrap();
    assert_eq!(directory.remove_own("own", &*other).unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn small_file_is_replaced_whole() {
    let scratch = Scratch::new("device");
    assert_eq!(read_small_file(scratch.path(), "meta", 10).unwrap_err().kind(), io::ErrorKind::NotFound);
    fs::write(scratch.path().join("meta.tmp"), b"left by a crash").unwrap();
    write_file_durably(scratch.path(), "meta", b"0123456789").unwrap();
    assert_eq!(read_small_file(scratch.path(), "meta", 10).unwrap(), b"0123456789");
    assert_eq!(read_small_file(scratch.path(), "meta", 9).unwrap_err().kind(), io::ErrorKind::InvalidData);
    write_file_durably(scratch.path(), "meta", b"").unwrap();
    assert_eq!(read_small_file(scratch.path(), "meta", 0).unwrap(), b"");
    assert_eq!(directory(&scratch).list().unwrap(), ["meta"]);
    assert!(write_file_durably(scratch.path(), "a/b", b"").is_err());
}

#[test]
fn short_writes_go_on_at_a_page() {
    let mut progress = Progress::new(4 * PAGE_BYTES);
    progress.step(Ok(PAGE_BYTES + 512)).unwrap();
    assert_eq!((progress.done(), progress.rest()), (PAGE_BYTES, 3 * PAGE_BYTES));
    progress.step(Ok(0)).unwrap();
    progress.step(Ok(100)).unwrap();
    for number in [libc::EINTR, libc::EAGAIN] {
        progress.step(Err(io::Error::from_raw_os_error(number))).unwrap();
    }
    assert_eq!(progress.done(), PAGE_BYTES);
    progress.step(Ok(3 * PAGE_BYTES)).unwrap();
    assert_eq!(progress.rest(), 0);
}

#[test]
fn errors_and_stuck_writes_are_final() {
    let mut progress = Progress::new(PAGE_BYTES);
    let error = progress.step(Err(io::Error::from_raw_os_error(libc::ENOSPC))).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    let stuck = std::iter::repeat_with(|| progress.step(Ok(0))).take(1000).find_map(Result::err);
    assert_eq!(stuck.unwrap().kind(), io::ErrorKind::WriteZero);
}

#[test]
fn space_is_that_of_the_file_system_of_the_directory() {
    for scratch in [Some(Scratch::new("device")), Scratch::in_memory("device")].into_iter().flatten() {
        let directory = directory(&scratch);
        let before = directory.space().unwrap();
        assert!(before == Space::UNKNOWN || before.free <= before.total, "{before:?}");
        // What is left to others counts from the whole volume, and is never more than 256 MiB.
        assert!(before.available() <= before.free && before.free - before.available() <= 256 << 20, "{before:?}");
    }
    let space = |free, total| Space { free, total }.available();
    assert_eq!(
        [space(64 << 20, 64 << 20), space(1 << 20, 64 << 20), space(1 << 40, 1 << 42)],
        [62 << 20, 0, (1 << 40) - (256 << 20)]
    );
}

#[test]
fn shared_file_that_many_replace_is_always_whole() {
    let scratch = Scratch::new("device");
    let texts = ["a", "b", "c"].map(|letter| letter.repeat(300));
    write_shared_file_durably(scratch.path(), "cursor", texts[0].as_bytes()).unwrap();
    // A crash of a process with this number has left the name that comes next, and others.
    for number in 0..50 {
        fs::write(scratch.path().join(format!("cursor.{}-{number}.tmp", std::process::id())), "torn").unwrap();
    }
    std::thread::scope(|scope| {
        let writers: Vec<_> = texts
            .iter()
            .map(|text| {
                scope.spawn(|| {
                    for _ in 0..30 {
                        write_shared_file_durably(scratch.path(), "cursor", text.as_bytes()).unwrap();
                    }
                })
            })
            .collect();
        while !writers.iter().all(|writer| writer.is_finished()) {
            let read = String::from_utf8(read_small_file(scratch.path(), "cursor", 4096).unwrap()).unwrap();
            assert!(texts.contains(&read), "torn: {read:?}");
        }
    });
    assert!(fs::read_dir(scratch.path()).unwrap().count() > 1);
    remove_temporary_files(scratch.path()).unwrap();
    let left: Vec<_> = fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["cursor"]);
}
