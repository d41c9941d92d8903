//! The page "Before it runs" shows what the command says of the page's program.

mod program;

use program::{PROGRAM, command, folder, root};
use std::fs;

/// The first block that begins with this line.
fn block<'a>(page: &'a str, fence: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("\n```{fence}\n")).unwrap();
    rest.split("\n```").next().unwrap()
}

/// Catches: a page that shows other lines, functions or words than there are.
#[test]
fn the_page_shows_what_the_command_says() {
    let page = fs::read_to_string(root().join("src/guide/before_it_runs.md")).unwrap();
    let folder = folder("guide");
    // As the packages of `command.rs`.
    let manifest = format!(
        "[package]\nname = \"guide\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n\
         co-wrapper = {{ path = {:?}, default-features = false, features = [\"graph\"] }}\n",
        root()
    );
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    fs::write(folder.join("src/main.rs"), block(&page, "no_run")).unwrap();
    let output = command(PROGRAM, &folder).arg("co-check").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim_end(), block(&page, "console").trim_end());
}
