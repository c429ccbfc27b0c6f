//! Makes inputs: seeds that are changed at random places, and arbitrary bytes.

use end_to_end::harness::Random;

/// No input is longer.
const MAX_BYTES: usize = 256 * 1024;

/// Of a run of one byte, which may be longer than a limit.
const MAX_RUN: u64 = 100_000;

/// Numbers at the borders of types, of times and of formats.
const NUMBERS: [&str; 28] = [
    "0",
    "-0",
    "-1",
    "1",
    "00",
    "0.5",
    "1E+2",
    "127",
    "128",
    "255",
    "256",
    "65536",
    "2147483648",
    "4294967296",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "18446744073709551616",
    "253402300799",
    "253402300800",
    "-62135596801",
    "1e308",
    "1e309",
    "1e-400",
    "99999999999999999999999999999999999999999",
];

/// Text that a parser may take for something.
const FRAGMENTS: [&str; 40] = [
    "",
    " ",
    "\t",
    "\r\n",
    "\r\n\r\n",
    "\0",
    "\"",
    "\\",
    "'",
    "/",
    "//",
    "..",
    "../",
    ":",
    ";",
    ",",
    "=",
    "&",
    "?",
    "#",
    "%",
    "%00",
    "%ff",
    "*",
    "null",
    "true",
    "{}",
    "[]",
    "[",
    "{\"a\":",
    "\"\"",
    "\\u0000",
    "\\ud800",
    "\u{feff}",
    "ü",
    "sha256:",
    "sha512:",
    "A",
    "a",
    "9999-12-31T23:59:60Z",
];

/// Makes inputs from seeds.
pub(super) struct Mutator<'a> {
    random: Random,
    seeds: &'a [Vec<u8>],
}

impl<'a> Mutator<'a> {
    pub(super) fn new(random: u64, seeds: &'a [Vec<u8>]) -> Self {
        Self { random: Random(random), seeds }
    }

    pub(super) fn input(&mut self) -> Vec<u8> {
        let mut input = match self.random.below(20) {
            0 => {
                let limit = 1 << self.random.below(12);
                let length = self.below(limit);
                (0..length).map(|_| self.random.next().to_be_bytes()[0]).collect()
            }
            _ => self.random.one_of(self.seeds).clone(),
        };
        for _ in 0..=self.random.below(4) {
            self.mutate(&mut input);
        }
        input.truncate(MAX_BYTES);
        input
    }

    fn mutate(&mut self, input: &mut Vec<u8>) {
        match self.random.below(10) {
            0 => {
                let (at, bit) = (self.below(input.len()), self.random.below(8));
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
            1 => input.truncate(self.below(input.len())),
            2 => drop(input.drain(self.piece(input))),
            3 => {
                let piece = self.piece(input);
                let repeated = input[piece.clone()].repeat(1 + self.below(8));
                insert(input, piece.end, &repeated);
            }
            4 => {
                // The beginning of one and the end of another.
                let other = self.random.one_of(self.seeds).clone();
                input.truncate(self.below(input.len() + 1));
                input.extend_from_slice(&other[self.below(other.len())..]);
            }
            5 => {
                let other = self.random.one_of(self.seeds).clone();
                let (piece, at) = (self.piece(&other), self.below(input.len() + 1));
                insert(input, at, &other[piece]);
            }
            6 => {
                let run = self.run(input, |byte| byte.is_ascii_digit());
                let number = self.random.one_of(&NUMBERS);
                input.splice(run, number.bytes());
            }
            7 => {
                let run =
                    self.run(input, |byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte));
                let fragment = self.random.one_of(&FRAGMENTS);
                input.splice(run, fragment.bytes());
            }
            8 => {
                let (at, fragment) = (self.below(input.len() + 1), self.random.one_of(&FRAGMENTS));
                insert(input, at, fragment.as_bytes());
            }
            _ => {
                // Most are short, so that many inputs take little time.
                let limit = if self.random.below(50) == 0 { MAX_RUN } else { 300 };
                let (at, length) = (self.below(input.len() + 1), self.random.below(limit));
                let fragment = self.random.one_of(&FRAGMENTS).as_bytes();
                insert(input, at, &fragment.repeat(usize::try_from(length).unwrap() / 2));
            }
        }
    }

    /// A number below `end`, or 0.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.random.below(end.max(1) as u64)).unwrap()
    }

    fn piece(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let start = self.below(bytes.len());
        start..start + self.below((bytes.len() - start + 1).min(100))
    }

    /// The next bytes of a kind after a random place.
    fn run(&mut self, bytes: &[u8], is_of_kind: impl Fn(u8) -> bool) -> std::ops::Range<usize> {
        let from = self.below(bytes.len());
        let is_at = |at: &usize| bytes.get(*at).is_some_and(|byte| is_of_kind(*byte));
        let start = (from..bytes.len()).find(|at| is_at(at)).unwrap_or(bytes.len());
        let end = (start..bytes.len()).find(|at| !is_at(at)).unwrap_or(bytes.len());
        start..end
    }
}

fn insert(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    input.splice(at..at, bytes.iter().copied());
}
