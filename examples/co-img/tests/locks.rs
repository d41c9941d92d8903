//! Two programs at one image: QEMU's locks, held against QEMU's tools and by them.

mod support;

use std::process::Command;

use support::{Folder, Guard, held_open, one_line, qemu_is_here, run, text};

/// A program that has an image open, from here on until it is dropped.
fn holder(folder: &Folder, tool: &str, format: &str, writes: bool) -> Guard {
    let mut command = match (tool, writes) {
        ("co-img", true) => folder.command(&["bench", "-w", "-c", "1000000000", "-d", "1", "-f", format, "img"]),
        ("co-img", false) => folder.command(&["bench", "-c", "1000000000", "-d", "1", "-f", format, "img"]),
        (tool, _) => {
            let mut command = Command::new(tool);
            command.current_dir(folder.0.path()).args(["-f", format]).args(if writes { &[][..] } else { &["-r"] });
            command.arg("img");
            command
        }
    };
    held_open(&mut command)
}

/// Where the image is held like this, whether the command is let in, unlike qemu-img's.
type Exception = (&'static str, bool);

/// Commands, and what of them is not as in qemu-img, and why.
const COMMANDS: &[(&[&str], &[Exception])] = &[
    (&["info", "-f", "FORMAT", "img"], &[]),
    (&["info", "-U", "-f", "FORMAT", "img"], &[]),
    (&["map", "-f", "FORMAT", "img"], &[]),
    (&["map", "-U", "-f", "FORMAT", "img"], &[]),
    (&["compare", "-f", "FORMAT", "-F", "FORMAT", "img", "img"], &[]),
    (&["compare", "-U", "-f", "FORMAT", "-F", "FORMAT", "img", "img"], &[]),
    (&["bench", "-c", "1", "-f", "FORMAT", "img"], &[]),
    (&["bench", "-U", "-c", "1", "-f", "FORMAT", "img"], &[]),
    (&["convert", "-f", "FORMAT", "-O", "raw", "img", "copy"], &[]),
    (&["convert", "-U", "-f", "FORMAT", "-O", "raw", "img", "copy"], &[]),
    // QEMU lets two programs write to a raw image.
    (&["bench", "-w", "-c", "1", "-f", "FORMAT", "img"], &[("raw written", false)]),
    (&["convert", "-n", "-f", "raw", "-O", "FORMAT", "small", "img"], &[("raw written", false)]),
    // Readers keep the image that they have, for ours is another file that takes its name.
    (&["convert", "-f", "raw", "-O", "FORMAT", "small", "img"], &[("qcow2 read", true), ("raw written", false)]),
    (&["create", "-f", "FORMAT", "img", "1M"], &[("qcow2 read", true), ("raw written", false)]),
];

#[test]
fn whoever_holds_the_image_others_are_let_in_as_by_qemu() {
    if !qemu_is_here() {
        return;
    }
    for tool in ["qemu-io", "co-img"] {
        for (format, writes) in [("raw", false), ("raw", true), ("qcow2", false), ("qcow2", true)] {
            let held = format!("{format} {}", if writes { "written" } else { "read" });
            for (command, exceptions) in COMMANDS {
                let folder = Folder::new();
                folder.raw("small", 4096);
                let command: Vec<&str> =
                    command.iter().map(|word| if *word == "FORMAT" { format } else { word }).collect();
                let make = || folder.qemu_img(&["create", "-q", "-f", format, "img", "1M"]);
                make();
                let holder = holder(&folder, tool, format, writes);
                let ours = folder.run(&command);
                let what = format!("{tool} has {held}: {command:?}");
                let allowed = ours.status.success();
                if !allowed {
                    one_line(
                        &ours,
                        if command[0] == "compare" { 2 } else { 1 },
                        &["'img'", "Failed to get ", "\" lock"],
                    );
                }
                let expected = exceptions.iter().find(|(when, _)| *when == held).map(|(_, allowed)| *allowed);
                let expected = expected.unwrap_or_else(|| {
                    run(Command::new("qemu-img").args(&command).current_dir(folder.0.path())).status.success()
                });
                // The exceptions are about QEMU's programs as holders; ours hold more than theirs of a raw image.
                assert_eq!(allowed, expected, "{what}: {}", text(&ours.stderr));
                drop(holder);
                assert!(folder.run(&command).status.success(), "{what}, when that has ended");
            }
        }
    }
}

#[test]
fn the_error_names_the_lock_as_qemu_does() {
    if !qemu_is_here() {
        return;
    }
    let folder = Folder::new();
    folder.qemu_img(&["create", "-q", "-f", "qcow2", "img", "1M"]);
    folder.qemu_img(&["create", "-q", "-f", "qcow2", "-b", "img", "-F", "qcow2", "top"]);
    let _holder = holder(&folder, "qemu-io", "qcow2", true);
    for (command, lock) in [
        (&["info", "img"][..], "shared \"write\""),
        (&["bench", "-w", "-c", "1", "img"], "\"write\""),
        (&["map", "top"], "shared \"write\""), // in a backing file
    ] {
        let theirs = run(Command::new("qemu-img").args(command).current_dir(folder.0.path()));
        let words = format!("Failed to get {lock} lock");
        assert!(text(&theirs.stderr).contains(&words), "{}", text(&theirs.stderr));
        folder.fails(command, 1, &[&words, "img'"]);
    }
    folder.ok(&["map", "-U", "top"]);
    folder.fails(&["bench", "-U", "-w", "-c", "1", "img"], 1, &["-U is for reading"]);
}

/// Catches: a lock that is lost when some other descriptor of the file is closed, as POSIX's are.
#[test]
fn an_image_that_is_based_on_another_keeps_the_other_from_being_written() {
    if !qemu_is_here() {
        return;
    }
    for format in ["raw", "qcow2"] {
        let folder = Folder::new();
        folder.qemu_img(&["create", "-q", "-f", format, "base", "1M"]);
        folder.qemu_img(&["create", "-q", "-f", "qcow2", "-b", "base", "-F", format, "img"]);
        let held = holder(&folder, "co-img", "qcow2", false);
        folder.fails(&["bench", "-w", "-c", "1", "-f", format, "base"], 1, &["'base'", "Failed to get \"write\" lock"]);
        let write = ["-f", format, "-c", "write 0 4k", "base"];
        let theirs = run(Command::new("qemu-io").args(write).current_dir(folder.0.path()));
        assert!(text(&theirs.stderr).contains("Failed to get \"write\" lock"), "{format}: {}", text(&theirs.stderr));
        drop(held);
        folder.ok(&["bench", "-w", "-c", "1", "-f", format, "base"]);
    }
}
