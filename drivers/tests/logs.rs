//! Each line once, whoever is killed and whatever is rotated.

mod support;

use std::fs;

use support::{Host, INSTANCE, other, script, until};
use tidegate_drivers::{LogLimits, Options};
use tidegate_kernel::DriverCommand;
use tidegate_protocol::{Bytes, VersionSpec};

fn small() -> Options {
    Options {
        log: LogLimits {
            segment_bytes: 32 * 1024,
            segments_max: 10_000,
            // Small enough that space is given back often.
            raw_bytes_max: 1024 * 1024,
            ..LogLimits::default()
        },
        ..Options::default()
    }
}

/// Writes rounds of lines, each when it is told to, so that no flood drops any.
fn rounds(name: &str) -> VersionSpec {
    let padding = "-".repeat(60);
    script(&format!(
        "n=0; round=0
        while [ $round -lt {ROUNDS} ]; do
            round=$((round+1))
            until [ -e $HOME/go-$round ]; do sleep 0.02; done
            end=$((n+{LINES}))
            while [ $n -lt $end ]; do n=$((n+1)); echo \"{name}$n {padding}\"; done
            echo \"end of $round\"
        done
        sleep 1000"
    ))
}

const ROUNDS: usize = 6;
const LINES: usize = 5000;

#[tokio::test]
async fn a_cursor_meets_each_line_once_through_rotation_and_crashes() {
    let mut host = Host::with(small()).await;
    // A cursor from before there is anything.
    let (lines, mut cursor) = host.read_log(&Bytes::new(), 1000).await;
    assert_eq!(lines, []);
    host.start(other(1), rounds("a")).await;
    host.start(other(2), rounds("b")).await;
    let mut texts = Vec::new();
    for round in 1..=ROUNDS {
        for slot in [1, 2] {
            fs::write(host.home(other(slot)).join(format!("go-{round}")), "").expect("space");
        }
        let end = format!("end of {round}");
        while texts.iter().filter(|text| **text == end).count() < 2 {
            let (lines, next) = host.read_log(&cursor, 64 * 1024).await;
            cursor = next;
            // Now and then in the middle of what is written.
            if lines.len() > 100 {
                host.crash_and_reopen().await;
            }
            texts.extend(lines.into_iter().map(|line| line.text));
        }
    }
    for name in ["a", "b"] {
        let numbers: Vec<usize> = texts
            .iter()
            .filter_map(|text| text.strip_prefix(name)?.split(' ').next()?.parse().ok())
            .collect();
        let same = numbers.iter().copied().eq(1..=ROUNDS * LINES);
        assert!(
            same,
            "{name}: {} lines, from {:?}",
            numbers.len(),
            numbers.first()
        );
    }
    assert_eq!(texts.len(), 2 * ROUNDS * (LINES + 1));
    assert_eq!(host.read_log(&cursor, 1000).await, (Vec::new(), cursor));
}

#[tokio::test]
async fn a_cursor_goes_on_after_the_instance_is_gone() {
    let mut host = Host::new().await;
    host.start(INSTANCE, script("echo one; echo two; printf three"))
        .await;
    host.exited(INSTANCE).await;
    let (lines, cursor) = host.read_log(&Bytes::new(), 100_000).await;
    let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(texts, ["one", "two", "three"]);
    assert!(
        lines
            .iter()
            .all(|line| line.instance == Some(INSTANCE) && line.wall_ms > 0)
    );
    assert_eq!(host.read_log(&cursor, 100_000).await.0, []);
    host.start(other(1), script("echo four")).await;
    host.exited(other(1)).await;
    let (lines, _) = host.read_log(&cursor, 100_000).await;
    assert_eq!(lines.len(), 1);
    assert_eq!(
        (lines[0].instance, lines[0].text.as_str()),
        (Some(other(1)), "four")
    );
}

#[tokio::test]
async fn a_cursor_that_means_nothing_means_the_last_lines() {
    let mut host = Host::new().await;
    host.start(
        INSTANCE,
        script("for n in 1 2 3 4 5 6 7 8 9; do echo $n; done"),
    )
    .await;
    host.exited(INSTANCE).await;
    let (_, good) = host.read_log(&Bytes::new(), 100_000).await;
    let mut odd = good.to_vec();
    if let Some(last) = odd.last_mut() {
        *last -= 3;
    }
    let mut foreign = good.to_vec();
    foreign[5] ^= 1;
    for cursor in [&b""[..], b"nonsense", b"\x01", &odd, &foreign, &[0xff; 17]] {
        let cursor = Bytes::copy_from_slice(cursor);
        let (lines, next) = host.read_log(&cursor, 100).await;
        let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts, ["7", "8", "9"]);
        assert_eq!(next, good);
    }
}

#[tokio::test]
async fn lines_are_bounded_and_text() {
    let mut host = Host::new().await;
    let program =
        "head -c 20000 /dev/zero | tr '\\0' x; echo; printf 'a\\377b\\n'; echo end; sleep 1000";
    host.start(INSTANCE, script(program)).await;
    let lines = host.read_until(&mut Bytes::new(), "end").await;
    assert_eq!(lines.len(), 3);
    assert!(lines[0].starts_with(&"x".repeat(8192)) && lines[0].ends_with("too long to keep]"));
    assert_eq!(lines[1], "a\u{fffd}b");
}

#[tokio::test]
async fn logs_take_bounded_space() {
    let options = Options {
        log: LogLimits {
            segment_bytes: 64 * 1024,
            segments_max: 2,
            idle_versions_max: 1,
            raw_bytes_max: 256 * 1024,
            ..LogLimits::default()
        },
        ..Options::default()
    };
    let mut host = Host::with(options).await;
    for version in 1..=3 {
        let instance = tidegate_protocol::InstanceRef {
            version,
            ..INSTANCE
        };
        host.start(instance, script("yes | head -c 3000000; sleep 1000"))
            .await;
        let raw = host
            .data
            .path()
            .join(format!("logs/{version:016x}/{instance}.log"));
        until(|| fs::metadata(&raw).is_ok_and(|raw| raw.len() >= 3_000_000)).await;
        host.order(DriverCommand::Kill { instance });
        host.exited(instance).await;
    }
    let logs = host.data.path().join("logs");
    let mut versions = Vec::new();
    for version in fs::read_dir(logs).expect("logs") {
        let path = version.expect("an entry").path();
        let files = fs::read_dir(&path).expect("a directory");
        let sizes: Vec<u64> = files
            .map(|file| file.and_then(|file| file.metadata()).expect("a file").len())
            .collect();
        assert!(sizes.len() <= 2, "{sizes:?}");
        assert!(sizes.iter().sum::<u64>() < 4 * 1024 * 1024, "{sizes:?}");
        versions.push(path);
    }
    assert!(versions.len() <= 2, "{versions:?}");
}
