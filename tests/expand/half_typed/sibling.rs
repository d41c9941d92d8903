#[co_wrapper(suffix = "_blocking")]
impl BlockDev {
    pub async fn read(&self) -> [u8; { 4 }] {
        self.
    }

    const N: usize = { 1 };

    some_macro!(a b c);

    pub async fn write(&self) -> Wide<4> {
        match
    }
}
