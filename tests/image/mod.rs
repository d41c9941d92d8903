//! A disk image and its export by a real `qemu-nbd`, for the drivers' test programs.

#![allow(dead_code, reason = "each test program uses its part")]

use std::io::{self, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::{fs::FileExt, net::UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use co_wrapper_test_support::Guard;

/// How many bytes an image has.
pub const SIZE: u64 = 64 << 20;

/// An image made by `qemu-img`, in a folder of its own.
pub struct Image {
    folder: tempfile::TempDir,
    pub path: PathBuf,
    format: &'static str,
}

impl Image {
    /// A raw one.
    pub fn create() -> Option<Self> {
        Self::create_as("raw")
    }

    /// None, with a word on stderr, where QEMU is not installed.
    pub fn create_as(format: &'static str) -> Option<Self> {
        let runs = |tool| Command::new(tool).arg("--version").stdout(Stdio::null()).status().is_ok();
        if !runs("qemu-nbd") || !runs("qemu-img") {
            assert!(env::var("CO_WRAPPER_REQUIRE_QEMU").as_deref() != Ok("1"), "qemu-nbd or qemu-img is not installed");
            let _ = writeln!(io::stderr(), "skipped: qemu-nbd or qemu-img is not installed"); // past the capture
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk.img");
        qemu_img(&["create", "-q", "-f", format, text(&path), &SIZE.to_string()]);
        Some(Image { folder, path, format })
    }

    pub fn fill(&self) {
        fs::write(&self.path, pattern(0, SIZE as usize)).unwrap();
    }

    pub fn bytes(&self, off: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        fs::File::open(&self.path).unwrap().read_exact_at(&mut bytes, off).unwrap();
        bytes
    }

    /// Exports the image as `img`. The socket is made here and inherited (socket activation): no port to guess, and
    /// connecting works before QEMU has started.
    fn serve(&self, socket: impl Into<OwnedFd>, option: &str) -> Guard {
        let activate = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec qemu-nbd \"$@\"";
        let mut shell = Command::new("sh");
        shell.args(["-c", activate, "qemu-nbd", "-t", "-e", "8", "-x", "img"]);
        match option.strip_prefix("align=") {
            // A layer of QEMU's that takes requests of whole blocks only.
            Some(bytes) => {
                let layers = "driver=blkdebug,image.driver=raw,image.file.driver=file";
                let image = format!("{layers},align={bytes},image.file.filename={}", text(&self.path));
                shell.args(["--image-opts", &image])
            }
            None => shell.args(["-f", self.format, option]).arg(&self.path),
        };
        Guard(shell.stdin(socket.into()).spawn().unwrap())
    }

    pub fn serve_tcp(&self, option: &str) -> (Guard, String) {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("nbd://{}/img", socket.local_addr().unwrap());
        (self.serve(socket, option), url)
    }

    pub fn serve_unix(&self, option: &str) -> (Guard, String) {
        let path = self.folder.path().join("nbd.sock");
        (self.serve(UnixListener::bind(&path).unwrap(), option), format!("nbd+unix:///img?socket={}", text(&path)))
    }
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub fn qemu_img(args: &[&str]) {
    let output = Command::new("qemu-img").args(args).output().unwrap();
    assert!(output.status.success(), "qemu-img {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A disk's content that tells where it was read.
pub fn pattern(off: u64, len: usize) -> Vec<u8> {
    (off..off + len as u64).map(|at| (at / 4096 * 7 + at) as u8).collect()
}
