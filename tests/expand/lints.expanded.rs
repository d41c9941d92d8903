// Generated from the file beside this one: `UPDATE_EXPECT=1 cargo test -p co-wrapper-macros --lib`.

impl Disk {
    /// Hidden, old, and used once.
    #[doc(hidden, alias = "pread")]
    #[deprecated]
    #[must_use = "it was slow"]
    #[warn(unused)]
    async fn co_read(&self, _a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8) -> u8 {
        b
    }
    /// Blocking twin of `co_read`. Panics in coroutine context.
    ///
    /// Hidden, old, and used once.
    #[doc(hidden, alias = "pread")]
    #[deprecated]
    #[must_use = "it was slow"]
    #[warn(unused)]
    #[allow(
        deprecated,
        clippy::double_must_use,
        clippy::too_many_arguments,
        clippy::used_underscore_binding,
        clippy::implicit_return,
        clippy::trivially_copy_pass_by_ref
    )]
    #[track_caller]
    pub(super) fn read(&self, _a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8) -> u8 {
        /// The packed arguments of [`read`].
        struct ReadArgs<A0, A1, A2, A3, A4, A5, A6, A7> {
            __self: A0,
            _a: A1,
            b: A2,
            c: A3,
            d: A4,
            e: A5,
            f: A6,
            g: A7,
        }
        /// Unpacks the arguments and makes the future. Runs where the future is polled.
        fn co_read_entry<A0, A1, A2, A3, A4, A5, A6, A7, Fut>(
            __cw_args: ReadArgs<A0, A1, A2, A3, A4, A5, A6, A7>,
            __cw_co: impl ::co_wrapper::__private::FnOnce(
                A0,
                A1,
                A2,
                A3,
                A4,
                A5,
                A6,
                A7,
            ) -> Fut,
        ) -> Fut {
            __cw_co(
                __cw_args.__self,
                __cw_args._a,
                __cw_args.b,
                __cw_args.c,
                __cw_args.d,
                __cw_args.e,
                __cw_args.f,
                __cw_args.g,
            )
        }
        ::co_wrapper::__private::poll_co(
            &::co_wrapper::__private::Wrapper {
                name: "read",
                target: "co_read",
                mixed: false,
            },
            ReadArgs {
                __self: self,
                _a,
                b,
                c,
                d,
                e,
                f,
                g,
            },
            |__cw_args| co_read_entry(
                __cw_args,
                |__cw_0, __cw_1, __cw_2, __cw_3, __cw_4, __cw_5, __cw_6, __cw_7| Self::co_read(
                    __cw_0,
                    __cw_1,
                    __cw_2,
                    __cw_3,
                    __cw_4,
                    __cw_5,
                    __cw_6,
                    __cw_7,
                ),
            ),
        )
    }
}
