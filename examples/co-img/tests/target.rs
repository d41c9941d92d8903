//! Targets whose place no other file can take: they are written in place, which is said.

mod support;

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

use nix::unistd::{Uid, geteuid};
use support::{Folder, content, one_line, run, text};

const FORMATS: [&str; 2] = ["raw", "qcow2"];

/// It succeeded, and said this, if anything.
#[track_caller]
fn said(output: &Output, words: Option<&str>) {
    let err = text(&output.stderr);
    assert!(output.status.success(), "{err}");
    match words {
        Some(words) => {
            assert!(err.lines().count() == 1 && err.contains("written in place") && err.contains(words), "{err}")
        }
        None => assert_eq!(err, ""),
    }
}

/// `copy` has what `raw` has.
#[track_caller]
fn same(folder: &Folder, copy: &str, format: &str) {
    let output = folder.run(&["compare", "-f", "raw", "-F", format, "raw", copy]);
    assert_eq!(output.status.code(), Some(0), "{} {}", text(&output.stdout), text(&output.stderr));
}

#[test]
fn names_as_long_as_names_may_be() {
    let folder = Folder::new();
    folder.raw("raw", 300_032);
    for length in [200, 240, 255] {
        let name = "n".repeat(length);
        for format in FORMATS {
            for round in ["new", "there"] {
                let output = folder.run(&["convert", "-f", "raw", "-O", format, "raw", &name]);
                assert!(output.status.success(), "{length} {format} {round}: {}", text(&output.stderr));
                same(&folder, &name, format);
            }
            folder.ok(&["create", "-f", format, &name, "1M"]);
        }
        fs::remove_file(folder.path(&name)).unwrap();
    }
    folder.fails(&["create", "-f", "raw", &"n".repeat(256), "1M"], 1, &["too long"]);
    assert_eq!(folder.names(), ["raw"]);
}

#[test]
fn a_hard_link_stays_one() {
    for format in FORMATS {
        let folder = Folder::new();
        folder.raw("raw", 300_032);
        fs::write(folder.path("out"), vec![7; 1 << 20]).unwrap(); // longer than what comes
        fs::hard_link(folder.path("out"), folder.path("other")).unwrap();
        symlink("other", folder.path("link")).unwrap();
        for name in ["out", "link"] {
            let output = folder.run(&["convert", "-f", "raw", "-O", format, "raw", name]);
            said(&output, Some("hard links"));
            same(&folder, "out", format);
            same(&folder, "other", format);
            let output = folder.run(&["create", "-f", format, name, "1M"]);
            said(&output, Some("hard links"));
            fs::write(folder.path("out"), vec![7; 1 << 20]).unwrap();
        }
        assert_eq!(folder.names(), ["link", "other", "out", "raw"]);
        // Onto itself in place, it would be lost.
        fs::hard_link(folder.path("raw"), folder.path("second")).unwrap();
        let output = folder.run(&["convert", "-f", "raw", "-O", format, "raw", "second"]);
        assert!(!output.status.success() && text(&output.stderr).contains("written over while it is read"));
        assert!(fs::read(folder.path("raw")).unwrap()[..300_000] == content(300_032)[..300_000]);
    }
}

