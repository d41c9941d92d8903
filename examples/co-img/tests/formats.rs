//! Images of QEMU's making read as QEMU reads them, byte for byte and extent for extent; and QEMU accepts ours.

mod support;

use std::{fs, iter, os::unix::fs::FileExt, process::Command};

use serde_json::Value;
use support::{Folder, content, one_line, qemu_is_here, text};

const CLUSTERS: [&str; 13] = ["512", "1k", "2k", "4k", "8k", "16k", "32k", "64k", "128k", "256k", "512k", "1M", "2M"];
/// Not a multiple of anything.
const ODD: usize = 5_000_003;

/// What we read of `image` is what QEMU reads of it, and so is where it comes from.
fn reads_as_qemu_does(folder: &Folder, image: &str, format: &str) {
    let shown = format!("{image} ({format})");
    folder.qemu_img(&["convert", "-f", format, "-O", "raw", image, "theirs"]);
    folder.ok(&["convert", "-f", format, "-O", "raw", image, "ours"]);
    let bytes = fs::read(folder.path("ours")).unwrap();
    assert!(bytes == fs::read(folder.path("theirs")).unwrap(), "{shown}: read differently");
    assert_eq!(
        map(&folder.ok(&["map", "-f", format, "--output", "json", image])),
        map(&folder.qemu_img(&["map", "-f", format, "--output", "json", image])),
        "{shown}: mapped differently"
    );
    assert_eq!(folder.run(&["compare", "-f", format, "-F", "raw", image, "theirs"]).status.code(), Some(0), "{shown}");
}

/// Extents that differ in nothing of this are one.
fn map(json: &str) -> Vec<(u64, u64, u64, bool, bool)> {
    let entries: Vec<Value> = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"));
    let mut merged: Vec<(u64, u64, u64, bool, bool)> = Vec::new();
    for entry in entries.into_iter().filter(|entry| entry["length"] != 0) {
        let [start, length, depth] = ["start", "length", "depth"].map(|field| entry[field].as_u64().unwrap());
        let [zero, data] = ["zero", "data"].map(|field| entry[field].as_bool().unwrap());
        match merged.last_mut() {
            Some(last) if last.0 + last.1 == start && (last.2, last.3, last.4) == (depth, zero, data) => {
                last.1 += length
            }
            _ => merged.push((start, length, depth, zero, data)),
        }
    }
    merged
}

#[test]
fn all_clusters_both_versions_plain_and_compressed() {
    if !qemu_is_here() {
        return;
    }
    let folder = Folder::new();
    folder.raw("raw", ODD);
    for cluster in CLUSTERS {
        for compat in ["0.10", "1.1"] {
            let options = format!("cluster_size={cluster},compat={compat}");
            folder.qemu_img(&["convert", "-f", "raw", "-O", "qcow2", "-o", &options, "raw", "plain"]);
            reads_as_qemu_does(&folder, "plain", "qcow2");
            folder.qemu_img(&["convert", "-c", "-f", "raw", "-O", "qcow2", "-o", &options, "raw", "packed"]);
            reads_as_qemu_does(&folder, "packed", "qcow2");
        }
    }
    let bytes = content(ODD);
    assert!(fs::read(folder.path("ours")).unwrap()[..ODD] == bytes);
}

#[test]
fn chains_three_deep() {
    if !qemu_is_here() {
        return;
    }
    let folder = Folder::new();
    folder.raw("base", 3_000_000); // shorter than what is above it
    for (bottom, compat, cluster) in [("raw", "1.1", "64k"), ("qcow2", "1.1", "4k"), ("qcow2", "0.10", "512")] {
        let options = format!("cluster_size={cluster},compat={compat}");
        if bottom == "qcow2" {
            folder.qemu_img(&["convert", "-c", "-f", "raw", "-O", "qcow2", "-o", &options, "base", "bottom"]);
        } else {
            fs::copy(folder.path("base"), folder.path("bottom")).unwrap();
        }
        folder.qemu_img(&["create", "-q", "-f", "qcow2", "-o", &options, "-b", "bottom", "-F", bottom, "middle", "4M"]);
        folder.tool("qemu-io", &["-f", "qcow2", "-c", "write -P 1 100k 300k", "-c", "write -P 2 2900k 500k", "middle"]);
        folder.qemu_img(&["create", "-q", "-f", "qcow2", "-o", &options, "-b", "middle", "-F", "qcow2", "top", "5M"]);
        let zero = if compat == "1.1" { "write -z 128k 128k" } else { "write -P 0 128k 128k" };
        let discard = "discard 2944k 64k";
        folder.tool("qemu-io", &["-f", "qcow2", "-c", "write -P 3 1M 1000", "-c", zero, "-c", discard, "top"]);
        reads_as_qemu_does(&folder, "top", "qcow2");
    }
}

