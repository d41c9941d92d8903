//! co-img beside qemu-img, as programs, with the same durability on both sides: `--qemu`, where qemu-img and qemu-nbd are
//! installed and co-img is built (`cargo build --release -p co-img`).
//!
//! Both read one image of 2 GiB, of which some 450 MiB are data. What is timed is a process, from its start to its end.

use std::{
    env, fs, io, mem,
    os::{fd::AsRawFd, unix::fs::FileExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, OnceLock},
    thread,
    time::{Duration, Instant},
};

use super::{Limit, Row, Run, Unit};
use co_wrapper_bench::measure::{Measured, Role, Side};

const QEMU: &str = "qemu-img";

/// The arguments of both programs, with `IN` for the source and `OUT` for the target.
#[derive(Clone)]
struct Job {
    source: &'static str,
    ours: Vec<&'static str>,
    theirs: Vec<&'static str>,
    /// What the page cache has of the source is dropped before each run.
    cold: bool,
}

/// Made by the first row that is measured, and removed with the last.
type Images = Arc<OnceLock<Folder>>;

pub fn rows() -> Vec<Row> {
    let images = Images::default();
    let convert = |source, target, cold, ours: &[&'static str], theirs: &[&'static str]| {
        let args = |durability: &[&'static str]| [&["convert"], durability, &["-O", target, "IN", "OUT"]].concat();
        Job { source, ours: args(ours), theirs: args(theirs), cold }
    };
    let conversions = [
        ("raw", "raw", "qcow2"),
        ("qcow2", "qcow2", "raw"),
        ("qcow2", "qcow2", "qcow2"),
        ("compressed qcow2", "compressed", "raw"),
        ("NBD", "nbd", "raw"),
    ];
    let mut rows = Vec::new();
    for (from, source, to) in conversions {
        // qemu-img syncs only if it is told to; co-img unless it is told not to.
        let synced = convert(source, to, false, &[], &["-t", "writeback"]);
        let not_synced = convert(source, to, false, &["-t", "unsafe"], &[]);
        rows.push(time(&images, format!("convert {from} to {to}, synced"), synced.clone(), 0.9));
        rows.push(time(&images, format!("convert {from} to {to}, not synced"), not_synced, 0.9));
        rows.push(memory(&images, format!("convert {from} to {to}, peak memory"), synced));
        if source != "nbd" {
            let cold = convert(source, to, true, &["-t", "unsafe"], &[]);
            rows.push(time(&images, format!("convert {from} to {to}, cold"), cold, 1.0));
        }
    }
    for source in ["raw", "qcow2"] {
        let args = vec!["bench", "-d", "32", "-f", source, "IN"];
        let job = Job { source, ours: args.clone(), theirs: args, cold: false };
        rows.push(time(&images, format!("bench -d 32, {source}"), job, 0.5));
    }
    rows
}

fn time(images: &Images, name: String, job: Job, most: f64) -> Row {
    let images = Arc::clone(images);
    Row::time(name, move |run| measure(&images, run, &job, |ended| ended.took.as_nanos() as f64))
        .within(Limit::Of(most, QEMU))
}

fn memory(images: &Images, name: String, job: Job) -> Row {
    let images = Arc::clone(images);
    Row::new(name, Unit::Bytes, move |run| measure(&images, run, &job, |ended| ended.memory))
        .within(Limit::Of(1.5, QEMU))
}

fn measure(images: &Images, run: Run<'_>, job: &Job, what: fn(Ended) -> f64) -> Vec<Measured> {
    let folder = images.get_or_init(|| Folder::make().expect("room for the images, and QEMU's programs"));
    let co_img = env::current_exe().expect("this program").with_file_name("co-img");
    let side = |role, name, program: PathBuf, args: &[&'static str]| {
        let args = args.to_vec();
        Side::counted(role, name, move || what(folder.run(&program, job, &args)))
    };
    run.sides(vec![side(Role::Ours, "co-img", co_img, &job.ours), side(Role::Peer, QEMU, QEMU.into(), &job.theirs)])
}

/// How a process ended.
struct Ended {
    took: Duration,
    /// Its peak, in bytes.
    memory: f64,
}

/// The sources, and a server of one of them.
struct Folder {
    path: PathBuf,
    server: Child,
}

impl Folder {
    fn make() -> io::Result<Self> {
        let path = env::current_exe()?.with_file_name(format!("co-wrapper-bench-{}", std::process::id()));
        fs::create_dir(&path)?;
        // Extents of 64 KiB to 2 MiB, with as much or more between them.
        let raw = fs::File::create(path.join("raw"))?;
        raw.set_len(2 << 30)?;
        let noise: Vec<u8> = (0..2_u64 << 20).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8).collect();
        let (mut at, mut seed) = (0, 1_u64);
        while at < 2 << 30 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let length = (64 << 10) << (seed >> 60).min(5);
            let length = length.min((2 << 30) - at);
            raw.write_all_at(&noise[..length as usize], at)?;
            at += length + ((seed >> 32) % 64 + 16) * (64 << 10);
        }
        let convert = |args: &[&str]| run(Command::new(QEMU).current_dir(&path).arg("convert").args(args));
        convert(&["-O", "qcow2", "raw", "qcow2"])?;
        convert(&["-c", "-O", "qcow2", "raw", "compressed"])?;
        let mut server = Command::new("qemu-nbd");
        server
            .current_dir(&path)
            .args(["-t", "-r", "-e", "8", "-f", "qcow2", "-k"])
            .arg(path.join("socket"))
            .arg("qcow2");
        let server = server.stdin(Stdio::null()).spawn()?;
        while !path.join("socket").exists() {
            thread::sleep(Duration::from_millis(10));
        }
        Ok(Self { path, server })
    }

    fn source(&self, job: &Job) -> String {
        match job.source {
            "nbd" => format!("nbd+unix:///?socket={}", self.path.join("socket").display()),
            name => name.to_owned(),
        }
    }

    /// Runs one of the programs.
    ///
    /// # Panics
    ///
    /// If it fails.
    fn run(&self, program: &Path, job: &Job, args: &[&str]) -> Ended {
        let _ = fs::remove_file(self.path.join("out"));
        if job.cold {
            forget(&self.path.join(job.source));
        }
        let source = self.source(job);
        let args = args.iter().map(|arg| match *arg {
            "IN" => &source,
            "OUT" => "out",
            arg => arg,
        });
        let start = Instant::now();
        let memory = run(Command::new(program).current_dir(&self.path).args(args)).expect("the programs work");
        Ended { took: start.elapsed(), memory }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Drops what the page cache has of a file. What is not on the disk yet stays, so it is brought there first.
fn forget(path: &Path) {
    let file = fs::File::open(path).expect("the image is there");
    file.sync_all().expect("the disk works");
    // SAFETY: the descriptor is open, and no memory is passed.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
}

/// Runs a command to its end and says how much memory it took at most, in bytes.
fn run(command: &mut Command) -> io::Result<f64> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    let mut status = 0;
    // SAFETY: a `rusage` of zeroes is a valid one.
    let mut usage: libc::rusage = unsafe { mem::zeroed() };
    // SAFETY: the child is this process's, and both pointers are to what the call writes.
    let ended = unsafe { libc::wait4(child.id() as i32, &raw mut status, 0, &raw mut usage) };
    match ended {
        -1 => Err(io::Error::last_os_error()),
        _ if status != 0 => Err(io::Error::other(format!("{command:?}: status {status}"))),
        _ => Ok(usage.ru_maxrss as f64 * 1024.0),
    }
}
