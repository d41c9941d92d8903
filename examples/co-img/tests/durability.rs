//! What is asked of the disk: to have everything that is written, unless that need not be durable (`-t unsafe`), and then
//! nothing; and what is scattered over a source before it is needed.

#![cfg(target_os = "linux")]

mod support;

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::Output;

use nix::libc::{self, c_long};
use nix::sys::statfs::{EXT4_SUPER_MAGIC, statfs};
use support::{Folder, run, text};

/// What has a disk write, each of which may take as long as all that is to be written.
const SYNCS: [c_long; 6] = [
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync_file_range,
    libc::SYS_syncfs,
    libc::SYS_sync,
    libc::SYS_msync,
];

/// The commands that write, what their target is, and how it comes that there is one before.
const WRITERS: [(&[&str], Before); 12] = [
    (&["convert", "-O", "raw", "raw", "out"], Before::Nothing),
    (&["convert", "-O", "qcow2", "raw", "out"], Before::Nothing),
    (&["convert", "-O", "qcow2", "-B", "raw", "-F", "raw", "raw", "out"], Before::Nothing),
    (&["convert", "-O", "raw", "qcow2", "out"], Before::File),
    (&["convert", "-O", "qcow2", "qcow2", "out"], Before::File),
    (&["convert", "-O", "raw", "qcow2", "out"], Before::HardLink),
    (&["convert", "-O", "qcow2", "qcow2", "out"], Before::HardLink),
    (&["convert", "-n", "-O", "raw", "raw", "out"], Before::Raw),
    (&["convert", "-n", "-O", "qcow2", "raw", "out"], Before::Qcow2),
    (&["bench", "-w", "-c", "500", "-f", "raw", "out"], Before::Raw),
    (&["bench", "-w", "-c", "500", "-f", "qcow2", "out"], Before::Qcow2),
    (&["bench", "-w", "-c", "500", "-d", "1", "-f", "qcow2", "out"], Before::Qcow2),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Before {
    Nothing,
    /// To be replaced.
    File,
    /// To be written in place.
    HardLink,
    /// To be written into.
    Raw,
    Qcow2,
}

const SIZE: usize = 3 << 20;

/// A folder with sources, and with what is there before.
fn folder(before: Before) -> Folder {
    let folder = Folder::new();
    folder.raw("raw", SIZE);
    folder.ok(&["convert", "-O", "qcow2", "raw", "qcow2"]);
    match before {
        Before::Nothing => {}
        Before::File | Before::HardLink => fs::write(folder.path("out"), vec![7; 4 << 20]).unwrap(),
        Before::Raw => folder.raw("out", SIZE),
        Before::Qcow2 => drop(folder.ok(&["convert", "-O", "qcow2", "raw", "out"])),
    }
    if before == Before::HardLink {
        fs::hard_link(folder.path("out"), folder.path("other")).unwrap();
    }
    folder
}

/// Runs the program, which is killed by SIGSYS when it makes one of these system calls.
fn without(folder: &Folder, calls: &[c_long], args: &[&str]) -> Output {
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let mut program = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0)]; // the call's number
    for call in calls {
        program.push(libc::sock_filter { jf: 1, ..statement(equal, u32::try_from(*call).unwrap()) });
        program.push(statement(libc::BPF_RET, libc::SECCOMP_RET_KILL_PROCESS));
    }
    program.push(statement(libc::BPF_RET, libc::SECCOMP_RET_ALLOW));
    let mut command = folder.command(args);
    // SAFETY: the closure runs in the forked child, and makes two calls, which may be made there. The program is the
    // closure's own, and both pointers to it are valid for the length of the call.
    unsafe {
        command.pre_exec(move || {
            let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
            let made = libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) == 0;
            if made { Ok(()) } else { Err(io::Error::last_os_error()) }
        });
    }
    run(&mut command)
}

/// The arguments, with a cache mode after the command.
fn with_cache<'a>(args: &[&'a str], cache: &'a str) -> Vec<&'a str> {
    [&args[..1], &["-t", cache], &args[1..]].concat()
}

#[test]
fn what_need_not_be_durable_is_never_synced_and_all_else_is() {
    for (args, before) in WRITERS {
        for cache in [None, Some("writeback"), Some("none"), Some("unsafe")] {
            let folder = folder(before);
            let args = cache.map_or(args.to_vec(), |cache| with_cache(args, cache));
            let output = without(&folder, &SYNCS, &args);
            let err = text(&output.stderr);
            match cache {
                Some("unsafe") => assert!(output.status.success(), "{args:?}, {before:?}: {:?} {err}", output.status),
                _ if err.contains("Invalid argument") => {} // a file system without O_DIRECT
                _ => assert_eq!(output.status.signal(), Some(libc::SIGSYS), "{args:?}, {before:?}: {err}"),
            }
        }
    }
}

/// Some file systems begin to write a file to the disk when it replaces another one, or is closed after it was cut to nothing,
/// for programs that forget to sync. That takes as long as a sync.
#[test]
fn what_need_not_be_durable_is_left_to_the_system_to_write_some_time() {
    for (args, before) in WRITERS {
        // What a raw image has is on the disk already, and written over.
        if matches!(before, Before::Raw | Before::Qcow2) {
            continue;
        }
        // The system may write it meanwhile for reasons of its own.
        let left = || {
            let folder = folder(before);
            let output = folder.run(&with_cache(args, "unsafe"));
            assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
            let Some(left) = has_no_place_yet(&folder.path("out")) else { return true };
            left
        };
        assert!((0..10).any(|_| left()), "{args:?}, {before:?}: it was written to the disk before the program ended");
    }
}

