// Generated from the file beside this one: `UPDATE_EXPECT=1 cargo test -p co-wrapper-macros --lib`.

impl<T> Pool<T> {
    pub async fn co_open(path: &str) -> u32 {
        path.open().await
    }
    /// Blocking twin of [`co_open`](Self::co_open). Panics in coroutine context.
    #[allow(clippy::implicit_return, unreachable_pub, clippy::must_use_candidate)]
    #[track_caller]
    pub fn open(path: &str) -> u32 {
        /// The packed arguments of [`open`].
        struct OpenArgs<A0> {
            path: A0,
        }
        /// Unpacks the arguments and makes the future. Runs where the future is polled.
        fn co_open_entry<A0, Fut>(
            __cw_args: OpenArgs<A0>,
            __cw_co: impl ::co_wrapper::__private::FnOnce(A0) -> Fut,
        ) -> Fut {
            __cw_co(__cw_args.path)
        }
        ::co_wrapper::__private::poll_co(
            &::co_wrapper::__private::Wrapper {
                name: "open",
                target: "co_open",
                mixed: false,
            },
            OpenArgs { path },
            |__cw_args| co_open_entry(__cw_args, |__cw_0| Self::co_open(__cw_0)),
        )
    }
    pub async fn unmarked(&self) {}
}
