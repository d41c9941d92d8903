//! A blocking type and the async type that it wraps: how the macro's twins get from one to the other.

use std::sync::Arc;

/// A blocking type that holds an async one: the `blocking::Disk` of a `Disk`.
///
/// `#[co_wrapper(type = blocking::Disk)]` on `impl Disk` puts the blocking twins into `impl blocking::Disk`, under the
/// async fns' own names. They reach the async value through this trait, so the field may be private, in any module.
/// The derive macro of the same name implements it, and `From` in both directions, for a struct with one field:
///
/// ```
/// use co_wrapper::co_wrapper;
///
/// pub struct Disk(Vec<u8>);
///
/// pub mod blocking {
///     #[derive(co_wrapper::Blocking)]
///     pub struct Disk(super::Disk);
/// }
///
/// #[co_wrapper(type = blocking::Disk)]
/// impl Disk {
///     pub async fn open(data: &[u8]) -> Option<Self> {
///         Some(Disk(data.to_vec()))
///     }
///
///     pub async fn size(&self) -> usize {
///         self.0.len()
///     }
/// }
///
/// fn main() {
///     let disk = blocking::Disk::open(&[1, 2, 3]).unwrap();
///     assert_eq!(disk.size(), 3);
///     let disk: Disk = disk.into();
///     assert_eq!(disk.0, [1, 2, 3]);
/// }
/// ```
///
/// # A `Drop` of its own
///
/// The blocking type may implement [`Drop`], and its twins may be called there. But Rust moves no field out of such a
/// type. So derive with `#[blocking(has_drop)]`, which leaves out the `From` into the async type. The blocking type then
/// has no twin that takes `self` or another `Self` by value.
///
/// ```
/// # use co_wrapper::co_wrapper;
/// pub struct Log;
///
/// #[derive(co_wrapper::Blocking)]
/// #[blocking(has_drop)]
/// pub struct BlockingLog(Log);
///
/// #[co_wrapper(type = BlockingLog)]
/// impl Log {
///     pub async fn flush(&mut self) {}
/// }
///
/// impl Drop for BlockingLog {
///     fn drop(&mut self) {
///         self.flush();
///     }
/// }
///
/// drop(BlockingLog::from(Log));
/// ```
///
/// # By hand
///
/// A type with other fields, such as a default for its calls, implements the trait by hand. `Into<Disk>` is needed by the
/// twins that take a `Self` by value, and by no others.
///
/// ```
/// use co_wrapper::Blocking;
///
/// pub struct Disk(Vec<u8>);
///
/// pub struct Numbered {
///     disk: Disk,
///     number: u32,
/// }
///
/// impl Blocking for Numbered {
///     type Async = Disk;
///
///     fn as_async(&self) -> &Disk {
///         &self.disk
///     }
///
///     fn as_async_mut(&mut self) -> &mut Disk {
///         &mut self.disk
///     }
/// }
///
/// impl From<Disk> for Numbered {
///     fn from(disk: Disk) -> Self {
///         Numbered { disk, number: 0 }
///     }
/// }
///
/// let numbered = Numbered::from(Disk(vec![7]));
/// assert_eq!((numbered.as_async().0[0], numbered.number), (7, 0));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not known as the blocking type of an async one",
    note = "write `#[derive(co_wrapper::Blocking)]` on it, with the async type as its only field"
)]
pub trait Blocking: From<<Self as Blocking>::Async> {
    /// The async type.
    type Async;

    /// The async value.
    fn as_async(&self) -> &Self::Async;

    /// The async value, to change.
    fn as_async_mut(&mut self) -> &mut Self::Async;
}

/// A [`Blocking`] type of which an `Arc` is an `Arc` of the async type: twins get from one to the other by it where an async fn
/// takes or returns an `Arc<Self>`. Both are counted together, so whoever else holds the async value shares it.
///
/// `#[derive(Blocking)]` implements it, but not beside `has_drop`: whether the blocking type's `Drop`
/// ran would depend on which of several `Arc`s is the last one. A type that implements `Blocking` by hand has fields of its own,
/// and its `Arc` needs a place for them; it may implement this by making one.
///
/// ```
/// use std::sync::Arc;
///
/// use co_wrapper::co_wrapper;
///
/// pub struct Disk(u64);
///
/// pub mod blocking {
///     #[derive(co_wrapper::Blocking)]
///     pub struct Disk(super::Disk);
/// }
///
/// /// The disk that is open.
/// pub struct Open(Arc<Disk>);
///
/// #[co_wrapper(type = blocking::Disk)]
/// impl Disk {
///     pub async fn shared(open: &Open) -> Arc<Self> {
///         open.0.clone()
///     }
///
///     pub async fn size(self: Arc<Self>) -> u64 {
///         self.0
///     }
/// }
///
/// # fn main() {
/// let open = Open(Arc::new(Disk(7)));
/// let disk: Arc<blocking::Disk> = blocking::Disk::shared(&open);
/// assert_eq!(Arc::strong_count(&open.0), 2);
/// assert_eq!(disk.size(), 7);
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "no `Arc` of `{Self}` can be made of one of its async type",
    note = "`#[derive(co_wrapper::Blocking)]` without `has_drop` gives `{Self}` the trait `BlockingArc`"
)]
pub trait BlockingArc: Blocking {
    /// The blocking value.
    fn from_async_arc(arc: Arc<Self::Async>) -> Arc<Self>;

    /// The async value.
    fn into_async_arc(arc: Arc<Self>) -> Arc<Self::Async>;
}

/// The same `Arc` with another type, for generated code.
///
/// # Safety
///
/// One of the two types is a struct with no `Drop` of its own and one field, of the other type.
pub unsafe fn cast_arc<A, B>(arc: Arc<A>) -> Arc<B> {
    const { assert!(size_of::<A>() == size_of::<B>(), "a blocking type is as large as its field") };
    const { assert!(align_of::<A>() == align_of::<B>(), "a blocking type is aligned as its field is") };
    // SAFETY: the pointer is from `into_raw`, and the sizes and alignments are the same. So the one field is at the struct's
    // beginning and all of it: what is valid as the one type is valid as the other, and dropped alike.
    unsafe { Arc::from_raw(Arc::into_raw(arc).cast()) }
}

/// Converts each, for generated code.
pub fn map_vec<A, B>(all: Vec<A>, convert: impl FnMut(A) -> B) -> Vec<B> {
    all.into_iter().map(convert).collect()
}
