// Generated from the file beside this one: `UPDATE_EXPECT=1 cargo test -p co-wrapper-macros --lib`.

#[cfg(unix)]
#[cfg_attr(docsrs, doc(cfg(unix)))]
#[expect(clippy::unused_async)]
#[tracing::instrument]
async fn co_open(path: &str, #[cfg(feature = "flags")] flags: u32) {
    path.open().await;
}
/// Blocking twin of [`co_open`](fn@co_open). Panics in coroutine context.
#[cfg(unix)]
#[cfg_attr(docsrs, doc(cfg(unix)))]
#[allow(clippy::unused_async)]
#[track_caller]
fn open(path: &str, #[cfg(feature = "flags")] flags: u32) {
    /// The packed arguments of [`open`].
    struct OpenArgs<A0, A1> {
        path: A0,
        flags: A1,
    }
    /// Unpacks the arguments and makes the future. Runs where the future is polled.
    fn co_open_entry<A0, A1, Fut>(
        __cw_args: OpenArgs<A0, A1>,
        __cw_co: impl ::co_wrapper::__private::FnOnce(A0, A1) -> Fut,
    ) -> Fut {
        __cw_co(__cw_args.path, __cw_args.flags)
    }
    ::co_wrapper::__private::poll_co(
        &::co_wrapper::__private::Wrapper {
            name: "open",
            target: "co_open",
            mixed: false,
        },
        OpenArgs {
            path,
            #[cfg(feature = "flags")]
            flags,
            #[cfg(not(feature = "flags"))]
            flags: (),
        },
        |__cw_args| co_open_entry(
            __cw_args,
            |__cw_0, __cw_1| ::co_wrapper::if_in_an_impl_mark_that_too!(
                co_open
            )(__cw_0, #[cfg(feature = "flags")] __cw_1),
        ),
    )
}
