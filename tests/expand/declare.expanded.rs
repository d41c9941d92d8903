// Generated from the file beside this one: `UPDATE_EXPECT=1 cargo test -p co-wrapper-macros --lib`.

/// Blocking twin of [`bdrv_co_pread`](fn@bdrv_co_pread). May be called in coroutine context.
#[allow(
    clippy::implicit_return,
    clippy::must_use_candidate,
    clippy::missing_errors_doc,
    clippy::result_unit_err,
    clippy::result_large_err,
    clippy::trivially_copy_pass_by_ref
)]
#[track_caller]
pub fn bdrv_pread(
    child: &BdrvChild,
    offset: i64,
    bytes: i64,
    buf: &mut [u8],
) -> io::Result<i32> {
    /// The packed arguments of [`bdrv_pread`].
    struct BdrvPreadArgs<A0, A1, A2, A3> {
        child: A0,
        offset: A1,
        bytes: A2,
        buf: A3,
    }
    /// Unpacks the arguments and makes the future. Runs where the future is polled.
    fn bdrv_co_pread_entry<A0, A1, A2, A3, Fut>(
        __cw_args: BdrvPreadArgs<A0, A1, A2, A3>,
        __cw_co: impl ::co_wrapper::__private::FnOnce(A0, A1, A2, A3) -> Fut,
    ) -> Fut {
        __cw_co(__cw_args.child, __cw_args.offset, __cw_args.bytes, __cw_args.buf)
    }
    ::co_wrapper::__private::poll_co(
        &::co_wrapper::__private::Wrapper {
            name: "bdrv_pread",
            target: "bdrv_co_pread",
            mixed: true,
        },
        BdrvPreadArgs {
            child,
            offset,
            bytes,
            buf,
        },
        |__cw_args| bdrv_co_pread_entry(
            __cw_args,
            |__cw_0, __cw_1, __cw_2, __cw_3| bdrv_co_pread(
                __cw_0,
                __cw_1,
                __cw_2,
                __cw_3,
            ),
        ),
    )
}
/// Blocking twin of [`open`](fn@block::Blk::open). Panics in coroutine context.
#[allow(
    clippy::implicit_return,
    clippy::must_use_candidate,
    clippy::missing_errors_doc,
    clippy::result_unit_err,
    clippy::result_large_err
)]
#[track_caller]
pub(crate) fn blk_create<S: Storage>(storage: S) -> Blk<S> {
    /// The packed arguments of [`blk_create`].
    struct BlkCreateArgs<A0> {
        storage: A0,
    }
    /// Unpacks the arguments and makes the future. Runs where the future is polled.
    fn open_entry<A0, Fut>(
        __cw_args: BlkCreateArgs<A0>,
        __cw_co: impl ::co_wrapper::__private::FnOnce(A0) -> Fut,
    ) -> Fut {
        __cw_co(__cw_args.storage)
    }
    ::co_wrapper::__private::poll_co(
        &::co_wrapper::__private::Wrapper {
            name: "blk_create",
            target: "open",
            mixed: false,
        },
        BlkCreateArgs { storage },
        |__cw_args| open_entry(__cw_args, |__cw_0| block::Blk::<S>::open(__cw_0)),
    )
}
/// The blocking half.
pub trait DiskNow<S: Storage>
where
    S: Debug,
{
    /// Blocking twin of [`read`](Disk::read). Panics in coroutine context.
    ///
    /// Reads.
    #[must_use]
    #[allow(
        clippy::double_must_use,
        clippy::implicit_return,
        clippy::missing_errors_doc,
        clippy::result_unit_err,
        clippy::result_large_err
    )]
    #[track_caller]
    fn read_now(&self, off: u64) -> io::Result<&S>;
    /// Blocking twin of [`discard_unsafe`](Disk::discard_unsafe). Panics in coroutine context.
    #[cfg(unix)]
    #[track_caller]
    unsafe fn discard<const N: usize>(&mut self, off: [u64; N]);
}
impl<S: Storage> DiskNow<S> for Disk<S>
where
    S: Debug,
{
    #[allow(
        clippy::double_must_use,
        clippy::implicit_return,
        clippy::missing_errors_doc,
        clippy::result_unit_err,
        clippy::result_large_err
    )]
    fn read_now(&self, off: u64) -> io::Result<&S> {
        /// The packed arguments of [`read_now`].
        struct ReadNowArgs<A0, A1> {
            __self: A0,
            off: A1,
        }
        /// Unpacks the arguments and makes the future. Runs where the future is polled.
        fn read_entry<A0, A1, Fut>(
            __cw_args: ReadNowArgs<A0, A1>,
            __cw_co: impl ::co_wrapper::__private::FnOnce(A0, A1) -> Fut,
        ) -> Fut {
            __cw_co(__cw_args.__self, __cw_args.off)
        }
        ::co_wrapper::__private::poll_co(
            &::co_wrapper::__private::Wrapper {
                name: "read_now",
                target: "read",
                mixed: false,
            },
            ReadNowArgs { __self: self, off },
            |__cw_args| read_entry(
                __cw_args,
                |__cw_0, __cw_1| Self::read(__cw_0, __cw_1),
            ),
        )
    }
    #[cfg(unix)]
    unsafe fn discard<const N: usize>(&mut self, off: [u64; N]) {
        /// The packed arguments of [`discard`].
        struct DiscardArgs<A0, A1> {
            __self: A0,
            off: A1,
        }
        /// Unpacks the arguments and makes the future. Runs where the future is polled.
        fn discard_unsafe_entry<A0, A1, Fut>(
            __cw_args: DiscardArgs<A0, A1>,
            __cw_co: impl ::co_wrapper::__private::FnOnce(A0, A1) -> Fut,
        ) -> Fut {
            __cw_co(__cw_args.__self, __cw_args.off)
        }
        ::co_wrapper::__private::poll_co(
            &::co_wrapper::__private::Wrapper {
                name: "discard",
                target: "discard_unsafe",
                mixed: false,
            },
            DiscardArgs { __self: self, off },
            |__cw_args| discard_unsafe_entry(
                __cw_args,
                |__cw_0, __cw_1| unsafe { Self::discard_unsafe::<N>(__cw_0, __cw_1) },
            ),
        )
    }
}
/// Async twin of [`bdrv_open`](fn@bdrv_open). Runs it as a bottom half of the main context.
#[allow(clippy::implicit_return)]
#[track_caller]
pub fn bdrv_co_open(
    filename: &str,
    flags: i32,
) -> impl ::co_wrapper::__private::Future<
    Output = io::Result<Node>,
