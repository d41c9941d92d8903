//! The NBD driver against `qemu-nbd` over both kinds of sockets.

mod support;

use std::fs;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;

use co_img::backend::{
    blk_block_status, blk_flush, blk_getlength, blk_pdiscard, blk_pread, blk_pwrite, blk_pwrite_zeroes, blk_truncate,
};
use co_img::driver::Cache;
use co_img::open::{ImageFormat, blk_open};
use co_wrapper_test_support::old_nbd;
use support::{Folder, content, qemu_is_here, serve};

const SIZE: usize = 8 << 20;

#[test]
fn every_operation_over_both_sockets() {
    if !qemu_is_here() {
        return;
    }
    for tcp in [false, true] {
        let folder = Folder::new();
        folder.raw("disk", SIZE);
        let (_server, url) = serve(&folder, tcp, "disk", &["-f", "raw", "--discard=unmap", "--detect-zeroes=off"]);
        let mut blk = blk_open(&url, Some(ImageFormat::Raw), true, Cache::Writeback).unwrap();
        let mut mirror = content(SIZE);
        let file = || fs::read(folder.path("disk")).unwrap();

        assert_eq!(blk_getlength(&blk).unwrap(), SIZE as u64);
        let mut buf = vec![0; SIZE];
        blk_pread(&blk, 0, &mut buf).unwrap();
        assert!(buf == mirror, "read differently");

        for (off, len, fua) in [(0, 512, false), (12_345, 678_901, true), (SIZE - 1, 1, true)] {
            blk_pwrite(&blk, off as u64, &vec![0x5a; len], fua).unwrap();
            mirror[off..off + len].fill(0x5a);
            assert!(file() == mirror, "{len} bytes at {off} written, fua {fua}");
        }
        blk_pwrite_zeroes(&blk, 1_000_000, 3_000_000).unwrap();
        mirror[1_000_000..4_000_000].fill(0);
        blk_flush(&blk).unwrap();
        assert!(file() == mirror, "zeroes written");

        let blocks = || std::os::unix::fs::MetadataExt::blocks(&fs::metadata(folder.path("disk")).unwrap());
        blk_pwrite(&blk, 4 << 20, &vec![1; 2 << 20], false).unwrap();
        blk_flush(&blk).unwrap();
        let before = blocks();
        blk_pdiscard(&mut blk, 4 << 20, 2 << 20).unwrap();
        blk_flush(&blk).unwrap();
        assert!(blocks() <= before - (2 << 20) / 512 / 2, "discard freed nothing: {before}, {}", blocks());

        let status = blk_block_status(&blk, 4 << 20, 1 << 20).unwrap();
        assert!(status.zero && status.length == 1 << 20, "{status:?}");
        let status = blk_block_status(&blk, 0, 100).unwrap();
        assert!(!status.zero && status.data && status.length == 100, "{status:?}");

        assert!(blk_truncate(&mut blk, 2 * SIZE as u64).unwrap_err().to_string().contains("does not grow"));
        assert!(blk_pwrite(&blk, SIZE as u64 - 1, &[0; 2], false).is_err());
        assert!(blk_pread(&blk, SIZE as u64, &mut [0]).is_err());
    }
}

#[test]
fn the_commands_over_both_sockets() {
    if !qemu_is_here() {
        return;
    }
    for tcp in [false, true] {
        let folder = Folder::new();
        let odd = SIZE - 1000;
        folder.raw("disk", odd);
        folder.raw("zero", 0);
        fs::File::options().write(true).open(folder.path("zero")).unwrap().set_len(odd as u64).unwrap();
        fs::write(folder.path("full"), vec![0xff; odd]).unwrap();
        let (_server, url) = serve(&folder, tcp, "disk", &["-f", "raw", "--read-only"]);
        let (_target, target) = serve(&folder, tcp, "full", &["-f", "raw"]);
        folder.ok(&["convert", "-O", "qcow2", &url, "copy"]);
        folder.qemu_img(&["check", "-q", "copy"]);
        folder.qemu_img(&["compare", "-q", "-f", "raw", "-F", "qcow2", "disk", "copy"]);
        folder.ok(&["convert", "-O", "raw", &url, &target]);
        assert!(fs::read(folder.path("full")).unwrap()[..odd] == content(odd), "converted into an export");
        assert_eq!(folder.run(&["compare", &url, &target]).status.code(), Some(0));
        assert_eq!(folder.run(&["compare", &url, "zero"]).status.code(), Some(1));
        folder.ok(&["bench", "-c", "500", &url]);
        assert!(folder.ok(&["info", &url]).contains("virtual size: 8 MiB"));
        folder.fails(&["bench", "-w", "-c", "1", &url], 1, &[&url, "read-only"]);
        folder.fails(&["convert", "-U", "-O", "raw", "full", &url], 1, &[&url, "read-only"]);
        folder.fails(&["info", &url.replace("/img", "/other")], 1, &["refuses export \"other\""]);

        // As QEMU sees it, but for the tail that is no sector.
        let extents = |json: String| -> Vec<(u64, bool, bool)> {
            let entries: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
            let mut merged: Vec<(u64, bool, bool)> = Vec::new();
            for entry in entries {
                let (start, zero) = (entry["start"].as_u64().unwrap(), entry["zero"].as_bool().unwrap());
                let entry = (start, zero, entry["data"].as_bool().unwrap());
                if merged.last().is_none_or(|last| (last.1, last.2) != (entry.1, entry.2)) {
                    merged.push(entry);
                }
            }
            merged
        };
        let ours = extents(folder.ok(&["map", "--output", "json", &url]));
        assert_eq!(ours, extents(folder.qemu_img(&["map", "--output", "json", "-f", "raw", &url])));
        assert!(ours.len() > 3, "{ours:?}");

        folder.fails(&["convert", "-O", "raw", &target, &target], 1, &[&target, "written over while it is read"]);
        // In place, too, a qcow2 image has the last sector whole: what is behind the last whole one is not lost.
        folder.ok(&["convert", "-O", "qcow2", &url, &target]);
        folder.qemu_img(&["compare", "-q", "-U", "-f", "raw", "-F", "qcow2", "disk", "full"]);
    }
}

