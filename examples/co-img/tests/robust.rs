//! Bad input, full disks, dead servers and signals: one line on stderr that names the file and the cause, and nothing
//! half-made.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use std::{io, thread};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::Signal;
use support::{Folder, content, ended, one_line, qemu_is_here, run, text};

/// What an image of ours may cost, in KiB.
const MOST_MEMORY: i64 = 256 << 10;

/// A small qcow2 image of ours, with data all over it.
fn image(folder: &Folder, name: &str, cluster: &str) {
    folder.raw("raw", 700_000);
    folder.ok(&["convert", "-O", "qcow2", "-o", &format!("cluster_size={cluster}"), "raw", name]);
    fs::remove_file(folder.path("raw")).unwrap();
}

#[test]
fn what_cannot_be_opened_is_one_line() {
    let folder = Folder::new();
    image(&folder, "good", "4k");
    let bytes = fs::read(folder.path("good")).unwrap();
    let with = |name: &str, at: usize, patch: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + patch.len()].copy_from_slice(patch);
        fs::write(folder.path(name), bytes).unwrap();
    };
    with("v4", 7, &[4]);
    with("extended", 79, &[0x10]);
    with("zstd", 79, &[8]);
    with("strange", 72, &[1]);
    with("aes", 35, &[1]);
    with("luks", 35, &[2]);
    with("clusters", 23, &[30]);
    with("huge", 24, &u64::MAX.to_be_bytes());
    with("big", 24, &(1_u64 << 40).to_be_bytes());
    with("l1", 36, &u32::MAX.to_be_bytes());
    with("l1away", 40, &(1_u64 << 40).to_be_bytes());
    with("refs", 56, &u32::MAX.to_be_bytes());
    with("widths", 99, &[9]);
    with("header", 100, &u32::MAX.to_be_bytes());
    fs::write(folder.path("short"), &bytes[..60]).unwrap();
    fs::write(folder.path("vmdk"), b"KDMV and so on").unwrap();
    with("qcow", 7, &[1]);
    fs::create_dir(folder.path("folder")).unwrap();
    assert!(Command::new("mkfifo").arg(folder.path("fifo")).status().unwrap().success());
    let cases: [(&str, &str); 23] = [
        ("none", "No such file"),
        ("folder", "directory"),
        ("fifo", "neither a file nor a block device"),
        ("/dev/zero", "neither a file nor a block device"),
        ("vmdk", "vmdk image, which is not supported"),
        ("qcow", "qcow image, which is not supported"),
        ("v4", "version 4: not supported"),
        ("extended", "extended L2 entries: not supported"),
        ("zstd", "zstd: not supported"),
        ("strange", "unknown incompatible features 0x100000000000000"),
        ("aes", "AES encryption: not supported"),
        ("luks", "LUKS encryption: not supported"),
        ("clusters", "clusters of 2^30 bytes"),
        ("huge", "a size of 18446744073709551615 bytes"),
        ("big", "do not cover 1099511627776 bytes"),
        ("l1", "an L1 table of 4294967295 entries"),
        ("l1away", "past the end of the file: truncated or corrupt"),
        ("refs", "a refcount table of"),
        ("widths", "refcounts"),
        ("header", "a header of 4294967295 bytes"),
        ("nbd://127.0.0.1:1/x?reconnect=0", "Connection refused"),
        ("nbd+unix:///x?socket=none.sock", "No such file"),
        ("null-co://8E", "more than an image can have"),
    ];
    for (name, words) in cases {
        for command in [&["info"][..], &["map"], &["bench", "-c", "1"], &["convert", "-O", "raw"]] {
            let out: &[&str] = if command[0] == "convert" { &[name, "out"] } else { &[name] };
            folder.fails(&[command, out].concat(), 1, &["cannot open", &format!("'{name}'"), words]);
        }
        folder.fails(&["compare", "good", name], 2, &[name, words]);
    }
    folder.fails(&["info", "-f", "qcow2", "vmdk"], 1, &["'vmdk'", "not a qcow2 image"]);
    folder.fails(&["info", "-f", "qcow2", "v4"], 1, &["'v4'", "version 4"]);
    folder.fails(&["info", "-f", "qcow2", "short"], 1, &["'short'"]);
    assert!(!support::exists(&folder.path("out")));
}

