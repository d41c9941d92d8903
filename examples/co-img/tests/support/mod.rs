//! What the tests have in common: QEMU's tools, our program, a disk's content.

#![allow(dead_code, unused_imports, reason = "each test file uses what it needs")]

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::{env, fs};

pub use co_wrapper_test_support::{BOUND, Guard, ended, run};
use nix::sys::signal::{self, SigHandler, Signal, signal};
use nix::unistd::Pid;

/// Whether QEMU's tools are here. Where they are not the test says so and passes; with `CO_WRAPPER_REQUIRE_QEMU=1` it
/// fails.
pub fn qemu_is_here() -> bool {
    let runs = |tool| Command::new(tool).arg("--version").stdout(Stdio::null()).status().is_ok();
    if runs("qemu-nbd") && runs("qemu-img") && runs("qemu-io") {
        return true;
    }
    assert!(
        env::var("CO_WRAPPER_REQUIRE_QEMU").as_deref() != Ok("1"),
        "qemu-nbd, qemu-img or qemu-io is not installed"
    );
    let _ = writeln!(io::stderr(), "skipped: qemu-nbd, qemu-img or qemu-io is not installed"); // past the capture
    false
}

/// A folder, and short words for what is done in it.
pub struct Folder(pub tempfile::TempDir);

impl Folder {
    pub fn new() -> Self {
        Folder(tempfile::tempdir().unwrap())
    }

    /// In memory where that can be had, for what makes thousands of files durable.
    pub fn fast() -> Self {
        Folder(tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn at(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Everything in it, sorted.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Runs a tool here; it must succeed.
    pub fn tool(&self, tool: &str, args: &[&str]) -> String {
        let output = Command::new(tool).args(args).current_dir(self.0.path()).output().unwrap();
        assert!(output.status.success(), "{tool} {args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    pub fn qemu_img(&self, args: &[&str]) -> String {
        self.tool("qemu-img", args)
    }

    /// The program, to be run here. It hears of interrupts and a hang-up, also where the tests run in a shell's background
    /// or under `nohup`, which have them ignored.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_co-img"));
        command.args(args).current_dir(self.0.path());
        // SAFETY: the closure runs in the forked child, and makes two calls, which may be made there.
        unsafe {
            command.pre_exec(|| {
                signal(Signal::SIGINT, SigHandler::SigDfl)?;
                signal(Signal::SIGHUP, SigHandler::SigDfl)?;
                Ok(())
            });
        };
        command
    }

    /// Runs the program here; it must end before the deadline.
    pub fn run(&self, args: &[&str]) -> Output {
        run(&mut self.command(args))
    }

    /// Runs the program here; it must succeed, with nothing on stderr.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success() && output.stderr.is_empty(), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Runs the program here; it must fail with this code and one line on stderr, which has all the words.
    #[track_caller]
    pub fn fails(&self, args: &[&str], code: i32, words: &[&str]) {
        one_line(&self.run(args), code, words);
    }

    /// A raw image, made of data with holes in it.
    pub fn raw(&self, name: &str, size: usize) {
        let file = fs::File::create(self.path(name)).unwrap();
        file.set_len(size as u64).unwrap();
        let content = content(size);
        for (at, piece) in content.chunks(4096).enumerate().filter(|(_, piece)| piece.iter().any(|byte| *byte != 0)) {
            std::os::unix::fs::FileExt::write_all_at(&file, piece, at as u64 * 4096).unwrap();
        }
    }
}

/// Sends a signal to a child, which nobody has waited for yet. Not every machine has a program for that.
pub fn kill(child: u32, signal: Signal) {
    signal::kill(Pid::from_raw(child.try_into().unwrap()), signal).unwrap();
}

#[track_caller]
pub fn one_line(output: &Output, code: i32, words: &[&str]) {
    let err = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{err}");
    assert!(err.lines().count() == 1 && err.starts_with("co-img: ") && err.ends_with('\n'), "{err:?}");
    assert!(words.iter().all(|word| err.contains(word)), "{err:?} lacks one of {words:?}");
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A disk's content: runs of data that tells where it is, of zeroes, and of one byte, of all sorts of lengths.
pub fn content(size: usize) -> Vec<u8> {
    let mut content = Vec::with_capacity(size);
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    while content.len() < size {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let length = ((seed >> 33) as usize % 200_000).min(size - content.len());
        match seed >> 60 {
            0..6 => content.extend((content.len()..content.len() + length).map(|at| (at / 4096 * 7 + at) as u8 | 1)),
            6..8 => content.resize(content.len() + length, 0xab),
            _ => content.resize(content.len() + length, 0),
        }
    }
    content
}

/// Exports an image as `img`, by `qemu-nbd` with these options, over both kinds of sockets in turn. The socket is made
/// here and inherited (socket activation): no port to guess, and connecting works before QEMU has started.
pub fn serve(folder: &Folder, tcp: bool, image: &str, options: &[&str]) -> (Guard, String) {
    let (socket, url): (OwnedFd, _) = if tcp {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("nbd://{}/img", socket.local_addr().unwrap());
        (socket.into(), url)
    } else {
        let path = (0..).map(|n| folder.path(&format!("nbd{n}.sock"))).find(|path| !path.exists()).unwrap();
        let url = format!("nbd+unix:///img?socket={}", path.display());
        (UnixListener::bind(path).unwrap().into(), url)
    };
    let activate = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec qemu-nbd \"$@\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", activate, "qemu-nbd", "-t", "-e", "8", "-x", "img"]).args(options).arg(image);
    (Guard(shell.current_dir(folder.0.path()).stdin(socket).spawn().unwrap()), url)
}

/// Whether a file is here, by its path.
pub fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Waits for something to become true, by looking again and again.
#[track_caller]
pub fn until(mut is: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !is() {
        assert!(begun.elapsed() < BOUND, "it did not come to pass in {BOUND:?}");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

/// Starts `qemu-io` or our `bench`, which has its image open from here on until it is dropped.
pub fn held_open(command: &mut Command) -> Guard {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // Both say something when they have opened it: ours that it begins, qemu-io its answer.
    let stdin = child.stdin.as_mut().unwrap();
    let _ = stdin.write_all(b"length\n"); // which ours does not read
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(!line.is_empty(), "it ended");
    Guard(child)
}