#[test]
fn preallocated_and_snapshotted_images() {
    if !qemu_is_here() {
        return;
    }
    let folder = Folder::new();
    for preallocation in ["metadata", "falloc"] {
        folder.qemu_img(&[
            "create",
            "-q",
            "-f",
            "qcow2",
            "-o",
            &format!("preallocation={preallocation}"),
            "pre",
            "20M",
        ]);
        folder.tool("qemu-io", &["-f", "qcow2", "-c", "write -P 1 1M 3M", "pre"]);
        reads_as_qemu_does(&folder, "pre", "qcow2");
    }
    folder.qemu_img(&["create", "-q", "-f", "qcow2", "-o", "lazy_refcounts=on,refcount_bits=1", "lazy", "3M"]);
    folder.tool("qemu-io", &["-f", "qcow2", "-c", "write -P 1 1M 1M", "lazy"]);
    reads_as_qemu_does(&folder, "lazy", "qcow2");
    folder.qemu_img(&["create", "-q", "-f", "qcow2", "snap", "8M"]);
    folder.tool("qemu-io", &["-f", "qcow2", "-c", "write -P 1 1M 1M", "snap"]);
    folder.qemu_img(&["snapshot", "-c", "one", "snap"]);
    folder.tool("qemu-io", &["-f", "qcow2", "-c", "write -P 2 1500k 2M", "snap"]);
    reads_as_qemu_does(&folder, "snap", "qcow2");
    folder.qemu_img(&["create", "-q", "-f", "qcow2", "-o", "data_file=data.raw,data_file_raw=off", "out", "4M"]);
    folder.tool("qemu-io", &["-f", "qcow2", "-c", "write -P 1 1M 1M", "out"]);
    reads_as_qemu_does(&folder, "out", "qcow2");
}

#[test]
fn an_image_left_dirty_or_marked_corrupt_is_still_read() {
    if !qemu_is_here() {
        return;
    }
    let folder = Folder::new();
    folder.qemu_img(&["create", "-q", "-f", "qcow2", "img", "3M"]);
    folder.tool("qemu-io", &["-f", "qcow2", "-c", "write -P 1 1M 1M", "img"]);
    for bits in [1, 2] {
        let mut bytes = fs::read(folder.path("img")).unwrap();
        bytes[79] = bits;
        fs::write(folder.path("marked"), bytes).unwrap();
        reads_as_qemu_does(&folder, "marked", "qcow2");
        folder.fails(&["bench", "-w", "-c", "1", "marked"], 1, &["'marked'", "dirty or corrupt"]);
    }
}

#[test]
fn raw_images_of_odd_sizes() {
    if !qemu_is_here() {
        return;
    }
    let folder = Folder::new();
    for size in [0, 1, 511, 512, 513, 4097, 1_000_000, ODD] {
        folder.raw("raw", size);
        reads_as_qemu_does(&folder, "raw", "raw");
    }
}

#[test]
fn qemu_accepts_what_is_written() {
    if !qemu_is_here() {
        return;
    }
    let folder = Folder::new();
    for (n, cluster) in CLUSTERS.into_iter().enumerate() {
        let size = ODD + n * 123_457;
        folder.raw("raw", size);
        folder.ok(&["convert", "-f", "raw", "-O", "qcow2", "-o", &format!("cluster_size={cluster}"), "raw", "mine"]);
        folder.qemu_img(&["check", "-q", "-f", "qcow2", "mine"]);
        folder.qemu_img(&["compare", "-q", "-f", "raw", "-F", "qcow2", "raw", "mine"]);
        reads_as_qemu_does(&folder, "mine", "qcow2");
        let info: Value = serde_json::from_str(&folder.qemu_img(&["info", "--output", "json", "mine"])).unwrap();
        let bytes = if let Some(k) = cluster.strip_suffix('k') {
            k.parse::<u64>().unwrap() << 10
        } else if let Some(m) = cluster.strip_suffix('M') {
            m.parse::<u64>().unwrap() << 20
        } else {
            cluster.parse().unwrap()
        };
        assert_eq!(info["cluster-size"], bytes);
        assert_eq!(info["virtual-size"].as_u64().unwrap(), (size as u64).next_multiple_of(512));
    }
}