#[test]
fn what_an_image_is_based_on_is_named() {
    let folder = Folder::new();
    let based = |name: &str, on: &str| {
        folder.raw("x", 1000);
        folder.ok(&["create", "-f", "qcow2", "-b", "x", "-F", "raw", name, "1M"]);
        let mut bytes = fs::read(folder.path(name)).unwrap();
        let at = u64::from_be_bytes(bytes[8..16].try_into().unwrap()) as usize;
        bytes[16..20].copy_from_slice(&(on.len() as u32).to_be_bytes());
        bytes[at..at + on.len()].copy_from_slice(on.as_bytes());
        // Without the format, which comes first: it is probed.
        let format = bytes.windows(4).position(|word| word == 0xe279_2aca_u32.to_be_bytes()).unwrap();
        bytes[format..format + 4].copy_from_slice(&0x1234_5678_u32.to_be_bytes());
        fs::write(folder.path(name), bytes).unwrap();
        fs::remove_file(folder.path("x")).unwrap();
    };
    based("a", "b");
    folder.fails(&["map", "a"], 1, &["'a'", "backing file 'b'", "No such file"]);
    based("b", "c");
    based("c", "./a");
    folder.fails(
        &["map", "a"],
        1,
        &["'a'", "a' ", "a loop"].map(|word| if word == "a' " { "backing file" } else { word }),
    );
    based("self", "self");
    folder.fails(&["map", "self"], 1, &["'self'", "a loop"]);
    based("odd", "nbd:///x");
    folder.fails(&["map", "odd"], 1, &["'odd'", "nbd://host"]);
    based("line", "a\nb");
    folder.fails(&["map", "line"], 1, &["'line'", "'a b'"]);
}

#[test]
fn truncated_images_are_errors_and_leave_no_target() {
    let folder = Folder::new();
    for cluster in ["512", "64k"] {
        image(&folder, "good", cluster);
        let bytes = fs::read(folder.path("good")).unwrap();
        fs::write(folder.path("target"), "as it was").unwrap();
        for part in 1..10 {
            fs::write(folder.path("cut"), &bytes[..bytes.len() * part / 10]).unwrap();
            let output = folder.run(&["convert", "-f", "qcow2", "-O", "raw", "cut", "target"]);
            one_line(&output, 1, &["'cut'"]);
            assert_eq!(fs::read(folder.path("target")).unwrap(), b"as it was");
        }
        assert_eq!(folder.names(), ["cut", "good", "target"]);
    }
}

#[test]
fn command_lines_that_make_no_sense() {
    let folder = Folder::new();
    folder.raw("raw", 10_000);
    for (args, code) in [
        (&["info", "-f", "vdi", "raw"][..], 1),
        (&["convert", "raw"], 1),
        (&["convert", "-O", "qcow", "raw", "x"], 1),
        (&["compare", "raw"], 2),
        (&["bench", "-c", "99999999999999999999", "raw"], 1),
        (&["frobnicate"], 1),
        (&["bench", "-t", "sometimes", "raw"], 1),
    ] {
        let output = folder.run(args);
        one_line(&output, code, &["; see --help"]);
        assert!(output.stdout.is_empty(), "{args:?}");
    }
    folder.fails(&["create", "-f", "raw", "x", "1X"], 1, &["cannot create 'x'", "'1X' is not a size"]);
    folder.fails(&["create", "-f", "qcow2", "x", "8E"], 1, &["cannot create 'x'", "more than an image can have"]);
    folder.fails(&["create", "-f", "qcow2", "x", "7E"], 1, &["cannot create 'x'", "L1 table"]);
    folder.fails(&["create", "-f", "qcow2", "-o", "cluster_size=512", "x", "1T"], 1, &["'x'", "L1 table"]);
    folder.fails(&["bench", "-s", "99999999999E", "raw"], 1, &["'raw'", "more than an image can have"]);
    folder.fails(&["convert", "-O", "qcow2", "-o", "size=7", "raw", "x"], 1, &["'size=7'"]);
    folder.fails(&["convert", "-O", "raw", "raw", "none/x"], 1, &["'none/x'", "No such file"]);
    folder.fails(&["create", "-f", "raw", "x", "7E"], 1, &["'x'"]);
    assert_eq!(folder.names(), ["raw"]);
    assert!(folder.run(&["--help"]).status.success());
}

