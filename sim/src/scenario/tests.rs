use super::*;

const SMALL: &str = r#"name = "small"
about = "A test."
duration = "5m"
faults_end = "100s"
liveness_within = "60s"

[topology]
regions = ["syd"]
hosts = 2
gateways = 1

[[apps]]
name = "hello"

[[traffic]]
app = "hello"
per_second = 5.0
from = "30s"

[[faults]]
kind = "loss"
target = "host:syd/1"
per_million = 1000
at = "50s"
for = "10s"
"#;

/// Replaces one piece of the small scenario and expects this complaint.
fn check(from: &str, to: &str, line: usize, part: &str) {
    assert!(SMALL.contains(from), "{from}");
    let error = Scenario::parse("x.toml", &SMALL.replacen(from, to, 1)).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with(&format!("x.toml:{line}: ")), "{text}");
    assert!(text.contains(part), "{text}");
    assert!(!text.contains('\n'), "{text}");
}

#[test]
fn the_small_scenario_is_good() {
    let scenario = Scenario::parse("x.toml", SMALL).unwrap();
    assert_eq!(scenario.apps[0].instances_max.get_ref(), &4);
    assert_eq!(scenario.faults[0].length, Span::seconds(10));
}

#[test]
fn built_in_scenarios_are_good_and_bear_their_names() {
    for builtin in BUILTIN {
        let scenario = Scenario::parse(builtin.name, builtin.text).unwrap();
        assert_eq!(scenario.name.get_ref(), builtin.name);
        assert!(scenario.about.len() > 20, "{}", builtin.name);
    }
}

#[test]
fn each_complaint_names_line_and_remedy() {
    check(
        "duration = \"5m\"",
        "duration = \"5 m\"",
        3,
        "such as \"90s\"",
    );
    check(
        "duration = \"5m\"",
        "duration = \"2m\"",
        4,
        "end the faults earlier",
    );
    check(
        "hosts = 2",
        "hostz = 2",
        9,
        "unknown field `hostz`, expected one of",
    );
    check("hosts = 2", "hosts = 0", 9, "from 1 to 100");
    check("hosts = 2", "hosts = -1", 9, "invalid value");
    check(
        "regions = [\"syd\"]",
        "regions = [\"syd\", \"syd\"]",
        8,
        "named twice",
    );
    check(
        "regions = [\"syd\"]",
        "regions = []",
        8,
        "name from 1 to 16",
    );
    check(
        "app = \"hello\"",
        "app = \"other\"",
        16,
        "the scenario has hello",
    );
    check("per_second = 5.0", "per_second = nan", 17, "more than 0");
    check("from = \"30s\"", "from = \"6m\"", 18, "begin it earlier");
    check("host:syd/1", "host:syd/2", 22, "counted from 0");
    check("host:syd/1", "host:mel/1", 22, "the topology has syd");
    check("host:syd/1", "rest", 22, "only stand in `against`");
    check("host:syd/1", "moon", 22, "use control, rest");
    check("at = \"50s\"", "at = \"95s\"", 24, "past faults_end");
    check(
        "kind = \"loss\"",
        "kind = \"lost\"",
        21,
        "unknown variant `lost`",
    );
    check(
        "kind = \"loss\"",
        "kind = \"crash\"",
        21,
        "no use for `per_million`",
    );
    check("per_million = 1000\n", "", 21, "needs `per_million`");
    check(
        "kind = \"loss\"\ntarget = \"host:syd/1\"\nper_million = 1000",
        "kind = \"reset\"\ntarget = \"host:syd/1\"\nevery = \"1ms\"",
        21,
        "too often",
    );
    check(
        "kind = \"loss\"\ntarget = \"host:syd/1\"\nper_million = 1000",
        "kind = \"mute\"\ntarget = \"store:syd\"",
        22,
        "strikes nobody there",
    );
    check("host:syd/1", "zone:syd/b", 22, "a to a");
    check(
        "per_million = 1000",
        "every = \"1s\"\nper_million = 1000",
        21,
        "no use for `every`",
    );
    check(
        "from = \"30s\"",
        "from = \"30s\"\narrivals = \"closed\"",
        16,
        "need `clients`",
    );
    check(
        "from = \"30s\"",
        "from = \"30s\"\nperiod = \"10s\"",
        16,
        "no use for `period`",
    );
    check(
        "from = \"30s\"",
        "from = \"30s\"\nzipf = 1.0",
        19,
        "with `tenants`",
    );
    check(
        "name = \"hello\"",
        "name = \"hello\"\ntenants = 300",
        14,
        "from 1 to 256",
    );
    check(
        "name = \"hello\"",
        "name = \"hello\"\ntenants = 3\n[[apps]]\nname = \"hello-1\"",
        16,
        "the name of a tenant",
    );
    check(
        "from = \"30s\"",
        "from = \"30s\"\nretries = 21",
        19,
        "from 0 to 20",
    );
    check(
        "per_million = 1000",
        "times = 3\nper_million = 1000",
        21,
        "no use for `times`",
    );
}

#[test]
fn a_bug_has_seeds() {
    check(
        "[[apps]]",
        "[bug]\nshowed = \"a\"\nseeds = []\n[[apps]]",
        14,
        "1 to 1000 seeds",
    );
}

#[test]
fn what_is_no_toml_is_refused_in_one_line() {
    check("[topology]", "[topology", 7, "");
    let error = Scenario::parse("x.toml", "").unwrap_err();
    assert!(error.to_string().contains("missing field"), "{error}");
}

#[test]
fn what_a_new_kind_of_fault_needs_is_said() {
    let loss = "kind = \"loss\"\ntarget = \"host:syd/1\"";
    let buggify = |point: &str| format!("kind = \"buggify\"{point}\ntarget = \"host:syd/1\"");
    check(
        loss,
        &buggify(""),
        21,
        "needs `point`; name one of `a fetcher",
    );
    check(
        loss,
        &buggify("\npoint = \"a host sings\""),
        21,
        "no actor has a point `a host sings`",
    );
    check(
        "kind = \"loss\"",
        "kind = \"loss\"\npoint = \"a host sings\"",
        21,
        "has no use for `point`",
    );
    let absent = "kind = \"absent\"\ntarget = \"host:syd/1\"";
    check(loss, absent, 24, "say `at = \"0s\"`");
    check(
        loss,
        "kind = \"absent\"\ntarget = \"control\"",
        24,
        "say `at = \"0s\"`",
    );
    let scales = "[[operations]]\nat = \"50s\"\ndo = \"rollback\"\napp = \"hello\"\n\
                  instances_max = 2\n\n[[traffic]]";
    check("[[traffic]]", scales, 19, "only a deploy changes");
}