#[test]
fn an_open_file_of_a_process() {
    for format in FORMATS {
        let folder = Folder::new();
        folder.raw("raw", 300_032);
        symlink("/dev/fd", folder.path("fds")).unwrap();
        symlink("/proc/self/fd/7", folder.path("seven")).unwrap();
        for name in ["/dev/fd/7", "/proc/self/fd/7", "/proc/thread-self/fd/7", "fds/7", "seven", "file:/dev/fd/7"] {
            fs::write(folder.path("out"), vec![7; 1 << 20]).unwrap();
            let out = File::options().read(true).write(true).open(folder.path("out")).unwrap();
            let mut command = folder.command(&["convert", "-f", "raw", "-O", format, "raw", name]);
            let fd = out.as_raw_fd();
            // SAFETY: the closure runs in the forked child, and makes two calls, which may be made there.
            unsafe {
                // If it is number 7 already, `dup2` leaves it to be closed by the exec.
                command.pre_exec(move || match (nix::libc::dup2(fd, 7), nix::libc::fcntl(7, nix::libc::F_SETFD, 0)) {
                    (7, 0) => Ok(()),
                    _ => Err(io::Error::last_os_error()),
                });
            }
            said(&run(&mut command), Some("an open file of a process"));
            // Seen through the descriptor: it is the same file still.
            assert_eq!(out.metadata().unwrap().ino(), fs::metadata(folder.path("out")).unwrap().ino(), "{name}");
            same(&folder, "out", format);
            if format == "raw" {
                let mut seen = vec![0; 300_032];
                out.read_exact_at(&mut seen, 0).unwrap();
                assert!(seen[..] == content(300_032)[..], "{name}");
            }
        }
        let stdout = File::options().read(true).write(true).open(folder.path("out")).unwrap();
        let mut command = folder.command(&["convert", "-f", "raw", "-O", format, "raw", "/dev/stdout"]);
        let child = command.stdout(stdout).stderr(std::process::Stdio::piped()).spawn().unwrap();
        said(&support::ended(child), Some("an open file of a process"));
        same(&folder, "out", format);
        assert_eq!(folder.names(), ["fds", "out", "raw", "seven"]);
    }
}

/// As somebody whom the folder's permissions concern: as root, as another user, who can see the program's copy.
#[test]
fn a_file_that_may_be_written_in_a_folder_that_may_not() {
    for format in FORMATS {
        let folder = Folder::new();
        folder.raw("raw", 300_032);
        let other = geteuid().is_root().then(|| Uid::from_raw(65534));
        fs::copy(env!("CARGO_BIN_EXE_co-img"), folder.path("program")).unwrap();
        fs::create_dir(folder.path("closed")).unwrap();
        fs::write(folder.path("closed/out"), vec![7; 1 << 20]).unwrap();
        for (name, mode) in [("", 0o755), ("closed/out", 0o666), ("program", 0o755), ("raw", 0o644), ("closed", 0o555)]
        {
            fs::set_permissions(folder.path(name), Permissions::from_mode(mode)).unwrap();
        }
        let go = |args: &[&str]| {
            let mut command = Command::new(folder.path("program"));
            command.args(args).current_dir(folder.0.path());
            other.map(|other| command.uid(other.as_raw()).gid(other.as_raw()));
            run(&mut command)
        };
        let output = go(&["convert", "-f", "raw", "-O", format, "raw", "closed/out"]);
        said(&output, Some("takes no new file"));
        same(&folder, "closed/out", format);
        said(&go(&["create", "-f", format, "closed/out", "1M"]), Some("takes no new file"));
        one_line(&go(&["create", "-f", format, "closed/new", "1M"]), 1, &["'closed/new'", "Permission denied"]);
        fs::set_permissions(folder.path("closed/out"), Permissions::from_mode(0o444)).unwrap();
        one_line(&go(&["create", "-f", format, "closed/out", "1M"]).without_note(), 1, &["Permission denied"]);
        fs::set_permissions(folder.path("closed"), Permissions::from_mode(0o755)).unwrap(); // to be removed
    }
}

trait WithoutNote {
    fn without_note(self) -> Self;
}

impl WithoutNote for Output {
    /// Without the line that says that something is written in place.
    fn without_note(mut self) -> Self {
        let lines = text(&self.stderr);
        let lines = lines.lines().filter(|line| !line.contains("is written in place"));
        self.stderr = lines.map(|line| format!("{line}\n")).collect::<String>().into_bytes();
        self
    }
}

/// Runs a script, with `$CO_IMG` in it, in a user namespace, where anybody may mount. Where that cannot be had this says so
/// and gives nothing; with `CO_IMG_REQUIRE_NAMESPACES=1` it fails.
fn in_a_namespace(folder: &Folder, script: &str) -> Option<Output> {
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-euc", script]).current_dir(folder.0.path());
        command.env("CO_IMG", env!("CARGO_BIN_EXE_co-img"));
        command
    };
    let can = unshare("mount -t tmpfs none /mnt").output();
    match can {
        Ok(output) if output.status.success() => Some(run(&mut unshare(script))),
        other => {
            let why = other.map_or_else(|error| error.to_string(), |output| text(&output.stderr));
            assert!(std::env::var("CO_IMG_REQUIRE_NAMESPACES").as_deref() != Ok("1"), "no user namespaces: {why}");
            let _ = writeln!(io::stderr(), "skipped: no user namespaces: {}", why.trim()); // past the capture
            None
        }
    }
}

