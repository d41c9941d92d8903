// Generated from the file beside this one: `UPDATE_EXPECT=1 cargo test -p co-wrapper-macros --lib`.

impl BlockDev {
    pub async fn read(&self) -> [u8; { 4 }] {
        half_typed! {
            self.
        }
    }
    /// Blocking twin of [`read`](Self::read). Panics in coroutine context.
    #[allow(
        clippy::implicit_return,
        unreachable_pub,
        dead_code,
        clippy::must_use_candidate,
        clippy::return_self_not_must_use,
        clippy::type_complexity,
        clippy::trivially_copy_pass_by_ref
    )]
    #[track_caller]
    pub fn read_blocking(&self) -> [u8; { 4 }] {
        /// The packed arguments of [`read_blocking`].
        struct ReadBlockingArgs<A0> {
            __self: A0,
        }
        /// Unpacks the arguments and makes the future. Runs where the future is polled.
        fn read_entry<A0, Fut>(
            __cw_args: ReadBlockingArgs<A0>,
            __cw_co: impl ::co_wrapper::__private::FnOnce(A0) -> Fut,
        ) -> Fut {
            __cw_co(__cw_args.__self)
        }
        ::co_wrapper::__private::poll_co(
            &::co_wrapper::__private::Wrapper {
                name: "read_blocking",
                target: "read",
                mixed: false,
            },
            ReadBlockingArgs { __self: self },
            |__cw_args| read_entry(__cw_args, |__cw_0| Self::read(__cw_0)),
        )
    }
    const N: usize = { 1 };
    some_macro!(a b c);
    pub async fn write(&self) -> Wide<4> {
        half_typed! {
            match
        }
    }
    /// Blocking twin of [`write`](Self::write). Panics in coroutine context.
    #[allow(
        clippy::implicit_return,
        unreachable_pub,
        dead_code,
        clippy::must_use_candidate,
        clippy::return_self_not_must_use,
        clippy::missing_errors_doc,
        clippy::result_unit_err,
        clippy::result_large_err,
        clippy::trivially_copy_pass_by_ref
    )]
    #[track_caller]
    pub fn write_blocking(&self) -> Wide<4> {
        /// The packed arguments of [`write_blocking`].
        struct WriteBlockingArgs<A0> {
            __self: A0,
        }
        /// Unpacks the arguments and makes the future. Runs where the future is polled.
        fn write_entry<A0, Fut>(
            __cw_args: WriteBlockingArgs<A0>,
            __cw_co: impl ::co_wrapper::__private::FnOnce(A0) -> Fut,
        ) -> Fut {
            __cw_co(__cw_args.__self)
        }
        ::co_wrapper::__private::poll_co(
            &::co_wrapper::__private::Wrapper {
                name: "write_blocking",
                target: "write",
                mixed: false,
            },
            WriteBlockingArgs { __self: self },
            |__cw_args| write_entry(__cw_args, |__cw_0| Self::write(__cw_0)),
        )
    }
}
