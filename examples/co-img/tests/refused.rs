//! What would lose content that somebody still needs is refused, before anything is written: by whichever names it is asked
//! for, and with every byte of the images as it was.

mod support;

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::unistd::{Uid, chown, geteuid};
use support::{Folder, one_line, qemu_is_here, run, serve, text};

/// The content of every file in the folder.
fn bytes(folder: &Folder) -> BTreeMap<String, Vec<u8>> {
    let read = |name: String| fs::read(folder.path(&name)).ok().map(|bytes| (name, bytes));
    folder.names().into_iter().filter_map(read).collect()
}

/// The command fails with one line that has these words, besides the note that something is written in place, and changes
/// no file and makes none.
#[track_caller]
fn refused(folder: &Folder, command: &str, words: &[&str]) {
    let before = bytes(folder);
    let mut output = folder.run(&command.split(' ').collect::<Vec<_>>());
    let err = text(&output.stderr);
    let lines = err.lines().filter(|line| !line.contains("is written in place"));
    output.stderr = lines.map(|line| format!("{line}\n")).collect::<String>().into_bytes();
    assert_eq!(output.status.code(), Some(1), "{command}: {err}");
    one_line(&output, 1, words);
    assert!(bytes(folder) == before, "{command}: something was changed");
}

/// `top` is based on `middle`, that on `base`, whose data is in `data`. All have other names, too.
fn chain() -> Folder {
    let folder = Folder::new();
    folder.qemu_img(&["create", "-q", "-f", "qcow2", "-o", "data_file=data", "base", "1M"]);
    folder.qemu_img(&["create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", "middle"]);
    folder.qemu_img(&["create", "-q", "-f", "qcow2", "-b", "middle", "-F", "qcow2", "top"]);
    for (image, at) in [("base", "0"), ("middle", "256k"), ("top", "512k")] {
        folder.tool("qemu-io", &["-f", "qcow2", "-c", &format!("write -P 7 {at} 100k"), image]);
    }
    for image in ["base", "middle", "top", "data"] {
        symlink(image, folder.path(&format!("link-{image}"))).unwrap();
    }
    folder
}

#[test]
fn an_image_that_would_be_based_on_itself() {
    if !qemu_is_here() {
        return;
    }
    let folder = chain();
    for (backing, lost) in [
        ("top", &["top", "middle", "base", "data"][..]),
        ("middle", &["middle", "base", "data"]),
        ("base", &["base", "data"]),
        ("link-base", &["base", "data"]),
        ("./middle", &["middle", "base", "data"]),
        ("file:base", &["base", "data"]),
    ] {
        for lost in lost {
            for command in [
                format!("create -f qcow2 -b {backing} -F qcow2 {lost}"),
                format!("create -f qcow2 -b {backing} -F qcow2 link-{lost} 2M"),
                format!("convert -O qcow2 -B {backing} -F qcow2 top file:{lost}"),
            ] {
                refused(&folder, &command, &["cannot create", lost, "it would be based on itself"]);
            }
        }
    }
    for place in ["base", "link-base", "file:base", "./base", &folder.at("base")] {
        refused(&folder, &format!("create -f qcow2 -b base -F raw {place} 2M"), &["be based on itself"]);
        refused(&folder, &format!("convert -U -O qcow2 -B base -F qcow2 top {place}"), &["be based on itself"]);
    }
    // In place, which the image would be before it is whole.
    fs::hard_link(folder.path("base"), folder.path("second")).unwrap();
    refused(&folder, "create -f qcow2 -b middle -F qcow2 second", &["'second'", "based on itself"]);
    fs::remove_file(folder.path("second")).unwrap();
    fs::hard_link(folder.path("middle"), folder.path("second")).unwrap();
    folder.raw("raw", 1 << 20);
    refused(&folder, "convert -f raw -O qcow2 -B top -F qcow2 raw second", &["'second'", "based on itself"]);
    // What has nothing to do with it may go.
    folder.raw("other", 10_000);
    folder.ok(&["create", "-f", "qcow2", "-b", "middle", "-F", "qcow2", "other"]);
    folder.ok(&["convert", "-O", "qcow2", "-B", "middle", "-F", "qcow2", "top", "other"]);
    folder.qemu_img(&["compare", "-q", "-f", "qcow2", "-F", "qcow2", "top", "other"]);
    folder.ok(&["create", "-f", "qcow2", "-b", "middle", "-F", "qcow2", "top"]); // empty again
}