#[test]
fn a_mount_point() {
    for format in FORMATS {
        let folder = Folder::new();
        folder.raw("raw", 300_032);
        fs::write(folder.path("out"), vec![7; 1 << 20]).unwrap();
        fs::write(folder.path("point"), "").unwrap();
        let script = format!("mount --bind out point; \"$CO_IMG\" convert -f raw -O {format} raw point");
        let Some(output) = in_a_namespace(&folder, &script) else { return };
        said(&output, Some("a mount point"));
        same(&folder, "out", format);
        // A file on a file system of its own is none.
        let script =
            format!("mount -t tmpfs none /mnt; echo x >/mnt/out; \"$CO_IMG\" convert -f raw -O {format} raw /mnt/out");
        said(&in_a_namespace(&folder, &script).unwrap(), None);
        assert_eq!(folder.names(), ["out", "point", "raw"]);
    }
}

#[test]
fn a_disk_with_room_for_one_copy() {
    let folder = Folder::new();
    fs::write(folder.path("raw"), content(1 << 20).iter().map(|byte| byte | 1).collect::<Vec<u8>>().repeat(6)).unwrap();
    for format in FORMATS {
        // What is there, in MiB, the disk's size, and whether that is enough when written in place.
        for (there, disk, enough) in [(6, 9, true), (7, 8, true), (1, 5, false), (0, 5, false)] {
            let script = format!(
                "mount -t tmpfs -o size={disk}m none /mnt; head -c {there}M /dev/zero >/mnt/out; sha256sum /mnt/out >sum
                 code=0; \"$CO_IMG\" convert -f raw -O {format} raw /mnt/out || code=$?
                 cp /mnt/out copy; sha256sum /mnt/out >after; ls -A /mnt >names; exit $code"
            );
            let Some(output) = in_a_namespace(&folder, &script) else { return };
            let what = format!("{format}, {there} MiB on {disk}");
            match enough {
                true => {
                    said(&output, Some("no room for a second file"));
                    same(&folder, "copy", format);
                }
                false => {
                    one_line(&output, 1, &["'/mnt/out'", "No space left"]);
                    assert_eq!(
                        fs::read(folder.path("sum")).unwrap(),
                        fs::read(folder.path("after")).unwrap(),
                        "{what}"
                    );
                }
            }
            assert_eq!(fs::read_to_string(folder.path("names")).unwrap(), "out\n", "{what}");
        }
    }
}

/// `-n` writes into what is there, whatever it is.
#[test]
fn without_creation_what_is_there_stays_itself() {
    for format in FORMATS {
        let folder = Folder::new();
        folder.raw("raw", 300_032);
        folder.ok(&["create", "-f", format, "out", "400k"]);
        let inode = fs::metadata(folder.path("out")).unwrap().ino();
        symlink("out", folder.path("link")).unwrap();
        folder.ok(&["bench", "-w", "-c", "1", "-s", "400k", "-f", format, "out"]);
        folder.ok(&["convert", "-n", "-f", "raw", "-O", format, "raw", "link"]);
        assert_eq!(fs::metadata(folder.path("out")).unwrap().ino(), inode);
        assert_eq!(folder.run(&["compare", "-f", "raw", "-F", format, "raw", "out"]).status.code(), Some(0));
        folder.fails(&["convert", "-n", "-f", "raw", "-O", format, "raw", "none"], 1, &["'none'", "No such file"]);
        folder.ok(&["create", "-f", format, "small", "100k"]);
        folder.fails(&["convert", "-n", "-f", "raw", "-O", format, "raw", "small"], 1, &["'small'", "too few"]);
        folder.fails(&["convert", "-n", "-f", "raw", "-O", "raw", "raw", "raw"], 1, &["'raw'", "written over"]);
        assert_eq!(folder.names(), ["link", "out", "raw", "small"]);
    }
}
