//! The ways to name an image that qemu-img has: on the command line, and in an image for what it is based on.

mod support;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

use support::{Folder, Guard, one_line, qemu_is_here, run, text};

/// How one image, `raw` or the qcow2 image `img`, can be named, and whether qemu-img takes that; HOST, PORT and SOCKET are
/// those of servers that have it.
const NAMES: &[(&str, bool)] = &[
    ("raw", true),
    ("./raw", true),
    ("file:raw", true),
    ("file:./raw", true),
    ("file:a:b", true),
    ("./a:b", true),
    ("FOLDER/a:b", true),
    ("file:FOLDER/a:b", true),
    ("a:b", false),
    ("file:", false),
    ("nofile:raw", false),
    ("FOLDER/x y%20z", true),
    ("file:x y%20z", true),
    ("nbd:HOST:PORT:exportname=img", true),
    ("nbd:HOST:PORT:exportname=none", false),
    ("nbd://HOST:PORT/img", true),
    ("nbd:unix:SOCKET:exportname=img", true),
    ("nbd+unix:///img?socket=SOCKET", true),
    ("nbd:unix:none.sock", false),
    ("nbd:HOST", false),
    (r#"json:{"driver":"raw","file":{"driver":"file","filename":"raw"}}"#, true),
    (r#"json:{"file.driver":"file","file.filename":"raw","driver":"raw"}"#, true),
    (r#"json:{"driver":"raw","file":{"filename":"a:b","driver":"file"}}"#, true),
    (r#"json:{"driver":"file","filename":"raw"}"#, true),
    (r#"json:{"driver":"qcow2","file":{"driver":"file","filename":"img"}}"#, true),
    (r#"json:{"driver":"qcow2","file.filename":"img"}"#, true),
    (r#"json:{"driver":"qcow2","file.filename":"raw"}"#, false),
    (r#"json:{"driver":"raw","file":{"driver":"nbd","host":"HOST","port":"PORT","export":"img"}}"#, true),
    (
        r#"json:{"driver":"raw","file":{"driver":"nbd","server":{"type":"inet","host":"HOST","port":"PORT"},"export":"img"}}"#,
        true,
    ),
    (r#"json:{"driver":"nbd","server":{"type":"unix","path":"SOCKET"},"export":"img"}"#, true),
    (r#"json:{"driver":"nbd","server.type":"unix","server.path":"SOCKET","export":"none"}"#, false),
    (r#"json:{"driver":"raw","file":"raw"}"#, false),
    (r#"json:{"driver":"nothing","filename":"raw"}"#, false),
    (r#"json:{"driver":"raw""#, false),
    (r#"json:{"driver":"raw","file.filename":"raw","nonsense":1}"#, false),
];

/// The folder with the image under all its names; the words of [`NAMES`] that stand for something.
fn prepared() -> (Folder, [Guard; 2], impl Fn(&str) -> String) {
    let folder = Folder::new();
    folder.raw("raw", 300_000 / 512 * 512);
    for name in ["a:b", "x y%20z"] {
        fs::copy(folder.path("raw"), folder.path(name)).unwrap();
    }
    folder.qemu_img(&["convert", "-f", "raw", "-O", "qcow2", "raw", "img"]);
    let (tcp, url) = support::serve(&folder, true, "raw", &["-f", "raw", "-r"]);
    let (unix, unix_url) = support::serve(&folder, false, "raw", &["-f", "raw", "-r"]);
    let port = url.trim_end_matches("/img").rsplit_once(':').unwrap().1.to_owned();
    let socket = unix_url.split_once("socket=").unwrap().1.to_owned();
    let at = folder.at("");
    let fill = move |name: &str| {
        let name = name.replace("PORT", &port).replace("SOCKET", &socket).replace("HOST", "127.0.0.1");
        name.replace("FOLDER/", &at)
    };
    (folder, [tcp, unix], fill)
}

#[test]
fn on_the_command_line_as_in_qemu() {
    if !qemu_is_here() {
        return;
    }
    let (folder, _servers, fill) = prepared();
    for (name, taken) in NAMES {
        let name = fill(name);
        let command = ["compare", "raw", &name];
        let command = if name.starts_with("json") { &command[..] } else { &["compare", "-F", "raw", "raw", &name] };
        let theirs = run(Command::new("qemu-img").args(command).current_dir(folder.0.path()));
        assert_eq!(theirs.status.code(), Some(if *taken { 0 } else { 2 }), "{name}: {}", text(&theirs.stderr));
        match taken {
            true => assert!(folder.ok(command).contains("identical"), "{name}"),
            false => one_line(&folder.run(command), 2, &["cannot open"]),
        }
    }
}

#[test]
fn in_an_image_as_in_qemu() {
    if !qemu_is_here() {
        return;
    }
    let (folder, _servers, fill) = prepared();
    for (name, taken) in NAMES {
        let name = fill(name);
        let format = if name.contains("qcow2") { "qcow2" } else { "raw" };
        let make = ["create", "-q", "-u", "-f", "qcow2", "-b", &name, "-F", format, "top", "299520"];
        let made = run(Command::new("qemu-img").args(make).current_dir(folder.0.path()));
        if !made.status.success() {
            continue; // qemu-img looks at names before it writes them
        }
        let command = ["compare", "-f", "raw", "raw", "top"];
        let theirs = run(Command::new("qemu-img").args(command).current_dir(folder.0.path()));
        // QEMU adds the format to the options, of which a protocol's have none; here it goes above the protocol.
        let doubled = text(&theirs.stderr).contains("A block device must be specified");
        assert!(doubled || theirs.status.success() == *taken, "{name}: {}", text(&theirs.stderr));
        match taken {
            true => assert!(folder.ok(&command).contains("identical"), "{name}"),
            false => one_line(&folder.run(&command), 2, &["cannot open 'top'", "backing file"]),
        }
        folder.ok(&["info", "top"]);
    }
}

#[test]
fn targets_as_in_qemu() {
    let folder = Folder::new();
    folder.raw("raw", 10_240);
    for (name, made) in [("file:x", "x"), ("file:x:y", "x:y"), ("./z:w", "z:w"), ("file:./v", "v")] {
        folder.ok(&["convert", "-f", "raw", "-O", "raw", "raw", name]);
        assert_eq!(fs::read(folder.path(made)).unwrap(), fs::read(folder.path("raw")).unwrap(), "{name}");
        folder.ok(&["create", "-f", "qcow2", name, "1M"]);
        assert!(fs::read(folder.path(made)).unwrap().starts_with(b"QFI\xfb"), "{name}");
        folder.ok(&["convert", "-n", "-f", "raw", "-O", "qcow2", "raw", name]);
        fs::remove_file(folder.path(made)).unwrap();
    }
    folder.fails(&["create", "-f", "raw", "a:b", "1M"], 1, &["'a:b'", "unknown protocol 'a'", "./a:b"]);
    assert_eq!(folder.names(), ["raw"]);
}

#[test]
fn paths_that_are_no_text() {
    let folder = Folder::new();
    folder.raw("raw", 10_240);
    let odd = OsStr::from_bytes(b"\xff\xfe:x");
    let at = folder.0.path().join(odd);
    let prefixed = [OsStr::from_bytes(b"file:\xff\xfe:x"), OsStr::from_bytes(b"./\xff\xfe:x"), at.as_os_str()];
    for name in prefixed {
        let go = |before: &[&str], after: &[&str], ok: bool| {
            let mut command = folder.command(before);
            let output = run(command.arg(name).args(after).stderr(Stdio::piped()).stdout(Stdio::piped()));
            assert_eq!(output.status.success(), ok, "{name:?} {before:?}: {}", text(&output.stderr));
            if !ok {
                one_line(&output, 1, &["\u{fffd}\u{fffd}:x", "No such file"]);
            }
        };
        go(&["info"], &[], false);
        go(&["convert", "-f", "raw", "-O", "qcow2", "raw"], &[], true);
        go(&["info"], &[], true);
        go(&["map"], &[], true);
        go(&["compare", "raw"], &[], true);
        go(&["convert", "-O", "raw"], &["copy"], true);
        go(&["bench", "-c", "1"], &[], true);
        go(&["convert", "-n", "-f", "raw", "-O", "qcow2", "raw"], &[], true);
        fs::remove_file(&at).unwrap();
    }
    // A folder of such a name, with an image that is based on its neighbour.
    let odd = folder.0.path().join(OsStr::from_bytes(b"\xff"));
    fs::create_dir(&odd).unwrap();
    fs::copy(folder.path("raw"), odd.join("base")).unwrap();
    let mut command = folder.command(&["create", "-f", "qcow2", "-b", "base", "-F", "raw"]);
    assert!(run(command.arg(odd.join("top"))).status.success());
    assert!(run(folder.command(&["compare", "raw"]).arg(odd.join("top"))).status.success());
}

/// Catches: a socket in the folder, whose name is relative, looked for elsewhere.
#[test]
fn a_relative_socket_is_one_of_this_folder() {
    let folder = Folder::new();
    let _listener = UnixListener::bind(folder.path("here.sock")).unwrap();
    folder.fails(&["info", "nbd:unix:none.sock"], 1, &["'nbd:unix:none.sock'", "No such file"]);
}
