//! opendal's blocking `Operator`, declared: each method of the one by hand which waits, and makes no further type.

use std::time::Duration;

use co_wrapper::{Blocking, block_on, blocking::Iter, declare};
use opendal_core::{Buffer, Entry, IntoDeleteInput, Metadata, Result, options, raw::PresignedRequest};

/// An [`opendal_core::Operator`] for code that is not async.
#[derive(Clone, Debug, Blocking)]
pub struct Operator(opendal_core::Operator);

/// The entries below a path, each of which is waited for when it is asked for.
pub type Lister = Iter<opendal_core::Lister>;

declare! {
    impl Operator {
        pub fn presign_stat(&self, path: &str, expire: Duration) -> Result<PresignedRequest>;
        pub fn presign_read(&self, path: &str, expire: Duration) -> Result<PresignedRequest>;
        pub fn presign_write(&self, path: &str, expire: Duration) -> Result<PresignedRequest>;
        pub fn presign_delete(&self, path: &str, expire: Duration) -> Result<PresignedRequest>;
        pub fn stat(&self, path: &str) -> Result<Metadata>;
        pub fn stat_options(&self, path: &str, opts: options::StatOptions) -> Result<Metadata>;
        pub fn exists(&self, path: &str) -> Result<bool>;
        pub fn create_dir(&self, path: &str) -> Result<()>;
        pub fn read(&self, path: &str) -> Result<Buffer>;
        pub fn read_options(&self, path: &str, opts: options::ReadOptions) -> Result<Buffer>;
        pub fn write(&self, path: &str, bs: impl Into<Buffer>) -> Result<Metadata>;
        pub fn write_options(&self, path: &str, bs: impl Into<Buffer>, opts: options::WriteOptions) -> Result<Metadata>;
        pub fn copy(&self, from: &str, to: &str) -> Result<Metadata>;
        pub fn copy_options(&self, from: &str, to: &str, opts: options::CopyOptions) -> Result<Metadata>;
        pub fn rename(&self, from: &str, to: &str) -> Result<()>;
        pub fn delete(&self, path: &str) -> Result<()>;
        pub fn delete_options(&self, path: &str, opts: options::DeleteOptions) -> Result<()>;
        pub fn delete_iter<I, D>(&self, iter: I) -> Result<()> where I: IntoIterator<Item = D>, D: IntoDeleteInput;
        pub fn delete_try_iter<I, D>(&self, try_iter: I) -> Result<()> where I: IntoIterator<Item = Result<D>>, D: IntoDeleteInput;
        pub fn list(&self, path: &str) -> Result<Vec<Entry>>;
        pub fn list_options(&self, path: &str, opts: options::ListOptions) -> Result<Vec<Entry>>;
        pub fn check(&self) -> Result<()>;
    }
}

impl Operator {
    /// The entries below a path. `Lister` is a type of opendal's own, which its name does not show to be a stream.
    #[track_caller]
    pub fn lister(&self, path: &str) -> Result<Lister> {
        block_on(self.as_async().lister(path)).map(Iter::new)
    }

    /// The same, with options.
    #[track_caller]
    pub fn lister_options(&self, path: &str, opts: options::ListOptions) -> Result<Lister> {
        block_on(self.as_async().lister_options(path, opts)).map(Iter::new)
    }
}