#[test]
fn a_full_disk_is_an_error_and_leaves_nothing() {
    let folder = Folder::new();
    folder.raw("raw", 4 << 20);
    fs::write(folder.path("out"), "as it was").unwrap();
    for format in ["raw", "qcow2"] {
        let mut shell = Command::new("sh");
        shell.args(["-c", "ulimit -f 1000; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_co-img")]);
        let output = run(shell.args(["convert", "-O", format, "raw", "out"]).current_dir(folder.0.path()));
        one_line(&output, 1, &["'out'", "File too large"]);
        assert_eq!(fs::read(folder.path("out")).unwrap(), b"as it was");
    }
    assert_eq!(folder.names(), ["out", "raw"]);
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let folder = Folder::new();
    folder.raw("raw", 4 << 20);
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = folder.command(&["map", "raw"]).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    one_line(&ended(output), 1, &["stdout", "No space left"]);
}

/// Catches: an exit code of 1, which says that the images differ.
#[test]
fn a_verdict_that_nobody_hears_is_no_verdict() {
    let folder = Folder::new();
    folder.raw("raw", 10_000);
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let output = folder.command(&["compare", "raw", "raw"]).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    let output = ended(output);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(2), String::new()));
}

#[test]
fn too_few_descriptors_are_an_error() {
    let folder = Folder::new();
    folder.raw("raw", 10_000);
    let codes: Vec<_> = (4..40)
        .map(|most| {
            let mut shell = Command::new("sh");
            shell.args(["-c", "ulimit -n $0; exec \"$@\"", &most.to_string(), env!("CARGO_BIN_EXE_co-img")]);
            let output = run(shell.args(["compare", "raw", "raw"]).current_dir(folder.0.path()));
            match output.status.code() {
                Some(127) => {} // not even started
                Some(0) => assert!(output.stderr.is_empty()),
                _ => one_line(&output, 2, &["Too many open files"]),
            }
            output.status.code()
        })
        .collect();
    assert!(codes.contains(&Some(2)) && codes.contains(&Some(0)), "{codes:?}");
}

#[test]
fn a_target_is_replaced_where_it_is() {
    let folder = Folder::new();
    folder.raw("raw", 100_000);
    fs::write(folder.path("real"), "old").unwrap();
    fs::set_permissions(folder.path("real"), fs::Permissions::from_mode(0o640)).unwrap();
    symlink("real", folder.path("link")).unwrap();
    folder.ok(&["convert", "-O", "raw", "raw", "link"]);
    assert!(folder.path("link").symlink_metadata().unwrap().is_symlink());
    assert!(fs::read(folder.path("real")).unwrap()[..100_000] == content(100_000));
    assert_eq!(fs::metadata(folder.path("real")).unwrap().mode() & 0o777, 0o640);
    folder.ok(&["convert", "-O", "qcow2", "raw", "raw"]); // onto itself
    assert_eq!(folder.run(&["compare", "raw", "real"]).status.code(), Some(0));
    symlink("nowhere", folder.path("lost")).unwrap();
    folder.fails(&["convert", "-O", "raw", "raw", "lost"], 1, &["'lost'", "leads nowhere"]);
    assert_eq!(folder.names(), ["link", "lost", "raw", "real"]);
}

/// Catches: the target written in place and then replaced by the empty file that was to be written.
#[test]
fn a_target_whose_real_name_is_no_text() {
    let folder = Folder::new();
    folder.raw("raw", 100_000);
    let odd = folder.0.path().join(std::ffi::OsStr::from_bytes(b"\xff\xfe"));
    fs::create_dir(&odd).unwrap();
    fs::write(odd.join("file"), "old").unwrap();
    symlink(odd.join("file"), folder.path("link")).unwrap();
    folder.ok(&["convert", "-O", "raw", "raw", "link"]);
    assert!(fs::read(odd.join("file")).unwrap()[..100_000] == content(100_000));
    assert_eq!(fs::read_dir(odd).unwrap().count(), 1);
}

