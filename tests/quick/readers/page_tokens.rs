//! Page tokens belong to a listing, not to a caller. Permissions are checked before a token is
//! looked at.

use catalog::Service;
use end_to_end::harness::REGISTRY;
use serde_json::{Value, json};

use super::{CALLERS, OTHER_REGISTRY, Readers, legend};

/// A listing that a token is of, or is used in.
struct Listing {
    service: Service,
    registry: &'static str,
    name: &'static str,
    tag_status: Option<&'static str>,
}

const fn listing(service: Service, registry: &'static str, name: &'static str) -> Listing {
    Listing { service, registry, name, tag_status: None }
}

/// Each of the others differs from the first in one respect, but the last one.
const LISTINGS: [Listing; 6] = [
    listing(Service::Ecr, REGISTRY, "work/here"),
    Listing { tag_status: Some("TAGGED"), ..listing(Service::Ecr, REGISTRY, "work/here") },
    listing(Service::Ecr, REGISTRY, "team/here"),
    listing(Service::EcrPublic, REGISTRY, "work/here"),
    listing(Service::EcrPublic, REGISTRY, "team/here"),
    listing(Service::Ecr, OTHER_REGISTRY, "work/else"),
];

impl Listing {
    fn request(&self, next_token: Option<&str>) -> Value {
        json!({
            "registryId": self.registry,
            "repositoryName": self.name,
            "filter": { "tagStatus": self.tag_status },
            "maxResults": 1,
            "nextToken": next_token,
        })
    }
}

#[tokio::test]
async fn r35_r44_a_token_is_of_a_listing_and_of_use_to_those_who_may_read_it() {
    let readers = Readers::start(&[]).await;
    let send = async |caller: &super::Caller, listing: &Listing, token: Option<&str>| {
        let credentials = caller.credentials();
        let request = listing.request(token);
        readers.send(Some(&credentials), listing.service, "DescribeImages", &request).await
    };
    let owner = CALLERS.iter().find(|caller| caller.name == "everything").unwrap();
    let mut tokens = Vec::new();
    for listing in &LISTINGS {
        let page = send(owner, listing, None).await;
        tokens.push(page.body["nextToken"].as_str().unwrap().to_owned());
    }
    let mut matrix = String::new();
    for caller in &CALLERS {
        matrix += &format!("{:<19}", caller.name);
        for (number, listing) in LISTINGS.iter().enumerate() {
            let without = send(caller, listing, None).await;
            for (of, token) in tokens.iter().enumerate() {
                let reply = send(caller, listing, Some(token)).await;
                let expected =
                    match (caller.may_read)(listing.service, listing.registry, listing.name) {
                        false => 'D',
                        true if of == number => 'S',
                        true => 'P',
                    };
                assert_eq!(reply.letter, expected, "{}: {of} in {number}", caller.name);
                matrix += &format!(" {}", reply.letter);
                match expected {
                    // Whether a token is right is not revealed.
                    'D' => assert_eq!(reply.text, without.text),
                    'S' => assert_eq!(reply.body["imageDetails"].as_array().unwrap().len(), 1),
                    _ => {}
                }
            }
            matrix += " ";
        }
        matrix = matrix.trim_end().to_owned() + "\n";
    }
    let matrix = format!("{}\n{matrix}", legend(&matrix));
    insta::assert_snapshot!(matrix, @r"
    S 200
    D 400 AccessDeniedException
    P 400 InvalidParameterException

    own account         S P P P P P  P S P P P P  P P S P P P  P P P S P P  P P P P S P  D D D D D D
    one of another's    D D D D D D  D D D D D D  D D D D D D  D D D D D D  D D D D D D  P P P P P S
    a prefix            D D D D D D  D D D D D D  P P S P P P  D D D D D D  D D D D D D  D D D D D D
    only ecr            S P P P P P  P S P P P P  P P S P P P  D D D D D D  D D D D D D  D D D D D D
    only ecr-public     D D D D D D  D D D D D D  D D D D D D  P P P S P P  P P P P S P  D D D D D D
    everything          S P P P P P  P S P P P P  P P S P P P  P P P S P P  P P P P S P  P P P P P S
    nothing             D D D D D D  D D D D D D  D D D D D D  D D D D D D  D D D D D D  D D D D D D
    another account     D D D D D D  D D D D D D  D D D D D D  D D D D D D  D D D D D D  P P P P P S
    ");
}
