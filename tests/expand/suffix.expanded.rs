// Generated from the file beside this one: `UPDATE_EXPECT=1 cargo test -p co-wrapper-macros --lib`.

impl Pool {
    pub async fn read(&self) {
        self.0.read().await
    }
    /// Blocking twin of [`read`](Self::read). May be called in coroutine context.
    #[allow(unreachable_pub, dead_code, clippy::trivially_copy_pass_by_ref)]
    #[track_caller]
    pub fn read_blocking(&self) {
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
                mixed: true,
            },
            ReadBlockingArgs { __self: self },
            |__cw_args| read_entry(__cw_args, |__cw_0| Self::read(__cw_0)),
        )
    }
    pub async fn write(&self) {
        self.0.write().await
    }
    /// Blocking twin of [`write`](Self::write). May be called in coroutine context.
    #[allow(unreachable_pub, clippy::trivially_copy_pass_by_ref)]
    #[track_caller]
    pub fn store(&self) {
        /// The packed arguments of [`store`].
        struct StoreArgs<A0> {
            __self: A0,
        }
        /// Unpacks the arguments and makes the future. Runs where the future is polled.
        fn write_entry<A0, Fut>(
            __cw_args: StoreArgs<A0>,
            __cw_co: impl ::co_wrapper::__private::FnOnce(A0) -> Fut,
        ) -> Fut {
            __cw_co(__cw_args.__self)
        }
        ::co_wrapper::__private::poll_co(
            &::co_wrapper::__private::Wrapper {
                name: "store",
                target: "write",
                mixed: true,
            },
            StoreArgs { __self: self },
            |__cw_args| write_entry(__cw_args, |__cw_0| Self::write(__cw_0)),
        )
    }
    pub async fn trim(&self) {}
    pub fn len(&self) -> usize {
        0
    }
}
