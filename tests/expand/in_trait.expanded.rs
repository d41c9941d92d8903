// Generated from the file beside this one: `UPDATE_EXPECT=1 cargo test -p co-wrapper-macros --lib`.

pub trait Driver<'a, T: Debug, const N: usize>: Sized {
    async fn open(self, path: &str) -> Result<T, Error>;
    /// Blocking twin of [`open`](Self::open). Panics in coroutine context.
    #[allow(
        clippy::implicit_return,
        dead_code,
        clippy::must_use_candidate,
        clippy::return_self_not_must_use,
        clippy::missing_errors_doc,
        clippy::result_unit_err,
        clippy::result_large_err
    )]
    #[track_caller]
    fn blocking_open(self, path: &str) -> Result<T, Error>
    where
        Self: Sized,
    {
        /// The packed arguments of [`blocking_open`].
        struct BlockingOpenArgs<A0, A1> {
            __self: A0,
            path: A1,
        }
        /// Unpacks the arguments and makes the future. Runs where the future is polled.
        fn open_entry<A0, A1, Fut>(
            __cw_args: BlockingOpenArgs<A0, A1>,
            __cw_co: impl ::co_wrapper::__private::FnOnce(A0, A1) -> Fut,
        ) -> Fut {
            __cw_co(__cw_args.__self, __cw_args.path)
        }
        ::co_wrapper::__private::poll_co(
            &::co_wrapper::__private::Wrapper {
                name: "blocking_open",
                target: "open",
                mixed: false,
            },
            BlockingOpenArgs {
                __self: self,
                path,
            },
            |__cw_args| open_entry(
                __cw_args,
                |__cw_0, __cw_1| <Self as Driver<'a, T, N>>::open(__cw_0, __cw_1),
            ),
        )
    }
}
impl<'a> other::Driver<'a, u8, 2> for Disk {
    async fn co_size(&self) -> u64 {
        self.0
    }
    /// Blocking twin of [`co_size`](Self::co_size). Panics in coroutine context.
    #[allow(clippy::implicit_return, clippy::trivially_copy_pass_by_ref)]
    #[track_caller]
    fn size(&self) -> u64 {
        /// The packed arguments of [`size`].
        struct SizeArgs<A0> {
            __self: A0,
        }
        /// Unpacks the arguments and makes the future. Runs where the future is polled.
        fn co_size_entry<A0, Fut>(
            __cw_args: SizeArgs<A0>,
            __cw_co: impl ::co_wrapper::__private::FnOnce(A0) -> Fut,
        ) -> Fut {
            __cw_co(__cw_args.__self)
        }
        ::co_wrapper::__private::poll_co(
            &::co_wrapper::__private::Wrapper {
                name: "size",
                target: "co_size",
                mixed: false,
            },
            SizeArgs { __self: self },
            |__cw_args| co_size_entry(
                __cw_args,
                |__cw_0| <Self as other::Driver<'a, u8, 2>>::co_size(__cw_0),
            ),
        )
    }
}
