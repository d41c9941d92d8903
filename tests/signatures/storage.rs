//! Shapes from real storage code on which other such macros fail, numbered as they were collected.

use super::{later, pending_once};
use co_wrapper::co_wrapper;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

pub struct IoVectorMut<'a>(Vec<&'a mut [u8]>);

impl<'a> From<&'a mut [u8]> for IoVectorMut<'a> {
    fn from(slice: &'a mut [u8]) -> Self {
        IoVectorMut(vec![slice])
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IoVec<'a>(&'a [u8]);

pub trait Storage: Debug {}
impl Storage for u8 {}

#[derive(Debug)]
pub struct Mapping<'a, S>(&'a S, u64);

pub trait Wrapped<S> {}
impl<S> Wrapped<S> for () {}

#[derive(Debug)]
pub struct Qcow2<S: Storage + 'static, F: Wrapped<S>> {
    storage: S,
    path: PathBuf,
    wrapped: PhantomData<F>,
}

impl Qcow2<u8, ()> {
    // 1
    #[co_wrapper(name = readv_blocking)]
    pub async fn readv(&self, mut bufv: IoVectorMut<'_>, mut offset: u64) -> io::Result<()> {
        for buf in &mut bufv.0 {
            pending_once().await;
            buf.fill(offset as u8);
            offset += 1;
        }
        Ok(())
    }

    // 2
    #[co_wrapper(name = read_blocking)]
    pub async fn read<'a>(&'a self, buf: impl Into<IoVectorMut<'a>>, offset: u64) -> io::Result<()> {
        self.readv(buf.into(), offset).await
    }

    // 8
    #[co_wrapper(name = try_readv_blocking)]
    async fn try_readv<'a>(&self, v: IoVec<'a>, off: u64) -> io::Result<Option<(IoVec<'a>, u64)>> {
        later(Ok(Some((v, off + u64::from(self.storage))))).await
    }
}

impl<S: Storage + 'static, F: Wrapped<S>> Qcow2<S, F> {
    // 3
    #[co_wrapper(name = get_mapping_blocking)]
    async fn get_mapping(&self, offset: u64) -> io::Result<(Mapping<'_, S>, u64)> {
        later(Ok((Mapping(&self.storage, offset), offset + 1))).await
    }

    // 4
    /// # Safety
    ///
    /// None.
    #[co_wrapper(name = discard_blocking)]
    pub async unsafe fn discard_unsafe(&self, offset: u64, length: u64) -> io::Result<u64> {
        later(Ok(offset + length)).await
    }
}

// 5
#[co_wrapper(suffix = "_blocking")]
impl<S: Storage + Default + 'static, F: Wrapped<S>> Qcow2<S, F> {
    async fn open_path<P: AsRef<Path>>(path: P, w: bool) -> io::Result<Self> {
        pending_once().await;
        if !w {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(Qcow2 { storage: S::default(), path: path.as_ref().to_owned(), wrapped: PhantomData })
    }
}

// 6
pub trait Gate<S> {
    fn storage(self) -> S;
}

impl Gate<u8> for u8 {
    fn storage(self) -> u8 {
        self
    }
}

pub trait Make<S> {
    type Format;
    fn make(self, storage: S) -> Self::Format;
}

impl Make<u8> for u16 {
    type Format = (u16, u8);
    fn make(self, storage: u8) -> Self::Format {
        (self, storage)
    }
}

pub trait Builder<S: Storage>: Sized {
    type B: Make<S>;

    #[co_wrapper(name = create_open_blocking)]
    async fn create_open<G: Gate<S>, F: FnOnce(S) -> io::Result<Self::B>>(
        self,
        g: G,
        f: F,
    ) -> io::Result<<Self::B as Make<S>>::Format>
    where
        S: Clone,
    {
        let s = later(g.storage()).await;
        Ok(f(s.clone())?.make(s))
    }
}

struct MyBuilder;

impl Builder<u8> for MyBuilder {
    type B = u16;
}

// 10
pub trait Table {
    const SIZE: usize;
}

#[derive(Debug)]
struct L2;

impl Table for L2 {
    const SIZE: usize = 8;
}

pub struct Cache<K, V>(BTreeMap<K, V>);

struct Flusher(u64);

impl Flusher {
    #[co_wrapper(name = flush_blocking)]
    async fn flush<A: Table + Debug, B: Table, K>(&self, rt: &A, c: &Cache<usize, RwLock<B>>, k: K) -> String
    where
        K: Fn(u64) -> usize,
    {
        later(format!("{rt:?} {} {} {}", c.0.len(), k(self.0), A::SIZE + B::SIZE)).await
    }

    // 9, without `#[async_trait]`; with it in `../stacked.rs`
    #[co_wrapper(name = read_to_mem_blocking)]
    async fn read_to_mem<'a>(
        &'a self,
        off: u64,
        mem: Arc<dyn Debug + Send + Sync>,
        r: &'a [IoVec<'a>],
    ) -> (&'a IoVec<'a>, String) {
        later((&r[off as usize], format!("{mem:?}"))).await
    }
}

#[test]
fn all() {
    let image = Qcow2::<u8, ()>::open_path_blocking("/disk", true).unwrap();
    assert_eq!(image.path, Path::new("/disk"));
    let error = Qcow2::<u8, ()>::open_path_blocking(String::new(), false).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);

    let (mut a, mut b) = ([0; 2], [0; 1]);
    image.readv_blocking(IoVectorMut(vec![&mut a, &mut b]), 5).unwrap();
    assert_eq!((a, b), ([5, 5], [6]));
    image.read_blocking(&mut a[..], 9).unwrap();
    assert_eq!(a, [9, 9]);
    let data = [1, 2];
    assert_eq!(image.try_readv_blocking(IoVec(&data), 3).unwrap(), Some((IoVec(&data), 3)));
    let (mapping, next) = image.get_mapping_blocking(7).unwrap();
    assert_eq!((mapping.0, mapping.1, next), (&0, 7, 8));
    assert_eq!(unsafe { image.discard_blocking(1, 2) }.unwrap(), 3);

    let made = MyBuilder.create_open_blocking(3, |s| Ok(u16::from(s) + 1)).unwrap();
    assert_eq!(made, (4, 3));

    let cache = Cache(BTreeMap::from([(1, RwLock::new(L2))]));
    assert_eq!(Flusher(2).flush_blocking(&L2, &cache, |x| x as usize * 3), "L2 1 6 16");
    let vecs = [IoVec(&[]), IoVec(&data)];
    let (vec, mem) = Flusher(0).read_to_mem_blocking(1, Arc::new(4), &vecs);
    assert_eq!((vec, &*mem), (&vecs[1], "4"));
}
