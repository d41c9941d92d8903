//! A client of a hub of models, after hf-hub: repositories with files in revisions. The hub is one in memory that answers
//! late, as a server does.
//!
//! Its blocking half, [`blocking`], is two structs and two marks. [`by_hand`] is the same half without.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use co_wrapper::co_wrapper;
use futures::stream::{self, BoxStream, StreamExt};

pub mod by_hand;

type Files = BTreeMap<(String, String), Vec<u8>>;

/// A client.
#[derive(Clone, Debug, Default)]
pub struct Hub {
    files: Arc<Mutex<Files>>,
}

/// A repository of a hub.
#[derive(Clone, Debug)]
pub struct Repo {
    hub: Hub,
    id: String,
}

/// The types for code that is not async.
pub mod blocking {
    /// A [`Hub`](super::Hub) for code that is not async.
    #[derive(Clone, Debug, co_wrapper::Blocking)]
    pub struct Hub(super::Hub);

    /// A [`Repo`](super::Repo) for code that is not async.
    #[derive(Clone, Debug, co_wrapper::Blocking)]
    pub struct Repo(super::Repo);
}

impl Hub {
    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[co_wrapper(type = blocking::Hub)]
impl Hub {
    /// Connects to a hub.
    pub async fn connect() -> io::Result<Self> {
        answer().await;
        Ok(Hub::default())
    }

    /// A client of the same hub for another user.
    pub async fn log_in(&self, token: &str) -> io::Result<Self> {
        answer().await;
        if token.is_empty() { Err(io::ErrorKind::PermissionDenied.into()) } else { Ok(self.clone()) }
    }

    /// The names of all repositories.
    pub async fn repos(&self) -> io::Result<Vec<String>> {
        answer().await;
        let mut repos: Vec<String> = self.files().keys().map(|(repo, _)| repo.clone()).collect();
        repos.dedup();
        Ok(repos)
    }

    /// Removes a repository, and says how many files were in it.
    pub async fn delete_repo(&self, id: &str) -> io::Result<usize> {
        answer().await;
        let mut files = self.files();
        let before = files.len();
        files.retain(|(repo, _), _| repo != id);
        Ok(before - files.len())
    }

    /// The names of the repositories that begin so, one after the other.
    pub fn search(&self, prefix: &str) -> BoxStream<'static, io::Result<String>> {
        let (hub, prefix) = (self.clone(), prefix.to_owned());
        let repos = async move { hub.repos().await.unwrap_or_default() };
        let repos = stream::once(repos).flat_map(stream::iter);
        repos.filter(move |repo| futures::future::ready(repo.starts_with(&prefix))).map(Ok).boxed()
    }
}

#[co_wrapper(type = blocking::Repo)]
impl Repo {
    /// Opens a repository.
    pub async fn open(hub: &Hub, id: &str) -> io::Result<Self> {
        answer().await;
        Ok(Repo { hub: hub.clone(), id: id.to_owned() })
    }

    /// What is in a file.
    pub async fn get(&self, path: &str) -> io::Result<Vec<u8>> {
        answer().await;
        let key = (self.id.clone(), path.to_owned());
        self.hub.files().get(&key).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Writes a file.
    pub async fn upload(&self, path: &str, data: impl Into<Vec<u8>>) -> io::Result<()> {
        answer().await;
        self.hub.files().insert((self.id.clone(), path.to_owned()), data.into());
        Ok(())
    }

    /// Whether there is such a file.
    pub async fn exists(&self, path: &str) -> io::Result<bool> {
        answer().await;
        Ok(self.hub.files().contains_key(&(self.id.clone(), path.to_owned())))
    }

    /// Removes a file.
    pub async fn delete(&self, path: &str) -> io::Result<()> {
        answer().await;
        let removed = self.hub.files().remove(&(self.id.clone(), path.to_owned()));
        removed.map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// A copy of it, with another name.
    pub async fn duplicate(&self, id: &str) -> io::Result<Self> {
        answer().await;
        let mut files = self.hub.files();
        let own: Vec<_> = files.iter().filter(|((repo, _), _)| *repo == self.id).collect();
        let copies: Files =
            own.into_iter().map(|((_, path), data)| ((id.to_owned(), path.clone()), data.clone())).collect();
        files.extend(copies);
        Ok(Repo { hub: self.hub.clone(), id: id.to_owned() })
    }

    /// Whether the same files are in both.
    pub async fn is_same(&self, other: &Self) -> io::Result<bool> {
        let (own, others) = (self.list().collect::<Vec<_>>().await, other.list().collect::<Vec<_>>().await);
        Ok(own.into_iter().flatten().eq(others.into_iter().flatten()))
    }

    /// The paths of the files, one after the other.
    pub fn list(&self) -> BoxStream<'static, io::Result<String>> {
        let paths: Vec<String> =
            self.hub.files().keys().filter(|(repo, _)| *repo == self.id).map(|(_, path)| path.clone()).collect();
        stream::iter(paths).then(async |path| Ok(path)).boxed()
    }
}

/// What a server takes to answer.
async fn answer() {
    tokio::time::sleep(Duration::from_micros(100)).await;
}
