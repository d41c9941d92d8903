//! `resize`, `check`, `commit` and convert's `-S`, `-B` and `-p`, beside qemu-img: the same words, the same exit codes, and
//! images of the same content.

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Output};

use support::{Folder, content, one_line, qemu_is_here, run, text};

fn theirs(folder: &Folder, args: &[&str]) -> Output {
    run(Command::new("qemu-img").args(args).current_dir(folder.0.path()))
}

/// Both succeeded, with the same words, or both failed, ours with one line.
#[track_caller]
fn alike(ours: &Output, theirs: &Output, what: &str) {
    let (our_words, their_words) = (text(&ours.stderr), text(&theirs.stderr));
    assert_eq!(ours.status.code(), theirs.status.code(), "{what}: {our_words} / {their_words}");
    match theirs.status.success() {
        true => assert_eq!(text(&ours.stdout), text(&theirs.stdout), "{what}"),
        false => one_line(ours, theirs.status.code().unwrap(), &[]),
    }
}

/// The image is consistent, and has what the other has.
#[track_caller]
fn same(folder: &Folder, format: &str, a: &str, b: &str, what: &str) {
    for image in [a, b].into_iter().filter(|_| format == "qcow2") {
        let checked = theirs(folder, &["check", "-f", "qcow2", image]);
        assert!(checked.status.success(), "{what}, {image}: {}{}", text(&checked.stdout), text(&checked.stderr));
    }
    let compared = theirs(folder, &["compare", "-s", "-f", format, "-F", format, a, b]);
    assert!(compared.status.success(), "{what}: {}", text(&compared.stdout));
}

