//! Counts what the process has allocated, for tests of bounds: an allocator that asks the system's for
//! everything and adds up. `GlobalAlloc` is an unsafe trait, so there is `unsafe` here: each function
//! hands its arguments on unchanged, and so keeps whatever its caller has promised.
#![allow(unsafe_code)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

/// See the module.
pub struct Counting;

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Relaxed) + layout.size();
        MOST.fetch_max(now, Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(at, layout) }
    }
}

/// Measures from here on.
pub struct Since(usize);

impl Since {
    pub fn now() -> Self {
        let now = NOW.load(Relaxed);
        MOST.store(now, Relaxed);
        Self(now)
    }

    /// How many bytes more there were at most since.
    pub fn most(&self) -> usize {
        MOST.load(Relaxed).saturating_sub(self.0)
    }
}
