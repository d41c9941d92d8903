// Generated from the file beside this one: `UPDATE_EXPECT=1 cargo test -p co-wrapper-macros --lib`.

async unsafe fn fill_async<'a, T: ?Sized + Fill<'a>, U, const N: usize>(
    with: &'a T,
    more: impl Iterator<Item = [U; N]>,
) -> U
where
    U: Default,
{
    with.fill(more).await
}
/// Blocking twin of [`fill_async`](fn@fill_async). Panics in coroutine context.
#[allow(
    clippy::implicit_return,
    clippy::result_large_err,
    clippy::trivially_copy_pass_by_ref,
    clippy::elidable_lifetime_names
)]
#[track_caller]
unsafe fn fill<'a, T: ?Sized + Fill<'a>, U, const N: usize>(
    with: &'a T,
    more: impl Iterator<Item = [U; N]>,
) -> U
where
    U: Default,
{
    /// The packed arguments of [`fill`].
    struct FillArgs<A0, A1> {
        with: A0,
        more: A1,
    }
    /// Unpacks the arguments and makes the future. Runs where the future is polled.
    fn fill_async_entry<A0, A1, Fut>(
        __cw_args: FillArgs<A0, A1>,
        __cw_co: impl ::co_wrapper::__private::FnOnce(A0, A1) -> Fut,
    ) -> Fut {
        __cw_co(__cw_args.with, __cw_args.more)
    }
    ::co_wrapper::__private::poll_co(
        &::co_wrapper::__private::Wrapper {
            name: "fill",
            target: "fill_async",
            mixed: false,
        },
        FillArgs { with, more: { more } },
        |__cw_args| fill_async_entry(
            __cw_args,
            |__cw_0, __cw_1| unsafe {
                ::co_wrapper::if_in_an_impl_mark_that_too!(
                    fill_async:: < T, U, N >
                )(__cw_0, __cw_1)
            },
        ),
    )
}
