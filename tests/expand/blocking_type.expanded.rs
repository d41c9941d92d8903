// Generated from the file beside this one: `UPDATE_EXPECT=1 cargo test -p co-wrapper-macros --lib`.

impl<S: Storage> Disk<S> {
    /// Opens it.
    pub async fn open(storage: S) -> io::Result<Self> {
        Ok(Disk {
            storage: storage.open().await?,
        })
    }
    pub async fn is_same(&self, other: &Self) -> bool {
        self.storage.id().await == other.storage.id().await
    }
    pub async fn internal(&self) {}
    pub fn len(&self) -> usize {
        0
    }
}
impl<S: Storage> blocking::Disk<S> {
    /// Blocking twin of [`open`](Disk::open). Panics in coroutine context.
    ///
    /// Opens it.
    #[allow(
        clippy::implicit_return,
        unreachable_pub,
        dead_code,
        clippy::must_use_candidate,
        clippy::missing_errors_doc,
        clippy::result_unit_err,
        clippy::result_large_err
    )]
    #[track_caller]
    pub fn open(storage: S) -> io::Result<Self> {
        /// The packed arguments of [`open`].
        struct OpenArgs<A0> {
            storage: A0,
        }
        /// Unpacks the arguments and makes the future. Runs where the future is polled.
        fn open_entry<A0, Fut>(
            __cw_args: OpenArgs<A0>,
            __cw_co: impl ::co_wrapper::__private::FnOnce(A0) -> Fut,
        ) -> Fut {
            __cw_co(__cw_args.storage)
        }
        ::co_wrapper::__private::poll_co(
                &::co_wrapper::__private::Wrapper {
                    name: "blocking::Disk::open",
                    target: "Disk::open",
                    mixed: false,
                },
                OpenArgs { storage },
                |__cw_args| open_entry(__cw_args, |__cw_0| <Disk<S>>::open(__cw_0)),
            )
            .map(<Self as ::co_wrapper::__private::From<_>>::from)
    }
    /// Blocking twin of [`is_same`](Disk::is_same). Panics in coroutine context.
    #[allow(
        clippy::implicit_return,
        unreachable_pub,
        dead_code,
        clippy::must_use_candidate,
        clippy::return_self_not_must_use,
        clippy::trivially_copy_pass_by_ref
    )]
    #[track_caller]
    pub fn is_same(&self, other: &Self) -> bool {
        let __cw_ctx = <::co_wrapper::__private::AioContext as ::co_wrapper::__private::Clone>::clone(
            &<Self as ::co_wrapper::Blocking>::as_async(self).ctx,
        );
        {
            /// The packed arguments of [`is_same`].
            struct IsSameArgs<A0, A1> {
                __self: ::co_wrapper::__private::Sent<A0>,
                other: ::co_wrapper::__private::Sent<A1>,
            }
            /// Unpacks the arguments and makes the future. Runs where the future is polled.
            fn is_same_entry<A0, A1, Fut>(
                __cw_args: IsSameArgs<A0, A1>,
                __cw_co: impl ::co_wrapper::__private::FnOnce(A0, A1) -> Fut,
            ) -> Fut {
                __cw_co(__cw_args.__self.into_inner(), __cw_args.other.into_inner())
            }
            ::co_wrapper::__private::poll_co_in(
                &::co_wrapper::__private::Wrapper {
                    name: "blocking::Disk::is_same",
                    target: "Disk::is_same",
                    mixed: false,
                },
                &__cw_ctx,
                IsSameArgs {
                    __self: ::co_wrapper::__private::sent_to_ctx(
                        <Self as ::co_wrapper::Blocking>::as_async(self),
                    ),
                    other: ::co_wrapper::__private::sent_to_ctx(
                        <Self as ::co_wrapper::Blocking>::as_async(other),
                    ),
                },
                |__cw_args| is_same_entry(
                    __cw_args,
                    |__cw_0, __cw_1| <Disk<S>>::is_same(__cw_0, __cw_1),
                ),
            )
        }
    }
}