#[test]
fn holes_and_zeroes_take_no_room() {
    if !qemu_is_here() {
        return;
    }
    let folder = Folder::new();
    let file = fs::File::create(folder.path("raw")).unwrap();
    file.set_len(1 << 40).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[7; 4096], 1 << 39).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0; 1 << 20], 1 << 38).unwrap(); // data that is zeroes
    folder.ok(&["convert", "-f", "raw", "-O", "qcow2", "raw", "q"]);
    folder.ok(&["convert", "-f", "qcow2", "-O", "raw", "q", "r"]);
    let blocks = |name: &str| std::os::unix::fs::MetadataExt::blocks(&fs::metadata(folder.path(name)).unwrap()) * 512;
    assert!(blocks("q") < 2 << 20, "{}", blocks("q"));
    assert!(blocks("r") <= 64 << 10, "{}", blocks("r"));
    assert_eq!(folder.run(&["compare", "raw", "r"]).status.code(), Some(0));
}

/// What is of QEMU's fields in ours, its order included; older ones have no `children`, newer ones may have more than we.
fn assert_fields(ours: &Value, theirs: &Value, at: &str) {
    let (Value::Object(ours), Value::Object(theirs)) = (ours, theirs) else {
        return assert_eq!(ours, theirs, "{at}");
    };
    let known = |name: &&String| name.as_str() != "children";
    let names = |fields: &serde_json::Map<String, Value>| fields.keys().filter(known).cloned().collect::<Vec<_>>();
    assert_eq!(names(ours), names(theirs), "{at}");
    for (name, theirs) in theirs {
        match (name.as_str(), &ours[name]) {
            ("children", Value::Array(ours)) => {
                let theirs = theirs.as_array().unwrap();
                assert_eq!(ours.len(), theirs.len(), "{at}/children");
                ours.iter().zip(theirs).for_each(|(ours, theirs)| assert_fields(ours, theirs, &format!("{at}/child")));
            }
            (_, ours) => assert_fields(ours, theirs, &format!("{at}/{name}")),
        }
    }
}

/// In both outputs, for people and for programs.
fn described_as_qemu_does(folder: &Folder, image: &str) {
    let [ours, theirs]: [Value; 2] =
        [folder.ok(&["info", "--output", "json", image]), folder.qemu_img(&["info", "--output", "json", image])]
            .map(|json| serde_json::from_str(&json).unwrap());
    assert_fields(&ours, &theirs, image);
    let (ours, theirs) = (folder.ok(&["info", image]), folder.qemu_img(&["info", image]));
    match theirs.contains("Child node") {
        true => assert_eq!(ours, theirs),
        false => assert_eq!(ours.split("Child node").next(), Some(&theirs[..])),
    }
}

#[test]
fn info_is_qemus_in_names_values_and_order() {
    if !qemu_is_here() {
        return;
    }
    let folder = Folder::new();
    folder.raw("base", 1_000_000);
    described_as_qemu_does(&folder, "base");
    let create = |options: &str, more: &[&str]| {
        folder.qemu_img(&[&["create", "-q", "-f", "qcow2", "-o", options][..], more].concat());
        described_as_qemu_does(&folder, more.iter().find(|word| word.ends_with("img")).unwrap());
    };
    for compat in ["0.10", "1.1"] {
        create(&format!("compat={compat}"), &["img", "3M"]);
        create(&format!("compat={compat},cluster_size=4k"), &["-b", "base", "-F", "raw", "img"]);
    }
    create("lazy_refcounts=on,refcount_bits=64", &["img", "3M"]);
    create("data_file=data,data_file_raw=on", &["img", "3M"]);
    create("data_file=data,data_file_raw=off", &["img", "3M"]);
    fs::create_dir(folder.path("below")).unwrap();
    create("compat=1.1", &["-b", "../base", "-F", "raw", "below/img"]); // found elsewhere than it is named
    folder.qemu_img(&["create", "-q", "-f", "qcow2", "img", "3M"]);
    for bits in [1, 2] {
        let mut bytes = fs::read(folder.path("img")).unwrap();
        bytes[79] = bits;
        fs::write(folder.path("marked"), bytes).unwrap();
        described_as_qemu_does(&folder, "marked");
    }
    for tcp in [false, true] {
        let (_server, url) = support::serve(&folder, tcp, "base", &["-f", "raw", "--read-only"]);
        described_as_qemu_does(&folder, &url);
    }
}

