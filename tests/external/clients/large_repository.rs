//! Every client reads each image of a large repository once.

use std::cmp::Reverse;
use std::sync::LazyLock;
use std::time::Instant;

use catalog::change::Content;
use catalog::{ChangeKind, Digest};
use end_to_end::harness::{Store, digest, print, repository, tag};
use end_to_end::reference::cloud_trail::public_repository;

use super::{Serving, apply, digest_in, put_image, record};

pub(super) const LARGE: u64 = 2_500;

/// `None` is the default, 100.
pub(super) const PAGE_SIZES: [Option<usize>; 5] = [Some(1), Some(7), Some(100), Some(1000), None];

/// A catalog with the repository `large` in both services, which many tests read at once.
pub(super) struct Large {
    pub(super) serving: Serving,
    private: Images,
    public: Images,
}

/// The digest and the tags of each image, in the order of a listing.
type Images = Vec<(String, Vec<String>)>;

pub(super) static LARGE_CATALOG: LazyLock<Large> = LazyLock::new(Large::start);

impl Large {
    pub(super) fn start() -> Self {
        let serving = Serving::start_with(Store::in_memory());
        let store = &serving.catalog.store;
        let (private, public) = (images("ecr"), images("ecr-public"));
        let large = repository("large");
        serving.runtime.block_on(async {
            for image in &private {
                for name in image.names() {
                    let push = ChangeKind::ImagePushed {
                        digest: image.digest.clone(),
                        tag: name.map(tag),
                        content: Content::default(),
                    };
                    apply(store, &large, image.second * 1000, push).await;
                }
            }
            let large = public_repository("large");
            let put = |image: &Image| -> Vec<_> {
                let put = |name| (image.second, &large, put_image(image.number, name));
                image.names().into_iter().map(put).collect()
            };
            record(store, &public.iter().flat_map(put).collect::<Vec<_>>()).await;
        });
        Self { serving, private: in_order(private), public: in_order(public) }
    }

    fn images(&self, service: &str) -> &Images {
        if service == "ecr" { &self.private } else { &self.public }
    }
}

/// An image of the repository `large`.
struct Image {
    number: u64,
    second: i64,
    digest: Digest,
    tags: Vec<String>,
}

impl Image {
    /// The tag of each push.
    fn names(&self) -> Vec<Option<&str>> {
        if self.tags.is_empty() {
            return vec![None];
        }
        self.tags.iter().map(|name| Some(name.as_str())).collect()
    }
}

/// Digests in random order, and few times: pages end between images of equal times.
fn images(service: &str) -> Vec<Image> {
    let image = |number: u64| Image {
        number,
        second: (number % 13).cast_signed(),
        digest: match service {
            "ecr" => digest(number.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
            _ => digest_in(service, number),
        },
        tags: match number % 3 {
            0 => Vec::new(),
            1 => vec![format!("v{number}")],
            _ => vec![format!("stable-{number}"), format!("v{number}")],
        },
    };
    (0..LARGE).map(image).collect()
}

fn in_order(mut images: Vec<Image>) -> Images {
    images.sort_by_key(|image| (Reverse(image.second), image.digest.clone()));
    images.into_iter().map(|image| (image.digest.to_string(), image.tags)).collect()
}

/// The result of a client that reads the repository `large`.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// How many images each page had, if the client exposes pages.
    pub(super) pages: Option<Vec<usize>>,
    /// The digest and the tags of each image.
    pub(super) images: Vec<(String, Vec<String>)>,
}

