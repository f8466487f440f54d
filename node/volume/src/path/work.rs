//! Work on a volume's own thread. What panics there leaves things half done: that data path is not to be
//! trusted any more, and ends as if its process had; the copy is opened again from what is on the disk.

use std::{
    any::Any,
    cell::RefCell,
    future::{Future, poll_fn},
    panic::AssertUnwindSafe,
    task::{Poll, Waker},
};

use futures::FutureExt;
use tokio::task::{JoinHandle, spawn_local};

thread_local! {
    static BROKEN: RefCell<Broken> = RefCell::default();
}

#[derive(Default)]
struct Broken {
    why: Option<String>,
    waits: Option<Waker>,
}

/// Begins something beside what runs.
pub(super) fn work(what: impl Future<Output = ()> + 'static) -> JoinHandle<()> {
    spawn_local(async move {
        if let Err(panic) = AssertUnwindSafe(what).catch_unwind().await {
            tell(panic.as_ref());
        }
    })
}

/// Does something at once.
pub(super) fn now(what: impl FnOnce()) {
    if let Err(panic) = std::panic::catch_unwind(AssertUnwindSafe(what)) {
        tell(panic.as_ref());
    }
}

fn tell(panic: &(dyn Any + Send)) {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    let waits = BROKEN.with_borrow_mut(|broken| {
        broken.why.get_or_insert(text.unwrap_or_else(|| "a panic".to_owned()));
        broken.waits.take()
    });
    if let Some(waker) = waits {
        waker.wake();
    }
}

/// Waits until something on this thread has panicked; what it said.
pub(super) async fn broken() -> String {
    poll_fn(|context| {
        BROKEN.with_borrow_mut(|broken| match broken.why.take() {
            Some(why) => Poll::Ready(why),
            None => {
                broken.waits = Some(context.waker().clone());
                Poll::Pending
            }
        })
    })
    .await
}
