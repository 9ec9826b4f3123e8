//! How a connection learns that something it watches has moved: one waker for all it watches, and no channel.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    task::Context,
};

use futures_util::task::AtomicWaker;

/// The ear of one connection. Many calls before it looks again wake it once.
#[derive(Debug, Default)]
pub struct Wake {
    waker: AtomicWaker,
    called: AtomicBool,
}

impl Wake {
    /// Wakes the connection's task, unless that was already done since it last looked.
    pub fn call(&self) {
        if !self.called.swap(true, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    /// Was it called since the last look? If not, the task of `cx` is woken by the next call.
    pub fn take(&self, cx: &Context<'_>) -> bool {
        // Registered first: a call between the two lines is seen by the second.
        self.waker.register(cx.waker());
        self.called.swap(false, Ordering::AcqRel)
    }
}
