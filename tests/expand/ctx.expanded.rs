// Generated from the file beside this one: `UPDATE_EXPECT=1 cargo test -p co-wrapper-macros --lib`.

impl Disk {
    pub async fn co_read(
        &mut self,
        (off, _): (u64, u8),
        buf: &mut [u8],
    ) -> io::Result<()> {
        self.0.read(off, buf).await
    }
    /// Blocking twin of [`co_read`](Self::co_read). Panics in coroutine context.
    #[allow(
        clippy::implicit_return,
        unreachable_pub,
        clippy::must_use_candidate,
        clippy::return_self_not_must_use,
        clippy::missing_errors_doc,
        clippy::result_unit_err,
        clippy::result_large_err,
        clippy::type_complexity
    )]
    #[track_caller]
    pub fn read(&mut self, __cw_arg: (u64, u8), buf: &mut [u8]) -> io::Result<()> {
        let __cw_ctx = <::co_wrapper::__private::AioContext as ::co_wrapper::__private::Clone>::clone(
            &self.ctx,
        );
        {
            /// The packed arguments of [`read`].
            struct ReadArgs<A0, A1, A2> {
                __self: ::co_wrapper::__private::Sent<A0>,
                __cw_arg: ::co_wrapper::__private::Sent<A1>,
                buf: ::co_wrapper::__private::Sent<A2>,
            }
            /// Unpacks the arguments and makes the future. Runs where the future is polled.
            fn co_read_entry<A0, A1, A2, Fut>(
                __cw_args: ReadArgs<A0, A1, A2>,
                __cw_co: impl ::co_wrapper::__private::FnOnce(A0, A1, A2) -> Fut,
            ) -> Fut {
                __cw_co(
                    __cw_args.__self.into_inner(),
                    __cw_args.__cw_arg.into_inner(),
                    __cw_args.buf.into_inner(),
                )
            }
            ::co_wrapper::__private::poll_co_in(
                &::co_wrapper::__private::Wrapper {
                    name: "read",
                    target: "co_read",
                    mixed: false,
                },
                &__cw_ctx,
                ReadArgs {
                    __self: ::co_wrapper::__private::sent_to_ctx(self),
                    __cw_arg: ::co_wrapper::__private::sent_to_ctx(__cw_arg),
                    buf: ::co_wrapper::__private::sent_to_ctx(buf),
                },
                |__cw_args| co_read_entry(
                    __cw_args,
                    |__cw_0, __cw_1, __cw_2| Self::co_read(__cw_0, __cw_1, __cw_2),
                ),
            )
        }
    }
}
impl Disk {
    async fn open(path: &str) -> Disk {
        Disk::of(path)
    }
    /// Blocking twin of [`open`](Self::open). Panics in coroutine context.
    #[allow(clippy::implicit_return, dead_code, clippy::result_large_err)]
    #[track_caller]
    fn open_blocking(path: &str) -> Disk {
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
                mixed: false,
            },
            OpenBlockingArgs { path },
            |__cw_args| open_entry(__cw_args, |__cw_0| Self::open(__cw_0)),
        )
    }
}
