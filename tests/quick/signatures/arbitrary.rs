//! Arbitrary bytes in the parts of a signature get a response that is no failure.

use end_to_end::harness::histories;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Runtime;

use super::{Signer, send};

/// The parts of a right request, or a presigned one, that are replaced.
const PARTS: [(bool, &str); 10] = [
    (false, "AWS4-HMAC-SHA256 "),
    (false, "AKIDREADER"),
    (false, "us-east-1/ecr/aws4_request"),
    (false, "host;x-amz-date;x-amz-target"),
    (false, "X-Amz-Date: "),
    (false, "POST /"),
    (true, "AWS4-HMAC-SHA256"),
    (true, "AKIDREADER%2F"),
    (true, "X-Amz-Expires=600"),
    (true, "SignedHeaders=host"),
];

/// Text that a parser may take for something.
const FRAGMENTS: [&str; 24] = [
    "AWS4-HMAC-SHA256 ",
    "Credential=",
    "SignedHeaders=",
    "Signature=",
    "AKIDREADER",
    "/",
    ",",
    ";",
    "=",
    "&",
    "?",
    "%",
    "%2",
    "%FF",
    "+",
    " ",
    "\t",
    "host",
    "X-Amz-Date",
    "X-Amz-Expires=-1",
    "X-Amz-Signature=",
    "20260101T000000Z",
    "x-amz-date",
    "ü",
];

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    // The end of a line would be the end of the part.
    let byte = any::<u8>().prop_filter("ends a line", |byte| !b"\r\n".contains(byte));
    let fragment = prop_oneof![
        3 => select(FRAGMENTS.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        1 => vec(byte, 0..6),
    ];
    vec(fragment, 0..12).prop_map(|fragments| fragments.concat())
}

#[test]
fn r43_arbitrary_bytes_are_no_failure() {
    let runtime = Runtime::new().unwrap();
    let signer = runtime.block_on(Signer::start());
    let requests = [signer.right_request(), signer.right_presigned()];
    for request in &requests {
        assert_eq!(runtime.block_on(signer.send(request)).0, 200);
    }
    let mut runner = TestRunner::new(Config::with_cases(histories()));
    let case = (select(PARTS.to_vec()), any_bytes(), any::<bool>());
    let result = runner.run(&case, |((is_presigned, part), bytes, is_added)| {
        let request = requests[usize::from(is_presigned)].replace('\n', "\r\n");
        let (before, after) = request.split_once(part).unwrap();
        let kept = if is_added { part } else { "" };
        let request = [before.as_bytes(), kept.as_bytes(), &bytes, after.as_bytes()].concat();
        let (status, name, message) = runtime.block_on(send(signer.host(), &request));
        prop_assert!(status < 500, "{}: {status} {name} {message}", request.escape_ascii());
        Ok(())
    });
    result.unwrap();
}
