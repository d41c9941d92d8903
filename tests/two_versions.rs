//! Two versions of this crate in one tree, each with wrappers of its own: each expansion uses the one that it is told of.

mod package;

use std::path::Path;
use std::{fs, io};

const MAIN: &str = r#"
mod old {
    #[old::co_wrapper(crate = ::old, timeout)]
    pub async fn co_read(x: u8) -> u8 {
        super::once().await;
        x + u8::from(old::in_coroutine()) + 10 * u8::from(new::in_coroutine())
    }

    old::declare! {
        #[co_wrapper(crate = ::old, mixed)]
        pub fn read_declared(x: u8) -> u8 = co_read;
    }
}

mod new {
    #[::new::co_wrapper(suffix = "_blocking", crate = ::new)]
    impl super::Disk {
        pub async fn read(&self, x: u8) -> u8 {
            super::once().await;
            x + u8::from(old::in_coroutine()) + 10 * u8::from(::new::in_coroutine())
        }
    }
}

struct Disk;

/// Pending once.
async fn once() {
    let mut polled = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut polled, true) {
            return std::task::Poll::Ready(());
        }
        let waker = cx.waker().clone();
        std::thread::spawn(move || waker.wake());
        std::task::Poll::Pending
    })
    .await;
}

fn main() {
    assert_eq!(old::read(1), 2);
    assert_eq!(old::read_timeout(1, std::time::Duration::from_secs(60)).unwrap(), 2);
    assert_eq!(old::read_declared(1), 2);
    assert_eq!(Disk.read_blocking(1), 11);
    println!("both");
}
"#;

/// A copy of what is published, without the examples and tests.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// The manifest without what a copy has no use for: other members, examples, tests and what they depend on.
fn manifest(text: &str, version: &str) -> String {
    let mut manifest = String::new();
    let mut kept = true;
    for line in text.lines() {
        if line.starts_with('[') {
            kept = !line.contains("dev-dependencies")
                && !["[[example]]", "[[test]]", "[[bench]]"].iter().any(|table| line.starts_with(table));
        }
        if line.starts_with("members") {
            manifest.push_str("members = [\"co-wrapper-macros\", \"co-wrapper-runtime\"]\n");
        } else if kept {
            manifest.push_str(line);
            manifest.push('\n');
        }
    }
    manifest.replace(env!("CARGO_PKG_VERSION"), version)
}

#[test]
fn each_expansion_uses_its_own() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = package::folder("two_versions");
    let copied = folder.join("old");
    for part in ["src", "co-wrapper-macros/src", "co-wrapper-runtime/src"] {
        copy(&root.join(part), &copied.join(part)).unwrap();
    }
    fs::copy(root.join("README.md"), copied.join("README.md")).unwrap();
    for part in ["", "co-wrapper-macros", "co-wrapper-runtime"] {
        let text = fs::read_to_string(root.join(part).join("Cargo.toml")).unwrap();
        fs::write(copied.join(part).join("Cargo.toml"), manifest(&text, "0.0.9")).unwrap();
    }
    fs::write(folder.join("src/main.rs"), MAIN).unwrap();
    let manifest = format!(
        "[package]\nname = \"two-versions\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\nexclude = [\"old\"]\n\n\
         [dependencies]\nold = {{ package = \"co-wrapper\", path = \"old\" }}\n{}",
        package::run().replace("co-wrapper = {", "new = { package = \"co-wrapper\",")
    );
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();

    let output = package::cargo("run", &folder).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && stdout == "both\n", "{stdout}{stderr}");
}
