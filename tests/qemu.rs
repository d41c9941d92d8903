//! The block driver of `examples/blockdev.rs` against QEMU's own tools.
//!
//! Where `qemu-nbd` and `qemu-img` are not installed the tests say so and pass; with `CO_WRAPPER_REQUIRE_QEMU=1` they fail.

#![cfg(feature = "tokio")]

#[path = "../examples/blockdev.rs"]
#[allow(dead_code, reason = "its `main`")]
mod blockdev;
mod image;
mod program;

use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::sync::atomic::Ordering::SeqCst;
use std::{fs, io, thread};

use blockdev::Disk;
use co_wrapper_test_support::{old_nbd, within_bounds};
use image::{Image, SIZE, pattern, qemu_img, text};
use program::example;

fn reads_writes_flushes_trims(image: &Image, url: &str) {
    let disk = Disk::open_blocking(url).unwrap();
    assert_eq!(disk.size, SIZE);
    for (off, len) in [(0, 512), (SIZE - 512, 512), (12_345, 6_789), (1 << 20, 40 << 20)] {
        disk.write_blocking(off, &pattern(off, len)).unwrap();
        let mut buf = vec![0; len];
        disk.read_blocking(off, &mut buf).unwrap();
        assert!(buf == pattern(off, len), "{len} bytes at {off} read back");
    }
    disk.flush_blocking().unwrap();
    for (off, len) in [(0, 512), (SIZE - 512, 512), (12_345, 6_789), (1 << 20, 40 << 20)] {
        assert!(image.bytes(off, len) == pattern(off, len), "{len} bytes at {off} of the file");
    }
    let blocks = || fs::metadata(&image.path).unwrap().blocks();
    let before = blocks();
    disk.trim_blocking(1 << 20, 40 << 20).unwrap();
    disk.flush_blocking().unwrap();
    assert!(blocks() <= before - (40 << 20) / 512 / 2, "trim freed nothing: {before}, {} blocks", blocks());
}

#[test]
fn over_tcp() {
    let Some(image) = Image::create() else { return };
    let (_server, url) = image.serve_tcp("--discard=unmap");
    within_bounds(move || reads_writes_flushes_trims(&image, &url));
}

/// The export's address behind `nbd://`.
fn address(url: &str) -> std::net::SocketAddr {
    url.strip_prefix("nbd://").and_then(|url| url.strip_suffix("/img")).unwrap().parse().unwrap()
}

#[test]
fn servers_that_know_no_nbd_opt_go() {
    for (name, age) in old_nbd::AGES {
        let Some(image) = Image::create() else { return };
        let (_server, url) = image.serve_tcp("--discard=unmap");
        let (old, asked) = old_nbd::older(address(&url), age);
        within_bounds(move || {
            let error = Disk::open_blocking(&format!("nbd://{old}/none")).err().unwrap().to_string();
            assert!(error.contains("refuses export \"none\""), "{name}: {error}");
            reads_writes_flushes_trims(&image, &format!("nbd://{old}/img"));
            assert_eq!(asked.load(SeqCst), 2, "{name}");
        });
    }
}

#[test]
fn over_a_unix_socket() {
    let Some(image) = Image::create() else { return };
    let (_server, url) = image.serve_unix("--discard=unmap");
    within_bounds(move || reads_writes_flushes_trims(&image, &url));
}

#[test]
fn sixteen_threads_share_a_connection() {
    let Some(image) = Image::create() else { return };
    let (_server, url) = image.serve_unix("--cache=writeback");
    within_bounds(move || {
        let disk = Disk::open_blocking(&url).unwrap();
        thread::scope(|s| {
            for thread in 0..16 {
                let disk = &disk;
                s.spawn(move || {
                    for round in 0..64 {
                        let (off, len) = ((round * 16 + thread) * 4096, 4096 - thread as usize);
                        let mut buf = vec![0; len];
                        disk.write_blocking(off, &pattern(off, len)).unwrap();
                        disk.read_blocking(off, &mut buf).unwrap();
                        assert!(buf == pattern(off, len), "thread {thread}, round {round}");
                    }
                });
            }
        });
        disk.flush_blocking().unwrap();
        for (off, thread) in (0..64 * 16 * 4096).step_by(4096).zip((0..16).cycle()) {
            assert!(image.bytes(off, 4096 - thread) == pattern(off, 4096 - thread), "the file at {off}");
        }
    });
}

#[test]
fn a_server_killed_mid_request_fails_all_calls() {
    let Some(image) = Image::create() else { return };
    let (mut server, url) = image.serve_tcp("--cache=writeback");
    let disk = Disk::open_blocking(&url).unwrap();
    let stop = Command::new("kill").args(["-STOP", &server.0.id().to_string()]).status().unwrap();
    assert!(stop.success()); // from here on it answers nothing
    within_bounds(move || {
        thread::scope(|s| {
            let calls = [(); 16].map(|()| s.spawn(|| disk.read_blocking(0, &mut [0; 512])));
            server.0.kill().unwrap();
            for call in calls {
                call.join().unwrap().unwrap_err();
            }
        });
        let cause = disk.flush_blocking().unwrap_err().to_string();
        assert!(["hung up", "reset", "Broken pipe"].iter().any(|word| cause.contains(word)), "{cause}");
    });
}

#[test]
fn a_read_only_export_refuses_writes() {
    let Some(image) = Image::create() else { return };
    let (_server, url) = image.serve_unix("--read-only");
    let disk = Disk::open_blocking(&url).unwrap();
    assert!(disk.write_blocking(0, &[1; 512]).unwrap_err().to_string().contains("read-only"));
    disk.read_blocking(0, &mut [0; 512]).unwrap();
}

#[test]
fn an_export_that_it_does_not_have_is_refused() {
    let Some(image) = Image::create() else { return };
    let (_server, url) = image.serve_unix("--read-only");
    program::assert_one_line(&url.replace("/img?", "/other?"), r#"the server refuses export "other": error 6"#);
}

#[test]
fn a_raw_image_reads_as_its_export_does() {
    let Some(image) = Image::create() else { return };
    image.fill();
    let (_server, url) = image.serve_unix("--read-only");
    let survey = |url: &str| {
        let (success, out, err) = example(&[url]);
        assert!(success && err.is_empty(), "{err}");
        out.split_once('\n').unwrap().1.to_owned()
    };
    let expect = format!("  {SIZE} bytes, crc32 {:08x}\n", crc32fast::hash(&pattern(0, SIZE as usize)));
    assert_eq!([survey(text(&image.path)), survey(&url)], [expect.clone(), expect]);
}

#[test]
fn qemu_img_finds_both_transports_identical() -> io::Result<()> {
    let Some(image) = Image::create() else { return Ok(()) };
    let Some(copy) = Image::create() else { return Ok(()) };
    let (_server, url) = image.serve_unix("--discard=unmap");
    for url in [&url, text(&copy.path)] {
        let disk = Disk::open_blocking(url)?;
        disk.write_blocking(3 << 20, &pattern(0, 5 << 20))?;
        disk.flush_blocking()?;
    }
    qemu_img(&["compare", "-U", "-f", "raw", "-F", "raw", &url, text(&copy.path)]);
    Ok(())
}
