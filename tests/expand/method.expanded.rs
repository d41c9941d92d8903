// Generated from the file beside this one: `UPDATE_EXPECT=1 cargo test -p co-wrapper-macros --lib`.

impl<T> BlockDev<T> {
    #[must_use]
    #[inline]
    pub(crate) async fn bdrv_co_read(
        &self,
        mut off: u64,
        (a, _): (u8, u8),
        _: u8,
    ) -> io::Result<&T> {
        off += 1;
        self.read(off, a).await
    }
    /// Blocking twin of [`bdrv_co_read`](Self::bdrv_co_read). May be called in coroutine context.
    #[must_use]
    #[allow(
        clippy::double_must_use,
        clippy::implicit_return,
        clippy::missing_errors_doc,
        clippy::result_unit_err,
        clippy::result_large_err,
        clippy::trivially_copy_pass_by_ref
    )]
    #[track_caller]
    pub(crate) fn bdrv_read(
        &self,
        off: u64,
        __cw_arg: (u8, u8),
        __cw_arg1: u8,
    ) -> io::Result<&T> {
        /// The packed arguments of [`bdrv_read`].
        struct BdrvReadArgs<A0, A1, A2, A3> {
            __self: A0,
            off: A1,
            __cw_arg: A2,
            __cw_arg1: A3,
        }
        /// Unpacks the arguments and makes the future. Runs where the future is polled.
        fn bdrv_co_read_entry<A0, A1, A2, A3, Fut>(
            __cw_args: BdrvReadArgs<A0, A1, A2, A3>,
            __cw_co: impl ::co_wrapper::__private::FnOnce(A0, A1, A2, A3) -> Fut,
        ) -> Fut {
            __cw_co(
                __cw_args.__self,
                __cw_args.off,
                __cw_args.__cw_arg,
                __cw_args.__cw_arg1,
            )
        }
        ::co_wrapper::__private::poll_co(
            &::co_wrapper::__private::Wrapper {
                name: "bdrv_read",
                target: "bdrv_co_read",
                mixed: true,
            },
            BdrvReadArgs {
                __self: self,
                off,
                __cw_arg,
                __cw_arg1,
            },
            |__cw_args| bdrv_co_read_entry(
                __cw_args,
                |__cw_0, __cw_1, __cw_2, __cw_3| Self::bdrv_co_read(
                    __cw_0,
                    __cw_1,
                    __cw_2,
                    __cw_3,
                ),
            ),
        )
    }
}
