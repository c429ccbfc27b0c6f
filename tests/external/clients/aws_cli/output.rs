//! The output for images, in every format.

use serde_json::{Value, json};

use super::super::SERVICES;
use super::{Aws, Version};

pub(super) fn prints_every_member_as_json(aws: &Aws) {
    let private = aws.prints("ecr describe-images --repository-name team/complete");
    let public = aws.prints("ecr-public describe-images --repository-name team/complete");
    match aws.version {
        // It prints times as received.
        Version::One => {
            assert_prints!(private, @r#"
            {
                "imageDetails": [
                    {
                        "registryId": "123456789012",
                        "repositoryName": "team/complete",
                        "imageDigest": "sha256:0000000000000000000000000000000000000000000000000000000000000009",
                        "imageTags": [
                            "latest",
                            "v9"
                        ],
                        "imageSizeInBytes": 5000000000,
                        "imagePushedAt": 1767225601.234,
                        "imageScanStatus": {
                            "status": "COMPLETE",
                            "description": "The scan was completed successfully."
                        },
                        "imageScanFindingsSummary": {
                            "imageScanCompletedAt": 1767225603.5,
                            "vulnerabilitySourceUpdatedAt": 1767225603,
                            "findingSeverityCounts": {
                                "CRITICAL": 1,
                                "LOW": 20
                            }
                        },
                        "imageManifestMediaType": "application/vnd.oci.image.manifest.v1+json",
                        "artifactMediaType": "application/vnd.oci.image.config.v1+json",
                        "lastRecordedPullTime": 1767225605.25,
                        "subjectManifestDigest": "sha256:0000000000000000000000000000000000000000000000000000000000000001",
                        "imageStatus": "ACTIVE",
                        "lastArchivedAt": 1767225606,
                        "lastActivatedAt": 1767225608.125
                    }
                ]
            }
            "#);
            assert_prints!(public, @r#"
            {
                "imageDetails": [
                    {
                        "registryId": "123456789012",
                        "repositoryName": "team/complete",
                        "imageDigest": "sha256:7e53b1edf2c139d85b0699d7c2389e4705c7aaea4e4ddb9e6681ea1c86be8023",
                        "imageTags": [
                            "latest",
                            "v9"
                        ],
                        "imageSizeInBytes": 5000000000,
                        "imagePushedAt": 1767225601,
                        "imageManifestMediaType": "application/vnd.oci.image.manifest.v1+json",
                        "artifactMediaType": "application/vnd.oci.image.config.v1+json"
                    }
                ]
            }
            "#);
        }
        // It prints times as ISO 8601. Version 2.9.19 is older than the members imageStatus,
        // subjectManifestDigest, lastArchivedAt and lastActivatedAt, and leaves them out.
        Version::Two => {
            assert_prints!(private, @r#"
            {
                "imageDetails": [
                    {
                        "registryId": "123456789012",
                        "repositoryName": "team/complete",
                        "imageDigest": "sha256:0000000000000000000000000000000000000000000000000000000000000009",
                        "imageTags": [
                            "latest",
                            "v9"
                        ],
                        "imageSizeInBytes": 5000000000,
                        "imagePushedAt": "2026-01-01T00:00:01.234000+00:00",
                        "imageScanStatus": {
                            "status": "COMPLETE",
                            "description": "The scan was completed successfully."
                        },
                        "imageScanFindingsSummary": {
                            "imageScanCompletedAt": "2026-01-01T00:00:03.500000+00:00",
                            "vulnerabilitySourceUpdatedAt": "2026-01-01T00:00:03+00:00",
                            "findingSeverityCounts": {
                                "CRITICAL": 1,
                                "LOW": 20
                            }
                        },
                        "imageManifestMediaType": "application/vnd.oci.image.manifest.v1+json",
                        "artifactMediaType": "application/vnd.oci.image.config.v1+json",
                        "lastRecordedPullTime": "2026-01-01T00:00:05.250000+00:00"
                    }
                ]
            }
            "#);
            assert_prints!(public, @r#"
            {
                "imageDetails": [
                    {
                        "registryId": "123456789012",
                        "repositoryName": "team/complete",
                        "imageDigest": "sha256:7e53b1edf2c139d85b0699d7c2389e4705c7aaea4e4ddb9e6681ea1c86be8023",
                        "imageTags": [
                            "latest",
                            "v9"
                        ],
                        "imageSizeInBytes": 5000000000,
                        "imagePushedAt": "2026-01-01T00:00:01+00:00",
                        "imageManifestMediaType": "application/vnd.oci.image.manifest.v1+json",
                        "artifactMediaType": "application/vnd.oci.image.config.v1+json"
                    }
                ]
            }
            "#);
        }
    }
}

pub(super) fn prints_text_tables_and_yaml(aws: &Aws) {
    let app = "ecr describe-images --repository-name team/app";
    let text = aws.prints(&format!("{app} --output text"));
    let table = aws.prints(&format!("{app} --output table --image-ids imageTag=latest"));
    match aws.version {
        Version::One => {
            assert_prints!(text, @"
            IMAGEDETAILS\tapplication/vnd.oci.image.config.v1+json\tsha256:0000000000000000000000000000000000000000000000000000000000000001\tapplication/vnd.oci.image.manifest.v1+json\t1767225602.5\t1\tACTIVE\t123456789012\tteam/app
            IMAGETAGS\tlatest
            IMAGETAGS\tv2
            IMAGEDETAILS\tapplication/vnd.oci.image.config.v1+json\tsha256:0000000000000000000000000000000000000000000000000000000000000002\tapplication/vnd.oci.image.manifest.v1+json\t1767225601\t2\tACTIVE\t123456789012\tteam/app
            IMAGEDETAILS\tapplication/vnd.oci.image.config.v1+json\tsha256:0000000000000000000000000000000000000000000000000000000000000003\tapplication/vnd.oci.image.manifest.v1+json\t1767225600\t3\tACTIVE\t123456789012\tteam/app
            IMAGETAGS\tstable
            IMAGETAGS\tv1
            ");
            assert_prints!(table, @r#"
            ---------------------------------------------------------------------------------------------------------
            |                                            DescribeImages                                             |
            +-------------------------------------------------------------------------------------------------------+
            ||                                            imageDetails                                             ||
            |+-------------------------+---------------------------------------------------------------------------+|
            ||  artifactMediaType      |  application/vnd.oci.image.config.v1+json                                 ||
            ||  imageDigest            |  sha256:0000000000000000000000000000000000000000000000000000000000000001  ||
            ||  imageManifestMediaType |  application/vnd.oci.image.manifest.v1+json                               ||
            ||  imagePushedAt          |  1767225602.5                                                             ||
            ||  imageSizeInBytes       |  1                                                                        ||
            ||  imageStatus            |  ACTIVE                                                                   ||
            ||  registryId             |  123456789012                                                             ||
            ||  repositoryName         |  team/app                                                                 ||
            |+-------------------------+---------------------------------------------------------------------------+|
            |||                                             imageTags                                             |||
            ||+---------------------------------------------------------------------------------------------------+||
            |||  latest                                                                                           |||
            |||  v2                                                                                               |||
            ||+---------------------------------------------------------------------------------------------------+||
            "#);
        }
        Version::Two => {
            assert_prints!(text, @"
            IMAGEDETAILS\tapplication/vnd.oci.image.config.v1+json\tsha256:0000000000000000000000000000000000000000000000000000000000000001\tapplication/vnd.oci.image.manifest.v1+json\t2026-01-01T00:00:02.500000+00:00\t1\t123456789012\tteam/app
            IMAGETAGS\tlatest
            IMAGETAGS\tv2
            IMAGEDETAILS\tapplication/vnd.oci.image.config.v1+json\tsha256:0000000000000000000000000000000000000000000000000000000000000002\tapplication/vnd.oci.image.manifest.v1+json\t2026-01-01T00:00:01+00:00\t2\t123456789012\tteam/app
            IMAGEDETAILS\tapplication/vnd.oci.image.config.v1+json\tsha256:0000000000000000000000000000000000000000000000000000000000000003\tapplication/vnd.oci.image.manifest.v1+json\t2026-01-01T00:00:00+00:00\t3\t123456789012\tteam/app
            IMAGETAGS\tstable
            IMAGETAGS\tv1
            ");
            assert_prints!(table, @r#"
            ---------------------------------------------------------------------------------------------------------
            |                                            DescribeImages                                             |
            +-------------------------------------------------------------------------------------------------------+
            ||                                            imageDetails                                             ||
            |+-------------------------+---------------------------------------------------------------------------+|
            ||  artifactMediaType      |  application/vnd.oci.image.config.v1+json                                 ||
            ||  imageDigest            |  sha256:0000000000000000000000000000000000000000000000000000000000000001  ||
            ||  imageManifestMediaType |  application/vnd.oci.image.manifest.v1+json                               ||
            ||  imagePushedAt          |  2026-01-01T00:00:02.500000+00:00                                         ||
            ||  imageSizeInBytes       |  1                                                                        ||
            ||  registryId             |  123456789012                                                             ||
            ||  repositoryName         |  team/app                                                                 ||
            |+-------------------------+---------------------------------------------------------------------------+|
            |||                                             imageTags                                             |||
            ||+---------------------------------------------------------------------------------------------------+||
            |||  latest                                                                                           |||
            |||  v2                                                                                               |||
            ||+---------------------------------------------------------------------------------------------------+||
            "#);
        }
    }
    let members = "--query imageDetails[].{bytes:imageSizeInBytes,tags:join('_',imageTags||`[]`)}";
    let app = format!("ecr-public describe-images --repository-name team/app {members}");
    assert_prints!(aws.prints(&format!("{app} --output text")), @"
    1\tlatest_v2
    2\t
    3\tstable_v1
    ");
    assert_prints!(aws.prints(&format!("{app} --output table")), @"
    ------------------------
    |    DescribeImages    |
    +--------+-------------+
    |  bytes |    tags     |
    +--------+-------------+
    |  1     |  latest_v2  |
    |  2     |             |
    |  3     |  stable_v1  |
    +--------+-------------+
    ");

    // Version 1 has no YAML.
    if aws.version == Version::Two {
        let yaml = "ecr describe-images --repository-name team/app --image-ids imageTag=latest --output yaml";
        let stream = "ecr-public describe-images --repository-name team/app --query imageDetails[].imageTags \
                      --page-size 2 --output yaml-stream";
        assert_prints!(aws.prints(yaml), @r#"
        imageDetails:
        - artifactMediaType: application/vnd.oci.image.config.v1+json
          imageDigest: sha256:0000000000000000000000000000000000000000000000000000000000000001
          imageManifestMediaType: application/vnd.oci.image.manifest.v1+json
          imagePushedAt: '2026-01-01T00:00:02.500000+00:00'
          imageSizeInBytes: 1
          imageTags:
          - latest
          - v2
          registryId: '123456789012'
          repositoryName: team/app
        "#);
        assert_prints!(aws.prints(stream), @r#"
        - - - latest
            - v2
        - - - stable
            - v1
        "#);
    }
}

pub(super) fn prints_an_empty_repository(aws: &Aws) {
    for service in SERVICES {
        let empty = aws.prints(&format!("{service} describe-images --repository-name team/empty"));
        assert_prints!(empty, @r#"
        {
            "imageDetails": []
        }
        "#);
    }
}

pub(super) fn prints_skeletons_without_a_request(aws: &Aws) {
    // Nothing listens on this port.
    let nowhere =
        Aws { endpoint: "http://127.0.0.1:1".to_owned(), program: aws.program.clone(), ..*aws };
    let app = "describe-images --repository-name team/app";
    let skeleton = |service: &str, kind: &str| {
        nowhere.json(&format!("{service} {app} --generate-cli-skeleton {kind} --output json"))
    };
    let public_input = json!({
        "registryId": "",
        "repositoryName": "",
        "imageIds": [{ "imageDigest": "", "imageTag": "" }],
        "nextToken": "",
        "maxResults": 0,
    });
    assert_eq!(skeleton("ecr-public", "input"), public_input);
    let mut private_input = skeleton("ecr", "input");
    // Their values are any that the model lists.
    let filter = private_input.as_object_mut().unwrap().remove("filter").unwrap();
    let known = |member: &str| filter.get(member).is_some();
    assert_eq!(
        (known("tagStatus"), known("imageStatus")),
        (true, aws.version == Version::One),
        "{filter}"
    );
    assert_eq!(private_input, public_input);

    // The complete image has every member that AWS CLI supports.
    for service in SERVICES {
        let known = skeleton(service, "output");
        let image = aws.json(&format!("{service} describe-images --repository-name team/complete"));
        let members = |output: &Value| -> Vec<String> {
            let image = output["imageDetails"][0].as_object().unwrap();
            image.keys().cloned().collect()
        };
        assert_eq!(members(&image), members(&known), "{service}");
    }
    if aws.version == Version::Two {
        let yaml = nowhere.prints(&format!("ecr {app} --generate-cli-skeleton yaml-input"));
        assert!(yaml.contains("repositoryName: '' # [REQUIRED]"), "{yaml}");
    }
}
