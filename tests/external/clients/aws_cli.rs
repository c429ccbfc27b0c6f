//! AWS CLI 1 and 2: every option of `describe-images`, `--query` and every `--output`.

/// A snapshot in a test that runs twice.
macro_rules! assert_prints {
    ($printed:expr, @$expected:literal) => {
        insta::allow_duplicates! { insta::assert_snapshot!($printed, @$expected) }
    };
}

macro_rules! with_both_versions {
    ($($test:ident),* $(,)?) => {
        mod aws_cli_1 {
            $(
                #[test]
                fn $test() {
                    super::with_aws(super::Version::One, stringify!($test), super::$test);
                }
            )*
        }

        mod aws_cli_2 {
            $(
                #[test]
                fn $test() {
                    super::with_aws(super::Version::Two, stringify!($test), super::$test);
                }
            )*
        }
    };
}

mod errors;
mod output;
mod requests;

use std::path::PathBuf;

use end_to_end::harness::{Ended, require, tools};
use serde_json::Value;

use self::errors::{prints_errors_of_the_services, rejects_what_the_model_forbids};
use self::output::{
    prints_an_empty_repository, prints_every_member_as_json, prints_skeletons_without_a_request,
    prints_text_tables_and_yaml,
};
use self::requests::{
    filters, finds_images_by_tag_and_by_digest, finds_the_newest_image, pages_and_resumes,
    reads_requests_from_json_and_yaml, reads_single_pages, requests_other_registries,
};
use super::{Serving, run};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

impl Version {
    pub(super) fn require(self, test: &str) -> Option<PathBuf> {
        match self {
            Self::One => require(test, tools().join("python/bin/aws")),
            Self::Two => require(test, "/usr/bin/aws"),
        }
    }
}

/// AWS CLI, and its endpoint.
#[derive(Debug)]
pub(super) struct Aws {
    pub(super) version: Version,
    pub(super) program: PathBuf,
    pub(super) endpoint: String,
}

impl Aws {
    /// Runs a command. Its arguments are separated by spaces; `''` is an empty one.
    pub(super) fn run(&self, command: &str) -> Ended {
        let arguments = command.split_whitespace().map(|word| if word == "''" { "" } else { word });
        run(&self.program, arguments.chain(["--endpoint-url", &self.endpoint]))
    }

    /// The output of a command that succeeds.
    pub(super) fn prints(&self, command: &str) -> String {
        let ended = self.run(command);
        assert!(ended.code == Some(0) && ended.stderr.is_empty(), "{command}: {ended:?}");
        ended.stdout
    }

    /// The output of a command, as JSON.
    pub(super) fn json(&self, command: &str) -> Value {
        serde_json::from_str(&self.prints(command)).unwrap()
    }

    /// The numbers of the images of `team/app` that are listed with these options.
    pub(super) fn lists(&self, service: &str, options: &str) -> Vec<u64> {
        let sizes = self.json(&format!(
            "{service} describe-images --repository-name team/app {options} \
             --query imageDetails[].imageSizeInBytes --output json"
        ));
        serde_json::from_value(sizes).unwrap()
    }

    /// Runs a command that the service refuses with this error.
    pub(super) fn is_refused(&self, command: &str, error: &str, message: &str) {
        let ended = self.run(command);
        let operation = if command.contains(" describe-images ") {
            "DescribeImages"
        } else {
            "GetLifecyclePolicy"
        };
        assert_eq!(
            ended.stderr,
            format!(
                "\nAn error occurred ({error}) when calling the {operation} operation: {message}\n"
            ),
            "{command}"
        );
        assert_eq!(ended.stdout, "", "{command}");
        let code = match self.version {
            Version::One => 255,
            Version::Two => 254,
        };
        assert_eq!(ended.code, Some(code), "{command}");
    }

    /// The error of AWS CLI for a command that it does not send.
    pub(super) fn rejects(&self, command: &str) -> String {
        let ended = self.run(command);
        assert_eq!(ended.stdout, "", "{command}");
        let code = match self.version {
            Version::One => 255,
            Version::Two => 252,
        };
        assert_eq!(ended.code, Some(code), "{command}");
        ended.stderr
    }
}

pub(super) fn with_aws(version: Version, test: &str, body: fn(&Aws)) {
    let Some(program) = version.require(test) else { return };
    let serving = Serving::start();
    body(&Aws { version, program, endpoint: serving.catalog.url.clone() });
}

with_both_versions![
    prints_every_member_as_json,
    prints_text_tables_and_yaml,
    prints_an_empty_repository,
    finds_the_newest_image,
    finds_images_by_tag_and_by_digest,
    filters,
    requests_other_registries,
    reads_requests_from_json_and_yaml,
    pages_and_resumes,
    reads_single_pages,
    prints_skeletons_without_a_request,
    prints_errors_of_the_services,
    rejects_what_the_model_forbids,
];
