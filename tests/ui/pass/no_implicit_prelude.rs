#![no_implicit_prelude]
#![forbid(unsafe_code)]

struct Disk;

#[::co_wrapper::co_wrapper(suffix = "_blocking")]
impl Disk {
    async fn read(&self, x: u8) -> ::std::result::Result<u8, ()> {
        ::std::result::Result::Ok(x)
    }
}

#[::co_wrapper::co_wrapper]
async fn co_free<T>(x: T) -> T {
    x
}

fn main() {
    ::std::assert!(::std::matches!(Disk.read_blocking(free(1)), ::std::result::Result::Ok(1)));
}