#[test]
fn a_qcow2_image_in_an_export_based_on_another() {
    if !qemu_is_here() {
        return;
    }
    let folder = Folder::new();
    folder.raw("base", SIZE);
    let (_base, base) = serve(&folder, true, "base", &["-f", "raw", "--read-only", "--persistent", "--shared=8"]);
    folder.qemu_img(&["create", "-q", "-f", "qcow2", "-F", "raw", "-b", &base, "top"]);
    folder.tool("qemu-io", &["-f", "qcow2", "-c", "write -P 9 1M 100k", "top"]);
    let (_top, top) = serve(&folder, false, "top", &["-f", "raw", "--read-only"]);
    folder.ok(&["convert", "-f", "qcow2", "-O", "raw", &top, "ours"]);
    let mut expected = content(SIZE);
    expected[1 << 20..(1 << 20) + 102_400].fill(9);
    assert!(fs::read(folder.path("ours")).unwrap() == expected);
}

#[test]
fn a_server_that_restarts_is_connected_to_again() {
    if !qemu_is_here() {
        return;
    }
    let folder = Folder::new();
    folder.raw("disk", SIZE);
    let options = ["-f", "raw"];
    let (server, url) = serve(&folder, false, "disk", &options);
    let url = format!("{url}&reconnect=60");
    let blk = blk_open(&url, None, true, Cache::Writeback).unwrap();
    let mut buf = vec![0; 4096];
    blk_pread(&blk, 0, &mut buf).unwrap();
    drop(server);
    let path = folder.path("nbd0.sock");
    thread::scope(|s| {
        let reading = s.spawn(|| {
            let mut buf = vec![0; SIZE];
            blk_pread(&blk, 0, &mut buf).map(|()| buf)
        });
        fs::remove_file(&path).unwrap();
        let _server = serve(&folder, false, "disk", &options); // at the same place
        assert!(reading.join().unwrap().unwrap() == content(SIZE));
        blk_pwrite(&blk, 0, &[3; 512], true).unwrap();
    });
    assert_eq!(fs::read(folder.path("disk")).unwrap()[..512], [3; 512]);
}

#[test]
fn servers_that_know_no_nbd_opt_go() {
    if !qemu_is_here() {
        return;
    }
    for (name, age) in old_nbd::AGES {
        let folder = Folder::new();
        folder.raw("raw", 1 << 20);
        fs::write(folder.path("disk"), vec![0; 1 << 20]).unwrap();
        let (_server, url) = serve(&folder, true, "disk", &["-f", "raw"]);
        let real = url.strip_prefix("nbd://").and_then(|url| url.strip_suffix("/img")).unwrap().parse().unwrap();
        let (old, asked) = old_nbd::older(real, age);
        let url = format!("nbd://{old}/img");
        folder.ok(&["convert", "-f", "raw", "-O", "raw", "raw", &url]);
        folder.ok(&["compare", "-f", "raw", "-F", "raw", "raw", &url]);
        folder.ok(&["compare", "-f", "raw", "-F", "raw", "raw", "disk"]);
        folder.ok(&["map", "-f", "raw", &url]);
        folder.ok(&["bench", "-w", "-c", "20", "-d", "4", "-f", "raw", &url]);
        folder.fails(&["info", &format!("nbd://{old}/none")], 1, &["refuses export \"none\""]);
        assert_eq!(asked.load(SeqCst), 5, "{name}");
    }
}
