//! Reads a repository while it changes, and checks each response against the changes.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use catalog::image::Image;
use catalog::reader::{Filter, ReadError};
use catalog::{Change, Repository};
use tokio::runtime::Builder;
use tokio::time::MissedTickBehavior;

use super::moves::{Identifier, Move, State, Timeline, are_its_tags, number};
use crate::harness::{Random, Store, print, repository, time};
use crate::reference::model;

/// The number of concurrent readers.
pub const READERS: u64 = 2;
/// The interval of moves, if the engine is fast enough.
const MOVE_INTERVAL: Duration = Duration::from_millis(3);
/// The maximum age of a response.
pub const MAX_AGE: Duration = Duration::from_millis(200);
/// The maximum age of a response of a late replica, before the begin of the request.
pub const MAX_LATENESS: Duration = MAX_AGE.saturating_add(Duration::from_millis(50));
/// The largest page.
const MAX_PAGE: u64 = 5;

/// The number of reads, unless it is set by `READS` in the environment.
pub fn reads() -> usize {
    std::env::var("READS").map_or(1000, |reads| reads.parse().unwrap())
}

/// The printed figures are those of one test alone.
pub static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[derive(Clone, Copy)]
pub enum ReadKind {
    /// Finds images. They are chosen from the latest state.
    Find(fn(&State, &mut Random) -> Vec<Identifier>),
    /// Lists all pages, under any filter.
    List,
}

pub struct Plan {
    pub test: &'static str,
    /// Moves before the first read.
    pub set_up: Vec<Move>,
    /// Moves during the reads. The first parameter counts the moves.
    pub next: fn(u64, &State, &mut Random) -> Move,
    pub kind: ReadKind,
    pub reads: usize,
}

/// An error in a response.
pub struct Wrong {
    /// A short description; equal ones are counted together.
    pub kind: String,
    /// Details, to find the cause.
    pub details: String,
}

impl Wrong {
    /// An error of a kind.
    pub fn new(kind: impl Into<String>, details: impl Debug) -> Self {
        Self { kind: kind.into(), details: format!("{details:?}") }
    }
}

impl From<ReadError> for Wrong {
    fn from(error: ReadError) -> Self {
        let kind = match &error {
            ReadError::RepositoryNotFound => "no such repository",
            ReadError::Store(_) => "the store failed",
        };
        Self::new(kind, error)
    }
}

/// The figures of some reads.
#[derive(Default)]
pub struct Figures {
    reads: usize,
    /// The number of images that responses had to contain.
    due: usize,
    /// For each kind, the number of errors, and the first one.
    errors: BTreeMap<String, (usize, String)>,
}

impl Figures {
    /// Counts a read whose response had to contain this many images.
    pub fn add(&mut self, outcome: Result<usize, Wrong>) {
        self.reads += 1;
        match outcome {
            Ok(due) => self.due += due,
            Err(wrong) => self.errors.entry(wrong.kind).or_insert((0, wrong.details)).0 += 1,
        }
    }

    /// Adds the figures of another reader.
    pub fn merge(&mut self, other: Self) {
        self.reads += other.reads;
        self.due += other.due;
        for (kind, (number, first)) in other.errors {
            self.errors.entry(kind).or_insert((0, first)).0 += number;
        }
    }

    /// Prints them; returns the errors, for the end of the test.
    pub fn print(&self, test: &str, engine: &str, moves: usize, took: Duration) -> Vec<String> {
        let errors: usize = self.errors.values().map(|(number, _)| number).sum();
        let kinds: Vec<_> =
            self.errors.iter().map(|(kind, (number, _))| format!("{number} {kind}")).collect();
        let kinds =
            if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
        print(format!(
            "{test}, {engine}: {} reads, {} images due, {errors} errors{kinds}, {moves} moves, {:.1} s",
            self.reads,
            self.due,
            took.as_secs_f64(),
        ));
        let first = |(kind, (number, first)): (&String, &(usize, String))| {
            format!("{engine}: {number} {kind}, first: {first}")
        };
        self.errors.iter().map(first).collect()
    }
}

/// Reads as planned while things change. Prints the figures; returns the errors.
pub async fn run_on(engine: &str, store: Store, lateness: Duration, plan: &Plan) -> Vec<String> {
    let repository = repository("app");
    let scene = Arc::new(Scene { store, repository, lateness, timeline: Timeline::new() });
    let mut mover =
        Mover { scene: Arc::clone(&scene), next: plan.next, random: Random(2), moves: 0 };
    for done in &plan.set_up {
        mover.apply(*done).await;
    }
    // Until every replica has the first moves.
    let set_up_at = Instant::now();
    while set_up_at.elapsed() <= MAX_LATENESS {
        mover.step().await;
    }
    let is_over = Arc::new(AtomicBool::new(false));
    let started = Instant::now();
    let moving = tokio::task::spawn_blocking({
        let is_over = Arc::clone(&is_over);
        // It has a runtime of its own, so that it does not wait for the readers.
        move || {
            Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap()
                .block_on(mover.go_on(is_over))
        }
    });
    let left = Arc::new(AtomicUsize::new(plan.reads));
    let readers: Vec<_> = (0..READERS)
        .map(|reader| {
            tokio::spawn(Arc::clone(&scene).read(plan.kind, Random(3 + reader), Arc::clone(&left)))
        })
        .collect();
    let mut figures = Figures::default();
    for reader in readers {
        figures.merge(reader.await.unwrap());
    }
    let took = started.elapsed();
    is_over.store(true, Ordering::Relaxed);
    figures.print(plan.test, engine, moving.await.unwrap(), took)
}

/// Makes moves.
struct Mover {
    scene: Arc<Scene>,
    next: fn(u64, &State, &mut Random) -> Move,
    random: Random,
    moves: u64,
}

