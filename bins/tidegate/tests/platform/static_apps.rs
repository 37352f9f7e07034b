//! Static folders, and where the traffic of their versions goes.

use std::fs;

use crate::support::Platform;

fn live(number: u64, active: bool) -> (u64, bool, String) {
    (number, active, "live".to_owned())
}

#[test]
fn versions_replace_roll_back_wait_and_are_promoted() {
    let platform = Platform::start();
    let files = [("index.html", "first"), ("docs/index.html", "the docs")];
    let site = platform.folder("site", &files);
    let first = platform.deploy("site", &site);
    assert_eq!(
        (&first["number"], &first["step"]),
        (&1.into(), &"live".into())
    );
    let url = format!("http://site.localhost:{}/", platform.listen().port());
    assert_eq!(first["urls"], serde_json::json!([url]));
    platform.until_answered("site", "/", "first");
    platform.until_answered("site", "/docs/", "the docs");
    let missing = platform.get("site", "/nothing").expect("an answer");
    assert_eq!(missing.status, 404);
    assert!(missing.text.contains("no such file"), "{missing:?}");

    fs::write(site.join("index.html"), "second").expect("a file");
    platform.deploy("site", &site);
    platform.until_answered("site", "/", "second");
    assert_eq!(platform.versions("site"), [live(1, false), live(2, true)]);

    let said = platform.must(&["rollback", "site"]);
    assert!(said.contains("site@1"), "{said}");
    platform.until_answered("site", "/", "first");

    fs::write(site.join("index.html"), "third").expect("a file");
    assert_eq!(platform.deploy("site", &site)["step"], "ready");
    let ready = (3, false, "ready".to_owned());
    let expected = [live(1, true), live(2, false), ready];
    assert_eq!(platform.versions("site"), expected);
    assert_eq!(
        platform.json(&["ps", "site"])["projects"][0]["latched"],
        true
    );
    platform.until_answered("site", "/", "first");

    assert_eq!(platform.json(&["promote", "site"])["number"], 3);
    platform.until_answered("site", "/", "third");
    let expected = [live(1, false), live(2, false), live(3, true)];
    assert_eq!(platform.versions("site"), expected);
    for (command, parts) in [
        (["versions", "site"], ["ACTIVE", "live"]),
        (["ps", "site"], ["PROJECT", url.as_str()]),
    ] {
        let shown = platform.must(&command);
        assert!(parts.iter().all(|part| shown.contains(part)), "{shown}");
    }

    assert_eq!(platform.json(&["rm", "site"])["removed"], "site");
    platform.until("a removed project answers 404", |p| {
        (p.get("site", "/").ok()?.status == 404).then_some(())
    });
}

#[test]
fn an_unknown_host_and_a_foreign_token_are_told_why() {
    let platform = Platform::start();
    let answer = platform.until("the gateway knows its routes", |p| {
        let answer = p.get("nobody", "/").ok()?;
        (answer.status == 404).then_some(answer)
    });
    assert!(answer.text.contains("no app is deployed"), "{answer:?}");

    let api = format!("http://{}", platform.api());
    let token = fs::read_to_string(platform.data().join("token")).expect("the token");
    let ps = |token: &str| platform.run(&["ps", "--api", &api, "--token", token]);
    assert!(ps(token.trim()).ok);
    let refused = ps("0123456789abcdef");
    assert!(!refused.ok && refused.err.contains("token"), "{refused:?}");
}
