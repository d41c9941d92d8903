//! Subscribers of `tracing`: one a process, for they see what IoThreads do too.

use std::sync::atomic::AtomicU8;

use tracing::{Event, Metadata, Subscriber, span, subscriber::Interest};

use super::{waiting::rounds, *};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Hook {
    RegisterCallsite = 1,
    Enabled,
    NewSpan,
    CloneSpan,
    Enter,
    Exit,
    TryClose,
    Event,
}

const HOOKS: [Hook; 8] = [
    Hook::RegisterCallsite,
    Hook::Enabled,
    Hook::NewSpan,
    Hook::CloneSpan,
    Hook::Enter,
    Hook::Exit,
    Hook::TryClose,
    Hook::Event,
];

/// The hook that panics next, and whether one did.
static ARMED: AtomicU8 = AtomicU8::new(0);
static FIRED: AtomicBool = AtomicBool::new(false);

fn at(hook: Hook) {
    if ARMED.compare_exchange(hook as u8, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
        FIRED.store(true, Ordering::SeqCst);
        panic!("of the subscriber");
    }
}

struct Panics;

impl Subscriber for Panics {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if metadata.target() == "co_wrapper" {
            at(Hook::RegisterCallsite);
        }
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let ours = metadata.target() == "co_wrapper";
        if ours {
            at(Hook::Enabled);
        }
        ours
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        at(Hook::NewSpan);
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &Event<'_>) {
        at(Hook::Event);
    }

    fn enter(&self, _: &span::Id) {
        at(Hook::Enter);
    }

    fn exit(&self, _: &span::Id) {
        at(Hook::Exit);
    }

    fn clone_span(&self, id: &span::Id) -> span::Id {
        at(Hook::CloneSpan);
        id.clone()
    }

    fn try_close(&self, _: span::Id) -> bool {
        at(Hook::TryClose);
        true
    }
}

type Call = (&'static str, fn(&IoThread));

const CALLS: &[Call] = &[
    ("a ready call", |_| plain(async {})),
    ("a waiting call", |_| plain(rounds(3))),
    ("a nested call", |_| plain(async { mixed(rounds(3)) })),
    ("a call elsewhere", |io| poll_co_in(WRAPPER, io.context(), (), |()| rounds(3))),
    ("a call elsewhere that times out", |io| {
        _ = poll_co_in_timeout(WRAPPER, io.context(), MS, (), |()| pending::<()>());
    }),
    ("a ctx call at home", |_| poll_co_in(WRAPPER, &AioContext::current(), (), |()| async {})),
    ("poll", |_| {
        let ctx = AioContext::current();
        let sleeps = || Box::pin(ctx.sleep(5 * MS));
        let mut sleep = sleeps();
        while sleep.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            sleep = sleeps();
        }
        ctx.poll(true);
    }),
    ("a call that panics", |_| assert_eq!(heard_of(|| plain(async { panic!("of the call") })), ["of the call"])),
    ("a call that panics elsewhere", |io| {
        let call = || poll_co_in(WRAPPER, io.context(), (), |()| async { panic!("of the call") });
        assert_eq!(heard_of(call), ["of the call"]);
    }),
    ("a call while unwinding", |_| {
        while_unwinding(|| {
            _ = catch_unwind(|| plain(AioContext::current().sleep(MS)));
        })
    }),
];

pub fn rows() -> Vec<Row> {
    let rows = HOOKS.into_iter().flat_map(|hook| CALLS.iter().map(move |call| (hook, call)));
    rows.map(|(hook, call)| row(format!("{}: a subscriber panics in {hook:?}", call.0), move || panics_in(hook, *call)))
        .collect()
}

fn panics_in(hook: Hook, (name, call): Call) {
    tracing::subscriber::set_global_default(Panics).unwrap();
    let (ctx, io) = (entered(), IoThread::spawn("io").unwrap());
    ARMED.store(hook as u8, Ordering::SeqCst);
    let mut heard = heard_of(|| call(&io));
    ARMED.store(0, Ordering::SeqCst);
    // A call that panics itself says so by the text it has, which is the subscriber's where that came first.
    heard.retain(|text| !text.starts_with("assertion"));
    let most = usize::from(FIRED.load(Ordering::SeqCst) && hook != Hook::Event);
    assert!(heard.len() <= most, "{heard:?}");
    // In a plain call there is nobody else to hear it.
    if ["a ready call", "a waiting call"].contains(&name) && ![Hook::RegisterCallsite, Hook::Enabled].contains(&hook) {
        assert_eq!(heard.len(), most, "{heard:?}");
    }
    is_well(&ctx);
    assert_eq!(plain(io.context().spawn(async { 1 })), 1);
    poll_co_in(WRAPPER, io.context(), (), |()| async {});
}

/// Catches: a subscriber that ends the process or a thread, that leaves one in coroutine context, or a caller waiting.
#[test]
fn w13_subscribers() {
    check(rows);
}
