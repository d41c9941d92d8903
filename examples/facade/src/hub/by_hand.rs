//! The blocking half of the hub as libraries write it: a runtime, and a method for each method.

use std::{fmt, io, sync::Arc};

use futures::stream::{BoxStream, StreamExt};
use tokio::runtime::{Builder, Runtime};

/// A [`Hub`](super::Hub) for code that is not async.
#[derive(Clone, Debug)]
pub struct Hub {
    inner: super::Hub,
    runtime: Arc<Runtime>,
}

impl Hub {
    /// Connects to a hub.
    pub fn connect() -> io::Result<Self> {
        let runtime = Arc::new(Builder::new_current_thread().enable_time().build()?);
        let inner = runtime.block_on(super::Hub::connect())?;
        Ok(Self { inner, runtime })
    }

    /// A client of the same hub for another user.
    pub fn log_in(&self, token: &str) -> io::Result<Self> {
        let inner = self.runtime.block_on(self.inner.log_in(token))?;
        Ok(Self { inner, runtime: self.runtime.clone() })
    }

    /// The names of all repositories.
    pub fn repos(&self) -> io::Result<Vec<String>> {
        self.runtime.block_on(self.inner.repos())
    }

    /// Removes a repository, and says how many files were in it.
    pub fn delete_repo(&self, id: &str) -> io::Result<usize> {
        self.runtime.block_on(self.inner.delete_repo(id))
    }

    /// The names of the repositories that begin so, one after the other.
    pub fn search(&self, prefix: &str) -> Names {
        Names { stream: self.inner.search(prefix), runtime: self.runtime.clone() }
    }
}

/// A [`Repo`](super::Repo) for code that is not async.
#[derive(Clone, Debug)]
pub struct Repo {
    inner: super::Repo,
    runtime: Arc<Runtime>,
}

impl Repo {
    /// Opens a repository.
    pub fn open(hub: &super::Hub, id: &str) -> io::Result<Self> {
        let runtime = Arc::new(Builder::new_current_thread().enable_time().build()?);
        let inner = runtime.block_on(super::Repo::open(hub, id))?;
        Ok(Self { inner, runtime })
    }

    /// What is in a file.
    pub fn get(&self, path: &str) -> io::Result<Vec<u8>> {
        self.runtime.block_on(self.inner.get(path))
    }

    /// Writes a file.
    pub fn upload(&self, path: &str, data: impl Into<Vec<u8>>) -> io::Result<()> {
        self.runtime.block_on(self.inner.upload(path, data))
    }

    /// Whether there is such a file.
    pub fn exists(&self, path: &str) -> io::Result<bool> {
        self.runtime.block_on(self.inner.exists(path))
    }

    /// Removes a file.
    pub fn delete(&self, path: &str) -> io::Result<()> {
        self.runtime.block_on(self.inner.delete(path))
    }

    /// A copy of it, with another name.
    pub fn duplicate(&self, id: &str) -> io::Result<Self> {
        let inner = self.runtime.block_on(self.inner.duplicate(id))?;
        Ok(Self { inner, runtime: self.runtime.clone() })
    }

    /// Whether the same files are in both.
    pub fn is_same(&self, other: &Self) -> io::Result<bool> {
        self.runtime.block_on(self.inner.is_same(&other.inner))
    }

    /// The paths of the files, one after the other.
    pub fn list(&self) -> Names {
        Names { stream: self.inner.list(), runtime: self.runtime.clone() }
    }
}

impl From<Hub> for super::Hub {
    fn from(hub: Hub) -> Self {
        hub.inner
    }
}

impl From<Repo> for super::Repo {
    fn from(repo: Repo) -> Self {
        repo.inner
    }
}

/// Names of repositories or files.
pub struct Names {
    stream: BoxStream<'static, io::Result<String>>,
    runtime: Arc<Runtime>,
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").finish_non_exhaustive()
    }
}

impl Iterator for Names {
    type Item = io::Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        self.runtime.block_on(self.stream.next())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.stream.size_hint()
    }
}
