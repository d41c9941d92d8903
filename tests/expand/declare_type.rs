declare! {
    impl<S: Storage> blocking::Format<S> {
        /// Opens an image.
        #[co_wrapper(mixed)]
        pub fn open(storage: S) -> io::Result<Self> = open_image;
    }
}
