use co_wrapper::co_wrapper;

#[co_wrapper]
mod bare {
    pub async fn co_read() {}
}

#[co_wrapper(mixed)]
mod marked {
    #[co_wrapper::co_wrapper]
    pub async fn co_read() {}
}

#[co_wrapper(suffix = "_blocking")]
mod without {
    pub fn plain() {}

    impl std::fmt::Display for super::Disk {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("")
        }
    }
}

#[co_wrapper(suffix = "_blocking", name = read)]
mod named {
    pub async fn read() {}
}

struct Disk;

fn main() {}
