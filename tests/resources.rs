//! Contract a01–a03: a tokio resource made inside a wrapper works everywhere, whatever its maker does meanwhile.

use std::{io, net::SocketAddr, sync::mpsc, thread, time::Duration};

use co_wrapper::co_wrapper;
use co_wrapper_test_support::within_bounds;
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Mutex,
    time::{Interval, interval},
};

/// One of each: a socket whose other end echoes, a timer, a file.
struct Resources {
    socket: Mutex<TcpStream>,
    timer: Mutex<Interval>,
    file: Mutex<File>,
}

#[co_wrapper(suffix = "_blocking")]
impl Resources {
    async fn open(echo: SocketAddr) -> io::Result<Self> {
        let file = File::from_std(tempfile::tempfile()?);
        Ok(Self {
            socket: Mutex::new(TcpStream::connect(echo).await?),
            timer: Mutex::new(interval(Duration::from_millis(1))),
            file: Mutex::new(file),
        })
    }

    /// Waits on each of them.
    async fn exercise(&self, byte: u8) -> io::Result<()> {
        let socket = &mut *self.socket.lock().await;
        socket.write_all(&[byte]).await?;
        assert_eq!(socket.read_u8().await?, byte);
        self.timer.lock().await.tick().await;
        self.timer.lock().await.tick().await;
        let file = &mut *self.file.lock().await;
        file.rewind().await?;
        file.write_all(&[byte]).await?;
        file.flush().await?;
        file.rewind().await?;
        assert_eq!(file.read_u8().await?, byte);
        Ok(())
    }
}

/// An echo server on plain threads, so that no runtime of the test's keeps a resource alive.
fn echo_server() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut back = stream.try_clone().unwrap();
            thread::spawn(move || io::copy(&mut stream, &mut back));
        }
    });
    address
}

/// Exercises the resources from everywhere but their maker's thread.
fn exercise_everywhere(resources: &Resources) {
    resources.exercise_blocking(1).unwrap();
    thread::scope(|scope| {
        let exercise = |byte| resources.exercise_blocking(byte).unwrap();
        scope.spawn(move || exercise(2)).join().unwrap();
        scope.spawn(move || futures::executor::block_on(async { exercise(3) })).join().unwrap();
        scope.spawn(move || smol::block_on(async { exercise(4) })).join().unwrap();
    });
    for mut host in [tokio::runtime::Builder::new_current_thread(), tokio::runtime::Builder::new_multi_thread()] {
        let host = host.enable_all().worker_threads(1).build().unwrap();
        host.block_on(resources.exercise(5)).unwrap();
        host.block_on(async { resources.exercise_blocking(6) }).unwrap();
    }
    let ctx = co_wrapper::AioContext::current();
    ctx.block_on(resources.exercise(7)).unwrap();
}

/// Catches: a reactor a context, or one driven by whoever waits.
#[test]
fn a01_resources_work_while_their_maker_idles_in_something_that_polls_nothing() {
    within_bounds(|| {
        let (made, taken) = mpsc::channel();
        let (finish, finished) = mpsc::channel::<()>();
        let echo = echo_server();
        let maker = thread::spawn(move || {
            made.send(Resources::open_blocking(echo).unwrap()).unwrap();
            // Idle, until the test is over.
            finished.recv().unwrap_err();
        });
        exercise_everywhere(&taken.recv().unwrap());
        drop(finish);
        maker.join().unwrap();
    });
}

/// Catches: a reactor that goes with a thread.
#[test]
fn a02_resources_work_after_their_makers_thread_has_ended() {
    within_bounds(|| {
        let echo = echo_server();
        let resources = thread::spawn(move || Resources::open_blocking(echo).unwrap()).join().unwrap();
        exercise_everywhere(&resources);
    });
}

/// Catches: a reactor that needs a wrapper's loop to turn.
#[test]
fn a03_a_hosts_tasks_await_them_where_it_is_the_only_other_runtime() {
    within_bounds(|| {
        let resources: &_ = Box::leak(Box::new(Resources::open_blocking(echo_server()).unwrap()));
        for mut host in [tokio::runtime::Builder::new_current_thread(), tokio::runtime::Builder::new_multi_thread()] {
            let host = host.enable_all().build().unwrap();
            host.block_on(async {
                for byte in 0..3 {
                    tokio::spawn(resources.exercise(byte)).await.unwrap().unwrap();
                }
            });
        }
    });
}

/// Catches: a reactor that a listener made in a wrapper does not belong to.
#[test]
fn a01_what_a_wrapper_spawns_on_tokio_goes_on_after_it_returned() {
    #[co_wrapper]
    async fn co_serve_one() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut peer, _) = listener.accept().await.unwrap();
            let byte = peer.read_u8().await.unwrap();
            peer.write_u8(byte + 1).await.unwrap();
        });
        address
    }
    within_bounds(|| {
        let mut stream = std::net::TcpStream::connect(serve_one()).unwrap();
        io::Write::write_all(&mut stream, &[41]).unwrap();
        let mut answer = [0];
        io::Read::read_exact(&mut stream, &mut answer).unwrap();
        assert_eq!(answer, [42]);
    });
}