#[test]
fn created_images_are_qemus() {
    if !qemu_is_here() {
        return;
    }
    let folder = Folder::new();
    folder.raw("base", ODD);
    folder.ok(&["create", "-f", "qcow2", "-b", "base", "-F", "raw", "-o", "cluster_size=4k", "top", "6M"]);
    folder.qemu_img(&["check", "-q", "top"]);
    reads_as_qemu_does(&folder, "top", "qcow2");
    folder.ok(&["create", "-f", "qcow2", "-b", "top", "-F", "qcow2", "topmost"]); // as big as that
    reads_as_qemu_does(&folder, "topmost", "qcow2");
    folder.ok(&["create", "-f", "raw", "raw", "12345k"]);
    assert_eq!(fs::metadata(folder.path("raw")).unwrap().len(), 12345 << 10);
    folder.fails(&["create", "-f", "qcow2", "-b", "base", "x", "1M"], 1, &["'x'", "-F"]);
    folder.fails(&["create", "-f", "qcow2", "-b", "none", "-F", "raw", "x"], 1, &["'none'", "No such file"]);
    folder.fails(&["create", "-f", "qcow2", "x"], 1, &["'x'", "size"]);
    folder.fails(&["create", "-f", "raw", "-o", "cluster_size=4k", "x", "1M"], 1, &["cluster_size=4k"]);
    folder.fails(&["create", "-f", "qcow2", "-o", "cluster_size=3k", "x", "1M"], 1, &["power of two"]);
    assert_eq!(folder.names(), ["base", "ours", "raw", "theirs", "top", "topmost"]);
}

#[test]
fn compare_tells_where() {
    let folder = Folder::new();
    let mut bytes = content(ODD);
    fs::write(folder.path("a"), &bytes).unwrap();
    bytes[4_321_098] ^= 1;
    fs::write(folder.path("b"), &bytes).unwrap();
    let compare = |a: &str, b: &str| {
        let output = folder.run(&["compare", a, b]);
        assert!(output.stderr.is_empty(), "{}", support::text(&output.stderr));
        (output.status.code().unwrap(), support::text(&output.stdout))
    };
    assert_eq!(compare("a", "b"), (1, "Content mismatch at offset 4321098!\n".into()));
    assert_eq!(compare("a", "a"), (0, "Images are identical.\n".into()));
    let longer = |end: u8| [&content(ODD)[..], &vec![0; 3_000_000], &[end]].concat();
    fs::write(folder.path("b"), longer(0)).unwrap();
    assert_eq!(compare("b", "a"), (0, "Warning: Image size mismatch!\nImages are identical.\n".into()));
    fs::write(folder.path("b"), longer(1)).unwrap();
    let at = ODD + 3_000_000;
    assert_eq!(compare("a", "b"), (1, format!("Warning: Image size mismatch!\nContent mismatch at offset {at}!\n")));
    folder.fails(&["compare", "a", "none"], 2, &["'none'", "No such file"]);
}

/// Holes are not read: what lies behind one is.
#[test]
fn compare_sees_behind_holes() {
    let folder = Folder::new();
    let sparse = |name: &str, pieces: &[(u64, &[u8])]| {
        let file = fs::File::create(folder.path(name)).unwrap();
        file.set_len(9_000_000).unwrap();
        for (at, bytes) in pieces {
            std::os::unix::fs::FileExt::write_all_at(&file, bytes, *at).unwrap();
        }
    };
    sparse("a", &[(3 << 20, &[1; 65536]), (7 << 20, &[2; 65536])]);
    sparse("same", &[(1 << 20, &[0; 65536]), (3 << 20, &[1; 65536]), (7 << 20, &[2; 65536])]);
    sparse("other", &[(3 << 20, &[1; 65536]), (7 << 20, &[3; 65536])]);
    sparse("more", &[(1 << 20, &[4; 65536]), (3 << 20, &[1; 65536]), (7 << 20, &[2; 65536])]);
    sparse("none", &[]);
    for (image, at) in [("same", None), ("other", Some(7 << 20)), ("more", Some(1 << 20)), ("none", Some(3 << 20))] {
        for images in [["a", image], [image, "a"]] {
            let output = folder.run(&[&["compare", "-f", "raw", "-F", "raw"][..], &images].concat());
            let verdict =
                at.map_or("Images are identical.\n".into(), |at: u64| format!("Content mismatch at offset {at}!\n"));
            assert_eq!(
                (text(&output.stdout), output.status.code()),
                (verdict, Some(at.map_or(0, |_| 1))),
                "{images:?}"
            );
        }
    }
}

