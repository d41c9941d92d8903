#[co_wrapper(prefix = "blocking_")]
pub trait Driver<'a, T: Debug, const N: usize>: Sized {
    async fn open(self, path: &str) -> Result<T, Error>;
}

#[co_wrapper]
impl<'a> other::Driver<'a, u8, 2> for Disk {
    #[co_wrapper]
    async fn co_size(&self) -> u64 {
        self.0
    }
}
