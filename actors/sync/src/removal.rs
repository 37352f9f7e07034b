//! When something leaves the main store: what remains of a removed project, and versions
//! that nobody can go back to.
//!
//! A removed project's records are deleted once no region that is known holds anything of
//! it; a region that cannot be reached delays that, and the name stays taken. The record of
//! the project goes last, so that a crash leaves it to be finished. Of a living project the
//! newest versions are kept as its history; older ones that no partition holds are deleted,
//! so that a store does not grow with every push.

use std::collections::BTreeSet;

use tidegate_protocol::{Key, Record};

use crate::batch::Batch;
use crate::main_view::{MainView, is_final};
use crate::projection::wanted_versions;
use crate::region::Region;

/// Adds what can be deleted of a removed project.
pub(crate) fn removed_project(
    main: &MainView,
    regions: &[&Region],
    project: &str,
    batch: &mut Batch<'_>,
) {
    let has_let_go = |region: &&Region| region.live && !holds_any(region, main, project);
    let ended = main
        .numbers_of(project)
        .all(|(_, id)| is_final(main.step_of(id)));
    if !ended || !regions.iter().all(has_let_go) {
        return;
    }
    batch.require(&Key::Project(project.to_owned()));
    for (_, id) in main.numbers_of(project) {
        batch.add(version_records(id));
    }
    if !batch.is_full() {
        // Its own precondition is the one on deletion.
        batch.delete(Key::Project(project.to_owned()));
    }
}

/// Adds versions of a project beyond those that are recorded.
pub(crate) fn old_versions(main: &MainView, project: &str, recorded: usize, batch: &mut Batch<'_>) {
    if main.numbers_of(project).nth(recorded).is_none() {
        return;
    }
    let wanted: BTreeSet<u64> = wanted_versions(main, project);
    let newest_first = main.numbers_of(project).rev();
    let old = newest_first.skip(recorded).map(|(_, id)| id);
    let leaving = old.filter(|id| !wanted.contains(id) && is_final(main.step_of(*id)));
    let mut required = false;
    for id in leaving {
        if !required {
            batch.require(&Key::Project(project.to_owned()));
            required = true;
        }
        if !batch.add(version_records(id)) {
            return;
        }
    }
}

fn version_records(id: u64) -> Vec<(Key, Option<Record>)> {
    vec![(Key::Version(id), None), (Key::Deploy(id), None)]
}

fn holds_any(region: &Region, main: &MainView, project: &str) -> bool {
    let view = &region.view;
    view.routes.contains_key(project)
        || view.versions_of(project).next().is_some()
        || main
            .numbers_of(project)
            .any(|(_, id)| view.slots_of(id).next().is_some())
}
