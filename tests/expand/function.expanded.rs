// Generated from the file beside this one: `UPDATE_EXPECT=1 cargo test -p co-wrapper-macros --lib`.

/// Reads a block.
///
/// # Errors
///
/// If the disk does.
///
/// # Examples
///
/// ```
/// bdrv_co_read(0, &mut [0; 512]).await.unwrap();
/// ```
pub async fn bdrv_co_read(off: u64, buf: &mut [u8]) -> io::Result<usize> {
    disk().read(off, buf).await
}
/// Blocking twin of [`bdrv_co_read`](fn@bdrv_co_read). Panics in coroutine context.
///
/// Reads a block.
///
/// # Errors
///
/// If the disk does.
#[allow(
    clippy::implicit_return,
    unreachable_pub,
    clippy::must_use_candidate,
    clippy::missing_errors_doc,
    clippy::result_unit_err,
    clippy::result_large_err
)]
#[track_caller]
pub fn bdrv_read(off: u64, buf: &mut [u8]) -> io::Result<usize> {
    /// The packed arguments of [`bdrv_read`].
    struct BdrvReadArgs<A0, A1> {
        off: A0,
        buf: A1,
    }
    /// Unpacks the arguments and makes the future. Runs where the future is polled.
    fn bdrv_co_read_entry<A0, A1, Fut>(
        __cw_args: BdrvReadArgs<A0, A1>,
        __cw_co: impl ::co_wrapper::__private::FnOnce(A0, A1) -> Fut,
    ) -> Fut {
        __cw_co(__cw_args.off, __cw_args.buf)
    }
    ::co_wrapper::__private::poll_co(
        &::co_wrapper::__private::Wrapper {
            name: "bdrv_read",
            target: "bdrv_co_read",
            mixed: false,
        },
        BdrvReadArgs { off, buf },
        |__cw_args| bdrv_co_read_entry(
            __cw_args,
            |__cw_0, __cw_1| ::co_wrapper::if_in_an_impl_mark_that_too!(
                bdrv_co_read
            )(__cw_0, __cw_1),
        ),
    )
}
