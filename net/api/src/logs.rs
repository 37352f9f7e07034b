//! Output of a project's instances, gathered from the hosts.
//!
//! Each host keeps the output of the instances that it ran, also of those that ended. A read
//! asks every host for each version in question and merges by time; the cursor remembers
//! where each of them stood.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tidegate_protocol::{Address, Bytes, LogRead};

use crate::model::{Line, Logs, Version};
use crate::problem::Fault;
use crate::server::Api;

/// Without a version, the newest so many and the active one are read.
const NEWEST: usize = 3;
const READ_MAX: Duration = Duration::from_secs(3);
const READ_BYTES: u32 = 128 * 1024;

#[derive(Deserialize)]
pub(crate) struct Ask {
    /// 0: the newest and the active versions.
    #[serde(default)]
    version: u32,
    #[serde(default)]
    cursor: String,
}

/// Where each read stood: `{node}.{version}` → the host's own cursor, in hexadecimal.
#[derive(Default, Serialize, Deserialize)]
struct Cursor(BTreeMap<String, String>);

pub(crate) async fn read(
    State(api): State<Api>,
    Path(project): Path<String>,
    Query(ask): Query<Ask>,
) -> Result<Json<Logs>, Fault> {
    let cursor = parse(&ask.cursor)?;
    let versions = wanted(api.versions_of(&project).await?, ask.version);
    if versions.is_empty() && ask.version != 0 {
        return Err(Fault::new(
            axum::http::StatusCode::NOT_FOUND,
            format!("{project} has no version {}", ask.version),
        ));
    }
    let hosts = (api.hosts)();
    let pairs = hosts
        .iter()
        .flat_map(|host| versions.iter().map(move |version| (*host, version)));
    let reads = join_all(pairs.map(|(host, version)| read_one(&api, host, version, &cursor))).await;
    let mut lines = Vec::new();
    let mut next = cursor;
    for (key, read) in reads {
        if let Some((position, found)) = read {
            next.0.insert(key, position);
            lines.extend(found);
        }
    }
    lines.sort_by_key(|line| line.unix_ms);
    let cursor = serde_json::to_string(&next).map_err(Fault::internal)?;
    Ok(Json(Logs { lines, cursor }))
}

async fn read_one(
    api: &Api,
    host: Address,
    version: &Version,
    cursor: &Cursor,
) -> (String, Option<(String, Vec<Line>)>) {
    let key = format!("{}.{}", host.node, version.id);
    let position = cursor.0.get(&key).map(String::as_str).unwrap_or_default();
    let read = LogRead {
        id: 0,
        version: version.id,
        cursor: Bytes::from(unhex(position).unwrap_or_default()),
        bytes_max: READ_BYTES,
    };
    // A host that does not answer now is read from the same place next time.
    let Ok(data) = api.client.read_log(host, read, READ_MAX).await else {
        return (key, None);
    };
    let lines = data.lines.into_iter().map(|line| Line {
        unix_ms: line.wall_ms,
        number: version.number,
        slot: line.instance.map_or(0, |i| i.slot),
        text: line.text,
    });
    (key, Some((hex(&data.cursor), lines.collect())))
}

fn wanted(mut versions: Vec<Version>, number: u32) -> Vec<Version> {
    if number != 0 {
        versions.retain(|v| v.number == number);
        return versions;
    }
    versions.sort_by_key(|v| std::cmp::Reverse(v.number));
    let mut rank = 0;
    versions.retain(|v| {
        rank += 1;
        rank <= NEWEST || v.active
    });
    versions
}

fn parse(text: &str) -> Result<Cursor, Fault> {
    if text.is_empty() {
        return Ok(Cursor::default());
    }
    serde_json::from_str(text)
        .map_err(|_| Fault::invalid("cursor: send back exactly what the last answer gave"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(text.get(i..i + 2)?, 16).ok())
        .collect()
}
