impl Image {
    /// Checks the image, with code that blocks.
    #[no_co_wrapper(unsafe(coroutine))]
    pub fn bdrv_check(&self, fix: &str, pass: u32) -> io::Result<CheckResult> {
        self.walk(fix, pass)
    }
}

#[no_co_wrapper(unsafe(coroutine), name = read_dir)]
unsafe fn blocking_read_dir(fs: Fs) {}
