// Generated from the file beside this one: `UPDATE_EXPECT=1 cargo test -p co-wrapper-macros --lib`.

/// A node of the graph.
pub trait Node<S>: Send
where
    S: Storage,
{
    /// Reads.
    async fn read(&self, storage: &S, off: u64) -> io::Result<Vec<u8>>;
    async fn open(name: &str) -> Self;
}
/// The blocking twins of [`Node`](trait@Node), for each type that has it, and for `dyn`.
pub trait BlockingNode<S>: Send
where
    S: Storage,
{
    /// Blocking twin of [`read`](Node::read). Panics in coroutine context.
    ///
    /// Reads.
    #[allow(
        clippy::implicit_return,
        dead_code,
        clippy::must_use_candidate,
        clippy::return_self_not_must_use,
        clippy::missing_errors_doc,
        clippy::result_unit_err,
        clippy::result_large_err,
        clippy::type_complexity,
        clippy::trivially_copy_pass_by_ref
    )]
    #[track_caller]
    fn read(&self, storage: &S, off: u64) -> io::Result<Vec<u8>>;
}
impl<S, T: Node<S> + ?Sized> BlockingNode<S> for T
where
    S: Storage,
    T: Send,
{
    #[allow(
        clippy::implicit_return,
        dead_code,
        clippy::must_use_candidate,
        clippy::return_self_not_must_use,
        clippy::missing_errors_doc,
        clippy::result_unit_err,
        clippy::result_large_err,
        clippy::type_complexity,
        clippy::trivially_copy_pass_by_ref
    )]
    fn read(&self, storage: &S, off: u64) -> io::Result<Vec<u8>> {
        /// The packed arguments of [`read`].
        struct ReadArgs<A0, A1, A2> {
            __self: A0,
            storage: A1,
            off: A2,
        }
        /// Unpacks the arguments and makes the future. Runs where the future is polled.
        fn read_entry<A0, A1, A2, Fut>(
            __cw_args: ReadArgs<A0, A1, A2>,
            __cw_co: impl ::co_wrapper::__private::FnOnce(A0, A1, A2) -> Fut,
        ) -> Fut {
            __cw_co(__cw_args.__self, __cw_args.storage, __cw_args.off)
        }
        ::co_wrapper::__private::poll_co(
            &::co_wrapper::__private::Wrapper {
                name: "BlockingNode::read",
                target: "Node::read",
                mixed: false,
            },
            ReadArgs {
                __self: self,
                storage,
                off,
            },
            |__cw_args| read_entry(
                __cw_args,
                |__cw_0, __cw_1, __cw_2| <Self as Node<S>>::read(__cw_0, __cw_1, __cw_2),
            ),
        )
    }
}