> + ::co_wrapper::__private::Send + 'static {
    /// The packed arguments of [`bdrv_co_open`], owned.
    struct BdrvCoOpenArgs<A0, A1> {
        filename: A0,
        flags: A1,
    }
    /// Unpacks the arguments and calls the fn. Runs as a bottom half of the main context.
    fn bdrv_open_bh<A0, A1, R>(
        __cw_args: BdrvCoOpenArgs<A0, A1>,
        __cw_call: impl ::co_wrapper::__private::FnOnce(A0, A1) -> R,
    ) -> R {
        __cw_call(__cw_args.filename, __cw_args.flags)
    }
    ::co_wrapper::__private::no_co(
        &::co_wrapper::__private::Wrapper {
            name: "bdrv_co_open",
            target: "bdrv_open",
            mixed: false,
        },
        BdrvCoOpenArgs {
            filename: ::co_wrapper::__private::owned(&*filename),
            flags: ::co_wrapper::__private::arg(flags),
        },
        |__cw_args| bdrv_open_bh(
            __cw_args,
            |__cw_0, __cw_1| ::co_wrapper::__private::arg(
                bdrv_open(__cw_0.get(), __cw_1.into_inner()),
            ),
        ),
    )
}
trait NodeTwins {
    /// Async twin of [`detach_child`](Node::detach_child). Runs it as a bottom half of the main context, with the graph's write lock held.
    ///
    /// Takes it off.
    #[allow(clippy::implicit_return)]
    #[track_caller]
    fn co_detach(
        &self,
        child: &Child,
    ) -> impl ::co_wrapper::__private::Future<
        Output = (),
    > + ::co_wrapper::__private::Send + 'static
    where
        Self: Sized + ::co_wrapper::__private::Clone + ::co_wrapper::__private::Send
            + 'static;
}
impl NodeTwins for Node {
    #[allow(clippy::implicit_return)]
    fn co_detach(
        &self,
        child: &Child,
    ) -> impl ::co_wrapper::__private::Future<
        Output = (),
    > + ::co_wrapper::__private::Send + 'static
    where
        Self: Sized + ::co_wrapper::__private::Clone + ::co_wrapper::__private::Send
            + 'static,
    {
        /// The packed arguments of [`co_detach`], owned.
        struct CoDetachArgs<A0, A1> {
            __self: A0,
            child: A1,
        }
        /// Unpacks the arguments and calls the fn. Runs as a bottom half of the main context.
        fn detach_child_bh<A0, A1, R>(
            __cw_args: CoDetachArgs<A0, A1>,
            __cw_call: impl ::co_wrapper::__private::FnOnce(A0, A1) -> R,
        ) -> R {
            __cw_call(__cw_args.__self, __cw_args.child)
        }
        ::co_wrapper::__private::no_co_write(
            &::co_wrapper::__private::Wrapper {
                name: "co_detach",
                target: "detach_child",
                mixed: false,
            },
            <::co_wrapper::__private::GraphLock as ::co_wrapper::__private::Clone>::clone(
                &::co_wrapper::__private::GRAPH,
            ),
            CoDetachArgs {
                __self: ::co_wrapper::__private::owned(&*self),
                child: ::co_wrapper::__private::owned(&*child),
            },
            |__cw_args, __cw_guard| detach_child_bh(
                __cw_args,
                |__cw_0, __cw_1| ::co_wrapper::__private::arg(
                    Self::detach_child(__cw_0.get(), __cw_1.get(), __cw_guard),
                ),
            ),
        )
    }
}
