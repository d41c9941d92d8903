//! How much of a source is read: what has data once, and nothing else. The system counts, for each process. (The same is
//! tested over NBD, in `nbd_peers.rs`, where a server sees which bytes.)

mod support;

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::process::{Command, Stdio};

use support::{Folder, run, text};

const KIB: u64 = 1 << 10;
/// What a program reads besides: its libraries, and tables of images.
const BESIDES: u64 = 3 << 20;

/// The bytes that a process and its children have read so far, by `/proc/PID/io`.
fn bytes_read(io: &str) -> Option<u64> {
    io.lines().find_map(|line| line.strip_prefix("rchar: ")?.parse().ok())
}

/// Catches: a byte that is read by two threads, or again for the next piece; a hole that is read since there is data beside it.
#[test]
fn what_a_file_has_is_read_once_and_its_holes_are_not_read() {
    const END: u64 = 96 << 20;
    let folder = Folder::new();
    if fs::read_to_string("/proc/self/io").ok().and_then(|io| bytes_read(&io)).is_none() {
        let _ = writeln!(io::stderr(), "skipped: the system does not count what is read"); // past the capture
        return;
    }
    // Data where windows, stripes and clusters begin, end, and where they do not.
    for (name, data, hole) in
        [("short", 64 * KIB, 192 * KIB), ("odd", 68 * KIB, 332 * KIB), ("long", 1000 * KIB, 3000 * KIB)]
    {
        let raw = File::create(folder.path("raw")).unwrap();
        raw.set_len(END).unwrap();
        let (mut at, mut there) = (hole / 2 / (64 * KIB) * 64 * KIB, 0);
        while at + data <= END {
            raw.write_all_at(&vec![7; data as usize], at).unwrap();
            (at, there) = (at + data + hole, there + data);
        }
        if raw.metadata().unwrap().blocks() * 512 > there * 5 / 4 {
            let _ = writeln!(io::stderr(), "skipped: this file system has no holes"); // past the capture
            return;
        }
        folder.ok(&["convert", "-O", "qcow2", "raw", "qcow2"]);
        for (source, target) in [("raw", "raw"), ("raw", "qcow2"), ("qcow2", "raw"), ("qcow2", "qcow2")] {
            let mut command = Command::new("sh");
            command.current_dir(&folder.0).stdin(Stdio::null());
            command.args(["-c", "\"$@\" && cat /proc/$$/io", "sh", env!("CARGO_BIN_EXE_co-img"), "convert"]);
            let output = run(command.args(["-f", source, "-O", target, source, "out"]));
            assert!(output.status.success(), "{}", text(&output.stderr));
            let read = bytes_read(&text(&output.stdout)).unwrap();
            // A qcow2 image is read and written in whole clusters, of 64 KiB, and data may begin and end one.
            let clusters = if [source, target].contains(&"qcow2") { there / data * 128 * KIB } else { 0 };
            let most = there + clusters + BESIDES;
            assert!((there..most).contains(&read), "{name}, {source} to {target}: {read} bytes read of {there}");
            assert_eq!(folder.ok(&["compare", "-F", target, "-f", "raw", "raw", "out"]), "Images are identical.\n");
        }
    }
}
