//! What a panic says.

use std::{any::Any, panic};

/// The message of a panic.
#[track_caller]
pub fn message_of(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .expect("a panic with a message")
}

/// What `call` panics with.
#[track_caller]
pub fn panic_of<T>(call: impl FnOnce() -> T) -> String {
    match panic::catch_unwind(panic::AssertUnwindSafe(call)) {
        Ok(_) => panic!("no panic"),
        Err(payload) => message_of(&*payload).to_owned(),
    }
}
