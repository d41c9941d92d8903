// Generated from the file beside this one: `UPDATE_EXPECT=1 cargo test -p co-wrapper-macros --lib`.

async fn co_append<T>(
    to: &mut Vec<T>,
    all: impl Iterator<Item = &T>,
    by: impl Fn(&T) -> bool,
) -> usize {
    to.append_all(all, by).await
}
/// Blocking twin of [`co_append`](fn@co_append). Panics in coroutine context.
#[allow(
    clippy::implicit_return,
    clippy::elidable_lifetime_names,
    clippy::needless_lifetimes,
    single_use_lifetimes
)]
#[track_caller]
fn append<'__cw_life, T>(
    to: &mut Vec<T>,
    all: impl Iterator<Item = &'__cw_life T>,
    by: impl Fn(&T) -> bool,
) -> usize {
    /// The packed arguments of [`append`].
    struct AppendArgs<A0, A1, A2> {
        to: A0,
        all: A1,
        by: A2,
    }
    /// Unpacks the arguments and makes the future. Runs where the future is polled.
    fn co_append_entry<A0, A1, A2, Fut>(
        __cw_args: AppendArgs<A0, A1, A2>,
        __cw_co: impl ::co_wrapper::__private::FnOnce(A0, A1, A2) -> Fut,
    ) -> Fut {
        __cw_co(__cw_args.to, __cw_args.all, __cw_args.by)
    }
    ::co_wrapper::__private::poll_co(
        &::co_wrapper::__private::Wrapper {
            name: "append",
            target: "co_append",
            mixed: false,
        },
        AppendArgs {
            to: { to },
            all: { all },
            by,
        },
        |__cw_args| co_append_entry(
            __cw_args,
            |__cw_0, __cw_1, __cw_2| ::co_wrapper::if_in_an_impl_mark_that_too!(
                co_append:: < T >
            )(__cw_0, __cw_1, __cw_2),
        ),
    )
}
