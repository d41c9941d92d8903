//! The example `examples/format_disk.rs`: what it writes through `blocking::Cursor` is read again by other means.
//!
//! `sfdisk` and `fsck.fat` judge it where they are installed; with `CO_WRAPPER_REQUIRE_FSCK=1` they have to be.

#![cfg(feature = "tokio")]

#[path = "../examples/format_disk.rs"]
#[allow(dead_code, reason = "its `main`")]
mod format_disk;
mod image;
mod program;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs, io};

use co_wrapper_test_support::within_bounds;
use fatfs::{FileSystem, FsOptions};
use format_disk::{blockdev::Disk, files, fill};
use gpt::GptConfig;
use image::{Image, SIZE, qemu_img, text};

/// Names and contents that a file system may stumble over.
fn contents() -> Vec<(&'static str, Vec<u8>)> {
    let bytes = |len: usize| (0..len).map(|at| (at / 512 * 7 + at) as u8).collect();
    vec![
        ("empty", Vec::new()),
        ("short.txt", b"one\n".to_vec()),
        ("a name longer than eight and three", bytes(513)),
        ("of many clusters.bin", bytes(1_234_567)),
        ("größe.txt", bytes(4096)),
    ]
}

/// Fills the disk, and reads it back through the same driver.
fn filled(url: &str) {
    let disk = Disk::open_blocking(url).unwrap();
    let contents = contents();
    let borrowed: Vec<_> = contents.iter().map(|(name, content)| (*name, &content[..])).collect();
    fill(&disk, &borrowed).unwrap();
    check("the driver", files(&disk).unwrap());
}

fn check(what: &str, found: Vec<(String, Vec<u8>)>) {
    let names: Vec<_> = found.iter().map(|(name, content)| (name.as_str(), content.len())).collect();
    let contents = contents();
    assert_eq!(names, contents.iter().map(|(name, content)| (*name, content.len())).collect::<Vec<_>>(), "{what}");
    assert!(found.iter().zip(&contents).all(|(found, written)| found.1 == written.1), "{what}: other bytes");
}

/// A part of a file, through std alone.
struct Slice {
    file: File,
    start: u64,
    end: u64,
}

impl Read for Slice {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.end - self.file.stream_position()?;
        (&self.file).take(left).read(buf)
    }
}

impl Write for Slice {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Slice {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => SeekFrom::Start(self.start + at),
            SeekFrom::End(by) => SeekFrom::Start(self.end.checked_add_signed(by).unwrap()),
            SeekFrom::Current(_) => to,
        };
        Ok(self.file.seek(to)? - self.start)
    }
}

/// Reads a raw image without the driver, and has other people's tools judge it.
fn judged(path: &Path) {
    let table = GptConfig::new().only_valid_headers(true).open(path).unwrap();
    assert_eq!(table.partitions().len(), 1);
    let part = &table.partitions()[&1];
    let (start, end) = (part.first_lba * 512, (part.last_lba + 1) * 512);
    assert_eq!((start, end, part.name.as_str()), (1 << 20, SIZE - (1 << 20), "files"));
    let mut file = File::open(path).unwrap();
    file.seek(SeekFrom::Start(start)).unwrap();
    let system = FileSystem::new(Slice { file, start, end }, FsOptions::new()).unwrap();
    assert_eq!(system.volume_label(), "CO-WRAPPER");
    let entries = system.root_dir().iter().map(Result::unwrap);
    let read = entries.map(|entry| {
        let mut content = Vec::new();
        entry.to_file().read_to_end(&mut content).unwrap();
        (entry.file_name(), content)
    });
    check("std", read.collect());

    if installed("sfdisk") {
        let table = said(Command::new("sfdisk").arg("--verify").arg(path));
        assert!(table.contains("No errors detected"), "{table}");
    }
    if installed("fsck.fat") {
        let bytes = fs::read(path).unwrap();
        let volume = path.with_extension("fat");
        fs::write(&volume, &bytes[start as usize..end as usize]).unwrap();
        let verdict = said(Command::new("fsck.fat").arg("-nv").arg(&volume));
        // It counts the volume's label.
        assert!(verdict.contains(&format!("{} files", contents().len() + 1)), "{verdict}");
    }
}

