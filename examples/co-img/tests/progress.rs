//! The progress line: on a terminal, and nowhere else.

mod support;

use std::fs::File;
use std::io::Read;
use std::process::Stdio;

use nix::pty::{Winsize, openpty};
use nix::sys::signal::Signal;
use support::{Folder, content, text};

/// What a command has to say on a terminal, which stderr is.
fn on_a_terminal(folder: &Folder, args: &[&str]) -> String {
    let size = Winsize { ws_row: 24, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
    let terminal = openpty(&size, None).unwrap();
    let mut command = folder.command(args);
    command.env("TERM", "xterm").stdin(Stdio::null()).stdout(Stdio::null()).stderr(terminal.slave);
    let mut child = command.spawn().unwrap();
    drop(command); // and with it our end of the other side
    let (mut shown, mut piece) = (Vec::new(), [0; 4096]);
    let mut terminal = File::from(terminal.master);
    // When the last who has it open leaves, a terminal has an error and no end.
    while let Ok(n @ 1..) = terminal.read(&mut piece) {
        shown.extend(&piece[..n]);
    }
    let status = child.wait().unwrap();
    assert!(status.success(), "{args:?}: {}", text(&shown));
    text(&shown)
}

/// Catches: the last words written into the bar; a bar that is drawn after them.
#[test]
fn a_signal_clears_the_line() {
    let folder = Folder::new();
    let terminal = openpty(&Winsize { ws_row: 24, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 }, None).unwrap();
    let mut command = folder.command(&["bench", "-c", "1000000000", "null-co://1M"]);
    command.env("TERM", "xterm").stdin(Stdio::null()).stdout(Stdio::null()).stderr(terminal.slave);
    let mut child = command.spawn().unwrap();
    drop(command);
    let (mut shown, mut piece, mut killed) = (String::new(), [0; 4096], false);
    let mut terminal = File::from(terminal.master);
    while let Ok(n @ 1..) = terminal.read(&mut piece) {
        shown += &text(&piece[..n]);
        if !killed && shown.contains(" left") {
            support::kill(child.id(), Signal::SIGINT);
            killed = true;
        }
    }
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(shown.ends_with("\r\u{1b}[2Kco-img: interrupted\r\n"), "{shown:?}");
}

#[test]
fn percent_rate_and_time_left_on_a_terminal_only() {
    let folder = Folder::new();
    let size = 64 << 20;
    std::fs::write(folder.path("raw"), content(size)).unwrap();
    std::fs::write(folder.path("same"), content(size)).unwrap();
    for (args, words) in [
        (&["convert", "-O", "qcow2", "raw", "out"][..], &["convert ", "iB/64.00 MiB, ", "iB/s, "][..]),
        (&["compare", "raw", "same"], &["compare ", "iB/64.00 MiB, ", "iB/s, "]),
        (&["bench", "-c", "5000", "raw"], &["bench ", "/5000 requests, ", "/s, "]),
    ] {
        let shown = on_a_terminal(&folder, args);
        let lines: Vec<_> = shown.split(['\r', '\n']).filter(|line| line.contains(" left")).collect();
        assert!(!lines.is_empty(), "{args:?}: {shown:?}");
        for line in lines {
            assert!(line.contains('%') && words.iter().all(|word| line.contains(word)), "{args:?}: {line:?}");
        }
        assert!(shown.ends_with("\u{1b}[2K"), "the line is left behind: {shown:?}");
        assert_eq!(text(&folder.run(args).stderr), "", "{args:?} to a pipe");
    }
}
