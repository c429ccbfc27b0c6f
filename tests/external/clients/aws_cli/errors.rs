//! Errors of the services, and of the command itself.

use super::super::SERVICES;
use super::Aws;

pub(super) fn prints_errors_of_the_services(aws: &Aws) {
    for service in SERVICES {
        aws.is_refused(
            &format!("{service} describe-images --repository-name x1"),
            "RepositoryNotFoundException",
            "The repository with name 'x1' does not exist in the registry with id '123456789012'",
        );
    }
    aws.is_refused(
        "ecr describe-images --repository-name team/app --page-size 1001",
        "InvalidParameterException",
        "Invalid parameter at 'maxResults' failed to satisfy constraint: 'Member must have value less than or \
         equal to 1000'",
    );
    // These characters are allowed in private names, but not in public names.
    aws.is_refused(
        "ecr describe-images --repository-name a__b",
        "RepositoryNotFoundException",
        "The repository with name 'a__b' does not exist in the registry with id '123456789012'",
    );
    aws.is_refused(
        "ecr-public describe-images --repository-name a__b",
        "InvalidParameterException",
        "Invalid parameter at 'repositoryName' failed to satisfy constraint: 'must satisfy regular expression \
         '(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*''",
    );
    aws.is_refused(
        "ecr describe-images --repository-name a___b",
        "InvalidParameterException",
        "Invalid parameter at 'repositoryName' failed to satisfy constraint: 'must satisfy regular expression \
         '[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*)*''",
    );
    aws.is_refused(
        "ecr get-lifecycle-policy --repository-name team/app",
        "UnsupportedCommandException",
        "The action GetLifecyclePolicy isn't supported by this catalog.",
    );
}

/// Such requests do not reach the service. The test documents the errors that users see.
pub(super) fn rejects_what_the_model_forbids(aws: &Aws) {
    let rejected = |options: &str| aws.rejects(&format!("ecr describe-images {options}"));
    assert_eq!(
        rejected("--repository-name a --max-results 0 --image-ids []"),
        "\nParameter validation failed:\n\
         Invalid length for parameter repositoryName, value: 1, valid min length: 2\n\
         Invalid length for parameter imageIds, value: 0, valid min length: 1\n\
         Invalid value for parameter maxResults, value: 0, valid min value: 1\n"
    );
    let both = rejected("--repository-name team/app --max-results 1 --page-size 1");
    let message = "Cannot specify --no-paginate along with pagination arguments: --page-size\n";
    assert!(both.ends_with(message), "{both}");
}
