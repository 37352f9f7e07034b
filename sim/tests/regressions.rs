//! What was found once stays away: the scenarios of `scenarios/regressions`, each with its
//! seeds.

use std::fs;
use std::path::{Path, PathBuf};

use tidegate_sim::scenario::Scenario;
use tidegate_sim::{Seed, Unobserved, World};

fn corpus() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/regressions");
    let entries = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    let mut files: Vec<PathBuf> = entries
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect();
    files.sort();
    files
}

#[test]
fn what_was_found_once_stays_away() {
    let files = corpus();
    assert!(!files.is_empty(), "the corpus is not where it was");
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy();
        let scenario = Scenario::parse(&name, &fs::read_to_string(&file).unwrap()).unwrap();
        assert_eq!(format!("{}.toml", scenario.name.get_ref()), name);
        let bug = scenario.bug.clone();
        let bug = bug.unwrap_or_else(|| panic!("{name}: no [bug] table"));
        for &seed in bug.seeds.get_ref() {
            let mut world = World::new(&scenario, Seed(seed));
            world.run(&mut Unobserved);
            let report = world.report(seed);
            let r = report.requests;
            let told = format!("{name}: {}\n{}", bug.showed, report.text(true));
            assert_eq!(report.violation_count, 0, "{told}");
            if let Some(lost_max) = bug.lost_max {
                assert!(r.refused + r.failed <= lost_max, "{told}");
            }
            assert!(r.served > 0 || scenario.traffic.is_empty(), "{told}");
        }
    }
}
