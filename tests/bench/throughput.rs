//! Requests a second, beside the emulators of AWS that have DescribeImages.

use tokio::runtime::Runtime;

use crate::pages::{look_up, page_of};
use crate::report::{Bar, Report, Throughput, rounded};
use crate::rounds::{Samples, in_turns, long_rounds};
use crate::servers::{self, Server};
use crate::wrk::{self, Load};

const REPOSITORY: &str = "team/app";
/// As many as a page has: MiniStack returns all images, whatever `maxResults` is.
const IMAGES: u64 = 100;
const SECONDS: usize = 2;

/// Connections, and the bars over MiniStack.
const PAGES: [(usize, f64); 3] = [(1, 4.0), (16, 7.0), (64, 7.0)];
const TAGS: [(usize, f64); 3] = [(1, 1.4), (16, 3.0), (64, 3.0)];

pub(crate) fn measure(runtime: &Runtime, report: &mut Report) {
    if !wrk::is_installed() {
        report.skipped.push("Nothing was measured through HTTP: there is no wrk.".to_owned());
        return;
    }
    let program = servers::program(runtime, REPOSITORY, IMAGES);
    let emulators = [
        ("MiniStack", servers::ministack(runtime, REPOSITORY, IMAGES)),
        ("fakecloud", servers::fakecloud(runtime, REPOSITORY, IMAGES)),
    ];
    for (name, server) in &emulators {
        if server.is_none() {
            report.skipped.push(format!("{name} was not measured: it is not installed."));
        }
    }
    let requests = [
        ("page of 100", 100, Load::new("page", &page_of(100)), PAGES),
        ("tag", 1, Load::new("tag", &look_up()), TAGS),
    ];
    let servers = || emulators.iter().filter_map(|(_, server)| server.as_ref()).chain([&program]);
    for (request, images, load, bars) in &requests {
        for server in servers() {
            // What is compared is the same work.
            assert_eq!(runtime.block_on(load.images(&server.url)), *images, "{}", server.name);
        }
        for (connections, bar) in *bars {
            let measure = |server: Option<&Server>| {
                server.map_or(f64::NAN, |server| {
                    load.requests_per_second(&server.url, connections, SECONDS)
                })
            };
            let [ministack, fakecloud] = [0, 1].map(|number: usize| emulators[number].1.as_ref());
            let [ours, of_ministack, of_fakecloud] = in_turns(
                long_rounds(),
                [&mut || measure(Some(&program)), &mut || measure(ministack), &mut || {
                    measure(fakecloud)
                }],
            );
            let measured = [
                (Some(&program), &ours, Bar::None),
                (ministack, &of_ministack, Bar::AtLeast(bar)),
                (fakecloud, &of_fakecloud, Bar::None),
            ];
            for (server, samples, bar) in measured {
                let Some(Server { name: server, .. }) = server else { continue };
                let requests_per_second = samples.median();
                report.throughput.push(Throughput {
                    request,
                    server,
                    connections,
                    requests_per_second,
                });
                if *server != program.name {
                    let what = format!(
                        "{request}, requests a second over {server}, connections: {connections}"
                    );
                    report.ratio(&what, bar, &ours.over(samples), rates(&ours, samples));
                }
            }
        }
    }
}

fn rates(this: &Samples, other: &Samples) -> String {
    format!("{} over {} requests/s", rounded(this.median()), rounded(other.median()))
}
