//! Block devices: loop devices, where they can be had. What is the same for exports is tested there, and without a device.

mod support;

use std::io::{self, Write};
use std::process::Command;
use std::{env, fs};

use support::{Folder, content, one_line, qemu_is_here, text};

/// A loop device over a file, until it is dropped.
struct Loop(String);

impl Loop {
    /// None where loop devices cannot be had, which is said; with `CO_IMG_REQUIRE_LOOP=1` it fails.
    fn over(folder: &Folder, file: &str) -> Option<Self> {
        let losetup = Command::new("losetup").args(["--find", "--show", &folder.at(file)]).output();
        let why = match losetup {
            Ok(output) if output.status.success() => return Some(Loop(text(&output.stdout).trim().into())),
            Ok(output) => text(&output.stderr),
            Err(error) => error.to_string(),
        };
        assert!(env::var("CO_IMG_REQUIRE_LOOP").as_deref() != Ok("1"), "no loop device: {why}");
        let _ = writeln!(io::stderr(), "skipped: no loop device: {}", why.trim()); // past the capture
        None
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

const SIZE: usize = 4 << 20;

#[test]
fn a_device_is_read_written_in_place_and_never_longer() {
    let folder = Folder::new();
    fs::write(folder.path("disk"), vec![0xff; SIZE]).unwrap();
    let Some(device) = Loop::over(&folder, "disk") else { return };
    let device = &device.0;
    let odd = SIZE - 100_000;
    folder.raw("raw", odd);

    // As long as it is, found by seeking to its end; in place: what lies behind the source's last sector stays.
    folder.ok(&["convert", "-f", "raw", "-O", "raw", "raw", device]);
    folder.ok(&["convert", "-f", "raw", "-O", "raw", device, "copy"]);
    let copy = fs::read(folder.path("copy")).unwrap();
    assert_eq!(copy.len(), SIZE);
    let (last, rest) = copy[odd..].split_at(odd.next_multiple_of(512) - odd);
    assert!(copy[..odd] == content(odd) && last.iter().all(|byte| *byte == 0));
    assert!(rest.iter().all(|byte| *byte == 0xff));
    assert_eq!(folder.run(&["compare", "-f", "raw", device, "copy"]).status.code(), Some(0));
    assert!(folder.ok(&["info", "-f", "raw", device]).contains("protocol type: host_device"));
    for cache in ["none", "directsync", "writeback"] {
        folder.ok(&["bench", "-c", "100", "-f", "raw", "-t", cache, device]);
        folder.ok(&["bench", "-w", "-c", "16", "-f", "raw", "-t", cache, device]);
    }
    folder.ok(&["convert", "-f", "raw", "-O", "raw", device, "copy"]);
    assert!(fs::read(folder.path("copy")).unwrap()[..65536].iter().all(|byte| *byte == 0));

    // A qcow2 image on it, which grows within it.
    folder.ok(&["convert", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=4k", "raw", device]);
    assert_eq!(folder.run(&["compare", device, "raw"]).status.code(), Some(0));
    if qemu_is_here() {
        folder.qemu_img(&["check", "-q", "-f", "qcow2", device]);
        folder.qemu_img(&["compare", "-q", "-f", "raw", "-F", "qcow2", "raw", device]);
        assert_eq!(folder.ok(&["info", device]), folder.qemu_img(&["info", device]));
    }

    // It is not said to have been made shorter or longer.
    for size in ["1M", "8M"] {
        folder.fails(&["resize", "--shrink", "-f", "raw", device, size], 1, &["does not grow or shrink"]);
    }

    // Over what is read, by whichever name.
    std::os::unix::fs::symlink(device, folder.path("link")).unwrap();
    folder.fails(
        &["convert", "-O", "raw", device, "link"],
        1,
        &["cannot open 'link'", "written over while it is read"],
    );

    // One too small: left alone as a raw image, said to be incomplete as one that ran out of room.
    let before = folder.ok(&["map", "--output", "json", device]);
    folder.raw("more", SIZE + 512);
    let output = folder.run(&["convert", "-f", "raw", "-O", "raw", "more", device]);
    one_line(&output, 1, &[&format!("cannot open '{device}'"), "4194304 bytes are too few for 4194816"]);
    assert!(!text(&output.stderr).contains("incomplete"));
    assert_eq!(folder.ok(&["map", "--output", "json", device]), before);
    fs::write(folder.path("more"), vec![7; SIZE]).unwrap(); // no hole in it: with tables it is longer than the device
    folder.fails(&["convert", "-O", "qcow2", "more", device], 1, &[&format!("'{device}' is incomplete")]);
    assert!(fs::metadata(device).is_ok() && fs::metadata(folder.path("disk")).unwrap().len() == SIZE as u64);
}

#[test]
fn what_is_neither_a_file_nor_a_block_device_is_no_target() {
    let folder = Folder::new();
    folder.raw("raw", 10_000);
    folder.fails(
        &["convert", "-O", "raw", "raw", "/dev/null"],
        1,
        &["'/dev/null'", "neither a file nor a block device"],
    );
    folder.fails(
        &["create", "-f", "qcow2", "/dev/null", "1M"],
        1,
        &["'/dev/null'", "neither a file nor a block device"],
    );
    assert_eq!(folder.names(), ["raw"]);
}
