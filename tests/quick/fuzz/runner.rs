//! Runs a target with many inputs.

use std::hash::{BuildHasher as _, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use end_to_end::harness::{print, temporary_folder};
use tokio::runtime::{Builder, Runtime};

use super::mutator::Mutator;

/// Of each input.
const TIME_LIMIT: Duration = Duration::from_secs(1);

/// Of one target that runs alone.
const MEMORY_LIMIT: usize = 64 * 1024 * 1024;

/// How often an input may be slow because other tests take the processors.
const ATTEMPTS: usize = 5;

const SERVER_THREAD: &str = "fuzzed server";

/// The panics of servers, whose clients see no more than the end of a connection.
static SERVER_PANICS: AtomicUsize = AtomicUsize::new(0);

/// Runs a target for `FUZZ_SECONDS` (1 if it is not set) with lists of inputs, each of `size`. The
/// first ones are the seeds themselves. `FUZZ_SEED` repeats the inputs of another run.
pub(super) fn fuzz(target: &str, seeds: &[Vec<u8>], size: usize, mut run: impl FnMut(&[Vec<u8>])) {
    let seconds = variable("FUZZ_SECONDS").unwrap_or(1);
    let random = variable("FUZZ_SEED").unwrap_or_else(|| RandomState::new().hash_one(target));
    let mut mutator = Mutator::new(random, seeds);
    let mut checked = |inputs: &[Vec<u8>]| {
        if let Err(reason) = check(inputs, &mut run) {
            let file = temporary_folder().join(target.replace("::", "-"));
            std::fs::write(&file, inputs.concat()).unwrap();
            let text: String =
                inputs.concat().escape_ascii().to_string().chars().take(2000).collect();
            panic!("{target}, FUZZ_SEED={random}: {reason}\n{}: {text}", file.display());
        }
    };
    seeds.chunks(size).for_each(&mut checked);
    let (peak, started) = (peak_memory(), Instant::now());
    let mut number = 0;
    while started.elapsed() < Duration::from_secs(seconds) {
        let inputs: Vec<Vec<u8>> = (0..size).map(|_| mutator.input()).collect();
        checked(&inputs);
        number += size;
    }
    let growth = peak_memory().saturating_sub(peak);
    print(format_args!(
        "{target}: {number} inputs in {seconds} s, FUZZ_SEED={random}, {} KiB more memory",
        growth / 1024
    ));
    // The memory of the process is that of all tests that run at the same time. So it says
    // something only if the target was called by its name, and for so long that leaks add up.
    let is_alone = std::env::args().any(|argument| argument == target);
    assert!(seconds < 10 || !is_alone || growth <= MEMORY_LIMIT, "{target}: {growth} bytes more");
}

/// Runs a target once, without a panic and in time.
fn check(inputs: &[Vec<u8>], run: &mut impl FnMut(&[Vec<u8>])) -> Result<(), String> {
    for _ in 0..ATTEMPTS {
        let (started, panics) = (Instant::now(), SERVER_PANICS.load(Ordering::Relaxed));
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(inputs))) {
            let text = panic.downcast_ref::<String>().cloned();
            return Err(text.unwrap_or_else(|| "it panics; the reason is above".to_owned()));
        }
        if SERVER_PANICS.load(Ordering::Relaxed) != panics {
            return Err("a server panics; the reason is above".to_owned());
        }
        if started.elapsed() < TIME_LIMIT {
            return Ok(());
        }
    }
    Err(format!("it takes more than {TIME_LIMIT:?}"))
}

/// A runtime for servers, whose panics are counted.
pub(super) fn runtime() -> Runtime {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if std::thread::current().name() == Some(SERVER_THREAD) {
                SERVER_PANICS.fetch_add(1, Ordering::Relaxed);
            }
            hook(panic);
        }));
    });
    let mut builder = Builder::new_multi_thread();
    builder.enable_all().worker_threads(1).thread_name(SERVER_THREAD).build().unwrap()
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|number| number.parse().unwrap())
}

/// The most memory that the process had until now, in bytes; 0 where the system does not tell.
fn peak_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    kibibytes.unwrap_or_default() * 1024
}
