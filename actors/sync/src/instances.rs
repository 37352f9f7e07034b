//! The instances of a project in every region, as the mirrors show them.

use tidegate_protocol::{
    ApiError, ApiReply, InstanceInfo, ListInstances, Prost as _, SlotState, limits,
};

use crate::main_view::MainView;
use crate::region::Region;

/// Bytes of the instances of one reply.
const LIST_BYTES_MAX: usize = limits::ENVELOPE_BYTES_MAX / 2;
/// Tag and length before each.
const FRAME_BYTES: usize = 8;

pub(crate) fn list(
    main: &MainView,
    regions: &[&Region],
    id: u64,
    call: &ListInstances,
) -> ApiReply {
    if !main.projects.contains_key(&call.project) {
        return ApiReply {
            id,
            error: ApiError::NotFound.into(),
            reason: format!(
                "project: there is no `{}`; `deploy` makes one",
                call.project
            ),
            ..ApiReply::default()
        };
    }
    let mut left = LIST_BYTES_MAX;
    let all = regions
        .iter()
        .flat_map(|region| instances_in(region, main, &call.project));
    let instances: Vec<InstanceInfo> = all
        .map_while(|instance| {
            left = left.checked_sub(instance.encoded_len() + FRAME_BYTES)?;
            Some(instance)
        })
        .collect();
    let unreached = regions.iter().filter(|r| !r.live).map(|r| r.name.as_str());
    let unreached: Vec<&str> = unreached.collect();
    let reason = if unreached.is_empty() {
        String::new()
    } else {
        format!("not reached, shown as last seen: {}", unreached.join(", "))
    };
    ApiReply {
        id,
        reason,
        instances,
        ..ApiReply::default()
    }
}

fn instances_in<'a>(
    region: &'a Region,
    main: &'a MainView,
    project: &'a str,
) -> impl Iterator<Item = InstanceInfo> + 'a {
    main.numbers_of(project).flat_map(move |(number, id)| {
        let occupied = region
            .view
            .slots_of(id)
            .filter(|s| s.state() != SlotState::Free);
        occupied.map(move |slot| InstanceInfo {
            region: region.name.clone(),
            slot: Some(slot.clone()),
            project: project.to_owned(),
            number,
            host_name: region.view.host_name(slot.host).to_owned(),
        })
    })
}
