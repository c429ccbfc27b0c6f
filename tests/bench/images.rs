//! The images that are measured. All contenders have the same ones.

use catalog::{Digest, Tag};
use end_to_end::harness::repository;
use end_to_end::harness::stand_in::{digest_of, image_manifest};
use end_to_end::reference::cloud_trail::Call;
use serde_json::Value;

/// The manifest of an image. Its number determines its size, and with that its digest.
pub(crate) fn manifest(number: u64) -> Value {
    image_manifest(50_000_000 + number)
}

pub(crate) fn digest(number: u64) -> Digest {
    digest_of(&manifest(number))
}

/// Each image has a tag of its own.
pub(crate) fn tag(number: u64) -> Tag {
    end_to_end::harness::tag(&format!("v1.{number}"))
}

/// The event of the push of an image to a repository of Amazon ECR: a CloudTrail record, which
/// contains all that the catalog holds of an image.
pub(crate) fn push_event(repository_name: &str, number: u64) -> Value {
    let put = Call::PutImage { manifest: manifest(number), tag: Some(tag(number)) };
    put.record(&repository(repository_name), number.cast_signed())
}
