//! The requests that the options send.

use end_to_end::harness::{digest, temporary_folder};
use serde_json::json;

use super::super::{OTHER_REGISTRY, SERVICES, digest_in};
use super::{Aws, Version};

pub(super) fn finds_the_newest_image(aws: &Aws) {
    let newest = "--query sort_by(imageDetails,&imagePushedAt)[-1].imageTags[0]";
    let first = "--query imageDetails[0].imageTags[0] --output json";
    for service in SERVICES {
        let app = format!("{service} describe-images --repository-name team/app");
        assert_eq!(aws.prints(&format!("{app} {newest} --output json")), "\"latest\"\n");
        // A listing begins with the newest, so one image is enough.
        assert_eq!(aws.prints(&format!("{app} --max-items 1 {first}")), "\"latest\"\n");
    }
    let app = "ecr describe-images --repository-name team/app";
    // In the output format text, --max-items adds a line for its own token; --max-results does not.
    let first = first.replace("json", "text");
    assert_eq!(aws.prints(&format!("{app} --max-items 1 {first}")), "latest\nNone\n");
    assert_eq!(aws.prints(&format!("{app} --max-results 1 {first}")), "latest\n");
    assert_eq!(aws.prints(&format!("{app} {newest} --output text")), "latest\n");
    // In the output format text, AWS CLI applies the query to each page. With one image a page this
    // returns every image, the newest first.
    let pages = aws.prints(&format!("{app} {newest} --output text --page-size 1"));
    assert_eq!(pages, "latest\nNone\nstable\n");
}

