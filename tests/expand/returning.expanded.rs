// Generated from the file beside this one: `UPDATE_EXPECT=1 cargo test -p co-wrapper-macros --lib`.

impl Disk {
    pub fn read<'a>(&'a self, off: u64) -> BoxFuture<'a, io::Result<&'a [u8]>> {
        self.0.read(off).boxed()
    }
    /// Blocking twin of [`read`](Self::read). Panics in coroutine context.
    #[allow(
        clippy::implicit_return,
        unreachable_pub,
        dead_code,
        clippy::must_use_candidate,
        clippy::return_self_not_must_use,
        clippy::missing_errors_doc,
        clippy::result_unit_err,
        clippy::result_large_err,
        clippy::type_complexity,
        clippy::trivially_copy_pass_by_ref,
        clippy::elidable_lifetime_names,
        clippy::needless_lifetimes,
        single_use_lifetimes,
        clippy::extra_unused_lifetimes,
        unused_lifetimes
    )]
    #[track_caller]
    pub fn read_blocking<'a>(&'a self, off: u64) -> io::Result<&'a [u8]> {
        /// The packed arguments of [`read_blocking`].
        struct ReadBlockingArgs<A0, A1> {
            __self: A0,
            off: A1,
        }
        /// Unpacks the arguments and makes the future. Runs where the future is polled.
        fn read_entry<A0, A1, Fut>(
            __cw_args: ReadBlockingArgs<A0, A1>,
            __cw_co: impl ::co_wrapper::__private::FnOnce(A0, A1) -> Fut,
        ) -> Fut {
            __cw_co(__cw_args.__self, __cw_args.off)
        }
        ::co_wrapper::__private::poll_co(
            &::co_wrapper::__private::Wrapper {
                name: "read_blocking",
                target: "read",
                mixed: false,
            },
            ReadBlockingArgs {
                __self: self,
                off,
            },
            |__cw_args| read_entry(
                __cw_args,
                |__cw_0, __cw_1| Self::read(__cw_0, __cw_1),
            ),
        )
    }
    fn size(&self) -> SizeBuilder<'_> {
        SizeBuilder(self)
    }
    /// Blocking twin of [`size`](Self::size). Panics in coroutine context.
    #[allow(
        clippy::implicit_return,
        dead_code,
        clippy::result_large_err,
        clippy::trivially_copy_pass_by_ref
    )]
    #[track_caller]
    fn size_blocking(&self) -> io::Result<u64> {
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
                mixed: false,
            },
            SizeBlockingArgs { __self: self },
            |__cw_args| size_entry(
                __cw_args,
                |__cw_0| ::co_wrapper::__private::IntoFuture::into_future(
                    Self::size(__cw_0),
                ),
            ),
        )
    }
    fn flush<'life0, 'life1, 'async_trait>(
        &'life0 self,
        how: &'life1 (impl 'async_trait + Flush),
    ) -> ::core::pin::Pin<
        Box<
            dyn ::core::future::Future<Output = ()> + ::core::marker::Send + 'async_trait,
        >,
    >
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: ::core::marker::Sync + 'async_trait,
    {
        Box::pin(async move { how.flush(&self.0).await })
    }
    /// Blocking twin of [`flush`](Self::flush). Panics in coroutine context.
    #[allow(dead_code, clippy::trivially_copy_pass_by_ref)]
    #[track_caller]
    fn flush_blocking(&self, how: &(impl Flush))
    where
        Self: ::core::marker::Sync,
    {
        /// The packed arguments of [`flush_blocking`].
        struct FlushBlockingArgs<A0, A1> {
            __self: A0,
            how: A1,
        }
        /// Unpacks the arguments and makes the future. Runs where the future is polled.
        fn flush_entry<A0, A1, Fut>(
            __cw_args: FlushBlockingArgs<A0, A1>,
            __cw_co: impl ::co_wrapper::__private::FnOnce(A0, A1) -> Fut,
        ) -> Fut {
            __cw_co(__cw_args.__self, __cw_args.how)
        }
        ::co_wrapper::__private::poll_co(
            &::co_wrapper::__private::Wrapper {
                name: "flush_blocking",
                target: "flush",
                mixed: false,
            },
            FlushBlockingArgs {
                __self: self,
                how,
            },
            |__cw_args| flush_entry(
                __cw_args,
                |__cw_0, __cw_1| Self::flush(__cw_0, __cw_1),
            ),
        )
    }
}