/// Whether part of a file has no place on the disk yet, because nobody has asked for it to be written. Only ext4 tells.
fn has_no_place_yet(path: &Path) -> Option<bool> {
    /// A `struct fiemap` with its extents.
    #[repr(C)]
    struct Map {
        start: u64,
        length: u64,
        flags: u32,
        mapped: u32,
        count: u32,
        reserved: u32,
        extents: [Extent; 256],
    }
    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    struct Extent {
        place: [u64; 3],
        reserved: [u64; 2],
        flags: u32,
        reserved_too: [u32; 3],
    }
    const DELAYED: u32 = 4;
    /// `_IOWR('f', 11, struct fiemap)`, of 32 bytes without its extents.
    const FIEMAP: libc::Ioctl = (3 << 30 | 32 << 16 | (b'f' as u32) << 8 | 11) as libc::Ioctl;

    if statfs(path).unwrap().filesystem_type() != EXT4_SUPER_MAGIC {
        let _ = writeln!(io::stderr(), "skipped: only ext4 tells what it has not written"); // past the capture
        return None;
    }
    let file = File::open(path).unwrap();
    let mut map = Map {
        start: 0,
        length: u64::MAX,
        flags: 0,
        mapped: 0,
        count: 256,
        reserved: 0,
        extents: [Extent::default(); 256],
    };
    // SAFETY: the descriptor is open, and the call writes what the map says that it has room for.
    let done = unsafe { libc::ioctl(file.as_raw_fd(), FIEMAP, &raw mut map) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
    assert!(map.mapped > 0, "it has nothing at all");
    Some(map.extents[..map.mapped as usize].iter().any(|extent| extent.flags & DELAYED != 0))
}

/// What replaces a file without a sync is whole, and what it replaces is gone.
#[test]
fn what_is_replaced_without_a_sync_is_replaced_whole() {
    for (args, before) in WRITERS.into_iter().filter(|(_, before)| matches!(before, Before::File | Before::HardLink)) {
        let folder = folder(before);
        let reader = File::open(folder.path("out")).unwrap();
        let names = folder.names();
        let output = folder.run(&with_cache(args, "unsafe"));
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        assert_eq!(folder.names(), names, "{args:?}, {before:?}");
        let format = args[2];
        assert_eq!(folder.ok(&["compare", "-f", "raw", "-F", format, "raw", "out"]), "Images are identical.\n");
        // Who had it open still has what it was, unless it was written in place.
        let mut byte = [0];
        reader.read_exact_at(&mut byte, SIZE as u64 + 1).or_else(|_| reader.read_exact_at(&mut byte, 0)).unwrap();
        assert_eq!(byte == [7], before == Before::File, "{args:?}");
    }
}

/// What is asked for ahead: what the page cache has not, and the system does not look ahead for by itself.
#[test]
fn what_is_scattered_is_read_ahead_unless_it_is_there() {
    const PIECE: u64 = 64 << 10;
    // Not in a folder that may be one in memory.
    let folder = Folder(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap());
    for (name, scattered) in [("scattered", true), ("whole", false)] {
        let raw = File::create(folder.path(name)).unwrap();
        for piece in 0..400 {
            let at = if scattered { piece * 3 * PIECE } else { piece * PIECE };
            raw.write_all_at(&[piece as u8 | 1; PIECE as usize], at).unwrap();
        }
    }
    for (source, is_there, asked) in [("scattered", false, true), ("scattered", true, false), ("whole", false, false)] {
        let file = File::open(folder.path(source)).unwrap();
        file.sync_all().unwrap();
        if is_there {
            fs::read(folder.path(source)).unwrap();
        } else if !forget(&file) {
            let _ = writeln!(io::stderr(), "skipped: this file system keeps what it is asked to forget"); // past the capture
            continue;
        }
        let output = without(&folder, &[libc::SYS_fadvise64], &["convert", "-t", "unsafe", "-O", "raw", source, "out"]);
        let expected = asked.then_some(libc::SIGSYS);
        assert_eq!(output.status.signal(), expected, "{source}, {is_there}: {}", text(&output.stderr));
    }
    // And it is copied right, in as far as it is forgotten.
    forget(&File::open(folder.path("scattered")).unwrap());
    folder.ok(&["convert", "-O", "qcow2", "scattered", "out"]);
    assert_eq!(folder.ok(&["compare", "scattered", "out"]), "Images are identical.\n");
}

/// Drops what the page cache has of a file that ends with data, if that can be done.
fn forget(file: &File) -> bool {
    let end = file.metadata().unwrap().len() as i64;
    let mut byte = 0_u8;
    let part = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    // SAFETY: the descriptor is open, and the part is one byte that lives as long as the call.
    let read = unsafe {
        libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED);
        libc::preadv2(file.as_raw_fd(), &raw const part, 1, end - 1, libc::RWF_NOWAIT)
    };
    read == -1
}

/// An image that is to be based on another is closed when it is made, and opened again. What nobody waits for must not hold it
/// open, and locked, meanwhile.
#[test]
fn nothing_is_left_to_the_system_before_an_image_is_opened_again() {
    let folder = Folder::new();
    File::create(folder.path("base")).unwrap().set_len(127 << 30).unwrap();
    folder.ok(&["create", "-f", "qcow2", "-b", "base", "-F", "raw", "source"]);
    // Its L1 table takes more than what is otherwise left to the system at a time.
    let args = ["convert", "-O", "qcow2", "-o", "cluster_size=512", "-B", "base", "-F", "raw", "source", "out"];
    let output = without(&folder, &[libc::SYS_sync_file_range], &args);
    assert!(output.status.success(), "{:?} {}", output.status, text(&output.stderr));
    assert!(fs::metadata(folder.path("out")).unwrap().len() > 32 << 20, "it is too small for this test");
}
