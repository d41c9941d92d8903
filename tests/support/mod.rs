//! What the driver's two test programs share: deadlines, and the example as a child process.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, mpsc};
use std::time::Duration;
use std::{env, io::Read, panic, thread};

/// Far above anything that works, far below a CI job's limit.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Runs `body` on a thread of its own and fails, instead of hanging, when it does not come back.
pub fn within_deadline<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = mpsc::channel();
    let thread = thread::spawn(move || done.send(body()));
    match result.recv_timeout(DEADLINE) {
        Ok(value) => value,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("still not done after {DEADLINE:?}"),
        Err(mpsc::RecvTimeoutError::Disconnected) => panic::resume_unwind(thread.join().unwrap_err()),
    }
}

/// A child process that does not outlive the test.
pub struct Guard(pub Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `cargo test --test nbd` builds no examples, hence this does: into the test's target folder, in a profile like the test's.
static EXAMPLE: LazyLock<PathBuf> = LazyLock::new(|| {
    // Not from the name of a folder around the test program: newer cargos have others there.
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "build",
        "--quiet",
        "--offline",
        "--message-format=json",
        "--profile",
        profile,
        "--example",
        "blockdev",
    ]);
    cargo.arg("--target-dir").arg(Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap());
    let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success());
    // Where that is depends on cargo's configuration, and cargo says it.
    let messages = str::from_utf8(&output.stdout).unwrap().lines();
    let mut messages = messages.map(|message| serde_json::from_str::<serde_json::Value>(message).unwrap());
    messages.find_map(|message| Some(message["executable"].as_str()?.into())).expect("an executable")
});

/// What the example, run with `args`, says: whether it succeeded, its stdout, its stderr.
pub fn example(args: &[&str]) -> (bool, String, String) {
    let mut child = Command::new(&*EXAMPLE);
    let mut child = Guard(child.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let mut pipes: [Box<dyn Read + Send>; 2] =
        [Box::new(child.0.stdout.take().unwrap()), Box::new(child.0.stderr.take().unwrap())];
    let (sender, texts) = mpsc::channel();
    thread::spawn(move || {
        for pipe in &mut pipes {
            let mut text = String::new();
            pipe.read_to_string(&mut text).unwrap();
            sender.send(text).unwrap();
        }
    });
    let next = || texts.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("blockdev {args:?} hangs"));
    let (out, err) = (next(), next());
    (child.0.wait().unwrap().success(), out, err)
}

/// The contract for bad input: nothing on stdout, one line on stderr that names the thing and the cause, failure.
pub fn assert_one_line(url: &str, cause: &str) {
    let (success, out, err) = example(&[url]);
    assert!(!success && out.is_empty(), "{url}: {out}{err}");
    assert!(err.ends_with('\n') && err.lines().count() == 1, "{url}: {err}");
    assert!(err.starts_with(&format!("blockdev: {url}: ")) && err.contains(cause), "{url}: {err} lacks {cause:?}");
}