#[test]
fn resize_is_qemus() {
    if !qemu_is_here() {
        return;
    }
    let kinds: [(&str, &str, &[&[&str]]); 5] = [
        ("raw", "raw", &[]),
        ("qcow2", "qcow2", &[&["convert", "-f", "raw", "-O", "qcow2", "raw", "img"]]),
        (
            "small clusters, whose L1 table grows",
            "qcow2",
            &[&["convert", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=512", "raw", "img"]],
        ),
        (
            "based on a longer image",
            "qcow2",
            &[
                &["convert", "-f", "raw", "-O", "qcow2", "raw", "base"],
                &["create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", "img", "512k"],
            ],
        ),
        ("compressed", "qcow2", &[&["convert", "-c", "-f", "raw", "-O", "qcow2", "raw", "img"]]),
    ];
    for (kind, format, make) in kinds {
        for sizes in [
            &["2M"][..],
            &["+1M", "+512"],
            &["--shrink 256k", "3M"],
            &["--shrink -100k", "+100k"],
            &["-100k"],
            &["100k"],
            &["--shrink 0"],
            &["--shrink -1G"],
            &["1000"],
            &["+1000000"],
            &["-q 2M"],
            &["1X"],
            &["+"],
            &["8E"],
            &["--shrink 1M", "1M"],
            &["200M"],
        ] {
            let folder = Folder::new();
            folder.raw("raw", 1 << 20);
            fs::copy(folder.path("raw"), folder.path("img")).unwrap();
            make.iter().for_each(|command| drop(folder.qemu_img(command)));
            fs::copy(folder.path("img"), folder.path("theirs")).unwrap();
            for size in sizes {
                let what = format!("{kind}: resize {size}");
                let words: Vec<&str> = size.split(' ').collect();
                let (last, options) = words.split_last().unwrap();
                let of = |image| [&["resize", "-f", format], options, &[image, *last]].concat();
                alike(&folder.run(&of("img")), &theirs(&folder, &of("theirs")), &what);
                same(&folder, format, "img", "theirs", &what);
            }
        }
    }
}

#[test]
fn check_is_qemus() {
    if !qemu_is_here() {
        return;
    }
    /// Breaks the image.
    type Break = fn(&mut Vec<u8>);
    fn be(bytes: &[u8], at: usize) -> usize {
        bytes[at..at + 8].iter().fold(0, |n, &byte| n << 8 | usize::from(byte))
    }
    fn refcounts(bytes: &[u8]) -> usize {
        be(bytes, be(bytes, 48))
    }
    fn l2(bytes: &[u8]) -> usize {
        be(bytes, be(bytes, 40)) & 0x00ff_ffff_ffff_fe00
    }
    let breaks: [(&str, Break); 7] = [
        ("nothing", |_| {}),
        ("a count of 0", |bytes| {
            let at = refcounts(bytes) + 2 * 9;
            bytes[at..at + 2].fill(0);
        }),
        ("a count of 2", |bytes| {
            let at = refcounts(bytes) + 2 * 9;
            bytes[at + 1] = 2;
        }),
        ("a leak", |bytes| {
            let length = bytes.len().next_multiple_of(4096) + 3 * 4096;
            bytes.resize(length, 0);
            let at = refcounts(bytes) + 2 * (length / 4096 - 1);
            bytes[at + 1] = 1;
        }),
        ("two references to one cluster", |bytes| {
            let at = l2(bytes);
            let first: Vec<u8> = bytes[at..at + 8].to_vec();
            bytes[at + 8..at + 16].copy_from_slice(&first);
        }),
        ("no flag", |bytes| {
            let at = l2(bytes);
            bytes[at] &= 0x7f;
        }),
        ("the L1 table's count", |bytes| {
            let at = refcounts(bytes) + 2 * (be(bytes, 40) / 4096);
            bytes[at..at + 2].fill(0);
        }),
    ];
    let kinds: [(&str, &[&[&str]]); 8] = [
        ("plain", &[&["convert", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=4k", "raw", "img"]]),
        ("version 2", &[&["convert", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=4k,compat=0.10", "raw", "img"]]),
        ("compressed", &[&["convert", "-c", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=4k", "raw", "img"]]),
        ("big clusters", &[&["convert", "-f", "raw", "-O", "qcow2", "raw", "img"]]),
        (
            "one bit",
            &[&["convert", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=512,refcount_bits=1", "raw", "img"]],
        ),
        ("preallocated", &[&["create", "-q", "-f", "qcow2", "-o", "preallocation=metadata", "img", "10M"]]),
        ("empty", &[&["create", "-q", "-f", "qcow2", "img", "1G"]]),
        (
            "snapshots",
            &[
                &["convert", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=4k", "raw", "img"],
                &["snapshot", "-c", "one", "img"],
                &["snapshot", "-c", "another", "img"],
            ],
        ),
    ];
    for (kind, make) in kinds {
        let folder = Folder::new();
        folder.raw("raw", 700_000);
        make.iter().for_each(|command| drop(folder.qemu_img(command)));
        let good = fs::read(folder.path("img")).unwrap();
        for (how, break_it) in breaks.iter().take(if kind == "plain" { breaks.len() } else { 1 }) {
            let what = format!("{kind}, {how}");
            let mut bytes = good.clone();
            break_it(&mut bytes);
            fs::write(folder.path("img"), &bytes).unwrap();
            let command = ["check", "-f", "qcow2", "img"];
            let (ours, theirs_) = (folder.run(&command), theirs(&folder, &command));
            assert_eq!(text(&ours.stdout), text(&theirs_.stdout), "{what}");
            assert_eq!(text(&ours.stderr), text(&theirs_.stderr), "{what}");
            assert_eq!(ours.status.code(), theirs_.status.code(), "{what}");
            let command = ["check", "--output", "json", "-f", "qcow2", "img"];
            let json = |output: Output| serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap();
            assert_eq!(json(folder.run(&command)), json(theirs(&folder, &command)), "{what}");
            assert_eq!(folder.run(&["check", "-q", "img"]).stdout, theirs(&folder, &["check", "-q", "img"]).stdout);
            assert!(fs::read(folder.path("img")).unwrap() == bytes, "{what}: it was written to");
        }
    }
    let folder = Folder::new();
    folder.raw("raw", 10_240);
    alike(&folder.run(&["check", "-f", "raw", "raw"]), &theirs(&folder, &["check", "-f", "raw", "raw"]), "raw");
    alike(&folder.run(&["check", "none"]), &theirs(&folder, &["check", "none"]), "none");
    folder.fails(&["check", "-r", "leaks", "raw"], 1, &["nothing is repaired here"]);
}

#[test]
fn commit_is_qemus() {
    if !qemu_is_here() {
        return;
    }
    for base_format in ["raw", "qcow2"] {
        for (options, size) in [
            (&[][..], "1M"),
            (&["-d"], "1M"),
            (&["-q"], "1M"),
            (&["-b", "base"], "1M"),
            (&[], "3M"),
            (&["-d"], "3M"),
            (&[], "512k"),
            (&["-b", "none"], "1M"),
        ] {
            let what = format!("commit {options:?} of {size} into {base_format}");
            let results = ["ours", "theirs"].map(|who| {
                let folder = Folder::new();
                folder.raw("raw", 1 << 20);
                folder.qemu_img(&["convert", "-f", "raw", "-O", base_format, "raw", "base"]);
                folder.qemu_img(&["create", "-q", "-f", "qcow2", "-b", "base", "-F", base_format, "top", size]);
                let write = "write -P 7 0 5000; write -z 100k 130k; write -P 8 400k 30k";
                let write = write.split("; ").flat_map(|command| ["-c", command]);
                folder.tool("qemu-io", &[&["-f", "qcow2"][..], &write.collect::<Vec<_>>(), &["top"]].concat());
                folder.qemu_img(&["convert", "-f", "qcow2", "-O", "raw", "top", "before"]);
                let command = [&["commit", "-f", "qcow2"], options, &["top"]].concat();
                let output = if who == "ours" { folder.run(&command) } else { theirs(&folder, &command) };
                let map = folder.qemu_img(&["map", "--output", "json", "-f", "qcow2", "top"]);
                let depths: serde_json::Value = serde_json::from_str(&map).unwrap();
                let own =
                    depths.as_array().unwrap().iter().filter(|entry| entry["depth"] == 0 && entry["present"] == true);
                let own: u64 = own.map(|entry| entry["length"].as_u64().unwrap()).sum();
                // What the image was it still is, and so is the base now, if it was done.
                let whole = output.status.success() && size != "512k"; // behind which the base has more
                let images = if whole { &["top", "base"][..] } else { &["top"] };
                for image in images {
                    let format = if *image == "top" { "qcow2" } else { base_format };
                    let compared = theirs(&folder, &["compare", "-f", "raw", "-F", format, "before", image]);
                    assert!(compared.status.success(), "{what}, {image}, {who}: {}", text(&compared.stdout));
                    if format == "qcow2" {
                        folder.qemu_img(&["check", "-q", image]);
                    }
                }
                let base = folder.at("base.raw");
                folder.qemu_img(&["convert", "-f", base_format, "-O", "raw", "base", &base]);
                (output, own, fs::read(base).unwrap())
            });
            let [(ours, our_own, our_base), (theirs, their_own, their_base)] = &results;
            assert!(our_base == their_base, "{what}: the base");
            alike(ours, theirs, &what);
            assert_eq!(our_own, their_own, "{what}: what the image has itself");
        }
    }
    let folder = Folder::new();
    folder.raw("raw", 10_240);
    folder.ok(&["create", "-f", "qcow2", "img", "1M"]);
    folder.fails(&["commit", "-f", "qcow2", "img"], 1, &["'img'", "not based on another"]);
    folder.fails(&["commit", "-f", "raw", "raw"], 1, &["'raw'", "not based on another"]);
    folder.qemu_img(&["create", "-q", "-f", "qcow2", "-b", "img", "-F", "qcow2", "middle"]);
    folder.qemu_img(&["create", "-q", "-f", "qcow2", "-b", "middle", "-F", "qcow2", "top"]);
    folder.fails(&["commit", "-b", "img", "top"], 1, &["'top'", "based on 'middle'"]);
    let _held = support::held_open(Command::new("qemu-io").args(["-r", "middle"]).current_dir(folder.0.path()));
    folder.fails(&["commit", "top"], 1, &["'middle'", "Failed to get \"write\" lock"]);
}

#[test]
fn sparse_or_not() {
    if !qemu_is_here() {
        return;
    }
    let folder = Folder::new();
    let mut bytes = content(2 << 20);
    bytes[1 << 20..(1 << 20) + 30_000].fill(0); // zeroes that are no hole
    fs::write(folder.path("raw"), &bytes).unwrap();
    for format in ["raw", "qcow2"] {
        let blocks: Vec<u64> = ["0", "512", "4k", "64k", "1M"]
            .into_iter()
            .map(|sparse| {
                folder.ok(&["convert", "-S", sparse, "-f", "raw", "-O", format, "raw", "out"]);
                folder.qemu_img(&["compare", "-q", "-f", "raw", "-F", format, "raw", "out"]);
                folder.qemu_img(&["convert", "-S", sparse, "-f", "raw", "-O", format, "raw", "theirs"]);
                if sparse == "0" {
                    let map = |image| folder.qemu_img(&["map", "--output", "json", "-f", format, image]);
                    let entries = |image| -> Vec<serde_json::Value> { serde_json::from_str(&map(image)).unwrap() };
                    let zero = |image| entries(image).iter().filter(|entry| entry["data"] == false).count();
                    assert_eq!((zero("out"), zero("theirs")), (0, 0), "{format}: not all of it takes room");
                }
                fs::metadata(folder.path("out")).unwrap().blocks()
            })
            .collect();
        assert!(blocks[0] > blocks[2] && blocks[4] >= blocks[3] && blocks[3] >= blocks[2], "{format}: {blocks:?}");
    }
    for bad in ["1000", "1", "4G", "x"] {
        folder.fails(&["convert", "-S", bad, "-O", "raw", "raw", "x"], 1, &["'-S'"]);
    }
}

#[test]
fn converted_onto_a_base() {
    if !qemu_is_here() {
        return;
    }
    for cluster in ["4k", "64k", "2M"] {
        let folder = Folder::new();
        folder.raw("raw", 3 << 20);
        folder.qemu_img(&["convert", "-f", "raw", "-O", "qcow2", "raw", "base"]);
        folder.qemu_img(&["create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", "top", "4M"]);
        let write = ["-c", "write -P 7 0 5000", "-c", "write -z 100k 130k", "-c", "write -P 8 2400k 30k", "top"];
        folder.tool("qemu-io", &[&["-f", "qcow2"], &write[..]].concat());
        let options = format!("cluster_size={cluster}");
        for target in ["ours", "theirs"] {
            let command =
                ["convert", "-B", "base", "-F", "qcow2", "-f", "qcow2", "-O", "qcow2", "-o", &options, "top", target];
            match target {
                "ours" => assert_eq!(folder.ok(&command), ""),
                _ => drop(folder.qemu_img(&command)),
            }
            folder.qemu_img(&["check", "-q", target]);
            folder.qemu_img(&["compare", "-q", "-f", "qcow2", "-F", "qcow2", "top", target]);
        }
        let info = folder.qemu_img(&["info", "ours"]);
        assert!(info.contains("backing file: base\n") && info.contains("backing file format: qcow2"), "{info}");
        let taken = |image| fs::metadata(folder.path(image)).unwrap().len();
        assert!(taken("ours") <= taken("theirs"), "{cluster}: more than the image has itself was copied");
        folder.fails(&["convert", "-B", "base", "-O", "qcow2", "top", "x"], 1, &["'-B'", "needs -F"]);
        folder.fails(&["convert", "-F", "raw", "-O", "qcow2", "top", "x"], 1, &["without -B"]);
        folder.fails(&["convert", "-B", "base", "-F", "qcow2", "-O", "raw", "top", "x"], 1, &["a raw image"]);
        folder.fails(
            &["convert", "-B", "none", "-F", "qcow2", "-O", "qcow2", "top", "x"],
            1,
            &["none", "No such file"],
        );
        folder.fails(&["convert", "-c", "-O", "qcow2", "top", "x"], 1, &["'-c'", "no compressed clusters"]);
        assert_eq!(folder.names(), ["base", "ours", "raw", "theirs", "top"]);
    }
}

#[test]
fn percents_are_qemus() {
    if !qemu_is_here() {
        return;
    }
    let folder = Folder::new();
    folder.raw("raw", 5 << 20);
    folder.ok(&["create", "-f", "qcow2", "-b", "raw", "-F", "raw", "top", "5M"]);
    for command in [
        &["convert", "-p", "-f", "raw", "-O", "qcow2", "raw", "out"][..],
        &["compare", "-p", "-f", "raw", "-F", "qcow2", "raw", "out"],
        &["commit", "-p", "-f", "qcow2", "top"],
    ] {
        let percents = |output: String| {
            let lines: Vec<String> = output.split(['\r', '\n']).map(|line| line.trim().to_owned()).collect();
            let lines: Vec<String> = lines.into_iter().filter(|line| !line.is_empty()).collect();
            let ends = |line: &&String| *line == "(0.00/100%)" || *line == "(100.00/100%)" || !line.ends_with("/100%)");
            assert!(lines.iter().all(|line| !line.ends_with("%)") || line.starts_with('(')), "{lines:?}");
            let mut lines: Vec<String> = lines.iter().filter(ends).cloned().collect();
            lines.dedup();
            lines
        };
        let ours = folder.ok(command);
        let expected = percents(folder.qemu_img(command));
        assert_eq!(percents(ours), expected, "{command:?}");
    }
}
