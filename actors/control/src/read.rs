//! Answers to requests that only read, from the view.
//!
//! A reply fits into one message whatever the store holds: a list stops before the bound and
//! says so. Lists of versions show the newest. Values of variables are never shown.

use serde::{Deserialize, Serialize};
use tidegate_protocol::{ApiError, ApiReply, ProjectRecord, Prost as _, VersionStatus};

use crate::plan::Fault;
use crate::view::View;

/// Bytes of the records of one reply; half of what an envelope may hold.
const LIST_BYTES_MAX: usize = tidegate_protocol::limits::ENVELOPE_BYTES_MAX / 2;

/// A request that only reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Read {
    Projects,
    Versions { project: String },
    Deploy { version: u64 },
}

pub(crate) fn answer(view: &View, read: &Read) -> Result<ApiReply, Fault> {
    match read {
        Read::Projects => Ok(projects(view)),
        Read::Versions { project } => versions(view, project),
        Read::Deploy { version } => {
            let status = view.status(*version).ok_or_else(|| {
                Fault::new(
                    ApiError::NotFound,
                    format!("version: there is none with id {version}; list those of the project"),
                )
            })?;
            Ok(ApiReply {
                versions: vec![status],
                ..ApiReply::default()
            })
        }
    }
}

fn projects(view: &View) -> ApiReply {
    let fitting = fit(view.projects.values(), |p| p.encoded_len());
    let projects: Vec<ProjectRecord> = fitting.into_iter().cloned().collect();
    ApiReply {
        reason: cut("projects", projects.len(), view.projects.len()),
        projects,
        ..ApiReply::default()
    }
}

fn versions(view: &View, project: &str) -> Result<ApiReply, Fault> {
    let record = view.projects.get(project);
    let record = record.ok_or_else(|| Fault::no_project(project))?;
    let newest_first = view.numbers_of(project).rev();
    let statuses = newest_first.filter_map(|(_, id)| view.status(id));
    let mut versions: Vec<VersionStatus> = fit(statuses, VersionStatus::encoded_len);
    versions.reverse();
    Ok(ApiReply {
        reason: cut(
            "newest versions",
            versions.len(),
            view.numbers_of(project).count(),
        ),
        projects: vec![record.clone()],
        versions,
        ..ApiReply::default()
    })
}

/// The first items, as long as they fit together.
fn fit<T>(items: impl Iterator<Item = T>, bytes: impl Fn(&T) -> usize) -> Vec<T> {
    /// Tag and length before each item.
    const FRAME_BYTES: usize = 8;
    let mut left = LIST_BYTES_MAX;
    items
        .map_while(|item| {
            left = left.checked_sub(bytes(&item) + FRAME_BYTES)?;
            Some(item)
        })
        .collect()
}

fn cut(what: &str, shown: usize, all: usize) -> String {
    if shown == all {
        return String::new();
    }
    format!("shows {shown} of {all}: only the first {what} fit into one reply")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_item_costs_its_frame_as_well() {
        assert_eq!(fit(0..100_000, |_| 8).len(), LIST_BYTES_MAX / 16);
    }
}
