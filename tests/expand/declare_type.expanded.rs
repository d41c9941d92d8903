// Generated from the file beside this one: `UPDATE_EXPECT=1 cargo test -p co-wrapper-macros --lib`.

impl<S: Storage> blocking::Format<S> {
    /// Blocking twin of `open_image`. May be called in coroutine context.
    ///
    /// Opens an image.
    #[allow(
        clippy::implicit_return,
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
        fn open_image_entry<A0, Fut>(
            __cw_args: OpenArgs<A0>,
            __cw_co: impl ::co_wrapper::__private::FnOnce(A0) -> Fut,
        ) -> Fut {
            __cw_co(__cw_args.storage)
        }
        ::co_wrapper::__private::poll_co(
                &::co_wrapper::__private::Wrapper {
                    name: "blocking::Format::open",
                    target: "<blocking::Format as Blocking>::Async::open_image",
                    mixed: true,
                },
                OpenArgs { storage },
                |__cw_args| open_image_entry(
                    __cw_args,
                    |__cw_0| <<Self as ::co_wrapper::Blocking>::Async>::open_image(
                        __cw_0,
                    ),
                ),
            )
            .map(<Self as ::co_wrapper::__private::From<_>>::from)
    }
}
