//! What a target has when a command has succeeded, up to its last byte, where formats, sizes and cache modes have edges: the
//! same as after qemu-img.

mod support;

use std::fs;
use std::os::unix::fs::FileExt;
use std::process::Command;

use support::{Folder, content, qemu_is_here, run, serve, text};

/// Both images have the same for qemu-img and for us, to whom what is behind a shorter one must be zeroes.
#[track_caller]
fn same(folder: &Folder, [a_format, a]: [&str; 2], [b_format, b]: [&str; 2], what: &str) {
    let args = ["compare", "-f", a_format, "-F", b_format, a, b];
    let compared = run(Command::new("qemu-img").args(args).current_dir(folder.0.path()));
    assert!(compared.status.success(), "{what}: {}{}", text(&compared.stdout), text(&compared.stderr));
    assert_eq!(folder.ok(&args).lines().last(), Some("Images are identical."), "{what}");
}

/// Catches: the first zeroes fail, because version 2 has no clusters of zeroes.
#[test]
fn zeroes_in_an_image_of_version_2() {
    if !qemu_is_here() {
        return;
    }
    for cluster in ["512", "64k", "2M"] {
        let folder = Folder::new();
        let options = format!("compat=0.10,cluster_size={cluster}");
        // Nothing but zeroes; some data among them, where clusters end and where they do not; longer than the source.
        fs::File::create(folder.path("zero")).unwrap().set_len(3 << 20).unwrap();
        folder.raw("some", (3 << 20) - 512);
        fs::write(folder.path("full"), vec![b'X'; 3 << 20]).unwrap();
        for source in ["zero", "some"] {
            for there in ["nothing", "data", "an overlay"] {
                let what = format!("{source} onto {there}, clusters of {cluster}");
                match there {
                    "nothing" => folder.qemu_img(&["create", "-q", "-f", "qcow2", "-o", &options, "v2", "3M"]),
                    "data" => folder.qemu_img(&["convert", "-O", "qcow2", "-o", &options, "full", "v2"]),
                    _ => folder
                        .qemu_img(&["create", "-q", "-f", "qcow2", "-o", &options, "-b", "full", "-F", "raw", "v2"]),
                };
                folder.ok(&["convert", "-n", "-f", "raw", "-O", "qcow2", source, "v2"]);
                folder.qemu_img(&["check", "-q", "-f", "qcow2", "v2"]);
                let end = fs::metadata(folder.path(source)).unwrap().len();
                folder.qemu_img(&["convert", "-O", "raw", "v2", "flat"]);
                let flat = fs::read(folder.path("flat")).unwrap();
                assert!(flat[..end as usize] == fs::read(folder.path(source)).unwrap(), "{what}");
                let kept = if there == "nothing" { 0 } else { b'X' };
                assert!(flat[end as usize..].iter().all(|byte| *byte == kept), "{what}: behind it");
                if (source, there) == ("zero", "nothing") {
                    assert!(!folder.qemu_img(&["map", "--output", "json", "v2"]).contains("\"data\": true"), "{what}");
                }
            }
        }
        // Zeroes that an overlay has where its base has something else.
        folder.qemu_img(&["convert", "-O", "qcow2", "-o", &options, "full", "base"]);
        folder.qemu_img(&["create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", "top"]);
        folder.tool("qemu-io", &["-f", "qcow2", "-c", "write -z 100k 1M", "-c", "write -P 7 2M 5k", "top"]);
        folder.qemu_img(&["convert", "-O", "raw", "top", "before"]);
        folder.ok(&["commit", "top"]);
        folder.qemu_img(&["check", "-q", "-f", "qcow2", "base"]);
        same(&folder, ["raw", "before"], ["qcow2", "base"], &format!("commit, clusters of {cluster}"));
    }
}

