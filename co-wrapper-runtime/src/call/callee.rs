//! Which blocking function was called, and what a plain wrapper says when it is called in coroutine context.
//!
//! Nothing here decides whether a call is refused (`frame.rs`), and nothing is on the ready path but a name.

use std::{panic::Location, thread};

use crate::thread::state::Place;

/// A generated wrapper's description of itself, for messages and reports.
///
/// `cargo co-check` finds the calls of `poll_co` and its siblings in LLVM IR, by their names, and reads there
/// the constant that a twin passes: two strings, then the flag. `cargo-co-check/src/tables.rs` lists the names and has
/// a test.
#[derive(Debug)]
pub struct Wrapper {
    /// The blocking function's name.
    pub name: &'static str,
    /// The async function's.
    pub target: &'static str,
    /// May be called in coroutine context.
    pub mixed: bool,
}

/// What was called.
#[derive(Clone, Copy)]
pub(crate) enum Callee {
    /// A generated wrapper, and the name of its packed arguments' type, which says where that is declared.
    Wrapper(&'static Wrapper, &'static str),
    /// A blocking function of this crate, by its name.
    Own(&'static &'static str),
}

impl Callee {
    pub fn name(self) -> &'static &'static str {
        match self {
            Self::Wrapper(wrapper, _) => &wrapper.name,
            Self::Own(name) => name,
        }
    }
}

/// Panics, or prints the message if the thread is panicking already; then the call may nest.
#[cold]
#[track_caller]
pub(super) fn refuse_in_coroutine(wrapper: &Wrapper, args: &str, place: &Place, site: &'static Location<'static>) {
    let Wrapper { name, target, .. } = wrapper;
    let of_crate = crate_of(args).map(|krate| format!(" in crate `{krate}`")).unwrap_or_default();
    let message = format!(
        "{name}: blocking call in coroutine context, at {site}, {}; call `{target}(…).await` there, or mark \
         `{target}`{of_crate} #[co_wrapper(mixed)]",
        place.thread().coroutine_below(place.thread().depth() - 1)
    );
    // A second panic would abort the process; it is better to let a destructor's call nest.
    if thread::panicking() {
        eprintln!("co_wrapper: {message} (nested, because the thread is panicking)");
    } else {
        panic!("{message}");
    }
}

/// The crate that declares the type of this name. `None` if the type is declared in an impl of one crate's trait for
/// another crate's type.
fn crate_of(type_name: &str) -> Option<&str> {
    fn first(path: &str) -> Option<&str> {
        Some(path.trim_start_matches(['<', '&']).split_once("::")?.0)
    }
    let (own, of_trait) = match type_name.strip_prefix('<').and_then(|path| path.split_once(" as ")) {
        Some((own, of_trait)) => (first(own)?, first(of_trait)?),
        None => (first(type_name)?, first(type_name)?),
    };
    let is_name = own.chars().all(|char| char.is_alphanumeric() || char == '_');
    (own == of_trait && is_name).then_some(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a crate taken from the wrong part of a name, or made up.
    #[test]
    fn the_crate_of_a_type_is_the_first_of_its_path() {
        for (name, krate) in [
            ("qcow2::disk::bdrv_read::BdrvReadArgs<&other::Disk>", Some("qcow2")),
            ("qcow2::disk::<impl qcow2::Disk>::read_blocking::ReadBlockingArgs<u8>", Some("qcow2")),
            ("<qcow2::Disk>::read_blocking::ReadBlockingArgs<u8>", Some("qcow2")),
            ("<qcow2::Disk as qcow2::Node>::read_blocking::ReadBlockingArgs", Some("qcow2")),
            ("<imago::Disk as tool::DiskSync>::read::ReadArgs", None),
            ("<(a::A, b::B) as c::T>::read::ReadArgs", None),
            ("ReadArgs", None),
        ] {
            assert_eq!(crate_of(name), krate, "{name}");
        }
    }
}
