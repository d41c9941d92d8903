// Generated from the file beside this one: `UPDATE_EXPECT=1 cargo test -p co-wrapper-macros --lib`.

fn bdrv_read(off: u64) -> u8 {
    0
}
::core::compile_error! {
    "unknown option `mixd`; did you mean `mixed`"
}
::core::compile_error! {
    "`bdrv_read` is not async; make it an `async fn`, or let it return `impl Future<Output = …>` or `Pin<Box<dyn Future<Output = …>>>`"
}