#[test]
fn what_the_source_of_a_conversion_is_made_of() {
    if !qemu_is_here() {
        return;
    }
    let folder = chain();
    for (source, lost) in [
        ("top", &["middle", "base", "data"][..]),
        ("link-top", &["middle", "base", "data"]),
        ("middle", &["base", "data"]),
        ("base", &["data"]),
    ] {
        for lost in lost {
            let words = ["cannot create", lost, "the source is based on it, or has its data there"];
            refused(&folder, &format!("convert -f qcow2 -O raw {source} {lost}"), &words);
            refused(&folder, &format!("convert -U -f qcow2 -O qcow2 {source} link-{lost}"), &words);
            refused(&folder, &format!("convert -U -n -f qcow2 -O raw {source} {lost}"), &[lost, "written over"]);
        }
    }
    // In place: the source itself, too.
    for lost in ["top", "middle", "base", "data"] {
        fs::hard_link(folder.path(lost), folder.path("second")).unwrap();
        refused(&folder, "convert -O raw top second", &["'second'", "written over while it is read"]);
        fs::remove_file(folder.path("second")).unwrap();
    }
    // The data of the image that is written to, which is not opened by its name.
    folder.qemu_img(&["create", "-q", "-f", "qcow2", "-o", "data_file=there", "to", "1M"]);
    refused(&folder, "convert -U -n -f raw -O qcow2 there to", &["'to'", "written over while it is read"]);
    // The source itself is read to its end before it is replaced.
    folder.qemu_img(&["convert", "-O", "raw", "top", "flat"]);
    folder.ok(&["convert", "-f", "qcow2", "-O", "raw", "top", "top"]);
    assert!(fs::read(folder.path("top")).unwrap() == fs::read(folder.path("flat")).unwrap());
}

/// What cannot be made longer or shorter is not said to have been resized.
#[test]
fn a_size_that_an_export_does_not_have() {
    if !qemu_is_here() {
        return;
    }
    let folder = Folder::new();
    folder.raw("raw", 1 << 20);
    let (_server, url) = serve(&folder, false, "raw", &["-f", "raw"]);
    for (image, driver) in [(&*url, "nbd"), ("null-co://1M", "null-co")] {
        for size in ["512k", "-512", "2M", "+1"] {
            let words = format!("what the driver {driver} has does not grow or shrink");
            refused(&folder, &format!("resize --shrink -f raw {image} {size}"), &[&words]);
        }
    }
    assert_eq!(folder.ok(&["resize", "-f", "raw", &url, "1M"]), "Image resized.\n");
    // An image in it may be.
    folder.ok(&["convert", "-f", "raw", "-O", "raw", "null-co://1M", &url]);
    folder.ok(&["create", "-f", "qcow2", &url, "512k"]);
    folder.ok(&["resize", "--shrink", "-f", "qcow2", &url, "100k"]);
    folder.ok(&["resize", "-f", "qcow2", &url, "64M"]);
    assert!(folder.qemu_img(&["info", "-f", "qcow2", "raw", "-U"]).contains("(67108864 bytes)"));
}

/// Snapshots of version 2 have no size of their own: QEMU would not go back to one of another size than the image has.
#[test]
fn an_image_whose_snapshots_need_its_size() {
    if !qemu_is_here() {
        return;
    }
    for (compat, snapshots) in [("0.10", 0), ("0.10", 1), ("0.10", 2), ("1.1", 0), ("1.1", 2)] {
        let folder = Folder::new();
        folder.raw("raw", 1 << 20);
        folder.qemu_img(&["convert", "-O", "qcow2", "-o", &format!("compat={compat}"), "raw", "img"]);
        for name in 0..snapshots {
            folder.qemu_img(&["snapshot", "-c", &name.to_string(), "img"]);
        }
        // A commit makes its base as long as the image.
        folder.qemu_img(&["create", "-q", "-f", "qcow2", "-b", "img", "-F", "qcow2", "top", "3M"]);
        for command in ["resize img 2M", "resize --shrink img 512k", "resize img +4G", "commit top"] {
            if compat == "0.10" && snapshots > 0 {
                refused(&folder, command, &["cannot write 'img'", "version 2"]);
            } else {
                folder.ok(&command.split(' ').collect::<Vec<_>>());
            }
            folder.qemu_img(&["check", "-q", "img"]);
        }
        for name in 0..snapshots {
            folder.qemu_img(&["snapshot", "-a", &name.to_string(), "img"]);
            folder.qemu_img(&["compare", "-q", "raw", "img"]);
        }
    }
}