/// A client reads with every page size: all images, each once, the newest first.
pub(super) fn reads_every_image_once(
    client: &str,
    service: &str,
    read: impl Fn(Option<usize>) -> Reading,
) {
    for page_size in PAGE_SIZES {
        let started = Instant::now();
        let Reading { pages, images } = read(page_size);
        let elapsed = started.elapsed();
        let size = page_size.map_or("default".to_owned(), |size| size.to_string());
        let expected = LARGE_CATALOG.images(service);
        let different = images.iter().zip(expected).position(|(found, expected)| found != expected);
        assert_eq!(
            different, None,
            "{client}, page size {size}: the first image that is not as it should be"
        );
        assert_eq!(images.len(), expected.len(), "{client}, page size {size}");
        if let Some(pages) = pages {
            let full: Vec<usize> =
                expected.chunks(page_size.unwrap_or(100)).map(<[_]>::len).collect();
            assert_eq!(pages, full, "{client}, page size {size}: every page but the last is full");
        }
        print(format!("{client} reads {LARGE} images, page size {size}, in {elapsed:.1?}"));
    }
}

mod reads_every_image_of_a_large_repository_once {
    use super::{LARGE_CATALOG, Reading, reads_every_image_once};
    use crate::clients::aws_cli::{Aws, Version};
    use crate::clients::boto3_and_javascript::Language;
    use crate::clients::rust_sdk::{Handler, rust_sdk_ecr, rust_sdk_ecr_public};

    fn aws_cli(version: Version, service: &str) {
        let client = format!("AWS CLI {version:?}, {service}");
        let Some(program) = version.require(&client) else { return };
        let aws = Aws { version, program, endpoint: LARGE_CATALOG.serving.catalog.url.clone() };
        reads_every_image_once(&client, service, |page_size| {
            let option = page_size.map_or(String::new(), |size| format!("--page-size {size}"));
            let images = aws.json(&format!(
                "{service} describe-images --repository-name large {option} \
                 --query imageDetails[].[imageDigest,imageTags||`[]`] --output json"
            ));
            Reading { pages: None, images: serde_json::from_value(images).unwrap() }
        });
    }

    fn script(language: Language, service: &str) {
        let client = format!("{language:?}, {service}");
        let Some(scripts) = language.require(&client) else { return };
        reads_every_image_once(&client, service, |page_size| {
            let page_size = page_size.map_or("default".to_owned(), |size| size.to_string());
            let arguments = [service, &LARGE_CATALOG.serving.catalog.url, "large", &page_size];
            let mut read = scripts.lines("paginate", &arguments).remove(0);
            Reading {
                pages: serde_json::from_value(read["pages"].take()).unwrap(),
                images: serde_json::from_value(read["images"].take()).unwrap(),
            }
        });
    }

    #[test]
    fn aws_cli_1_ecr() {
        aws_cli(Version::One, "ecr");
    }

    #[test]
    fn aws_cli_1_ecr_public() {
        aws_cli(Version::One, "ecr-public");
    }

    #[test]
    fn aws_cli_2_ecr() {
        aws_cli(Version::Two, "ecr");
    }

    #[test]
    fn aws_cli_2_ecr_public() {
        aws_cli(Version::Two, "ecr-public");
    }

    #[test]
    fn boto3_ecr() {
        script(Language::Python, "ecr");
    }

    #[test]
    fn boto3_ecr_public() {
        script(Language::Python, "ecr-public");
    }

    #[test]
    fn javascript_ecr() {
        script(Language::JavaScript, "ecr");
    }

    #[test]
    fn javascript_ecr_public() {
        script(Language::JavaScript, "ecr-public");
    }

    #[test]
    fn rust_ecr() {
        let serving = &LARGE_CATALOG.serving;
        let client = rust_sdk_ecr::client(&Handler::new(&serving.catalog.store));
        reads_every_image_once("Rust, ecr", "ecr", |page_size| {
            serving.runtime.block_on(rust_sdk_ecr::read(&client, page_size))
        });
    }

    #[test]
    fn rust_ecr_public() {
        let serving = &LARGE_CATALOG.serving;
        let client = rust_sdk_ecr_public::client(&Handler::new(&serving.catalog.store));
        reads_every_image_once("Rust, ecr-public", "ecr-public", |page_size| {
            serving.runtime.block_on(rust_sdk_ecr_public::read(&client, page_size))
        });
    }
}
