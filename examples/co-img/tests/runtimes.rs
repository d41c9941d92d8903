//! The whole command set inside `#[tokio::main]`, of both flavours.

mod support;

use std::ffi::OsString;
use std::fs;
use std::process::ExitCode;

use support::{Folder, content, qemu_is_here, serve};

/// Runs a command in this very task.
#[track_caller]
fn run(args: &[&str], code: u8) {
    let exit = co_img::run(["co-img"].iter().chain(args).map(OsString::from));
    assert_eq!(format!("{exit:?}"), format!("{:?}", ExitCode::from(code)), "{args:?}");
}

async fn all_commands(folder: &Folder) {
    let at = |name: &str| folder.at(name);
    let size = 3_000_000;
    folder.raw("raw", size);
    run(&["info", &at("raw")], 0);
    run(&["convert", "-O", "qcow2", "-o", "cluster_size=4k", &at("raw"), &at("q")], 0);
    run(&["info", "--output", "json", &at("q")], 0);
    run(&["map", "--output", "json", &at("q")], 0);
    run(&["compare", &at("raw"), &at("q")], 0);
    run(&["create", "-f", "qcow2", "-b", &at("q"), "-F", "qcow2", &at("top"), "4M"], 0);
    run(&["compare", &at("top"), &at("q")], 0);
    run(&["compare", &at("raw"), "null-co://3M"], 1);
    run(&["bench", "-c", "200", &at("top")], 0);
    run(&["bench", "-w", "-c", "1000", "-d", "3", &at("top")], 0);
    run(&["convert", "-O", "raw", &at("q"), &at("r")], 0);
    run(&["info", &at("none")], 1);
    assert!(fs::read(folder.path("r")).unwrap()[..size] == content(size));
    if qemu_is_here() {
        let (_server, url) = serve(folder, true, "raw", &["-f", "raw"]);
        run(&["convert", "-O", "raw", &url, &at("n")], 0);
        run(&["map", &url], 0);
        run(&["bench", "-c", "200", &url], 0);
        run(&["convert", "-O", "raw", &at("q"), &url], 0);
        run(&["compare", &url, &at("r")], 0);
        assert!(fs::read(folder.path("n")).unwrap()[..size] == content(size));
    }
    // The host still works.
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    assert_eq!(tokio::spawn(async { 7 }).await.unwrap(), 7);
}

#[test]
fn in_a_current_thread_runtime() {
    #[tokio::main(flavor = "current_thread")]
    async fn main() {
        all_commands(&Folder::new()).await;
    }
    main();
}

#[test]
fn in_a_multi_thread_runtime() {
    #[tokio::main(flavor = "multi_thread", worker_threads = 2)]
    async fn main() {
        all_commands(&Folder::new()).await;
        tokio::spawn(async { all_commands(&Folder::new()).await }).await.unwrap(); // in a task, too
    }
    main();
}
