// Generated from the file beside this one: `UPDATE_EXPECT=1 cargo test -p co-wrapper-macros --lib`.

mod disk {
    use std::io;
    pub async fn open(path: &str) -> io::Result<Disk> {
        Disk(path.len())
    }
    /// Blocking twin of [`open`](fn@open). May be called in coroutine context.
    #[allow(
        clippy::implicit_return,
        unreachable_pub,
        dead_code,
        clippy::must_use_candidate,
        clippy::missing_errors_doc,
        clippy::result_unit_err,
        clippy::result_large_err
    )]
    #[track_caller]
    pub fn open_blocking(path: &str) -> io::Result<Disk> {
        /// The packed arguments of [`open_blocking`].
        struct OpenBlockingArgs<A0> {
            path: A0,
        }
        /// Unpacks the arguments and makes the future. Runs where the future is polled.
        fn open_entry<A0, Fut>(
            __cw_args: OpenBlockingArgs<A0>,
            __cw_co: impl ::co_wrapper::__private::FnOnce(A0) -> Fut,
        ) -> Fut {
            __cw_co(__cw_args.path)
        }
        ::co_wrapper::__private::poll_co(
            &::co_wrapper::__private::Wrapper {
                name: "open_blocking",
                target: "open",
                mixed: true,
            },
            OpenBlockingArgs { path },
            |__cw_args| open_entry(
                __cw_args,
                |__cw_0| ::co_wrapper::if_in_an_impl_mark_that_too!(open)(__cw_0),
            ),
        )
    }
    impl Disk {
        pub async fn size(&self) {}
        /// Blocking twin of [`size`](Self::size). May be called in coroutine context.
        #[allow(unreachable_pub, dead_code, clippy::trivially_copy_pass_by_ref)]
        #[track_caller]
        pub fn size_blocking(&self) {
            /// The packed arguments of [`size_blocking`].
            struct SizeBlockingArgs<A0> {
                __self: A0,
            }
            /// Unpacks the arguments and makes the future. Runs where the future is polled.
            fn size_entry<A0, Fut>(
                __cw_args: SizeBlockingArgs<A0>,
                __cw_co: impl ::co_wrapper::__private::FnOnce(A0) -> Fut,
            ) -> Fut {
                __cw_co(__cw_args.__self)
            }
            ::co_wrapper::__private::poll_co(
                &::co_wrapper::__private::Wrapper {
                    name: "size_blocking",
                    target: "size",
                    mixed: true,
                },
                SizeBlockingArgs { __self: self },
                |__cw_args| size_entry(__cw_args, |__cw_0| Self::size(__cw_0)),
            )
        }
    }
    impl Driver for Disk {
        async fn size(&self) {}
    }
}
async fn single() {}
/// Blocking twin of [`single`](fn@single). Panics in coroutine context.
#[allow(dead_code)]
#[track_caller]
fn single_blocking() {
    /// The packed arguments of [`single_blocking`].
    struct SingleBlockingArgs {}
    /// Unpacks the arguments and makes the future. Runs where the future is polled.
    fn single_entry<Fut>(
        __cw_args: SingleBlockingArgs,
        __cw_co: impl ::co_wrapper::__private::FnOnce() -> Fut,
    ) -> Fut {
        __cw_co()
    }
    ::co_wrapper::__private::poll_co(
        &::co_wrapper::__private::Wrapper {
            name: "single_blocking",
            target: "single",
            mixed: false,
        },
        SingleBlockingArgs {},
        |__cw_args| single_entry(
            __cw_args,
            || ::co_wrapper::if_in_an_impl_mark_that_too!(single)(),
        ),
    )
}
