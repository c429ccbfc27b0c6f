//! The response to every caller, service, operation and repository.

use aws_sdk_ecr::config::Credentials;
use catalog::Service;
use end_to_end::harness::{REGION, REGISTRY};
use serde_json::{Value, json};

use super::{CALLERS, Caller, OTHER_REGISTRY, REPOSITORIES, Readers, legend};

/// The last one belongs to both services, but not to the catalog.
const OPERATIONS: [&str; 5] = [
    "DescribeImages",
    "DescribeRepositories",
    "ListTagsForResource",
    "NoSuchOperation",
    "GetAuthorizationToken",
];

/// All have the same length, so that responses about them can be compared. Two exist in the own
/// registry, one in the other one, and one in neither.
const NAMES: [&str; 4] = ["team/here", "team/none", "work/here", "work/else"];

/// The member `registryId` of a request, and its sign in the matrix.
const REGISTRY_IDS: [(&str, Option<&str>); 3] =
    [("-", None), ("1", Some(REGISTRY)), ("2", Some(OTHER_REGISTRY))];

/// Who is refused, whatever the request is: a name, the letter of the error, and the credentials.
fn refused_callers() -> [(&'static str, char, Option<Credentials>); 6] {
    let key = |key: &str, secret: &str, token: Option<&str>| {
        Some(Credentials::new(key, secret, token.map(str::to_owned), None, "tests"))
    };
    [
        ("no signature", 'M', None),
        ("wrong secret", 'I', key("everything", "wrong", None)),
        ("unknown key", 'U', key("nobody", "secret of everything", None)),
        ("no session token", 'U', key("session", "secret", None)),
        ("wrong session token", 'U', key("session", "secret", Some("wrong"))),
        ("ended session", 'E', key("ended", "secret", Some("token"))),
    ]
}

fn sessions() -> [Value; 2] {
    [("session", "2999-01-01T00:00:00Z"), ("ended", "2026-01-01T00:00:00Z")].map(|(key, end)| {
        json!({
            "accessKeyId": key, "secretAccessKey": "secret", "sessionToken": "token",
            "expiration": end, "repositories": ["*"],
            "arn": "arn:aws:sts::123456789012:assumed-role/reader/session",
        })
    })
}

/// The letter of the response to a caller with a right signature, by the rules. The checks have
/// this order.
fn expected(
    caller: &Caller,
    service: Service,
    operation: &str,
    registry_id: Option<&str>,
    name: &str,
) -> char {
    let registry = registry_id.unwrap_or(caller.account);
    match operation {
        "NoSuchOperation" => 'O',
        "GetAuthorizationToken" => 'C',
        _ if !(caller.may_read)(service, registry, name) => 'D',
        _ if REPOSITORIES.contains(&(registry, name)) => 'S',
        _ => 'N',
    }
}

/// Sends every request as a caller. Returns the caller's row of the matrix.
async fn row(
    readers: &Readers,
    (name, account): (&str, &str),
    credentials: Option<&Credentials>,
    service: Service,
    operation: &str,
    expected: impl Fn(Option<&str>, &str) -> char,
) -> String {
    let mut row = format!("{name:<19}");
    for (_, registry_id) in REGISTRY_IDS {
        let mut refusals = Vec::new();
        for repository in NAMES {
            // Each operation ignores the members of the others.
            let registry = registry_id.unwrap_or(account);
            let arn = match service {
                Service::Ecr => format!("arn:aws:ecr:{REGION}:{registry}:repository/{repository}"),
                Service::EcrPublic => {
                    format!("arn:aws:ecr-public::{registry}:repository/{repository}")
                }
            };
            let request = json!({
                "repositoryName": repository, "registryId": registry_id,
                "repositoryNames": [repository], "resourceArn": arn,
            });
            let reply = readers.send(credentials, service, operation, &request).await;
            let what = format!("{name}, {service}, {operation}, {registry_id:?}, {repository}");
            assert_eq!(reply.letter, expected(registry_id, repository), "{what}");
            row += &format!(" {}", reply.letter);
            if !matches!(reply.letter, 'S' | 'N') {
                refusals.push(reply.text.replace(repository, "NAME"));
            }
        }
        row += " ";
        // A caller that may not read a repository does not learn whether it exists (rule 44).
        refusals.dedup();
        assert!(refusals.len() <= 1, "{name}, {service}, {operation}: {refusals:#?}");
    }
    row.trim_end().to_owned() + "\n"
}

#[tokio::test]
async fn r40_r41_r42_r43_r44_r55_every_caller_service_operation_and_repository() {
    let readers = Readers::start(&sessions()).await;
    let mut matrix = String::new();
    for operation in OPERATIONS {
        for service in Service::ALL {
            matrix += &format!("\n{operation} of {service}\n");
            for (name, letter, credentials) in refused_callers() {
                let credentials = credentials.as_ref();
                let expected = |_: Option<&str>, _: &str| letter;
                let caller = (name, REGISTRY);
                matrix += &row(&readers, caller, credentials, service, operation, expected).await;
            }
            for caller in &CALLERS {
                let credentials = Some(&caller.credentials());
                let expected = |registry_id: Option<&str>, name: &str| {
                    expected(caller, service, operation, registry_id, name)
                };
                let caller = (caller.name, caller.account);
                matrix += &row(&readers, caller, credentials, service, operation, expected).await;
            }
        }
    }
    let columns: Vec<String> = REGISTRY_IDS
        .iter()
        .map(|(sign, _)| format!("registryId {sign}: {}", NAMES.join(", ")))
        .collect();
    let matrix = format!("{}\n{}\n{matrix}", legend(&matrix), columns.join("\n"));
    insta::assert_snapshot!(matrix, @r"
    S 200
    M 400 MissingAuthenticationTokenException
    U 400 UnrecognizedClientException
    E 400 ExpiredTokenException
    I 400 InvalidSignatureException
    O 400 UnknownOperationException
    C 400 UnsupportedCommandException
    D 400 AccessDeniedException
    N 400 RepositoryNotFoundException

    registryId -: team/here, team/none, work/here, work/else
    registryId 1: team/here, team/none, work/here, work/else
    registryId 2: team/here, team/none, work/here, work/else

    DescribeImages of ecr
    no signature        M M M M  M M M M  M M M M
    wrong secret        I I I I  I I I I  I I I I
    unknown key         U U U U  U U U U  U U U U
    no session token    U U U U  U U U U  U U U U
    wrong session token U U U U  U U U U  U U U U
    ended session       E E E E  E E E E  E E E E
    own account         S N S N  S N S N  D D D D
    one of another's    D D D D  D D D D  D D D S
    a prefix            S N D D  S N D D  D D D D
    only ecr            S N S N  S N S N  D D D D
    only ecr-public     D D D D  D D D D  D D D D
    everything          S N S N  S N S N  N N N S
    nothing             D D D D  D D D D  D D D D
    another account     N N N S  D D D D  N N N S

    DescribeImages of ecr-public
    no signature        M M M M  M M M M  M M M M
    wrong secret        I I I I  I I I I  I I I I
    unknown key         U U U U  U U U U  U U U U
    no session token    U U U U  U U U U  U U U U
    wrong session token U U U U  U U U U  U U U U
    ended session       E E E E  E E E E  E E E E
    own account         S N S N  S N S N  D D D D
    one of another's    D D D D  D D D D  D D D D
    a prefix            D D D D  D D D D  D D D D
    only ecr            D D D D  D D D D  D D D D
    only ecr-public     S N S N  S N S N  D D D D
    everything          S N S N  S N S N  N N N S
    nothing             D D D D  D D D D  D D D D
    another account     N N N S  D D D D  N N N S

    DescribeRepositories of ecr
    no signature        M M M M  M M M M  M M M M
    wrong secret        I I I I  I I I I  I I I I
    unknown key         U U U U  U U U U  U U U U
    no session token    U U U U  U U U U  U U U U
    wrong session token U U U U  U U U U  U U U U
    ended session       E E E E  E E E E  E E E E
    own account         S N S N  S N S N  D D D D
    one of another's    D D D D  D D D D  D D D S
    a prefix            S N D D  S N D D  D D D D
    only ecr            S N S N  S N S N  D D D D
    only ecr-public     D D D D  D D D D  D D D D
    everything          S N S N  S N S N  N N N S
    nothing             D D D D  D D D D  D D D D
    another account     N N N S  D D D D  N N N S

    DescribeRepositories of ecr-public
    no signature        M M M M  M M M M  M M M M
    wrong secret        I I I I  I I I I  I I I I
    unknown key         U U U U  U U U U  U U U U
    no session token    U U U U  U U U U  U U U U
    wrong session token U U U U  U U U U  U U U U
    ended session       E E E E  E E E E  E E E E
    own account         S N S N  S N S N  D D D D
    one of another's    D D D D  D D D D  D D D D
    a prefix            D D D D  D D D D  D D D D
    only ecr            D D D D  D D D D  D D D D
    only ecr-public     S N S N  S N S N  D D D D
    everything          S N S N  S N S N  N N N S
    nothing             D D D D  D D D D  D D D D
    another account     N N N S  D D D D  N N N S

    ListTagsForResource of ecr
    no signature        M M M M  M M M M  M M M M
    wrong secret        I I I I  I I I I  I I I I
    unknown key         U U U U  U U U U  U U U U
    no session token    U U U U  U U U U  U U U U
    wrong session token U U U U  U U U U  U U U U
    ended session       E E E E  E E E E  E E E E
    own account         S N S N  S N S N  D D D D
    one of another's    D D D D  D D D D  D D D S
    a prefix            S N D D  S N D D  D D D D
    only ecr            S N S N  S N S N  D D D D
    only ecr-public     D D D D  D D D D  D D D D
    everything          S N S N  S N S N  N N N S
    nothing             D D D D  D D D D  D D D D
    another account     N N N S  D D D D  N N N S

    ListTagsForResource of ecr-public
    no signature        M M M M  M M M M  M M M M
    wrong secret        I I I I  I I I I  I I I I
    unknown key         U U U U  U U U U  U U U U
    no session token    U U U U  U U U U  U U U U
    wrong session token U U U U  U U U U  U U U U
    ended session       E E E E  E E E E  E E E E
    own account         S N S N  S N S N  D D D D
    one of another's    D D D D  D D D D  D D D D
    a prefix            D D D D  D D D D  D D D D
    only ecr            D D D D  D D D D  D D D D
    only ecr-public     S N S N  S N S N  D D D D
    everything          S N S N  S N S N  N N N S
    nothing             D D D D  D D D D  D D D D
    another account     N N N S  D D D D  N N N S

    NoSuchOperation of ecr
    no signature        M M M M  M M M M  M M M M
    wrong secret        I I I I  I I I I  I I I I
    unknown key         U U U U  U U U U  U U U U
    no session token    U U U U  U U U U  U U U U
    wrong session token U U U U  U U U U  U U U U
    ended session       E E E E  E E E E  E E E E
    own account         O O O O  O O O O  O O O O
    one of another's    O O O O  O O O O  O O O O
    a prefix            O O O O  O O O O  O O O O
    only ecr            O O O O  O O O O  O O O O
    only ecr-public     O O O O  O O O O  O O O O
    everything          O O O O  O O O O  O O O O
    nothing             O O O O  O O O O  O O O O
    another account     O O O O  O O O O  O O O O

    NoSuchOperation of ecr-public
    no signature        M M M M  M M M M  M M M M
    wrong secret        I I I I  I I I I  I I I I
    unknown key         U U U U  U U U U  U U U U
    no session token    U U U U  U U U U  U U U U
    wrong session token U U U U  U U U U  U U U U
    ended session       E E E E  E E E E  E E E E
    own account         O O O O  O O O O  O O O O
    one of another's    O O O O  O O O O  O O O O
    a prefix            O O O O  O O O O  O O O O
    only ecr            O O O O  O O O O  O O O O
    only ecr-public     O O O O  O O O O  O O O O
    everything          O O O O  O O O O  O O O O
    nothing             O O O O  O O O O  O O O O
    another account     O O O O  O O O O  O O O O

    GetAuthorizationToken of ecr
    no signature        M M M M  M M M M  M M M M
    wrong secret        I I I I  I I I I  I I I I
    unknown key         U U U U  U U U U  U U U U
    no session token    U U U U  U U U U  U U U U
    wrong session token U U U U  U U U U  U U U U
    ended session       E E E E  E E E E  E E E E
    own account         C C C C  C C C C  C C C C
    one of another's    C C C C  C C C C  C C C C
    a prefix            C C C C  C C C C  C C C C
    only ecr            C C C C  C C C C  C C C C
    only ecr-public     C C C C  C C C C  C C C C
    everything          C C C C  C C C C  C C C C
    nothing             C C C C  C C C C  C C C C
    another account     C C C C  C C C C  C C C C

    GetAuthorizationToken of ecr-public
    no signature        M M M M  M M M M  M M M M
    wrong secret        I I I I  I I I I  I I I I
    unknown key         U U U U  U U U U  U U U U
    no session token    U U U U  U U U U  U U U U
    wrong session token U U U U  U U U U  U U U U
    ended session       E E E E  E E E E  E E E E
    own account         C C C C  C C C C  C C C C
    one of another's    C C C C  C C C C  C C C C
    a prefix            C C C C  C C C C  C C C C
    only ecr            C C C C  C C C C  C C C C
    only ecr-public     C C C C  C C C C  C C C C
    everything          C C C C  C C C C  C C C C
    nothing             C C C C  C C C C  C C C C
    another account     C C C C  C C C C  C C C C
    ");
}
