#![no_implicit_prelude]
#![forbid(unsafe_code)]

struct Disk;

#[::co_wrapper::co_wrapper(suffix = "_blocking")]
impl Disk {
    async fn read(&self, x: u8) -> ::std::result::Result<u8, ()> {
        ::std::result::Result::Ok(x)
    }
}

#[::co_wrapper::co_wrapper(ctx = ::co_wrapper::AioContext::current(), timeout, interrupt)]
async fn co_sent(x: u8) -> u8 {
    x
}

::co_wrapper::declare! {
    #[co_wrapper(timeout, interrupt)]
    impl DiskNow for Disk {
        fn read_now(&self, x: u8) -> ::std::result::Result<u8, ()> = read;
    }
}

#[::co_wrapper::co_wrapper]
async fn co_free<T>(x: T) -> T {
    x
}

fn main() {
    ::std::assert_eq!(sent(1), 1);
    ::std::assert!(::std::matches!(Disk.read_now(1), ::std::result::Result::Ok(1)));
    ::std::assert!(::std::matches!(Disk.read_blocking(free(1)), ::std::result::Result::Ok(1)));
}
