//! co-img beside qemu-img, as programs, with the same durability on both sides: `--qemu`, where qemu-img and qemu-nbd are
//! installed and co-img is built (`cargo build --release -p co-img`).
//!
//! Both read one image of 2 GiB, of which some 450 MiB are data. What is timed is a process, from its start to its end.

use std::{
    env, fs, io, mem,
    os::{
        fd::AsRawFd,
        unix::{fs::FileExt, net::UnixStream},
    },
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
    let bench = |source, args: &[&'static str]| {
        let args = [&["bench"], args, &["IN"]].concat();
        Job { source, ours: args.clone(), theirs: args, cold: false }
    };
    for source in ["raw", "qcow2"] {
        for depth in ["32", "1"] {
            let job = bench(source, &["-d", depth, "-f", source]);
            rows.push(time(&images, format!("bench -d {depth}, {source}"), job, 0.5));
        }
    }
    // What is written to are copies, whose clusters the first run allocates.
    for (format, copy) in [("raw", "raw.copy"), ("qcow2", "qcow2.copy")] {
        let job = bench(copy, &["-w", "-d", "32", "-f", format]);
        rows.push(time(&images, format!("bench -w -d 32, {format}"), job, 0.5));
    }
    for depth in ["32", "1"] {
        // Most of it is the server's time.
        rows.push(time_alone(&images, format!("bench -d {depth}, NBD"), &bench("nbd", &["-d", depth, "-f", "raw"])));
    }
    rows.extend(past_the_page_cache(&images));
    rows
}

/// 32 reads in flight with O_DIRECT, beside each of the ways that qemu-img has.
fn past_the_page_cache(images: &Images) -> [Row; 3] {
    const READS: &str = "20000";
    const MANY: f64 = 20_000.0;
    let measure = |images: &Images, run: Run<'_>, what: fn(Ended) -> f64| {
        let folder = folder(images);
        let ours = ["bench", "-t", "none", "-d", "32", "-c", READS, "-f", "raw", "IN"];
        let job = Job { source: "raw", ours: ours.to_vec(), theirs: Vec::new(), cold: false };
        let side = |role, name: String, program: PathBuf, args: Vec<&'static str>| {
            let job = job.clone();
            Side::counted(role, name, move || what(folder.run(&program, &job, &args)))
        };
        let mut sides = vec![side(Role::Ours, "co-img".into(), co_img(), ours.to_vec())];
        for aio in ["native", "threads", "io_uring"] {
            let args = [&ours[..1], &["-i", aio], &ours[1..]].concat();
            sides.push(side(Role::Peer, format!("{QEMU} -i {aio}"), QEMU.into(), args));
        }
        run.sides(sides)
    };
    let row = |what: &str, unit, value: fn(Ended) -> f64| {
        let images = Arc::clone(images);
        Row::new(format!("bench -t none -d 32, {what}"), unit, move |run| measure(&images, run, value))
    };
    [
        row("a read", Unit::Nanoseconds, |ended| ended.took.as_nanos() as f64 / MANY),
        row("processor time a read", Unit::Nanoseconds, |ended| ended.processor.as_nanos() as f64 / MANY),
        row("waits a read", Unit::Count, |ended| ended.waits / MANY),
    ]
}

fn time(images: &Images, name: String, job: Job, most: f64) -> Row {
    time_alone(images, name, &job).within(Limit::Of(most, QEMU))
}

/// Without a limit.
fn time_alone(images: &Images, name: String, job: &Job) -> Row {
    let (images, job) = (Arc::clone(images), job.clone());
    Row::time(name, move |run| measure(&images, run, &job, |ended| ended.took.as_nanos() as f64))
}

fn memory(images: &Images, name: String, job: Job) -> Row {
    let images = Arc::clone(images);
    Row::new(name, Unit::Bytes, move |run| measure(&images, run, &job, |ended| ended.memory))
        .within(Limit::Of(1.5, QEMU))
}

fn measure(images: &Images, run: Run<'_>, job: &Job, what: fn(Ended) -> f64) -> Vec<Measured> {
    let folder = folder(images);
    let side = |role, name, program: PathBuf, args: &[&'static str]| {
        let args = args.to_vec();
        Side::counted(role, name, move || what(folder.run(&program, job, &args)))
    };
    run.sides(vec![side(Role::Ours, "co-img", co_img(), &job.ours), side(Role::Peer, QEMU, QEMU.into(), &job.theirs)])
}

fn folder(images: &Images) -> &Folder {
    images.get_or_init(|| Folder::make().expect("room for the images, and QEMU's programs"))
}

fn co_img() -> PathBuf {
    env::current_exe().expect("this program").with_file_name("co-img")
}

/// How a process ended.
struct Ended {
    took: Duration,
    /// The time that processors spent on it, in its code and in the system.
    processor: Duration,
    /// How often its threads waited for something else than a processor.
    waits: f64,
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
        convert(&["-O", "raw", "raw", "raw.copy"])?;
        convert(&["-O", "qcow2", "raw", "qcow2.copy"])?;
        let mut server = Command::new("qemu-nbd");
        server
            .current_dir(&path)
            .args(["-t", "-r", "-e", "8", "-f", "qcow2", "-k"])
            .arg(path.join("socket"))
            .arg("qcow2");
        let mut folder = Self { server: server.stdin(Stdio::null()).spawn()?, path };
        // The socket is there before anybody listens to it.
        while UnixStream::connect(folder.path.join("socket")).is_err() {
            if let Some(status) = folder.server.try_wait()? {
                return Err(io::Error::other(format!("qemu-nbd: {status}")));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(folder)
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
        let usage = run(Command::new(program).current_dir(&self.path).args(args)).expect("the programs work");
        let time = |time: libc::timeval| {
            Duration::from_secs(time.tv_sec.unsigned_abs()) + Duration::from_micros(time.tv_usec.unsigned_abs())
        };
        Ended {
            took: start.elapsed(),
            processor: time(usage.ru_utime) + time(usage.ru_stime),
            waits: usage.ru_nvcsw as f64,
            memory: usage.ru_maxrss as f64 * 1024.0,
        }
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

/// Runs a command to its end and says what it took.
fn run(command: &mut Command) -> io::Result<libc::rusage> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    let mut status = 0;
    // SAFETY: a `rusage` of zeroes is a valid one.
    let mut usage: libc::rusage = unsafe { mem::zeroed() };
    // SAFETY: the child is this process's, and both pointers are to what the call writes.
    let ended = unsafe { libc::wait4(child.id() as i32, &raw mut status, 0, &raw mut usage) };
    match ended {
        -1 => Err(io::Error::last_os_error()),
        _ if status != 0 => Err(io::Error::other(format!("{command:?}: status {status}"))),
        _ => Ok(usage),
    }
}
