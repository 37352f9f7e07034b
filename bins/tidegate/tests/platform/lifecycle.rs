//! Starting, ending and starting again.

use crate::processes;
use crate::support::Platform;

#[test]
fn the_sample_answers_and_everything_is_found_again() {
    let mut platform = Platform::with_sample(true);
    platform.until_answered("hello", "/", "Hello from Tidegate");
    let site = platform.folder("site", &[("index.html", "kept")]);
    platform.deploy("site", &site);
    platform.until_answered("site", "/", "kept");
    let before = platform.json(&["ps"])["projects"].clone();
    assert_eq!(before.as_array().map(Vec::len), Some(2), "{before}");

    platform.terminate();
    assert_eq!(processes::of(&platform.data()), [].into(), "left running");

    platform.start_again();
    platform.until_answered("site", "/", "kept");
    platform.until_answered("hello", "/", "Hello from Tidegate");
    assert_eq!(platform.json(&["ps"])["projects"], before);
}
