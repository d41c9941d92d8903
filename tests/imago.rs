//! The blocking interface that `examples/imago_sync.rs` gives imago, on images that `qemu-img` and `qemu-io` make and
//! check. Every one of its methods is called.
//!
//! Where they are not installed the tests say so and pass; with `CO_WRAPPER_REQUIRE_QEMU=1` they fail.

#![cfg(feature = "tokio")]

#[path = "../examples/imago_sync.rs"]
#[allow(dead_code, reason = "its `main`")]
mod imago_sync;
mod program;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use imago::file::File;
use imago::format::PreallocateMode;
use imago::io_buffers::{IoVector, IoVectorMut};
use imago::{FormatAccess, Mapping};
use imago_sync::{Blocking, open_blocking};

const MIB: u64 = 1 << 20;
const SIZE: u64 = 64 * MIB;

/// A qcow2 image, based on a raw one that is full of 0x11.
struct Image {
    folder: tempfile::TempDir,
    path: PathBuf,
}

impl Image {
    /// None, with a word on stderr, where QEMU is not installed.
    fn create() -> Option<Self> {
        if Command::new("qemu-img").arg("--version").stdout(Stdio::null()).status().is_err() {
            assert!(env::var("CO_WRAPPER_REQUIRE_QEMU").as_deref() != Ok("1"), "qemu-img is not installed");
            let _ = writeln!(io::stderr(), "skipped: qemu-img is not installed"); // past the capture
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let (base, path) = (folder.path().join("base.raw"), folder.path().join("disk.qcow2"));
        fs::write(&base, vec![0x11; SIZE as usize]).unwrap();
        qemu_img(&["create", "-q", "-f", "qcow2", "-F", "raw", "-b", text(&base), text(&path)]);
        Some(Image { folder, path })
    }

    fn open(&self) -> FormatAccess<File> {
        open_blocking(text(&self.path), true).unwrap()
    }

    /// What QEMU reads of it.
    fn bytes(&self) -> Vec<u8> {
        let raw = self.folder.path().join("out.raw");
        qemu_img(&["check", "-q", "-f", "qcow2", text(&self.path)]);
        qemu_img(&["convert", "-f", "qcow2", "-O", "raw", text(&self.path), text(&raw)]);
        fs::read(raw).unwrap()
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn qemu_img(args: &[&str]) {
    let output = Command::new("qemu-img").args(args).output().unwrap();
    assert!(output.status.success(), "qemu-img {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn all(bytes: &[u8], value: u8) -> bool {
    bytes.iter().all(|byte| *byte == value)
}

/// Whether this much from `off` on is data of the image itself.
fn is_data(image: &FormatAccess<File>, off: u64, len: u64) -> bool {
    let (mapping, there) = image.get_mapping_blocking(off, len).unwrap();
    matches!(mapping, Mapping::Raw { writable: true, .. }) && there >= len
}

#[test]
fn reads_and_writes_as_qemu_does() {
    let Some(file) = Image::create() else { return };
    let image = file.open();
    assert_eq!(image.size(), SIZE);
    let mut buf = vec![0; 3 * MIB as usize];
    image.read_blocking(&mut buf[..], 0).unwrap();
    assert!(all(&buf, 0x11));

    image.write_blocking(&[0x22; MIB as usize][..], MIB + 7).unwrap();
    let parts = [vec![0x33; 100], vec![0x44; 200]];
    image
        .writev_blocking(IoVector::from(vec![io::IoSlice::new(&parts[0]), io::IoSlice::new(&parts[1])]), 5 * MIB)
        .unwrap();
    image.write_zeroes_blocking(8 * MIB, MIB).unwrap();
    image.flush_blocking().unwrap();
    image.sync_blocking().unwrap();

    let (mut a, mut b) = ([0; 50], [0; 250]);
    let vector = IoVectorMut::from(vec![io::IoSliceMut::new(&mut a), io::IoSliceMut::new(&mut b)]);
    image.readv_blocking(vector, 5 * MIB).unwrap();
    assert!(all(&a, 0x33) && all(&b[..50], 0x33) && all(&b[50..], 0x44));
    // SAFETY: nothing has been read from the image that may not be read again.
    unsafe { image.invalidate_cache_blocking() }.unwrap();
    drop(image);

    let bytes = file.bytes();
    let at = |off: u64, len: u64| &bytes[off as usize..(off + len) as usize];
    assert!(all(at(0, MIB + 7), 0x11) && all(at(MIB + 7, MIB), 0x22) && all(at(2 * MIB + 7, 1000), 0x11));
    assert!(all(at(5 * MIB, 100), 0x33) && all(at(5 * MIB + 100, 200), 0x44) && all(at(5 * MIB + 300, 1000), 0x11));
    assert!(all(at(8 * MIB, MIB), 0) && all(at(9 * MIB, SIZE - 9 * MIB), 0x11));
}

#[test]
fn mappings_are_made_and_found() {
    let Some(file) = Image::create() else { return };
    let image = file.open();
    assert!(!is_data(&image, 0, MIB));
    let (shallow, len) = image.get_shallow_mapping_blocking(0, MIB).unwrap();
    assert!(format!("{shallow:?}").contains("Indirect") && len > 0, "{shallow:?}");

    let (_, _, len) = image.ensure_data_mapping_blocking(0, 65536, true).unwrap();
    assert!(len >= 65536 && is_data(&image, 0, 65536));

    let prepared = image.prepare_data_mapping_blocking(4 * MIB, 65536, true).unwrap();
    image.commit_data_mapping_blocking(prepared).unwrap();
    assert!(is_data(&image, 4 * MIB, 65536));
    image.flush_blocking().unwrap();
}

#[test]
fn discards() {
    let Some(file) = Image::create() else { return };
    let mut image = file.open();
    let filled = vec![0x55; 6 * MIB as usize];
    image.write_blocking(&filled[..], 0).unwrap();
    image.discard_to_zero_blocking(0, MIB).unwrap();
    image.discard_to_any_blocking(2 * MIB, MIB).unwrap();
    image.discard_to_backing_blocking(4 * MIB, MIB).unwrap();
    // SAFETY: no mapping of the image is in use.
    unsafe {
        image.discard_to_zero_unsafe_blocking(MIB, MIB).unwrap();
        image.discard_to_any_unsafe_blocking(3 * MIB, MIB).unwrap();
        image.discard_to_backing_unsafe_blocking(5 * MIB, MIB).unwrap();
    }
    image.flush_blocking().unwrap();
    for off in [0, MIB, 2 * MIB, 3 * MIB, 4 * MIB, 5 * MIB] {
        assert!(!is_data(&image, off, MIB), "{off:#x}");
    }
    drop(image);
    let bytes = file.bytes();
    assert!(all(&bytes[..2 * MIB as usize], 0) && all(&bytes[4 * MIB as usize..], 0x11));
}

#[test]
fn resizes() {
    let Some(file) = Image::create() else { return };
    let mut image = file.open();
    image.resize_blocking(SIZE + 2 * MIB, PreallocateMode::None).unwrap();
    image.resize_grow_blocking(SIZE + 4 * MIB, PreallocateMode::Zero).unwrap();
    assert_eq!(image.size(), SIZE + 4 * MIB);
    image.resize_shrink_blocking(SIZE / 2).unwrap();
    image.flush_blocking().unwrap();
    drop(image);
    assert_eq!(file.bytes().len() as u64, SIZE / 2);
}

#[test]
fn the_example_says_what_is_in_it() {
    let Some(file) = Image::create() else { return };
    let image = file.open();
    image.write_blocking(&[0x22; 65536][..], 0).unwrap();
    image.flush_blocking().unwrap();
    drop(image);
    let (success, out, err) = program::said(&program::built("imago_sync"), &[text(&file.path)]);
    let crc = format!("  {SIZE} bytes, crc32 {:08x}\n", crc32fast::hash(&file.bytes()));
    assert!(success && out.ends_with(&crc) && out.lines().count() >= 3, "{out}{err}");
}
