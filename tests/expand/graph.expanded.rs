// Generated from the file beside this one: `UPDATE_EXPECT=1 cargo test -p co-wrapper-macros --lib`.

impl Disk {
    /// The size in bytes.
    pub async fn co_size<'g>(
        &self,
        graph: &'g GraphRead,
        exact: bool,
    ) -> io::Result<u64> {
        self.0.size(graph, exact).await
    }
    /// Blocking twin of [`co_size`](Self::co_size). Holds the graph's read lock meanwhile. May be called in coroutine context that holds it already.
    ///
    /// The size in bytes.
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
    pub fn size(&self, exact: bool) -> io::Result<u64> {
        let __cw_lock = ::co_wrapper::__private::read_lock_mixed("size", &self.graph);
        {
            /// The packed arguments of [`size`].
            struct SizeArgs<A0, A1, A2> {
                __self: A0,
                exact: A1,
                __cw_lock: A2,
            }
            /// Unpacks the arguments and makes the future. Runs where the future is polled.
            fn co_size_entry<A0, A1, A2, Fut>(
                __cw_args: SizeArgs<A0, A1, A2>,
                __cw_co: impl ::co_wrapper::__private::FnOnce(A0, A1, A2) -> Fut,
            ) -> Fut {
                __cw_co(__cw_args.__self, __cw_args.exact, __cw_args.__cw_lock)
            }
            ::co_wrapper::__private::poll_co(
                &::co_wrapper::__private::Wrapper {
                    name: "size",
                    target: "co_size",
                    mixed: true,
                },
                SizeArgs {
                    __self: self,
                    exact,
                    __cw_lock,
                },
                |__cw_args| co_size_entry(
                    __cw_args,
                    |__cw_0, __cw_2, __cw_lock| async move {
                        let __cw_guard = __cw_lock.read().await;
                        Self::co_size(__cw_0, &__cw_guard, __cw_2).await
                    },
                ),
            )
        }
    }
    async unsafe fn co_flush(&self) {}
    /// Blocking twin of [`co_flush`](Self::co_flush). Holds the graph's read lock meanwhile. Panics in coroutine context.
    #[allow(clippy::trivially_copy_pass_by_ref)]
    #[track_caller]
    unsafe fn flush(&self) {
        let __cw_ctx = <::co_wrapper::__private::AioContext as ::co_wrapper::__private::Clone>::clone(
            &self.ctx,
        );
        let __cw_lock = ::co_wrapper::__private::read_lock(
            "flush",
            &::co_wrapper::__private::GRAPH,
        );
        {
            /// The packed arguments of [`flush`].
            struct FlushArgs<A0, A1> {
                __self: ::co_wrapper::__private::Sent<A0>,
                __cw_lock: ::co_wrapper::__private::Sent<A1>,
            }
            /// Unpacks the arguments and makes the future. Runs where the future is polled.
            fn co_flush_entry<A0, A1, Fut>(
                __cw_args: FlushArgs<A0, A1>,
                __cw_co: impl ::co_wrapper::__private::FnOnce(A0, A1) -> Fut,
            ) -> Fut {
                __cw_co(__cw_args.__self.into_inner(), __cw_args.__cw_lock.into_inner())
            }
            ::co_wrapper::__private::poll_co_in(
                &::co_wrapper::__private::Wrapper {
                    name: "flush",
                    target: "co_flush",
                    mixed: false,
                },
                &__cw_ctx,
                FlushArgs {
                    __self: ::co_wrapper::__private::sent_to_ctx(self),
                    __cw_lock: ::co_wrapper::__private::sent_to_ctx(__cw_lock),
                },
                |__cw_args| co_flush_entry(
                    __cw_args,
                    |__cw_0, __cw_lock| async move {
                        let __cw_guard = __cw_lock.read().await;
                        unsafe { Self::co_flush(__cw_0).await }
                    },
                ),
            )
        }
    }
}
/// Opens it.
fn bdrv_open(filename: &str, flags: i32) -> io::Result<Node> {
    Node::new(filename, flags)
}
/// Async twin of `bdrv_open`. Runs it as a bottom half of the main context.
///
/// Opens it.
#[allow(clippy::implicit_return)]
#[track_caller]
pub(crate) fn bdrv_co_open(
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
trait Graph {
    fn detach(&self, child: &Child, graph: &GraphWrite);
    /// Async twin of [`detach`](Self::detach). Runs it as a bottom half of the main context, with the graph's write lock held.
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
            + 'static,
    {
        /// The packed arguments of [`co_detach`], owned.
        struct CoDetachArgs<A0, A1> {
            __self: A0,
            child: A1,
        }
        /// Unpacks the arguments and calls the fn. Runs as a bottom half of the main context.
        fn detach_bh<A0, A1, R>(
            __cw_args: CoDetachArgs<A0, A1>,
            __cw_call: impl ::co_wrapper::__private::FnOnce(A0, A1) -> R,
        ) -> R {
            __cw_call(__cw_args.__self, __cw_args.child)
        }
        ::co_wrapper::__private::no_co_write(
            &::co_wrapper::__private::Wrapper {
                name: "co_detach",
                target: "detach",
                mixed: false,
            },
            <::co_wrapper::__private::GraphLock as ::co_wrapper::__private::Clone>::clone(
                &::co_wrapper::__private::GRAPH,
            ),
            CoDetachArgs {
                __self: ::co_wrapper::__private::owned(&*self),
                child: ::co_wrapper::__private::owned(&*child),
            },
            |__cw_args, __cw_guard| detach_bh(
                __cw_args,
                |__cw_0, __cw_1| ::co_wrapper::__private::arg(
                    <Self as Graph>::detach(__cw_0.get(), __cw_1.get(), __cw_guard),
                ),
            ),
        )
    }
}
