// Generated from the file beside this one: `UPDATE_EXPECT=1 cargo test -p co-wrapper-macros --lib`.

/// Blocking twin of [`bdrv_co_flush`](fn@bdrv_co_flush). Panics in coroutine context.
#[allow(clippy::trivially_copy_pass_by_ref)]
#[track_caller]
fn bdrv_flush(bs: &Bds) {
    /// The packed arguments of [`bdrv_flush`].
    struct BdrvFlushArgs<A0> {
        bs: A0,
    }
    /// Unpacks the arguments and makes the future. Runs where the future is polled.
    fn bdrv_co_flush_entry<A0, Fut>(
        __cw_args: BdrvFlushArgs<A0>,
        __cw_co: impl ::co_wrapper::__private::FnOnce(A0) -> Fut,
    ) -> Fut {
        __cw_co(__cw_args.bs)
    }
    ::co_wrapper::__private::poll_co(
        &::co_wrapper::__private::Wrapper {
            name: "bdrv_flush",
            target: "bdrv_co_flush",
            mixed: false,
        },
        BdrvFlushArgs { bs },
        |__cw_args| bdrv_co_flush_entry(__cw_args, |__cw_0| bdrv_co_flush(__cw_0)),
    )
}
trait DiskNow {
    /// Blocking twin of [`read`](Disk::read). Panics in coroutine context.
    #[track_caller]
    fn read_now(&self);
}
impl DiskNow for Disk {
    fn read_now(&self) {
        /// The packed arguments of [`read_now`].
        struct ReadNowArgs<A0> {
            __self: A0,
        }
        /// Unpacks the arguments and makes the future. Runs where the future is polled.
        fn read_entry<A0, Fut>(
            __cw_args: ReadNowArgs<A0>,
            __cw_co: impl ::co_wrapper::__private::FnOnce(A0) -> Fut,
        ) -> Fut {
            __cw_co(__cw_args.__self)
        }
        ::co_wrapper::__private::poll_co(
            &::co_wrapper::__private::Wrapper {
                name: "read_now",
                target: "read",
                mixed: false,
            },
            ReadNowArgs { __self: self },
            |__cw_args| read_entry(__cw_args, |__cw_0| Self::read(__cw_0)),
        )
    }
}
::core::compile_error! {
    "expected `:`"
}
::core::compile_error! {
    "no async fn after this `=`; name it, or remove the `=`"
}
::core::compile_error! {
    "no async fn after this `=`; name it, or remove the `=`"
}
::core::compile_error! {
    "a declaration ends in `;`; put one after this"
}
