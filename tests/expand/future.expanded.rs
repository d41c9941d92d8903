// Generated from the file beside this one: `UPDATE_EXPECT=1 cargo test -p co-wrapper-macros --lib`.

impl Pool {
    fn co_one(&self) -> impl Future<Output = u8> + '_ {
        async { 1 }
    }
    /// Blocking twin of [`co_one`](Self::co_one). Panics in coroutine context.
    #[allow(clippy::implicit_return, clippy::trivially_copy_pass_by_ref)]
    #[track_caller]
    fn one(&self) -> u8 {
        /// The packed arguments of [`one`].
        struct OneArgs<A0> {
            __self: A0,
        }
        /// Unpacks the arguments and makes the future. Runs where the future is polled.
        fn co_one_entry<A0, Fut>(
            __cw_args: OneArgs<A0>,
            __cw_co: impl ::co_wrapper::__private::FnOnce(A0) -> Fut,
        ) -> Fut {
            __cw_co(__cw_args.__self)
        }
        ::co_wrapper::__private::poll_co(
            &::co_wrapper::__private::Wrapper {
                name: "one",
                target: "co_one",
                mixed: false,
            },
            OneArgs { __self: self },
            |__cw_args| co_one_entry(__cw_args, |__cw_0| Self::co_one(__cw_0)),
        )
    }
    fn co_two<'a>(
        self: Pin<&'a mut Self>,
    ) -> Pin<Box<dyn Future<Output = &'a u8> + Send + 'a>> {
        Box::pin(async { &self.0 })
    }
    /// Blocking twin of [`co_two`](Self::co_two). Panics in coroutine context.
    #[allow(
        clippy::implicit_return,
        clippy::elidable_lifetime_names,
        clippy::needless_lifetimes,
        single_use_lifetimes,
        clippy::extra_unused_lifetimes,
        unused_lifetimes
    )]
    #[track_caller]
    fn two<'a>(self: Pin<&'a mut Self>) -> &'a u8 {
        /// The packed arguments of [`two`].
        struct TwoArgs<A0> {
            __self: A0,
        }
        /// Unpacks the arguments and makes the future. Runs where the future is polled.
        fn co_two_entry<A0, Fut>(
            __cw_args: TwoArgs<A0>,
            __cw_co: impl ::co_wrapper::__private::FnOnce(A0) -> Fut,
        ) -> Fut {
            __cw_co(__cw_args.__self)
        }
        ::co_wrapper::__private::poll_co(
            &::co_wrapper::__private::Wrapper {
                name: "two",
                target: "co_two",
                mixed: false,
            },
            TwoArgs { __self: { self } },
            |__cw_args| co_two_entry(__cw_args, |__cw_0| Self::co_two(__cw_0)),
        )
    }
}