/// Catches: a cluster is made one of zeroes because nothing else was in it a moment ago, when another request has written to
/// another part of it since.
#[test]
fn zeroes_and_data_that_share_a_cluster() {
    if !qemu_is_here() {
        return;
    }
    const KIB: usize = 1 << 10;
    let folder = Folder::new();
    let source = fs::File::create(folder.path("s")).unwrap();
    source.set_len(4 << 20).unwrap();
    for at in (0..4 << 20).step_by(256 * KIB) {
        source.write_all_at(&vec![b'D'; 60 * KIB], (at + 100 * KIB) as u64).unwrap();
    }
    for cluster in ["64k", "2M"] {
        for cache in ["writeback", "none", "writethrough"] {
            for there in ["nothing", "data"] {
                let what = format!("{there}, clusters of {cluster}, -t {cache}");
                let options = format!("cluster_size={cluster}");
                folder.qemu_img(&["create", "-q", "-f", "qcow2", "-o", &options, "q", "4M"]);
                if there == "data" {
                    folder.tool("qemu-io", &["-f", "qcow2", "-c", "write -P 9 0 4M", "q"]);
                }
                folder.ok(&["convert", "-n", "-t", cache, "-f", "raw", "-O", "qcow2", "s", "q"]);
                folder.qemu_img(&["check", "-q", "q"]);
                same(&folder, ["raw", "s"], ["qcow2", "q"], &what);
            }
        }
    }
}

/// The same in a commit, whose image has smaller clusters than its base, to a server that answers later.
#[test]
fn committed_zeroes_and_data_that_share_a_cluster() {
    if !qemu_is_here() {
        return;
    }
    for there in ["nothing", "data"] {
        let folder = Folder::new();
        folder.qemu_img(&["create", "-q", "-f", "qcow2", "base", "2M"]);
        if there == "data" {
            folder.tool("qemu-io", &["-f", "qcow2", "-c", "write -P 9 0 2M", "base"]);
        }
        fs::File::options().write(true).open(folder.path("base")).unwrap().set_len(8 << 20).unwrap(); // room to grow
        let (_server, url) = serve(&folder, false, "base", &["-f", "raw"]);
        let options = ["-o", "cluster_size=4k", "-b", &url, "-F", "qcow2", "top"];
        folder.qemu_img(&[&["create", "-q", "-f", "qcow2"][..], &options].concat());
        // Of four clusters one of data, one of zeroes, one that the base has, one of other data.
        let writes = (0..2048 / 16).flat_map(|n| {
            let [data, zeroes, other] = [0, 4, 12].map(|at| n * 16 + at);
            let writes = [format!("-P 1 {data}k 4k"), format!("-z {zeroes}k 4k"), format!("-P 2 {other}k 4k")];
            writes.into_iter().flat_map(|write| ["-c".into(), format!("write -q {write}")])
        });
        let writes: Vec<String> = writes.collect();
        let writes: Vec<&str> = writes.iter().map(|write| &**write).collect();
        folder.tool("qemu-io", &[&["-f", "qcow2"], &writes[..], &["top"]].concat());
        folder.qemu_img(&["convert", "-O", "raw", "top", "before"]);
        folder.ok(&["commit", "top"]);
        folder.qemu_img(&["check", "-q", "-f", "qcow2", &url]);
        same(&folder, ["raw", "before"], ["qcow2", &url], there);
    }
}

/// Catches: a panic where an image is shorter than one of its clusters, and its end is taken for a cluster's.
#[test]
fn zeroes_in_an_image_that_is_shorter_than_a_cluster() {
    if !qemu_is_here() {
        return;
    }
    let folder = Folder::new();
    for (size, zeroes) in [(512, 512), (40_960, 4096), (40_960, 40_960), (65_536, 512), (66_048, 66_048), (66_048, 512)]
    {
        for at in [0, size - zeroes, (size - zeroes) / 1024 * 512] {
            folder.qemu_img(&["create", "-q", "-f", "qcow2", "base", &size.to_string()]);
            folder.tool("qemu-io", &["-f", "qcow2", "-c", &format!("write -P 7 0 {size}"), "base"]);
            let options = ["-o", "cluster_size=512", "-b", "base", "-F", "qcow2", "top"];
            folder.qemu_img(&[&["create", "-q", "-f", "qcow2"][..], &options].concat());
            folder.tool("qemu-io", &["-f", "qcow2", "-c", &format!("write -z {at} {zeroes}"), "top"]);
            folder.qemu_img(&["convert", "-O", "raw", "top", "before"]);
            folder.ok(&["commit", "top"]);
            folder.qemu_img(&["check", "-q", "base"]);
            same(&folder, ["raw", "before"], ["qcow2", "base"], &format!("{zeroes} zeroes at {at} of {size}"));
        }
    }
}

