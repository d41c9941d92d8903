// Generated from the file beside this one: `UPDATE_EXPECT=1 cargo test -p co-wrapper-macros --lib`.

impl Disk {
    /// Reads.
    ///
    /// # Errors
    ///
    /// If the disk does.
    pub async fn co_read(&self, off: u64) -> io::Result<u8> {
        self.0.read(off).await
    }
    /// Blocking twin of [`co_read`](Self::co_read). Panics in coroutine context.
    ///
    /// Reads.
    ///
    /// # Errors
    ///
    /// If the disk does.
    #[allow(
        clippy::implicit_return,
        unreachable_pub,
        clippy::must_use_candidate,
        clippy::return_self_not_must_use,
        clippy::missing_errors_doc,
        clippy::result_unit_err,
        clippy::result_large_err,
        clippy::trivially_copy_pass_by_ref
    )]
    #[track_caller]
    pub fn read(&self, off: u64) -> io::Result<u8> {
        /// The packed arguments of [`read`].
        struct ReadArgs<A0, A1> {
            __self: A0,
            off: A1,
        }
        /// Unpacks the arguments and makes the future. Runs where the future is polled.
        fn co_read_entry<A0, A1, Fut>(
            __cw_args: ReadArgs<A0, A1>,
            __cw_co: impl ::co_wrapper::__private::FnOnce(A0, A1) -> Fut,
        ) -> Fut {
            __cw_co(__cw_args.__self, __cw_args.off)
        }
        ::co_wrapper::__private::poll_co(
            &::co_wrapper::__private::Wrapper {
                name: "read",
                target: "co_read",
                mixed: false,
            },
            ReadArgs { __self: self, off },
            |__cw_args| co_read_entry(
                __cw_args,
                |__cw_0, __cw_1| Self::co_read(__cw_0, __cw_1),
            ),
        )
    }
    /// As [`read`](Self::read), but gives up when the last argument has passed. The call has been dropped by then.
    ///
    /// # Errors
    ///
    /// `Elapsed`, if it gave up.
    #[allow(
        clippy::implicit_return,
        unreachable_pub,
        clippy::must_use_candidate,
        clippy::return_self_not_must_use,
        clippy::type_complexity,
        clippy::trivially_copy_pass_by_ref
    )]
    #[track_caller]
    pub fn read_timeout(
        &self,
        off: u64,
        timeout: ::co_wrapper::__private::Duration,
    ) -> ::co_wrapper::__private::Result<
        io::Result<u8>,
        ::co_wrapper::__private::Elapsed,
    > {
        /// The packed arguments of [`read_timeout`].
        struct ReadTimeoutArgs<A0, A1> {
            __self: A0,
            off: A1,
        }
        /// Unpacks the arguments and makes the future. Runs where the future is polled.
        fn co_read_entry<A0, A1, Fut>(
            __cw_args: ReadTimeoutArgs<A0, A1>,
            __cw_co: impl ::co_wrapper::__private::FnOnce(A0, A1) -> Fut,
        ) -> Fut {
            __cw_co(__cw_args.__self, __cw_args.off)
        }
        ::co_wrapper::__private::poll_co_timeout(
            &::co_wrapper::__private::Wrapper {
                name: "read_timeout",
                target: "co_read",
                mixed: false,
            },
            timeout,
            ReadTimeoutArgs {
                __self: self,
                off,
            },
            |__cw_args| co_read_entry(
                __cw_args,
                |__cw_0, __cw_1| Self::co_read(__cw_0, __cw_1),
            ),
        )
    }
}
async unsafe fn drain(pool: &Pool) {
    pool.drain().await
}
/// Blocking twin of [`drain`](fn@drain). Panics in coroutine context.
#[allow(clippy::trivially_copy_pass_by_ref)]
#[track_caller]
unsafe fn drained(pool: &Pool) {
    let __cw_ctx = <::co_wrapper::__private::AioContext as ::co_wrapper::__private::Clone>::clone(
        &pool.ctx(),
    );
    {
        /// The packed arguments of [`drained`].
        struct DrainedArgs<A0> {
            pool: ::co_wrapper::__private::Sent<A0>,
        }
        /// Unpacks the arguments and makes the future. Runs where the future is polled.
        fn drain_entry<A0, Fut>(
            __cw_args: DrainedArgs<A0>,
            __cw_co: impl ::co_wrapper::__private::FnOnce(A0) -> Fut,
        ) -> Fut {
            __cw_co(__cw_args.pool.into_inner())
        }
        ::co_wrapper::__private::poll_co_in(
            &::co_wrapper::__private::Wrapper {
                name: "drained",
                target: "drain",
                mixed: false,
            },
            &__cw_ctx,
            DrainedArgs {
                pool: ::co_wrapper::__private::sent_to_ctx(pool),
            },
            |__cw_args| drain_entry(
                __cw_args,
                |__cw_0| unsafe {
                    ::co_wrapper::if_in_an_impl_mark_that_too!(drain)(__cw_0)
                },
            ),
        )
    }
}
/// As [`drained`](fn@drained), but gives up when the last argument has passed. The call has been dropped by then.
///
/// # Errors
///
/// `Elapsed`, if it gave up.
///
/// # Safety
///
/// As [`drained`](fn@drained).
#[allow(
    clippy::implicit_return,
    clippy::type_complexity,
    clippy::trivially_copy_pass_by_ref
)]
#[track_caller]
unsafe fn drained_within(
    pool: &Pool,
    timeout: ::co_wrapper::__private::Duration,
) -> ::co_wrapper::__private::Result<(), ::co_wrapper::__private::Elapsed> {
    let __cw_ctx = <::co_wrapper::__private::AioContext as ::co_wrapper::__private::Clone>::clone(
        &pool.ctx(),
    );
    {
        /// The packed arguments of [`drained_within`].
        struct DrainedWithinArgs<A0> {
            pool: ::co_wrapper::__private::Sent<A0>,
        }
        /// Unpacks the arguments and makes the future. Runs where the future is polled.
        fn drain_entry<A0, Fut>(
            __cw_args: DrainedWithinArgs<A0>,
            __cw_co: impl ::co_wrapper::__private::FnOnce(A0) -> Fut,
        ) -> Fut {
            __cw_co(__cw_args.pool.into_inner())
        }
        ::co_wrapper::__private::poll_co_in_timeout(
            &::co_wrapper::__private::Wrapper {
                name: "drained_within",
                target: "drain",
                mixed: false,
            },
            &__cw_ctx,
            timeout,
            DrainedWithinArgs {
                pool: ::co_wrapper::__private::sent_to_ctx(pool),
            },
            |__cw_args| drain_entry(
                __cw_args,
                |__cw_0| unsafe {
                    ::co_wrapper::if_in_an_impl_mark_that_too!(drain)(__cw_0)
                },
            ),
        )
    }
}
