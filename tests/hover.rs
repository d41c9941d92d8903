//! What rustdoc, and so an editor that hovers over a call, shows of a wrapper: the text of its async fn without the code,
//! under a link that leads there. How rustdoc names its pages, and what stands in them, is known of `KNOWN`; with another
//! release there is nothing to say.

mod package;

use std::fs;
use std::ops::RangeInclusive;
use std::path::PathBuf;

const KNOWN: RangeInclusive<u32> = 88..=101;

const SOURCE: &str = r#"
//! A crate.

use co_wrapper::{co_wrapper, declare, no_co_wrapper};

/// Reads a marvellous byte.
///
/// ```
/// assert!(fenced_code());
/// ```
#[co_wrapper(timeout)]
pub async fn co_read(off: u64) -> u64 {
    off
}

/// Opens a marvellous file.
#[no_co_wrapper]
pub fn bdrv_open(flags: u32) -> u32 {
    flags
}

/// A disk.
pub struct Disk;

impl Disk {
    /// Writes a marvellous byte.
    #[co_wrapper]
    pub async fn co_write(&self) {}
}

/// A driver.
#[co_wrapper(suffix = "_blocking")]
pub trait Driver {
    /// Its marvellous size.
    #[allow(async_fn_in_trait)]
    async fn size(&self) -> u64;
}

declare! {
    /// A marvellous byte, declared.
    pub fn read_declared(off: u64) -> u64 = co_read;
}
"#;

/// Documents the crate, and gives the folder of its pages.
fn document() -> PathBuf {
    let folder = package::folder("hover");
    fs::write(folder.join("src/lib.rs"), SOURCE).unwrap();
    let manifest = format!(
        "[package]\nname = \"hover\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
         [dependencies]\n{}",
        package::checked()
    );
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    let mut cargo = package::cargo("doc", &folder);
    let output = cargo.arg("--no-deps").env("RUSTDOCFLAGS", "-Dwarnings").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    package::target().join("doc/hover")
}

/// What a page says from an item on, up to the next one.
fn item<'a>(page: &'a str, start: &str) -> &'a str {
    let (_, rest) = page.split_once(start).unwrap_or_else(|| panic!("no {start} in {page}"));
    rest.split_once("<section id=").map_or(rest, |(item, _)| item)
}

#[test]
fn every_twin_shows_its_text_and_links_to_the_other() {
    if !package::rustc_is_one_of(KNOWN) {
        return;
    }
    let pages = document();
    let read = |page: &str| fs::read_to_string(pages.join(page)).unwrap();
    // Page, where on it, its text, and the link as it is written with what it must lead to.
    let twins = [
        ("fn.read.html", "id=\"main-content\"", "Reads a marvellous byte.", "fn.co_read.html"),
        ("fn.read_timeout.html", "id=\"main-content\"", "gives up when the last argument has passed", "fn.read.html"),
        ("fn.bdrv_co_open.html", "id=\"main-content\"", "Opens a marvellous file.", "fn.bdrv_open.html"),
        ("fn.read_declared.html", "id=\"main-content\"", "A marvellous byte, declared.", "fn.co_read.html"),
        ("struct.Disk.html", "id=\"method.write\"", "Writes a marvellous byte.", "struct.Disk.html#method.co_write"),
        ("trait.Driver.html", "id=\"method.size_blocking\"", "Its marvellous size.", "trait.Driver.html#tymethod.size"),
    ];
    for (page, start, text, link) in twins {
        let content = read(page);
        let shown = item(&content, start);
        assert!(shown.contains(text), "{page}: no `{text}` in {shown}");
        assert!(!shown.contains("fenced_code"), "{page}: code that runs twice in {shown}");
        assert!(shown.contains(&format!("href=\"{link}\"")), "{page}: no link to {link} in {shown}");
        let (target, anchor) = link.split_once('#').unwrap_or((link, ""));
        assert!(read(target).contains(&format!("id=\"{anchor}")), "{page}: {link} leads nowhere");
    }
    assert!(read("fn.co_read.html").contains("fenced_code"), "the async fn has its code");
}