/// A target that is full of something, and one sector longer than the source at least, has the source's last sector after
/// a conversion: also where the source ends in the middle of it, behind which zeroes are read.
#[test]
fn the_last_sector_of_a_source_replaces_what_was_there() {
    if !qemu_is_here() {
        return;
    }
    for size in [1, 511, 512, 513, 1000, 65_000, 65_536, 65_537, 300_001] {
        for zero in [false, true] {
            let folder = Folder::new();
            let source: Vec<u8> =
                if zero { vec![0; size] } else { content(size).iter().map(|byte| byte | 1).collect() };
            fs::write(folder.path("s"), &source).unwrap();
            let (whole, long) = (size.next_multiple_of(512), size.next_multiple_of(512) + 512);
            let (there, behind) = (vec![b'X'; long], vec![b'X'; 512]);
            let expected = [&source[..], &vec![0; whole - size], &behind].concat();
            let what = format!("{size} bytes, zero: {zero}");
            // Raw, longer than the last sector; and as long as the source, which stays as long.
            fs::write(folder.path("d"), &there).unwrap();
            folder.ok(&["convert", "-n", "-f", "raw", "-O", "raw", "s", "d"]);
            assert!(fs::read(folder.path("d")).unwrap() == expected, "{what}: raw");
            fs::write(folder.path("d"), &there[..size]).unwrap();
            folder.ok(&["convert", "-n", "-f", "raw", "-O", "raw", "s", "d"]);
            assert!(fs::read(folder.path("d")).unwrap() == source, "{what}: raw of the same size");
            // The same in QEMU's words: nothing but what is behind differs.
            fs::write(folder.path("d"), &there).unwrap();
            folder.qemu_img(&["convert", "-n", "-f", "raw", "-O", "raw", "s", "d"]);
            assert!(fs::read(folder.path("d")).unwrap() == expected, "{what}: qemu-img");
            // Qcow2, also on an image that has something in the same place.
            fs::write(folder.path("d"), &there[..whole]).unwrap();
            folder.qemu_img(&["convert", "-f", "raw", "-O", "qcow2", "d", "q"]);
            folder.ok(&["convert", "-n", "-f", "raw", "-O", "qcow2", "s", "q"]);
            same(&folder, ["raw", "s"], ["qcow2", "q"], &format!("{what}: qcow2"));
            folder.qemu_img(&["create", "-q", "-f", "qcow2", "-b", "d", "-F", "raw", "overlay"]);
            folder.ok(&["convert", "-n", "-f", "raw", "-O", "qcow2", "s", "overlay"]);
            same(&folder, ["raw", "s"], ["qcow2", "overlay"], &format!("{what}: an overlay"));
            folder.ok(&["convert", "-f", "raw", "-O", "qcow2", "-B", "d", "-F", "raw", "s", "based"]);
            same(&folder, ["raw", "s"], ["qcow2", "based"], &format!("{what}: -B"));
        }
    }
}

/// The same in an export, which is written in place with and without `-n`.
#[test]
fn the_last_sector_of_a_source_replaces_what_an_export_had() {
    if !qemu_is_here() {
        return;
    }
    let folder = Folder::new();
    for size in [1000, 4097] {
        fs::write(folder.path("s"), vec![7; size]).unwrap();
        let whole = size.next_multiple_of(512);
        let expected = [vec![7; size], vec![0; whole - size], vec![b'X'; 1024]].concat();
        for existing in [&["-n"][..], &[]] {
            fs::write(folder.path("d"), vec![b'X'; whole + 1024]).unwrap();
            let (server, url) = serve(&folder, false, "d", &["-f", "raw"]);
            folder.ok(&[&["convert"], existing, &["-f", "raw", "-O", "raw", "s", &url]].concat());
            drop(server);
            assert!(fs::read(folder.path("d")).unwrap() == expected, "{size} bytes, {existing:?}");
        }
    }
}