impl Mover {
    /// Makes moves until the reads are done; returns their number.
    async fn go_on(mut self, is_over: Arc<AtomicBool>) -> usize {
        let mut interval = tokio::time::interval(MOVE_INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut moves = 0;
        while !is_over.load(Ordering::Relaxed) {
            interval.tick().await;
            self.step().await;
            moves += 1;
        }
        moves
    }

    async fn step(&mut self) {
        let next = (self.next)(self.moves, &self.scene.timeline.latest(), &mut self.random);
        self.apply(next).await;
    }

    async fn apply(&mut self, done: Move) {
        self.moves += 1;
        let time = time(self.moves.cast_signed());
        let change =
            Change { repository: self.scene.repository.clone(), time, kind: done.kind(time) };
        self.scene.timeline.begin(done);
        self.scene.store.writer.apply(&change).await.unwrap();
        self.scene.timeline.end();
    }
}

/// A repository that is changed and read.
struct Scene {
    store: Store,
    repository: Repository,
    /// The maximum age of a response at the begin of its request.
    lateness: Duration,
    timeline: Timeline,
}

impl Scene {
    /// Reads until no reads are left.
    async fn read(
        self: Arc<Self>,
        kind: ReadKind,
        mut random: Random,
        left: Arc<AtomicUsize>,
    ) -> Figures {
        let mut figures = Figures::default();
        while left
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
            .is_ok()
        {
            figures.add(match kind {
                ReadKind::Find(choose) => {
                    let requested = choose(&self.timeline.latest(), &mut random);
                    self.find(&requested).await
                }
                ReadKind::List => self.list(&mut random).await,
            });
            // `StaleEngine` responds without a wait; this lets other tasks run.
            tokio::task::yield_now().await;
        }
        figures
    }

    /// Finds images. An image must be found if its identifier matches an image from the begin to
    /// the end of the read.
    async fn find(&self, all_requested: &[Identifier]) -> Result<usize, Wrong> {
        let identifiers: Vec<_> =
            all_requested.iter().map(|requested| requested.identifier()).collect();
        let begin = Instant::now();
        let found = self.store.reader.find(&self.repository, &identifiers).await;
        let end = Instant::now();
        let found = found?.images;
        assert_eq!(found.len(), all_requested.len(), "one result for each identifier");
        let states = self.timeline.between(begin, end);
        let with_earlier = self.timeline.between(begin.checked_sub(self.lateness).unwrap(), end);
        let mut due = 0;
        for (requested, image) in all_requested.iter().zip(found) {
            let is_due = states.iter().all(|state| state.find(*requested).is_some());
            due += usize::from(is_due);
            let Some(image) = image else {
                if is_due {
                    return Err(Wrong::new("not found", (requested, states)));
                }
                continue;
            };
            let number = number(&image.image_digest);
            let has_tag = |name| image.image_tags.iter().any(|tag| tag.as_str() == name);
            if requested.number.is_some_and(|requested| requested != number)
                || !requested.tag.is_none_or(has_tag)
            {
                return Err(Wrong::new("not what was requested", (requested, image)));
            }
            if !with_earlier.iter().any(|state| state.find(*requested) == Some(number)) {
                return Err(Wrong::new("never so", (requested, image, with_earlier)));
            }
            if !are_its_tags(&image, &with_earlier) {
                return Err(Wrong::new("with other tags", (requested, image, with_earlier)));
            }
        }
        Ok(due)
    }

    /// Lists images. An image must be listed once if it passes the filter during the whole read; on
    /// late replicas, also during their lateness before it.
    async fn list(&self, random: &mut Random) -> Result<usize, Wrong> {
        let filters: Vec<Filter> = model::filters().collect();
        let filter = random.one_of(&filters);
        let begin = Instant::now();
        let mut listed: Vec<Image> = Vec::new();
        loop {
            let limit = usize::try_from(1 + random.below(MAX_PAGE)).unwrap();
            let after = listed.last().map(Image::position);
            let page = self.store.page(&self.repository, filter, after.as_ref(), limit).await?;
            if page.images.len() > limit || page.more && page.images.len() < limit {
                return Err(Wrong::new(
                    "a page of another size",
                    (limit, page.images.len(), page.more),
                ));
            }
            listed.extend(page.images);
            if !page.more {
                break;
            }
        }
        let end = Instant::now();
        let states = self.timeline.between(begin.checked_sub(self.lateness).unwrap(), end);
        let numbers: Vec<u64> = listed.iter().map(|image| number(&image.image_digest)).collect();
        let wrong = |what: &str, which: u64| {
            let Filter { tag_status, image_status } = filter;
            let tag_status = tag_status.map_or("ANY", |status| status.as_str());
            let image_status = image_status.map_or("ANY", |status| status.as_str());
            Wrong::new(format!("{what} {tag_status}/{image_status}"), (which, &numbers))
        };
        let mut due = 0;
        for number in states[0].0.keys() {
            if states.iter().all(|state| state.passes(*number, filter)) {
                due += 1;
                if !numbers.contains(number) {
                    return Err(wrong("lost under", *number));
                }
            }
        }
        for (place, number) in numbers.iter().enumerate() {
            if numbers[..place].contains(number) {
                return Err(wrong("twice under", *number));
            }
            if !states.iter().any(|state| state.passes(*number, filter)) {
                return Err(wrong("not passing", *number));
            }
        }
        if let Some(pair) =
            listed.windows(2).find(|pair| pair[0].image_pushed_at <= pair[1].image_pushed_at)
        {
            return Err(wrong("out of order under", number(&pair[1].image_digest)));
        }
        Ok(due)
    }
}
