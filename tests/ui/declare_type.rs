use co_wrapper::{Blocking, declare};

pub struct Disk(u8);

#[derive(Blocking)]
pub struct BlockingDisk(Disk);

declare! {
    pub impl BlockingDisk {
        fn read(&self) -> u8;
    }

    #[co_wrapper(suffix = "_blocking")]
    impl BlockingDisk {
        fn read_blocking(&self) -> u8;
    }

    impl BlockingDisk {
        async fn asynchronous(&self) -> u8;
        #[no_co_wrapper]
        async fn co_twin(&self) -> u8;
        fn by_path(&self) = Disk::read;
        fn shared(self: std::rc::Rc<Self>) -> Option<Vec<std::rc::Rc<Self>>>;
        #[co_wrapper(name = x)]
        fn named(&self);
        #[co_wrapper(type = BlockingDisk)]
        fn typed(&self);
    }
}

fn main() {}