/// Such a data file is what a raw image would be. imago would not keep it so, and would take the flag out of the image.
#[test]
fn an_image_that_keeps_its_data_file_raw() {
    if !qemu_is_here() {
        return;
    }
    let folder = Folder::new();
    folder.raw("raw", 1 << 20);
    let options = ["-o", "data_file=data,data_file_raw=on"];
    folder.qemu_img(&[&["convert", "-f", "raw", "-O", "qcow2"], &options[..], &["raw", "img"]].concat());
    folder.qemu_img(&["create", "-q", "-f", "qcow2", "-b", "img", "-F", "qcow2", "top"]);
    folder.tool("qemu-io", &["-f", "qcow2", "-c", "write -P 7 0 5k", "top"]);
    for command in [
        "convert -n -f raw -O qcow2 raw img",
        "convert -n -t none -f raw -O qcow2 raw img",
        "resize img 2M",
        "commit top",
        "bench -w -c 1 -f qcow2 img",
    ] {
        refused(&folder, command, &["its data file is kept as a raw image"]);
    }
    for image in ["img", "top"] {
        folder.ok(&["convert", image, "copy"]);
        folder.qemu_img(&["compare", "-q", "-f", "raw", "copy", image]);
    }
}

/// As somebody whom permissions concern: as root, as another user, who can see the program's copy.
#[test]
fn a_file_that_may_not_be_written_in_a_folder_that_may() {
    let folder = Folder::new();
    folder.raw("raw", 300_032);
    let other = geteuid().is_root().then(|| Uid::from_raw(65534));
    fs::copy(env!("CARGO_BIN_EXE_co-img"), folder.path("program")).unwrap();
    for (name, mode) in [("", 0o777), ("program", 0o755), ("raw", 0o644)] {
        fs::set_permissions(folder.path(name), Permissions::from_mode(mode)).unwrap();
    }
    let go = |args: &[&str]| {
        let mut command = Command::new(folder.path("program"));
        command.args(args).current_dir(folder.0.path());
        other.map(|other| command.uid(other.as_raw()).gid(other.as_raw()));
        run(&mut command)
    };
    symlink("out", folder.path("link")).unwrap();
    // Whose it is, its mode, and whether it may be written.
    for (own, mode, may) in [
        (true, 0o444, false),
        (true, 0o400, false),
        (true, 0o000, false),
        (true, 0o600, true),
        (true, 0o200, true),
        (false, 0o644, false),
        (false, 0o600, false),
        (false, 0o666, true),
    ] {
        if !own && other.is_none() {
            continue; // who is not root has no other user's file
        }
        for command in [
            "convert -f raw -O raw raw out",
            "convert -f raw -O qcow2 raw link",
            "convert -t unsafe -f raw -O qcow2 raw file:out",
            "create -f raw out 1M",
            "create -f qcow2 link 1M",
        ] {
            let what = format!("own {own}, {mode:o}: {command}");
            let _ = fs::remove_file(folder.path("out"));
            fs::write(folder.path("out"), "what was there").unwrap();
            fs::set_permissions(folder.path("out"), Permissions::from_mode(mode)).unwrap();
            let owner = if own { other } else { None };
            chown(&folder.path("out"), owner, None).unwrap();
            let inode = fs::metadata(folder.path("out")).unwrap().ino();
            let output = go(&command.split(' ').collect::<Vec<_>>());
            if may {
                assert!(output.status.success(), "{what}: {}", text(&output.stderr));
            } else {
                one_line(&output, 1, &["cannot create", "Permission denied"]);
            }
            let there = fs::metadata(folder.path("out")).unwrap();
            assert_eq!(there.permissions().mode() & 0o777, mode, "{what}");
            assert_eq!(there.ino() == inode, !may, "{what}");
            assert_eq!(folder.names(), ["link", "out", "program", "raw"], "{what}");
        }
    }
}
