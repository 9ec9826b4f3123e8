//! Hot loops compiled twice: for every machine of this kind, and for 256-bit registers where the machine has them. Owns the
//! choice at run time. There is one source for both, so both give the same bytes; the compiler does the vectors. Owns hints
//! to the processor too.

/// A hot loop. `run` and all it calls must be `#[inline(always)]`: only what is inlined is compiled for wider registers.
pub(crate) trait Kernel {
    fn run(self);
}

/// Runs `kernel` in the widest registers this machine has.
pub(crate) fn run(kernel: impl Kernel) {
    #[cfg(test)]
    if PLAIN.load(std::sync::atomic::Ordering::Relaxed) {
        return kernel.run();
    }
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the one condition of calling a function with a target feature is that the machine has it, which was
        // asked for in the line above. The function itself is safe code.
        #[expect(unsafe_code, reason = "the call of a function for a machine that was looked at")]
        unsafe {
            avx2(kernel);
        }
        return;
    }
    kernel.run();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn avx2(kernel: impl Kernel) {
    kernel.run();
}

/// Asks memory for what will be read or written soon, where the next place cannot be guessed from the last one.
#[inline(always)]
pub(crate) fn prefetch<T>(soon: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint reads nothing that a program could see and is allowed for any address; this one is valid besides.
        #[expect(unsafe_code, reason = "a hint to the processor, which takes a pointer")]
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(soon).cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = soon;
}

/// Set while a test wants what every machine of this kind would make. Other tests may run meanwhile: to them it is the same.
#[cfg(test)]
static PLAIN: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// What `work` makes without wide registers.
#[cfg(test)]
pub(crate) fn plainly<T>(work: impl FnOnce() -> T) -> T {
    PLAIN.store(true, std::sync::atomic::Ordering::Relaxed);
    let made = work();
    PLAIN.store(false, std::sync::atomic::Ordering::Relaxed);
    made
}

/// The seed of a random test: printed, and taken back from the environment variable `SEED`.
#[cfg(test)]
pub(crate) fn seed() -> u64 {
    let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0));
    println!("SEED={seed}");
    seed
}
