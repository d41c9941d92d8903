//! The program: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Err(error) = co_img::watch_for_interrupts() {
        eprintln!("co-img: cannot watch for signals: {error}");
        return ExitCode::from(2); // no answer of `compare`
    }
    co_img::run(std::env::args_os())
}
