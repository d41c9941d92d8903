//! `info` tells of an image what the image says, and touches nothing that the image names.

mod support;

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::process::Command;

use support::{Folder, qemu_is_here};

/// Bases that cannot be opened, or must not be, and their formats.
const BASES: [(&str, &str); 10] = [
    ("none", "qcow2"),
    ("/no/such/folder/base", "raw"),
    ("folder", "raw"),
    ("foreign.vmdk", "vmdk"),
    ("locked", "qcow2"),
    ("nbd://127.0.0.1:PORT/x", "raw"),
    ("nbd:127.0.0.1:PORT:exportname=x", "raw"),
    ("json:{\"driver\":\"nbd\",\"host\":\"127.0.0.1\",\"port\":\"PORT\"}", "raw"),
    ("rbd:pool/image", "raw"),
    ("http://127.0.0.1:PORT/x", "raw"),
];

#[test]
fn info_opens_the_one_image() {
    if !qemu_is_here() {
        return;
    }
    let folder = Folder::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    fs::create_dir(folder.path("folder")).unwrap();
    fs::write(folder.path("foreign.vmdk"), "KDMV and so on").unwrap();
    folder.qemu_img(&["create", "-q", "-f", "qcow2", "locked", "1M"]);
    for (base, format) in BASES {
        let base = base.replace("PORT", &listener.local_addr().unwrap().port().to_string());
        let _ = fs::remove_file(folder.path("img"));
        folder.qemu_img(&["create", "-q", "-u", "-f", "qcow2", "-b", &base, "-F", format, "img", "1M"]);
        // Somebody else writes to the base: which is no matter of ours.
        let mut command = Command::new("qemu-io");
        let writer = command.args(["-f", "qcow2", "locked"]).current_dir(folder.0.path());
        let _writer = (base == "locked").then(|| support::held_open(writer));
        for output in ["human", "json"] {
            let ours = folder.ok(&["info", "--output", output, "img"]);
            assert!(ours.contains(&base.replace('"', if output == "json" { "\\\"" } else { "\"" })), "{base}: {ours}");
        }
        assert_eq!(connections(&listener), 0, "{base}");
        if !base.contains("127.0.0.1") {
            folder.fails(&["info", "--backing-chain", "img"], 1, &["cannot open 'img'", "backing file"]);
        }
    }
}

/// How many have connected since this was last asked; they are hung up on.
fn connections(listener: &TcpListener) -> usize {
    let mut count = 0;
    loop {
        match listener.accept() {
            Ok(_) => count += 1,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return count,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn the_chain_is_told_of_as_qemu_does() {
    if !qemu_is_here() {
        return;
    }
    let folder = Folder::new();
    folder.raw("base", 300_000);
    folder.qemu_img(&["create", "-q", "-f", "qcow2", "-b", "base", "-F", "raw", "middle"]);
    folder.qemu_img(&["create", "-q", "-f", "qcow2", "-b", "middle", "-F", "qcow2", "top"]);
    for output in ["human", "json"] {
        for image in ["top", "base"] {
            let command = ["info", "--backing-chain", "--output", output, image];
            let (ours, theirs) = (folder.ok(&command), folder.qemu_img(&command));
            match output {
                "json" => assert_eq!(json(&ours), json(&theirs)), // which is indented otherwise
                _ => assert_eq!(ours, theirs),
            }
        }
    }
    fs::remove_file(folder.path("base")).unwrap();
    folder.fails(&["info", "--backing-chain", "top"], 1, &["'top'", "backing file 'base'", "No such file"]);
    folder.qemu_img(&["rebase", "-u", "-b", "top", "-F", "qcow2", "middle"]);
    folder.fails(&["info", "--backing-chain", "top"], 1, &["'top'", "a loop"]);
    folder.ok(&["info", "top"]);
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_data_file_is_not_touched() {
    if !qemu_is_here() {
        return;
    }
    let folder = Folder::new();
    folder.qemu_img(&["create", "-q", "-f", "qcow2", "-o", "data_file=data", "img", "1M"]);
    fs::remove_file(folder.path("data")).unwrap();
    assert!(folder.ok(&["info", "img"]).contains("data file: data"));
    folder.fails(&["map", "img"], 1, &["'img'", "data file", "No such file"]);
}