/// The program holds the base and its data file already when it opens the image. Others may hold neither.
#[test]
fn commit_to_and_from_images_whose_data_is_elsewhere() {
    if !qemu_is_here() {
        return;
    }
    let elsewhere = |image: &str, elsewhere: bool| {
        if elsewhere { format!("data_file=data-{image}") } else { "cluster_size=64k".into() }
    };
    for [bottom_has, base_has, top_has] in (0..8).map(|bits| [1, 2, 4].map(|bit| bits & bit != 0)) {
        let what = format!("data elsewhere: bottom {bottom_has}, base {base_has}, top {top_has}");
        let folder = Folder::new();
        let create = ["create", "-q", "-f", "qcow2", "-o"];
        folder.qemu_img(&[&create[..], &[&elsewhere("bottom", bottom_has), "bottom", "1M"]].concat());
        let on = |below| ["-b", below, "-F", "qcow2"];
        folder.qemu_img(&[&create[..], &[&elsewhere("base", base_has)], &on("bottom"), &["base", "1M"]].concat());
        folder.qemu_img(&[&create[..], &[&elsewhere("top", top_has)], &on("base"), &["top", "1M"]].concat());
        for (image, at) in [("bottom", "0"), ("base", "200k"), ("top", "300k")] {
            folder.tool("qemu-io", &["-f", "qcow2", "-c", &format!("write -P 7 {at} 200k"), image]);
        }
        folder.tool("qemu-io", &["-f", "qcow2", "-c", "write -z 64k 64k", "top"]);
        folder.qemu_img(&["convert", "-O", "raw", "top", "before"]);
        let other = base_has.then(|| {
            let command = ["-f", "raw", "data-base"];
            support::held_open(Command::new("qemu-io").args(command).current_dir(folder.0.path()))
        });
        if other.is_some() {
            folder.fails(&["commit", "top"], 1, &["data-base", "lock: another program is using it"]);
        }
        drop(other);
        assert_eq!(folder.ok(&["commit", "top"]), "Image committed.\n", "{what}");
        for image in ["base", "top"] {
            folder.qemu_img(&["check", "-q", image]);
            same(&folder, ["raw", "before"], ["qcow2", image], &format!("{what}: {image}"));
        }
    }
}

/// Past the page cache a file is written in whole blocks, of 4096 bytes. A raw image need not end where one does.
#[test]
fn a_raw_image_is_as_long_in_every_cache_mode() {
    let folder = Folder::new();
    let caches = ["writeback", "none", "directsync", "writethrough", "unsafe"];
    // Up to the end data, or zeroes in the last block.
    for (size, zeroes) in
        [(512, 0), (5000, 0), (5000, 2000), (8192, 0), (200_000, 0), (200_000, 150_000), (1_000_000, 1)]
    {
        let mut source: Vec<u8> = content(size).iter().map(|byte| byte | 1).collect();
        source[size - zeroes..].fill(0);
        fs::write(folder.path("s"), &source).unwrap();
        let whole = [&source[..], &vec![0; size.next_multiple_of(512) - size]].concat();
        let has = |name: &str, expected: &[u8], what: &str| {
            let there = fs::read(folder.path(name)).unwrap();
            assert_eq!(there.len(), expected.len(), "{what}");
            assert!(there == expected, "{what}");
        };
        for cache in caches {
            for sparse in ["0", "4k"] {
                let what = format!("{size} bytes, {zeroes} zeroes, -t {cache} -S {sparse}");
                let convert = |others: &[&str], to: &str| {
                    let command = ["convert", "-t", cache, "-T", cache, "-S", sparse, "-f", "raw", "-O", "raw"];
                    let output = folder.run(&[&command, others, &["s", to]].concat());
                    assert!(output.status.success(), "{what}: {}", text(&output.stderr));
                };
                convert(&[], "new");
                has("new", &whole, &what);
                // What is there keeps its length, and what is behind the source.
                for more in [0, 100, 5000] {
                    fs::write(folder.path("there"), vec![b'X'; size + more]).unwrap();
                    convert(&["-n"], "there");
                    let end = (size + more).min(whole.len());
                    let expected = [&whole[..end], &vec![b'X'; size + more - end]].concat();
                    has("there", &expected, &format!("{what}, -n, {more} more"));
                }
            }
        }
    }
    // In place, and by requests that reach into the last block.
    fs::write(folder.path("there"), vec![b'X'; 100_000]).unwrap();
    fs::hard_link(folder.path("there"), folder.path("second")).unwrap();
    fs::write(folder.path("s"), vec![7; 5000]).unwrap();
    assert!(folder.run(&["convert", "-t", "none", "-f", "raw", "-O", "raw", "s", "second"]).status.success());
    assert_eq!(fs::metadata(folder.path("there")).unwrap().len(), 5120);
    for cache in caches {
        fs::write(folder.path("there"), vec![b'X'; 20_000]).unwrap();
        folder.ok(&["bench", "-w", "-c", "40", "-s", "1000", "-t", cache, "-f", "raw", "there"]);
        assert!(fs::read(folder.path("there")).unwrap() == [0; 20_000], "{cache}");
    }
}