fn installed(tool: &str) -> bool {
    let runs = Command::new(tool).arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    assert!(runs || env::var("CO_WRAPPER_REQUIRE_FSCK").as_deref() != Ok("1"), "{tool} is not installed");
    runs
}

/// What a tool that has nothing to complain of says.
fn said(command: &mut Command) -> String {
    let output = command.env("LC_ALL", "C").output().unwrap();
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

#[test]
fn a_raw_file() {
    within_bounds(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk.img");
        File::create(&path).unwrap().set_len(SIZE).unwrap();
        filled(text(&path));
        judged(&path);
        // Once more, over what is there.
        filled(text(&path));
        judged(&path);
    });
}

#[test]
fn an_nbd_export() {
    let Some(image) = Image::create() else { return };
    let (server, url) = image.serve_unix("--cache=writeback");
    within_bounds(move || {
        filled(&url);
        let copy = image.path.with_extension("copy");
        qemu_img(&["convert", "-f", "raw", "-O", "raw", &url, text(&copy)]);
        drop(server);
        judged(&image.path);
        judged(&copy);
    });
}

#[test]
fn an_nbd_export_that_takes_whole_blocks_of_4_kib_only() {
    let Some(image) = Image::create() else { return };
    let (server, url) = image.serve_unix("align=4096");
    within_bounds(move || {
        let disk = Disk::open_blocking(&url).unwrap();
        assert!(disk.read_blocking(512, &mut [0; 512]).unwrap_err().to_string().contains("not aligned"));
        filled(&url);
        drop((server, disk));
        judged(&image.path);
    });
}

#[test]
fn a_qcow2_image_behind_nbd() {
    let Some(image) = Image::create_as("qcow2") else { return };
    let (server, url) = image.serve_unix("--cache=writeback");
    within_bounds(move || {
        filled(&url);
        drop(server);
        let raw = image.path.with_extension("raw");
        qemu_img(&["convert", "-f", "qcow2", "-O", "raw", text(&image.path), text(&raw)]);
        judged(&raw);
    });
}

#[test]
fn the_program_lists_what_it_put_there_and_says_in_a_line_what_is_wrong() {
    let program = program::built("format_disk");
    let (success, out, err) = program::said(&program, &[]);
    assert!(success && err.is_empty(), "{err}");
    assert!(out.ends_with("disk.img\n        50 bytes  a text.txt\n"), "{out}");
    let folder = tempfile::tempdir().unwrap();
    let [disk, small, none] = ["disk.img", "small.img", "none.img"].map(|name| folder.path().join(name));
    File::create(&disk).unwrap().set_len(SIZE).unwrap();
    File::create(&small).unwrap().set_len(1 << 20).unwrap();
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let (success, out, err) = program::said(&program, &[text(&disk), manifest]);
    assert!(success && err.is_empty(), "{err}");
    let len = fs::metadata(manifest).unwrap().len();
    assert_eq!(out, format!("{}\n  {len:8} bytes  Cargo.toml\n", text(&disk)));
    for (args, cause) in [
        (vec![text(&none)], "No such file"),
        (vec![text(&small)], "no room for a partition"),
        (vec![text(&disk), text(&none)], "No such file"),
        (vec!["nbd://127.0.0.1:1/x"], "refused"),
    ] {
        let (success, out, err) = program::said(&program, &args);
        assert!(!success && out.is_empty(), "{args:?}: {out}{err}");
        assert!(err.starts_with(&format!("format_disk: {}: ", args[0])) && err.contains(cause), "{err}");
        assert_eq!(err.lines().count(), 1, "{err}");
    }
}
