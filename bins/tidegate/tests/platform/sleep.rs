//! Going to sleep, and waking for a crowd.

use crate::support::Platform;

const PROGRAM: &str = "\
command: python3 -u server.py
idle_sleep: 3s
min_lifetime: 0s
";
/// Answers in threads, with a backlog for a crowd.
pub(crate) const SERVER: &str = "\
import http.server, os
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 256
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'served by ' + os.environ['TIDEGATE_INSTANCE'].encode())
    def log_message(self, *words):
        pass
print('started', os.environ['TIDEGATE_INSTANCE'], flush=True)
Server((os.environ['HOST'], int(os.environ['PORT'])), Handler).serve_forever()
";

fn starts(platform: &Platform) -> usize {
    let shown = platform.must(&["logs", "app"]);
    shown.lines().filter(|l| l.contains("started v")).count()
}

/// Index and epoch of each slot that is in use.
fn slots(platform: &Platform) -> Vec<(u64, u64)> {
    let number = |value: &serde_json::Value| value.as_u64().expect("a number");
    let instances = platform.instances("app");
    let slots = instances.iter();
    slots
        .map(|i| (number(&i["slot"]), number(&i["epoch"])))
        .collect()
}

#[test]
fn a_crowd_of_first_requests_starts_one_instance() {
    let platform = Platform::start();
    let app = platform.folder("app", &[("tidegate.yml", PROGRAM), ("server.py", SERVER)]);
    platform.deploy("app", &app);
    platform.until_answered("app", "/", "served by");
    assert_eq!(starts(&platform), 1);
    let [(slot, epoch)] = slots(&platform)[..] else {
        panic!("one instance was expected");
    };
    platform.until("it is asleep", |p| {
        p.instances("app").is_empty().then_some(())
    });
    let shown = platform.must(&["ps", "app"]);
    assert!(shown.contains("asleep"), "{shown}");

    let crowd = std::thread::scope(|scope| {
        let one = || scope.spawn(|| platform.get("app", "/"));
        let crowd: Vec<_> = (0..100).map(|_| one()).collect();
        let all = crowd.into_iter().map(|c| c.join().expect("no panic"));
        all.collect::<Vec<_>>()
    });
    for answer in crowd {
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(slots(&platform), [(slot, epoch + 1)]);
    let again = platform.until("its second start is in the log", |p| {
        let starts = starts(p);
        (starts > 1).then_some(starts)
    });
    assert_eq!(again, 2);
}