/// A server that opens, and then answers nothing; and a sign that a request has come.
fn stuck() -> (String, std::sync::mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nbd://{}/img?timeout=600", listener.local_addr().unwrap());
    let (sign, asked) = std::sync::mpsc::channel();
    thread::spawn(move || -> io::Result<()> {
        let (mut socket, _) = listener.accept()?;
        socket.write_all(b"NBDMAGICIHAVEOPT\0\x03")?;
        socket.read_exact(&mut [0; 4])?;
        loop {
            let mut head = [0; 16];
            socket.read_exact(&mut head)?;
            let len = u32::from_be_bytes(head[12..].try_into().unwrap());
            io::copy(&mut Read::by_ref(&mut socket).take(len.into()), &mut io::sink())?;
            let reply = |kind: u32, body: &[u8]| {
                let magic = 0x0003_e889_0455_65a9_u64.to_be_bytes();
                [&magic[..], &head[8..12], &kind.to_be_bytes(), &(body.len() as u32).to_be_bytes(), body].concat()
            };
            if head[11] != 7 {
                socket.write_all(&reply(1 << 31 | 1, &[]))?;
                continue;
            }
            socket.write_all(&reply(3, &[&[0, 0][..], &(1_u64 << 20).to_be_bytes(), &[0, 0b10_0101]].concat()))?;
            socket.write_all(&reply(1, &[]))?;
            socket.read_exact(&mut [0; 28])?;
            let _ = sign.send(());
            io::copy(&mut socket, &mut io::sink())?;
        }
    });
    (url, asked)
}

#[test]
fn a_signal_ends_it_and_leaves_nothing_half_made() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143), (Signal::SIGHUP, 129)] {
        let folder = Folder::new();
        fs::write(folder.path("out"), "as it was").unwrap();
        fs::set_permissions(folder.path("out"), fs::Permissions::from_mode(0o604)).unwrap();
        let (url, asked) = stuck();
        let mut command = folder.command(&["convert", "-f", "raw", "-O", "qcow2", &url, "out"]);
        let child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        asked.recv_timeout(support::BOUND).unwrap();
        let names = folder.names();
        assert_eq!(names.len(), 2, "a file under a temporary name");
        // Which may be for fewer eyes than other new files.
        assert_eq!(fs::metadata(folder.path(&names[0])).unwrap().mode() & 0o777, 0o600, "{names:?}");
        support::kill(child.id(), signal);
        // It would wait for the server for minutes.
        let output = ended(child);
        assert_eq!(output.status.code(), Some(code));
        assert_eq!(text(&output.stderr).trim(), "co-img: interrupted");
        assert_eq!(folder.names(), ["out"]);
        assert_eq!(fs::read(folder.path("out")).unwrap(), b"as it was");
    }
}

/// An image with tables is closed in order, and what is read for it meanwhile may never come. Catches: a signal that waits
/// for a server until the 30 seconds are over that an image gets to be closed in.
#[test]
fn a_signal_waits_for_no_source_that_does_not_answer() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let folder = Folder::new();
        folder.ok(&["create", "-f", "qcow2", "img", "1M"]);
        let (url, asked) = stuck();
        let mut command = folder.command(&["convert", "-n", "-f", "raw", "-O", "qcow2", &url, "img"]);
        let child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        asked.recv_timeout(support::BOUND).unwrap();
        let since = Instant::now();
        support::kill(child.id(), signal);
        let output = ended(child);
        assert!(since.elapsed() < Duration::from_secs(30), "it waited for the server");
        assert_eq!(output.status.code(), Some(128 + signal as i32));
        assert_eq!(text(&output.stderr).trim(), "co-img: interrupted; 'img' is incomplete");
        assert!(folder.ok(&["check", "img"]).contains("No errors"));
    }
}

