// Names and lifetimes that are not there.

use co_wrapper::co_wrapper;

#[co_wrapper]
async fn co_argument(x: &Missing, y: Option<Missing>) {
    let _ = (x, y);
}

#[co_wrapper]
async fn co_bound<T: Missing>(x: T) -> T
where
    Vec<T>: AlsoMissing,
{
    x
}

#[co_wrapper]
async fn co_import(x: u8) -> u8 {
    let map = HashMap::new();
    no_such_macro!(map);
    helper(x)
}

#[co_wrapper]
async fn co_undeclared(x: &'a u8) -> &'a u8 {
    x
}

#[co_wrapper]
async fn co_unspecified(x: &u8, y: &u8) -> &u8 {
    x
}

#[co_wrapper]
async fn co_from_nothing() -> &str {
    ""
}

#[co_wrapper]
async fn co_twice(x: u8, x: u16) {}

#[co_wrapper]
async fn co_generic<T, T>(x: T) {}

struct Disk<T>(T);

impl<T> Disk<T> {
    #[co_wrapper(mixed)]
    async fn co_member(&self, x: T::Missing, y: Slef) -> missing::Error {
        x
    }
}

fn main() {}
