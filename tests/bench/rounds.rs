//! Measurements in turns: A B C A B C and so on, so that whatever else the machine does affects all
//! contenders alike.

use std::time::Instant;

use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// Of a contender that takes less than a second, unless `ROUNDS` in the environment has another
/// number.
const ROUNDS: usize = 25;

/// Of a contender that takes seconds.
const LONG_ROUNDS: usize = 7;

/// The measurements of a contender, one for each round.
#[derive(Debug, Clone)]
pub(crate) struct Samples(Vec<f64>);

/// The median, and the quartiles around it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) quartiles: (f64, f64),
}

impl Samples {
    pub(crate) fn median(&self) -> f64 {
        self.spread().median
    }

    pub(crate) fn spread(&self) -> Spread {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |numerator| sorted[(sorted.len() - 1) * numerator / 4];
        Spread { median: at(2), quartiles: (at(1), at(3)) }
    }

    /// The ratios to another contender's measurements in the same rounds.
    pub(crate) fn over(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(this, other)| this / other).collect())
    }
}

pub(crate) fn rounds() -> usize {
    variable("ROUNDS").unwrap_or(ROUNDS)
}

pub(crate) fn long_rounds() -> usize {
    variable("ROUNDS").unwrap_or(LONG_ROUNDS)
}

/// A number in the environment.
pub(crate) fn variable(name: &str) -> Option<usize> {
    Some(std::env::var(name).ok()?.parse().unwrap())
}

/// Measures contenders in turns, after a first round that does not count.
pub(crate) fn in_turns<const CONTENDERS: usize>(
    rounds: usize,
    mut contenders: [&mut dyn FnMut() -> f64; CONTENDERS],
) -> [Samples; CONTENDERS] {
    let mut samples = [const { Samples(Vec::new()) }; CONTENDERS];
    for round in 0..=rounds {
        for (contender, samples) in contenders.iter_mut().zip(&mut samples) {
            let sample = contender();
            if round > 0 {
                samples.0.push(sample);
            }
        }
    }
    samples
}

/// The seconds that a call takes in this process, while each of some tasks makes one after the
/// other. With several tasks, calls overlap.
pub(crate) fn seconds_per_call<F>(
    runtime: &Runtime,
    tasks: usize,
    calls: usize,
    call: impl Fn() -> F + Clone + Send + 'static,
) -> f64
where
    F: Future<Output = ()> + Send + 'static,
{
    let started = Instant::now();
    runtime.block_on(async {
        let mut running = JoinSet::new();
        for _ in 0..tasks {
            let call = call.clone();
            running.spawn(async move {
                for _ in 0..calls / tasks {
                    call().await;
                }
            });
        }
        running.join_all().await;
    });
    started.elapsed().as_secs_f64() / (calls / tasks * tasks) as f64
}