/// Catches: a hang report about a command that takes as long as it takes, or about the thread that waits for signals.
#[test]
fn a_command_that_takes_long_is_no_hang() {
    let folder = Folder::new();
    for command in [
        &["convert", "-f", "raw", "-O", "qcow2", "URL", "out"][..],
        &["bench", "URL"],
        &["compare", "URL", "null-co://1M"],
        &["check", "-f", "qcow2", "URL"],
    ] {
        let (url, asked) = stuck();
        let args: Vec<&str> = command.iter().map(|word| if *word == "URL" { &url } else { *word }).collect();
        let mut command = folder.command(&args);
        command.env("CO_WRAPPER_HANG_SECS", "0.2").stdout(Stdio::null()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        asked.recv_timeout(support::BOUND).unwrap();
        thread::sleep(Duration::from_millis(800)); // to be reported in, if it is
        support::kill(child.id(), Signal::SIGTERM);
        let err = text(&ended(child).stderr);
        // On a busy machine it may well have taken long to open the server, which is told.
        let reported = ["img_", "blk_check", "signals_"].iter().find(|call| err.contains(*call));
        assert!(reported.is_none() && err.contains("interrupted"), "{args:?}: {err}");
    }
}

/// Whenever it comes, before anything and after everything included.
#[test]
fn a_signal_at_any_moment_leaves_the_old_or_the_new() {
    let folder = Folder::new();
    let new: Vec<u8> = content(24 << 20).iter().map(|byte| byte | 1).collect();
    fs::write(folder.path("raw"), &new).unwrap();
    let mut ended = [0; 2];
    let begun = Instant::now();
    // On a busy machine each of them may be done before this thread goes on: then there are more of them.
    for round in 0.. {
        if round >= 40 && (ended[0] > 0 || begun.elapsed() > support::BOUND) {
            break;
        }
        fs::write(folder.path("out"), "as it was").unwrap();
        let mut command = folder.command(&["convert", "-f", "raw", "-O", "raw", "raw", "out"]);
        let child = command.stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_millis(round % 40 * 2));
        support::kill(child.id(), Signal::SIGINT);
        let status = support::ended(child).status;
        let out = fs::read(folder.path("out")).unwrap();
        assert!(out == b"as it was" || out == new, "{round}: {} bytes", out.len());
        assert!(out == new || !status.success(), "{round}");
        assert_eq!(folder.names(), ["out", "raw"], "{round}");
        ended[usize::from(out == new)] += 1;
    }
    assert!(ended[0] > 0, "none was interrupted");
}

