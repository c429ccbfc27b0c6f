//! Requests a second, beside the emulators of AWS that have DescribeImages.

use serde_json::json;
use tokio::runtime::Runtime;

use crate::pages::{look_up, page_of};
use crate::report::{Bar, Report, Throughput, rounded};
use crate::rounds::{Samples, in_turns, long_rounds};
use crate::servers::{self, Server};
use crate::wrk::{self, Load};

/// MiniStack returns all images of a repository, whatever `maxResults` is. The second repository has
/// as many as a page.
const REPOSITORIES: [servers::Repository; 2] = [("team/app", 1_000), ("team/small", 100)];
const SECONDS: usize = 2;

/// A row after the one whose requests are alike, so that the program need not read for each.
pub(crate) const NEVER_ALIKE: &str = "the same, but no two requests are alike";

/// Connections, and the bars over MiniStack.
const PAGES: [(usize, Bar); 3] =
    [(1, Bar::AtLeast(4.0)), (16, Bar::AtLeast(7.0)), (64, Bar::AtLeast(7.0))];
const SMALL_PAGES: [(usize, Bar); 3] = [(1, Bar::None), (16, Bar::None), (64, Bar::None)];
const TAGS: [(usize, Bar); 3] =
    [(1, Bar::AtLeast(1.4)), (16, Bar::AtLeast(3.0)), (64, Bar::AtLeast(3.0))];

pub(crate) fn measure(runtime: &Runtime, report: &mut Report) {
    if !wrk::is_installed() {
        report.skipped.push("Nothing was measured through HTTP: there is no wrk.".to_owned());
        return;
    }
    let program = servers::program(runtime, &REPOSITORIES);
    let emulators = [
        ("MiniStack", servers::ministack(runtime, &REPOSITORIES)),
        ("fakecloud", servers::fakecloud(runtime, &REPOSITORIES)),
    ];
    for (name, server) in &emulators {
        if server.is_none() {
            report.skipped.push(format!("{name} was not measured: it is not installed."));
        }
    }
    let small_page = json!({ "repositoryName": REPOSITORIES[1].0, "maxResults": 100 });
    let requests = [
        ("page of 100 of 1,000", 100, "page", page_of(100), PAGES),
        ("page of 100 of 100", 100, "small-page", small_page, SMALL_PAGES),
        ("tag", 1, "tag", look_up(), TAGS),
    ];
    for (request, images, name, body, bars) in &requests {
        let (load, read) = (Load::new(name, body), Load::never_alike(name, body));
        let returned = |server: &Server| runtime.block_on(load.images(&server.url));
        assert_eq!(returned(&program), *images);
        for (connections, bar) in *bars {
            let measure = |server: Option<&Server>, load: &Load| {
                server.map_or(f64::NAN, |server| {
                    load.requests_per_second(&server.url, connections, SECONDS)
                })
            };
            let [ministack, fakecloud] = [0, 1].map(|number: usize| emulators[number].1.as_ref());
            let [kept, ours, of_ministack, of_fakecloud] = in_turns(
                long_rounds(),
                [
                    &mut || measure(Some(&program), &load),
                    &mut || measure(Some(&program), &read),
                    &mut || measure(ministack, &load),
                    &mut || measure(fakecloud, &load),
                ],
            );
            let mut plot = |server: &'static str, samples: &Samples| {
                let requests_per_second = samples.median();
                report.throughput.push(Throughput {
                    request,
                    server,
                    connections,
                    requests_per_second,
                });
            };
            plot("image-catalog", &kept);
            plot("image-catalog, never alike", &ours);
            let others = [(ministack, &of_ministack, bar), (fakecloud, &of_fakecloud, Bar::None)];
            let others = others.map(|(server, samples, bar)| Some((server?, samples, bar)));
            for (server, samples, _) in others.iter().flatten() {
                plot(server.name, samples);
            }
            for (server, samples, bar) in others.iter().flatten() {
                let what = format!(
                    "{request}, requests a second over {}, connections: {connections}",
                    server.name
                );
                let mut figures = rates(&kept, samples);
                let returned = returned(server);
                if returned != *images {
                    figures += &format!("; it returns {returned} images");
                }
                report.ratio(&what, *bar, &kept.over(samples), figures);
                let figures = rates(&ours, samples);
                report.ratio(NEVER_ALIKE, Bar::None, &ours.over(samples), figures);
            }
        }
    }
}

fn rates(this: &Samples, other: &Samples) -> String {
    format!("{} over {} requests/s", rounded(this.median()), rounded(other.median()))
}
