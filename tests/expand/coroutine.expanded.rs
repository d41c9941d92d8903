// Generated from the file beside this one: `UPDATE_EXPECT=1 cargo test -p co-wrapper-macros --lib`.

impl Image {
    /// Checks the image, with code that blocks.
    pub fn bdrv_check(&self, fix: &str, pass: u32) -> io::Result<CheckResult> {
        self.walk(fix, pass)
    }
    /// Async twin of [`bdrv_check`](Self::bdrv_check). Runs it as a coroutine where it is awaited.
    ///
    /// Checks the image, with code that blocks.
    #[allow(clippy::implicit_return, unreachable_pub)]
    #[track_caller]
    pub fn bdrv_co_check(
        &self,
        fix: &str,
        pass: u32,
    ) -> impl ::co_wrapper::__private::Future<
        Output = io::Result<CheckResult>,
    > + 'static {
        /// The packed arguments of [`bdrv_co_check`], owned.
        struct BdrvCoCheckArgs<A0, A1, A2> {
            __self: A0,
            fix: A1,
            pass: A2,
        }
        /// Unpacks the arguments and calls the fn. Runs as a coroutine.
        fn bdrv_check_bh<A0, A1, A2, R>(
            __cw_args: BdrvCoCheckArgs<A0, A1, A2>,
            __cw_call: impl ::co_wrapper::__private::FnOnce(A0, A1, A2) -> R,
        ) -> R {
            __cw_call(__cw_args.__self, __cw_args.fix, __cw_args.pass)
        }
        ::co_wrapper::__private::as_coroutine(
            &::co_wrapper::__private::Wrapper {
                name: "bdrv_co_check",
                target: "bdrv_check",
                mixed: false,
            },
            unsafe { ::co_wrapper::__private::promise() },
            BdrvCoCheckArgs {
                __self: ::co_wrapper::__private::owned_here(&*self),
                fix: ::co_wrapper::__private::owned_here(&*fix),
                pass,
            },
            |__cw_args| bdrv_check_bh(
                __cw_args,
                |__cw_0, __cw_1, __cw_2| Self::bdrv_check(
                    __cw_0.get(),
                    __cw_1.get(),
                    __cw_2,
                ),
            ),
        )
    }
}
unsafe fn blocking_read_dir(fs: Fs) {}
/// Async twin of [`blocking_read_dir`](fn@blocking_read_dir). Runs it as a coroutine where it is awaited.
#[allow(clippy::implicit_return)]
#[track_caller]
unsafe fn read_dir(
    fs: Fs,
) -> impl ::co_wrapper::__private::Future<Output = ()> + 'static {
    /// The packed arguments of [`read_dir`], owned.
    struct ReadDirArgs<A0> {
        fs: A0,
    }
    /// Unpacks the arguments and calls the fn. Runs as a coroutine.
    fn blocking_read_dir_bh<A0, R>(
        __cw_args: ReadDirArgs<A0>,
        __cw_call: impl ::co_wrapper::__private::FnOnce(A0) -> R,
    ) -> R {
        __cw_call(__cw_args.fs)
    }
    ::co_wrapper::__private::as_coroutine(
        &::co_wrapper::__private::Wrapper {
            name: "read_dir",
            target: "blocking_read_dir",
            mixed: false,
        },
        unsafe { ::co_wrapper::__private::promise() },
        ReadDirArgs { fs },
        |__cw_args| blocking_read_dir_bh(
            __cw_args,
            |__cw_0| unsafe { blocking_read_dir(__cw_0) },
        ),
    )
}
