//! Child processes: each ends with the test at the latest, and before the bound.

use std::{
    env,
    io::Read,
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
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
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    end_of(child, &format!("{command:?}"))
}

/// Waits for the end of a child, and of its output where that is piped; fails if that takes longer than [`BOUND`].
#[track_caller]
pub fn ended(child: Child) -> Output {
    end_of(child, "the child")
}

#[track_caller]
fn end_of(child: Child, shown: &str) -> Output {
    let deadline = Instant::now() + BOUND;
    let mut child = Guard(child);
    let read = |pipe: Option<Box<dyn Read + Send>>| {
        let (sender, text) = mpsc::channel();
        thread::spawn(move || {
            let mut bytes = Vec::new();
            pipe.map(|mut pipe| pipe.read_to_end(&mut bytes).unwrap());
            let _ = sender.send(bytes);
        });
        text
    };
    let stdout = read(child.0.stdout.take().map(|pipe| Box::new(pipe) as _));
    let stderr = read(child.0.stderr.take().map(|pipe| Box::new(pipe) as _));
    let next = |text: mpsc::Receiver<_>| text.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    let (Ok(stdout), Ok(stderr)) = (next(stdout), next(stderr)) else { panic!("{shown} hangs") };
    // Where its pipes are closed it ends at once, unless it is a child's child that keeps none.
    let mut pause = Duration::from_micros(20);
    let status = loop {
        if let Some(status) = child.0.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < deadline, "{shown} hangs");
        thread::sleep(pause);
        pause = (2 * pause).min(Duration::from_millis(10));
    };
    Output { status, stdout, stderr }
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
