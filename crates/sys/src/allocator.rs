//! An allocator that leaves nothing behind.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;

/// Gives freed memory back to the kernel, however scattered it is (malloc_trim(3)): by itself
/// the C library gives back only what lies at the end of a heap. Walks all free blocks, so it
/// is for rare moments. Where the C library has no such call it does nothing.
pub fn return_free_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes the allocator's own locks and touches nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The system's allocator, but whatever is freed is overwritten with zeros first.
///
/// A program that reads secrets, drops them and then stays has none of them in its memory,
/// however often they were copied while they were parsed.
#[derive(Clone, Copy, Debug, Default)]
pub struct ZeroingAllocator;

// SAFETY: every method hands its arguments on to the system's allocator, whose contract is
// the same; the memory is written to only while it still belongs to the caller.
unsafe impl GlobalAlloc for ZeroingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps GlobalAlloc's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps GlobalAlloc's contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        for offset in 0..layout.size() {
            // SAFETY: the block is the caller's until it is freed below, and the offset lies
            // inside it. Volatile: the compiler may not leave out a write before a free.
            unsafe { ptr::write_volatile(memory.add(offset), 0) };
        }
        // SAFETY: the caller keeps GlobalAlloc's contract.
        unsafe { System.dealloc(memory, layout) }
    }

    // No `realloc`: the provided one allocates, copies and calls `dealloc` above, where the
    // system's might move the block and free the old one as it is.
}
