//! Functions that `macro_rules!` makes: None-delimited groups, hygiene, `self` from the caller.

use super::later;
use co_wrapper::co_wrapper;
use std::future::Future;
use std::pin::Pin;

// Two parameters of one name, told apart by hygiene.
macro_rules! two_of_one_name {
    ($name:ident, $x:ident) => {
        #[co_wrapper]
        async fn $name(x: u8, $x: u8) -> (u8, u8) {
            later((x, $x)).await
        }
    };
}

two_of_one_name!(co_pair, x);

macro_rules! everything_a_fragment {
    ($(#[$attr:meta])* $vis:vis $name:ident ($($param:ident: $ty:ty),*) -> $ret:ty $body:block $blocking:ident) => {
        $(#[$attr])*
        #[co_wrapper(name = $blocking)]
        $vis async fn $name($($param: $ty),*) -> $ret $body
    };
}

everything_a_fragment! {
    /// With a doc.
    pub(crate) fragments(a: &'static mut u8, b: &[u8]) -> &'static mut u8 {
        *a += b[0];
        later(a).await
    }
    blocking_fragments
}

macro_rules! method {
    ($self:ident, $receiver:ty, $($body:tt)*) => {
        #[co_wrapper]
        async fn co_get($self: $receiver) -> u8 {
            later($($body)*).await
        }
    };
}

struct Holder(u8);

impl Holder {
    method!(self, &Self, self.0);
}

macro_rules! whole_items {
    ($($item:item)*) => {
        $(#[co_wrapper] $item)*
    };
}

whole_items! {
    async fn co_one() -> u8 {
        later(1).await
    }

    /// With a doc.
    pub async fn co_two() -> u8 {
        later(2).await
    }

    impl Holder {
        #[co_wrapper]
        async fn co_no_receiver(x: u8) -> u8 {
            later(x).await
        }
    }
}

macro_rules! krate {
    ($name:ident) => {
        #[co_wrapper(crate = $crate::macros::reexport)]
        async fn $name() -> u8 {
            later(3).await
        }
    };
}

pub mod reexport {
    pub use co_wrapper::__private;
}

krate!(co_reexported);

macro_rules! impl_block {
    ($ty:ty, $suffix:literal, $body:block, $array:expr) => {
        #[co_wrapper(suffix = $suffix)]
        impl $ty {
            async fn suffixed() -> u8 $body

            const NONE: () = {};

            async fn sized<const N: usize>(_x: [u8; $array.len()]) -> u8 $body
        }
    };
}

impl_block!(Holder, "_waiting", { later(8).await }, [1, 2]);

macro_rules! futures {
    ($plain:ident $boxed:ident $in_parts:ident $opaque:ty, $pin:ty, $box:ty) => {
        #[co_wrapper]
        fn $plain() -> $opaque {
            later(1)
        }

        #[co_wrapper]
        fn $boxed() -> $pin {
            Box::pin(later(2))
        }

        #[co_wrapper]
        fn $in_parts() -> Pin<$box> {
            Box::pin(later(3))
        }
    };
}

futures! {
    co_plain co_boxed co_in_parts
    impl Future<Output = u8>, Pin<Box<dyn Future<Output = u8>>>, Box<dyn Future<Output = u8>>
}

#[test]
fn all() {
    assert_eq!(pair(1, 2), (1, 2));
    let a = blocking_fragments(Box::leak(Box::new(1)), &[2]);
    assert_eq!(*a, 3);
    assert_eq!(Holder(5).get(), 5);
    assert_eq!(one() + two(), 3);
    assert_eq!(Holder::no_receiver(6), 6);
    assert_eq!(reexported(), 3);
    assert_eq!(Holder::suffixed_waiting(), 8);
    assert_eq!(Holder::sized_waiting::<1>([0; 2]), 8);
    let () = Holder::NONE;
    assert_eq!((plain(), boxed(), in_parts()), (1, 2, 3));
}
