// Generated from the file beside this one: `UPDATE_EXPECT=1 cargo test -p co-wrapper-macros --lib`.

impl BlockDev {
    pub async fn bdrv_co_read(&self, off: u64) -> io::Result<()> {
        half_typed! {
            let x = self.; if x. { foo(off,,) }
        }
    }
    /// Blocking twin of [`bdrv_co_read`](Self::bdrv_co_read). Panics in coroutine context.
    #[allow(
        clippy::implicit_return,
        unreachable_pub,
        clippy::must_use_candidate,
        clippy::return_self_not_must_use,
        clippy::missing_errors_doc,
        clippy::result_unit_err,
        clippy::result_large_err,
        clippy::type_complexity,
        clippy::trivially_copy_pass_by_ref
    )]
    #[track_caller]
    pub fn bdrv_read(&self, off: u64) -> io::Result<()> {
        /// The packed arguments of [`bdrv_read`].
        struct BdrvReadArgs<A0, A1> {
            __self: A0,
            off: A1,
        }
        /// Unpacks the arguments and makes the future. Runs where the future is polled.
        fn bdrv_co_read_entry<A0, A1, Fut>(
            __cw_args: BdrvReadArgs<A0, A1>,
            __cw_co: impl ::co_wrapper::__private::FnOnce(A0, A1) -> Fut,
        ) -> Fut {
            __cw_co(__cw_args.__self, __cw_args.off)
        }
        ::co_wrapper::__private::poll_co(
            &::co_wrapper::__private::Wrapper {
                name: "bdrv_read",
                target: "bdrv_co_read",
                mixed: false,
            },
            BdrvReadArgs { __self: self, off },
            |__cw_args| bdrv_co_read_entry(
                __cw_args,
                |__cw_0, __cw_1| Self::bdrv_co_read(__cw_0, __cw_1),
            ),
        )
    }
}