pub(super) fn finds_images_by_tag_and_by_digest(aws: &Aws) {
    let [one, two] = [digest(1), digest(2)];
    let is_refused = |service: &str, identifiers: &str, error: &str, message: &str| {
        let app = format!("{service} describe-images --repository-name team/app --image-ids");
        aws.is_refused(&format!("{app} {identifiers}"), error, message);
    };
    for service in SERVICES {
        let by = |identifiers: &str| aws.lists(service, &format!("--image-ids {identifiers}"));
        let two = digest_in(service, 2);
        // In the order of the request, which is not that of a listing.
        assert_eq!(by(&format!("imageTag=v1 imageDigest={two} imageTag=latest")), [3, 2, 1]);
        assert_eq!(by(&format!(r#"[{{"imageTag":"v1"}},{{"imageDigest":"{two}"}}]"#)), [3, 2]);
        is_refused(
            service,
            "imageTag=v1 imageTag=v9",
            "ImageNotFoundException",
            "The image with imageId {imageDigest:'null', imageTag:'v9'} does not exist within the repository \
             with name 'team/app' in the registry with id '123456789012'",
        );
    }
    let by = |identifiers: &str| aws.lists("ecr", &format!("--image-ids {identifiers}"));
    assert_eq!(by(&format!("imageTag=v2,imageDigest={one}")), [1], "one image by both");
    assert_eq!(
        by(&format!("imageTag=v2 imageTag=latest imageDigest={one}")),
        [1],
        "one image thrice"
    );
    assert_eq!(by("imageTag=old"), [4], "archived, but requested by tag");
    // Both exist, but belong to different images.
    is_refused(
        "ecr",
        &format!("imageTag=v1,imageDigest={two}"),
        "ImageNotFoundException",
        &format!(
            "The image with imageId {{imageDigest:'{two}', imageTag:'v1'}} does not exist within the repository \
             with name 'team/app' in the registry with id '123456789012'"
        ),
    );
    is_refused(
        "ecr",
        "imageTag=v1 --page-size 10",
        "InvalidParameterException",
        "Invalid parameter at 'maxResults' failed to satisfy constraint: 'must not be specified when imageIds is \
         specified'",
    );
}

pub(super) fn filters(aws: &Aws) {
    let filtered = |options: &str| aws.lists("ecr", &format!("--filter {options}"));
    assert_eq!(filtered("tagStatus=TAGGED --page-size 1"), [1, 3]);
    assert_eq!(filtered("tagStatus=UNTAGGED"), [2]);
    assert_eq!(filtered("tagStatus=ANY"), [1, 2, 3]);
    assert_eq!(filtered(r#"{"tagStatus":"TAGGED"}"#), [1, 3]);
    assert_eq!(
        filtered(&format!("tagStatus=TAGGED --image-ids imageTag=v1 imageDigest={}", digest(2))),
        [3]
    );
    aws.is_refused(
        "ecr describe-images --repository-name team/app --filter tagStatus=tagged",
        "InvalidParameterException",
        "Invalid parameter at 'filter.tagStatus' failed to satisfy constraint: 'Member must satisfy enum value \
         set: [TAGGED, UNTAGGED, ANY]'",
    );

    let archived = "ecr describe-images --repository-name team/app --filter imageStatus=ARCHIVED";
    match aws.version {
        Version::One => {
            assert_eq!(filtered("imageStatus=ARCHIVED"), [4]);
            assert_eq!(filtered("imageStatus=ANY --page-size 1"), [1, 2, 3, 4]);
            assert_eq!(filtered(r#"{"tagStatus":"TAGGED","imageStatus":"ANY"}"#), [1, 3, 4]);
            aws.is_refused(
                &archived.replace("ARCHIVED", "GONE"),
                "InvalidParameterException",
                "Invalid parameter at 'filter.imageStatus' failed to satisfy constraint: 'Member must satisfy \
                 enum value set: [ACTIVE, ARCHIVED, ACTIVATING, ANY]'",
            );
        }
        // Version 2.9.19 is older than this member.
        Version::Two => assert_eq!(
            aws.rejects(archived),
            "\nParameter validation failed:\nUnknown parameter in filter: \"imageStatus\", must be one of: \
             tagStatus\n"
        ),
    }

    let public =
        aws.rejects("ecr-public describe-images --repository-name team/app --filter tagStatus=ANY");
    assert!(public.contains("Unknown options: --filter, tagStatus=ANY"), "{public}");
}

pub(super) fn requests_other_registries(aws: &Aws) {
    assert_eq!(aws.lists("ecr", "--registry-id 123456789012"), [1, 2, 3]);
    for service in SERVICES {
        assert_eq!(aws.lists(service, &format!("--registry-id {OTHER_REGISTRY}")), [5]);
        aws.is_refused(
            &format!("{service} describe-images --repository-name team/app --registry-id 000000000000"),
            "RepositoryNotFoundException",
            "The repository with name 'team/app' does not exist in the registry with id '000000000000'",
        );
    }
    aws.is_refused(
        "ecr describe-images --repository-name team/app --registry-id mine",
        "InvalidParameterException",
        "Invalid parameter at 'registryId' failed to satisfy constraint: 'must satisfy regular expression \
         [0-9]{12}'",
    );
}

pub(super) fn reads_requests_from_json_and_yaml(aws: &Aws) {
    let numbers = |service: &str, options: &str| -> Vec<u64> {
        let sizes = "--query imageDetails[].imageSizeInBytes --output json";
        let numbers = aws.json(&format!("{service} describe-images {options} {sizes}"));
        serde_json::from_value(numbers).unwrap()
    };
    let file = |name: &str, content: &str| {
        let name = format!("{:?}-{name}", aws.version);
        let path = temporary_folder().join(name);
        std::fs::write(&path, content).unwrap();
        format!("file://{}", path.display())
    };

    let inline =
        r#"{"repositoryName":"team/app","imageIds":[{"imageTag":"v1"},{"imageTag":"v2"}]}"#;
    for service in SERVICES {
        assert_eq!(numbers(service, &format!("--cli-input-json {inline}")), [3, 1]);
    }
    // An option overrides the JSON.
    assert_eq!(
        numbers("ecr", &format!("--cli-input-json {inline} --image-ids imageTag=latest")),
        [1]
    );
    let registry = format!(r#"{{"registryId":"{OTHER_REGISTRY}","repositoryName":"team/app"}}"#);
    assert_eq!(numbers("ecr-public", &format!("--cli-input-json {registry}")), [5]);
    let filter = file(
        "filter.json",
        r#"{ "repositoryName": "team/app", "filter": { "tagStatus": "UNTAGGED" } }"#,
    );
    assert_eq!(numbers("ecr", &format!("--cli-input-json {filter}")), [2]);

    // To version 1 this is the page size. To version 2 it is a request for a single page.
    let page_size = r#"{"repositoryName":"team/app","maxResults":2}"#;
    let listed: &[u64] = match aws.version {
        Version::One => &[1, 2, 3],
        Version::Two => &[1, 2],
    };
    assert_eq!(numbers("ecr", &format!("--cli-input-json {page_size}")), listed);

    if aws.version == Version::Two {
        let yaml = file(
            "request.yaml",
            "repositoryName: team/app\nimageIds:\n- imageTag: v1\n- imageTag: v2\n",
        );
        for service in SERVICES {
            assert_eq!(numbers(service, &format!("--cli-input-yaml {yaml}")), [3, 1]);
        }
    }
}

pub(super) fn pages_and_resumes(aws: &Aws) {
    // Two at a time, from pages of 1 (ends between pages), or of 3 (within one) and then 2.
    for (service, page_size, next_page_size) in [("ecr", 1, 1), ("ecr", 3, 2), ("ecr-public", 3, 2)]
    {
        let piece = |options: &str| {
            aws.json(&format!(
                "{service} describe-images --repository-name team/app --max-items 2 {options} \
                 --query {{numbers:imageDetails[].imageSizeInBytes,token:NextToken}} --output json"
            ))
        };
        let first = piece(&format!("--page-size {page_size}"));
        assert_eq!(first["numbers"], json!([1, 2]));
        let token = first["token"].as_str().unwrap();
        let second = piece(&format!("--page-size {next_page_size} --starting-token {token}"));
        assert_eq!(second, json!({ "numbers": [3], "token": null }));
    }
    for service in SERVICES {
        aws.is_refused(
            &format!(
                "{service} describe-images --repository-name team/app --starting-token forged"
            ),
            "InvalidParameterException",
            "Invalid parameter at 'nextToken' failed to satisfy constraint: 'Invalid token'",
        );
    }
}

pub(super) fn reads_single_pages(aws: &Aws) {
    for service in SERVICES {
        let page = |options: &str| {
            aws.json(&format!(
                "{service} describe-images --repository-name team/app {options} \
                 --query {{numbers:imageDetails[].imageSizeInBytes,token:nextToken}} --output json"
            ))
        };
        let first = page("--max-results 1");
        assert_eq!(first["numbers"], json!([1]));
        let token = first["token"].as_str().unwrap();
        let rest = json!({ "numbers": [2, 3], "token": null });
        assert_eq!(page(&format!("--max-results 2 --next-token {token}")), rest);
        // The same token again. Without a size, a page has up to 100 images.
        assert_eq!(page(&format!("--no-paginate --next-token {token}")), rest);
        aws.is_refused(
            &format!("{service} describe-images --repository-name team/app --next-token {token}A"),
            "InvalidParameterException",
            "Invalid parameter at 'nextToken' failed to satisfy constraint: 'Invalid token'",
        );
    }
    assert_eq!(aws.lists("ecr", "--no-paginate"), [1, 2, 3]);
    aws.is_refused(
        "ecr describe-images --repository-name team/app --next-token ''",
        "InvalidParameterException",
        "Invalid parameter at 'nextToken' failed to satisfy constraint: 'Invalid token'",
    );
}