/// Catches: `nohup` in vain.
#[test]
fn a_signal_that_is_ignored_stays_so() {
    let folder = Folder::new();
    let (url, asked) = stuck();
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' HUP; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_co-img")]);
    let mut child = shell.args(["info", "-f", "qcow2", &url]).stderr(Stdio::piped()).spawn().unwrap();
    asked.recv_timeout(support::BOUND).unwrap();
    support::kill(child.id(), Signal::SIGHUP);
    thread::sleep(Duration::from_millis(500)); // to end in, if it does
    support::kill(child.id(), Signal::SIGTERM);
    assert!(child.try_wait().unwrap().is_none_or(|status| status.code() == Some(143)), "it hung up");
    assert_eq!(ended(child).status.code(), Some(143));
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
fn a_target_that_was_left_alone_is_not_said_to_be_incomplete() {
    let folder = Folder::new();
    folder.raw("raw", 2 << 20);
    let (url, _asked) = stuck(); // of 1 MiB
    let output = folder.run(&["convert", "-O", "raw", "raw", &url]);
    one_line(&output, 1, &[&format!("'{url}'"), "1048576 bytes are too few for 2097152"]);
    assert!(!text(&output.stderr).contains("incomplete"));
    let output = folder.run(&["create", "-f", "raw", "nbd://127.0.0.1:1/x?reconnect=0", "1M"]);
    one_line(&output, 1, &["'nbd://127.0.0.1:1/x?reconnect=0'", "refused"]);
    assert!(!text(&output.stderr).contains("incomplete"));
}

#[test]
fn a_target_in_place_is_said_to_be_incomplete() {
    let folder = Folder::new();
    folder.raw("raw", 1 << 20);
    let (url, asked) = stuck();
    let child = folder.command(&["convert", "-O", "raw", "raw", &url]).stderr(Stdio::piped()).spawn().unwrap();
    asked.recv_timeout(support::BOUND).unwrap();
    support::kill(child.id(), Signal::SIGINT);
    let output = ended(child);
    assert_eq!(text(&output.stderr).trim(), format!("co-img: interrupted; '{url}' is incomplete"));

    // The shortest timeout within which this machine opens it.
    for timeout in ["timeout=1", "timeout=8", "timeout=30"] {
        let (url, _asked) = stuck();
        let url = url.replace("timeout=600", timeout);
        let output = folder.run(&["convert", "-O", "raw", "raw", &url]);
        if timeout != "timeout=30" && text(&output.stderr).contains("cannot open") {
            continue;
        }
        one_line(&output, 1, &["cannot write", &format!("'{url}' is incomplete"), "has owed a reply"]);
        break;
    }
}

/// Where an image's metadata is: header, L1 and L2 tables, refcount table and blocks.
fn metadata(bytes: &[u8]) -> Vec<(usize, usize)> {
    let u64_at = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
    let u32_at = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let cluster = 1 << u32_at(20);
    let (l1, refs) = ((u64_at(40), u32_at(36) * 8), (u64_at(48), u32_at(56) * cluster));
    let mut regions = vec![(0, 112), (0, 512.min(cluster)), l1, refs];
    for (at, len) in [l1, refs] {
        let entries = (at..at + len).step_by(8).map(|at| u64_at(at) & 0x00ff_ffff_ffff_fe00);
        regions.extend(entries.filter(|at| *at != 0).map(|at| (at, cluster)));
    }
    regions
}

#[test]
fn a_thousand_mutated_images() {
    let folder = Folder::fast();
    for cluster in ["512", "4k", "64k"] {
        image(&folder, cluster, cluster);
    }
    let mut originals = vec!["512", "4k", "64k"];
    folder.raw("base", 300_000);
    folder.ok(&["create", "-f", "qcow2", "-b", "4k", "-F", "qcow2", "-o", "cluster_size=1k", "based", "800k"]);
    originals.push("based");
    if qemu_is_here() {
        for (name, options) in [("packed2", "compat=0.10,cluster_size=4k"), ("packed3", "cluster_size=2k")] {
            folder.qemu_img(&["convert", "-c", "-f", "raw", "-O", "qcow2", "-o", options, "base", name]);
            originals.push(name);
        }
    }
    let originals: Vec<Vec<u8>> = originals.iter().map(|name| fs::read(folder.path(name)).unwrap()).collect();
    let next = AtomicUsize::new(0);
    let refused = AtomicUsize::new(0);
    thread::scope(|s| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from).min(8) {
            s.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Relaxed);
                    if seed >= 1000 {
                        break;
                    }
                    let mut bytes = originals[seed % originals.len()].clone();
                    mutate(&mut bytes, seed as u64);
                    let (name, out) = (format!("m{seed}"), format!("o{seed}"));
                    fs::write(folder.path(&name), &bytes).unwrap();
                    let checked = folder.run(&["check", "-f", "qcow2", &name]);
                    assert!(matches!(checked.status.code(), Some(0..=3)), "{seed}: {}", text(&checked.stderr));
                    let commands = [
                        &["info", "-f", "qcow2", &name][..],
                        &["map", "--output", "json", "-f", "qcow2", &name],
                        &["convert", "-f", "qcow2", "-O", "raw", &name, &out],
                        &["bench", "-w", "-c", "100", "-s", "16k", "-d", "8", "-f", "qcow2", &name], // spoils it: last
                    ];
                    for args in commands {
                        let output = folder.run(args);
                        match output.status.code() {
                            Some(0) => assert!(output.stderr.is_empty(), "{args:?}: {}", text(&output.stderr)),
                            _ => {
                                one_line(&output, 1, &["cannot ", &name]);
                                assert!(
                                    args[0] != "convert" || !support::exists(&folder.path(&out)),
                                    "{args:?}: a target"
                                );
                                refused.fetch_add(1, Relaxed);
                            }
                        }
                    }
                    let _ = fs::remove_file(folder.path(&out));
                    fs::remove_file(folder.path(&name)).unwrap();
                }
            });
        }
    });
    assert!(folder.names().iter().all(|name| !name.contains(".co-img")), "{:?}", folder.names());
    let refused = refused.into_inner();
    assert!((300..3800).contains(&refused), "{refused} of 4000 runs refused: the mutations are too tame or too wild");
    let peak = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss();
    assert!(peak < MOST_MEMORY, "one of them took {peak} KiB");
}

/// One to eight flipped bits, or a field of one of the extreme values, in the metadata.
fn mutate(bytes: &mut [u8], seed: u64) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let regions = metadata(bytes);
    for _ in 0..=random(8) {
        let (at, len) = regions[random(regions.len())];
        match random(4) {
            0 => {
                let field = at + random(len / 8) * 8;
                let value = [0, u64::MAX, 1 << 63, 0x00ff_ffff_ffff_fe00, 512, 1 << 40][random(6)];
                bytes[field..field + 8].copy_from_slice(&value.to_be_bytes());
            }
            _ => bytes[at + random(len)] ^= 1 << random(8),
        }
    }
}

