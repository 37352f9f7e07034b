//! Two regions of real processes, under traffic, while they are killed, paused and restarted.
//!
//! Every node is `tidegate run …` with loopback addresses and a data directory of its own.
//! A client at each gateway asks for a program and a static app without a pause; whatever
//! is done to the other processes, each of its requests must be answered, and those of a
//! gateway that is itself ended may fail until it answers again. At the end what `ps` shows
//! is compared with the processes that run.

mod cluster;
mod traffic;

use std::collections::BTreeSet;
use std::time::Duration;

use cluster::{Cluster, METALDS, REGIONS, eventually};
use traffic::{Traffic, get};

/// Longer than pings need to give up the links to a paused node.
const PAUSE: Duration = Duration::from_secs(10);

#[test]
fn traffic_survives_what_happens_to_single_nodes() {
    let mut cluster = Cluster::start();
    cluster.deploy_program("hello", "");
    cluster.deploy_program("only-a", "regions: [a]\n");
    cluster.deploy_site("site", "first");
    everybody_answers(&cluster);
    let traffic = Traffic::start(&cluster.gateways(), &["hello.localhost", "site.localhost"]);
    traffic.all_answer_again();

    let before = cluster.processes();
    let host = cluster.host_of("hello", "a");
    step(&format!("{host} is killed and restarted"));
    cluster.kill(&host);
    traffic.all_answer_again();
    cluster.restart(&host);
    adopted(&cluster, &before);

    step("a metald is paused");
    let host = cluster.host_of("hello", "b");
    paused(&cluster, &host, &traffic);
    adopted(&cluster, &before);

    step("control is killed and restarted");
    cluster.kill("control");
    std::thread::sleep(Duration::from_secs(2));
    traffic.all_answer_again();
    cluster.restart("control");
    cluster.deploy_site("site", "second");
    shows_everywhere(&cluster, "second");

    step("control is killed in the middle of a deploy");
    cluster.begin_site("site", "third");
    cluster.kill("control");
    cluster.restart("control");
    shows_everywhere(&cluster, "third");
    adopted(&cluster, &before);

    step("the gateway that keeps the store of region a is killed and restarted");
    let keeper = cluster.gateway("gateway-a");
    traffic.excuse(&keeper);
    cluster.kill("gateway-a");
    std::thread::sleep(Duration::from_secs(2));
    traffic.all_answer_again();
    cluster.restart("gateway-a");
    traffic.expect(&keeper);
    adopted(&cluster, &before);

    step("a gateway is paused: its requests wait");
    paused(&cluster, "gateway-b-2", &traffic);

    step("every link to the store of region b is cut, since its keeper is paused");
    paused(&cluster, "gateway-b", &traffic);
    adopted(&cluster, &before);

    step("a metald is paused until it is given up, and finds its slots taken");
    let host = cluster.host_of("hello", "a");
    cluster.signal(&host, "STOP");
    eventually("another host takes over", || {
        cluster.runs_beside("hello", &host)
    });
    traffic.all_answer_again();
    cluster.signal(&host, "CONT");
    cluster.ps_is_true();

    step("everything is healed");
    let version = cluster.deploy_program("hello", "env: {SECOND: 1}\n");
    cluster.deploy_site("site", "fourth");
    shows_everywhere(&cluster, "fourth");
    answers_everywhere(&cluster, "hello", &format!("instance v{version}."));
    everybody_answers(&cluster);
    every_host_takes_work(&cluster);
    cluster.ps_is_true();
    traffic.end();
    cluster.all_nodes_run();
}

fn step(what: &str) {
    println!("-- {what}");
}

/// Also in region b, where `only-a` may not run.
fn everybody_answers(cluster: &Cluster) {
    for gateway in cluster.gateways() {
        for app in ["hello", "only-a"] {
            let host = format!("{app}.localhost");
            let answer = eventually(&format!("{app} at {gateway}"), || get(&gateway, &host));
            assert!(answer.contains("Hello from Tidegate"), "{answer}");
        }
    }
    let regions = cluster.instances("only-a").into_iter().map(|i| i.region);
    assert_eq!(
        regions.collect::<BTreeSet<_>>(),
        BTreeSet::from(["a".into()])
    );
}

fn shows_everywhere(cluster: &Cluster, text: &str) {
    answers_everywhere(cluster, "site", text);
}

fn answers_everywhere(cluster: &Cluster, app: &str, text: &str) {
    for gateway in cluster.gateways() {
        eventually(&format!("{text:?} at {gateway}"), || {
            let answer = get(&gateway, &format!("{app}.localhost"))?;
            if answer.contains(text) {
                Ok(())
            } else {
                Err(answer)
            }
        });
    }
}

fn paused(cluster: &Cluster, node: &str, traffic: &Traffic) {
    cluster.signal(node, "STOP");
    std::thread::sleep(PAUSE);
    cluster.signal(node, "CONT");
    traffic.all_answer_again();
}

/// The processes of before still run, and are what the platform believes to run.
fn adopted(cluster: &Cluster, before: &BTreeSet<(String, u32)>) {
    assert_eq!(*before, cluster.processes(), "instances were touched");
    cluster.ps_is_true();
}

/// New apps start until every metald of both regions has started something.
fn every_host_takes_work(cluster: &Cluster) {
    for n in 0.. {
        let hosts: BTreeSet<_> = cluster
            .all_instances()
            .into_iter()
            .map(|i| i.host)
            .collect();
        if hosts.len() == REGIONS.len() * METALDS {
            return;
        }
        assert!(n < 8, "only {hosts:?} have instances");
        let app = format!("filler-{n}");
        cluster.deploy_program(&app, "");
        for gateway in cluster.gateways() {
            eventually(&app, || get(&gateway, &format!("{app}.localhost")));
        }
    }
}