#[test]
fn bench_reads_and_writes() {
    let folder = Folder::new();
    folder.raw("img", 1 << 20);
    for cache in ["none", "writeback", "writethrough", "directsync", "unsafe"] {
        let out = folder.ok(&["bench", "-c", "300", "-d", "7", "-s", "8k", "-t", cache, "img"]);
        assert!(
            out.starts_with("Sending 300 read requests, 8192 bytes each, 7 in parallel")
                && out.contains("\nRun completed in "),
            "{out}"
        );
    }
    assert!(fs::read(folder.path("img")).unwrap() == content(1 << 20));
    folder.ok(&["bench", "-c", "300", "-w", "-t", "none", "img"]);
    assert!(fs::read(folder.path("img")).unwrap().iter().all(|byte| *byte == 0));
    folder.fails(&["bench", "-s", "2M", "img"], 1, &["'img'"]);
    folder.fails(&["bench", "-d", "0", "img"], 1, &["'img'"]);
    // Little data, but each request takes room beside it.
    folder.fails(&["bench", "-s", "1", "-c", "100000000", "-d", "100000000", "img"], 1, &["'img'", "beside"]);
}

#[test]
fn an_empty_image_and_compressed_clusters_are_mapped_as_qemu_does() {
    if !qemu_is_here() {
        return;
    }
    let folder = Folder::new();
    for format in ["raw", "qcow2"] {
        folder.qemu_img(&["create", "-f", format, "empty", "0"]);
        let map = ["map", "-f", format, "--output", "json", "empty"];
        let [ours, theirs]: [Value; 2] =
            [folder.ok(&map), folder.qemu_img(&map)].map(|json| serde_json::from_str(&json).unwrap());
        assert_eq!(ours, theirs, "{format}");
    }
    // The first half does not compress: its rows come before the error.
    let noise = iter::successors(Some(1_u64), |n| Some(n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1)));
    let mut bytes: Vec<u8> = noise.take(1 << 18).map(|n| (n >> 56) as u8).collect();
    bytes.resize(1 << 19, b'x');
    fs::write(folder.path("half"), bytes).unwrap();
    folder.qemu_img(&["convert", "-c", "-f", "raw", "-O", "qcow2", "half", "packed"]);
    let ours = folder.run(&["map", "packed"]);
    one_line(&ours, 1, &["'packed'", "compressed"]);
    let theirs = support::run(Command::new("qemu-img").args(["map", "packed"]).current_dir(folder.path(".")));
    assert_eq!(text(&ours.stdout), text(&theirs.stdout));
    assert!(text(&ours.stdout).lines().count() > 1);
}

#[test]
fn an_image_of_many_stripes_with_holes_across_them() {
    const MIB: u64 = 1 << 20;
    let folder = Folder::new();
    let raw = fs::File::create(folder.path("raw")).unwrap();
    raw.set_len(100 * MIB + 1536).unwrap();
    // Holes within a stripe, over an end of one, over several; data over several, and at both ends.
    for (at, length) in
        [(0, 4096), (3 * MIB + 512, 9 * MIB), (40 * MIB - 7, 20), (64 * MIB, 17 * MIB), (100 * MIB, 1536)]
    {
        let bytes: Vec<u8> = (at..at + length).map(|at| (at >> 9) as u8 | 1).collect();
        raw.write_all_at(&bytes, at).unwrap();
    }
    let same = |format, image| {
        assert_eq!(
            folder.ok(&["compare", "-f", "raw", "-F", format, "raw", image]),
            "Images are identical.\n",
            "{image}"
        );
    };
    for (cluster, sparse) in [("512", "4k"), ("64k", "4k"), ("2M", "64k"), ("64k", "0")] {
        let cluster = format!("cluster_size={cluster}");
        folder.ok(&["convert", "-O", "qcow2", "-o", &cluster, "-S", sparse, "-f", "raw", "raw", "qcow2"]);
        same("qcow2", "qcow2");
        folder.ok(&["convert", "-O", "raw", "-S", sparse, "qcow2", "copy"]);
        same("raw", "copy");
        // Into what is there and not blank, where zeroes have to be made.
        fs::write(folder.path("full"), vec![7; 101 * MIB as usize]).unwrap();
        folder.ok(&["convert", "-n", "-O", "raw", "-S", sparse, "qcow2", "full"]);
        let (full, copy) = (fs::read(folder.path("full")).unwrap(), fs::read(folder.path("copy")).unwrap());
        assert!(full[..copy.len()] == copy[..], "{cluster} {sparse}");
        // Only what an image has itself.
        folder.ok(&["create", "-f", "qcow2", "-b", "raw", "-F", "raw", "top"]);
        folder.ok(&["bench", "-w", "-c", "300", "-s", "64k", "-f", "qcow2", "top"]);
        folder.ok(&["convert", "-O", "qcow2", "-B", "raw", "-F", "raw", "-S", sparse, "top", "own"]);
        assert_eq!(folder.ok(&["compare", "top", "own"]), "Images are identical.\n");
    }
    assert_eq!(folder.ok(&["check", "qcow2"]).lines().next(), Some("No errors were found on the image."));
}