/// Catches: refcounts that are taken for none at all, and with them the header's cluster for a free one.
#[test]
fn images_whose_refcounts_are_lost_are_not_written_to() {
    let folder = Folder::new();
    image(&folder, "good", "4k");
    folder.ok(&["bench", "-w", "-c", "10", "good"]);
    let good = fs::read(folder.path("good")).unwrap();
    let u64_at = |at: usize| u64::from_be_bytes(good[at..at + 8].try_into().unwrap()) as usize;
    let (table, l1) = (u64_at(48), u64_at(40) / 4096);
    let block = u64_at(table);
    for (at, patch, words) in [
        (48, &(1_u64 << 40).to_be_bytes()[..], "the refcount table is past the end"),
        (table, &[0; 8], "the refcount table is not counted as in use"),
        (table, &(1_u64 << 40).to_be_bytes(), "the refcount table is not counted as in use"),
        (block, &[0; 2], "the header is not counted as in use"),
        (block + 2 * l1, &[0; 2], "the L1 table is not counted as in use"),
    ] {
        let mut bytes = good.clone();
        bytes[at..at + patch.len()].copy_from_slice(patch);
        fs::write(folder.path("bad"), &bytes).unwrap();
        folder.fails(&["bench", "-w", "-c", "100", "-s", "16k", "bad"], 1, &["cannot open 'bad'", words]);
        assert!(fs::read(folder.path("bad")).unwrap() == bytes);
    }
}

const CLUSTER: u64 = 2 << 20;

/// The header of a qcow2 image of clusters of 2 MiB, with so many entries in its L1 table, which is the fourth cluster.
fn header(l1_entries: u64, refcount_table_clusters: u32, refcount_order: u32) -> Vec<u8> {
    let size = l1_entries * (CLUSTER / 8) * CLUSTER;
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
    [
        words(&[0x5146_49fb, 3, 0, 0, 0, 21]),
        size.to_be_bytes().to_vec(),
        words(&[0, l1_entries as u32]),
        (3 * CLUSTER).to_be_bytes().to_vec(),
        CLUSTER.to_be_bytes().to_vec(),
        words(&[refcount_table_clusters, 0, 0, 0, 0, 0, 0, 0, 0, 0, refcount_order, 104, 0, 0]),
    ]
    .concat()
}

/// A qcow2 image with so many L2 tables, which take no room.
fn tables(folder: &Folder, name: &str, count: u64) {
    const COPIED: u64 = 1 << 63;
    let head = header(count, 1, 4);
    let file = fs::File::create(folder.path(name)).unwrap();
    file.set_len((4 + count) * CLUSTER).unwrap();
    let l1: Vec<u8> = (0..count).flat_map(|n| (COPIED | ((4 + n) * CLUSTER)).to_be_bytes()).collect();
    for (at, bytes) in [(0, &head[..]), (CLUSTER, &(2 * CLUSTER).to_be_bytes()), (3 * CLUSTER, &l1)] {
        file.write_all_at(bytes, at).unwrap();
    }
}

/// Catches: a TiB of refcounts read, all of them one block of 2 MiB, to find out about preallocation.
#[test]
fn refcounts_without_end_are_not_read() {
    let folder = Folder::fast();
    let file = fs::File::create(folder.path("img")).unwrap();
    // As long as the file system lets it be: 2^18 refcounts of 64 bits a block, 2^19 blocks.
    assert!([58, 43].into_iter().any(|bits| file.set_len(1 << bits).is_ok()));
    let table = (5 * CLUSTER).to_be_bytes().repeat(2 * CLUSTER as usize / 8);
    for (at, bytes) in [(0, header(1, 2, 6)), (CLUSTER, table)] {
        file.write_all_at(&bytes, at).unwrap();
    }
    folder.ok(&["info", "img"]);
}

/// Catches: 128 tables of each image kept, of up to 2 MiB.
#[test]
fn big_tables_take_bounded_memory() {
    let folder = Folder::new();
    tables(&folder, "a", 100);
    tables(&folder, "b", 100);
    folder.ok(&["compare", "a", "b"]);
    let peak = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss();
    assert!(peak < MOST_MEMORY, "it took {peak} KiB");
}

#[test]
fn convert_takes_bounded_memory() {
    let folder = Folder::new();
    let file = fs::File::create(folder.path("raw")).unwrap();
    let piece: Vec<u8> = content(1 << 20).iter().map(|byte| byte | 1).collect();
    for at in 0..400 {
        file.write_all_at(&piece, at << 20).unwrap();
    }
    folder.ok(&["convert", "-O", "qcow2", "raw", "q"]);
    folder.ok(&["compare", "raw", "q"]);
    let peak = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss();
    assert!(peak < MOST_MEMORY, "one of them took {peak} KiB");
}
