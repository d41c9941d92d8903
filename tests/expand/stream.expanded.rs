// Generated from the file beside this one: `UPDATE_EXPECT=1 cargo test -p co-wrapper-macros --lib`.

impl Disk {
    /// Lists the extents.
    pub fn co_extents(&self) -> impl Stream<Item = io::Result<Extent>> + Send + '_ {
        self.map.extents()
    }
    /// Blocking twin of [`co_extents`](Self::co_extents). Panics in coroutine context.
    ///
    /// Lists the extents.
    #[allow(
        clippy::implicit_return,
        unreachable_pub,
        clippy::must_use_candidate,
        clippy::return_self_not_must_use,
        clippy::type_complexity,
        clippy::borrowed_box,
        clippy::box_collection,
        clippy::redundant_allocation,
        clippy::unnecessary_box_returns,
        clippy::vec_box,
        clippy::trivially_copy_pass_by_ref
    )]
    #[track_caller]
    pub fn extents(
        &self,
    ) -> ::co_wrapper::blocking::Iter<
        ::co_wrapper::__private::Pin<
            ::co_wrapper::__private::Box<
                impl Stream<Item = io::Result<Extent>> + Send + '_,
            >,
        >,
    > {
        /// The packed arguments of [`extents`].
        struct ExtentsArgs<A0> {
            __self: A0,
        }
        /// Unpacks the arguments and makes the future. Runs where the future is polled.
        fn co_extents_entry<A0, Fut>(
            __cw_args: ExtentsArgs<A0>,
            __cw_co: impl ::co_wrapper::__private::FnOnce(A0) -> Fut,
        ) -> Fut {
            __cw_co(__cw_args.__self)
        }
        let __cw_site = ::co_wrapper::__private::Location::caller();
        ::co_wrapper::__private::iter_of(
            &::co_wrapper::__private::Wrapper {
                name: "extents",
                target: "co_extents",
                mixed: false,
            },
            ::co_wrapper::__private::module_path!(),
            __cw_site,
            ::co_wrapper::__private::Box::pin(
                ::co_wrapper::__private::poll_co(
                    &::co_wrapper::__private::Wrapper {
                        name: "extents",
                        target: "co_extents",
                        mixed: false,
                    },
                    ExtentsArgs { __self: self },
                    |__cw_args| co_extents_entry(
                        __cw_args,
                        |__cw_0| ::co_wrapper::__private::ready(Self::co_extents(__cw_0)),
                    ),
                ),
            ),
        )
    }
    async fn co_changes(&self) -> io::Result<BoxStream<'_, Change>> {
        self.log.changes().await
    }
    /// Blocking twin of [`co_changes`](Self::co_changes). Panics in coroutine context.
    #[allow(
        clippy::implicit_return,
        clippy::result_large_err,
        clippy::type_complexity,
        clippy::trivially_copy_pass_by_ref
    )]
    #[track_caller]
    fn changes(
        &self,
    ) -> io::Result<::co_wrapper::blocking::IterIn<BoxStream<'_, Change>>> {
        let __cw_ctx = <::co_wrapper::__private::AioContext as ::co_wrapper::__private::Clone>::clone(
            &self.ctx,
        );
        {
            /// The packed arguments of [`changes`].
            struct ChangesArgs<A0> {
                __self: ::co_wrapper::__private::Sent<A0>,
            }
            /// Unpacks the arguments and makes the future. Runs where the future is polled.
            fn co_changes_entry<A0, Fut>(
                __cw_args: ChangesArgs<A0>,
                __cw_co: impl ::co_wrapper::__private::FnOnce(A0) -> Fut,
            ) -> Fut {
                __cw_co(__cw_args.__self.into_inner())
            }
            let __cw_site = ::co_wrapper::__private::Location::caller();
            ::co_wrapper::__private::poll_co_in(
                    &::co_wrapper::__private::Wrapper {
                        name: "changes",
                        target: "co_changes",
                        mixed: false,
                    },
                    &__cw_ctx,
                    ChangesArgs {
                        __self: ::co_wrapper::__private::sent_to_ctx(self),
                    },
                    |__cw_args| co_changes_entry(
                        __cw_args,
                        |__cw_0| Self::co_changes(__cw_0),
                    ),
                )
                .map(|__cw_value| ::co_wrapper::__private::iter_in_of(
                    &::co_wrapper::__private::Wrapper {
                        name: "changes",
                        target: "co_changes",
                        mixed: false,
                    },
                    ::co_wrapper::__private::module_path!(),
                    __cw_site,
                    &__cw_ctx,
                    __cw_value,
                ))
        }
    }
}
