//! Child processes: each ends with the test at the latest, and before the bound.

use std::{
    env,
    io::Read,
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::Instant,
};

use crate::BOUND;

/// A child process that does not outlive the test.
pub struct Guard(pub Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs `command` to its end, and to that of its output; fails if that takes longer than [`BOUND`].
#[track_caller]
pub fn run(command: &mut Command) -> Output {
    let deadline = Instant::now() + BOUND;
    let mut child = Guard(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let read = |mut pipe: Box<dyn Read + Send>| {
        let (sender, text) = mpsc::channel();
        thread::spawn(move || {
            let mut bytes = Vec::new();
            pipe.read_to_end(&mut bytes).unwrap();
            let _ = sender.send(bytes);
        });
        text
    };
    let stdout = read(Box::new(child.0.stdout.take().unwrap()));
    let stderr = read(Box::new(child.0.stderr.take().unwrap()));
    let next = |text: mpsc::Receiver<_>| text.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    let (Ok(stdout), Ok(stderr)) = (next(stdout), next(stderr)) else { panic!("{command:?} hangs") };
    // Its pipes are closed: it ends, or is a child's child that keeps none.
    Output { status: child.0.wait().unwrap(), stdout, stderr }
}

/// The command that runs `name`, an ignored test of this binary, alone in a process of its own.
pub fn test_in_child(name: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"]);
    command.env_remove("CO_WRAPPER_HANG_SECS").env("RUST_BACKTRACE", "0");
    command
}

/// Runs `test`, an ignored test of this binary, in a process of its own with those variables set; fails when it takes
/// longer than [`BOUND`] or fails there. Returns what it printed to stderr.
#[track_caller]
pub fn in_child(test: &str, variables: &[(&str, &str)]) -> String {
    let output = run(test_in_child(test).envs(variables.iter().copied()));
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && stdout.contains("1 passed"), "{test}: {}\n{stdout}{stderr}", output.status);
    stderr.into_owned()
}
